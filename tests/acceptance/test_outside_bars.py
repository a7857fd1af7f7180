"""The bars of the poller, from outside: 60 runs, the installed daemon, a signed webhook; all is told, and in order.

Nothing here asserts how fast it was: the figures are printed (`pytest -s`), for whoever measures on a quiet machine.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from poller.emulator import Fault, Life
from tests.acceptance.crash_stage import Stage, account, stage
from tests.waiting import becomes

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]

RUNS: Final = 60
APART: Final = 0.05
"""Seconds between the beginnings of two runs."""
STARTING_UP: Final = 2.0
"""Seconds by which runs that must exist before the daemon are queued longer, as it takes its time to start."""
HALF_A_SECOND: Final = 'min_interval = "500ms"\nmax_calls_per_second = 10\n'
WATCHES: Final = ("discover", "run_ids")
SERVICE_FAULTS: Final = (
    Fault(kind="error", code="InternalServerException", probability=0.06),
    Fault(kind="error", code="", http_status=503, probability=0.05),
    Fault(kind="reset", probability=0.05),
    Fault(kind="truncated", probability=0.04),
    Fault(kind="html", probability=0.03),
    Fault(kind="cut_off", probability=0.03),
    Fault(kind="slow", seconds=1.0, probability=0.05),
)


def life(chance: random.Random, longer: float = 0.0) -> Life:
    """Some ten seconds, to one of the ends; one in ten is cancelled while it is queued."""
    pending, starting, running = longer + chance.uniform(1, 5), chance.uniform(1, 2), chance.uniform(2, 4)
    draw = chance.random()
    if draw < 0.7:
        return Life.completed(pending, starting, running, 1.5)
    if draw < 0.9:
        return Life.failed(pending=pending, starting=starting, running=running, stopping=None)
    return Life.of(("PENDING", pending), "CANCELLED")


async def follow(
    watch: str, directory: Path, *, faults: bool = False, outages: bool = False
) -> tuple[int, list[str], str]:
    """60 runs, found or named, through faults and outages of both far ends, until all is told and the daemon stopped.

    Gives the daemon's exit code, what breaks a promise, and the figures as a line of text.
    """
    chance = random.Random(60)
    async with account(seed=60) as emulator:
        for fault in SERVICE_FAULTS if faults else ():
            emulator.add_fault(fault)
        named = []
        if watch == "run_ids":
            named = [emulator.start_run(life(chance, STARTING_UP), name=f"s-{n}") for n in range(RUNS)]
        watching = f"run_ids = {named}" if named else "discover = true"
        async with stage(directory, emulator, watch=watching, polling=HALF_A_SECOND, sink='timeout = "2s"') as play:
            if faults:
                play.receiver.mood = capricious(chance)
            await play.start_daemon()
            async with asyncio.TaskGroup() as tasks:
                if outages:
                    tasks.create_task(both_go_down(play))
                if not named:
                    await play.until(lambda: play.discovery_has_begun)
                for number in range(0 if named else RUNS):
                    play.start_run(life(chance), name=f"s-{number}", starts_in=number * APART)
            await play.caught_up(RUNS)
            code = await play.daemon.stop()
            lags = await play.lags()
            calls = dict(emulator.call_counts)
            figures = (
                f"{watch}: {len(lags)} transitions told, mean {sum(lags) / len(lags):.2f} s, "
                f"p99 {lags[int(len(lags) * 0.99)]:.2f} s, {len(play.receiver.arrivals)} arrivals, {calls}"
            )
            return code, await play.violations(), figures


async def both_go_down(play: Stage) -> None:
    """First the service is wholly gone until six looks have failed, which takes seconds, then the receiver until that
    counts as an outage.
    """
    await play.until(lambda: len(play.receiver.arrivals) >= 10)
    play.lost.append(datetime.now(UTC))
    before = play.daemon.said("look.failed")
    play.emulator.down()
    await play.until(lambda: play.daemon.said("look.failed") >= before + 6)
    play.emulator.up()
    await play.until(lambda: len(play.receiver.arrivals) >= 60)
    await play.receiver.down()
    await play.until(lambda: play.daemon.said("sink.outage") > 0)
    await play.receiver.up()


def capricious(chance: random.Random) -> Callable[[web.Request], Awaitable[int | None]]:
    """A receiver of which a quarter of the answers are none: errors, resets, garbage, silence."""

    async def mood(request: web.Request) -> int | None:
        draw = chance.random()
        if draw < 0.75:
            return 204
        if draw < 0.85:
            return chance.choice((500, 503, 404, 302))
        if draw < 0.91:
            return None
        if draw < 0.97 and request.transport is not None:
            request.transport.write(b"this is not HTTP\r\n\r\n")
            return None
        await becomes(lambda: request.transport is None or request.transport.is_closing())  # nobody waits any more
        return 204

    return mood


@pytest.mark.parametrize("trouble", ["none", "faults", "outages"])
async def test_sixty_runs_are_told_whole_and_in_order(trouble: str, tmp_path: Path) -> None:
    """Found by discovery and named by id, side by side on two accounts."""
    both = await asyncio.gather(
        *(
            follow(watch, tmp_path / watch, faults=trouble == "faults", outages=trouble == "outages")
            for watch in WATCHES
        )
    )
    lines = [figures for _, _, figures in both]
    print(f"\n{trouble}", *lines, sep="\n  ")  # noqa: T201 - figures for whoever runs it with -s
    assert [(code, violations) for code, violations, _ in both] == [(0, [])] * len(WATCHES)


async def test_a_stop_while_nobody_answers_is_as_short_and_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM with looks and sends under way that never come back: exit 0 in time; the next start goes on."""
    chance = random.Random(8)
    async with account(seed=8) as emulator, stage(tmp_path, emulator, polling=HALF_A_SECOND) as play:

        async def silent(_: web.Request) -> int | None:
            await asyncio.Event().wait()
            return None

        content, play.receiver.mood = play.receiver.mood, silent
        await play.start_daemon()
        await play.until(lambda: play.discovery_has_begun)
        for number in range(10):
            play.start_run(life(chance), name=f"s-{number}")
        await play.until(lambda: len(play.receiver.arrivals) >= 5)
        emulator.add_fault(Fault(kind="hang"))
        await play.until(lambda: any(call.outcome == "hang" for call in emulator.calls))
        assert await play.daemon.stop() == 0
        play.lost.append(datetime.now(UTC))
        emulator.clear_faults()
        play.receiver.mood = content
        await play.start_daemon()
        await play.caught_up(10)
        assert await play.daemon.stop() == 0
        assert await play.violations() == []
