"""How the record follows its events for cohorts: who belongs to them, and how each member ended.

A cohort has read the events up to its own `position`, and its members are changed in the transaction that moves it on:
no event is counted twice or left out, whenever a daemon dies. One function per transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from poller.core.cohorts import MOST_NAMED, Cohort, Ended, Finished, Followed, Progress, state_after
from poller.core.events import Event
from poller.store import remembered
from poller.store.schema import batches, cohort_members, cohorts, events
from poller.store.statements import one_of

TOLD: Final = ("healthomics.run.", "healthomics.batch.")
_KEYS: Final = ("cohort", "source", "incarnation")
_Member = tuple[str, str, str]
"""Which run is a member of which cohort: the values of the keys."""


def follow(connection: Connection, followed: Sequence[Cohort], anew: Collection[str], limit: int) -> Followed:
    """Read the next events for those of these cohorts that have not finished; the first ones for those of `anew`."""
    if anew:
        again = update(cohorts).where(cohorts.c.key.in_(list(anew)), cohorts.c.finished_at.is_(None))
        connection.execute(again.values(position=0))
    by_key = {cohort.key: cohort for cohort in followed}
    known = {row.key: row for row in connection.execute(select(cohorts).where(cohorts.c.key.in_(list(by_key))))}
    if new := [{"key": key, "position": 0} for key in by_key if key not in known]:
        connection.execute(insert(cohorts), new)
    places = {
        key: known[key].position if key in known else 0
        for key in by_key
        if key not in known or known[key].finished_at is None
    }
    if not places:
        return Followed()
    rows = connection.execute(_next_events(), {"after": min(places.values()), "most": limit}).all()
    members = Members(connection, list(places), {row.source for row in rows})
    for row in rows:
        reading = [by_key[key] for key, position in places.items() if position < row.position]
        if reading and row.type.startswith(TOLD):
            _apply(connection, row, reading, members)
    members.write()
    if rows:
        last = rows[-1].position
        moved = update(cohorts).where(cohorts.c.key.in_(list(places)), cohorts.c.position < last)
        connection.execute(moved.values(position=last))
    return Followed(members.changed, more=len(rows) == limit)


def progress(connection: Connection, followed: Sequence[Cohort]) -> dict[str, Progress]:
    """How far each of these cohorts is that has not finished, by key."""
    found = {}
    for cohort in followed:
        row = connection.execute(select(cohorts).where(cohorts.c.key == cohort.key)).first()
        if row is None or row.finished_at is not None:
            continue
        batch = _batch(connection, cohort)
        members = _members_by_state(connection, cohort)
        found[cohort.key] = Progress(
            counts={one.state: one.number for one in members},
            named=sum(one.named for one in members),
            changed_at=row.changed_at,
            closed=batch is not None and batch.over,
            submitted=batch.submitted if batch is not None else 0,
        )
    return found


def finished(connection: Connection, cohort: Cohort, at: datetime) -> Finished:
    """What is to be told of a cohort whose members have all ended."""
    row = connection.execute(select(cohorts).where(cohorts.c.key == cohort.key)).one()
    of_it = cohort_members.c.cohort == cohort.key
    times = connection.execute(
        select(func.min(cohort_members.c.first_at), func.max(cohort_members.c.changed_at)).where(of_it)
    ).one()
    others = select(cohort_members).where(of_it, cohort_members.c.state != "completed")
    return Finished(
        cohort=cohort,
        counts={one.state: one.number for one in _members_by_state(connection, cohort)},
        others=[
            Ended(one.run_id, one.source, one.uuid, one.name, one.state, one.failure_reason)
            for one in connection.execute(others.order_by(cohort_members.c.run_id).limit(MOST_NAMED))
        ],
        first_at=times[0],
        last_at=times[1],
        observed_at=at,
        source=row.batch_source,
        incarnation=row.batch_uuid or "",
    )


def close(connection: Connection, finished_at: Mapping[str, datetime]) -> None:
    """Note that these cohorts have finished; their members are needed no more."""
    for key, at in finished_at.items():
        connection.execute(update(cohorts).where(cohorts.c.key == key).values(finished_at=at))
        connection.execute(delete(cohort_members).where(cohort_members.c.cohort == key))


def _members_by_state(connection: Connection, cohort: Cohort) -> Sequence[Row[Any]]:
    """How many members are in each state, and how many of those are named: no run is one by name twice."""
    state, named = cohort_members.c.state, cohort_members.c.named
    query = select(state, func.count().label("number"), func.count(named).label("named")).group_by(state)
    return connection.execute(query.where(cohort_members.c.cohort == cohort.key)).all()


def _next_events() -> Any:
    query = select(
        events.c.position,
        events.c.type,
        events.c.source,
        events.c.incarnation,
        events.c.scope,
        events.c.run_id,
        events.c.body,
    )
    return query.where(events.c.position > bindparam("after")).order_by(events.c.position).limit(bindparam("most"))


def _apply(connection: Connection, row: Row[Any], reading: Sequence[Cohort], members: "Members") -> None:
    event = Event(row.body)
    if row.run_id is None:
        batch = {"batch_source": row.source, "batch_uuid": event.data.get("batch_uuid")}
        for cohort in reading:
            if cohort.batch_id is not None and cohort.is_batch(event.data, row.scope):
                connection.execute(update(cohorts).where(cohorts.c.key == cohort.key).values(**batch))
        return
    state = state_after(row.type)
    if state is None:
        return
    for cohort in reading:
        members.note(cohort, row, event, state)


class Members:
    """The members of cohorts that some events are about: read at once, and what became of them written at once, since
    a hundred thousand runs of twenty batches may come in minutes.

    Args: `keys` of the cohorts, `sources` of the events.
    """

    def __init__(self, connection: Connection, keys: Sequence[str], sources: Collection[str]) -> None:
        self._connection = connection
        self._new: dict[_Member, dict[str, Any]] = {}
        self._changed: dict[_Member, dict[str, Any]] = {}
        self._changed_at: dict[str, datetime] = {}
        found = connection.execute(_those_about(), {"cohorts": keys, "sources": list(sources)})
        self._states: dict[_Member, str] = {}
        self._named: set[tuple[str, str]] = set()
        for row in found:
            self._states[row.cohort, row.source, row.incarnation] = row.state
            if row.named is not None:
                self._named.add((row.cohort, row.source))

    def note(self, cohort: Cohort, row: Row[Any], event: Event, state: str) -> None:
        """Let a member come, or change: one that is known stays one, whatever later events say of its tags or name."""
        this = (cohort.key, row.source, row.incarnation)
        known, data, at = self._states.get(this), event.data, event.time
        if known is None:
            if not cohort.takes(data, row.scope):
                return
            named = cohort.names(data, row.scope)
            if named and (cohort.key, row.source) in self._named:
                return  # the id is another run's by now, and the one that was meant is known
            if named:
                self._named.add((cohort.key, row.source))
            self._new[this] = {
                **dict(zip(_KEYS, this, strict=True)),
                "run_id": row.run_id,
                "named": row.source if named else None,
                "first_at": at,
                "name": None,
                **_told(data, state, at),
            }
        else:
            changed = _told(data, state, at)
            if state == known:
                changed.pop("changed_at")
            (self._new.get(this) or self._changed.setdefault(this, {})).update(changed)
            if state == known:
                return
        self._states[this] = state
        self._changed_at[cohort.key] = _observed(data, at)

    @property
    def changed(self) -> frozenset[str]:
        """The keys of the cohorts to which members came, or in which members changed their state."""
        return frozenset(self._changed_at)

    def write(self) -> None:
        """Write what was noted."""
        if self._new:
            self._connection.execute(insert(cohort_members), list(self._new.values()))
        for this, changed in self._changed.items():
            of_it = [cohort_members.c[name] == value for name, value in zip(_KEYS, this, strict=True)]
            self._connection.execute(update(cohort_members).where(*of_it).values(**changed))
        for key, at in self._changed_at.items():
            self._connection.execute(update(cohorts).where(cohorts.c.key == key).values(changed_at=at))


def _told(data: Mapping[str, Any], state: str, at: datetime) -> dict[str, Any]:
    found = {
        "state": state,
        "changed_at": at,
        "uuid": data.get("run_uuid"),
        "failure_reason": data.get("failure_reason"),
    }
    return found if data.get("name") is None else {**found, "name": data["name"]}


def _observed(data: Mapping[str, Any], at: datetime) -> datetime:
    """When it was noticed, by the daemon's clock: a quiet time counts from then."""
    noticed = data.get("observed_at")
    return at if noticed is None else datetime.fromisoformat(noticed)


@cache
def _those_about() -> Any:
    query = select(*(cohort_members.c[name] for name in (*_KEYS, "named", "state")))
    return query.where(one_of(cohort_members.c.cohort, "cohorts"), one_of(cohort_members.c.source, "sources"))


def _batch(connection: Connection, cohort: Cohort) -> Any:
    if cohort.batch_id is None:
        return None
    query = select(batches.c.known).where(batches.c.scope == cohort.scope, batches.c.batch_id == cohort.batch_id)
    row = connection.execute(query).first()
    return None if row is None else remembered.decode_batch(row.known)
