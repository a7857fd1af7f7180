"""What is sent again, and what is sent elsewhere. One function per transaction, of one portion, so that a daemon that
shares the record hardly waits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, func, literal, null, or_, select, update

from poller.core.deliveries import Replayable, Selection, lane_of
from poller.store.reading import events_that
from poller.store.schema import deliveries, events, in_stage, is_head, is_owed, is_ready
from poller.store.statements import one_of
from poller.store.telling import owe, promote


def replayable(connection: Connection, wanted: Selection, to: str | None) -> list[Replayable]:
    """What `replay` would send, by sink and type."""
    origins = _origins(wanted, to).subquery()
    each = select(origins.c.target, origins.c.type, origins.c.position).distinct().subquery()
    query = select(each.c.target, each.c.type, func.count()).group_by(each.c.target, each.c.type)
    return [Replayable(*row) for row in connection.execute(query.order_by(each.c.target, each.c.type))]


def replay(
    connection: Connection, wanted: Selection, to: str | None, replay_id: str, at: datetime, after: int, limit: int
) -> int | None:
    """Owe the next events after a position once more; the position to go on from, None if there was nothing left.

    The dead letters among them are then superseded.
    """
    origins = _origins(wanted, to).where(events.c.position > after).subquery()
    positions = select(origins.c.position).distinct().order_by(origins.c.position).limit(limit)
    rows = connection.execute(
        select(origins).where(origins.c.position.in_(positions)).order_by(origins.c.position, origins.c.target)
    ).all()
    if not rows:
        return None
    owed = {
        (row.target, row.position): {
            "to_sink": row.target,
            "in_lane": lane_of(row.source, replay_id),
            "of_position": row.position,
            "from_moment": at,
            "as_replay": replay_id,
        }
        for row in rows
    }
    connection.execute(owe(late=True), list(owed.values()))
    _supersede(connection, [row.origin for row in rows if row.origin is not None])
    return int(rows[-1].position)


def move(connection: Connection, old: str, new: str, at: datetime, limit: int) -> int:
    """Owe to one sink what is owed to another, of up to `limit` lanes; how many deliveries, 0 at the end.

    Lanes move whole, and not while their heads are claimed: so order is kept within each, wherever it is sent. What the
    new sink was owed anyway is superseded.
    """
    claimed = select(deliveries.c.lane).where(is_head, in_stage("claimed"), deliveries.c.sink == old)
    movable = is_owed, deliveries.c.sink == old, deliveries.c.lane.not_in(claimed)
    lanes = connection.execute(select(deliveries.c.lane).where(*movable).distinct().limit(limit)).scalars().all()
    if not lanes:
        return 0
    query = select(deliveries).where(*movable, one_of(deliveries.c.lane, "lanes"))
    rows = connection.execute(query.order_by(deliveries.c.position, deliveries.c.id), {"lanes": lanes}).all()
    had = {
        (row.position, row.lane)
        for row in connection.execute(
            select(deliveries.c.position, deliveries.c.lane).where(
                deliveries.c.sink == new, one_of(deliveries.c.position, "positions")
            ),
            {"positions": [row.position for row in rows]},
        )
    }
    doubled = [row.id for row in rows if (row.position, row.lane) in had]
    moved = [row for row in rows if (row.position, row.lane) not in had]
    waiting = {"sink": new, "stage": "waiting", "owed_since": at, "counted": 0}  # the new one has not failed yet
    connection.execute(
        update(deliveries).where(one_of(deliveries.c.id, "ids")).values(waiting), {"ids": [row.id for row in moved]}
    )
    stand_back = update(deliveries).where(is_ready, deliveries.c.sink == new, one_of(deliveries.c.lane, "lanes"))
    connection.execute(stand_back.values(stage="waiting"), {"lanes": list({row.lane for row in moved})})
    promote(connection, [row.id for row in moved], at)
    connection.execute(
        update(deliveries).where(one_of(deliveries.c.id, "ids")).values(stage="superseded", settled_at=at),
        {"ids": doubled},
    )
    return len(rows)


def _origins(wanted: Selection, to: str | None) -> Select[Any]:
    """Where what is sent again comes from: the events themselves for a sink that is named, else their deliveries."""
    shown = events.c.position, events.c.source, events.c.type
    if to is not None and wanted.sink is None and not wanted.dead:
        return select(*shown, literal(to).label("target"), null().label("origin")).where(*events_that(wanted))
    target = literal(to) if to is not None else deliveries.c.sink
    joined = events.join(deliveries, deliveries.c.position == events.c.position)
    first = and_(in_stage("acknowledged"), deliveries.c.replay_id.is_(None))
    settled = in_stage("dead") if wanted.dead else or_(in_stage("dead"), first)
    query = select(*shown, target.label("target"), deliveries.c.id.label("origin")).select_from(joined)
    query = query.where(deliveries.c.settled_at.is_not(None), settled, *events_that(wanted))
    return query if wanted.sink is None else query.where(deliveries.c.sink == wanted.sink)


def _supersede(connection: Connection, origins: Sequence[int]) -> None:
    """Of these deliveries those that are dead letters are none any more."""
    dead = update(deliveries).where(one_of(deliveries.c.id, "ids"), in_stage("dead"))
    connection.execute(dead.values(stage="superseded"), {"ids": list(origins)})
