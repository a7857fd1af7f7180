"""A batch under kills: every run of it to its end, the batch, and that its last run has ended: each told, and once."""

import asyncio
import random
from collections import defaultdict
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.crash_stage import Nursery, Stage, account, short_life, stage
from tests.acceptance.test_crash_steps import QUICK

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]

BATCH = "7123456"
RUNS = 20
KILLS = 4


def told(play: Stage) -> list[dict[str, Any]]:
    """The events that were acknowledged, in the order of their arrival."""
    return [dict(one.event) for one in play.receiver.arrivals if one.acknowledged]


def kinds(play: Stage) -> set[str]:
    return {event["type"] for event in told(play)}


def finished(play: Stage) -> bool:
    return "healthomics.cohort.finished" in kinds(play)


async def test_kills_amid_a_batch_lose_nothing_and_tell_its_end_once(tmp_path: Path) -> None:
    chance = random.Random(11)
    async with (
        account(seed=11) as emulator,
        stage(tmp_path, emulator, watch=f'batch_ids = ["{BATCH}"]', polling=QUICK, seed=11, starting=Nursery()) as play,
    ):
        emulator.start_batch(RUNS, lambda _: short_life(chance, 5.0), batch_id=BATCH, runs_per_second=6)
        for _ in range(KILLS):
            before = len(play.receiver.arrivals)
            await play.start_daemon()
            await play.until(lambda: len(play.receiver.arrivals) > before or finished(play))  # noqa: B023 - awaited here
            await asyncio.sleep(chance.uniform(0, 0.8))  # a random moment is what this is about
            await play.daemon.kill()
        await play.start_daemon()
        await play.until(lambda: finished(play))
        assert await play.daemon.stop() == 0
        ids = defaultdict(set)
        for event in told(play):
            ids[event["type"], event["source"]].add(event["id"])
        assert all(len(same) == 1 for same in ids.values())
        true_ends = {run_id: life[-1].status for life in (await play.truth()).values() for run_id in [life[0].run_id]}
        assert len(true_ends) == RUNS
        ends = {
            event["subject"]: event["data"]["status"]
            for event in told(play)
            if event["type"].startswith("healthomics.run.") and event["data"]["terminal"]
        }
        assert ends == true_ends
        assert "healthomics.batch.processed" in kinds(play)
        (last,) = {event["id"]: event for event in told(play) if "cohort" in event["type"]}.values()
        assert last["data"]["total_runs"] == RUNS
        assert last["data"]["counts"] == {
            status.lower(): len(list(same)) for status, same in groupby(sorted(true_ends.values()))
        }
