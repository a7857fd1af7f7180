"""A backlog of a million owed deliveries, told from its record: the memory that takes, and how fast it goes.

Filled by one process and told by another, whose resident set is what counts. The sink is a file, which takes a hundred
events at once and has them on the disk before it acknowledges: of all sinks the quickest, so that what is reckoned is
the record, the dispatcher and not the far end. A tenth as many deliveries are told the same way beside it: that the
memory is bounded shows in how little the tenfold adds.
"""

import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.delivery import drafts_of
from benchmarks.processes import figures, start
from benchmarks.tables import show
from poller.clock import SystemClock
from poller.core.drafts import Draft
from poller.core.routing import Route
from poller.core.samples import sample_event
from poller.delivery.dispatcher import Dispatcher
from poller.delivery.outlet import Outlet
from poller.foundation import foundation_of
from poller.ports.records import Round
from poller.sinks.file import FileSettings, FileSink
from poller.sinks.toolbox import Tools
from poller.store.store import SqliteStore
from poller.telemetry import configure_logging

SINK: Final = "journal"
GOAL_BYTES: Final = 200e6
ROUND: Final = 500
FIRST_RUN: Final = "1000000"
STEPS: Final = ("pending", "starting", "running", "completed")
"""Events of one run, which are told one after the other."""


def record_of(directory: Path) -> SqliteStore:
    return SqliteStore(directory / "record.db")


def of_run(draft: Draft, run_id: str) -> Draft:
    """The event of one run as that of another one."""
    return replace(
        draft,
        id=f"{draft.id}-{run_id}",
        source=draft.source.replace(FIRST_RUN, run_id),
        subject=run_id,
        data={**draft.data, "run_id": run_id, "run_arn": draft.source.replace(FIRST_RUN, run_id)},
        run_id=run_id,
    )


async def fill(directory: Path, count: int) -> None:
    """Record so many events, all owed."""
    store = record_of(directory)
    await store.open()
    try:
        now = datetime.now(UTC)
        await store.use_routes([Route(SINK)], now)
        life = drafts_of([sample_event(step, run_id=FIRST_RUN) for step in STEPS])
        runs = ROUND // len(STEPS)
        for begin in range(0, count // len(STEPS), runs):
            names = [str(int(FIRST_RUN) + number) for number in range(begin, begin + runs)]
            drafts = [of_run(draft, name) for draft in life for name in names]
            await store.commit_round(Round(at=now, scope="bench", drafts=drafts))
    finally:
        await store.close()


async def tell(directory: Path, count: int) -> dict[str, float]:
    """Tell all that is owed: seconds, and the most bytes resident."""
    clock = SystemClock()
    store = record_of(directory)
    await store.open()
    tools = Tools(clock, directory)
    try:
        settings = FileSettings(name=SINK, type="file", path=Path("events.jsonl"))
        foundation = foundation_of(store, clock, random.random)
        dispatcher = Dispatcher([Outlet(FileSink(settings, tools), settings)], foundation, instance="bench")
        begun = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            await tasks.start(dispatcher.run)
            while foundation.tally.count("deliveries", outcome="acknowledged") < count:  # noqa: ASYNC110 - as elsewhere
                await anyio.sleep(0.02)
            seconds = time.perf_counter() - begun
            await dispatcher.drained()
            tasks.cancel_scope.cancel()
        return {"seconds": seconds, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    finally:
        await tools.close()
        await store.close()


def report(*, quick: bool) -> None:
    """Measure and print."""
    most = 40_000 if quick else 1_000_000
    rows, bytes_of = [], {}
    for count in (most // 10, most):
        with tempfile.TemporaryDirectory() as place:
            filled = time.perf_counter()
            figures(start("benchmarks.backlog", "fill", place, str(count)), 1200)
            filled = time.perf_counter() - filled
            told = figures(start("benchmarks.backlog", "tell", place, str(count)), 1200)
        bytes_of[count] = told["bytes"]
        rows.append(
            [
                f"{count:,}",
                f"{count / filled:,.0f}",
                f"{count / told['seconds']:,.0f}",
                f"{told['bytes'] / 1e6:.0f} MB",
                f"<= 200 MB: {'met' if told['bytes'] <= GOAL_BYTES else 'MISSED'}" if count == most else "",
            ]
        )
    show(
        f"A backlog, told from its file by a process that begins with it; {len(STEPS)} events for each run",
        ["owed", "recorded a second", "told a second", "resident, the most", "goal"],
        rows,
        [f"Ten times as many take {bytes_of[most] / bytes_of[most // 10]:.2f} times the memory."],
    )


async def _work(arguments: list[str]) -> Any:
    match arguments:
        case ["fill", directory, count]:
            return await fill(Path(directory), int(count))
        case ["tell", directory, count]:
            return await tell(Path(directory), int(count))
    raise SystemExit(f"{arguments}: not known")


if __name__ == "__main__":
    configure_logging()
    print(json.dumps(asyncio.run(_work(sys.argv[1:]))))
