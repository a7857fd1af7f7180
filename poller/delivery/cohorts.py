"""Tells that a cohort has finished: follows the events on record, and adds one when the last of its runs has ended."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from poller.core.cohorts import LIVE, Cohort, Followed, Progress, has_finished
from poller.core.drafts import cohort_event
from poller.foundation import Foundation
from poller.ports.records import Round

log = structlog.get_logger("poller.delivery")

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what is new: each is a transaction that writes, and nobody waits for it sooner."""


class Cohorts:
    """Follows cohorts for ever.

    Args: `which` gives the cohorts as things stand: a reload may bring a batch, and two scopes may prove to be one,
    which a batch is then of, and which a run is then in.
    """

    def __init__(self, which: Callable[[], Sequence[Cohort]], foundation: Foundation) -> None:
        self.which = which
        self.foundation = foundation
        self._read_to = -1
        self._known: Mapping[str, Cohort] = {}
        """As they were when they read last, by key: where a run is that they name may only become clear."""
        self._progress: dict[str, Progress | None] = {}
        """As last read, by key; None of one that has finished. What has changed since is not in it."""

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            await self.look()
            await self.foundation.clock.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Read what is new, and tell of the cohorts that have finished by now."""
        on, cohorts = self.foundation, {cohort.key: cohort for cohort in self.which()}
        if cohorts:
            await self._read(cohorts)
        self._progress = {key: progress for key, progress in self._progress.items() if key in cohorts}
        moved = [one for key, one in cohorts.items() if key not in self._progress or self._may_close(key, one)]
        if moved:
            read = await on.gate.insist(lambda: on.store.cohort_progress(moved))
            self._progress |= {cohort.key: read.get(cohort.key) for cohort in moved}
        now = on.clock.now()
        for key, cohort in cohorts.items():
            progress = self._progress.get(key)
            if progress is not None and has_finished(cohort, progress, now):
                await self._tell(cohort)

    async def _read(self, cohorts: Mapping[str, Cohort]) -> None:
        """Have them read what is new; those whose runs are named otherwise by now, all that is on record."""
        on = self.foundation
        last = await on.gate.insist(on.store.last_position)
        if last == self._read_to and cohorts == self._known:
            return
        anew = [key for key, cohort in cohorts.items() if self._known.get(key, cohort) != cohort]
        followed = Followed(more=True)
        while followed.more:
            followed = await on.gate.insist(partial(on.store.follow_cohorts, list(cohorts.values()), anew=anew))
            anew = []
            for key in followed.changed:
                self._progress.pop(key, None)
        self._read_to, self._known = last, cohorts

    def _may_close(self, key: str, cohort: Cohort) -> bool:
        """Whether it may finish without an event: that a batch submits no more is none, once its runs have ended."""
        progress = self._progress.get(key)
        return cohort.batch_id is not None and progress is not None and not progress.counts.get(LIVE)

    async def _tell(self, cohort: Cohort) -> None:
        on, now = self.foundation, self.foundation.clock.now()
        finished = await on.gate.insist(lambda: on.store.cohort_finished(cohort, now))
        await on.commit(Round(at=now, drafts=[cohort_event(finished)], cohorts_finished={cohort.key: now}))
        self._progress[cohort.key] = None
        log.info("cohort.finished", cohort=cohort.name, **finished.counts)
