"""One daemon per record, by a lock that ends with its process."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from poller.core.errors import StoreRefused
from poller.core.routing import Route
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT, sample_draft, steps_claimed, tell

DAEMON = """
import asyncio, sys, time
from pathlib import Path
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.hold("the first")
    claimed = await store.claim("hook", now=AT, limit=10)
    print(len(claimed), flush=True)
    sys.stdin.read()  # until it is killed

asyncio.run(main())
"""


def start_daemon(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DAEMON, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_a_second_daemon_is_told_who_holds_the_record(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "record.db"), SqliteStore(tmp_path / "record.db")
    await first.open()
    await second.open()
    await first.hold("the first")
    with pytest.raises(StoreRefused) as caught:
        await second.hold("the second")
    assert caught.value.exit_code == 1
    for part in (str(tmp_path / "record.db"), "the first", socket.gethostname(), f"pid {os.getpid()}"):
        assert part in str(caught.value)
    await first.close()
    await second.hold("the second")
    await second.close()


async def test_a_lock_file_that_says_nothing_still_locks(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "record.db"), SqliteStore(tmp_path / "record.db")
    await first.open()
    await second.open()
    await first.hold("the first")
    (tmp_path / "record.db.lock").write_text("")
    with pytest.raises(StoreRefused, match="not said who it is"):
        await second.hold("the second")
    await first.close()
    await second.close()


async def test_a_killed_daemon_leaves_neither_lock_nor_claims(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    store = SqliteStore(path)
    await store.open()
    await store.use_routes([Route("hook")], AT)
    await tell(store, sample_draft("1"), sample_draft("2"))
    with start_daemon(path) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "2\n"
        with pytest.raises(StoreRefused, match=f"pid {daemon.pid}"):
            await store.hold("the second")
        assert await steps_claimed(store, "hook") == []
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    await store.hold("the second")
    assert await steps_claimed(store, "hook") == ["1/life/1", "2/life/1"]
    await store.close()
