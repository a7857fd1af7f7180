"""What follows from a failure: the next attempt's time, a dead letter, or a breaker that opens.

Outage and poison differ. While a sink fails for everything it is an outage: attempts do not count, and the breaker
probes until one gets through. An event that fails again and again while others of its sink succeed is poison: after
`max_attempts` such failures it is dead, so that it frees its run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

FIRST_WAIT: Final = timedelta(seconds=0.5)
WAITS: Final = tuple(
    timedelta(seconds=seconds) for seconds in (0.5, 1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16_384, 36_000)
)
"""Between the attempts of a delivery, before jitter: doubling to 16 s, then times four, up to 10 h."""
LONGEST_PROBE: Final = timedelta(minutes=5)
LONGEST_RETRY_AFTER: Final = timedelta(hours=1)
OPENS_AFTER: Final = 5
"""Failures in a row, of whatever events, without a success between them."""


def full_jitter(failures: int, base: timedelta, cap: timedelta, jitter: float) -> timedelta:
    """Exponential backoff with full jitter: between zero and `base` doubled `failures - 1` times, at most `cap`.

    Args: `jitter` is drawn by the caller from [0, 1).  Source: AWS Architecture Blog, "Exponential Backoff and Jitter".
    """
    return _doubled(failures, base, cap) * jitter


def half_jitter(failures: int, base: timedelta, cap: timedelta, jitter: float) -> timedelta:
    """The same backoff, of which jitter takes away half at most: for what is to be asked at least so often."""
    return _doubled(failures, base, cap) * (1 - jitter / 2)


def _doubled(failures: int, base: timedelta, cap: timedelta) -> timedelta:
    doublings: int = 2 ** min(max(failures, 1) - 1, 30)
    return min(base * doublings, cap)


def delivery_wait(failures: int, jitter: float, waits: Sequence[timedelta] = WAITS) -> timedelta:
    """The wait before a delivery is tried again, full jitter: that of its failures, the last one for all further."""
    return waits[min(max(failures, 1), len(waits)) - 1] * jitter


def probe_wait(failures: int, jitter: float) -> timedelta:
    """The wait before a sink that fails for everything is tried again: as for a delivery, at most five minutes."""
    return min(full_jitter(failures, FIRST_WAIT, LONGEST_PROBE, jitter), LONGEST_PROBE)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether a sink is in an outage.

    `failures` in a row; `open` while only probes are sent: so many `probes` have failed, and the next one goes at
    `probe_at`, or is on its way (`probing`). `successes` so far, by which a delivery knows whether others have
    succeeded since its last attempt.
    """

    failures: int = 0
    open: bool = False
    probe_at: datetime | None = None
    successes: int = 0
    probes: int = 0
    probing: bool = False

    @property
    def failing(self) -> bool:
        """Whether nothing has got through for so long that others are to know, be it an outage or one bad run."""
        return self.open or self.failures >= OPENS_AFTER - 1


def probed(breaker: Breaker) -> Breaker:
    """A probe is on its way."""
    return replace(breaker, probing=True)


def succeeded(breaker: Breaker) -> Breaker:
    """Something got through: the outage, if it was one, is over."""
    return Breaker(successes=breaker.successes + 1)


def failed(breaker: Breaker, now: datetime, jitter: float, *, after: timedelta | None = None) -> Breaker:
    """One more failure in a row. `after` is what the sink asked for (Retry-After); a probe waits 5 minutes at most.

    What was under way when it opened puts the next probe off only if the sink asks for that: a hiccup that many sends
    have met is no longer than one that few have met.
    """
    breaker = replace(breaker, failures=breaker.failures + 1)
    if breaker.failures < OPENS_AFTER:
        return breaker
    asked = min(after or timedelta(0), LONGEST_PROBE)
    if breaker.open and not breaker.probing:
        return replace(breaker, probe_at=max(breaker.probe_at or now, now + asked))
    probes = breaker.probes + breaker.probing
    probe_at = now + max(probe_wait(probes + 1, jitter), asked)
    return replace(breaker, open=True, probe_at=probe_at, probes=probes, probing=False)


def may_send(breaker: Breaker, now: datetime) -> bool:
    """Whether anything may be sent now: all while closed, one probe at its time while open."""
    return not breaker.open or breaker.probe_at is None or now >= breaker.probe_at


def next_attempt(
    failures: int,
    now: datetime,
    jitter: float,
    *,
    after: timedelta | None = None,
    waits: Sequence[timedelta] = WAITS,
) -> datetime:
    """When a delivery that failed `failures` times is tried again."""
    return now + max(delivery_wait(failures, jitter, waits), min(after or timedelta(0), LONGEST_RETRY_AFTER))
