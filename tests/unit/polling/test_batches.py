"""Batches, held over virtual hours: their runs from submission on, their own statuses, what their counters hint at."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta

import anyio
import pytest

from poller.core.cadence import Pace
from poller.core.errors import BadRequest, Denied
from poller.core.statuses import ENDS
from poller.emulator.lives import Life
from poller.polling.rules import Rule
from tests.unit.polling.simulation import ACCOUNT, BRISK, Simulation, failing, simulated, virtually


def ordinary(_tags: Mapping[str, str], _place: int, rng: random.Random) -> Life:
    """A life that waits a little, runs for about a minute, and mostly completes."""
    end = "FAILED" if rng.random() < 0.2 else "COMPLETED"
    running = 60 * rng.uniform(0.5, 2)
    return Life.of(("PENDING", 20 * rng.random()), ("STARTING", 10), ("RUNNING", running), ("STOPPING", 5), end)


def watching(*batch_ids: str, **rule: object) -> Rule:
    return Rule(batches=batch_ids, **rule)  # type: ignore[arg-type]


def test_every_run_of_a_batch_is_told_to_its_end_and_so_is_the_batch() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            batch = simulation.start_batch(120, ordinary, runs_per_second=20)
            stranger = simulation.start_run(("RUNNING", 60), "COMPLETED")
            async with simulation.polling(watching(batch)):
                await anyio.sleep(400)
            await check_told_batch(simulation, batch, runs=120)
            assert await simulation.kinds(stranger) == []
            told = [event for event in await simulation.events() if event.kind.startswith("batch.")]
            assert [event.kind for event in told][-1] == "batch.processed"
            assert told[-1].data["run_counts"]["COMPLETED"] + told[-1].data["run_counts"]["FAILED"] == 120
            assert [event.sequence for event in told] == list(range(1, len(told) + 1))

    virtually(body)


async def check_told_batch(simulation: Simulation, batch: str, *, runs: int) -> None:
    """Every end of the batch's runs was told once."""
    simulation.advance()
    events = [event for event in await simulation.events() if event.data.get("run_id")]
    ends = [event.run_id for event in events if event.status in ENDS]
    assert len(ends) == len(set(ends)) == runs
    assert {event.data["batch_id"] for event in events} == {batch}


def test_a_run_keeps_one_source_though_nothing_but_lists_tells_the_account() -> None:
    """Behind a custom endpoint STS is not asked: the first ARN of any answer tells whose runs these are."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            simulation.service.account_id = None
            batch = simulation.start_batch(30, ordinary)
            async with simulation.polling(watching(batch)):
                await anyio.sleep(600)
            await check_told_batch(simulation, batch, runs=30)
            told: dict[str, list[int | None]] = {}
            for event in await simulation.events():
                assert event.source.startswith(f"arn:aws:omics:us-east-1:{ACCOUNT}:run")
                told.setdefault(event.source, []).append(event.sequence)
            assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in told.values())

    virtually(body)


def test_a_run_of_a_batch_costs_one_get_run() -> None:
    """ListRunsInBatch brings its uuid, so its steps are told from lists, and only its end is asked for."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            batch = simulation.start_batch(150, ordinary, runs_per_second=50)
            async with simulation.polling(watching(batch)):
                await anyio.sleep(600)
            await check_told_batch(simulation, batch, runs=150)
            assert simulation.service.calls["GetRun"] < 1.3 * 150
            events = [event for event in await simulation.events() if event.kind == "running"]
            assert all(event.data["run_uuid"] for event in events)
            assert len(events) > 125

    virtually(body)


def test_a_batch_that_is_over_is_asked_about_no_more() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            batch = simulation.start_batch(20, ordinary, runs_per_second=20)
            async with simulation.polling(watching(batch)):
                await anyio.sleep(400)
                calls = simulation.service.calls["GetBatch"]
                await anyio.sleep(1200)
                assert simulation.service.calls["GetBatch"] == calls

    virtually(body)


def test_a_batch_survives_kills_and_tells_nothing_twice() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            batch = simulation.start_batch(120, ordinary, runs_per_second=5)
            for seconds in (3, 9, 30, 60, 600):
                async with simulation.polling(watching(batch)):
                    await anyio.sleep(seconds)
            await check_told_batch(simulation, batch, runs=120)
            ids = [event.id for event in await simulation.events()]
            assert len(ids) == len(set(ids))

    virtually(body)


@pytest.mark.parametrize("operation", ["GetBatch", "ListRunsInBatch"])
def test_what_is_denied_of_batches_is_done_without(operation: str) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            simulation.service.fails = failing(Denied, "AccessDeniedException", operation)
            batch = simulation.start_batch(40, ordinary, runs_per_second=20)
            async with simulation.polling(watching(batch)):
                await anyio.sleep(900)
            await check_told_batch(simulation, batch, runs=40)
            assert simulation.service.calls[operation] < 10

    virtually(body)


def test_a_batch_that_there_is_not_ends_nothing_else() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 60), "COMPLETED")
            simulation.service.fails = failing(BadRequest, "ResourceNotFoundException", "GetBatch")
            async with simulation.polling(watching("7"), (run,)):
                await anyio.sleep(200)
            assert (await simulation.kinds(run))[-1] == "completed"
            assert 2 < simulation.service.calls["GetBatch"] < 10

    virtually(body)


def test_counters_that_change_make_the_lists_due() -> None:
    """At a slow cadence a run that moves is known as soon as its batch is asked about, not when its list is due."""

    async def body() -> None:
        pace = Pace(min_interval=timedelta(seconds=1), max_interval=timedelta(minutes=4), ceiling=10)
        async with simulated(pace=pace) as simulation:
            batch = simulation.start_batch(
                10, lambda _, place, __: Life.of(("RUNNING", 3600 + 5 * place), ("STOPPING", 100), "COMPLETED")
            )
            async with simulation.polling(watching(batch)):
                await anyio.sleep(3600 + 900)
            truth = simulation.truth()
            stopped = {life: dict(history)["STOPPING"] for life, history in truth.items()}
            for event in await simulation.events("stopping"):
                at = datetime.fromisoformat(event.data["observed_at"])
                assert at - stopped[event.data["run_id"], event.data["run_uuid"]] < timedelta(seconds=70)
            assert len(await simulation.events("stopping")) == 10

    virtually(body)


def test_thousands_of_queued_runs_are_followed_without_one_get_run() -> None:
    async def body() -> None:
        async with simulated(pace=Pace(ceiling=10)) as simulation:
            batch = simulation.start_batch(
                3_000, lambda *_: Life.of(("PENDING", 86_400), "COMPLETED"), runs_per_second=1000
            )
            async with simulation.polling(watching(batch)) as scope:
                await anyio.sleep(120)
                assert scope.rounds is not None
                assert len(scope.rounds.runs) == 3_000
            assert simulation.service.calls["GetRun"] == 0

    virtually(body)
