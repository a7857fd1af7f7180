"""`omics-poller sinks`: the sinks and how they are; `sinks pause` and `sinks resume`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, parse_span
from poller.app.cli.output import Out

if TYPE_CHECKING:
    from datetime import datetime

    from poller.ports.records import SinkRow

SinkName = Annotated[str, Parameter(name="SINK", help="The name of a sink.")]

sinks = App(name="sinks", help_epilogue="")


@sinks.default
async def list_sinks(*, json: AsJson = False, config: ConfigPath = None, out: Out) -> ExitCode:
    """List the sinks; pause one, or have it go on.

    What each is owed, what is dead, whether it is paused or fails; also while a daemon runs.

    `parked` is a sink that the configuration no longer names: what it is owed waits for its return.

    **Examples**

    `omics-poller sinks -c config.toml`

    `omics-poller sinks pause lims --for 2h -c config.toml`
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from poller.app.cli.records import jsonable, open_record

    async with open_record(config) as record:
        rows = await record.store.sinks()
    if json:
        for row in rows:
            out.document(jsonable(asdict(row)))
        return ExitCode.OK
    now = datetime.now(UTC)
    out.table(
        ("Sink", "State", "Owed", "Dead", "Acknowledged"),
        ((row.name, state_of(row, now), row.owed, row.dead, row.acknowledged) for row in rows),
    )
    return ExitCode.OK


@sinks.command
async def pause(
    sink: SinkName,
    /,
    *,
    lasting: Annotated[
        str | None, Parameter(name="--for", help="How long, such as 2h; without it until `sinks resume`.")
    ] = None,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Have nothing sent to a sink for a while. A daemon that runs notices within two seconds.

    What happens meanwhile is owed to the sink, and sent in order afterwards. `max_age` goes on counting: what has been
    owed for longer than that by then is dead.

    **Examples**

    `omics-poller sinks pause lims --for 2h -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.records import open_record
    from poller.core.deliveries import UNTIL_RESUMED

    until = datetime.now(UTC) + parse_span("--for", lasting) if lasting is not None else UNTIL_RESUMED
    async with open_record(config) as record:
        await record.sink(sink)
        await record.store.pause(sink, until)
    out.say(f"{sink} is paused {_until(until)}; what happens meanwhile is owed to it")
    return ExitCode.OK


@sinks.command
async def resume(sink: SinkName, /, *, config: ConfigPath = None, out: Out) -> ExitCode:
    """End a pause: all that a sink is owed is sent, in order. A daemon that runs notices within two seconds.

    A sink that is not paused, but fails, is tried at once, and not when its wait is over.

    **Examples**

    `omics-poller sinks resume lims -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.records import open_record

    now = datetime.now(UTC)
    async with open_record(config) as record:
        paused = (await record.sink(sink)).paused(now)
        await record.store.pause(sink, None if paused else now)
    out.say(f"{sink} goes on" if paused else f"{sink} is not paused; what it is owed is tried at once")
    return ExitCode.OK


def state_of(row: "SinkRow", now: "datetime") -> str:
    """How a sink is, as people read it."""
    from poller.core.events import stamp

    found = [] if row.in_force else ["parked"]
    if row.paused_until is not None and row.paused(now):
        found.append(f"paused {_until(row.paused_until)}")
    if row.failing_since is not None:
        found.append(f"failing since {stamp(row.failing_since.replace(microsecond=0))}")
    return ", ".join(found) or "in force"


def _until(moment: "datetime") -> str:
    from poller.core.deliveries import UNTIL_RESUMED
    from poller.core.events import stamp

    return "until it is resumed" if moment == UNTIL_RESUMED else f"until {stamp(moment.replace(microsecond=0))}"
