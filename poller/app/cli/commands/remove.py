"""`omics-poller remove`: follow runs no more."""

from typing import TYPE_CHECKING

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AwsOptions, ConfigPath, RunIds
from poller.app.cli.output import Out
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.app.cli.records import Record


async def remove(run_ids: RunIds, /, *, config: ConfigPath = None, aws: AwsOptions = NO_AWS, out: Out) -> ExitCode:
    """Follow runs no more. A daemon that runs notices within two seconds; what is on record stays there.

    A run that the configuration names stays followed: take it out of the file. A discovered run is muted, also after
    restarts, until `add` names it.

    **Examples**

    `omics-poller remove 1234567 -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.records import open_record
    from poller.ports import WatchRow

    async with open_record(config, aws, make=True) as record:
        ids = await record.runs(run_ids)
        followed = await followed_ids(record)
        discovers = record.loaded.settings.watch[0].discover
        for run_id in ids:
            line = record.loaded.line_of_run(run_id)
            if line is not None:
                raise ConfigError(f"{record.loaded.path}:{line} names run {run_id}; take it out there")
            if not discovers and run_id not in followed:
                raise ConfigError(f"run {run_id} is not followed")
        for run_id in ids:
            if discovers:
                await record.store.put_watch(WatchRow(record.scope, run_id, "mute", datetime.now(UTC)))
                out.say(f"muted {run_id}: discovery leaves it alone until `omics-poller add {run_id}`")
            else:
                await record.store.drop_watch(record.scope, run_id)
                out.say(f"following {run_id} no more")
    return ExitCode.OK


async def followed_ids(record: "Record") -> set[str]:
    """The runs that commands have asked to follow."""
    rows = await record.store.watches()
    return {row.run_id for row in rows if row.scope == record.scope and row.mode == "follow"}
