"""`omics-poller add`: follow more runs."""

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AwsOptions, ConfigPath, RunIds
from poller.app.cli.output import Out


async def add(run_ids: RunIds, /, *, config: ConfigPath = None, aws: AwsOptions = NO_AWS, out: Out) -> ExitCode:
    """Follow more runs, also if they ended already. A daemon that runs notices within two seconds.

    It undoes an earlier `remove`, too.

    **Examples**

    `omics-poller add 1234567 7654321 -c config.toml`

    `omics-poller add research:1234567 -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.records import open_record
    from poller.ports.records import WatchRow

    async with open_record(config, aws, make=True) as record:
        for run in await record.runs(run_ids):
            await record.store.put_watch(WatchRow(run.scope, run.run_id, "follow", datetime.now(UTC)))
            line = await record.line_of(run.scope, run.run_id)
            also = f" ({record.loaded.path}:{line} names it, too)" if line is not None else ""
            out.say(f"following {run.run_id}{also}")
    return ExitCode.OK
