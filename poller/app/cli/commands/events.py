"""`omics-poller events`: the events on record."""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, parse_count, parse_run, parse_since
from poller.app.cli.output import Out, Output
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.core.events import Event
    from poller.ports.store import Store

PAGE: Final = 1000
SHOWN: Final = 100
"""How many a person gets to see unasked."""
FOLLOWED: Final = 10
"""How many `--follow` begins with, as tail(1) does."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at what another process has written."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which events."""

    after: int = 0
    run_id: str | None = None
    scope: str | None = None
    types: tuple[str, ...] | None = None
    since: datetime | None = None

    async def read(self, store: "Store") -> "AsyncIterator[Event]":
        """All there are now, in order."""
        after = self.after
        while True:
            page = await store.events(
                after=after, limit=PAGE, run_id=self.run_id, scope=self.scope, types=self.types, since=self.since
            )
            for event in page:
                yield event
            if len(page) < PAGE:
                return
            after = page[-1].position


async def events(
    *,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], help="Go on with each new event, until Ctrl-C.")
    ] = False,
    after: Annotated[int | None, Parameter(help="Only events after this position in the record.")] = None,
    run: Annotated[str | None, Parameter(help="Only events of this run.")] = None,
    type: Annotated[  # the name of the option
        tuple[str, ...], Parameter(help="Only this type, such as failed, or a glob; may be repeated.")
    ] = (),
    since: Annotated[
        str | None, Parameter(help="Only events recorded since then: a time, or 2h for two hours.")
    ] = None,
    limit: Annotated[
        int | None, Parameter(help="At most so many: the newest, or with --after the first after it.")
    ] = None,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Read the events on record, or follow them; also while a daemon runs.

    People get the newest 100, `--follow` begins with the newest 10, `--json` gives all, each as it is sent to sinks.

    **Examples**

    `omics-poller events --type failed --since 1d -c config.toml`

    `omics-poller events --follow --json -c config.toml | jq -r '.data.name + " " + .data.status'`
    """
    from poller.app.cli.records import open_record

    named = parse_run(run) if run is not None else None
    wanted = _Wanted(
        after=parse_count("--after", after, least=0) if after is not None else 0,
        types=event_types(type) if type else None,
        since=parse_since("--since", since, datetime.now(UTC)) if since is not None else None,
    )
    most = parse_count("--limit", limit) if limit is not None else None
    async with open_record(config) as record:
        scope, run_id = await record.narrowed(named)
        wanted = replace(wanted, scope=scope, run_id=run_id)
        if follow:
            if most is None and after is None and since is None:
                most = FOLLOWED
            await _follow(record.store, wanted, most, out, json=json, newest=after is None)
            return ExitCode.OK
        if json and most is None:
            async for event in wanted.read(record.store):
                out.line(event.to_json())
            return ExitCode.OK
        found = await _some(record.store, wanted, most or SHOWN, newest=after is None)
        hint = None if found else await record.hint_of_run(scope, run_id)
    if hint is not None:
        out.say(hint)
    if json:
        for event in found:
            out.line(event.to_json())
    else:
        _draw(found, out)
        if most is None and len(found) == SHOWN:
            out.say(f"at most {SHOWN} are shown; --limit shows more, --json all")
    return ExitCode.OK


async def _some(store: "Store", wanted: _Wanted, most: int, *, newest: bool) -> "list[Event]":
    """The newest or the first so many, in order."""
    if newest and wanted.run_id is None and wanted.types is None and wanted.since is None:
        wanted = replace(wanted, after=max(await store.last_position() - most, 0))
    found: deque[Event] = deque(maxlen=most if newest else None)
    async for event in wanted.read(store):
        found.append(event)
        if not newest and len(found) == most:
            break
    return list(found)


async def _follow(store: "Store", wanted: _Wanted, most: int | None, out: Output, *, json: bool, newest: bool) -> None:
    """What there is, then what comes, for ever."""
    import anyio

    from poller.app.cli.boards import listed

    def tell(event: "Event") -> None:
        out.line(event.to_json() if json else listed(event))

    last = await store.last_position()
    found = await _some(store, wanted, most, newest=newest) if most is not None else None
    if found is not None:
        for event in found:
            tell(event)
        wanted = replace(wanted, after=max(last, found[-1].position) if found else max(last, wanted.after))
    while True:
        async for event in wanted.read(store):
            tell(event)
            wanted = replace(wanted, after=event.position)
        await anyio.sleep(LOOK_EVERY)


def _draw(found: "Iterable[Event]", out: Output) -> None:
    from poller.core.events import stamp

    out.table(
        ("Position", "When", "Run", "Name", "Event", "Before", "Why"),
        (
            (
                event.position,
                stamp(event.time),
                event.subject,
                event.data.get("name"),
                event.kind,
                event.data.get("previous_status"),
                event.data.get("failure_reason") or event.data.get("cause"),
            )
            for event in found
        ),
    )


def event_types(names: Iterable[str], *, option: str = "--type") -> tuple[str, ...]:
    """Whole event types for short ones, or globs of them.

    Args: `option` is where they were given. Raises: ConfigError for one that matches none.
    """
    from difflib import get_close_matches
    from fnmatch import fnmatchcase

    from poller.core.events import EVENT_TYPES, short_type

    found: list[str] = []
    for name in names:
        matching = [one for one in EVENT_TYPES if fnmatchcase(short_type(one), name) or one == name]
        if not matching and name.startswith(("healthomics.", "cohort.")):
            matching = [name if name.startswith("healthomics.") else f"healthomics.{name}"]
        if not matching:
            known = [short_type(one) for one in EVENT_TYPES]
            near = get_close_matches(name.lower(), known, 1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"{option} {name!r}: no such event; {meant}")
        found += matching
    return tuple(dict.fromkeys(found))
