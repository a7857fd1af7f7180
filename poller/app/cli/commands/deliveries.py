"""`omics-poller deliveries`: what is owed to the sinks; `deliveries show` and `deliveries move`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import LARGEST_COUNT, AsJson, ConfigPath, parse_count, parse_run
from poller.app.cli.output import Out, Output, printable
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.core.deliveries import AttemptRow, DeliveryRow

deliveries = App(name="deliveries", help_epilogue="")


@deliveries.default
async def list_deliveries(
    *,
    dead: Annotated[bool, Parameter(help="Only dead letters.")] = False,
    pending: Annotated[bool, Parameter(help="Only what is still owed.")] = False,
    sink: Annotated[str | None, Parameter(help="Only of this sink.")] = None,
    run: Annotated[str | None, Parameter(help="Only of this run.")] = None,
    event: Annotated[str | None, Parameter(help="Only of the event with this id.")] = None,
    replay: Annotated[str | None, Parameter(help="Only of the replay with this id.")] = None,
    limit: Annotated[int, Parameter(show_default=True, help="At most so many, those of the newest events.")] = 1000,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Read what is owed to the sinks, was sent, or is dead; move it to another sink.

    Newest event first; also while a daemon runs.

    `parked` is what is owed to a sink that the configuration no longer names: it goes on when the name returns.
    `superseded` is a dead letter that was replayed, or what was moved to a sink that was owed it already.

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
    event = event.lower() if event is not None else None
    named = parse_run(run) if run is not None else None
    state = DeliveryState.DEAD if dead else DeliveryState.PENDING if pending else None
    async with open_record(config) as record:
        if sink is not None and sink not in {one.name for one in record.loaded.settings.sinks}:
            await record.sink(sink, option="--sink")
        if event is not None:
            await record.refuse_unknown_event("--event", event)
        if replay is not None and not await record.store.deliveries(replay_id=replay, limit=1):
            raise ConfigError(f"--replay {replay!r}: no such replay is on record; `replay` says the id of each")
        scope, run_id = await record.narrowed(named)
        rows = await record.store.deliveries(
            sink=sink, state=state, run_id=run_id, scope=scope, event_id=event, replay_id=replay, limit=limit
        )
        hint = None if rows else await record.hint_of_run(scope, run_id)
    if hint is not None:
        out.say(hint)
    if json:
        for row in rows:
            out.document(jsonable(asdict(row)))
        return ExitCode.OK
    out.table(
        ("Delivery", "Position", "Sink", "Run", "Event", "State", "Failures", "Next", "Error"),
        (
            (
                row.id,
                row.position,
                row.sink,
                row.run_id,
                short_type(row.event_type) + (" (replay)" if row.replay_id is not None else ""),
                state_of(row),
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


@deliveries.command
async def show(
    delivery: Annotated[int, Parameter(name="DELIVERY", help="Its number, as `deliveries` lists it.")],
    /,
    *,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Show one delivery: the event, and each attempt with what the far end said.

    **Examples**

    `omics-poller deliveries show 4711 -c config.toml`
    """
    from dataclasses import asdict

    from poller.app.cli.records import jsonable, open_record

    async with open_record(config) as record:
        row = await record.store.delivery(delivery) if 0 < delivery <= LARGEST_COUNT else None
        if row is None:
            raise ConfigError(f"there is no delivery {delivery}; `omics-poller deliveries` lists those on record")
        attempts = await record.store.attempts(delivery)
        events = await record.store.events(after=row.position - 1, limit=1)
    if json:
        out.document(
            {
                **jsonable(asdict(row)),
                "failed_attempts": [jsonable(asdict(one)) for one in attempts],
                "event": events[0].attributes if events else None,
            }
        )
        return ExitCode.OK
    _describe(row, attempts, out)
    if events:
        out.line("event")
        out.line(f"  {events[0].to_json()}")
    return ExitCode.OK


@deliveries.command
async def move(
    old: Annotated[str, Parameter(name="FROM", help="The sink that is owed them: gone, or paused.")],
    new: Annotated[str, Parameter(name="TO", help="A sink in force, which is owed them instead.")],
    /,
    *,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Owe to another sink what one is still owed; also while a daemon runs.

    For a sink that the configuration no longer names, or that is paused. What the other sink is owed anyway is not owed
    twice; their age counts anew.

    **Examples**

    `omics-poller deliveries move old-lims lims -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.records import open_record

    async with open_record(config) as record:
        now = datetime.now(UTC)
        giver, taker = await record.sink(old, option="FROM"), await record.sink(new, option="TO")
        if old == new:
            raise ConfigError(f"{old} is owed them already")
        if not taker.in_force:
            raise ConfigError(f"{new} is not in the configuration that the daemon runs with: nothing would be sent")
        if giver.in_force and not giver.paused(now):
            raise ConfigError(f"{old} is in force, and may be sending: `omics-poller sinks pause {old}` first")
        moved = 0
        while portion := await record.store.move(old, new, now):
            moved += portion
        left = next(row.owed for row in await record.store.sinks() if row.name == old)
    out.say(
        f"{moved} deliveries moved from {old} to {new}"
        + (f"; {left} stay, of runs of which something is claimed for {old}" if left else "")
    )
    return ExitCode.OK


def _describe(row: "DeliveryRow", attempts: "list[AttemptRow]", out: Output) -> None:
    """A delivery as people read it."""
    from poller.core.deliveries import DeliveryState
    from poller.core.events import short_type, stamp

    out.facts(
        (
            ("delivery", row.id),
            ("sink", row.sink),
            ("state", state_of(row)),
            ("event", row.event_id),
            ("type", short_type(row.event_type)),
            ("run", row.run_id),
            ("position", row.position),
            ("recorded", stamp(row.recorded_at)),
            ("replay", row.replay_id),
            ("next attempt", stamp(row.due) if row.due is not None else None),
            ("settled", stamp(row.settled_at) if row.settled_at is not None else None),
        )
    )
    out.line("attempts")
    if row.attempts > len(attempts):
        out.line(f"  the first {row.attempts - len(attempts)} are not kept")
    for one in attempts:
        out.line(f"  {one.number:>3}  {stamp(one.at)}  {one.outcome}  {printable(one.error or '')}")
    if row.state is DeliveryState.ACKNOWLEDGED and row.settled_at is not None:
        out.line(f"  {row.attempts + 1:>3}  {stamp(row.settled_at)}  acknowledged")
    elif row.error is not None and (not attempts or attempts[-1].error != row.error):
        out.line(f"       {printable(row.error)}")


def state_of(row: "DeliveryRow") -> str:
    """Where a delivery stands, as people read it."""
    return f"{row.state} (parked)" if row.parked and row.state == "pending" else str(row.state)
