"""What the asking side writes and reads, one function per transaction: rounds, scopes, known runs, watches."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Insert, Table, bindparam, delete, exists, func, insert, select, tuple_, update

from poller.core.batches import KnownBatch
from poller.core.drafts import Draft
from poller.core.events import Event
from poller.core.routing import Route, owed_to
from poller.core.runs import Json, KnownRun
from poller.core.stays import Stays
from poller.ports.records import MadeDiagnosis, OwedDiagnosis, Round, ScopeState, WatchRow
from poller.store import remembered
from poller.store.cohorts import close as close_cohorts
from poller.store.schema import batches as batches_table
from poller.store.schema import (
    cohorts,
    diagnoses,
    events,
    incarnations,
    is_live,
    numbering,
    runs,
    scopes,
    sinks,
    watches,
)
from poller.store.schema import snapshots as snapshots_table
from poller.store.schema import stays as stays_table
from poller.store.statements import one_of, portions, put, upsert
from poller.store.telling import owe

# Asked in every round or every second: a statement that stays the same object is much cheaper to run.
_KNOWN: Final = select(runs.c.run_id, runs.c.known).where(
    runs.c.scope == bindparam("scope"), one_of(runs.c.run_id, "run_ids")
)
_SNAPSHOTS: Final = select(snapshots_table.c.run_id, snapshots_table.c.fields).where(
    snapshots_table.c.scope == bindparam("scope"), one_of(snapshots_table.c.run_id, "run_ids")
)
_WATCHES: Final = select(watches.c.scope, watches.c.run_id, watches.c.mode, watches.c.added_at).order_by(
    watches.c.added_at, watches.c.scope, watches.c.run_id
)
_RECORDED: Final = select(events.c.id).where(one_of(events.c.id, "ids"))
_LAST_POSITION: Final = select(numbering.c.last_position).with_for_update()
_NEXT_NUMBERS: Final = select(incarnations.c.source, incarnations.c.incarnation, incarnations.c.next_sequence).where(
    tuple_(incarnations.c.source, incarnations.c.incarnation).in_(bindparam("places", expanding=True))
)


def commit_round(connection: Connection, round_: Round, routes: Sequence[Route]) -> list[Event]:
    """Write a round whole: runs, snapshots, the scope, and each draft that is new with what is owed of it."""
    if round_.scope is None and (round_.runs or round_.batches or round_.snapshots or round_.stays):
        raise ValueError("a round with runs needs the scope that they belong to")
    _put_runs(connection, round_)
    put(
        connection,
        snapshots_table,
        [
            {"scope": round_.scope, "run_id": run_id, "fields": _json(fields)}
            for run_id, fields in round_.snapshots.items()
        ],
    )
    put(
        connection,
        batches_table,
        [
            {"scope": round_.scope, "batch_id": one.batch_id, "known": remembered.encode_batch(one)}
            for one in round_.batches
        ],
    )
    _put_stays(connection, round_)
    if round_.state is not None:
        _put_scope(connection, round_.state)
    close_cohorts(connection, round_.cohorts_finished)
    for sink, since in round_.failing.items():
        connection.execute(update(sinks).where(sinks.c.name == sink).values(failing_since=since))
    drafts = [*round_.drafts, *_take_diagnoses(connection, round_.diagnoses)]
    return _record(connection, round_, drafts, routes) if drafts else []


def scope(connection: Connection, name: str) -> ScopeState | None:
    """One scope's state."""
    row = connection.execute(select(scopes).where(scopes.c.name == name)).one_or_none()
    return None if row is None else _scope_state(row)


def all_scopes(connection: Connection) -> list[ScopeState]:
    """The state of every scope, by name."""
    return [_scope_state(row) for row in connection.execute(select(scopes).order_by(scopes.c.name))]


def merge_scopes(connection: Connection, gone: str, kept: str, discovered_through: datetime | None) -> None:
    """Hold under one scope's name what was held under another's; the watches stay where people put them."""
    theirs, ours = runs.alias("theirs"), runs.alias("ours")
    ours_counts = theirs.c.status.is_(None) | (ours.c.status.is_not(None) & (ours.c.updated_at >= theirs.c.updated_at))
    both = (
        select(theirs.c.run_id, ours_counts.label("ours_counts"))
        .join(ours, ours.c.run_id == theirs.c.run_id)
        .where(theirs.c.scope == gone, ours.c.scope == kept)
    )
    outdone: dict[str, list[str]] = {gone: [], kept: []}
    for run_id, counts in connection.execute(both):
        outdone[gone if counts else kept].append(run_id)
    for table in (runs, snapshots_table):
        for name, run_ids in outdone.items():
            for portion in portions(run_ids):
                connection.execute(delete(table).where(table.c.scope == name, table.c.run_id.in_(portion)))
    for table in (batches_table, stays_table):
        _drop_what_both_know(connection, table, gone, kept)
    for table in (runs, batches_table, snapshots_table, stays_table, incarnations, events, diagnoses):
        connection.execute(update(table).where(table.c.scope == gone).values(scope=kept))
    unfinished = update(cohorts).where(cohorts.c.finished_at.is_(None))
    connection.execute(unfinished.values(position=0))  # where a run is that they name is only clear from now on
    connection.execute(update(scopes).where(scopes.c.name == gone).values(discovered_through=None))
    if discovered_through is not None:
        connection.execute(update(scopes).where(scopes.c.name == kept).values(discovered_through=discovered_through))


def live_runs(connection: Connection, scope_name: str) -> list[KnownRun]:
    """The runs of a scope that have no verdict, by the index of live ones; no snapshot is read."""
    rows = connection.execute(select(runs.c.known).where(is_live, runs.c.scope == scope_name))
    return [remembered.decode_run(text) for (text,) in rows]


def known(connection: Connection, scope_name: str, run_ids: Iterable[str]) -> dict[str, KnownRun]:
    """What is remembered of runs, by run id."""
    rows = connection.execute(_KNOWN, {"scope": scope_name, "run_ids": list(run_ids)})
    return {run_id: remembered.decode_run(text) for run_id, text in rows}


def owed_diagnoses(connection: Connection, scope_name: str) -> dict[int, str]:
    """The runs of a scope that are owed a diagnosis, by position of their `failed` events."""
    query = select(diagnoses.c.position, diagnoses.c.run_id).where(diagnoses.c.scope == scope_name)
    return {position: run_id for position, run_id in connection.execute(query.order_by(diagnoses.c.position))}


def owed_diagnosis(connection: Connection, position: int) -> OwedDiagnosis | None:
    """The `failed` event of one of them."""
    query = select(events.c.body, events.c.incarnation, events.c.recorded_at).where(events.c.position == position)
    row = connection.execute(query.where(exists().where(diagnoses.c.position == events.c.position))).one_or_none()
    if row is None:
        return None
    return OwedDiagnosis(Event(row.body, position=position, recorded_at=row.recorded_at), row.incarnation or "")


def batches(connection: Connection, scope_name: str) -> list[KnownBatch]:
    """What is remembered of the batches of a scope."""
    query = select(batches_table.c.known).where(batches_table.c.scope == scope_name)
    return [remembered.decode_batch(text) for (text,) in connection.execute(query)]


def stays(connection: Connection, scope_name: str) -> list[Stays]:
    """How long the last runs of each workflow of a scope were in each status."""
    rows = connection.execute(select(stays_table).where(stays_table.c.scope == scope_name))
    return [
        Stays(row.workflow_id, row.workflow_version or None, row.status, tuple(json.loads(row.seconds))) for row in rows
    ]


def snapshots(connection: Connection, scope_name: str, run_ids: Iterable[str]) -> dict[str, Mapping[str, Json]]:
    """The stored GetRun fields of runs, by run id."""
    rows = connection.execute(_SNAPSHOTS, {"scope": scope_name, "run_ids": list(run_ids)})
    return {run_id: json.loads(text) for run_id, text in rows}


def put_watch(connection: Connection, watch: WatchRow) -> None:
    """Follow or mute a run, in place of what was said of it before."""
    row = {"scope": watch.scope, "run_id": watch.run_id, "mode": watch.mode, "added_at": watch.added_at}
    put(connection, watches, [row])


def drop_watch(connection: Connection, scope_name: str, run_id: str) -> bool:
    """Forget a watch or a mute."""
    gone = connection.execute(delete(watches).where(watches.c.scope == scope_name, watches.c.run_id == run_id))
    return gone.rowcount > 0


def all_watches(connection: Connection) -> list[WatchRow]:
    """Every watch and mute, oldest first."""
    return [WatchRow(*row) for row in connection.execute(_WATCHES)]


def _put_runs(connection: Connection, round_: Round) -> None:
    rows = [
        {
            "scope": round_.scope,
            "run_id": run.run_id,
            "live": run.live,
            "uuid": run.uuid,
            "incarnation": run.incarnation,
            "status": run.status,
            "updated_at": round_.at,
            "known": remembered.encode_run(run),
        }
        for run in round_.runs
    ]
    put(connection, runs, rows)


def _put_stays(connection: Connection, round_: Round) -> None:
    rows = [
        {
            "scope": round_.scope,
            "workflow_id": one.workflow_id,
            "workflow_version": one.workflow_version or "",
            "status": one.status,
            "seconds": _json(one.seconds),
            "updated_at": round_.at,
        }
        for one in round_.stays
    ]
    put(connection, stays_table, rows)


def _drop_what_both_know(connection: Connection, theirs: Table, gone: str, kept: str) -> None:
    """Of what two scopes know of one thing, by the table's key, keep the one's: both saw the same account."""
    ours = theirs.alias("ours")
    same = (column == ours.c[column.name] for column in theirs.primary_key if column.name != "scope")
    connection.execute(delete(theirs).where(theirs.c.scope == gone, exists().where(ours.c.scope == kept, *same)))


def _put_scope(connection: Connection, state: ScopeState) -> None:
    row = {
        "name": state.name,
        "region": state.region,
        "account_id": state.account_id,
        "discovered_through": state.discovered_through,
        "rates": _json(dict(state.rates)),
        "plan": _json(dict(state.plan)),
    }
    put(connection, scopes, [row])


def _scope_state(row: Any) -> ScopeState:
    rates, plan = json.loads(row.rates), json.loads(row.plan)
    return ScopeState(row.name, row.region, row.account_id, row.discovered_through, rates, plan)


def _take_diagnoses(connection: Connection, made: Sequence[MadeDiagnosis]) -> list[Draft]:
    """The drafts of those diagnoses that are still owed; none of them is owed any more."""
    if not made:
        return []
    of_these = diagnoses.c.position.in_([one.position for one in made])
    owed = set(connection.execute(select(diagnoses.c.position).where(of_these)).scalars())
    connection.execute(delete(diagnoses).where(of_these))
    return [one.draft for one in made if one.position in owed and one.draft is not None]


def _record(connection: Connection, round_: Round, offered: Sequence[Draft], routes: Sequence[Route]) -> list[Event]:
    """Number, route and keep the drafts whose ids are new."""
    last = connection.execute(_LAST_POSITION).scalar_one()
    drafts = _new_drafts(connection, offered)
    if not drafts:
        return []
    numbers = _number(connection, round_, drafts)
    recorded: list[Event] = []
    event_rows: list[dict[str, Any]] = []
    owed_rows: list[dict[str, Any]] = []
    diagnosis_rows: list[dict[str, Any]] = []
    for position, (draft, number) in enumerate(zip(drafts, numbers, strict=True), start=last + 1):
        body = draft.to_json(number)
        recorded.append(Event(body, position=position, recorded_at=round_.at))
        event_rows.append(
            {
                "position": position,
                "id": draft.id,
                "source": draft.source,
                "type": draft.type,
                "incarnation": draft.incarnation,
                "sequence": number,
                "scope": round_.scope,
                "run_id": draft.run_id,
                "recorded_at": round_.at,
                "body": body,
            }
        )
        owed_rows += [
            {"to_sink": sink, "in_lane": draft.source, "of_position": position, "from_moment": round_.at}
            for sink in owed_to(routes, draft.type, draft.data)
        ]
        if draft.id in round_.to_diagnose:
            diagnosis_rows.append({"position": position, "scope": round_.scope, "run_id": draft.run_id})
    connection.execute(update(numbering).values(last_position=last + len(drafts)))
    connection.execute(insert(events), event_rows)
    if diagnosis_rows:
        connection.execute(insert(diagnoses), diagnosis_rows)
    if owed_rows:
        connection.execute(owe(), owed_rows)
    return recorded


def _new_drafts(connection: Connection, drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts whose ids the record does not have, the first of each id, in their order."""
    first = {draft.id: draft for draft in reversed(drafts)}
    taken = set(connection.execute(_RECORDED, {"ids": list(first)}).scalars())
    return [draft for draft in drafts if draft.id not in taken and first[draft.id] is draft]


def _number(connection: Connection, round_: Round, drafts: Sequence[Draft]) -> list[int | None]:
    """The next number of each draft's incarnation, None for what is not about a run; the next ones are kept."""
    next_numbers: dict[tuple[str, str], int] = {}
    wanted = [(draft.source, draft.incarnation) for draft in drafts if draft.incarnation is not None]
    for portion in portions(wanted):
        for source, incarnation, number in connection.execute(_NEXT_NUMBERS, {"places": portion}):
            next_numbers[source, incarnation] = number
    known_now = {run.run_id: run for run in round_.runs}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    numbers: list[int | None] = []
    for draft in drafts:
        if draft.incarnation is None:
            numbers.append(None)
            continue
        place = (draft.source, draft.incarnation)
        number = next_numbers.get(place, 1)
        next_numbers[place] = number + 1
        numbers.append(number)
        rows[place] = _tombstone(round_, draft, known_now.get(draft.run_id or ""), number + 1)
    if rows:
        connection.execute(_put_incarnation(), list(rows.values()))
    return numbers


def _tombstone(round_: Round, draft: Draft, run: KnownRun | None, next_sequence: int) -> dict[str, Any]:
    """What stays of an incarnation; of one that was replaced in this round only its last event tells."""
    newest = run is not None and run.incarnation == draft.incarnation
    return {
        "source": draft.source,
        "incarnation": draft.incarnation,
        "scope": round_.scope,
        "run_id": draft.run_id,
        "uuid": run.uuid if run is not None and newest else draft.data.get("run_uuid"),
        "last_status": run.status if run is not None and newest else draft.data.get("status"),
        "verdict": run.verdict if run is not None and newest else None,
        "next_sequence": next_sequence,
        "updated_at": round_.at,
    }


@cache
def _put_incarnation() -> Insert:
    """Keep an incarnation's next number; what the new row does not know stays as it was."""
    statement = upsert(incarnations)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["source", "incarnation"],
        set_={
            "uuid": func.coalesce(new.uuid, incarnations.c.uuid),
            "last_status": func.coalesce(new.last_status, incarnations.c.last_status),
            "verdict": func.coalesce(new.verdict, incarnations.c.verdict),
            "next_sequence": new.next_sequence,
            "updated_at": new.updated_at,
        },
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
