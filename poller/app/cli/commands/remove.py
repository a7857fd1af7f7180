"""`omics-poller remove`: follow runs no more."""

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AwsOptions, ConfigPath, RunIds
from poller.app.cli.output import Out
from poller.core.errors import ConfigError


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
        named = await record.runs(run_ids)
        scopes = await record.scopes()
        followed = {(row.scope, row.run_id) for row in await record.store.watches() if row.mode == "follow"}
        for run in named:
            line = await record.line_of(run.scope, run.run_id)
            if line is not None:
                raise ConfigError(f"{record.loaded.path}:{line} names run {run.run_id}; take it out there")
            if not scopes.discovers(run.scope) and not any(
                (name, run.run_id) in followed for name in scopes.names(run.scope)
            ):
                raise ConfigError(f"run {run.run_id} is not followed")
        for run in named:
            if scopes.discovers(run.scope):
                await record.store.put_watch(WatchRow(run.scope, run.run_id, "mute", datetime.now(UTC)))
                again = scopes.spelled(run.scope, run.run_id)
                out.say(f"muted {run.run_id}: discovery leaves it alone until `omics-poller add {again}`")
            else:
                for name in scopes.names(run.scope):
                    await record.store.drop_watch(name, run.run_id)
                out.say(f"following {run.run_id} no more")
    return ExitCode.OK
