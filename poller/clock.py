"""The real clock, for everything that is not a test."""

import time
from datetime import UTC, datetime

import anyio


class SystemClock:
    """A Clock: the machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
