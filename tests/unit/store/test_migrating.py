"""A record brings itself forward from a copy's safety, and refuses what it cannot read."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from poller.core.errors import StoreRefused
from poller.store import migrating, schema
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT, SCOPE, sample_draft, sample_run, tell

ADDS_A_COLUMN = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "2", None
READABLE_FROM = 1

def upgrade():
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("mood", sa.String, nullable=False, server_default="calm"))
        events.alter_column("source", type_=sa.Text)
"""
RENAMES_A_TABLE = """
from alembic import op

revision, down_revision = "3", "2"
READABLE_FROM = 3

def upgrade():
    op.rename_table("watches", "sights")
"""
FAILS = """
from alembic import op

revision, down_revision = "2", None
READABLE_FROM = 1

def upgrade():
    op.drop_table("deliveries")
    raise ZeroDivisionError
"""


@pytest.fixture(autouse=True)
def first_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this program be of the first version: the scripts here lead on from there, whatever version it is of."""
    monkeypatch.setattr(schema, "VERSION", 1)
    monkeypatch.setattr(schema, "READABLE_FROM", 1)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A record of version 1 with an event in it."""
    store = SqliteStore(tmp_path / "record.db")
    await store.open()
    await tell(store, sample_draft(), runs=[sample_run()])
    await store.close()
    return tmp_path / "record.db"


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this program's migrations come from, empty."""
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    monkeypatch.setattr(migrating, "SCRIPTS", tmp_path / "migrations")
    return tmp_path / "migrations" / "versions"


def values(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def contents(path: Path) -> bytes:
    return path.read_bytes()


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_an_older_record_is_copied_then_brought_forward(
    path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scripts / "v2.py").write_text(ADDS_A_COLUMN)
    (scripts / "v3.py").write_text(RENAMES_A_TABLE)
    monkeypatch.setattr(schema, "VERSION", 3)
    store = SqliteStore(path)
    await store.open()
    assert [event.id for event in await store.events()] == ["1/life/1"]
    assert await store.live_runs(SCOPE) == [sample_run()]
    await store.close()
    assert values(path, "SELECT * FROM schema_version") == [(3, 3)]
    assert values(path, "SELECT mood FROM events") == [("calm",)]
    assert values(path, "SELECT count(*) FROM sights") == [(0,)]
    copy = path.with_name("record.db.v1.bak")
    assert values(copy, "SELECT * FROM schema_version") == [(1, 1)]
    assert values(copy, "SELECT id FROM events") == [("1/life/1",)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {file.name for file in path.parent.glob("record.db.v1*")} == {copy.name}


async def test_the_script_of_a_later_version_starts_from_the_one_before(
    path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scripts / "v2.py").write_text(ADDS_A_COLUMN)
    (scripts / "v3.py").write_text(RENAMES_A_TABLE)
    for version in (2, 3):
        monkeypatch.setattr(schema, "VERSION", version)
        store = SqliteStore(path)
        await store.open()
        await store.close()
        assert values(path, "SELECT version FROM schema_version") == [(version,)]
    assert values(path.with_name("record.db.v2.bak"), "SELECT version FROM schema_version") == [(2,)]


async def test_a_migration_that_fails_changes_nothing(
    path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scripts / "v2.py").write_text(FAILS)
    monkeypatch.setattr(schema, "VERSION", 2)
    before = values(path, "SELECT sql FROM sqlite_master")
    with pytest.raises(ZeroDivisionError):
        await SqliteStore(path).open()
    assert values(path, "SELECT sql FROM sqlite_master") == before
    assert values(path, "SELECT * FROM schema_version") == [(1, 1)]
    (scripts / "v2.py").write_text(ADDS_A_COLUMN)
    store = SqliteStore(path)
    await store.open()
    await store.close()
    assert values(path, "SELECT version FROM schema_version") == [(2,)]


async def test_no_record_is_migrated_while_a_daemon_works_on_it(
    path: Path, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = SqliteStore(path)
    await daemon.open()
    await daemon.hold("the daemon")
    (scripts / "v2.py").write_text(ADDS_A_COLUMN)
    monkeypatch.setattr(schema, "VERSION", 2)
    with pytest.raises(StoreRefused, match="the daemon") as caught:
        await SqliteStore(path).open()
    assert caught.value.exit_code == 1
    await daemon.close()
    assert values(path, "SELECT version FROM schema_version") == [(1,)]
    assert not path.with_name("record.db.v1.bak").exists()


async def test_a_newer_record_that_we_cannot_read_is_refused_and_untouched(path: Path) -> None:
    change(path, "UPDATE schema_version SET version = 7, readable_from_version = 2")
    before = contents(path)
    with pytest.raises(StoreRefused) as caught:
        await SqliteStore(path).open()
    assert caught.value.exit_code == 2
    for part in (str(path), "version 7", "from version 2", "version 1"):
        assert part in str(caught.value)
    assert contents(path) == before


async def test_a_newer_record_that_says_we_may_is_used(path: Path) -> None:
    change(path, "UPDATE schema_version SET version = 7, readable_from_version = 1")
    store = SqliteStore(path)
    await store.open()
    assert await tell(store, sample_draft(step=2), at=AT) == [2]
    await store.close()
    assert values(path, "SELECT * FROM schema_version") == [(7, 1)]


@pytest.mark.parametrize(
    "table", ["somebody (name TEXT)", "schema_version (version INTEGER, readable_from_version INTEGER)"]
)
async def test_somebody_elses_database_is_refused_and_untouched(tmp_path: Path, table: str) -> None:
    path = tmp_path / "other.db"
    change(path, f"CREATE TABLE {table}")
    before = contents(path)
    with pytest.raises(StoreRefused, match=r"other\.db is a database, but not a record") as caught:
        await SqliteStore(path).open()
    assert caught.value.exit_code == 2
    assert contents(path) == before


def test_alembic_is_not_loaded_where_nothing_is_migrated(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from poller.store.store import SqliteStore;"
        f"asyncio.run(SqliteStore(Path({str(tmp_path / 'record.db')!r})).open());"
        "print([name for name in sys.modules if name.startswith('alembic')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
