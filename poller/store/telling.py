"""What the telling side writes and reads, one function per transaction: routes, claims, settlements.

Within a lane (one sink, one source) only the head can be claimed; the next one is made head when the head is settled.
The statements that find a delivery are functions of their own, so that a test can look at their plans.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Insert, Select, Update, bindparam, case, delete, insert, select, update

from poller.core.deliveries import Delivery, DeliveryState, Settlement
from poller.core.events import Event
from poller.core.routing import Route
from poller.ports.records import SinkState
from poller.store.schema import HEAD, attempts, deliveries, events, has_head, in_stage, is_head, is_ready, sinks
from poller.store.statements import one_of, upsert

ATTEMPTS_KEPT: Final = 50
"""Of one delivery: a far end that is away for a week is tried two thousand times."""
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
    deliveries.c.owed_since,
    deliveries.c.replay_id,
    events.c.position,
    events.c.recorded_at,
    events.c.body,
    events.c.id.label("event_id"),
).join(events, events.c.position == deliveries.c.position)


@cache
def due_heads() -> Select[Any]:
    """The first deliveries of lanes that are due, longest due first, with their bytes."""
    query = _CLAIMABLE.where(is_ready, deliveries.c.sink == bindparam("of_sink"), deliveries.c.due <= bindparam("by"))
    return query.order_by(deliveries.c.due, deliveries.c.position).limit(bindparam("most"))


@cache
def longest_untried_head() -> Select[Any]:
    """The first delivery of the lane whose last attempt is longest ago, due or not; never tried is longer still."""
    query = _CLAIMABLE.where(is_ready, deliveries.c.sink == bindparam("of_sink"))
    return query.order_by(deliveries.c.last_attempt_at.nulls_first(), deliveries.c.position).limit(1)


@cache
def earliest_due() -> Select[Any]:
    """When the next unclaimed head of the sink is due."""
    query = select(deliveries.c.due).where(is_ready, deliveries.c.sink == bindparam("of_sink"))
    return query.order_by(deliveries.c.due).limit(1)


@cache
def those_in(*stages: str) -> Select[Any]:
    """Which of some deliveries are in one of these stages."""
    return select(deliveries.c.id).where(one_of(deliveries.c.id, "ids"), in_stage(*stages))


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
    return _claimed(connection, due_heads(), {"of_sink": sink, "by": now, "most": limit})


def probe(connection: Connection, sink: str) -> list[Delivery]:
    """Claim the one head that was tried longest ago."""
    return _claimed(connection, longest_untried_head(), {"of_sink": sink})


def next_due(connection: Connection, sink: str) -> datetime | None:
    """The earliest due time of the sink's unclaimed heads."""
    due: datetime | None = connection.execute(earliest_due(), {"of_sink": sink}).scalar_one_or_none()
    return due


def settle(connection: Connection, settlements: Sequence[Settlement], fallbacks: Mapping[str, str]) -> None:
    """Write how attempts ended, then let the next ones of the lanes that they free come first.

    What ended alike is one row of ids. A delivery that is not the head of its lane any more (settled before, or
    forgotten meanwhile) is left alone: an acknowledgement may be stored twice. What died is owed to the fallback of
    its sink.
    """
    failed = _standing(connection, [one for one in settlements if one.error is not None])
    alike: dict[tuple[object, ...], list[Settlement]] = {}
    freed: dict[datetime, list[int]] = {}
    for one in settlements:
        alike.setdefault((one.state, one.at, one.due, one.attempts, one.counted, one.error), []).append(one)
        if one.state is not DeliveryState.PENDING:
            freed.setdefault(one.at, []).append(one.delivery_id)
    if alike:
        connection.execute(settle_these(), [_ending(those) for those in alike.values()])
    _keep_attempts(connection, [one for one in failed if one.outcome is not None])
    for at, delivery_ids in freed.items():
        promote(connection, delivery_ids, at)
    dead = [one for one in failed if one.state is DeliveryState.DEAD]
    if dead and fallbacks:
        _hand_over(connection, dead, fallbacks)


def _standing(connection: Connection, failed: Sequence[Settlement]) -> list[Settlement]:
    """Those of heads of lanes: nothing is kept or handed over of what was settled before, or forgotten meanwhile."""
    if not failed:
        return []
    heads = set(connection.execute(those_in(*HEAD), {"ids": [one.delivery_id for one in failed]}).scalars())
    return [one for one in failed if one.delivery_id in heads]


def _keep_attempts(connection: Connection, failed: Sequence[Settlement]) -> None:
    """Keep the last failed attempts of each delivery."""
    if not failed:
        return
    rows = [
        {
            "delivery_id": one.delivery_id,
            "number": one.attempts,
            "at": one.at,
            "outcome": one.outcome,
            "error": one.error or "",
        }
        for one in failed
    ]
    connection.execute(upsert(attempts).on_conflict_do_nothing(), rows)
    for one in failed:
        if one.attempts > ATTEMPTS_KEPT:
            old = attempts.c.number <= one.attempts - ATTEMPTS_KEPT
            connection.execute(delete(attempts).where(attempts.c.delivery_id == one.delivery_id, old))


def _hand_over(connection: Connection, dead: Sequence[Settlement], fallbacks: Mapping[str, str]) -> None:
    """Owe what some sinks gave up to their fallbacks, unless those were owed it already."""
    moments = {one.delivery_id: one.at for one in dead}
    query = select(deliveries).where(
        deliveries.c.id.in_(list(moments)), in_stage("dead"), deliveries.c.sink.in_(list(fallbacks))
    )
    for row in connection.execute(query.order_by(deliveries.c.position, deliveries.c.id)).all():
        owed = {
            "to_sink": fallbacks[row.sink],
            "in_lane": row.lane,
            "of_position": row.position,
            "from_moment": moments[row.id],
            "as_replay": row.replay_id,
        }
        had = deliveries.c.sink == owed["to_sink"], deliveries.c.position == row.position, deliveries.c.lane == row.lane
        if connection.execute(select(deliveries.c.id).where(*had)).first() is None:
            connection.execute(owe(late=True), owed)


@cache
def owe(*, late: bool = False) -> Insert:
    """Owe an event to a sink: at the head of its lane if nobody else is there, else waiting behind.

    `late` is for what was recorded long before, such as replays: its age counts from now on.
    """
    taken = has_head(bindparam("to_sink"), bindparam("in_lane"))
    return insert(deliveries).values(
        sink=bindparam("to_sink"),
        lane=bindparam("in_lane"),
        position=bindparam("of_position"),
        due=bindparam("from_moment"),
        owed_since=bindparam("from_moment") if late else None,
        replay_id=bindparam("as_replay") if late else None,
        stage=case((taken, "waiting"), else_="ready"),
    )


def pause(connection: Connection, sink: str, until: datetime | None) -> bool:
    """Note until when nothing is to be sent to a sink."""
    return connection.execute(update(sinks).where(sinks.c.name == sink).values(paused_until=until)).rowcount > 0


def sink_state(connection: Connection, sink: str) -> SinkState:
    """What the worker of a sink has to know."""
    row = connection.execute(select(sinks.c.paused_until, sinks.c.failing_since).where(sinks.c.name == sink)).first()
    return SinkState() if row is None else SinkState(row.paused_until, row.failing_since)


def promote(connection: Connection, settled: Sequence[int], at: datetime) -> None:
    """In the lanes of these settled deliveries, make the first waiting one the head, due at that moment."""
    if settled:
        connection.execute(promote_next(), {"settled_ids": settled, "at_once": at})


def still_claimed(connection: Connection, delivery_ids: Sequence[int]) -> set[int]:
    """Those of some deliveries that are claimed."""
    return set(connection.execute(those_in("claimed"), {"ids": delivery_ids}).scalars())


def release(connection: Connection, delivery_ids: Sequence[int]) -> None:
    """Give claimed deliveries back as they were."""
    if delivery_ids:
        connection.execute(release_these(), {"delivery_ids": delivery_ids})


def release_all(connection: Connection) -> None:
    """Give back all that a daemon had claimed when it died."""
    connection.execute(update(deliveries).where(is_head, in_stage("claimed")).values(stage="ready"))


def make_due(connection: Connection, sink: str, at: datetime) -> None:
    """Make all heads of a sink due at one moment, so that they go in the order of their positions."""
    connection.execute(update(deliveries).where(is_head, deliveries.c.sink == sink).values(due=at))


def _claimed(connection: Connection, query: Select[Any], values: Mapping[str, object]) -> list[Delivery]:
    rows = connection.execute(query, values).all()
    if rows:
        connection.execute(claim_these(), {"delivery_ids": [row.id for row in rows]})
    return [
        Delivery(
            id=delivery_id,
            sink=sink,
            lane=lane,
            event=Event(body, position=position, recorded_at=recorded_at, id=event_id, replay=replay_id),
            attempts=tried,
            counted=counted,
            last_attempt_at=last_attempt_at,
            owed_since=owed_since,
        )
        for (
            delivery_id, sink, lane, tried, counted, last_attempt_at, owed_since, replay_id,
            position, recorded_at, body, event_id,
        ) in rows
    ]  # fmt: skip


def _ending(those: Sequence[Settlement]) -> dict[str, object]:
    """The row of settlements that say the same of their deliveries."""
    one = those[0]
    return {
        "delivery_ids": [each.delivery_id for each in those],
        "to_stage": STAGE_OF[one.state],
        "tried_at": one.at,
        "settled": None if one.state is DeliveryState.PENDING else one.at,
        "next_due": one.due or one.at,
        "failed": one.attempts,
        "told_against": one.counted,
        "reason": one.error,
    }


@cache
def claim_these() -> Update:
    """Claim heads by their ids."""
    return update(deliveries).where(one_of(deliveries.c.id, "delivery_ids")).values(stage="claimed")


@cache
def release_these() -> Update:
    """Make those of some deliveries ready that are claimed."""
    return update(deliveries).where(one_of(deliveries.c.id, "delivery_ids"), in_stage("claimed")).values(stage="ready")


@cache
def settle_these() -> Update:
    """Write one ending to those of some deliveries that are the heads of their lanes."""
    return (
        update(deliveries)
        .where(one_of(deliveries.c.id, "delivery_ids"), is_head)
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
def promote_next() -> Update:
    """Make the first waiting delivery of the lanes of some settled ones the head, where there is none."""
    done, waiting = (deliveries.alias(name) for name in ("done", "waiting"))
    first_waiting = (
        select(waiting.c.id)
        .where(waiting.c.sink == done.c.sink, waiting.c.lane == done.c.lane, waiting.c.settled_at.is_(None))
        .order_by(waiting.c.position, waiting.c.id)
        .limit(1)
        .scalar_subquery()
    )
    next_ids = select(first_waiting).where(one_of(done.c.id, "settled_ids"), ~has_head(done.c.sink, done.c.lane))
    return update(deliveries).where(deliveries.c.id.in_(next_ids)).values(stage="ready", due=bindparam("at_once"))
