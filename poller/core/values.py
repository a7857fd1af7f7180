"""The types that settings of sinks and of the engine share: durations, secrets, what every sink can be told."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, WithJsonSchema

from poller.core.matching import Match

ROLE_ARN: Final = r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$"
"""The pattern of a role's ARN; its fifth part is the account."""

_DURATION: Final = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> timedelta:
    """Read "250ms", "30s", "5m", "2h", "7d", or a number of seconds.

    Raises: ValueError if it is none of these, negative, or longer than a century.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        seconds = float(found["count"]) * _SECONDS[found["unit"]]
    elif isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        seconds = float(value)
    else:
        raise ValueError('expected a duration such as "30s", "5m", "2h", or seconds')
    if not 0 <= seconds <= 100 * 365 * 86400:
        raise ValueError("a duration must be neither negative nor longer than a century")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back: 300 seconds are "5m"."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["30s", "5m", "2h"]}, {"type": "number", "minimum": 0}]}),
]
"""A span of time; in TOML "30s", "5m", "2h" or a number of seconds."""

Secret = SecretStr
"""A value that no log, message or `--help` ever shows."""

OmittableField = Literal[
    "name", "tags", "status_message", "failure_reason", "output_uri", "run_output_uri", "engine_log_stream",
    "run_log_stream", "workflow_name", "workflow_version_name", "console_url",
]  # fmt: skip
"""The fields of an event that may speak of a sample or a person, and can be left out."""


def _tables(value: Any) -> Any:
    """One table is a list of one."""
    if isinstance(value, Mapping | Match):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError('expected a table, such as { name = "lab-*" }, or a list of tables')
    if not value:
        raise ValueError("an empty list fits no run; leave the key out instead")
    return value


def _one_or_more(schema: dict[str, Any]) -> None:
    """In JSON Schema: a table, or an array of them."""
    many = {key: schema.pop(key) for key in ("type", "items")} | {"minItems": 1}
    schema["anyOf"] = [many["items"], many]


LEFT_OUT_FOR_MANY: Final[tuple[OmittableField, ...]] = ("status_message", "tags")
"""What sinks whose events many people or programs see leave out unless they are told otherwise."""


class SinkSettings(BaseModel):
    """What every sink can be told; a sink's own settings model adds its keys. Frozen, and it refuses unknown keys."""

    # not in the class statement: type checkers without pydantic's plugin would ask every model below to repeat it
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        examples=["lims"],
        description="The sink's identity: deliveries are owed to this name.",
    )
    type: str = Field(description="The kind of sink: webhook, sns, stdout, file, or a name that a package adds.")
    events: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="What it gets: names such as failed, blind, batch.failed, or globs; omit for all but heartbeat.",
    )
    match: Annotated[tuple[Match, ...], BeforeValidator(_tables)] = Field(
        (),
        description="Of which runs it gets them: a table, or several of which one must fit; omit for all runs.",
        json_schema_extra=_one_or_more,
    )
    omit: tuple[OmittableField, ...] = Field((), description="Fields that are null in what this sink sends.")
    timeout: Duration = Field(timedelta(seconds=10), description="Longest wait for one send.")
    concurrency: int = Field(
        16, ge=1, le=1000, description="Most sends under way at once; fewer while the far end answers late, 429 or 503."
    )
    retry_waits: tuple[Duration, ...] | None = Field(
        None,
        min_length=1,
        max_length=50,
        description="Waits between the attempts of an event, the last one for all further, full jitter; omit for 0.5 s"
        " doubling to 16 s, then times four up to 10 h.",
    )
    max_attempts: int = Field(
        12, ge=1, description="Failures of one event, while others succeed, after which it is dead."
    )
    max_age: Duration = Field(timedelta(days=7), description="Age at which an event that is still owed is dead.")
    failing_after: Duration = Field(
        timedelta(minutes=1), description="Outage after which the other sinks are told sink_failing."
    )
    fallback: str | None = Field(None, description="The sink that is owed what this one gives up (a dead letter).")
