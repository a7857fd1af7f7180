"""`omics-poller run`: the daemon."""

from functools import partial

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AwsOptions, ConfigPath, load_configuration
from poller.app.cli.output import Out


async def run(*, config: ConfigPath = None, aws: AwsOptions = NO_AWS, out: Out) -> ExitCode:
    """Run the daemon: follow runs, record what happens, tell the sinks, until SIGTERM or SIGINT.

    It then awaits the answers in flight, delivers what is due, and ends with exit code 0; what is still owed is on
    disk. SIGHUP reads `[watch]` and `[[sinks]]` again. One record has one daemon: a second one ends with exit code 1
    and says who holds it. Logs go to stderr, as `[log]` says.

    **Examples**

    `omics-poller run -c config.toml`

    `OMICS_POLLER_CONFIG=/etc/omics-poller.toml omics-poller run`
    """
    import structlog

    from poller.app.daemon import run_daemon
    from poller.telemetry import configure_logging

    loaded = load_configuration(config, aws)
    if not structlog.is_configured():  # it is with --debug
        configure_logging(loaded.settings.log.level, loaded.settings.log.format)
    with loaded.placing_sinks():
        await run_daemon(loaded, load=partial(load_configuration, aws=aws))
    return ExitCode.OK
