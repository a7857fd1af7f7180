"""While the record cannot be written, looks and sends stop; it is tried again with backoff, and people are told."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

import anyio
import structlog

from poller.core.errors import StoreUnavailable
from poller.core.retries import full_jitter
from poller.ports.clock import Clock

log = structlog.get_logger("poller.record")
T = TypeVar("T")

_FIRST_WAIT: Final = timedelta(seconds=0.2)
_LONGEST_WAIT: Final = timedelta(seconds=5)


class RecordGate:
    """Whether the record can be written, for all parts of a process.

    Args: `chance` gives numbers in [0, 1).
    """

    def __init__(self, clock: Clock, chance: Callable[[], float]) -> None:
        self.clock = clock
        self.chance = chance
        self.closed_since: datetime | None = None
        self.reason: str | None = None
        self._failing = 0
        self._opened = anyio.Event()
        self._opened.set()

    async def open(self) -> None:
        """Return once the record can be written, as far as anyone knows."""
        await self._opened.wait()

    async def insist(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do one operation of the record until it is done; the gate is closed while it fails.

        Raises: StoreRefused, and whatever else waiting does not mend.
        """
        failures = 0
        done = False
        try:
            while True:
                try:
                    result = await operation()
                    done = True
                    return result
                except StoreUnavailable as error:
                    failures += 1
                    self._close(error, first=failures == 1)
                wait = full_jitter(failures, _FIRST_WAIT, _LONGEST_WAIT, self.chance())
                await self.clock.sleep(wait.total_seconds())
        finally:
            if failures:  # also if it was given up: nobody else would find out that the record is well again
                self._leave(recovered=done)

    def _close(self, error: StoreUnavailable, *, first: bool) -> None:
        self.reason = str(error)
        self._failing += first
        if self.closed_since is None:
            self.closed_since = self.clock.now()
            self._opened = anyio.Event()
            log.error("store.unavailable", reason=self.reason)

    def _leave(self, *, recovered: bool) -> None:
        """One operation fails no more; the gate is open once none does."""
        self._failing -= 1
        if self._failing == 0 and self.closed_since is not None:
            if recovered:
                seconds = (self.clock.now() - self.closed_since).total_seconds()
                log.info("store.recovered", seconds=round(seconds, 3))
            self.closed_since = self.reason = None
            self._opened.set()
