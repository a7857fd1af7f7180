"""The service's rate limits: one token bucket per operation. Pure: the instant of each call comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from poller.emulator.instants import SECOND

# Default calls per second, account and region (User Guide, page api-quotas). The size of a burst is not documented.
SERVICE_QUOTAS: Final[Mapping[str, float]] = {
    "StartRun": 1,
    "GetRun": 10,
    "ListRuns": 10,
    "GetRunTask": 10,
    "ListRunTasks": 10,
    "CancelRun": 10,
    "DeleteRun": 10,
}


ROUNDING: Final = 1e-9  # many small refills add up to a hair less than a whole token


class TokenBucket:
    """`rate` calls per second, up to `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(
                f"a quota of {rate} calls per second with bursts of {burst} would never let a call through"
            )
        self.rate, self.burst = rate, burst
        self._tokens: float = burst
        self._at: int | None = None

    def take(self, now: int) -> bool:
        """Whether the quota has room for one more call at `now`, which it then takes."""
        if self._at is not None and now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate / SECOND)
        self._at = now if self._at is None else max(now, self._at)
        if self._tokens < 1 - ROUNDING:
            return False
        self._tokens -= 1
        return True


class Quota:
    """Buckets by operation. A single number is the quota of each operation; None, and operations not named, have no
    limit.
    """

    def __init__(self, per_second: Mapping[str, float] | float | None, burst_seconds: float = 1.0) -> None:
        self._per_second, self._burst_seconds = per_second, burst_seconds
        self._buckets: dict[str, TokenBucket] = {}
        rates = per_second.values() if isinstance(per_second, Mapping) else () if per_second is None else (per_second,)
        for rate in rates:
            self._bucket(rate)

    def take(self, operation: str, now: int) -> bool:
        bucket = self._buckets.get(operation)
        if bucket is None:
            named = self._per_second
            rate = named.get(operation) if isinstance(named, Mapping) else named
            if rate is None:
                return True
            bucket = self._buckets[operation] = self._bucket(rate)
        return bucket.take(now)

    def _bucket(self, rate: float) -> TokenBucket:
        return TokenBucket(rate, max(1.0, rate * self._burst_seconds))
