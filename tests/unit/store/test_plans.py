"""Queries that must not slow down with a backlog: their plans use the index made for them, and never sort or scan."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Executable, create_engine, event, select
from sqlalchemy.dialects import sqlite

from poller.core.cohorts import Cohort
from poller.core.deliveries import DeliveryState
from poller.ports.records import Round
from poller.store import asking, cohorts, reading, telling
from poller.store.migrating import create
from poller.store.schema import deliveries, is_head, is_live, runs
from poller.testing.stores.samples import AT, SCOPE, sample_draft


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        create(connection)
        yield connection
    engine.dispose()


def plan(connection: Connection, statement: Any) -> str:
    """SQLite's plan, a line per step, of the statement as it is sent: with parameters, whose values it cannot see."""
    compiled = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True})
    values = tuple(None for _ in compiled.positiontup or ())
    return "\n".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values))


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (telling.due_heads(), "ready_by_due (sink=? AND due<?)"),
        (telling.longest_untried_head(), "ready_by_attempt (sink=?)"),
        (telling.earliest_due(), "ready_by_due (sink=?)"),
        (telling.claim_these(), "deliveries USING INTEGER PRIMARY KEY"),
        (telling.release_these(), "deliveries USING INTEGER PRIMARY KEY"),
        (telling.settle_these(), "deliveries USING INTEGER PRIMARY KEY"),
        (telling.promote_next(), "done USING INTEGER PRIMARY KEY"),
        (telling.promote_next(), "owed_by_lane (sink=? AND lane=?)"),
        (telling.promote_next(), "one_head_per_lane (sink=? AND lane=?)"),
        (deliveries.update().where(is_head, deliveries.c.sink == "hook").values(due=AT), "one_head_per_lane (sink=?)"),
        (select(runs.c.known).where(is_live, runs.c.scope == "x"), "runs_live (scope=?)"),
        (
            reading.listed_deliveries(sink="hook", state=DeliveryState.DEAD, run_id=None, limit=10),
            "settled_by_stage (stage=? AND sink=?)",
        ),
        (
            reading.listed_deliveries(sink=None, state=None, run_id=None, limit=10),
            "deliveries_of_event",
        ),
    ],
)
def test_the_hot_queries_find_their_rows_by_an_index(connection: Connection, statement: Executable, index: str) -> None:
    steps = plan(connection, statement)
    assert index in steps
    assert "TEMP B-TREE" not in steps
    assert "SCAN events" not in steps


def test_claiming_reads_the_bodies_of_what_it_claims_only(connection: Connection) -> None:
    steps = plan(connection, telling.due_heads()).splitlines()
    assert len(steps) == 2
    assert steps[0].startswith("SEARCH deliveries")
    assert steps[1].startswith("SEARCH events USING INTEGER PRIMARY KEY")


def test_events_cost_as_many_statements_whether_one_cohort_reads_them_or_twenty(connection: Connection) -> None:
    drafts = [sample_draft(str(number), 1) for number in range(50)]
    asking.commit_round(connection, Round(AT, SCOPE, drafts=drafts), [])

    def statements(count: int) -> int:
        said: list[str] = []
        followed = [Cohort(f"{count}-{number}", batch_id=str(number), scope=SCOPE) for number in range(count)]
        event.listen(connection, "before_cursor_execute", lambda *about: said.append(about[2]))
        cohorts.follow(connection, followed, (), 500)
        return len(said)

    assert statements(1) == statements(20) < 10
