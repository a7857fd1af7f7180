"""What people and the API read: events, runs, deliveries, sinks. One function per transaction; none writes."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from poller.core.deliveries import AttemptOutcome, AttemptRow, DeliveryRow, DeliveryState
from poller.core.events import Event
from poller.ports import RunRow, SinkRow
from poller.store import remembered
from poller.store.schema import (
    HEAD,
    attempts,
    deliveries,
    in_stage,
    is_live,
    is_owed,
    is_settled,
    numbering,
    runs,
    sinks,
    snapshots,
)
from poller.store.schema import events as events_table

STATE_OF: Final = {
    "waiting": DeliveryState.PENDING,
    "ready": DeliveryState.PENDING,
    "claimed": DeliveryState.PENDING,
    "acknowledged": DeliveryState.ACKNOWLEDGED,
    "dead": DeliveryState.DEAD,
    "superseded": DeliveryState.SUPERSEDED,
}
"""What a stage is called outside of the record."""


def events(
    connection: Connection,
    *,
    after: int,
    limit: int,
    run_id: str | None,
    scope: str | None,
    types: Sequence[str] | None,
    since: datetime | None,
    event_id: str | None = None,
) -> list[Event]:
    """Events after a position, in its order, narrowed by whatever is given."""
    table = events_table
    query = select(table.c.position, table.c.recorded_at, table.c.body).where(table.c.position > after)
    if run_id is not None:
        query = query.where(table.c.run_id == run_id)
    if scope is not None:
        query = query.where(table.c.scope == scope)
    if types is not None:
        query = query.where(table.c.type.in_(types))
    if since is not None:
        query = query.where(table.c.recorded_at >= since)
    if event_id is not None:
        query = query.where(table.c.id == event_id)
    rows = connection.execute(query.order_by(table.c.position).limit(limit))
    return [Event(row.body, position=row.position, recorded_at=row.recorded_at) for row in rows]


def last_position(connection: Connection) -> int:
    """The position given last, whether or not its event is still there."""
    position: int = connection.execute(select(numbering.c.last_position)).scalar_one()
    return position


def run_rows(
    connection: Connection, *, scope: str | None, run_id: str | None, live_only: bool, limit: int
) -> list[RunRow]:
    """Runs with their snapshots, last changed first."""
    joined = runs.outerjoin(snapshots, (snapshots.c.scope == runs.c.scope) & (snapshots.c.run_id == runs.c.run_id))
    query = select(runs.c.scope, runs.c.known, runs.c.updated_at, snapshots.c.fields).select_from(joined)
    if scope is not None:
        query = query.where(runs.c.scope == scope)
    if run_id is not None:
        query = query.where(runs.c.run_id == run_id)
    if live_only:
        query = query.where(is_live)
    rows = connection.execute(query.order_by(runs.c.updated_at.desc(), runs.c.scope, runs.c.run_id).limit(limit))
    return [
        RunRow(row.scope, remembered.decode_run(row.known), json.loads(row.fields or "{}"), row.updated_at)
        for row in rows
    ]


def delivery_rows(
    connection: Connection,
    *,
    sink: str | None,
    state: DeliveryState | None,
    run_id: str | None,
    scope: str | None,
    event_id: str | None,
    replay_id: str | None,
    limit: int,
) -> list[DeliveryRow]:
    """Deliveries with what is listed of their events, newest event first."""
    query = listed_deliveries(
        sink=sink, state=state, run_id=run_id, scope=scope, event_id=event_id, replay_id=replay_id, limit=limit
    )
    return [_delivery_row(row) for row in connection.execute(query)]


def delivery_row(connection: Connection, *, delivery_id: int) -> DeliveryRow | None:
    """One delivery."""
    row = connection.execute(listed_deliveries(limit=1).where(deliveries.c.id == delivery_id)).first()
    return None if row is None else _delivery_row(row)


def listed_deliveries(
    *,
    sink: str | None = None,
    state: DeliveryState | None = None,
    run_id: str | None = None,
    scope: str | None = None,
    event_id: str | None = None,
    replay_id: str | None = None,
    limit: int,
) -> Select[Any]:
    """The query behind `delivery_rows`; it reads no event's body."""
    event = events_table
    joined = deliveries.join(event, event.c.position == deliveries.c.position)
    joined = joined.outerjoin(sinks, sinks.c.name == deliveries.c.sink)
    query = select(
        deliveries,
        event.c.id.label("event_id"),
        event.c.type,
        event.c.source,
        event.c.run_id,
        event.c.recorded_at,
        sinks.c.in_force,
    ).select_from(joined)
    if sink is not None:
        query = query.where(deliveries.c.sink == sink)
    if run_id is not None:
        query = query.where(event.c.run_id == run_id)
    if scope is not None:
        query = query.where(event.c.scope == scope)
    if event_id is not None:
        query = query.where(event.c.id == event_id)
    if replay_id is not None:
        query = query.where(deliveries.c.replay_id == replay_id)
    if state is DeliveryState.PENDING:
        query = query.where(is_owed)
    elif state is not None:
        query = query.where(is_settled, in_stage(state.value))
    return query.order_by(deliveries.c.position.desc(), deliveries.c.id.desc()).limit(limit)


def attempt_rows(connection: Connection, *, delivery_id: int) -> list[AttemptRow]:
    """The failed attempts of a delivery that are kept, first one first."""
    query = select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number)
    return [AttemptRow(row.number, row.at, AttemptOutcome(row.outcome), row.error) for row in connection.execute(query)]


def sink_rows(connection: Connection) -> list[SinkRow]:
    """Every sink with counts of what it is owed, what is dead and what it acknowledged, by name."""
    owed = _counts(connection, select(deliveries.c.sink, func.count()).where(is_owed).group_by(deliveries.c.sink))
    settled = {
        stage: _counts(
            connection,
            select(deliveries.c.sink, func.count()).where(is_settled, in_stage(stage)).group_by(deliveries.c.sink),
        )
        for stage in ("dead", "acknowledged")
    }
    return [
        SinkRow(
            name=row.name,
            in_force=row.in_force,
            first_seen_at=row.first_seen_at,
            owed=owed.get(row.name, 0),
            dead=settled["dead"].get(row.name, 0),
            acknowledged=settled["acknowledged"].get(row.name, 0),
            paused_until=row.paused_until,
            failing_since=row.failing_since,
        )
        for row in connection.execute(select(sinks).order_by(sinks.c.name))
    ]


def _counts(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {name: number for name, number in connection.execute(query)}


def _delivery_row(row: Any) -> DeliveryRow:
    return DeliveryRow(
        id=row.id,
        sink=row.sink,
        state=STATE_OF[row.stage],
        parked=not row.in_force,
        event_id=row.event_id,
        event_type=row.type,
        source=row.source,
        run_id=row.run_id,
        position=row.position,
        attempts=row.attempts,
        due=row.due if row.stage in HEAD else None,
        recorded_at=row.recorded_at,
        settled_at=row.settled_at,
        error=row.error,
        replay_id=row.replay_id,
    )
