"""How soon a change is known by how many calls: the planner against the quota, on virtual time.

A steady population: runs begin and end all the time, PENDING and STOPPING are short, RUNNING is most of a life, one in
ten ends without STOPPING. The service has 10 calls a second for each operation and answers after 60 ms. Simulated, so
that ten minutes of five thousand runs take one: the answers are the emulator's own JSON, the scope, its planner and
its record are the daemon's; only network and time are simulated. What is measured is the time from a transition to the
moment at which it is recorded. A task for each run that asks GetRun, paced at the quota, is reckoned beside it: half a
round of all runs, on average.
"""

import random
import statistics
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import anyio

from benchmarks.tables import show
from poller.core.cadence import Pace
from poller.emulator.lives import Life
from poller.polling.rules import Rule
from poller.telemetry import library_logging
from tests.unit.polling.simulation import Simulation, simulated, virtually

QUOTA: Final = 10.0
LATENCY: Final = 0.06
MEASURED: Final = 60.0
"""Virtual seconds that are measured, after as many calls as the first looks take."""


@dataclass(frozen=True, slots=True)
class Case:
    """So many runs live at once; `ceiling` in calls a second, `interval` between looks in seconds."""

    runs: int
    ceiling: float = 9.0
    interval: float = 0.15
    order: str = "newest"
    goal: str = ""

    @property
    def life(self) -> float:
        """Seconds from creation to end: so that at most as many runs begin and end as GetRun can tell of."""
        return max(60.0, self.runs / (0.15 * self.ceiling))

    @property
    def warm_up(self) -> float:
        return 20 + 1.2 * self.runs / self.ceiling


@dataclass(frozen=True, slots=True)
class Figure:
    """How a case went: seconds of lag, sorted, and calls for each transition."""

    lags: list[float]
    lost: int
    throttled: float
    calls: float

    def percentile(self, share: float) -> float:
        return self.lags[min(int(len(self.lags) * share), len(self.lags) - 1)]


def populate(simulation: Simulation, case: Case, seconds: float, rng: random.Random) -> None:
    """Lives that are under way at the start, and those that begin later."""
    at = -1.2 * case.life
    while at < seconds:
        steps: list[tuple[str, float]] = [
            ("PENDING", case.life * rng.uniform(0.005, 0.015)),
            ("STARTING", case.life * rng.uniform(0.015, 0.045)),
            ("RUNNING", case.life * rng.uniform(0.6, 1.3)),
        ]
        if rng.random() >= 0.1:
            steps.append(("STOPPING", max(1.0, case.life * rng.uniform(0.01, 0.03))))
        simulation.start_life(Life.of(*steps, rng.choice(["COMPLETED", "COMPLETED", "FAILED"])), starts_in=at)
        at += rng.expovariate(case.runs / case.life)


def measure(case: Case, seed: int) -> Figure:
    """One case, once."""

    async def body() -> Figure:
        interval = timedelta(seconds=case.interval)
        pace = Pace(min_interval=interval, max_interval=interval, ceiling=case.ceiling)
        async with simulated(seed=seed, pace=pace, quota=QUOTA, order=case.order, latency=LATENCY) as simulation:
            populate(simulation, case, case.warm_up + MEASURED, random.Random(seed))
            async with simulation.polling(Rule(discover=True)):
                await anyio.sleep(case.warm_up)
                begun, calls, throttled = (
                    simulation.clock.now(),
                    simulation.service.calls.total(),
                    simulation.service.throttled,
                )
                await anyio.sleep(MEASURED)
            calls, throttled = simulation.service.calls.total() - calls, simulation.service.throttled - throttled
            patience = timedelta(seconds=15)
            known = {
                (event.run_id, event.data["run_uuid"], event.status): event.recorded_at
                for event in await simulation.events()
                if event.status is not None and event.recorded_at is not None
            }
            lags, lost = [], 0
            for life, history in simulation.truth().items():
                for status, at in history:
                    if begun <= at <= begun + timedelta(seconds=MEASURED) - patience:
                        told = known.get((*life, status))
                        if told is None:
                            lost += 1
                        else:
                            lags.append((told - at).total_seconds())
            return Figure(sorted(lags), lost, throttled / calls, calls / len(lags))

    return virtually(body)


def report(*, quick: bool) -> None:
    """Measure and print."""
    library_logging()
    cases = [
        Case(10, goal="0.4 / 1"),
        Case(100, goal="0.5 / 1.5"),
        Case(1000, goal="0.8 / 4"),
        Case(1000, order="arbitrary", goal="0.8 / 4"),
    ]
    if not quick:
        cases += [Case(5000, goal="1.5 / 8"), Case(1000, ceiling=2, goal="3.5 / 12")]
    rows = []
    for case in cases:
        seeds = range(6 if case.runs < 100 else 2 if case.runs < 1000 else 1)
        figures = [measure(case, seed) for seed in seeds]
        lags = sorted(lag for figure in figures for lag in figure.lags)
        whole = Figure(lags, sum(one.lost for one in figures), statistics.mean(one.throttled for one in figures), 0)
        paced = case.runs / case.ceiling
        rows.append(
            [
                f"{case.runs:,}, {case.order}, {case.ceiling:g}/s",
                f"{len(lags)}",
                f"{statistics.mean(lags):.2f} / {whole.percentile(0.99):.2f}",
                case.goal,
                f"{paced / 2:.1f} / {paced:.0f}",
                f"{whole.lost}",
                f"{whole.throttled:.1%}",
                f"{statistics.mean(one.calls for one in figures):.1f}",
            ]
        )
    show(
        f"From a transition to knowledge, simulated: seconds, mean / p99; quota {QUOTA:g}/s, answers after {LATENCY} s",
        [
            "live runs, order, ceiling",
            "changes",
            "poller",
            "goal",
            "GetRun paced",
            "not told",
            "throttled",
            "calls each",
        ],
        rows,
    )
