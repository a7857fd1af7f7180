"""SIGKILL at each step of the path, and at random: nothing is lost, nothing is told as another event, order holds."""

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from poller.emulator import Emulator
from tests.acceptance.crash_stage import Nursery, Stage, account, stage
from tests.waiting import becomes

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]

QUICK: Final = """\
min_interval = "100ms"
max_interval = "400ms"
max_calls_per_second = 100
discover_ended = "1s"
"""
KILLS: Final = {
    "answer": ("before", "after"),
    "page": ("before", "after"),
    "commit": ("before", "amid", "after"),
    "question": ("before", "after"),
    "diagnosis": ("before", "amid", "after"),
    "send": ("before", "after"),
    "acknowledgement": ("before", "after"),
    "mark": ("before", "amid", "after"),
}
SENDS_TWICE: Final = ("send", "acknowledgement", "mark")
"""Killed there, the daemon cannot know that the receiver has the event already; elsewhere it is chance."""
FEED_SECONDS: Final = 0.2
RUNS: Final = 60


def killable(directory: Path, emulator: Emulator, seed: int = 0) -> AbstractAsyncContextManager[Stage]:
    return stage(directory, emulator, polling=QUICK, seed=seed, starting=Nursery())


async def feed_until_killed(play: Stage) -> int:
    """Start one run after the other, so that each step of the path is taken again and again, until the kill hits."""
    runs = 0
    async with asyncio.TaskGroup() as tasks:
        killed = tasks.create_task(play.daemon.killed())
        while not killed.done() and not play.discovery_has_begun:
            await asyncio.wait([killed], timeout=0.02)
        while not killed.done():
            play.start_run(name=f"sample-{runs}")
            runs += 1
            await asyncio.wait([killed], timeout=FEED_SECONDS)
    return runs


@pytest.mark.parametrize("step", KILLS)
async def test_a_kill_at_any_step_loses_nothing(step: str, tmp_path: Path) -> None:
    """Killed before, amid and after the first and a later time of the step, each time on the record that the last
    kill left; then left alone to catch up, and stopped.
    """
    async with account(seed=1) as emulator, killable(tmp_path, emulator, seed=len(step)) as play:
        runs = 0
        for moment in KILLS[step]:
            for occurrence in (1, 4):
                await play.start_daemon(CRASH_AT=f"{step} {moment} {occurrence}")
                runs += await feed_until_killed(play)
        await play.start_daemon()
        await play.caught_up(runs)
        assert await play.daemon.stop() == 0
        assert await play.violations() == []
        arrivals = [arrival.identity for arrival in play.receiver.arrivals]
        if step in SENDS_TWICE:
            assert len(arrivals) > len(set(arrivals))


BITES: Final = ("sent again with other bytes", "were first sent as", "number")


@pytest.mark.parametrize("twist", ["send before commit", "mark before send"])
async def test_the_reader_notices_when_the_order_of_the_path_is_broken(twist: str, tmp_path: Path) -> None:
    """With two steps of the path swapped, one kill between them must show in the receiver's log."""
    async with account(seed=1) as emulator, killable(tmp_path, emulator) as play:
        await play.start_daemon(CRASH_TWIST=f"{twist} 3")
        runs = await feed_until_killed(play)
        await play.start_daemon()
        if twist == "mark before send":  # what was lost may be an end: nobody tells it any more
            await told_of_all(play, runs)
        found: list[str] = []

        async def noticed() -> (
            bool
        ):  # what arrived before the kill may be all that there is to tell, until it comes again
            found[:] = await play.violations()
            return any(bite in what for what in found for bite in BITES)

        await becomes(noticed, lambda: f"it found {found}\n{play.daemon.log}", pause_seconds=0.2)
        assert await play.daemon.stop() == 0


async def told_of_all(play: Stage, runs: int) -> None:
    """Wait until the ends of all runs but those that were touched before the kill are told."""
    play.start_run(name="last")
    await play.until(
        lambda: any(
            one.event["data"]["name"] == "last" and one.event["data"]["terminal"] for one in play.receiver.arrivals
        )
    )


async def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """60 runs, six kills; ids of runs whose end was told are given to new runs, which are other incarnations."""
    chance = random.Random(7)
    async with account(seed=7) as emulator, killable(tmp_path, emulator, seed=7) as play:
        runs, reused = 0, set[str]()
        for _ in range(6):
            await play.start_daemon()
            await play.until(lambda: play.discovery_has_begun)
            alive = asyncio.create_task(asyncio.sleep(chance.uniform(0.8, 2.2)))
            while not alive.done() and runs < RUNS - 1:
                free = [run_id for run_id in play.told_to_the_end if run_id not in reused]
                if free and len(reused) < 5:
                    reused.add(free[-1])
                    emulator.evict(free[-1])
                    play.start_run(name=f"sample-{runs}", run_id=free[-1])
                else:
                    play.start_run(name=f"sample-{runs}")
                runs += 1
                await asyncio.wait([alive], timeout=0.12)
            await alive
            await play.daemon.kill()
        for number in range(runs, RUNS - 1):
            play.start_run(name=f"sample-{number}")
        await play.start_daemon()
        await play.until(
            lambda: bool(set(play.told_to_the_end) - reused)
        )  # one id at least is reused, however slow all is
        last = next(run_id for run_id in play.told_to_the_end if run_id not in reused)
        emulator.evict(last)
        play.start_run(name=f"sample-{RUNS - 1}", run_id=last)
        await play.caught_up(RUNS)
        assert await play.daemon.stop() == 0
        assert await play.violations() == []
