"""The batches that are followed: when GetBatch asks about one, and when ListRunsInBatch reads its runs.

GetBatch tells the batch's own statuses, and by its counters which lists are worth reading. ListRunsInBatch brings ids
and uuids, so that a run of a batch needs no GetRun before its end; it is read again while runs are being submitted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from poller.core.batches import KnownBatch
from poller.core.cadence import next_look
from poller.core.claims import Claim
from poller.polling.looks import BatchLook, BatchRunsLook
from poller.ports.clock import Clock

NOT_DUE: Final = float("inf")
OFTENER: Final = 4
"""How much oftener than a run a batch is asked about at most: one call answers for all its runs."""
DENIED_PAUSE: Final = 300.0
"""Seconds until an operation that was denied is tried again."""


@dataclass(slots=True)
class _Reading:
    """How far the runs of one batch are listed; `submitted` is how many there were when the reading began."""

    token: str | None = None
    in_flight: bool = False
    not_before: float = float("-inf")
    submitted: int = 0


@dataclass(slots=True)
class Batches:
    """What is known of the followed batches of one scope, and what is asked about them next.

    Args: `claim_of` tells how often the watches of a batch want to ask about it; `chance` gives numbers in [0, 1).
    """

    claim_of: Callable[[str], Claim]
    clock: Clock
    chance: Callable[[], float]
    known: dict[str, KnownBatch] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)
    _troubled: set[str] = field(default_factory=set)
    _readings: dict[str, _Reading] = field(default_factory=dict)

    def take_up(self, batch_ids: Iterable[str], remembered: Iterable[KnownBatch]) -> None:
        """Follow these, from what the record remembers of them; everything is due."""
        on_record = {one.batch_id: one for one in remembered}
        self.known = {batch_id: on_record.get(batch_id, KnownBatch(batch_id)) for batch_id in batch_ids}
        now = self.clock.monotonic()
        self._due = {batch_id: now for batch_id, known in self.known.items() if not known.over}
        self._readings = {
            batch_id: _Reading() for batch_id, known in self.known.items() if known.unlisted or not known.listed
        }

    def next_batch(self, now: float) -> BatchLook | None:
        """The batch that has been due longest, marked as under way; None if none is."""
        if not self.batch_is_due(now):
            return None
        batch_id = min(self._due, key=self._due.__getitem__)
        self._due[batch_id] = NOT_DUE
        return BatchLook(batch_id)

    def batch_is_due(self, now: float) -> bool:
        return min(self._due.values(), default=NOT_DUE) <= now

    def next_runs(self, now: float) -> BatchRunsLook | None:
        """The next page of runs to list, marked as under way; None if there is none."""
        for batch_id, reading in self._readings.items():
            if not reading.in_flight and reading.not_before <= now:
                if reading.token is None:
                    reading.submitted = self.known[batch_id].submitted
                reading.in_flight = True
                return BatchRunsLook(batch_id, reading.token)
        return None

    def runs_are_due(self, now: float) -> bool:
        return any(not one.in_flight and one.not_before <= now for one in self._readings.values())

    def next_due(self) -> float:
        """When the next thing is due; infinite if nothing is."""
        pages = [one.not_before for one in self._readings.values() if not one.in_flight]
        return min([*self._due.values(), *pages], default=NOT_DUE)

    def will_name(self, batch_id: str) -> bool:
        """Whether a run of this batch that nobody follows yet will soon be named, with its uuid."""
        known = self.known.get(batch_id)
        return known is not None and batch_id not in self._troubled and (not known.over or batch_id in self._readings)

    def is_news(self, known: KnownBatch) -> bool:
        """Whether more of a batch changed than the time of its last look."""
        return replace(known, seen_at=None) != replace(self.known[known.batch_id], seen_at=None)

    def update(self, known: KnownBatch, *, answered: bool) -> None:
        """Take over what is committed, and plan what comes next; `answered` says that a GetBatch has come."""
        self.known[known.batch_id] = known
        self._troubled.discard(known.batch_id)
        if known.over:
            self._due.pop(known.batch_id, None)
        elif answered:
            now = self.clock.now()
            claim = self.claim_of(known.batch_id)
            low, high = claim.low, max(claim.high / OFTENER, claim.low)
            at = next_look(min(known.since or now, now), now, low, high, self.chance())
            self._due[known.batch_id] = self.clock.monotonic() + (at - now).total_seconds()
        if known.unlisted and known.batch_id not in self._readings:
            self._readings[known.batch_id] = _Reading()

    def page_came(self, look: BatchRunsLook, token: str | None) -> KnownBatch | None:
        """A page of runs came; the batch as it is once that is committed, if it was the last page."""
        reading = self._readings[look.batch_id]
        reading.in_flight = False
        self._troubled.discard(look.batch_id)
        reading.token = token if token != look.token else None
        if reading.token is not None:
            return None
        known = replace(self.known[look.batch_id], listed=reading.submitted)
        if known.unlisted:
            pause = self.claim_of(look.batch_id).low.total_seconds()
            self._readings[look.batch_id] = _Reading(not_before=self.clock.monotonic() + pause)
        else:
            del self._readings[look.batch_id]
        return known

    def failed(self, look: BatchLook | BatchRunsLook, retry_at: float, *, start_over: bool = False) -> None:
        """No answer came: again at `retry_at`; a list from its first page if `start_over`."""
        self._troubled.add(look.batch_id)
        if isinstance(look, BatchLook):
            self._due[look.batch_id] = retry_at
            return
        reading = self._readings[look.batch_id]
        reading.in_flight, reading.not_before = False, retry_at
        if start_over:
            reading.token = None

    def dropped(self, batch_id: str) -> KnownBatch:
        """There is no such batch: it is asked about no more."""
        self._due.pop(batch_id, None)
        self._readings.pop(batch_id, None)
        known = self.known[batch_id] = replace(self.known[batch_id], gone=True)
        return known
