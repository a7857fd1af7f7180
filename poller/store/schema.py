"""The tables of the record, version 2, and the terms that its partial indexes and its queries share.

A delivery's `stage` is where it stands: `waiting` behind another one of its lane, `ready` or `claimed` at its head, or
settled as `acknowledged`, `dead` or `superseded`. One unique index keeps every lane to one head, so that no bug can
send two events of a lane at once. Moments are whole microseconds since 1970: exact, and in order.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    exists,
    literal_column,
)

VERSION: Final = 2
"""Of the schema below; a change of it is a new version, with a script in `migrations/versions`."""
READABLE_FROM: Final = 2
"""The oldest version of this program's schema that may work on a record of `VERSION`."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware datetime as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


# SQLite numbers rows by itself only where the key is an INTEGER.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()


def _partial_index(name: str, *columns: Column[Any], where: Any, unique: bool = False) -> None:
    # PostgreSQL's own key has its place here; naming it imports that dialect whole, which each start would pay for
    Index(name, *columns, unique=unique, sqlite_where=where)


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, nullable=False),
    Column("readable_from_version", Integer, nullable=False),
)

scopes = Table(
    "scopes",
    metadata,
    Column("name", String, primary_key=True),
    Column("region", String, nullable=False),
    Column("account_id", String),
    Column("discovered_through", Moment),
    Column("rates", Text, nullable=False),
    Column("plan", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("scope", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("live", Boolean, nullable=False),
    Column("uuid", String),
    Column("incarnation", String),
    Column("status", String),
    Column("updated_at", Moment, nullable=False),
    Column("known", Text, nullable=False),
)
is_live = runs.c.live.is_(True)
_partial_index("runs_live", runs.c.scope, where=is_live)
Index("runs_by_change", runs.c.updated_at)
Index("runs_by_id", runs.c.run_id)

snapshots = Table(
    "snapshots",
    metadata,
    Column("scope", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("fields", Text, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("scope", String, primary_key=True),
    Column("batch_id", String, primary_key=True),
    Column("known", Text, nullable=False),
)

# One row for each status of a workflow, with its last durations: what is usual needs no more, and grows with no run.
stays = Table(
    "stays",
    metadata,
    Column("scope", String, primary_key=True),
    Column("workflow_id", String, primary_key=True),
    Column("workflow_version", String, primary_key=True),  # "" where it has none: no part of a key may be null
    Column("status", String, primary_key=True),
    Column("seconds", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

incarnations = Table(
    "incarnations",
    metadata,
    Column("source", String, primary_key=True),
    Column("incarnation", String, primary_key=True),
    Column("scope", String),
    Column("run_id", String),
    Column("uuid", String),
    Column("last_status", String),
    Column("verdict", String),
    Column("next_sequence", Integer, nullable=False),
    Column("updated_at", Moment, nullable=False),
)
Index("incarnations_by_change", incarnations.c.updated_at)

# One row. A row that is locked until the commit, rather than a sequence: who saw n never later finds a smaller one.
numbering = Table("numbering", metadata, Column("last_position", BigInteger, nullable=False))

events = Table(
    "events",
    metadata,
    Column("position", RowNumber, primary_key=True, autoincrement=False),
    Column("id", String, nullable=False, unique=True),
    Column("source", String, nullable=False),
    Column("type", String, nullable=False),
    Column("incarnation", String),
    Column("sequence", Integer),
    Column("scope", String),
    Column("run_id", String),
    Column("recorded_at", Moment, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("source", "incarnation", "sequence", name="events_in_sequence"),
)
Index("events_of_run", events.c.run_id, events.c.position)
Index("events_of_scope", events.c.scope, events.c.position)
Index("events_of_type", events.c.type, events.c.position)
Index("events_by_age", events.c.recorded_at)

# The runs that are owed a diagnosis, each by its `failed` event; the row goes in the transaction that records it.
diagnoses = Table(
    "diagnoses",
    metadata,
    Column("position", RowNumber, ForeignKey("events.position"), primary_key=True, autoincrement=False),
    Column("scope", String, nullable=False),
    Column("run_id", String, nullable=False),
)
Index("diagnoses_of_run", diagnoses.c.scope, diagnoses.c.run_id)

sinks = Table(
    "sinks",
    metadata,
    Column("name", String, primary_key=True),
    Column("in_force", Boolean, nullable=False),
    Column("first_seen_at", Moment, nullable=False),
    Column("gone_at", Moment),
    Column("paused_until", Moment),
    Column("failing_since", Moment),  # of the outage that was told and is not over
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("sink", String, nullable=False),
    Column("lane", String, nullable=False),
    Column("position", BigInteger, ForeignKey("events.position"), nullable=False),
    Column("stage", String, nullable=False),
    Column("due", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("counted", Integer, nullable=False, default=0),
    Column("last_attempt_at", Moment),
    Column("settled_at", Moment),
    Column("error", Text),
    Column("owed_since", Moment),  # where that is later than the event: a replay, or what another sink gave up
    Column("replay_id", String),
    sqlite_autoincrement=True,  # a number names one delivery for ever, also in the hands of a daemon that slept
)

# The failed attempts of deliveries; what was acknowledged at once needs none.
attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", RowNumber, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("outcome", String, nullable=False),
    Column("error", Text, nullable=False),
)


HEAD: Final = ("ready", "claimed")
"""The stages of the first delivery of a lane."""


def in_stage(*stages: str, of: Any = deliveries) -> Any:
    """The term that a delivery is in one of `stages`, spelt out: bound values would hide it from a partial index."""
    spelt: list[Any] = [literal_column(f"'{stage}'") for stage in stages]
    return of.c.stage == spelt[0] if len(spelt) == 1 else of.c.stage.in_(spelt)


is_ready = in_stage("ready")
is_head = in_stage(*HEAD)
is_owed = deliveries.c.settled_at.is_(None)
is_settled = deliveries.c.settled_at.is_not(None)


def has_head(sink: Any, lane: Any) -> Any:
    """The term that a lane has a head."""
    head = deliveries.alias("head")
    return exists().where(head.c.sink == sink, head.c.lane == lane, in_stage(*HEAD, of=head))


Index("deliveries_of_event", deliveries.c.position)
_partial_index("one_head_per_lane", deliveries.c.sink, deliveries.c.lane, unique=True, where=is_head)
_partial_index("ready_by_due", deliveries.c.sink, deliveries.c.due, deliveries.c.position, where=is_ready)
_partial_index(
    "ready_by_attempt", deliveries.c.sink, deliveries.c.last_attempt_at, deliveries.c.position, where=is_ready
)
_partial_index("owed_by_lane", deliveries.c.sink, deliveries.c.lane, deliveries.c.position, where=is_owed)
_partial_index("settled_by_stage", deliveries.c.stage, deliveries.c.sink, deliveries.c.position, where=is_settled)

watches = Table(
    "watches",
    metadata,
    Column("scope", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("mode", String, nullable=False),
    Column("added_at", Moment, nullable=False),
)

# What cohorts have read of the events, and their members until they finish. The rows of finished ones stay: nothing is
# told twice, however long ago its event was dropped.
cohorts = Table(
    "cohorts",
    metadata,
    Column("key", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("changed_at", Moment),
    Column("finished_at", Moment),
    Column("batch_source", String),
    Column("batch_uuid", String),
)

cohort_members = Table(
    "cohort_members",
    metadata,
    Column("cohort", String, ForeignKey("cohorts.key"), primary_key=True),
    Column("source", String, primary_key=True),
    Column("incarnation", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("named", String),
    Column("state", String, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("uuid", String),
    Column("name", String),
    Column("failure_reason", String),
)
Index("cohort_members_by_source", cohort_members.c.source)
