"""Overdue runs, held over virtual hours: told at their moment, once, also over crashes, and at no greater cost."""

from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from poller.core.cadence import Pace
from poller.core.errors import Denied, Transient
from poller.core.event_data import CloudEvent
from poller.core.events import Event
from poller.core.overdue import Terms
from poller.core.stays import ENOUGH
from poller.emulator.groups import RunGroup
from poller.emulator.instants import instant_of
from poller.emulator.lives import Life
from poller.polling.rules import Rule
from tests.unit.polling.simulation import START, Simulation, failing, refused, simulated, virtually

PACE = Pace(min_interval=timedelta(seconds=1), max_interval=timedelta(minutes=1), ceiling=10)
NAMED = Rule()


def seconds(**spans: float) -> Terms:
    return Terms({status: timedelta(seconds=span) for status, span in spans.items()})


def entered(simulation: Simulation, run_id: str, status: str) -> datetime:
    history = next(history for (one, _), history in simulation.truth().items() if one == run_id)
    return dict(history)[status]


def observed_at(event: Event) -> datetime:
    return datetime.fromisoformat(event.data["observed_at"])


@pytest.mark.parametrize("discover", [True, False], ids=["discovered", "named"])
def test_a_run_past_its_deadline_is_told_at_its_moment_once_in_each_status(discover: bool) -> None:
    """Looks come every half a minute by then; the moment of the deadline brings one of its own."""

    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(PENDING=300, RUNNING=600)) as simulation:
            run = simulation.start_run(("PENDING", 500), ("STARTING", 900), ("RUNNING", 1400), "COMPLETED")
            async with simulation.polling(Rule(discover=discover), () if discover else (run,)):
                await anyio.sleep(3000)
            kinds = await simulation.kinds(run)
            assert kinds == ["pending", "overdue", "starting", "running", "overdue", "completed"]
            pending, running = await simulation.events("overdue")
            for event, limit in ((pending, 300), (running, 600)):
                CloudEvent.model_validate_json(event.body)
                figures = event.data["overdue"]
                moment = entered(simulation, run, figures["status"]) + timedelta(seconds=limit)
                assert timedelta(0) <= observed_at(event) - moment < timedelta(seconds=2)
                assert (figures["basis"], figures["limit_seconds"]) == ("deadline", limit)
                assert figures["seconds"] >= figures["limit_seconds"]
                assert figures["usual_seconds"] is None
            assert [event.sequence for event in await simulation.events()] == list(range(1, 7))
            assert running.data["name"] == (await simulation.events("running"))[0].data["name"]

    virtually(body)


def test_the_moment_costs_one_look_and_nothing_where_no_deadline_is() -> None:
    async def body() -> None:
        calls = []
        for terms in (Terms(), seconds(RUNNING=1800)):
            async with simulated(pace=PACE, terms=terms) as simulation:
                run = simulation.start_run(("RUNNING", 50_000), "COMPLETED")
                async with simulation.polling(NAMED, (run,)):
                    await anyio.sleep(3000)
                calls.append(simulation.service.calls["GetRun"])
        assert abs(calls[1] - calls[0]) <= 2

    virtually(body)


@pytest.mark.parametrize("running", [599.0, 599.9])
def test_a_run_that_moves_on_just_before_is_not_told(running: float) -> None:
    """Nobody looked since: by the clock alone it would have been called overdue."""

    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(RUNNING=600)) as simulation:
            run = simulation.start_run(("PENDING", 1), ("RUNNING", running), ("STOPPING", 30), "COMPLETED")
            async with simulation.polling(NAMED, (run,)):
                await anyio.sleep(800)
            assert await simulation.kinds(run) == ["pending", "running", "stopping", "completed"]

    virtually(body)


def test_what_is_usual_is_learned_from_the_record_and_outlives_a_restart() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=Terms(factor=3)) as simulation:
            for number in range(ENOUGH):
                running = 600 + 10 * number
                simulation.start_run(("PENDING", 20), ("STARTING", 30), ("RUNNING", running), "COMPLETED")
            for _ in range(9):  # these say nothing of what is usual
                simulation.start_run(("PENDING", 20), ("STARTING", 30), ("RUNNING", 5), ("STOPPING", 9), "FAILED")
            async with simulation.polling():
                await anyio.sleep(1500)
            stuck = simulation.start_run(("PENDING", 20), ("STARTING", 30), ("RUNNING", 90_000), "COMPLETED")
            other = simulation.start_run(
                ("PENDING", 20), ("STARTING", 30), ("RUNNING", 90_000), "COMPLETED", workflow_version_name="2.0"
            )
            async with simulation.polling():
                await anyio.sleep(4000)
            (event,) = await simulation.events("overdue")
            assert event.run_id == stuck
            assert await simulation.kinds(other) == ["pending", "starting", "running"]
            figures = event.data["overdue"]
            assert (figures["basis"], figures["known_runs"], figures["factor"]) == ("usual", ENOUGH, 3.0)
            assert figures["usual_seconds"] == pytest.approx(620, abs=2)
            moment = entered(simulation, stuck, "RUNNING") + timedelta(seconds=figures["limit_seconds"])
            assert timedelta(0) <= observed_at(event) - moment < timedelta(seconds=2)

    virtually(body)


@pytest.mark.parametrize("seed", range(3))
def test_no_crash_tells_it_twice_or_loses_it(seed: int) -> None:
    async def body() -> None:
        async with simulated(seed=seed, pace=PACE, terms=seconds(RUNNING=400, STARTING=400)) as simulation:
            runs = [
                simulation.start_run(("PENDING", 5), ("STARTING", 500 + 10 * number), ("RUNNING", 900), "COMPLETED")
                for number in range(10)
            ]
            for _ in range(60):
                async with simulation.polling():
                    await anyio.sleep(simulation.rng.uniform(0.01, 40))
                await anyio.sleep(simulation.rng.uniform(0, 5))
            async with simulation.polling():
                await anyio.sleep(900)
            for run in runs:
                told = [event for event in await simulation.events("overdue") if event.run_id == run]
                assert [event.data["overdue"]["status"] for event in told] == ["STARTING", "RUNNING"]
            ids = [event.id for event in await simulation.events()]
            assert len(ids) == len(set(ids))

    virtually(body)


def test_a_deadline_that_passed_while_nobody_ran_is_told_at_the_start() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(RUNNING=3600)) as simulation:
            run = simulation.start_run(("RUNNING", 50_000), "COMPLETED")
            async with simulation.polling():
                await anyio.sleep(60)
            await anyio.sleep(9000)
            async with simulation.polling():
                await anyio.sleep(30)
            assert await simulation.kinds(run) == ["running", "overdue"]
            (event,) = await simulation.events("overdue")
            assert event.data["overdue"]["seconds"] > 9000

    virtually(body)


def test_while_the_service_does_not_answer_nothing_is_claimed() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(RUNNING=600)) as simulation:
            stays = simulation.start_run(("RUNNING", 50_000), "COMPLETED")
            leaves = simulation.start_run(("RUNNING", 590), ("STOPPING", 9000), "COMPLETED")

            def fails(_: str, __: str | None) -> None:
                if 500 < simulation.clock.monotonic() < 1200:
                    raise refused(Transient, "500")

            simulation.service.fails = fails
            async with simulation.polling(NAMED, (stays, leaves)):
                await anyio.sleep(1190)
                assert await simulation.events("overdue") == []
                await anyio.sleep(200)
            assert await simulation.kinds(stays) == ["running", "overdue"]
            assert await simulation.kinds(leaves) == ["running", "stopping"]

    virtually(body)


def test_other_terms_are_in_force_at_once() -> None:
    async def body() -> None:
        async with simulated(pace=PACE) as simulation:
            run = simulation.start_run(("RUNNING", 50_000), "COMPLETED")
            async with simulation.polling(NAMED, (run,)) as scope:
                await anyio.sleep(700)
                scope.use_terms(seconds(RUNNING=600))
                await anyio.sleep(5)
            assert await simulation.kinds(run) == ["running", "overdue"]

    virtually(body)


def test_thousands_of_runs_turn_overdue_by_pages_and_not_by_a_get_run_each() -> None:
    async def body() -> None:
        async with simulated(pace=Pace(ceiling=10), terms=seconds(PENDING=300)) as simulation:
            batch = simulation.start_batch(
                1500, lambda *_: Life.of(("PENDING", 86_400), "COMPLETED"), runs_per_second=1000
            )
            async with simulation.polling(Rule(batches=(batch,))):
                await anyio.sleep(360)
            assert simulation.service.calls["GetRun"] == 0
            overdue = await simulation.events("overdue")
            assert len({event.run_id for event in overdue}) == len(overdue) == 1500
            assert all(event.data["name"] and event.data["workflow_id"] for event in overdue)
            late = max(observed_at(event) for event in overdue) - START - timedelta(seconds=300)
            assert late < timedelta(seconds=30)

    virtually(body)


# --- why a run waits --------------------------------------------------------------------------------------------------


def full_group(simulation: Simulation, **limits: Any) -> list[str]:
    """Two runs that fill a group of two, and three that wait."""
    group = RunGroup(group_id="9", max_runs=2, max_cpus=64, **limits)
    simulation.world.declare(group, instant_of(simulation.clock.now()))
    runs = [simulation.start_run(("PENDING", 1), ("RUNNING", 50_000), "COMPLETED", run_group_id="9") for _ in range(2)]
    simulation.advance()
    return [*runs, *(simulation.start_run(("PENDING", 10), "RUNNING", run_group_id="9") for _ in range(3))]


def test_a_run_that_waits_is_told_with_what_its_group_allows() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(PENDING=600)) as simulation:
            runs = full_group(simulation)
            async with simulation.polling():
                await anyio.sleep(700)
            overdue = await simulation.events("overdue")
            assert sorted(str(event.run_id) for event in overdue) == sorted(runs[2:])
            for event in overdue:
                CloudEvent.model_validate_json(event.body)
                reason = event.data["overdue"]["pending_reason"]
                seen_at = datetime.fromisoformat(reason.pop("seen_at"))
                assert abs(seen_at - observed_at(event)) < timedelta(seconds=5)
                assert reason == {
                    "run_group_id": "9",
                    "max_runs": 2,
                    "max_cpus": 64,
                    "max_gpus": None,
                    "max_duration_minutes": None,
                    "active_runs_seen": 2,
                    "limits_unknown": None,
                }
            assert simulation.service.calls["GetRunGroup"] == 1

    virtually(body)


def test_a_group_that_may_not_be_asked_about_is_done_without_and_the_event_says_so() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(PENDING=600)) as simulation:
            runs = full_group(simulation)
            simulation.service.fails = failing(Denied, "AccessDeniedException", "GetRunGroup")
            async with simulation.polling():
                await anyio.sleep(700)
            overdue = await simulation.events("overdue")
            assert sorted(str(event.run_id) for event in overdue) == sorted(runs[2:])
            for event in overdue:
                reason = event.data["overdue"]["pending_reason"]
                assert (reason["max_runs"], reason["active_runs_seen"]) == (None, 2)
                assert reason["limits_unknown"] == "GetRunGroup: AccessDeniedException: as the test wants it"
            assert simulation.service.calls["GetRunGroup"] == 1

    virtually(body)


def test_a_group_that_does_not_answer_holds_an_event_up_for_seconds_only() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(PENDING=600)) as simulation:
            full_group(simulation)
            simulation.service.fails = failing(Transient, "500", "GetRunGroup")
            async with simulation.polling():
                await anyio.sleep(630)
            overdue = await simulation.events("overdue")
            assert len(overdue) == 3
            assert {event.data["overdue"]["pending_reason"]["limits_unknown"][:16] for event in overdue} == {
                "GetRunGroup: 500"
            }
            assert simulation.service.calls["GetRunGroup"] == 3

    virtually(body)


def test_a_run_that_moves_on_while_its_group_is_asked_about_is_not_told() -> None:
    async def body() -> None:
        pace = Pace(min_interval=timedelta(milliseconds=200), max_interval=timedelta(milliseconds=500), ceiling=10)
        async with simulated(pace=pace, terms=seconds(PENDING=60)) as simulation:
            run = simulation.start_run(("PENDING", 61), ("RUNNING", 9000), "COMPLETED", run_group_id="9")
            simulation.service.fails = failing(Transient, "500", "GetRunGroup")
            async with simulation.polling():
                await anyio.sleep(70)
            assert simulation.service.calls["GetRunGroup"] > 1
            assert await simulation.kinds(run) == ["pending", "running"]

    virtually(body)


def test_without_a_group_nothing_is_asked_and_nothing_is_said() -> None:
    async def body() -> None:
        async with simulated(pace=PACE, terms=seconds(PENDING=600)) as simulation:
            run = simulation.start_run(("PENDING", 50_000), "COMPLETED")
            async with simulation.polling():
                await anyio.sleep(700)
            assert await simulation.kinds(run) == ["pending", "overdue"]
            (event,) = await simulation.events("overdue")
            assert event.data["overdue"]["pending_reason"] is None
            assert simulation.service.calls["GetRunGroup"] == 0

    virtually(body)
