"""The record as the engine sees it: each method of `ports.Store` is one transaction of this package, run whole."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

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
from poller.store import asking, housekeeping, reading, replaying, telling
from poller.store import cohorts as following
from poller.store.engines import Database, SqliteFile, SqliteMemory

PATIENCE: Final = timedelta(seconds=2)
"""For another process's write: commands write for milliseconds, and the daemon tries again anyway."""


class SqliteStore:
    """`ports.Store` over one SQLite file, or in memory where `path` is None."""

    def __init__(self, path: Path | None, *, patience: timedelta = PATIENCE) -> None:
        self._database: Database = SqliteMemory() if path is None else SqliteFile(path.absolute(), patience=patience)
        self._routes: tuple[Route, ...] = ()
        self._holds = False
        self.location = self._database.location

    async def open(self) -> None:
        await self._database.open()

    async def hold(self, holder: str) -> None:
        await self._database.hold(holder)
        if not self._holds:
            await self._database.write(telling.release_all)
            self._holds = True

    async def close(self) -> None:
        await self._database.close()
        self._holds = False

    async def commit_round(self, round_: Round) -> list[Event]:
        return await self._database.write(partial(asking.commit_round, round_=round_, routes=self._routes))

    async def owed_diagnoses(self, scope: str) -> dict[int, str]:
        return await self._database.read(partial(asking.owed_diagnoses, scope_name=scope))

    async def owed_diagnosis(self, position: int) -> OwedDiagnosis | None:
        return await self._database.read(partial(asking.owed_diagnosis, position=position))

    async def scope(self, name: str) -> ScopeState | None:
        return await self._database.read(partial(asking.scope, name=name))

    async def scopes(self) -> list[ScopeState]:
        return await self._database.read(asking.all_scopes)

    async def merge_scopes(self, gone: str, kept: str, *, discovered_through: datetime | None) -> None:
        transaction = partial(asking.merge_scopes, gone=gone, kept=kept, discovered_through=discovered_through)
        await self._database.write(transaction)

    async def live_runs(self, scope: str) -> list[KnownRun]:
        return await self._database.read(partial(asking.live_runs, scope_name=scope))

    async def known_runs(self, scope: str, run_ids: Iterable[str]) -> dict[str, KnownRun]:
        return await self._database.read(partial(asking.known, scope_name=scope, run_ids=list(run_ids)))

    async def batches(self, scope: str) -> list[KnownBatch]:
        return await self._database.read(partial(asking.batches, scope_name=scope))

    async def stays(self, scope: str) -> list[Stays]:
        return await self._database.read(partial(asking.stays, scope_name=scope))

    async def snapshots(self, scope: str, run_ids: Iterable[str]) -> dict[str, Mapping[str, Json]]:
        return await self._database.read(partial(asking.snapshots, scope_name=scope, run_ids=list(run_ids)))

    async def put_watch(self, watch: WatchRow) -> None:
        await self._database.write(partial(asking.put_watch, watch=watch))

    async def drop_watch(self, scope: str, run_id: str) -> bool:
        return await self._database.write(partial(asking.drop_watch, scope_name=scope, run_id=run_id))

    async def watches(self) -> list[WatchRow]:
        return await self._database.read(asking.all_watches)

    async def use_routes(self, routes: Sequence[Route], at: datetime) -> None:
        routes = tuple(routes)
        await self._database.write(partial(telling.use_routes, routes=routes, at=at))
        self._routes = routes

    async def claim(self, sink: str, *, now: datetime, limit: int) -> list[Delivery]:
        return await self._database.write(partial(telling.claim, sink=sink, now=now, limit=limit))

    async def probe(self, sink: str) -> list[Delivery]:
        return await self._database.write(partial(telling.probe, sink=sink))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        fallbacks = {route.sink: route.fallback for route in self._routes if route.fallback is not None}
        await self._database.write(partial(telling.settle, settlements=settlements, fallbacks=fallbacks))

    async def still_claimed(self, delivery_ids: Sequence[int]) -> set[int]:
        return await self._database.read(partial(telling.still_claimed, delivery_ids=delivery_ids))

    async def release(self, delivery_ids: Sequence[int]) -> None:
        await self._database.write(partial(telling.release, delivery_ids=delivery_ids))

    async def pause(self, sink: str, until: datetime | None) -> bool:
        return await self._database.write(partial(telling.pause, sink=sink, until=until))

    async def sink_state(self, sink: str) -> SinkState:
        return await self._database.read(partial(telling.sink_state, sink=sink))

    async def attempts(self, delivery_id: int) -> list[AttemptRow]:
        return await self._database.read(partial(reading.attempt_rows, delivery_id=delivery_id))

    async def make_due(self, sink: str, at: datetime) -> None:
        await self._database.write(partial(telling.make_due, sink=sink, at=at))

    async def next_due(self, sink: str) -> datetime | None:
        return await self._database.read(partial(telling.next_due, sink=sink))

    async def follow_cohorts(
        self, cohorts: Sequence[Cohort], *, anew: Collection[str] = (), limit: int = 500
    ) -> Followed:
        return await self._database.write(partial(following.follow, followed=cohorts, anew=anew, limit=limit))

    async def cohort_progress(self, cohorts: Sequence[Cohort]) -> dict[str, Progress]:
        return await self._database.read(partial(following.progress, followed=cohorts))

    async def cohort_finished(self, cohort: Cohort, at: datetime) -> Finished:
        return await self._database.read(partial(following.finished, cohort=cohort, at=at))

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
        query = partial(
            reading.events,
            after=after,
            limit=limit,
            run_id=run_id,
            scope=scope,
            types=types,
            since=since,
            event_id=event_id,
        )
        return await self._database.read(query)

    async def last_position(self) -> int:
        return await self._database.read(reading.last_position)

    async def runs(
        self, *, scope: str | None = None, run_id: str | None = None, live_only: bool = False, limit: int = 1000
    ) -> list[RunRow]:
        query = partial(reading.run_rows, scope=scope, run_id=run_id, live_only=live_only, limit=limit)
        return await self._database.read(query)

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
        query = partial(
            reading.delivery_rows,
            sink=sink,
            state=state,
            run_id=run_id,
            scope=scope,
            event_id=event_id,
            replay_id=replay_id,
            limit=limit,
        )
        return await self._database.read(query)

    async def delivery(self, delivery_id: int) -> DeliveryRow | None:
        return await self._database.read(partial(reading.delivery_row, delivery_id=delivery_id))

    async def replayable(self, wanted: Selection, *, to: str | None = None) -> list[Replayable]:
        return await self._database.read(partial(replaying.replayable, wanted=wanted, to=to))

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
        transaction = partial(
            replaying.replay, wanted=wanted, to=to, replay_id=replay_id, at=at, after=after, limit=limit
        )
        return await self._database.write(transaction)

    async def move(self, old: str, new: str, at: datetime, *, limit: int = 500) -> int:
        return await self._database.write(partial(replaying.move, old=old, new=new, at=at, limit=limit))

    async def sinks(self) -> list[SinkRow]:
        return await self._database.read(reading.sink_rows)

    async def forget(self, scope: str, run_id: str, at: datetime) -> bool:
        forgotten = await self._database.write(partial(housekeeping.forget, scope=scope, run_id=run_id, at=at))
        if forgotten:
            await self._database.scrub()
        return forgotten

    async def prune(
        self, *, before: datetime, now: datetime, keep: Mapping[str, Iterable[str]], cohorts: Collection[str] = ()
    ) -> int:
        kept = {scope: list(run_ids) for scope, run_ids in keep.items()}
        transaction = partial(housekeeping.prune, before=before, now=now, keep=kept, in_force=cohorts)
        return await self._database.write(transaction)
