"""A hundred thousand runs in one daemon: its memory, its CPU, and how soon it asks after a start.

Twenty batches of 5,000 runs, of which one in fifty has begun and the others are queued, in an emulator in a process of
its own; the daemon is `omics-poller run` at 10 calls a second with a file for a sink. First it starts with nothing on
record and reads all of it, then it is left alone with it, then it is ended and started again from its record. The first
look of a start is the first request that the emulator gets. CPU is the process time of the daemon by the seconds that
passed, so other work on the machine changes it little.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import ask, end, serving
from benchmarks.tables import seconds, show
from poller.emulator import Emulator, Life

BATCHES: Final = tuple(str(8_000_000 + number) for number in range(20))
QUEUED: Final = Life.of(("PENDING", 86_400), "COMPLETED")
CPU_GOAL: Final = 0.15
MEMORY_GOAL: Final = 250e6
START_GOAL: Final = 10.0
READS_WITHIN: Final = 400.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the daemon used over some seconds: `cpu` is a share of one core, `resident` the most bytes seen."""

    cpu: float
    resident: float
    lasted: float


def report(*, quick: bool) -> None:
    """Measure and print."""
    each = 500 if quick else 5_000
    with tempfile.TemporaryDirectory() as place, serving("benchmarks.scale", "service", str(each)) as url:
        directory = Path(place)
        (directory / "config.toml").write_text(configuration(url))
        daemon, first_look = started(url, directory)
        try:
            reading = watched(daemon, directory, until_runs=each * len(BATCHES))
            quiet = watched(daemon, directory, lasting=30 if quick else 120)
        finally:
            end(daemon)
        daemon, again = started(url, directory)
        try:
            back = watched(daemon, directory, lasting=15 if quick else 60)
        finally:
            end(daemon)
    most = max(reading.resident, quiet.resident, back.resident)
    rows = [
        ["resident memory, the most", f"{most / 1e6:.0f} MB", goal(most, MEMORY_GOAL, "250 MB")],
        ["from a start with nothing to the first look", seconds(first_look), ""],
        [f"until all are on record (CPU {reading.cpu:.0%})", seconds(reading.lasted), ""],
        ["from a start with the record to the first look", seconds(again), goal(again, START_GOAL, "10 s")],
        [f"CPU in the first {back.lasted:.0f} s of that start", f"{back.cpu:.0%}", ""],
        [f"CPU afterwards, over {quiet.lasted:.0f} s", f"{quiet.cpu:.0%}", goal(quiet.cpu, CPU_GOAL, "15 %")],
    ]
    show(f"{each * len(BATCHES):,} runs of {len(BATCHES)} batches, one in fifty of them begun", ["", "", "goal"], rows)


def goal(value: float, most: float, words: str) -> str:
    return f"<= {words}: {'met' if value <= most else 'MISSED'}"


def configuration(url: str) -> str:
    """What the daemon is told."""
    return f"""
[aws]
region = "us-east-1"
endpoint_url = "{url}"
[watch]
batch_ids = {json.dumps(BATCHES)}
[polling]
max_calls_per_second = 10
[http]
listen = ""
[[sinks]]
name = "journal"
type = "file"
path = "events.jsonl"
"""


def started(url: str, directory: Path) -> "tuple[subprocess.Popen[str], float]":
    """A daemon, and the seconds from its start to its first request."""
    before = sum(ask(url + "/_emulator/")["calls"].values())
    begun = time.monotonic()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "poller", "run", "-c", "config.toml"],
        cwd=directory,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"},
        stderr=(directory / "log").open("a"),
        text=True,
    )
    while sum(ask(url + "/_emulator/")["calls"].values()) == before:
        if daemon.poll() is not None or time.monotonic() - begun > READS_WITHIN:
            end(daemon)
            raise RuntimeError(f"the daemon asks nothing: {(directory / 'log').read_text()[-500:]}")
        time.sleep(0.05)
    return daemon, time.monotonic() - begun


def watched(
    daemon: "subprocess.Popen[str]", directory: Path, *, until_runs: int = 0, lasting: float = READS_WITHIN
) -> Stretch:
    """What a daemon uses until so many runs are on record, or for so long."""
    begun, cpu, resident = time.monotonic(), cpu_seconds(daemon.pid), 0.0
    while (lasted := time.monotonic() - begun) < lasting:
        time.sleep(1)
        resident = max(resident, resident_bytes(daemon.pid))
        if until_runs and on_record(directory) >= until_runs:
            break
    else:
        if until_runs:
            raise RuntimeError(f"after {lasted:.0f} s only {on_record(directory):,} of {until_runs:,} runs are known")
    lasted = time.monotonic() - begun
    return Stretch((cpu_seconds(daemon.pid) - cpu) / lasted, resident, lasted)


def on_record(directory: Path) -> int:
    """How many runs the record holds."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"file:{directory / 'omics-poller.db'}?mode=ro", uri=True, timeout=10)) as record:
        return int(record.execute("SELECT count(*) FROM runs").fetchone()[0])


def cpu_seconds(pid: int) -> float:
    """The process time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> float:
    """The resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))


def begun_or_queued(number: int) -> Life:
    """The life of a batch's run by its place: one in fifty has begun, and they end one after the other."""
    if number % 50:
        return QUEUED
    return Life.of(("PENDING", 5), ("STARTING", 60), ("RUNNING", 3600 + number), ("STOPPING", 30), "COMPLETED")


async def serve(each: int) -> None:
    """Be the service until ended."""
    async with Emulator(port=0) as emulator:
        for batch_id in BATCHES:
            emulator.start_batch(each, begun_or_queued, batch_id=batch_id, starts_in=-600, runs_per_second=1000)
        print(json.dumps({"url": emulator.url}), flush=True)
        await asyncio.Event().wait()


def _work(arguments: list[str]) -> Any:
    match arguments:
        case ["service", each]:
            asyncio.run(serve(int(each)))
        case _:
            raise SystemExit(f"{arguments}: not known")


if __name__ == "__main__":
    _work(sys.argv[1:])
