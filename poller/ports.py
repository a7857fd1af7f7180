"""What the engine needs of the world, said from its side; adapters fit these, `app/build.py` brings them together."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from poller.core.batches import BatchSnapshot, KnownBatch
from poller.core.cohorts import Cohort, Finished, Progress
from poller.core.deliveries import (
    AttemptRow,
    Delivery,
    DeliveryRow,
    DeliveryState,
    Replayable,
    Selection,
    Settlement,
)
from poller.core.diagnosis import RunTask
from poller.core.drafts import Draft
from poller.core.events import Event
from poller.core.routing import Route
from poller.core.runs import GroupLimits, Json, KnownRun, Snapshot
from poller.core.stays import Stays
from poller.core.values import SinkSettings


class Clock(Protocol):
    """Time, handed in: tests run hours of it in milliseconds."""

    def now(self) -> datetime:
        """The wall clock, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Page:
    """One page of ListRuns. `token` is None on the last one. `served_at` is the service's own clock (Date header).

    `unreadable` counts the items that are left out because nothing can be made of them.
    """

    items: tuple[Snapshot, ...]
    token: str | None
    asked_at: datetime
    answered_at: datetime
    served_at: datetime | None = None
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A run that a batch has submitted, as ListRunsInBatch names it."""

    run_id: str
    uuid: str | None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """One page of ListRunsInBatch: the runs on it that were submitted. `token` is None on the last one."""

    runs: tuple[BatchRun, ...]
    token: str | None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of ListRunTasks. `token` is None on the last one."""

    tasks: tuple[RunTask, ...]
    token: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What CloudWatch Logs keep of a run that ended: `shown` as a GetRun would have said it, and where it was read."""

    shown: Snapshot
    stream: str


Spend = Callable[[str], Awaitable[None]]
"""Awaited before a call, with the name of its operation: it returns once that may be made."""


class RunService(Protocol):
    """HealthOmics of one account and region. Every failure is one of `core.errors.ServiceError`."""

    async def get_run(self, run_id: str) -> Snapshot: ...

    async def list_runs(
        self,
        *,
        status: str | None = None,
        group: str | None = None,
        batch: str | None = None,
        token: str | None = None,
    ) -> Page:
        """One page of at most 100 runs."""
        ...

    async def get_batch(self, batch_id: str) -> BatchSnapshot: ...

    async def list_runs_in_batch(self, batch_id: str, *, token: str | None = None) -> BatchPage:
        """One page of at most 100 submissions."""
        ...

    async def get_run_group(self, group_id: str) -> GroupLimits: ...

    async def manifest(
        self, run_id: str, *, uuid: str | None = None, created: datetime | None = None, spend: Spend
    ) -> Manifest | None:
        """The run's manifest: of the incarnation with this uuid, else of the one created then, else of the newest one.

        None while there is none.
        Args: `spend` is awaited before each call.
        Raises: Denied also where CloudWatch Logs are not to be asked at all.
        """
        ...

    async def list_failed_tasks(self, run_id: str, *, token: str | None = None) -> TaskPage:
        """One page of at most 100 tasks of a run that failed; without their reasons."""
        ...

    async def get_run_task(self, run_id: str, task_id: str) -> RunTask: ...

    async def failed_tasks_in_manifest(self, run_id: str, uuid: str, *, spend: Spend) -> list[RunTask] | None:
        """The tasks that failed, with their reasons, as the run's manifest has them; None while there is none.

        `spend` is as in `manifest`. Raises: Denied also where CloudWatch Logs are not to be asked at all.
        """
        ...

    async def last_log_lines(
        self,
        stream: str,
        number: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        spend: Spend,
    ) -> list[str] | None:
        """The last lines of the log stream with this ARN, oldest first; None if there is no such stream (yet).

        Only what was written from `since` up to `until` counts; `spend` is as in `manifest`.
        Raises: Denied also where CloudWatch Logs are not to be asked at all; BadRequest if that is no ARN of a stream.
        """
        ...

    async def account(self) -> str | None:
        """The account that the credentials belong to (sts:GetCallerIdentity), None where it cannot be asked.

        Raises: Blind if the credentials are refused.
        """
        ...

    async def renew(self) -> None:
        """Forget the session and its credentials: the next call finds them anew."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ScopeState:
    """What the record remembers of a scope, beside its runs.

    `account_id` pins the scope: another account is never given a verdict. `discovered_through` is a creationTime by
    the service's clock: every run created after it is told. `rates` are the learned calls per second by operation.
    `plan` is how the scope was asked lately (`core.plan.Plan` as JSON, with `at`), empty before the first.
    """

    name: str
    region: str
    account_id: str | None = None
    discovered_through: datetime | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    plan: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A run that a command or the library asked to follow (`mode` "follow"), or not to ("mute")."""

    scope: str
    run_id: str
    mode: Literal["follow", "mute"]
    added_at: datetime


@dataclass(frozen=True, slots=True)
class OwedDiagnosis:
    """A run that is owed a diagnosis: its `failed` event as recorded, and the incarnation in that event's id."""

    failed: Event
    incarnation: str


@dataclass(frozen=True, slots=True)
class MadeDiagnosis:
    """A diagnosis that was made: of the `failed` event at `position`. Without `draft` nothing is told of that run."""

    position: int
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one transaction writes: the runs as they are known now, and the events that this took.

    `snapshots` are the fields of GetRun answers to keep, by run id. `stays` are the whole of what is to be known from
    now on of a workflow's stays in a status. Everything belongs to `scope`; events that the poller makes of itself come
    with no runs and no scope. `failing` is since when a sink has been in an outage that is told, None once it is over.
    `cohorts_finished` are the keys of cohorts that the drafts tell to have finished, and when that was clear.
    `to_diagnose` are the ids of those drafts whose runs are owed a diagnosis once they are recorded; `diagnoses` are
    recorded only while they are owed, and then are so no more.
    """

    at: datetime
    scope: str | None = None
    runs: Sequence[KnownRun] = ()
    snapshots: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    drafts: Sequence[Draft] = ()
    state: ScopeState | None = None
    batches: Sequence[KnownBatch] = ()
    stays: Sequence[Stays] = ()
    failing: Mapping[str, datetime | None] = field(default_factory=dict)
    cohorts_finished: Mapping[str, datetime] = field(default_factory=dict)
    to_diagnose: Collection[str] = ()
    diagnoses: Sequence[MadeDiagnosis] = ()


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is listed and shown: what is known, the last stored GetRun fields, and when it last changed."""

    scope: str
    known: KnownRun
    snapshot: Mapping[str, Json]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SinkRow:
    """What the record knows of a sink: `in_force` is False for one that the configuration no longer names."""

    name: str
    in_force: bool
    first_seen_at: datetime
    owed: int
    dead: int
    acknowledged: int
    paused_until: datetime | None = None
    failing_since: datetime | None = None


class SinkState(NamedTuple):
    """What a sink's worker has to know: nothing is sent before `paused_until`; `failing_since` is as it was told."""

    paused_until: datetime | None = None
    failing_since: datetime | None = None


class Store(Protocol):
    """The record. One method is one transaction; nothing is half done when one raises or its caller is cancelled.

    Raises, everywhere: StoreUnavailable when it cannot be reached or written now (nothing was written: try again),
    StoreRefused when a person must mend it.
    """

    location: str

    async def open(self) -> None:
        """Connect, migrate forward, check. Opens for commands too; it does not take the daemon's lock."""
        ...

    async def hold(self, holder: str) -> None:
        """Become the one daemon of this record until `close`; claims of a daemon that died are released.

        Raises: StoreRefused(exit_code=1) naming the holder's host and pid if another one holds it.
        """
        ...

    async def close(self) -> None: ...

    # what the asking side writes and reads
    async def commit_round(self, round_: Round) -> list[Event]:
        """Write runs, events and deliveries owed, together or not at all; the events that were new, as recorded.

        A draft whose id exists is skipped whole. Each other one gets the next `sequence` of its (source, incarnation)
        and the next `position`, is routed to the sinks in force (`use_routes`), and its final bytes are kept.
        """
        ...

    async def owed_diagnoses(self, scope: str) -> dict[int, str]:
        """The runs of a scope that are owed a diagnosis: by the position of their `failed` events, in order."""
        ...

    async def owed_diagnosis(self, position: int) -> OwedDiagnosis | None:
        """What is to be known for one diagnosis; None if it is not owed (any more)."""
        ...

    async def scope(self, name: str) -> ScopeState | None: ...

    async def scopes(self) -> list[ScopeState]: ...

    async def merge_scopes(self, gone: str, kept: str, *, discovered_through: datetime | None) -> None:
        """Hold under the name `kept` what is held under `gone`: runs, snapshots, events, stays, owed diagnoses; not the
        watches.

        Of a run under both names that one stays which changed last; one that has no status yet does not count. Of the
        stays of one workflow in one status under both names those of `kept` stay.
        `discovered_through`, if given, is the mark of `kept` from now on; `gone` keeps its account, and has no mark.
        """
        ...

    async def live_runs(self, scope: str) -> list[KnownRun]:
        """The runs of a scope that have no verdict yet."""
        ...

    async def known_runs(self, scope: str, run_ids: Iterable[str]) -> dict[str, KnownRun]:
        """What is remembered of these runs, with a verdict or without; tombstones too."""
        ...

    async def batches(self, scope: str) -> list[KnownBatch]:
        """What is remembered of the batches of a scope."""
        ...

    async def stays(self, scope: str) -> list[Stays]:
        """How long the last runs of each workflow of a scope were in each status."""
        ...

    async def snapshots(self, scope: str, run_ids: Iterable[str]) -> dict[str, Mapping[str, Json]]:
        """The stored GetRun fields of these runs, by run id."""
        ...

    # watches that people change while a daemon runs
    async def put_watch(self, watch: WatchRow) -> None: ...

    async def drop_watch(self, scope: str, run_id: str) -> bool:
        """Forget a watch or a mute; False if there was none."""
        ...

    async def watches(self) -> list[WatchRow]: ...

    # what the telling side writes and reads
    async def use_routes(self, routes: Sequence[Route], at: datetime) -> None:
        """The sinks in force from now on. A name that is new gets what is recorded from now on, never the past."""
        ...

    async def claim(self, sink: str, *, now: datetime, limit: int) -> list[Delivery]:
        """Up to `limit` deliveries that are due, at most one per lane and always the lane's first; they are then ours.

        Ordered by due time, then position. A claimed delivery is not claimed again until it is settled or released.
        """
        ...

    async def probe(self, sink: str) -> list[Delivery]:
        """Claim one lane's first delivery, due or not: the one that was tried longest ago."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record how attempts ended; the next of a lane whose first is acknowledged or dead is then due at once.

        What is dead is owed to the fallback of its sink, if that has one (`Route.fallback`) and was never owed it.
        """
        ...

    async def release(self, delivery_ids: Sequence[int]) -> None:
        """Give claimed deliveries back as they were: nothing was attempted, or nobody knows."""
        ...

    async def pause(self, sink: str, until: datetime | None) -> bool:
        """Have nothing sent to a sink before `until`; None ends that. False if the record knows no such sink."""
        ...

    async def sink_state(self, sink: str) -> SinkState: ...

    async def attempts(self, delivery_id: int) -> list[AttemptRow]:
        """The failed attempts of a delivery that are kept, first one first: the last `ATTEMPTS_KEPT`."""
        ...

    async def make_due(self, sink: str, at: datetime) -> None:
        """After an outage: every lane's first delivery of the sink is due at `at`."""
        ...

    async def next_due(self, sink: str) -> datetime | None:
        """When the next unclaimed delivery of the sink is due; None if nothing is owed."""
        ...

    # cohorts
    async def follow_cohorts(self, cohorts: Sequence[Cohort], *, limit: int = 500) -> bool:
        """Have these cohorts read the next events on record; whether there may be more. Each begins with the first."""
        ...

    async def cohort_progress(self, cohorts: Sequence[Cohort]) -> dict[str, Progress]:
        """How far each of these is that has not finished, by key."""
        ...

    async def cohort_finished(self, cohort: Cohort, at: datetime) -> Finished:
        """What is to be told of a cohort whose members have all ended."""
        ...

    # reading and housekeeping
    async def events(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        run_id: str | None = None,
        scope: str | None = None,
        types: Sequence[str] | None = None,
        since: datetime | None = None,
        event_id: str | None = None,
    ) -> list[Event]:
        """Events after position `after`, in order; `types` are whole event types, `since` compares recorded_at."""
        ...

    async def last_position(self) -> int: ...

    async def runs(
        self, *, scope: str | None = None, run_id: str | None = None, live_only: bool = False, limit: int = 1000
    ) -> list[RunRow]:
        """Runs, newest incarnation each, last changed first."""
        ...

    async def deliveries(
        self,
        *,
        sink: str | None = None,
        state: DeliveryState | None = None,
        run_id: str | None = None,
        scope: str | None = None,
        event_id: str | None = None,
        replay_id: str | None = None,
        limit: int = 1000,
    ) -> list[DeliveryRow]:
        """Deliveries, newest event first."""
        ...

    async def delivery(self, delivery_id: int) -> DeliveryRow | None: ...

    # sending again, and elsewhere
    async def replayable(self, wanted: Selection, *, to: str | None = None) -> list[Replayable]:
        """What `replay` would send, by sink and type."""
        ...

    async def replay(
        self,
        wanted: Selection,
        *,
        to: str | None = None,
        replay_id: str,
        at: datetime,
        after: int = 0,
        limit: int = 500,
    ) -> int | None:
        """Owe once more the first `limit` wanted events after position `after`; where to go on from, None at the end.

        Each goes to the sinks that had it acknowledged or gave it up, or to `to` alone; what is still owed is left.
        Without a sink in `wanted`, `to` gets events that it was never owed. A replay keeps the order of each run among
        its own events, and waits for none of the others. A dead letter that is sent again is one no more.
        """
        ...

    async def move(self, old: str, new: str, at: datetime, *, limit: int = 500) -> int:
        """Owe to `new` the first `limit` deliveries that are owed to `old` and not being sent; how many, 0 at the end.

        What `new` was owed anyway is not owed twice. Within a run their order is kept, among what `new` is owed too.
        """
        ...

    async def sinks(self) -> list[SinkRow]: ...

    async def forget(self, scope: str, run_id: str, at: datetime) -> bool:
        """Erase a run's data (snapshot, event bodies, what is owed of them, also a diagnosis), keep its identity.

        False if it is unknown.

        Nothing is told twice afterwards: ids, sequences and the verdict stay.
        """
        ...

    async def prune(self, *, before: datetime, now: datetime, keep: Mapping[str, Iterable[str]]) -> int:
        """Drop what retention allows to drop; how many events went.

        Goes: events recorded before `before` with their settled deliveries, ended runs' snapshots, deliveries of sinks
        gone since then, stays to which none was added since then. Remains: live runs, owed events of sinks in force,
        `failed` events whose runs are owed a diagnosis, and for a year (for ever while `keep`, scope -> run ids, names
        the run) a tombstone: ARN, uuid, last status, next sequence.
        """
        ...


class Sink(Protocol):
    """Where events go. A class with one coroutine; the dispatcher owns order, retries, timeouts and dead letters.

    `settings_model` is what its table in the configuration may say. `batch_size` (1 if it has none) is how many events,
    each of another run, one `send` takes at most. Optional: `async def probe(self)` raises if nothing could be sent,
    and sends nothing; `async def close(self)` frees what it opened.
    """

    @property
    def settings_model(self) -> type[SinkSettings]: ...

    async def send(self, events: Sequence[Event]) -> None:
        """Deliver, and return only once the far end has acknowledged.

        Raises: Retry, Rejected, Partial (core.errors); any other exception means: try again later.
        """
        ...


Callback = Callable[[Event], Awaitable[object] | object]
"""A callable of the user's program, async or plain, that is called with an event."""


class Toolbox(Protocol):
    """What a sink may use: shared, long-lived, closed by the application.

    `directory` is what relative paths in a sink's settings are relative to: the configuration file's.
    """

    clock: Clock
    directory: Path

    async def http(self, *, allow_private: bool = True, proxies: bool = True) -> Any:
        """The `aiohttp.ClientSession` of this process: no cookies, TLS verified, environment proxies honoured.

        Every connection that it makes is to an address that something may be sent to: never link-local, a cloud's
        metadata, multicast; without `allow_private` neither this machine nor a private network. Without `proxies` it
        goes through none but the one that a request names.
        """
        ...

    async def aws_client(
        self,
        service: str,
        *,
        region: str | None = None,
        profile: str | None = None,
        role_arn: str | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        """A long-lived aiobotocore client, made once for each set of arguments; its own retries are off."""
        ...
