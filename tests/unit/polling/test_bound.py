"""The planner keeps its word: an end is known within the bound that it announced."""

from datetime import datetime, timedelta
from typing import Any, Literal

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poller.core.errors import Transient
from poller.core.plan import in_words, plan_of
from poller.core.statuses import ENDS
from poller.emulator.lives import Life
from poller.polling.rules import Rule
from poller.polling.scope import Scope
from tests.unit.polling.simulation import BRISK, START, Simulation, refused, simulated, virtually


async def announced(simulation: Simulation, scope: Scope, bounds: list[tuple[datetime, float]]) -> None:
    """Note every second what the planner promises."""
    while True:
        await anyio.sleep(1)
        if scope.rounds is not None and scope.calls is not None:
            outline = scope.rounds.knowledge.planner.outline(simulation.clock.monotonic())
            plan = plan_of(outline, scope.calls.rates, failing=min(scope.calls.failing, 0.9))
            bounds.append((simulation.clock.now(), plan.bound_seconds))


@pytest.mark.timeout(240)
@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    runs=st.integers(1, 60),
    quota=st.sampled_from([None, 3.0, 8.0]),
    faults=st.sampled_from([0.0, 0.05, 0.25]),
    paging=st.sampled_from(["cursor", "offset"]),
    order=st.sampled_from(["newest", "oldest", "arbitrary"]),
)
@example(seed=279, runs=20, quota=None, faults=0.0, paging="cursor", order="arbitrary")  # one lives for 0.2 s
def test_every_end_is_known_within_the_bound_that_was_announced(
    seed: int,
    runs: int,
    quota: float | None,
    faults: float,
    paging: Literal["cursor", "offset"],
    order: str,
) -> None:
    """Whatever the lives, the pages that shift while they are read, the throttles and the faults."""
    bounds: list[tuple[datetime, float]] = []

    async def body() -> None:
        options: dict[str, Any] = {"quota": quota, "order": order, "page_size": 10, "paging": paging}
        async with simulated(seed=seed, pace=BRISK, speed=20, **options) as simulation:

            def fails(operation: str, _: str | None) -> None:
                if operation in ("GetRun", "ListRuns") and simulation.rng.random() < faults:
                    raise refused(Transient, "InternalServerException")

            simulation.service.fails = fails
            for _ in range(runs):
                simulation.start_life(Life.random(simulation.rng), starts_in=simulation.rng.uniform(-600, 2400))
            async with simulation.polling(Rule(discover=True)) as scope, anyio.create_task_group() as tasks:
                tasks.start_soon(announced, simulation, scope, bounds)
                await anyio.sleep(300)
                tasks.cancel_scope.cancel()
            end = simulation.clock.now()
            told = {(event.run_id, event.data["run_uuid"]): event for event in await simulation.events()}
            told = {life: event for life, event in told.items() if event.terminal}
            for life, history in simulation.truth().items():
                status, at = history[-1]
                if status not in ENDS or at < START + timedelta(seconds=30):
                    continue
                event = told.get(life)
                if event is None and at - history[0][1] < BRISK.max_interval:
                    continue  # whoever comes and goes between two looks is found among the ended ones: guarantees.md
                known = end if event is None else datetime.fromisoformat(event.data["observed_at"])
                bound = max(promise for when, promise in bounds if at - timedelta(seconds=2) <= when <= known)
                late = (known - at).total_seconds()
                assert late <= bound, (life, status, late, bound, event is None)

    virtually(body)


@pytest.mark.parametrize(("runs", "what"), [(1, "by GetRun"), (40, "the newest runs, 1 page")])
def test_the_plan_says_in_words_what_is_asked_and_what_it_costs(runs: int, what: str) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            ids = [simulation.start_run(("RUNNING", 7200), "COMPLETED", starts_in=-3600) for _ in range(runs)]
            async with simulation.polling(Rule(), tuple(ids)) as scope:
                await anyio.sleep(100)
                state = await simulation.store.scope(scope.name)
                assert state is not None
                assert state.plan["runs"] == runs
                assert scope.rounds is not None
                assert scope.calls is not None
                plan = plan_of(scope.rounds.knowledge.planner.outline(simulation.clock.monotonic()), scope.calls.rates)
                calls = sum(simulation.service.calls.values())
                await anyio.sleep(600)
                asked = sum(simulation.service.calls.values()) - calls
            said = " ".join(in_words(plan))
            assert what in said
            assert f"{runs} run" in said
            per_minute = plan.list_runs_per_minute + plan.get_runs_per_minute
            assert 0.5 * asked <= 10 * per_minute <= 2 * asked

    virtually(body)
