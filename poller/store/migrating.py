"""The version of a record: made, judged, and brought forward.

A script in `migrations/versions` is an alembic revision whose name is the version that it leads to ("2", then "3");
`down_revision` is the one before, None in "2", since version 1 is what `schema.py` was when it was first released.
Its `upgrade()` changes the tables with `alembic.op`, and its `READABLE_FROM` is the oldest version that may still work
on the result. There is no way back: the copy made before is the way back.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, insert, inspect, select, update

from poller.core.errors import StoreRefused
from poller.store import schema

SCRIPTS: Final = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Found:
    """What a record says of its own schema."""

    version: int
    readable_from: int


def create(connection: Connection) -> None:
    """Make the tables of an empty record."""
    schema.metadata.create_all(connection)
    connection.execute(
        insert(schema.schema_version).values(version=schema.VERSION, readable_from_version=schema.READABLE_FROM)
    )
    connection.execute(insert(schema.numbering).values(last_position=0))


def found(connection: Connection, location: str) -> Found | None:
    """The schema of the record at hand, None if there is nothing at all.

    Raises: StoreRefused if it is somebody else's database.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    row = None
    if schema.schema_version.name in tables:
        row = connection.execute(select(schema.schema_version)).first()
    if row is None:
        raise StoreRefused(
            f"{location} is a database, but not a record of this program (it has no schema_version): give another path"
        )
    return Found(row.version, row.readable_from_version)


def must_migrate(at: Found, location: str) -> bool:
    """Whether the record is older than this program.

    Raises: StoreRefused if it is newer, and says that this version cannot work on it.
    """
    if at.readable_from > schema.VERSION:
        raise StoreRefused(
            f"{location} has schema version {at.version}, readable from version {at.readable_from} on; this program"
            f" knows version {schema.VERSION}: install a newer healthomics-poller, or give another record"
        )
    return at.version < schema.VERSION


def migrate(connection: Connection, at: Found) -> None:
    """Run the scripts between a record's version and ours, and write the new version down.

    Foreign keys must be off on the connection: SQLite changes a table by making it anew.
    """
    # Imported here: most processes never need it, and it takes a tenth of a second.
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    lower = "base" if at.version == 1 else str(at.version)
    context = MigrationContext.configure(connection, opts={"render_as_batch": True})
    with Operations.context(context):
        for script in reversed(list(scripts.iterate_revisions(str(schema.VERSION), lower))):
            script.module.upgrade()
            version = {"version": int(script.revision), "readable_from_version": script.module.READABLE_FROM}
            connection.execute(update(schema.schema_version).values(version))


def back_up(path: Path, version: int) -> Path:
    """Copy a SQLite record, as it was committed last, to `<file>.v<version>.bak`; whole or not at all."""
    target = path.with_name(f"{path.name}.v{version}.bak")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    source, copy = sqlite3.connect(path), sqlite3.connect(partial)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=delete")  # one file, without a -wal beside it
    finally:
        source.close()
        copy.close()
    os.replace(partial, target)
    return target
