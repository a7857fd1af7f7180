"""The runs that one scope follows, and what a round finds of them before it is committed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from operator import attrgetter
from typing import Final

import structlog

from poller.core.batches import BatchTransition, KnownBatch
from poller.core.cadence import next_look
from poller.core.claims import Claims
from poller.core.lists import ListName
from poller.core.runs import Json, KnownRun, Question, Snapshot, Verdict
from poller.core.statuses import Step
from poller.core.stays import StayKey, Stays
from poller.core.transitions import Observed, Transition
from poller.foundation import Foundation
from poller.polling.rules import Rules

log = structlog.get_logger("poller.polling")

_LASTING: Final = attrgetter(*(one.name for one in fields(KnownRun) if one.name not in ("seen_at", "since")))
_ODD_STEPS: Final = {Step.STALE: "stale", Step.UNKNOWN: "unknown_status", Step.CONTRADICTION: "contradiction"}


@dataclass(slots=True)
class Work:
    """What a round has found so far; nothing of it counts before it is committed.

    `due` and `shown` are monotonic seconds: when a run is asked about next, and when the request was sent that showed
    it. `batches_answered` are those whose GetBatch came.
    """

    runs: dict[str, KnownRun] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    batches: dict[str, KnownBatch] = field(default_factory=dict)
    batch_transitions: list[BatchTransition] = field(default_factory=list)
    batches_answered: set[str] = field(default_factory=set)
    snapshots: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    stays: dict[StayKey, Stays] = field(default_factory=dict)
    state_changed: bool = False


class Followed:
    """What is known of each followed run, as it was committed last."""

    def __init__(self, foundation: Foundation, rules: Rules, claims: Claims) -> None:
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.rules = rules
        self.claims = claims
        self.runs: dict[str, KnownRun] = {}

    def known(self, work: Work, run_id: str) -> KnownRun | None:
        """What is known of a run in the middle of a round."""
        return work.runs.get(run_id) or self.runs.get(run_id)

    def place(
        self, run_id: str, shown: Snapshot | None = None, name: ListName | None = None, *, batch_id: str | None = None
    ) -> None:
        """Note which watches take a run, by what an answer shows of it, or the batch that named it.

        GetRun shows all that they go by; what less is shown counts only while nothing is known.
        """
        if self.rules.tell_apart and ((shown is not None and shown.full) or run_id not in self.claims):
            group = name.group if name is not None else None
            self.claims.note(run_id, self.rules.claim(run_id, shown, group=group, batch_id=batch_id))

    def apply(self, work: Work, observed: Observed) -> None:
        """Take what an answer means into the round."""
        known = observed.known
        odd = _ODD_STEPS.get(observed.step)
        if odd is not None:
            self.tally.add("odd_answers", kind=odd)
            log.debug("look.odd", run=known.run_id, kind=odd, status=known.status)
        work.runs[known.run_id] = known
        work.transitions += observed.transitions
        work.due[known.run_id] = self.due(known)

    def due(self, known: KnownRun) -> float:
        """When a run is asked about next, in monotonic seconds; of ends that lists showed the oldest goes first."""
        now, monotonic = self.clock.now(), self.clock.monotonic()
        if known.question is not None and not (known.verdict is Verdict.VANISHED and known.question is Question.END):
            stopped = known.end_seen.stop_time if known.end_seen is not None else None
            return monotonic if stopped is None else monotonic - max((now - stopped).total_seconds(), 0.0)
        if known.question is not None:
            return monotonic + self.claims.of(known.run_id).high.total_seconds()  # only lists show it: no hurry
        return monotonic + self.wait(known).total_seconds()

    def wait(self, known: KnownRun) -> timedelta:
        """How long a run is left in peace by its cadence."""
        now = self.clock.now()
        since = min(known.since or now, now)
        claim = self.claims.of(known.run_id)
        return next_look(since, now, claim.low, claim.high, self.chance()) - now

    def is_news(self, known: KnownRun) -> bool:
        """Whether a run changed in more than the time of its last look: idle looks are not written."""
        before = self.runs.get(known.run_id)
        return before is None or _LASTING(before) != _LASTING(known)
