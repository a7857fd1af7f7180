"""`omics-poller demo`: the whole thing on this machine, with nothing configured."""

from poller.app.cli.exits import ExitCode
from poller.app.cli.output import Out


async def demo(*, out: Out) -> ExitCode:
    """See it all at work: an emulated HealthOmics, the daemon, and a webhook receiver that checks signatures.

    Fourteen runs live every kind of life within twenty seconds. What was told is held against what truly happened:
    exit code 0 if nothing is missing, else 1. Nothing outside of a temporary directory is touched, no AWS account is
    asked.

    **Examples**

    `omics-poller demo`
    """
    from poller.app.demo.stage import perform

    return ExitCode.OK if await perform(out) else ExitCode.ERROR
