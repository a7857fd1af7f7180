"""What one scope knows and has on its agenda: the runs and batches that it follows, and who of them waits for what.

Answers are held against it, and what they mean is taken over once it is committed (`rounds.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from poller.core.cadence import Pace
from poller.core.overdue import Terms
from poller.core.planner import Planner
from poller.core.runs import Json, KnownRun, Question, Snapshot
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.batches import Batches
from poller.polling.candidates import Candidates
from poller.polling.discovery import Discovery
from poller.polling.failures import Failures
from poller.polling.followed import Followed, Work
from poller.polling.ladders import Ladders
from poller.polling.manifests import Manifests
from poller.polling.overdue import Overdues
from poller.polling.partings import Partings

_PORTION: Final = 1000
"""Runs whose kept fields are read from the record at once."""


class Knowledge:
    """The parts that know, put together. Args: `terms` say when a run is overdue."""

    def __init__(
        self,
        foundation: Foundation,
        *,
        access: Access,
        manifests: Manifests,
        planner: Planner,
        discovery: Discovery,
        batches: Batches,
        pace: Pace,
        terms: Terms,
    ) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.access = access
        self.planner = planner
        self.discovery = discovery
        self.batches = batches
        self.pace = pace
        self.followed = Followed(foundation, discovery.rules, planner.claims)
        self.runs = self.followed.runs
        self.workflow_names: dict[str, Json] = {}
        """By workflow id: only lists show them."""
        self.overdues = Overdues(foundation, terms, self.runs)
        self.failures = Failures(foundation, pace, self.overdues.groups)
        self.ladders = Ladders(planner, manifests, pace, self.runs, self.clock.now, self.clock.monotonic)
        self.candidates = Candidates(
            planner,
            discovery,
            pause=pace.min_interval,
            patience=pace.vanish_deadline,
            monotonic=self.clock.monotonic,
        )
        self.partings = Partings(manifests)

    @property
    def scope(self) -> str:
        """The name that the record keeps all this under."""
        return self.access.place.scope

    async def take_up(self, runs: Sequence[KnownRun]) -> None:
        """Go on with what the record was following; everything is due, since nobody knows how long nobody looked.

        Which watches take a run now is read off the last GetRun that was kept of it: they may have changed.
        """
        now = self.clock.monotonic()
        places = range(0, len(runs), _PORTION) if self.discovery.rules.tell_apart else ()
        for portion in (runs[place : place + _PORTION] for place in places):
            ids = [known.run_id for known in portion]
            kept = await self.gate.insist(partial(self.store.snapshots, self.scope, ids))
            for known in portion:
                at = known.seen_at or self.clock.now()
                fields = kept.get(known.run_id)
                shown = Snapshot(known.run_id, known.status or "", True, at, at, fields=fields) if fields else None
                self.followed.place(known.run_id, shown, batch_id=known.batch_id)
        for known in runs:
            self.runs[known.run_id] = known
            self.planner.follow(known, now)
            self.overdues.plan(known)

    def take_over(self, work: Work) -> None:
        """Take a committed round over into memory and agenda."""
        for run_id, known in work.runs.items():
            if known.live or known.question is not None:
                self.runs[run_id] = known
                due = max(work.due[run_id], self.failures.retry_at(run_id))
                self.planner.follow(known, due, shown=work.shown.get(run_id))
                self.overdues.plan(known)
            else:
                self.let_go(run_id)
        for known_batch in work.batches.values():
            self.batches.update(known_batch, answered=known_batch.batch_id in work.batches_answered)
        self.ladders.plan()
        self.partings.plan(self.planner)

    def let_go(self, run_id: str) -> None:
        """Look at a run no more; its manifest may still be waited for, and what is known of it stays in the record."""
        self.runs.pop(run_id, None)
        self.planner.drop(run_id)
        self.planner.claims.drop(run_id)
        self.ladders.leave(run_id)
        self.access.forget(run_id)
        self.overdues.drop(run_id)
        self.failures.forget(run_id)

    def ask_soon(self, run_id: str) -> None:
        """Ask about a followed run as soon as min_interval allows."""
        known = self._asked_by_get_run(run_id)
        if known is not None:
            asked = replace(known, question=known.question or Question.FIRST)
            self.planner.follow(asked, self.clock.monotonic())

    def ask_about_overdue(self) -> None:
        """Have the runs asked about whose moment has come: whether they are still where they were, an answer tells."""
        now = self.clock.monotonic()
        for run_id in self.overdues.turned():
            known = self._asked_by_get_run(run_id)
            if known is not None:
                self.planner.follow(known, max(now, self.failures.retry_at(run_id)))

    def _asked_by_get_run(self, run_id: str) -> KnownRun | None:
        """A followed run; None if it is missing, or waits for a manifest: others say when it is asked about."""
        return None if run_id in self.ladders or run_id in self.partings else self.runs.get(run_id)
