"""How fast one API operation of one account may be asked: a token bucket whose rate is learned.

Additive increase, multiplicative decrease, as arithmetic on a frozen value and a moment that is handed in (seconds of
a monotonic clock). A throttle cuts the rate, once per round trip: the calls that were under way when it was cut say
nothing new. The rate grows only while the bucket is what holds calls back, since an idle bucket proves nothing.
"""

from dataclasses import dataclass, replace
from typing import Final

FLOOR: Final = 0.5
"""Calls per second that are always tried: below it a watch would go quiet."""
CUT: Final = 0.7
"""What a throttle leaves of the rate. 0.7 and not TCP's 0.5: the quota is a steady figure, not a queue to drain."""
RISE: Final = 0.05
"""Calls per second gained by each second in which the bucket was the limit and nobody was throttled."""
BURST_SECONDS: Final = 1.0
"""Tokens saved up at most, in seconds of the rate: the service's own burst is not documented."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The state of one bucket.

    `rate` and `ceiling` are calls per second; `tokens` calls that may be made at `updated`. `cut_at` is when the rate
    was last cut; `limited_since` since when calls have waited for tokens, None when they do not.
    """

    rate: float
    ceiling: float
    tokens: float
    updated: float
    cut_at: float | None = None
    limited_since: float | None = None


def open_budget(ceiling: float, now: float, *, remembered: float | None = None) -> Budget:
    """A bucket as it starts: at the rate that the record remembers, else at the ceiling; with one call at hand."""
    rate = ceiling if remembered is None else min(max(remembered, min(FLOOR, ceiling)), ceiling)
    return Budget(rate, ceiling, tokens=1.0, updated=now)


def wait_seconds(budget: Budget, now: float) -> float:
    """How long until one call may be made; 0 if it may be made now."""
    missing = 1.0 - _tokens(budget, now)
    return max(0.0, missing / budget.rate)


def take(budget: Budget, now: float) -> Budget:
    """Spend one call. The caller has waited for it; a bucket that is short goes below zero, never wrong."""
    return replace(budget, tokens=_tokens(budget, now) - 1.0, updated=now)


def held_back(budget: Budget, now: float, *, waiting: bool) -> Budget:
    """Note whether calls wait for tokens, and let the rate grow for the time in which they did."""
    if budget.limited_since is not None:
        gained = (now - budget.limited_since) * RISE
        tokens = _tokens(budget, now)
        budget = replace(budget, rate=min(budget.rate + gained, budget.ceiling), tokens=tokens, updated=now)
    return replace(budget, limited_since=now if waiting else None)


def throttled(budget: Budget, now: float, sent_at: float) -> Budget:
    """The service refused a call that was sent at `sent_at`: cut the rate, unless it was cut since then already."""
    if budget.cut_at is not None and sent_at < budget.cut_at:
        return budget
    rate = max(budget.rate * CUT, min(FLOOR, budget.ceiling))
    return replace(budget, rate=rate, tokens=min(_tokens(budget, now), 0.0), updated=now, cut_at=now)


def _tokens(budget: Budget, now: float) -> float:
    gained = (now - budget.updated) * budget.rate
    return min(budget.tokens + gained, max(1.0, budget.rate * BURST_SECONDS))
