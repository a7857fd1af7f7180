"""What makes the record forget: one run on request, and old things by retention. One function per transaction."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from poller.core.events import COHORT_FINISHED, Event, bytes_of
from poller.store.schema import (
    attempts,
    cohort_members,
    cohorts,
    deliveries,
    diagnoses,
    events,
    incarnations,
    is_live,
    is_owed,
    runs,
    sinks,
    snapshots,
    stays,
)
from poller.store.telling import promote

TOMBSTONES_STAY: Final = timedelta(days=365)

IDENTITY: Final = frozenset(
    {
        "run_id",
        "run_arn",
        "run_uuid",
        "previous_status",
        "status",
        "skipped_statuses",
        "terminal",
        "first_observation",
        "occurred_at",
        "occurred_at_source",
        "observed_at",
        "not_before",
        "region",
        "account_id",
        "console_url",
        "replaced_by",
        "reappeared",
        "redacted",
    }
)
"""What a forgotten event still says in `data`: which run, which status, when. Everything else is null."""


def forget(connection: Connection, scope: str, run_id: str, at: datetime) -> bool:
    """Erase what the record holds of a run but its identity; False if it holds nothing."""
    of_run = (events.c.scope == scope) & (events.c.run_id == run_id)
    bodies = connection.execute(select(events.c.position, events.c.source, events.c.body).where(of_run)).all()
    known = connection.execute(select(runs.c.run_id).where(runs.c.scope == scope, runs.c.run_id == run_id)).first()
    snapshot = delete(snapshots).where(snapshots.c.scope == scope, snapshots.c.run_id == run_id)
    had_snapshot = connection.execute(snapshot).rowcount > 0
    if not bodies and known is None and not had_snapshot:
        return False
    if bodies:
        rewrite = update(events).where(events.c.position == bindparam("of_position")).values(body=bindparam("new_body"))
        rows = [{"of_position": row.position, "new_body": redacted(row.body)} for row in bodies]
        connection.execute(rewrite, rows)
    _forget_in_cohorts(connection, run_id, {row.source for row in bodies})
    of_members = cohort_members.c.source.in_(select(events.c.source).where(of_run))
    connection.execute(update(cohort_members).where(of_members).values(name=None, failure_reason=None))
    connection.execute(delete(diagnoses).where(diagnoses.c.scope == scope, diagnoses.c.run_id == run_id))
    of_its = deliveries.c.position.in_(select(events.c.position).where(of_run))
    ids = list(connection.execute(select(deliveries.c.id).where(is_owed, of_its)).scalars())
    connection.execute(update(deliveries).where(is_owed, of_its).values(stage="dead", settled_at=at, error="forgotten"))
    told_of = update(deliveries).where(of_its, deliveries.c.error.is_not(None))
    connection.execute(told_of.values(error="forgotten"))  # the far end's words, which may repeat what it was sent
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(select(deliveries.c.id).where(of_its))))
    promote(connection, ids, at)
    return True


def _forget_in_cohorts(connection: Connection, run_id: str, sources: Collection[str]) -> None:
    """Take the run's name and its reason out of the ends of cohorts, which name those that did not complete."""
    query = select(events.c.position, events.c.body).where(events.c.type == COHORT_FINISHED)
    for row in connection.execute(query).all():
        event = Event(row.body)
        named = event.data["not_completed"]
        left = [
            {**one, "name": None, "failure_reason": None}
            if one["run_id"] == run_id and (one["run_arn"] is None or not sources or one["run_arn"] in sources)
            else one
            for one in named
        ]
        if left != named:
            body = bytes_of({**event.attributes, "data": {**event.data, "not_completed": left}})
            connection.execute(update(events).where(events.c.position == row.position).values(body=body))


def redacted(body: bytes) -> bytes:
    """The bytes of a forgotten event: the same event, with all of `data` null but the run's identity."""
    event = Event(body)
    return event.without([name for name in event.data if name not in IDENTITY]).body


def prune(
    connection: Connection,
    before: datetime,
    now: datetime,
    keep: Mapping[str, Iterable[str]],
    in_force: Collection[str],
) -> int:
    """Drop what retention allows to drop; how many events went."""
    _drop_gone_sinks(connection, before)
    _drop_gone_cohorts(connection, before, in_force)
    droppable = _droppable(before)
    of_dropped = deliveries.c.position.in_(select(events.c.position).where(droppable))
    connection.execute(delete(deliveries).where(of_dropped))
    dropped = connection.execute(delete(events).where(droppable)).rowcount
    _drop_snapshots(connection, before)
    connection.execute(delete(stays).where(stays.c.updated_at < before))
    _drop_tombstones(connection, now - TOMBSTONES_STAY, {(scope, one) for scope, ids in keep.items() for one in ids})
    return dropped


def _droppable(before: datetime) -> Any:
    """The term for events that are old, not of a live run, owed to nobody, and not to be looked into any more."""
    still_owed = exists().where(deliveries.c.position == events.c.position, is_owed)
    of_live_run = exists().where(is_live, runs.c.scope == events.c.scope, runs.c.run_id == events.c.run_id)
    undiagnosed = exists().where(diagnoses.c.position == events.c.position)
    return (events.c.recorded_at < before) & ~still_owed & ~of_live_run & ~undiagnosed


def _drop_gone_sinks(connection: Connection, before: datetime) -> None:
    """Drop the sinks that have not been in force since `before`, with all that they were owed."""
    gone = sinks.c.in_force.is_(False) & (sinks.c.gone_at < before)
    for name in connection.execute(select(sinks.c.name).where(gone)).scalars().all():
        connection.execute(delete(deliveries).where(deliveries.c.sink == name))
        connection.execute(delete(sinks).where(sinks.c.name == name))


def _drop_gone_cohorts(connection: Connection, before: datetime, in_force: Collection[str]) -> None:
    """Drop the cohorts that did not finish, did not change since `before`, and are not in force. One that comes back
    reads the record anew."""
    unchanged = cohorts.c.changed_at.is_(None) | (cohorts.c.changed_at < before)
    unfinished = select(cohorts.c.key).where(cohorts.c.finished_at.is_(None), unchanged)
    for key in set(connection.execute(unfinished).scalars()) - set(in_force):
        connection.execute(delete(cohort_members).where(cohort_members.c.cohort == key))
        connection.execute(delete(cohorts).where(cohorts.c.key == key))


def _drop_snapshots(connection: Connection, before: datetime) -> None:
    """Drop the GetRun fields of runs that ended and did not change since `before`."""
    ended = exists().where(
        runs.c.scope == snapshots.c.scope,
        runs.c.run_id == snapshots.c.run_id,
        runs.c.live.is_(False),
        runs.c.updated_at < before,
    )
    connection.execute(delete(snapshots).where(ended))


def _drop_tombstones(connection: Connection, before: datetime, kept: set[tuple[str, str]]) -> None:
    """Drop ended runs, and incarnations of no live run, that did not change since `before`, have no event left and are
    not `kept`."""
    has_events = exists().where(events.c.scope == runs.c.scope, events.c.run_id == runs.c.run_id)
    ended = select(runs.c.scope, runs.c.run_id).where(runs.c.live.is_(False), runs.c.updated_at < before, ~has_events)
    ids = [{"of_scope": scope, "of_run": one} for scope, one in connection.execute(ended) if (scope, one) not in kept]
    if ids:
        of_run = (runs.c.scope == bindparam("of_scope")) & (runs.c.run_id == bindparam("of_run"))
        connection.execute(delete(runs).where(of_run), ids)
        of_run = (snapshots.c.scope == bindparam("of_scope")) & (snapshots.c.run_id == bindparam("of_run"))
        connection.execute(delete(snapshots).where(of_run), ids)
    has_events = exists().where(
        events.c.source == incarnations.c.source, events.c.incarnation == incarnations.c.incarnation
    )
    of_live_run = exists().where(is_live, runs.c.scope == incarnations.c.scope, runs.c.run_id == incarnations.c.run_id)
    over = select(incarnations.c.source, incarnations.c.incarnation, incarnations.c.scope, incarnations.c.run_id).where(
        incarnations.c.updated_at < before, ~has_events, ~of_live_run
    )
    sources = [
        {"of_source": row.source, "of_incarnation": row.incarnation}
        for row in connection.execute(over)
        if (row.scope, row.run_id) not in kept
    ]
    if sources:
        lives = (incarnations.c.source == bindparam("of_source")) & (
            incarnations.c.incarnation == bindparam("of_incarnation")
        )
        connection.execute(delete(incarnations).where(lives), sources)
