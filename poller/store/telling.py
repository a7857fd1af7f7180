"""What the telling side writes and reads, one function per transaction: routes, claims, settlements.

Within a lane (one sink, one source) only the head can be claimed; the next one is made head when the head is settled.
The statements that find a delivery are functions of their own, so that a test can look at their plans.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, Update, bindparam, exists, select, update

from poller.core.deliveries import Delivery, DeliveryState, Settlement
from poller.core.events import Event
from poller.core.routing import Route
from poller.store.schema import deliveries, events, in_stage, is_head, is_ready, sinks
from poller.store.statements import upsert

STAGE_OF: Final = {
    DeliveryState.PENDING: "ready",
    DeliveryState.ACKNOWLEDGED: "acknowledged",
    DeliveryState.DEAD: "dead",
}
"""Where a settled attempt leaves the head of a lane."""

_CLAIMABLE: Final = select(
    deliveries.c.id,
    deliveries.c.sink,
    deliveries.c.lane,
    deliveries.c.attempts,
    deliveries.c.counted,
    deliveries.c.last_attempt_at,
    events.c.position,
    events.c.recorded_at,
    events.c.body,
    events.c.id.label("event_id"),
).join(events, events.c.position == deliveries.c.position)


def due_heads(sink: str, now: datetime, limit: int) -> Select[Any]:
    """The first deliveries of lanes that are due, longest due first, with their bytes."""
    query = _CLAIMABLE.where(is_ready, deliveries.c.sink == sink, deliveries.c.due <= now)
    return query.order_by(deliveries.c.due, deliveries.c.position).limit(limit)


def longest_untried_head(sink: str) -> Select[Any]:
    """The first delivery of the lane whose last attempt is longest ago, due or not; never tried is longer still."""
    query = _CLAIMABLE.where(is_ready, deliveries.c.sink == sink)
    return query.order_by(deliveries.c.last_attempt_at.nulls_first(), deliveries.c.position).limit(1)


def earliest_due(sink: str) -> Select[Any]:
    """When the next unclaimed head of the sink is due."""
    query = select(deliveries.c.due).where(is_ready, deliveries.c.sink == sink)
    return query.order_by(deliveries.c.due).limit(1)


def use_routes(connection: Connection, routes: Sequence[Route], at: datetime) -> None:
    """Put the sinks in force, note the new ones, and since when the others are gone; what is owed stays."""
    names = [route.sink for route in routes]
    gone = sinks.c.in_force.is_(True) & sinks.c.name.not_in(names)
    connection.execute(update(sinks).where(gone).values(in_force=False, gone_at=at))
    if names:
        statement = upsert(sinks).on_conflict_do_update(
            index_elements=["name"], set_={"in_force": True, "gone_at": None}
        )
        connection.execute(statement, [{"name": name, "in_force": True, "first_seen_at": at} for name in names])


def claim(connection: Connection, sink: str, now: datetime, limit: int) -> list[Delivery]:
    """Claim heads that are due."""
    return _claimed(connection, due_heads(sink, now, limit))


def probe(connection: Connection, sink: str) -> list[Delivery]:
    """Claim the one head that was tried longest ago."""
    return _claimed(connection, longest_untried_head(sink))


def next_due(connection: Connection, sink: str) -> datetime | None:
    """The earliest due time of the sink's unclaimed heads."""
    due: datetime | None = connection.execute(earliest_due(sink)).scalar_one_or_none()
    return due


def settle(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Write how attempts ended, then let the next ones of the lanes that they free come first.

    A delivery that is not the head of its lane any more (settled before, or forgotten meanwhile) is left alone: an
    acknowledgement may be stored twice.
    """
    if not settlements:
        return
    rows = [
        {
            "delivery_id": one.delivery_id,
            "to_stage": STAGE_OF[one.state],
            "tried_at": one.at,
            "settled": None if one.state is DeliveryState.PENDING else one.at,
            "next_due": one.due or one.at,
            "failed": one.attempts,
            "told_against": one.counted,
            "reason": one.error,
        }
        for one in settlements
    ]
    connection.execute(_settle_one(), rows)
    promote(connection, [(one.delivery_id, one.at) for one in settlements if one.state is not DeliveryState.PENDING])


def promote(connection: Connection, settled: Iterable[tuple[int, datetime]]) -> None:
    """In the lanes of these settled deliveries, make the first waiting one the head, due at the moment given."""
    rows = [{"settled_id": delivery_id, "at_once": at} for delivery_id, at in settled]
    if rows:
        connection.execute(promote_one(), rows)


def release(connection: Connection, delivery_ids: Sequence[int]) -> None:
    """Give claimed deliveries back as they were."""
    if delivery_ids:
        connection.execute(_release_one(), [{"delivery_id": one} for one in delivery_ids])


def release_all(connection: Connection) -> None:
    """Give back all that a daemon had claimed when it died."""
    connection.execute(update(deliveries).where(is_head, in_stage("claimed")).values(stage="ready"))


def make_due(connection: Connection, sink: str, at: datetime) -> None:
    """Make all heads of a sink due at one moment, so that they go in the order of their positions."""
    connection.execute(update(deliveries).where(is_head, deliveries.c.sink == sink).values(due=at))


def _claimed(connection: Connection, query: Select[Any]) -> list[Delivery]:
    rows = connection.execute(query).all()
    if rows:
        connection.execute(_claim_one(), [{"delivery_id": row.id} for row in rows])
    return [
        Delivery(
            id=row.id,
            sink=row.sink,
            lane=row.lane,
            event=Event(row.body, position=row.position, recorded_at=row.recorded_at, id=row.event_id),
            attempts=row.attempts,
            counted=row.counted,
            last_attempt_at=row.last_attempt_at,
        )
        for row in rows
    ]


@cache
def _claim_one() -> Update:
    return update(deliveries).where(deliveries.c.id == bindparam("delivery_id")).values(stage="claimed")


@cache
def _release_one() -> Update:
    claimed = update(deliveries).where(deliveries.c.id == bindparam("delivery_id"), in_stage("claimed"))
    return claimed.values(stage="ready")


@cache
def _settle_one() -> Update:
    return (
        update(deliveries)
        .where(deliveries.c.id == bindparam("delivery_id"), is_head)
        .values(
            stage=bindparam("to_stage"),
            last_attempt_at=bindparam("tried_at"),
            settled_at=bindparam("settled"),
            due=bindparam("next_due"),
            attempts=bindparam("failed"),
            counted=bindparam("told_against"),
            error=bindparam("reason"),
        )
    )


@cache
def promote_one() -> Update:
    """Make the first waiting delivery of a lane its head, if the lane has none."""
    done, head, waiting = (deliveries.alias(name) for name in ("done", "head", "waiting"))
    has_head = exists().where(
        head.c.sink == done.c.sink, head.c.lane == done.c.lane, in_stage("ready", "claimed", of=head)
    )
    next_id = (
        select(waiting.c.id)
        .join(done, (waiting.c.sink == done.c.sink) & (waiting.c.lane == done.c.lane))
        .where(done.c.id == bindparam("settled_id"), waiting.c.settled_at.is_(None), ~has_head)
        .order_by(waiting.c.position, waiting.c.id)
        .limit(1)
    )
    statement = update(deliveries).where(deliveries.c.id == next_id.scalar_subquery())
    return statement.values(stage="ready", due=bindparam("at_once"))
