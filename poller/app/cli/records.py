"""The record of a configuration, for commands: they share it with a daemon that may be running."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from poller.app.build import configured_scopes
from poller.app.cli.options import NO_AWS, AwsOptions, load_configuration, parse_runs
from poller.core.errors import ConfigError, PollerError
from poller.core.events import stamp
from poller.core.runs import Json, RunName
from poller.ports.records import RunRow, SinkRow
from poller.ports.store import Store
from poller.settings.load import Loaded
from poller.settings.model import Settings
from poller.settings.scopes import Address, NoScopeError, account_of, find_scope, watches_by_scope
from poller.settings.sinks import no_such_sink
from poller.store.opening import in_memory, open_store


class NamedRun(NamedTuple):
    """A run as somebody named it: its id, and its scope by name and by place in the configuration."""

    run_id: str
    scope: str
    place: int


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes that a configuration names, in its order, with the accounts that the record has learned."""

    settings: Settings
    addresses: Sequence[Address]

    def find(self, run: RunName) -> NamedRun:
        """The scope of a run. Raises: ConfigError if there is none, or it could be several."""
        try:
            place = find_scope(run, self.addresses)
        except NoScopeError as error:
            raise ConfigError(str(error)) from None
        return NamedRun(run.run_id, self.addresses[place].name, place)

    def places(self, name: str) -> list[int]:
        """The places of a scope and of those that are the same account and region; none if it is not configured."""
        place = next((place for place, one in enumerate(self.addresses) if one.name == name), None)
        if place is None:
            return []
        where = self.addresses[place]
        return [
            other
            for other, one in enumerate(self.addresses)
            if other == place
            or (where.account_id is not None and (one.account_id, one.region) == (where.account_id, where.region))
        ]

    def names(self, name: str) -> list[str]:
        """The names that go with `places`, `name` itself first."""
        return [name, *(other for place in self.places(name) if (other := self.addresses[place].name) != name)]

    def spelled(self, name: str, run_id: str) -> str:
        """A run of a scope as one types it: by its bare id, where there is but one scope."""
        return run_id if len(self.addresses) == 1 else f"{name}:{run_id}"

    def discovers(self, name: str) -> bool:
        """Whether the configuration has runs of this scope discovered."""
        watches = watches_by_scope(self.settings)
        return any(watch.discover for place in self.places(name) for watch in watches[place])


@dataclass(slots=True)
class Record:
    """An open record, and the configuration that names it."""

    store: Store
    loaded: Loaded
    _scopes: Scopes | None = field(default=None, init=False)

    async def scopes(self) -> Scopes:
        """The scopes of the configuration. Raises: ConfigError if a region cannot be found."""
        if self._scopes is None:
            self._scopes = await self._found_scopes()
        return self._scopes

    async def _found_scopes(self) -> Scopes:
        settings = self.loaded.settings
        known = {state.name: state for state in await self.store.scopes()}
        try:
            scopes = configured_scopes(settings)
        except ConfigError:
            if len(settings.aws) != 1 or len(known) != 1:
                raise
            (one,) = known.values()  # nothing here tells the region, as the daemon's environment may; the record does
            return Scopes(settings, [Address(one.name, one.region, one.account_id)])
        learned = {name: state.account_id for name, state in known.items()}
        return Scopes(
            settings,
            [Address(one.name, one.region, learned.get(one.name) or account_of(one.aws)) for one in scopes],
        )

    async def runs(self, texts: Sequence[str]) -> list[NamedRun]:
        """The runs that were typed, each once. Raises: ConfigError for one that no scope here can hold."""
        names = parse_runs(texts)
        scopes = await self.scopes()
        return list(dict.fromkeys(scopes.find(name) for name in names))

    async def row(self, text: str) -> RunRow:
        """What is on record of a run. Raises: ConfigError if that is nothing."""
        (run,) = await self.runs([text])
        for name in (await self.scopes()).names(run.scope):
            if rows := await self.store.runs(scope=name, run_id=run.run_id):
                return rows[0]
        where = f" in {run.scope}" if len(self.loaded.settings.aws) > 1 else ""
        raise ConfigError(_not_on_record(run.run_id, where))

    async def sink(self, name: str, *, option: str = "") -> SinkRow:
        """A sink on record. Args: `option` is where its name was given. Raises: ConfigError if there is none."""
        rows = {row.name: row for row in await self.store.sinks()}
        if name in rows:
            return rows[name]
        where = f"{option}: " if option else ""
        configured = [one.name for one in self.loaded.settings.sinks]
        if name in configured:
            when = "the daemon makes it known when it starts with it"
            raise ConfigError(f'{where}the record does not know the sink "{name}" yet: {when}')
        raise ConfigError(where + no_such_sink(name, rows))

    async def refuse_unknown_event(self, option: str, event_id: str) -> None:
        """Raises: ConfigError if no event on record has this id."""
        if not await self.store.events(event_id=event_id, limit=1):
            raise ConfigError(f"{option} {event_id!r}: not on record; `omics-poller events` lists what is")

    async def hint_of_run(self, scope: str | None, run_id: str | None) -> str | None:
        """What to say where nothing was found of a run, as `narrowed` gives it: that it is not on record itself."""
        if run_id is None or await self.store.runs(scope=scope, run_id=run_id, limit=1):
            return None
        return _not_on_record(run_id)

    async def line_of(self, scope: str, run_id: str) -> int | None:
        """The line of the configuration that names a run of this scope."""
        lines = (self.loaded.line_of_run(run_id, place) for place in (await self.scopes()).places(scope))
        return next((line for line in lines if line is not None), None)

    async def narrowed(self, run: RunName | None) -> tuple[str | None, str | None]:
        """Scope and id of the run that a list is to be about, None for what does not matter.

        Raises: ConfigError if the name could mean several runs, or none here.
        """
        if run is None:
            return None, None
        if run.scope is None and run.region is None and len(self.loaded.settings.aws) == 1:
            return None, run.run_id
        scopes = await self.scopes()
        for name in scopes.names(scopes.find(run).scope):
            if await self.store.runs(scope=name, run_id=run.run_id, limit=1):
                return name, run.run_id
        return scopes.find(run).scope, run.run_id


@asynccontextmanager
async def open_record(config: Path | None, aws: AwsOptions = NO_AWS, *, make: bool = False) -> AsyncIterator[Record]:
    """The record that a configuration names; `make` makes it where there is none yet.

    Raises: ConfigError, StoreError, PollerError if there is none.
    """
    loaded = load_configuration(config, aws)
    url = loaded.settings.store.url
    store = open_store(url, directory=loaded.directory)
    if in_memory(url):
        raise PollerError(f"{loaded.path}: [store] url: this record lives in the memory of the daemon alone")
    if not make and not await anyio.Path(store.location).exists():
        raise PollerError(f"there is no record yet at {store.location}: `omics-poller run -c {loaded.path}` makes it")
    try:
        await store.open()
        yield Record(store, loaded)
    finally:
        await store.close()


async def following(record: Record) -> Callable[[RunRow], tuple[bool, str]]:
    """For each run whether a daemon with this configuration follows it, and why, as people read it."""
    scopes = await record.scopes()
    watches = {(one.scope, one.run_id): one for one in await record.store.watches()}

    def followed(row: RunRow) -> tuple[bool, str]:
        known = row.known
        asked = [watches[name, known.run_id] for name in scopes.names(row.scope) if (name, known.run_id) in watches]
        mode = max(asked, key=lambda watch: watch.added_at).mode if asked else None
        if mode == "mute":
            return False, "no, it is muted; `omics-poller add` undoes that"
        if not known.live:
            return False, "no, its story is over"
        places = scopes.places(row.scope)
        named = any(record.loaded.line_of_run(known.run_id, place) is not None for place in places)
        if (mode == "follow" and places) or named:
            return True, "yes, named"
        if known.by_rule and scopes.discovers(row.scope):
            return True, "yes, discovered"
        return False, "no, nobody asks for it any more"

    return followed


def json_of_run(row: RunRow, *, followed: bool) -> dict[str, Json]:
    """A run as it is listed. What is unknown is null."""
    known = row.known
    return {
        "scope": row.scope,
        "run_id": known.run_id,
        "run_uuid": known.uuid,
        "name": row.snapshot.get("name"),
        "status": known.status,
        "live": known.live,
        "followed": followed,
        "verdict": known.verdict,
        "since": _stamped(known.since),
        "creation_time": _stamped(known.creation_time),
        "discovered": known.by_rule,
        "updated_at": stamp(row.updated_at),
    }


def jsonable(values: Mapping[str, Any]) -> dict[str, Json]:
    """Fields of a row, times as the events spell them."""
    return {name: _stamped(value) for name, value in values.items()}


def status_of(row: RunRow) -> str:
    """The status, or why there is none any more, as people read it."""
    known = row.known
    if known.verdict is not None and known.verdict != "ended":
        return f"{known.verdict} (last {known.status or 'never seen'})"
    return known.status or "not seen yet"


def _stamped(value: Any) -> Json:
    from datetime import datetime

    return stamp(value) if isinstance(value, datetime) else value


def _not_on_record(run_id: str, where: str = "") -> str:
    return f"run {run_id} is not on record{where}; `omics-poller runs` lists those that are"
