"""Tells that a cohort has finished: follows the events on record, and adds one when the last of its runs has ended."""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from poller.core.cohorts import Cohort, has_finished
from poller.core.drafts import cohort_event
from poller.foundation import Foundation
from poller.ports import Round

log = structlog.get_logger("poller.delivery")

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what is new: each is a transaction that writes, and nobody waits for it sooner."""


class Cohorts:
    """Follows cohorts for ever.

    Args: `which` gives the cohorts as things stand: two scopes may prove to be one, which a batch is then of.
    """

    def __init__(self, which: Callable[[], Sequence[Cohort]], foundation: Foundation) -> None:
        self.which = which
        self.foundation = foundation
        self._read_to = -1

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            await self.look()
            await self.foundation.clock.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Read what is new, and tell of the cohorts that have finished by now."""
        on, cohorts = self.foundation, self.which()
        last = await on.gate.insist(on.store.last_position)
        if last != self._read_to:
            while await on.gate.insist(lambda: on.store.follow_cohorts(cohorts)):
                pass
            self._read_to = last
        progress = await on.gate.insist(lambda: on.store.cohort_progress(cohorts))
        now = on.clock.now()
        for cohort in cohorts:
            if cohort.key in progress and has_finished(cohort, progress[cohort.key], now):
                await self._tell(cohort)

    async def _tell(self, cohort: Cohort) -> None:
        on, now = self.foundation, self.foundation.clock.now()
        finished = await on.gate.insist(lambda: on.store.cohort_finished(cohort, now))
        round_ = Round(at=now, drafts=[cohort_event(finished)], cohorts_finished={cohort.key: now})
        await on.gate.insist(lambda: on.store.commit_round(round_))
        log.info("cohort.finished", cohort=cohort.name, **finished.counts)
        on.bell.ring()
