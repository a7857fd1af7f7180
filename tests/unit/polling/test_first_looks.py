"""First looks: each run needs one GetRun, and what has changed meanwhile does not wait for thousands that have not."""

from datetime import timedelta

import anyio

from poller.core.cadence import Pace
from poller.emulator.lives import Life
from poller.polling.rules import Rule
from tests.unit.polling.simulation import simulated, virtually

PACE = Pace(min_interval=timedelta(seconds=1), max_interval=timedelta(seconds=1), ceiling=5)
LONG = Life.of(("PENDING", 10), ("STARTING", 10), ("RUNNING", 50_000), "COMPLETED")
"""Found in RUNNING, and stays there."""
MOST = 3.0
"""Seconds until a change is known, that these lists take to show it and one GetRun to prove it."""


def test_the_name_of_a_workflow_is_told_of_each_step_once_a_list_has_shown_it() -> None:
    """GetRun does not have it, and the ends are told by GetRun."""

    async def body() -> None:
        async with simulated(pace=PACE) as simulation:
            first = simulation.start_run(("RUNNING", 20), "FAILED")
            async with simulation.polling(Rule(discover=True)):
                await anyio.sleep(60)
            names = {
                event.kind: event.data["workflow_name"] for event in await simulation.events() if event.run_id == first
            }
            assert names.pop("running")
            assert names.keys() >= {"failed"}
            assert None not in names.values()

    virtually(body)


def test_what_begins_or_moves_on_is_told_while_many_wait_for_their_first_look() -> None:
    """Twelve hundred take four minutes."""

    async def body() -> None:
        async with simulated(pace=PACE) as simulation:
            for _ in range(1200):
                simulation.start_life(LONG, starts_in=-3600)
            moving = simulation.start_run(("RUNNING", 3612), ("STOPPING", 15), "COMPLETED", starts_in=-3600)
            new = simulation.start_run(("PENDING", 15), ("STARTING", 20), ("RUNNING", 9000), "COMPLETED", starts_in=8)
            async with simulation.polling(Rule(discover=True)):
                await anyio.sleep(32)
                assert simulation.service.calls["GetRun"] < 200
            told = {(event.run_id, event.status): event.recorded_at for event in await simulation.events()}
            truth = {run_id: dict(history) for (run_id, _), history in simulation.truth().items()}
            for run_id, status in [(new, "PENDING"), (new, "STARTING"), (moving, "STOPPING"), (moving, "COMPLETED")]:
                at = told.get((run_id, status))
                assert at is not None, (run_id, status)
                assert (at - truth[run_id][status]).total_seconds() < MOST, (run_id, status)

    virtually(body)
