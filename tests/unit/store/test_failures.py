"""What stops the record, made to happen: it says so, nothing is half written, and afterwards the same store goes on.

Happening for real: a lock of another connection, a file system's size limit (RLIMIT_FSIZE), a user without rights, a
file that is garbage, cut off, gone or replaced. A full disk is SQLite's own SQLITE_FULL by `PRAGMA max_page_count`,
and a read-only file system its SQLITE_READONLY by `PRAGMA query_only`, both set as a transaction begins.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Connection, Engine, event

from poller.core.errors import StoreError, StoreRefused, StoreUnavailable
from poller.core.routing import Route
from poller.ports import Round
from poller.store.failures import REFUSED, UNAVAILABLE, explained
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT, SCOPE, sample_draft, sample_run, steps_claimed, tell

IMPATIENT = timedelta(milliseconds=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@contextmanager
def every_transaction_begins_with(pragma: str) -> Iterator[None]:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA {pragma}")

    event.listen(Engine, "begin", begin)
    try:
        yield
    finally:
        event.remove(Engine, "begin", begin)


async def opened(path: Path) -> SqliteStore:
    """A store with one event that one sink is owed."""
    store = SqliteStore(path, patience=IMPATIENT)
    await store.open()
    await store.use_routes([Route("hook")], AT)
    await tell(store, sample_draft("1"))
    return store


async def big_round(store: SqliteStore) -> None:
    drafts = [sample_draft("2", step, data={"run_id": "2", "much": "x" * 5000}) for step in range(100)]
    await store.commit_round(Round(AT, SCOPE, [sample_run("2")], {"2": {"name": "x"}}, drafts))


async def goes_on(store: SqliteStore) -> None:
    """Nothing of what failed is there, and the same store works again."""
    assert [one.id for one in await store.events()] == ["1/life/1"]
    assert await store.live_runs(SCOPE) == []
    assert [row.event_id for row in await store.deliveries()] == ["1/life/1"]
    assert await steps_claimed(store, "hook") == ["1/life/1"]
    await big_round(store)
    assert len(await store.events()) == 101
    assert [one.sequence for one in await store.events(run_id="2")] == list(range(1, 101))
    await store.close()


async def test_a_record_that_is_locked_says_so_and_goes_on_when_it_is_free(path: Path) -> None:
    store = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=rf"{path} is locked by another process.*SQLITE_BUSY"):
            await big_round(store)
        with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
            await store.claim("hook", now=AT, limit=1)
    assert [one.id for one in await store.events()] == ["1/life/1"]  # readers do not wait for writers
    other.execute("COMMIT")
    other.close()
    await goes_on(store)


async def test_opening_a_new_record_that_is_locked_can_be_tried_again(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store = SqliteStore(path, patience=IMPATIENT)
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        await store.open()
    other.execute("COMMIT")
    other.close()
    await store.open()
    assert await store.last_position() == 0
    await store.close()


async def test_a_full_disk_says_so_and_leaves_nothing_half_written(path: Path) -> None:
    store = await opened(path)
    pages = sqlite3.connect(path).execute("PRAGMA page_count").fetchone()[0]
    with every_transaction_begins_with(f"max_page_count={pages + 5}"):
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=rf"{path} cannot grow.*free some space.*SQLITE_FULL"):
                await big_round(store)
        assert [one.id for one in await store.events()] == ["1/life/1"]
    await goes_on(store)


async def test_a_read_only_file_system_says_so(path: Path) -> None:
    store = await opened(path)
    with every_transaction_begins_with("query_only=on"):
        with pytest.raises(StoreUnavailable, match=rf"{path} cannot be written.*SQLITE_READONLY"):
            await big_round(store)
        assert [one.id for one in await store.events()] == ["1/life/1"]
    await goes_on(store)


async def test_a_file_that_was_removed_is_missed_and_not_made_anew(path: Path) -> None:
    store = await opened(path)
    away = path.with_name("away.db")
    rename(path, away)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=f"{path} is gone"):
            await big_round(store)
        with pytest.raises(StoreUnavailable, match=f"{path} is gone"):
            await store.events()
    assert not exists(path)
    rename(away, path)
    await goes_on(store)


async def test_a_file_that_was_replaced_is_not_written_to(path: Path) -> None:
    store = await opened(path)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    rename(copy, path)
    with pytest.raises(StoreRefused, match="was replaced by another file"):
        await big_round(store)
    await store.close()


@pytest.mark.parametrize("content", [b"garbage " * 1000, b"{}", b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused_and_untouched(path: Path, content: bytes) -> None:
    write(path, content)
    with pytest.raises(StoreRefused, match=f"{path} is not a record|{path} is damaged") as caught:
        await SqliteStore(path).open()
    assert caught.value.exit_code == 2
    assert read(path) == content


async def test_a_file_that_was_cut_off_is_refused(path: Path) -> None:
    store = await opened(path)
    await big_round(store)
    await store.close()
    whole = read(path)
    for size in (len(whole) // 2, 4096 * 3 + 17, 1000):
        write(path, whole[:size])
        with pytest.raises(StoreRefused, match=f"{path} is damaged|{path} is not a record") as caught:
            await SqliteStore(path).open()
        assert caught.value.exit_code == 2
        assert len(read(path)) == size


async def test_damage_inside_is_refused_when_it_is_met(path: Path) -> None:
    store = await opened(path)
    await big_round(store)
    await store.close()
    whole = read(path)
    write(path, whole[:4096] + bytes(reversed(whole[4096:])))
    with pytest.raises(StoreRefused, match=f"{path} is damaged"):
        await SqliteStore(path).open()


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.unit.store.test_failures import big_round, goes_on, opened
from poller.core.errors import StoreUnavailable

async def main(path):
    store = await opened(path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    for _ in range(3):
        try:
            await big_round(store)
        except StoreUnavailable as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await goes_on(store)

asyncio.run(main(Path(sys.argv[1])))
"""

POWERLESS = """
import asyncio, os, sys
from pathlib import Path
from tests.unit.store.test_failures import big_round, opened
from poller.core.errors import StoreUnavailable
from poller.store.store import SqliteStore

async def main(directory):
    theirs = SqliteStore(directory / "theirs.db")
    await theirs.open()
    await theirs.close()
    os.chmod(directory / "theirs.db", 0o644)
    os.chmod(directory, 0o755)
    if os.geteuid() == 0:
        os.setuid(65534)
    else:
        os.chmod(directory / "theirs.db", 0o444)
        os.chmod(directory, 0o555)
    for name in ("theirs.db", "new.db"):
        store = SqliteStore(directory / name)
        try:
            await store.open()
            await store.hold("nobody")
        except StoreUnavailable as error:
            print(error)

asyncio.run(main(Path(sys.argv[1])))
"""


def run(program: str, argument: Path) -> list[str]:
    ended = subprocess.run([sys.executable, "-c", program, str(argument)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_an_error_of_the_file_system_says_so_and_leaves_nothing_half_written(path: Path) -> None:
    """Where a file may not grow beyond a size, writing fails in the middle of a commit."""
    lines = run(LIMITED, path)
    assert len(lines) == 3
    for line in lines:
        assert line.startswith(f"{path} cannot")
        assert "SQLITE_IOERR" in line or "SQLITE_FULL" in line


def test_a_user_without_rights_is_told_which_file_and_what_to_do() -> None:
    with TemporaryDirectory() as directory:  # pytest's own directories are closed to others
        lines = run(POWERLESS, Path(directory))
    assert len(lines) == 2
    assert lines[0].startswith(f"{directory}/theirs.db cannot be written: make the file, its directory")
    assert lines[1].startswith(f"{directory}/new.db may not be used: give this user read and write access")


async def test_what_is_neither_passes_as_it_is() -> None:
    """A mistake of ours is not hidden behind `try again`."""
    with pytest.raises(sqlite3.OperationalError, match="no such table"), explained("here"):
        sqlite3.connect(":memory:").execute("SELECT * FROM absent")
    with pytest.raises(StoreError, match="as it was"), explained("here"):
        raise StoreUnavailable("as it was")


def test_no_code_means_two_things() -> None:
    assert not UNAVAILABLE.keys() & REFUSED.keys()


def rename(path: Path, to: Path) -> None:
    os.replace(path, to)


def exists(path: Path) -> bool:
    return path.exists()


def read(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
