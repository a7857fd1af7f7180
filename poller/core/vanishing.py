"""The verdict ladder: from the first "not found" to the next question, or to the verdict.

GetRun says not found → once more after a pause → ListRuns → the run's manifest in CloudWatch Logs → `vanished`. Nothing
is declared gone by one answer, and nothing is asked about for ever: `deadline` counts from the first not-found and
contains every pause. A manifest that shows the end decides at once; one that is not there yet is asked for until the
deadline, and `LATE_FOR` longer after `vanished`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from poller.core.retries import half_jitter
from poller.core.runs import Snapshot

LATE_FOR: Final = timedelta(minutes=5)
"""How long after `vanished` a manifest may still come: how late the service writes it is not documented."""
LISTS_SHARE: Final = 5 / 6
"""Of the deadline: lists that do not answer must not take from the manifest the time to be asked for."""
LONGEST_PAUSE: Final = timedelta(seconds=30)
"""Between two askings for one manifest, so that a thousand vanished runs are no storm."""


class Rung(Enum):
    """What to do next about a run that GetRun did not find."""

    GET_RUN = auto()
    LIST_RUNS = auto()
    MANIFEST = auto()
    TOP = auto()
    """Nothing more is to be asked: the verdict."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How asking for one manifest has gone so far.

    `end` is the manifest, once it shows an end of the run; `absent` says that it was not there when it was last asked
    for, `left_out` that nothing more will come of asking; `said` is the last word, for the evidence.
    """

    asked: int = 0
    end: Snapshot | None = None
    absent: bool = False
    left_out: bool = False
    said: str = "manifest: not asked in time"


@dataclass(frozen=True, slots=True)
class Ladder:
    """How far up one run is.

    `misses` counts GetRun's not-founds; `listed` says whether ListRuns has been read; `contradicted` that it still
    showed the run: then GetRun is asked again and again, but not beyond the deadline. `evidence` says what was tried.
    """

    missing_since: datetime
    misses: int = 1
    listed: bool = False
    contradicted: bool = False
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What the ladder of one run goes by; `pause` is min_interval."""

    seen_before: bool
    shown_deleted: bool
    lists_allowed: bool
    pause: timedelta
    deadline: timedelta


def next_rung(ladder: Ladder, reading: Reading, now: datetime, terms: Terms) -> tuple[Rung, datetime]:
    """What comes next; for GET_RUN the moment before which it is not asked, else the one at which waiting for it ends.

    The second GetRun comes after the pause for a run that was seen before, at two thirds of the deadline for one that
    never was (a new run can be invisible for a moment); a DELETED that GetRun itself showed needs no second one.
    """
    start, end = ladder.missing_since, ladder.missing_since + terms.deadline
    if reading.end is not None or (ladder.contradicted and now >= end):
        return Rung.TOP, start
    if ladder.misses < 2 and not terms.shown_deleted:
        patience = terms.deadline * 2 / 3
        return Rung.GET_RUN, start + (min(terms.pause, patience) if terms.seen_before else patience)
    lists_until = start + terms.deadline * LISTS_SHARE
    if not ladder.listed and terms.lists_allowed and now < lists_until:
        return Rung.LIST_RUNS, end if ladder.contradicted else lists_until
    if not reading.left_out and now < end:
        return Rung.MANIFEST, end
    return Rung.TOP, start


def tried(ladder: Ladder, reading: Reading, *, lists_allowed: bool) -> tuple[str, ...]:
    """The evidence of a verdict: everything that was asked, in order, and what came of it."""
    evidence = ladder.evidence
    if not ladder.listed and not ladder.contradicted and reading.end is None:
        evidence = (*evidence, "ListRuns: not read whole in time" if lists_allowed else "ListRuns: not allowed")
    return (*evidence, reading.said)


def manifest_pause(asked: int, shortest: timedelta, jitter: float) -> timedelta:
    """The wait before a manifest is asked for again: `shortest` doubled at each asking, at most `LONGEST_PAUSE`.

    Args: `asked` is how often it was; `jitter`, drawn from [0, 1), makes it up to half as long.
    """
    return half_jitter(asked, shortest, LONGEST_PAUSE, jitter)
