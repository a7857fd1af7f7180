"""SIGKILL at each step of the path, and at random: nothing is lost, nothing is told as another event, order holds."""

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest
from tests.acceptance.crash_stage import PATIENCE, Stage, account, stage

pytestmark = pytest.mark.service

QUICK: Final = """\
min_interval = "100ms"
max_interval = "400ms"
max_calls_per_second = 100
discover_ended = "1s"
"""
KILLS: Final = (
    "answer before",
    "answer after",
    "page after",
    "commit before",
    "commit amid",
    "commit after",
    "claim after",
    "send before",
    "send after",
    "acknowledgement before",
    "acknowledgement after",
    "mark before",
    "mark amid",
    "mark after",
)
FEED_SECONDS: Final = 0.2


async def feed_until_killed(play: Stage) -> int:
    """Start one run after the other, so that each step of the path is taken again and again, until the kill hits."""
    runs = 0
    async with asyncio.TaskGroup() as tasks:
        killed = tasks.create_task(play.daemon.killed())
        while not killed.done():
            play.start_run(name=f"sample-{runs}")
            runs += 1
            await asyncio.wait([killed], timeout=FEED_SECONDS)
    return runs


@pytest.mark.parametrize("kill", KILLS)
async def test_a_kill_at_any_step_loses_nothing(kill: str, tmp_path: Path) -> None:
    """Killed at the first and at a later time of the step, started again each time, then left alone to catch up."""
    async with account(seed=1) as emulator, stage(tmp_path, emulator, polling=QUICK, seed=len(kill)) as play:
        runs = 0
        for occurrence in (1, 4):
            await play.daemon.start(CRASH_AT=f"{kill} {occurrence}")
            runs += await feed_until_killed(play)
        await play.daemon.start()
        await play.caught_up(runs)
        assert await play.daemon.stop() == 0
        assert await play.violations() == []


@pytest.mark.parametrize("twist", ["send before commit", "mark before send"])
async def test_the_reader_notices_when_the_order_of_the_path_is_broken(twist: str, tmp_path: Path) -> None:
    """With two steps of the path swapped, one kill between them must show in the receiver's log."""
    async with account(seed=1) as emulator, stage(tmp_path, emulator, polling=QUICK) as play:
        await play.daemon.start(CRASH_TWIST=f"{twist} 3")
        runs = await feed_until_killed(play)
        await play.daemon.start()
        if twist == "send before commit":
            await play.caught_up(runs)
        else:  # what was lost may be an end: nobody tells it any more
            await told_of_all(play, runs)
        assert await play.daemon.stop() == 0
        found = await play.violations()
    assert found
    expected = "sent again with other bytes" if twist == "send before commit" else "its events were first sent as"
    assert any(expected in what for what in found) or any("number" in what for what in found), found


async def told_of_all(play: Stage, runs: int) -> None:
    """Wait until the ends of all runs but those that were touched before the kill are told."""
    async with asyncio.timeout(PATIENCE):
        play.start_run(name="last")
        while not any(
            arrival.event["data"]["name"] == "last" and arrival.event["data"]["terminal"]
            for arrival in play.receiver.arrivals
        ):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("seed", [7])
async def test_kills_at_random_moments_lose_nothing(seed: int, tmp_path: Path) -> None:
    """60 runs, six kills; ids of runs that have ended are given to new runs, which are other incarnations."""
    chance = random.Random(seed)
    async with account(seed) as emulator, stage(tmp_path, emulator, polling=QUICK, seed=seed) as play:
        runs = 0
        for _ in range(6):
            await play.daemon.start()
            alive = asyncio.create_task(asyncio.sleep(chance.uniform(0.8, 2.2)))
            while not alive.done() and runs < 60:
                ended = [one.event["data"]["run_id"] for one in play.receiver.arrivals if one.event["data"]["terminal"]]
                again = {"run_id": ended[-1]} if runs % 7 == 6 and ended else {}
                play.start_run(name=f"sample-{runs}", **again)
                runs += 1
                await asyncio.wait([alive], timeout=0.12)
            await alive
            await play.daemon.kill()
        while runs < 60:
            play.start_run(name=f"sample-{runs}")
            runs += 1
        await play.daemon.start()
        await play.caught_up(runs)
        assert await play.daemon.stop() == 0
        assert await play.violations() == []
        assert play.daemon.starts == 7
