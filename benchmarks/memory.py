"""What one followed run costs in memory, and what one look costs in CPU.

Memory: a scope follows 10 runs, and another one 10,000, each in a process of its own, over the real client against an
emulator in another process. Their records (files) are filled beforehand, so that only what following keeps is
counted; both have read all their runs twice when they are measured. The difference, divided by the difference in
runs, is the cost of one. It is taken twice: from tracemalloc (what Python objects hold), and without it from the
resident set (what the operating system gave, freed pages that were not returned included).

CPU: the process time of a scope while it does nothing but look, divided by its looks; beside it the same calls through
a bare aiobotocore client, whose answers nobody reads. Parsing, observing, planning and the record are ours.
"""

import asyncio
import gc
import json
import shutil
import sys
import tempfile
import time
import tracemalloc
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.processes import emulated, end, figures, start
from benchmarks.tables import milliseconds, show, times
from poller.app.build import Parts, open_parts
from poller.core.machine import observe
from poller.core.runs import KnownRun
from poller.ports.records import Round, ScopeState
from poller.settings.load import settings_from
from poller.telemetry import library_logging

GOAL_BYTES: Final = 1500
FEW: Final = 10
SWEEPS: Final = 2
LOOK_SECONDS: Final = 3.0
ACCOUNT: Final = "123456789012"


def scenario(runs: int, *, lists: bool = True) -> str:
    """So many runs that stay RUNNING; with `lists` off nobody may call ListRuns."""
    denied = '[[faults]]\nkind = "error"\noperation = "ListRuns"\ncode = "AccessDeniedException"\n'
    return (
        f'[[runs]]\nlife = ["PENDING 1", "STARTING 1", "RUNNING 100000"]\ncount = {runs}\nname = "sample"\n'
        f'starts_in = -3600\nrun_group_id = "2345678"\n{"" if lists else denied}'
    )


def settings_of(directory: Path, *, pause: str, run_ids: tuple[str, ...] = ()) -> Any:
    """A poller that asks as often as `pause` says, and is held back by nothing else."""
    return settings_from(
        {
            "aws": {"region": "us-east-1"},
            "watch": {"discover": not run_ids, "run_ids": list(run_ids)},
            "polling": {
                "min_interval": pause,
                "max_interval": pause,
                "max_calls_per_second": 1000,
                "discover_ended": 0,
            },
            "store": {"url": f"sqlite:///{directory / 'record.db'}"},
            "http": {"listen": ""},
        }
    )


async def fill(directory: Path) -> None:
    """Make a record in which every run of the emulator is known, as if each had been looked at before."""
    async with open_parts(settings_of(directory, pause="1s"), directory) as parts:
        scope = parts.scopes[0]
        token: str | None = None
        while True:
            page = await scope.service.list_runs(status="RUNNING", token=token)
            known = []
            for number, item in enumerate(page.items):
                uuid = f"{int(item.run_id):08x}-0000-4000-8000-{number:012x}"
                full = replace(item, full=True, uuid=uuid)
                known.append(observe(KnownRun(item.run_id, by_rule=True), full).known)
            state = ScopeState(scope.name, scope.place.region, ACCOUNT, page.served_at)
            await parts.foundation.store.commit_round(
                Round(at=page.answered_at, scope=scope.name, runs=known, state=state)
            )
            token = page.token
            if token is None:
                return


async def until_calls(parts: Parts, operation: str, calls: float) -> None:
    """Return once so many calls were begun."""
    while parts.foundation.tally.count("calls", operation=operation) < calls:  # noqa: ASYNC110 - a counter tells nobody
        await anyio.sleep(0.02)


async def followed(directory: Path, runs: int, *, traced: bool) -> dict[str, Any]:
    """Bytes in use by a process that follows so many runs, and by which lines."""
    async with open_parts(settings_of(directory, pause="1s"), directory) as parts:
        scope = parts.scopes[0]
        if traced:
            tracemalloc.start()
        async with anyio.create_task_group() as tasks:
            await tasks.start(scope.run)
            await until_calls(parts, "ListRuns", (3 + -(-runs // 100)) * SWEEPS + 1)
            assert scope.rounds is not None
            assert len(scope.rounds.runs) == runs, f"{len(scope.rounds.runs)} runs are followed, not {runs}"
            gc.collect()
            used = float(tracemalloc.get_traced_memory()[0]) if traced else resident()
            top = where() if traced else {}
            tasks.cancel_scope.cancel()
    return {"bytes": used, "top": top}


def resident() -> float:
    """The resident set of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096.0


def where() -> dict[str, int]:
    """The lines that hold most: file:line -> bytes."""
    held: dict[str, int] = {}
    for one in tracemalloc.take_snapshot().statistics("lineno")[:400]:
        frame = one.traceback[0]
        held[f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"] = one.size
    return held


async def looks(directory: Path, operation: str) -> dict[str, float]:
    """CPU seconds of one look of the poller, and of the same call through a bare client."""
    from aiobotocore.session import get_session

    async with get_session().create_client("omics") as client:
        listed = await client.list_runs(status="RUNNING", maxResults=100) if operation == "ListRuns" else None
        run_ids = tuple(str(4_000_000 + number) for number in range(20)) if listed is None else ()
        cpu, calls = time.process_time(), 0
        until = time.monotonic() + LOOK_SECONDS

        async def ask() -> None:
            nonlocal calls
            while time.monotonic() < until:
                if operation == "ListRuns":
                    await client.list_runs(status="RUNNING", maxResults=100)
                else:
                    await client.get_run(id=run_ids[calls % len(run_ids)])
                calls += 1

        await asyncio.gather(*(ask() for _ in range(2)))
        bare = (time.process_time() - cpu) / calls
    async with (
        open_parts(settings_of(directory, pause="50ms", run_ids=run_ids), directory) as parts,
        anyio.create_task_group() as tasks,
    ):
        await tasks.start(parts.scopes[0].run)
        await until_calls(parts, operation, 60)
        cpu, before = time.process_time(), parts.foundation.tally.count("calls", operation=operation)
        await anyio.sleep(LOOK_SECONDS)
        made = parts.foundation.tally.count("calls", operation=operation) - before
        ours = (time.process_time() - cpu) / made
        tasks.cancel_scope.cancel()
    return {"ours": ours, "bare": bare, "made": made}


def report_memory(*, quick: bool) -> None:
    """Measure what a followed run costs, and print it."""
    many = 2_000 if quick else 10_000
    used: dict[tuple[int, str], dict[str, Any]] = {}
    with ExitStack() as stack:
        workers = {}
        for runs in (FEW, many):
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            directories = [place / way for way in ("traced", "resident")]
            directories[0].mkdir()
            stack.enter_context(emulated(place, scenario(runs)))
            figures(start("benchmarks.memory", "fill", str(directories[0])), 60)
            shutil.copytree(directories[0], directories[1])
            for directory in directories:
                worker = start("benchmarks.memory", directory.name, str(directory), str(runs))
                stack.callback(end, worker)
                workers[runs, directory.name] = worker
        used |= {key: figures(worker, 120) for key, worker in workers.items()}
    rows = []
    for way, name in (("traced", "Python objects (tracemalloc)"), ("resident", "resident set")):
        few, lots = used[FEW, way]["bytes"], used[many, way]["bytes"]
        each = (lots - few) / (many - FEW)
        rows.append(
            [
                name,
                f"{few / 1e6:.1f} MB",
                f"{lots / 1e6:.1f} MB",
                f"{each:,.0f} B",
                f"<= {GOAL_BYTES:,} B: {'met' if each <= GOAL_BYTES else 'MISSED'}",
            ]
        )
    before = used[FEW, "traced"]["top"]
    grown = {line: size - before.get(line, 0) for line, size in used[many, "traced"]["top"].items()}
    most = sorted(grown, key=lambda line: -grown[line])[:8]
    top = ", ".join(f"{line} {grown[line] / (many - FEW):,.0f} B" for line in most)
    show(
        f"Memory of a followed run, at {many:,} runs",
        ["", f"{FEW} runs", f"{many:,} runs", "each run", "goal"],
        rows,
        [f"Held for each run by line: {top}."],
    )


def report_looks(*, quick: bool) -> None:
    """Measure what a look costs, and print it."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for operation, name in (("GetRun", "GetRun"), ("ListRuns", "ListRuns, a page of 100")):
            directory = Path(place) / operation
            directory.mkdir()
            text = scenario(500)
            if operation == "GetRun":
                numbered = "".join(
                    f'[[runs]]\nrun_id = "{4_000_000 + number}"\nstarts_in = -3600\n'
                    'life = ["PENDING 1", "STARTING 1", "RUNNING 100000"]\n'
                    for number in range(20)
                )
                text = numbered + scenario(0, lists=False).split("\n", 6)[-1]
            with emulated(directory, text):
                if operation == "ListRuns":
                    figures(start("benchmarks.memory", "fill", str(directory)), 60)
                result = figures(start("benchmarks.memory", "looks", str(directory), operation), 60)
            rows.append(
                [
                    name,
                    milliseconds(result["ours"]),
                    milliseconds(result["bare"]),
                    times(result["ours"] / result["bare"]),
                    f"{result['made']:,.0f}",
                ]
            )
    show("CPU of one look", ["", "the poller", "bare aiobotocore call", "ratio", "looks"], rows)


async def _work(arguments: list[str]) -> Any:
    match arguments:
        case ["fill", directory]:
            return await fill(Path(directory))
        case [("traced" | "resident") as way, directory, runs]:
            return await followed(Path(directory), int(runs), traced=way == "traced")
        case ["looks", directory, operation]:
            return await looks(Path(directory), operation)
    raise SystemExit(f"{arguments}: not known")


if __name__ == "__main__":
    library_logging()
    print(json.dumps(asyncio.run(_work(sys.argv[1:]))))
