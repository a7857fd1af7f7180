"""When to ask again about a run: often when something is near, seldom when nothing has moved for long."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

SHARE: Final = 0.1
"""Of the time spent in a status: a run in RUNNING for an hour is asked about every six minutes if `high` allows."""
SPREAD: Final = 0.2
"""How much sooner jitter may make a look, so that runs that were started together fall out of step."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a scope may be asked and how long things may take: `[polling]`, as the engine reads it.

    `ceiling` is in calls per second for each API operation; `discover_ended` of zero turns that reading off.
    """

    min_interval: timedelta = timedelta(seconds=5)
    max_interval: timedelta = timedelta(seconds=60)
    ceiling: float = 5.0
    blind_after: timedelta = timedelta(minutes=5)
    vanish_deadline: timedelta = timedelta(seconds=30)
    discover_ended: timedelta = timedelta(minutes=15)


DEFAULT_PACE: Final = Pace()


def next_look(
    since: datetime, now: datetime, low: timedelta, high: timedelta, jitter: float, *, seen: datetime | None = None
) -> datetime:
    """When to ask again about a run that has been in its status since `since`.

    A tenth of the time spent in the status, at least `low` (so also right after a transition), at most `high`; up to a
    fifth sooner by `jitter`, never sooner than `low`. Counted from `seen`, the last look, which is `now` if not given.

    Args: times are aware UTC; `jitter` is drawn by the caller from [0, 1), 0 in tests.
    Raises: ValueError if a time is naive or `low` is longer than `high`.
    """
    if since.tzinfo is None or now.tzinfo is None:
        raise ValueError("times must be aware")
    if low > high:
        raise ValueError("low is longer than high")
    wait = min(max((now - since) * SHARE, low), high)
    wait = max(wait * (1 - SPREAD * jitter), low)
    return (seen or now) + wait
