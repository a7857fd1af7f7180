"""The service's rate limits: one token bucket per operation, which foreign callers of the same account spend from too.

Pure: the instant of each call comes in. Foreign calls are not made but worked out, when somebody asks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from poller.emulator.chance import chance
from poller.emulator.instants import SECOND

# Default calls per second, account and region (User Guide, page api-quotas); those about batches are not documented
# and taken to be like the others. The size of a burst is not documented either.
SERVICE_QUOTAS: Final[Mapping[str, float]] = {
    "StartRun": 1,
    "GetRun": 10,
    "ListRuns": 10,
    "GetRunTask": 10,
    "ListRunTasks": 10,
    "CancelRun": 10,
    "DeleteRun": 10,
    "GetRunGroup": 10,
    "GetBatch": 10,
    "ListBatch": 10,
    "ListRunsInBatch": 10,
    "DeleteBatch": 10,
}
# Operations that spend the quota of another one (User Guide, page workflows-batch), unless a quota names them.
SPENT_AS: Final[Mapping[str, str]] = {
    "StartRunBatch": "StartRun",
    "CancelRunBatch": "CancelRun",
    "DeleteRunBatch": "DeleteRun",
}
ROUNDING: Final = 1e-9  # many small refills add up to a hair less than a whole token


class TokenBucket:
    """`rate` calls per second, up to `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        _demand(rate, burst)
        self.rate, self.burst = rate, burst
        self._tokens: float = burst
        self._at: int | None = None

    def take(self, now: int) -> bool:
        """Whether the quota has room for one more call at `now`, which it then takes."""
        self._refill(now)
        if self._tokens < 1 - ROUNDING:
            return False
        self._tokens -= 1
        return True

    def change(self, rate: float, burst: float, now: int) -> None:
        """From now on another rate; what is left of the old burst stays, as far as the new one allows."""
        _demand(rate, burst)
        self._refill(now)
        self.rate, self.burst = rate, burst
        self._tokens = min(self._tokens, burst)

    def _refill(self, now: int) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate / SECOND)
        self._at = now if self._at is None else max(now, self._at)


@dataclass(slots=True)
class ForeignCalls:
    """What others in the account have asked of one operation so far: `made` calls, of them `refused`."""

    per_second: float
    since: int
    slot: int = 0  # of those since `since`, each as long as one call takes at this rate, the one of the next call
    next_at: int = 0
    made: int = 0
    refused: int = 0


class Quota:
    """Buckets by operation. A single number is the quota of each operation; None, and operations not named, have no
    limit. All may be changed at any time.
    """

    def __init__(
        self,
        per_second: Mapping[str, float] | float | None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng if rng is not None else chance(0)
        self._per_second = per_second
        self._buckets: dict[str, TokenBucket] = {}
        self._foreign: dict[str, ForeignCalls] = {}
        rates = per_second.values() if isinstance(per_second, Mapping) else () if per_second is None else (per_second,)
        for rate in rates:
            _demand(rate, _burst(rate))

    @property
    def per_second(self) -> Mapping[str, float] | float | None:
        return self._per_second

    def take(self, operation: str, now: int) -> bool:
        """Whether there is room for one more call of ours, after all that others have asked up to `now`."""
        name = self._name(operation)
        self._let_others_call(name, now)
        bucket = self._bucket(name)
        return bucket is None or bucket.take(now)

    def change(self, per_second: Mapping[str, float] | float | None, now: int) -> None:
        """Other quotas from now on, as for a new one; what is left in a bucket stays in it."""
        changed = Quota(per_second)  # refuses what is not a quota
        for name in self._foreign:
            self._let_others_call(name, now)
        self._per_second = per_second
        for name, bucket in list(self._buckets.items()):
            rate = changed._rate(name)
            if rate is None:
                del self._buckets[name]
            else:
                bucket.change(rate, _burst(rate), now)

    def call_foreign(self, per_second: Mapping[str, float], now: int) -> None:
        """From now on others in the account make so many calls a second of these operations, and of no others.

        Each comes at a chance moment of its own slice of the second, so that nobody who calls at even intervals falls
        into step with them. What they made before stays counted.
        """
        for operation, rate in per_second.items():
            if not 0 <= rate < float("inf"):
                raise ValueError(f"others cannot make {rate} calls of {operation} per second")
        for name, foreign in self._foreign.items():
            self._let_others_call(name, now)
            foreign.per_second, foreign.since, foreign.slot = 0.0, now, 0
        for operation, rate in per_second.items():
            foreign = self._foreign.setdefault(self._name(operation), ForeignCalls(0.0, now))
            foreign.per_second += rate
        for foreign in self._foreign.values():
            self._draw(foreign)

    def foreign_calls(self, now: int) -> Mapping[str, ForeignCalls]:
        """What others have asked up to `now`, by operation."""
        for name in self._foreign:
            self._let_others_call(name, now)
        return dict(self._foreign)

    def _let_others_call(self, name: str, now: int) -> None:
        """Spend what others have spent since the last time, each call at its own instant."""
        foreign = self._foreign.get(name)
        if foreign is None or not foreign.per_second:
            return
        bucket = self._bucket(name)
        while foreign.next_at <= now:
            foreign.made += 1
            if bucket is not None and not bucket.take(foreign.next_at):
                foreign.refused += 1
            foreign.slot += 1
            self._draw(foreign)

    def _draw(self, foreign: ForeignCalls) -> None:
        """When the next of these calls comes."""
        if foreign.per_second:
            elapsed = (foreign.slot + self._rng.random()) / foreign.per_second
            foreign.next_at = foreign.since + round(elapsed * SECOND)

    def _name(self, operation: str) -> str:
        """By which name the quota knows the operation."""
        named = self._per_second
        return operation if isinstance(named, Mapping) and operation in named else SPENT_AS.get(operation, operation)

    def _rate(self, name: str) -> float | None:
        named = self._per_second
        return named.get(name) if isinstance(named, Mapping) else named

    def _bucket(self, name: str) -> TokenBucket | None:
        rate = self._rate(name)
        if rate is None:
            return None
        if name not in self._buckets:
            self._buckets[name] = TokenBucket(rate, _burst(rate))
        return self._buckets[name]


def _burst(rate: float) -> float:
    """What may be asked at once: as much as in a second."""
    return max(1.0, rate)


def _demand(rate: float, burst: float) -> None:
    if rate <= 0 or burst < 1:
        raise ValueError(f"a quota of {rate} calls per second with bursts of {burst} would never let a call through")
