"""How fast one API operation of one account may be asked: a token bucket whose rate is learned.

Additive increase, multiplicative decrease, as arithmetic on a frozen value and a moment that is handed in (seconds of
a monotonic clock). A throttle cuts the rate, once per round trip: the calls that were under way when it was cut say
nothing new. The rate grows only while the bucket is what holds calls back, since an idle bucket proves nothing; it
grows slowly near the rate at which it was cut, where the quota must be, and faster the longer nothing is refused.

Not every throttle is a quota that was reached. One that comes well below the rate of the last cut, and alone, is
counted as chance: its share of the calls is learned, and as many later ones are forgiven. Throttles in a row always
cut.

Calls are not spaced evenly: two even callers of one quota fall into step, and then one of them is refused for ever
while the other never learns of it. Measured against a service that allows bursts of one second of its quota
(tests/unit/core/test_budget.py): a hidden quota of 3/s under a ceiling of 10/s and unlimited need, 1.5 % of the calls
refused and 84 % of the quota used; a quota raised from 3/s to 10/s is found in 120 s; 2 % refusals by chance leave
8/s of 10 on average, 4 % leave 4/s; a steady foreign caller of half the quota is refused 0.4 % of its calls (10/s), 4 %
(3/s).
"""

from dataclasses import dataclass, replace
from typing import Final

FLOOR: Final = 0.5
"""Calls per second that are always tried: below it a watch would go quiet."""
CUT: Final = 0.6
"""What a throttle leaves of the rate. Not TCP's 0.5: the quota is a steady figure, not a queue to drain."""
RISE: Final = 0.012
"""Calls per second gained by each second in which the bucket was the limit and nobody was throttled."""
STEEPER: Final = 3.2e-4
"""By how much `RISE` itself grows with each such second since the last cut: a quota that was freed is found again."""
LONGEST_CLIMB: Final = 5.0
"""Seconds of waiting that one note proves: nobody who is held back is silent for longer (the floor is 0.5/s)."""
BURST_SECONDS: Final = 1.0
"""Tokens saved up at most, in seconds of the rate: the service's own burst is not documented."""
NEAR: Final = 0.85
"""Of the rate at the last cut: from there on a throttle is the quota, below it chance."""
COOLING: Final = 0.85
"""What each call leaves of the heat that throttles bring, one degree each."""
HOT: Final = 1.9
"""The heat of throttles in a row: no chance."""
LEARNED_OVER: Final = 60
"""Calls over which the share of chance throttles is learned."""
GENEROSITY: Final = 1.2
"""Throttles forgiven for each one that chance has been seen to bring."""
MOST_FORGIVEN: Final = 3.0
UNEVEN: Final = 1.6
"""Calls cost from 0.2 to 1.8 tokens, one on average, in a fixed order that never repeats (the golden ratio's)."""
_GOLDEN: Final = 0.6180339887498949
_HAIR: Final = 1e-5
"""Of a token: what rounding may leave missing after the whole wait; a wait too short to move the clock never ends."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The state of one bucket.

    `rate` and `ceiling` are calls per second; `tokens` calls that may be made at `updated`. `cut_at` is when the rate
    was last cut; `limited_since` since when calls have waited for tokens, None when they do not; `climbed` for how
    many seconds they have since the cut; `calls` how many there were. `peak` is the rate at the last cut; `chance` the
    share of calls that is throttled whatever the rate, `forgiveness` how many throttles that excuses now; `heat` tells
    throttles in a row from single ones.
    """

    rate: float
    ceiling: float
    tokens: float
    updated: float
    cut_at: float | None = None
    limited_since: float | None = None
    climbed: float = 0.0
    calls: int = 0
    peak: float | None = None
    chance: float = 0.0
    forgiveness: float = 0.0
    heat: float = 0.0


def open_budget(ceiling: float, now: float, *, remembered: float | None = None) -> Budget:
    """A bucket as it starts: at the rate that the record remembers, else at the ceiling; with one call at hand."""
    rate = ceiling if remembered is None else min(max(remembered, min(FLOOR, ceiling)), ceiling)
    return Budget(rate, ceiling, tokens=1.0, updated=now)


def wait_seconds(budget: Budget, now: float) -> float:
    """How long until one call may be made; 0 if it may be made now."""
    missing = 1.0 - _tokens(budget, now)
    return missing / budget.rate if missing > _HAIR else 0.0


def take(budget: Budget, now: float) -> Budget:
    """Spend one call. The caller has waited for it; a bucket that is short goes below zero, never wrong."""
    cost = 1.0 + UNEVEN * (budget.calls * _GOLDEN % 1.0 - 0.5)
    chance = budget.chance if _is_near(budget) else budget.chance * (1 - 1 / LEARNED_OVER)
    return replace(
        budget,
        tokens=_tokens(budget, now) - cost,
        updated=now,
        calls=budget.calls + 1,
        chance=chance,
        forgiveness=min(budget.forgiveness + chance * GENEROSITY, MOST_FORGIVEN),
        heat=budget.heat * COOLING,
    )


def held_back(budget: Budget, now: float, *, waiting: bool) -> Budget:
    """Note whether calls wait for tokens, and let the rate grow for the time in which they did."""
    if budget.limited_since is None and not waiting:
        return budget
    if budget.limited_since is not None:
        seconds = min(now - budget.limited_since, LONGEST_CLIMB)
        gained = seconds * (RISE + STEEPER * (budget.climbed + seconds / 2))
        budget = replace(
            budget,
            rate=min(budget.rate + gained, budget.ceiling),
            tokens=_tokens(budget, now),
            updated=now,
            climbed=budget.climbed + seconds,
        )
    return replace(budget, limited_since=now if waiting else None)


def throttled(budget: Budget, now: float, sent_at: float) -> Budget:
    """The service refused a call that was sent at `sent_at`: cut the rate, unless it was cut since then already.

    A single throttle far below the rate of the last cut is learned as chance; one that chance explains is forgiven.
    """
    if budget.cut_at is not None and sent_at < budget.cut_at:
        return budget
    budget = replace(budget, heat=budget.heat + 1.0)
    in_a_row = budget.heat >= HOT
    if not in_a_row and not _is_near(budget):
        return replace(budget, chance=budget.chance + 1 / LEARNED_OVER)
    if not in_a_row and budget.forgiveness >= 1.0:
        return replace(budget, forgiveness=budget.forgiveness - 1.0)
    return replace(
        budget,
        rate=max(budget.rate * CUT, min(FLOOR, budget.ceiling)),
        tokens=min(_tokens(budget, now), 0.0),
        updated=now,
        cut_at=now,
        climbed=0.0,
        peak=budget.rate,
        chance=0.0 if in_a_row else budget.chance,
        forgiveness=0.0 if in_a_row else budget.forgiveness,
        heat=0.0,
    )


def _is_near(budget: Budget) -> bool:
    """Whether the rate is where the quota was met last, so that a throttle says something of it."""
    return budget.peak is None or budget.rate >= NEAR * budget.peak


def _tokens(budget: Budget, now: float) -> float:
    gained = (now - budget.updated) * budget.rate
    return min(budget.tokens + gained, max(1.0, budget.rate * BURST_SECONDS))
