"""`omics-poller init`: a first configuration."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AwsOptions, check_aws, parse_runs
from poller.app.cli.output import Out
from poller.core.errors import ConfigError

MODE = 0o600
"""A configuration may come to hold secrets."""


async def init(
    path: Annotated[Path, Parameter(name="PATH", show_default=True, help="The file to write.")] = Path("config.toml"),
    /,
    *,
    run: Annotated[tuple[str, ...], Parameter(help="A run to follow instead of all; may be repeated.")] = (),
    force: Annotated[bool, Parameter(help="Write over a file that is there.")] = False,
    aws: AwsOptions = NO_AWS,
    out: Out,
) -> ExitCode:
    """Write a commented configuration that works as it is: it follows every run and prints what happens.

    **Examples**

    `omics-poller init`

    `omics-poller init /etc/omics-poller.toml --region us-east-1 --run 1234567 --run 7654321`
    """
    from poller.settings.starter import starter_config

    given = check_aws(aws)
    parse_runs(run)
    if path.is_dir():
        raise ConfigError(f"{path}: is a directory; give the file to write, such as {path / 'config.toml'}")
    text = starter_config(**given, run_ids=run, name=path.name)
    try:
        if force:
            path.write_text(text, encoding="utf-8")
        else:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
                path.chmod(MODE)
    except FileExistsError:
        raise ConfigError(f"{path}: is there already and was left as it is; --force writes over it") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    out.say(f"wrote {path}; next: omics-poller check -c {path} --probe, then omics-poller run -c {path}")
    return ExitCode.OK
