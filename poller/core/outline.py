"""What a planner has to do as things stand: the lists that it reads and for how many runs, and how many it asks about.

Pure. `core.plan` makes costs, lag and a bound of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from poller.core.lists import NOT_DUE, ListName, RunList
from poller.core.schedule import BY_CADENCE, Schedule
from poller.core.scope_lists import ScopeLists
from poller.core.statuses import ACTIVE

OUTLINED: Final = 5000
"""Runs that an outline looks at, evenly chosen: to look at a hundred thousand would hold up all else for a second."""


@dataclass(frozen=True, slots=True)
class ListOutline:
    """One list that is read as things stand: `wait` is the seconds between two readings that its runs ask for."""

    called: str
    pages: int
    runs: int
    wait: float
    urgency: float


@dataclass(frozen=True, slots=True)
class Outline:
    """What the planner has to do as things stand; `waiting` GetRuns are due. Seconds are those of the cadence alone."""

    low: float
    high: float
    runs: int
    newest_trusted: bool
    lists: tuple[ListOutline, ...]
    direct_runs: int
    direct_wait: float
    waiting: int


def outline_of(schedule: Schedule, lists: ScopeLists) -> Outline:
    """The outline of these runs and lists; what has come to be due by now is already among what is `ready`."""
    low, high = lists.low, lists.high
    waits: dict[ListName, list[float]] = {}
    direct: list[float] = []
    step = len(schedule) // OUTLINED + 1
    for run_id, slot in islice(schedule.items(), 0, None, step):
        wait = min(max(slot.due - max(slot.shown, slot.answered), low), high)
        answering = lists.answer_for(run_id, slot, alike=schedule.alike(slot))
        for one in answering:
            waits.setdefault(one.name, []).append(wait)
        if not answering and slot.priority == BY_CADENCE and slot.due < NOT_DUE:
            direct.append(wait)
    if lists.discovering:
        for one in lists.newest if lists.newest_trusted else (one for every in ACTIVE for one in lists.of(every)):
            waits.setdefault(one.name, [])
    return Outline(
        low=low,
        high=high,
        runs=len(schedule),
        newest_trusted=lists.news_elsewhere,
        lists=tuple(_outlined(lists[name], asked, step, lists) for name, asked in waits.items()),
        direct_runs=len(direct) * step,
        direct_wait=sum(direct) / len(direct) if direct else high,
        waiting=len(schedule.ready),
    )


def _outlined(one: RunList, waits: Sequence[float], step: int, lists: ScopeLists) -> ListOutline:
    discovers = lists.discovering and (one.name.status is None or not lists.newest_trusted)
    wait = min([*waits, lists.high]) if waits or not discovers else lists.high
    urgency = one.urgency(news_elsewhere=lists.news_elsewhere)
    return ListOutline(_called(one.name), one.pages, len(waits) * step, max(wait, one.pause(lists.low)), urgency)


def _called(name: ListName) -> str:
    """A list by the words of the docs: "newest", "RUNNING", "RUNNING of group 77"."""
    status = name.status or "newest"
    if name.group is not None:
        return f"{status} of group {name.group}"
    return status if name.batch is None else f"{status} of batch {name.batch}"
