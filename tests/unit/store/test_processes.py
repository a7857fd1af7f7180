"""Two processes on one file lose nothing of each other."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from poller.store.store import SqliteStore
from poller.testing.stores.samples import SCOPE
from tests.waiting import becomes

WRITER = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from poller.core.deliveries import DeliveryState, Settlement
from poller.core.routing import Route
from poller.ports.records import WatchRow
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT, SCOPE, done, sample_draft, tell

async def main(path, who, rounds):
    store = SqliteStore(Path(path), patience=timedelta(seconds=30))
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    await store.use_routes([Route("hook")], AT)
    for step in range(int(rounds)):
        await tell(store, sample_draft("1", f"{who}-{step}"), sample_draft(who, step))
        await store.put_watch(WatchRow(SCOPE, f"{who}{step}", "follow", AT))
        claimed = await store.claim("hook", now=AT, limit=2)
        await store.settle([done(one) for one in claimed])
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""
PROCESSES, ROUNDS = 3, 25


def start_writer(path: Path, who: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(10 + who), str(ROUNDS)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_a_record_that_another_process_is_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself waits for no writer where the journal is to become another one."""
    path = tmp_path / "record.db"
    said: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        connection.set_trace_callback(said.append)
        return connection

    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite3, "connect", traced)
        store = SqliteStore(path, patience=timedelta(seconds=30))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.open)
            await becomes(lambda: "BEGIN IMMEDIATE" in said, patience_seconds=30)
            other.execute("COMMIT")
    assert await store.watches() == []
    await store.close()


@pytest.mark.parametrize("made_before", [True, False])
async def test_processes_that_write_at_once_lose_no_update(tmp_path: Path, made_before: bool) -> None:
    """Also where all of them make the record at once."""
    path = tmp_path / "record.db"
    store = SqliteStore(path)
    if made_before:
        await store.open()
        await store.close()
    writers = [start_writer(path, who) for who in range(PROCESSES)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    await store.open()
    events = await store.events(limit=10_000)
    assert [event.position for event in events] == list(range(1, 2 * PROCESSES * ROUNDS + 1))
    shared = [event.sequence for event in events if event.subject == "1"]
    assert shared == list(range(1, PROCESSES * ROUNDS + 1))
    assert len(await store.watches()) == PROCESSES * ROUNDS
    assert await store.last_position() == len(events)
    assert {watch.scope for watch in await store.watches()} == {SCOPE}
    deliveries = await store.deliveries(limit=10_000)
    assert len(deliveries) == len({row.event_id for row in deliveries}) == len(events)
    await store.close()
