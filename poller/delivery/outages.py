"""A sink's outage, as the other sinks are told of it: once it has lasted for a while, and once more when it is over."""

from datetime import datetime, timedelta

from poller.core.drafts import poller_event
from poller.core.event_data import PollerData
from poller.core.events import PollerKind
from poller.core.retries import Breaker
from poller.foundation import Foundation
from poller.ports.records import Round


class Outages:
    """Tells of one sink. What was told is in the record, so that a restart tells neither twice.

    Args: `failing_after` is how long an outage lasts before it is told; `instance` is the daemon that tells.
    """

    def __init__(self, sink: str, failing_after: timedelta, foundation: Foundation, instance: str) -> None:
        self.sink = sink
        self.failing_after = failing_after
        self.foundation = foundation
        self.instance = instance
        self.since: datetime | None = None
        self.told = False

    def remember(self, failing_since: datetime | None) -> None:
        """Go on from what the record says was told and not taken back."""
        self.since, self.told = failing_since, failing_since is not None

    async def look(self, breaker: Breaker, last_error: str | None, last_success_at: datetime | None) -> None:
        """Tell what the state of the breaker means by now, if that is news."""
        now = self.foundation.clock.now()
        if breaker.failing:
            self.since = self.since or now
            if not self.told and now - self.since >= self.failing_after:
                await self._tell("sink_failing", self.since, now, last_error, last_success_at)
                self.told = True
        elif not self.told:
            self.since = None
        elif self.since is not None and breaker.successes:
            await self._tell("sink_recovered", self.since, now, None, last_success_at)
            self.remember(None)

    async def _tell(
        self, kind: PollerKind, since: datetime, now: datetime, detail: str | None, last_success_at: datetime | None
    ) -> None:
        over = kind == "sink_recovered"
        data = PollerData(
            instance=self.instance,
            subject=self.sink,
            cause=None,
            detail=detail,
            since=since,
            observed_at=now,
            last_success_at=last_success_at,
            duration_seconds=(now - since).total_seconds() if over else None,
        )
        failing = {self.sink: None if over else since}
        await self.foundation.commit(Round(at=now, drafts=[poller_event(kind, data)], failing=failing))
