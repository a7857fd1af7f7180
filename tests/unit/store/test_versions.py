"""The scripts that this program is shipped with lead from each older schema to the one that a new record has."""

import re
import sqlite3
from pathlib import Path

from poller.ports import Round
from poller.store import schema
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT, SCOPE, sample_draft, sample_run, tell

ADDED: dict[int, tuple[str, ...]] = {2: ("DROP TABLE diagnoses",)}
"""By version what takes away again what it added: a record of the version before is what is left."""


async def record_of(path: Path, version: int) -> None:
    """A record as that version of the program left it, with a run and its event in it."""
    store = SqliteStore(path)
    await store.open()
    await tell(store, sample_draft(), runs=[sample_run()])
    await store.close()
    connection = sqlite3.connect(path)
    for later in sorted((one for one in ADDED if one > version), reverse=True):
        for statement in ADDED[later]:
            connection.execute(statement)
    connection.execute("UPDATE schema_version SET version = ?, readable_from_version = ?", (version, version))
    connection.commit()
    connection.close()


def tables(path: Path) -> dict[str, str]:
    """What each table and index was made by, without what is a matter of taste."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: re.sub(r"[\s\"]+", "", sql).lower() for name, sql in rows}


async def test_each_older_record_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    new = SqliteStore(tmp_path / "new.db")
    await new.open()
    await new.close()
    for version in range(1, schema.VERSION):
        path = tmp_path / f"of{version}.db"
        await record_of(path, version)
        assert tables(path) != tables(tmp_path / "new.db")
        store = SqliteStore(path)
        await store.open()
        assert [event.id for event in await store.events()] == ["1/life/1"]
        assert await store.live_runs(SCOPE) == [sample_run()]
        draft = sample_draft(step=2, kind="failed")
        await store.commit_round(Round(AT, SCOPE, drafts=[draft], to_diagnose={draft.id}))
        assert await store.owed_diagnoses(SCOPE) == {2: "1"}
        await store.close()
        assert tables(path) == tables(tmp_path / "new.db")
        assert path.with_name(f"{path.name}.v{version}.bak").exists()
