"""What the queries have in common: upserts, and long lists of values: in portions, or as one parameter."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Dialect, Table, Text, TypeDecorator, bindparam, func, select
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


class _Several(TypeDecorator[Sequence[int | str]]):
    """Any number of numbers or texts as one value."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[int | str] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value)


def one_of(column: Any, name: str) -> Any:
    """The term that a column is one of the numbers, or texts, that are given by this name, however many.

    They are one parameter, so that the statement is the same for any count. PostgreSQL says `= ANY`: its place is here.
    """
    return column.in_(select(func.json_each(bindparam(name, type_=_Several)).table_valued("value").c.value))


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
