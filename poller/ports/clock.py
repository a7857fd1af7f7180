"""Time, as the engine needs it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, handed in: tests run hours of it in milliseconds."""

    def now(self) -> datetime:
        """The wall clock, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None: ...
