"""`omics-poller deliveries`: what is owed to the sinks."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, parse_count, parse_run
from poller.app.cli.output import Out
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.app.cli.records import Record


async def deliveries(
    *,
    dead: Annotated[bool, Parameter(help="Only dead letters.")] = False,
    pending: Annotated[bool, Parameter(help="Only what is still owed.")] = False,
    sink: Annotated[str | None, Parameter(help="Only of this sink.")] = None,
    run: Annotated[str | None, Parameter(help="Only of this run.")] = None,
    limit: Annotated[int, Parameter(show_default=True, help="At most so many, those of the newest events.")] = 1000,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Read what is owed to the sinks, was acknowledged, or is dead, newest event first; also while a daemon runs.

    `parked` is what is owed to a sink that the configuration no longer names: it goes on when the name returns.

    **Examples**

    `omics-poller deliveries --dead -c config.toml`

    `omics-poller deliveries --pending --sink lims --json -c config.toml | jq .error`
    """
    from dataclasses import asdict

    from poller.app.cli.records import jsonable, open_record
    from poller.core.deliveries import DeliveryState
    from poller.core.events import short_type, stamp

    if dead and pending:
        raise ConfigError("--dead and --pending exclude each other: a delivery is one or the other")
    parse_count("--limit", limit)
    named = parse_run(run) if run is not None else None
    state = DeliveryState.DEAD if dead else DeliveryState.PENDING if pending else None
    async with open_record(config) as record:
        await _refuse_unknown_sink(record, sink)
        scope, run_id = await record.narrowed(named)
        rows = await record.store.deliveries(sink=sink, state=state, run_id=run_id, scope=scope, limit=limit)
    if json:
        for row in rows:
            out.document(jsonable(asdict(row)))
        return ExitCode.OK
    out.table(
        ("Position", "Sink", "Run", "Event", "State", "Failures", "Next", "Error"),
        (
            (
                row.position,
                row.sink,
                row.run_id,
                short_type(row.event_type),
                f"{row.state} (parked)" if row.parked and row.state == "pending" else row.state,
                row.attempts or "",
                stamp(row.due.replace(microsecond=0)) if row.due is not None else "",
                row.error,
            )
            for row in rows
        ),
    )
    if len(rows) == limit:
        out.say(f"these are the newest {limit}; --limit shows more")
    return ExitCode.OK


async def _refuse_unknown_sink(record: "Record", sink: str | None) -> None:
    """Raises: ConfigError if neither the configuration nor the record knows a sink of that name."""
    if sink is None:
        return
    known = {one.name for one in record.loaded.settings.sinks} | {one.name for one in await record.store.sinks()}
    if sink not in known:
        raise ConfigError(f"--sink {sink!r}: no such sink; there are {', '.join(sorted(known)) or 'none'}")
