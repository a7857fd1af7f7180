"""The verdict ladder: from the first "not found" to the next question, or to the verdict.

GetRun says not found → once more after a pause → ListRuns → `vanished`. Nothing is declared gone by one answer, and
nothing is asked about for ever: `deadline` counts from the first not-found and contains every pause.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto


class Rung(Enum):
    """What to do next about a run that GetRun did not find."""

    GET_RUN = auto()
    LIST_RUNS = auto()
    VANISHED = auto()


@dataclass(frozen=True, slots=True)
class Ladder:
    """How far up one run is.

    `misses` counts GetRun's not-founds; `listed` says whether ListRuns has been read; `contradicted` that it still
    showed the run: then GetRun is asked again and again, but not beyond the deadline.
    """

    missing_since: datetime
    misses: int = 1
    listed: bool = False
    contradicted: bool = False
    evidence: tuple[str, ...] = ()


def next_rung(
    ladder: Ladder, *, seen_before: bool, shown_deleted: bool, pause: timedelta, deadline: timedelta
) -> tuple[Rung, datetime]:
    """What comes next, and not before when.

    The second GetRun comes after `pause` for a run that was seen before, at two thirds of the deadline for one that
    never was (a new run can be invisible for a moment); a DELETED that GetRun itself showed needs no second one.
    """
    start = ladder.missing_since
    if ladder.misses < 2 and not shown_deleted:
        return Rung.GET_RUN, start + (min(pause, deadline * 2 / 3) if seen_before else deadline * 2 / 3)
    if not ladder.listed:
        return Rung.LIST_RUNS, start
    return Rung.VANISHED, start
