"""Options that several commands share, and how they become settings. Heavy imports stay inside: `--help` is fast."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.core.runs import RunName
    from poller.settings.load import Loaded
    from poller.settings.model import AwsSettings, Settings

LARGEST_COUNT: Final = 2**63 - 1
"""The largest number that a record holds."""

RunIds = Annotated[
    list[str], Parameter(name="RUN_ID", negative=(), help="Runs: ids such as 1234567, scope:1234567, or ARNs.")
]
OneRun = Annotated[str, Parameter(name="RUN_ID", help="A run: an id such as 1234567, scope:1234567, or an ARN.")]
ConfigPath = Annotated[
    Path | None,
    Parameter(
        name=["--config", "-c"],
        env_var="OMICS_POLLER_CONFIG",
        help="The configuration file.",
    ),
]
NamedEvent = Annotated[
    str | None,
    Parameter(
        name="--event",
        allow_leading_hyphen=True,
        help="An event on record by id or position, a file of events, or - for standard input.",
    ),
]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="One JSON document a line.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AwsOptions:
    """Whom to ask; beside a configuration these override what it says."""

    region: Annotated[str | None, Parameter(help="Region of the runs; default: as every AWS tool finds it.")] = None
    profile: Annotated[str | None, Parameter(help="Profile of the AWS configuration.")] = None
    endpoint_url: Annotated[str | None, Parameter(help="Another address of HealthOmics, such as an emulator.")] = None

    @property
    def given(self) -> dict[str, str]:
        """What was given, by the keys of `[aws]`."""
        names = ("region", "profile", "endpoint_url")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


NO_AWS = AwsOptions()


def load_configuration(path: Path | None, aws: AwsOptions = NO_AWS) -> "Loaded":
    """The configuration, with what the options override. Raises: ConfigError."""
    from poller.settings.load import load_settings

    if path is None:
        raise ConfigError(
            "no configuration: give -c FILE, or set OMICS_POLLER_CONFIG; `omics-poller init` writes a first one"
        )
    loaded = load_settings(path)
    return replace(loaded, settings=overridden(loaded.settings, aws)) if aws.given else loaded


def overridden(settings: "Settings", aws: AwsOptions) -> "Settings":
    """Settings of one scope, asked elsewhere. Raises: ConfigError for several, and if their runs do not fit."""
    from poller.settings.checks import problems

    if len(settings.aws) > 1:
        raise ConfigError(
            f"{_spelled(aws)}: for which of the {len(settings.aws)} [[aws]] tables? Write it into the file"
        )
    tables = tuple(_overridden_table(table, aws) for table in settings.aws)
    new = settings.model_copy(update={"aws": tables})
    for problem in problems(new):
        raise ConfigError(f"{_spelled(aws)}: {problem.sentence}")
    return new


def _overridden_table(table: "AwsSettings", aws: AwsOptions) -> "AwsSettings":
    from poller.settings.model import AwsSettings

    checked = check_aws(aws)
    return AwsSettings(**{**table.model_dump(), **checked})


def check_aws(aws: AwsOptions) -> dict[str, str]:
    """The options as keys of `[aws]`. Raises: ConfigError naming the option that cannot be one."""
    from pydantic import ValidationError

    from poller.settings.model import AwsSettings

    try:
        AwsSettings.model_validate(aws.given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        option = f"--{name.replace('_', '-')}"
        expected = {"region": "a region such as us-east-1", "endpoint_url": "an address such as http://127.0.0.1:4566"}
        raise ConfigError(f"{option} {aws.given[name]!r}: expected {expected.get(name, 'a name')}") from None
    return aws.given


def _spelled(aws: AwsOptions) -> str:
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in aws.given.items())


def parse_runs(texts: Sequence[str]) -> list["RunName"]:
    """Run ids as they were typed, each once. Raises: ConfigError for the first that is none."""
    return list(dict.fromkeys(map(parse_run, texts)))


def parse_run(text: str) -> "RunName":
    """A run as it was typed. Raises: ConfigError if it is none."""
    from poller.settings.texts import run_name

    try:
        return run_name(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no run: {error}") from None


def parse_span(option: str, text: str) -> timedelta:
    """A duration that an option gives. Raises: ConfigError if it is none, or 0."""
    from poller.core.values import parse_duration

    try:
        span = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from None
    if span <= timedelta(0):
        raise ConfigError(f"{option} {text!r}: must be longer than 0")
    return span


def parse_since(option: str, text: str, now: datetime, *, ahead: bool = False) -> datetime:
    """A moment: ISO 8601 (UTC where it says no zone), or how long ago, such as 2h.

    Raises: ConfigError if it is none, or, unless it may be `ahead`, in the future.
    """
    from poller.core.values import parse_duration

    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f'{option} {text!r}: expected a time such as 2026-11-23T08:15:00Z, or how long ago, such as "2h"'
        raise ConfigError(message) from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ConfigError(f"{option} {text!r}: is beyond the times that there are") from None
    if moment > now and not ahead:
        raise ConfigError(f"{option} {text!r}: is in the future; now it is {now:%Y-%m-%dT%H:%M:%SZ}")
    return moment


def parse_count(option: str, number: int, *, least: int = 1) -> int:
    """A number that an option gives. Raises: ConfigError if it is below `least`, or larger than a record can hold."""
    if number < least:
        raise ConfigError(f"{option} {number}: must be {least} or more")
    if number > LARGEST_COUNT:
        raise ConfigError(f"{option} {number}: is too large")
    return number
