"""While the record cannot be written, looks and sends stop; it is tried again with backoff, and people are told."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

import anyio
import structlog

from poller.core.errors import StoreUnavailable
from poller.core.retries import full_jitter
from poller.ports import Clock

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
        while True:
            try:
                result = await operation()
            except StoreUnavailable as error:
                failures += 1
                self._close(error)
                await self.clock.sleep(full_jitter(failures, _FIRST_WAIT, _LONGEST_WAIT, self.chance()).total_seconds())
            else:
                if failures:
                    self._open()
                return result

    def _close(self, error: StoreUnavailable) -> None:
        self.reason = str(error)
        if self.closed_since is None:
            self.closed_since = self.clock.now()
            self._opened = anyio.Event()
            log.error("store.unavailable", reason=self.reason)

    def _open(self) -> None:
        if self.closed_since is not None:
            seconds = (self.clock.now() - self.closed_since).total_seconds()
            log.info("store.recovered", seconds=round(seconds, 3))
            self.closed_since = self.reason = None
            self._opened.set()
