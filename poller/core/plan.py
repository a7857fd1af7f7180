"""What a planner does as things stand, in figures and in words: which lists, at what cost, and how soon it knows.

Pure. The figures follow from the planner's own rules. `bound_seconds` is what it promises: an end is known within it,
unless what it was reckoned from changes meanwhile (more runs, a lower rate, more failures). docs/polling.md shows how
it is made up; tests/unit/polling/test_bound.py holds it against a service that shifts pages, throttles and fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from poller.core.outline import Outline

ON_THE_WAY: Final = 2.0
"""Seconds granted for latency, for answers that are gathered into a round, and for short lists that are read first."""
MOST_FAILING: Final = 0.9
"""Share of looks beyond which no bound is worth announcing: then the scope is on its way to blindness."""


@dataclass(frozen=True, slots=True)
class ListPlan:
    """One list that is read: how long it is, the followed runs that it answers for, how often it is read."""

    list: str
    pages: int
    runs: int
    every_seconds: float
    calls_per_minute: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The looks of one scope as they stand.

    `direct_runs` are asked about by GetRun, `direct_every_seconds` after so long on average (0 if there are none);
    `waiting` is how many GetRuns are due and not made. `lag_seconds` is how long a change stays unknown on average,
    `bound_seconds` at most, for an end.
    """

    runs: int
    newest_trusted: bool
    lists: tuple[ListPlan, ...]
    direct_runs: int
    direct_every_seconds: float
    waiting: int
    get_runs_per_minute: float
    list_runs_per_minute: float
    limit_get_runs_per_minute: float
    limit_list_runs_per_minute: float
    lag_seconds: float
    bound_seconds: float


def plan_of(outline: Outline, rates: Mapping[str, float], *, failing: float = 0.0) -> Plan:
    """The plan that a planner's outline amounts to.

    Args: `rates` are the calls per second that GetRun and ListRuns may be asked; `failing` is the share of looks that
    brought no answer lately, below 1.
    """
    lists_rate, runs_rate = rates["ListRuns"] * (1 - failing), rates["GetRun"] * (1 - failing)
    demand = sum(one.pages / one.wait for one in outline.lists)
    urgencies = sum(one.urgency for one in outline.lists)
    lists, lags, reached = [], [], [outline.high if outline.direct_runs else 0.0]
    for one in outline.lists:
        share = lists_rate * one.urgency / urgencies
        every = max(one.wait, one.pages / share) if demand > lists_rate else one.wait
        lists.append(ListPlan(one.called, one.pages, one.runs, round(every, 2), round(60 * one.pages / every, 2)))
        lags += [(one.runs, every / 2)]
        reached.append(max(outline.high, every) + every if one.runs else 0.0)
    direct_every = max(outline.direct_wait, outline.direct_runs / runs_rate)
    lags.append((outline.direct_runs, direct_every / 2))
    followed = sum(runs for runs, _ in lags)
    queue = (outline.waiting + 1) / runs_rate
    lag = sum(runs * seconds for runs, seconds in lags) / followed if followed else 0.0
    bound = max(reached) + outline.low + queue + ON_THE_WAY
    if failing:
        bound = bound / (1 - failing) + outline.high
    return Plan(
        runs=outline.runs,
        newest_trusted=outline.newest_trusted,
        lists=tuple(lists),
        direct_runs=outline.direct_runs,
        direct_every_seconds=round(direct_every, 2) if outline.direct_runs else 0.0,
        waiting=outline.waiting,
        get_runs_per_minute=round(60 * outline.direct_runs / direct_every, 2) if outline.direct_runs else 0.0,
        list_runs_per_minute=round(sum(one.calls_per_minute for one in lists), 2),
        limit_get_runs_per_minute=round(60 * rates["GetRun"], 2),
        limit_list_runs_per_minute=round(60 * rates["ListRuns"], 2),
        lag_seconds=round(lag + queue - 1 / runs_rate, 2),
        bound_seconds=round(bound, 2),
    )


def in_words(plan: Plan) -> list[str]:
    """The plan as sentences, one a line."""
    said = [f"{_runs(plan.runs)} followed."]
    for one in plan.lists:
        what = "the newest runs" if one.list == "newest" else f"the list {one.list}"
        serves = f"for {_runs(one.runs)}" if one.runs else "for runs that nobody follows yet"
        said.append(f"Reads {what}, {_count(one.pages, 'page')}, every {_time(one.every_seconds)}, {serves}.")
    if plan.newest_trusted:
        said.append("The newest runs show themselves on one page, whatever their status.")
    if plan.direct_runs:
        said.append(f"Asks about {_runs(plan.direct_runs)} by GetRun, each every {_time(plan.direct_every_seconds)}.")
    if plan.waiting:
        said.append(f"{_count(plan.waiting, 'GetRun')} due and waiting for the budget.")
    said.append(
        f"Costs {plan.list_runs_per_minute:g} ListRuns a minute (of {plan.limit_list_runs_per_minute:g}) and "
        f"{plan.get_runs_per_minute:g} GetRun (of {plan.limit_get_runs_per_minute:g}), and two GetRuns for each life."
    )
    if plan.runs:
        said.append(
            f"A change is known after {_time(plan.lag_seconds)} on average, an end after {_time(plan.bound_seconds)} "
            "at most."
        )
    return said


def _runs(number: int) -> str:
    return _count(number, "run")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
