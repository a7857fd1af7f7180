"""The record of a configuration, for commands: they share it with a daemon that may be running."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from poller.app.build import resolve_region, scope_name
from poller.app.cli.options import NO_AWS, AwsOptions, load_configuration, parse_runs
from poller.core.errors import ConfigError, PollerError
from poller.core.events import stamp
from poller.core.runs import Json
from poller.ports import RunRow, Store
from poller.settings.load import Loaded
from poller.settings.model import RunName
from poller.store.opening import open_store


@dataclass(frozen=True, slots=True)
class Record:
    """An open record, and the configuration that names it."""

    store: Store
    loaded: Loaded

    @property
    def scope(self) -> str:
        """The scope that the configuration names. Raises: ConfigError if its region cannot be found."""
        aws = self.loaded.settings.aws[0]
        return scope_name(aws, resolve_region(aws))

    async def runs(self, texts: Sequence[str]) -> list[str]:
        """The bare ids of runs as they were typed. Raises: ConfigError for one that this record cannot hold."""
        names = parse_runs(texts)
        known = await self.store.scope(self.scope) if any(name.region for name in names) else None
        return [self._bare(name, known.account_id if known is not None else None) for name in names]

    async def row(self, text: str) -> RunRow:
        """What is on record of a run. Raises: ConfigError if that is nothing."""
        (run_id,) = await self.runs([text])
        rows = await self.store.runs(scope=self.scope, run_id=run_id)
        if not rows:
            raise ConfigError(f"run {run_id} is not on record; `omics-poller runs` lists those that are")
        return rows[0]

    def _bare(self, name: RunName, account_id: str | None) -> str:
        aws = self.loaded.settings.aws[0]
        if name.scope is not None and name.scope != self.scope:
            raise ConfigError(f"there is no scope {name.scope}; the one here is {self.scope}")
        region = resolve_region(aws) if name.region else None
        if name.region != region:
            raise ConfigError(f"run {name.run_id} is in {name.region}; this record follows {region}")
        if name.account_id and account_id and name.account_id != account_id:
            raise ConfigError(f"run {name.run_id} is of account {name.account_id}; this record follows {account_id}")
        return name.run_id


@asynccontextmanager
async def open_record(config: Path | None, aws: AwsOptions = NO_AWS, *, make: bool = False) -> AsyncIterator[Record]:
    """The record that a configuration names; `make` makes it where there is none yet.

    Raises: ConfigError, StoreError, PollerError if there is none.
    """
    loaded = load_configuration(config, aws)
    url = loaded.settings.store.url
    store = open_store(url, directory=loaded.directory)
    if url in ("sqlite://", "sqlite:///:memory:"):
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
    watches = {(one.scope, one.run_id): one.mode for one in await record.store.watches()}
    discovers = record.loaded.settings.watch[0].discover

    def followed(row: RunRow) -> tuple[bool, str]:
        known, mode = row.known, watches.get((row.scope, row.known.run_id))
        if mode == "mute":
            return False, "no, it is muted; `omics-poller add` undoes that"
        if not known.live:
            return False, "no, its story is over"
        if mode == "follow" or record.loaded.line_of_run(known.run_id) is not None:
            return True, "yes, named"
        if known.by_rule and discovers:
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
