"""`omics-poller forget`: erase a run's data."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AwsOptions, ConfigPath, OneRun
from poller.app.cli.output import Out
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.app.cli.records import Record
    from poller.ports import RunRow


async def forget(
    run_id: OneRun,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.")] = False,
    config: ConfigPath = None,
    aws: AwsOptions = NO_AWS,
    out: Out,
) -> ExitCode:
    """Erase what the record holds of a run: its stored fields, the content of its events, what is still owed of them.

    Its identity stays, so that nothing is told twice. What sinks have received already cannot be called back. A run
    that is still followed is refused: `remove` it first. So is one that vanished less than five minutes ago, since its
    manifest may still come.

    **Examples**

    `omics-poller forget 1234567 --yes -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.records import open_record

    async with open_record(config, aws) as record:
        row = await record.row(run_id)
        await _refuse_if_followed(record, row)
        if not yes and not out.can_ask:
            raise ConfigError("nobody can be asked here: give --yes")
        if not yes and not out.ask(f"erase the data of run {row.known.run_id}?"):
            out.say("nothing was erased")
            return ExitCode.ERROR
        await record.store.forget(row.scope, row.known.run_id, datetime.now(UTC))
        out.say(f"erased the data of run {row.known.run_id}; its identity stays")
    return ExitCode.OK


async def _refuse_if_followed(record: "Record", row: "RunRow") -> None:
    """Raises: ConfigError if the daemon follows the run, or will: the next answer would bring its data back."""
    from datetime import UTC, datetime

    from poller.app.cli.records import following
    from poller.core.runs import Verdict
    from poller.core.vanishing import LATE_FOR

    run_id = row.known.run_id
    if row.known.verdict is Verdict.VANISHED and datetime.now(UTC) < row.updated_at + LATE_FOR:
        until = f"{row.updated_at + LATE_FOR:%H:%M:%S} UTC"
        raise ConfigError(
            f"run {run_id} vanished a moment ago, and its manifest may still come: try again after {until}"
        )
    if not row.known.live:
        return
    line = await record.line_of(row.scope, run_id)
    if line is not None:
        raise ConfigError(f"run {run_id} has not ended, and {record.loaded.path}:{line} names it: take it out first")
    followed, _ = (await following(record))(row)
    if followed:
        name = (await record.scopes()).spelled(row.scope, run_id)
        raise ConfigError(f"run {run_id} has not ended and is followed; first: omics-poller remove {name}")
