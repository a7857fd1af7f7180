"""What the queries have in common: upserts, and long lists of values in portions."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

T = TypeVar("T")

PORTION: Final = 500
"""Values of one IN: below every engine's limit of parameters, and few enough shapes for the statement cache."""


def portions(values: Iterable[T]) -> Iterator[list[T]]:
    """The values without repeats, in lists of `PORTION` at most."""
    remaining = iter(dict.fromkeys(values))
    while portion := list(islice(remaining, PORTION)):
        yield portion


def upsert(table: Table) -> Insert:
    """An insert that has `on_conflict_do_update`. PostgreSQL's has the same methods: its place is here."""
    return sqlite_insert(table)


def put(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, or replace all columns of those whose primary key is there."""
    if rows:
        connection.execute(_put(table), rows)


@cache  # a statement that stays the same object is much cheaper to run
def _put(table: Table) -> Insert:
    statement = upsert(table)
    keys = [column.name for column in table.primary_key]
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=replaced)
