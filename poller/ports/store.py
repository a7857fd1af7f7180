"""The record, as the engine needs it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from poller.core.batches import KnownBatch
from poller.core.cohorts import Cohort, Finished, Followed, Progress
from poller.core.deliveries import (
    AttemptRow,
    Delivery,
    DeliveryRow,
    DeliveryState,
    Replayable,
    Selection,
    Settlement,
)
from poller.core.events import Event
from poller.core.routing import Route
from poller.core.runs import Json, KnownRun
from poller.core.stays import Stays
from poller.ports.records import OwedDiagnosis, Round, RunRow, ScopeState, SinkRow, SinkState, WatchRow


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
        Cohorts that have not finished read the events anew: they may name runs by `gone`.
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

    async def still_claimed(self, delivery_ids: Sequence[int]) -> set[int]:
        """Which of these are claimed; the others were settled without us, by `forget`."""
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
    async def follow_cohorts(
        self, cohorts: Sequence[Cohort], *, anew: Collection[str] = (), limit: int = 500
    ) -> Followed:
        """Have these cohorts read the next events on record. Each begins with the first, those of `anew` again."""
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
        """Owe to `new` what `old` is owed of up to `limit` runs; how many deliveries, 0 at the end.

        A run of which something is claimed for `old` is left whole. What `new` was owed anyway is not owed twice.
        Within a run their order is kept, among what `new` is owed too.
        """
        ...

    async def sinks(self) -> list[SinkRow]: ...

    async def forget(self, scope: str, run_id: str, at: datetime) -> bool:
        """Erase a run's data (snapshot, event bodies, what is owed of them, also a diagnosis), keep its identity.

        False if it is unknown.

        Nothing is told twice afterwards: ids, sequences and the verdict stay.
        """
        ...

    async def prune(
        self, *, before: datetime, now: datetime, keep: Mapping[str, Iterable[str]], cohorts: Collection[str] = ()
    ) -> int:
        """Drop what retention allows to drop; how many events went.

        Goes: events recorded before `before` with their settled deliveries, ended runs' snapshots, deliveries of sinks
        gone since then, stays to which none was added since then, members of cohorts that did not finish, did not
        change since then, and are not in force: those are `cohorts`, by key. Remains: live runs, owed events of sinks
        in force, `failed` events whose runs are owed a diagnosis, and for a year (for ever while `keep`, scope -> run
        ids, names the run) a tombstone: ARN, uuid, last status, next sequence.
        """
        ...
