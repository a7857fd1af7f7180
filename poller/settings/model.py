"""The tables of the configuration, key by key: types, defaults, and the line of explanation that each key carries.

What one key alone can get wrong is refused here; what only several keys together can get wrong is in `checks.py`.
Keys and defaults are the contract of docs/configuration.md. How `[[sinks]]` are read is in `sinks.py`.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from poller.core.events import PrivateField
from poller.core.runs import EmitFirst
from poller.core.values import ROLE_ARN, Duration, OmittableField, Secret, parse_duration
from poller.settings.sinks import AnySink
from poller.settings.texts import BatchId, HttpUrl, Listen, RunText, StoreUrl, address


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _one_or_many(value: Any) -> Any:
    """`[aws]` and one `[[aws]]` are the same thing, and so is none at all."""
    if isinstance(value, Mapping | BaseModel):
        return (value,)
    return value or ({},) if isinstance(value, list | tuple) else value


def _some(value: Any) -> Any:
    """`[cohort]` and one `[[cohort]]` are the same thing."""
    return (value,) if isinstance(value, Mapping | BaseModel) else value


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._~-]", "-", socket.gethostname())[:253] or "poller"


MOST_LOG_LINES: Final = 200
"""What `[diagnosis] log_lines` may ask for: an event is a message, and no archive."""


class Table(BaseModel, extra="forbid", frozen=True):
    """A table of the configuration: unknown keys are refused, and nothing changes it after it was read."""


class AwsSettings(Table):
    """`[aws]`: one account and region to ask; with `[[aws]]` several."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,63}$",
        examples=["research"],
        description="Name of this scope in commands and logs; without it the region.",
    )
    region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+$",
        examples=["us-east-1"],
        description="Region of the runs; without it AWS_REGION, AWS_DEFAULT_REGION, or the profile's.",
    )
    profile: str | None = Field(
        None, min_length=1, description="Profile of the AWS configuration; without it the default chain of credentials."
    )
    role_arn: str | None = Field(
        None,
        pattern=ROLE_ARN,
        examples=["arn:aws:iam::123456789012:role/watcher"],
        description="Role to assume with those credentials; renewed before it expires.",
    )
    external_id: str | None = Field(
        None,
        min_length=2,
        max_length=1224,
        pattern=r"^[A-Za-z0-9_+=,.@:/-]+$",
        description="External id that the role's trust policy asks for.",
    )
    endpoint_url: HttpUrl | None = Field(
        None, description="Another address of HealthOmics: an emulator, a VPC endpoint."
    )
    logs_endpoint_url: HttpUrl | None = Field(
        None,
        description="Another address of CloudWatch Logs; beside endpoint_url they are not asked without it.",
    )


class Deadlines(Table):
    """`[watch] deadline`: the longest time in each status, by its name."""

    PENDING: Duration = Field(timedelta(0), description="Longest time in the queue; 0 = as long as it takes.")
    STARTING: Duration = Field(timedelta(0), description="Longest time of making ready; 0 = as long as it takes.")
    RUNNING: Duration = Field(timedelta(0), description="Longest time of running; 0 = as long as it takes.")
    STOPPING: Duration = Field(timedelta(0), description="Longest time of stopping; 0 = as long as it takes.")


class _OneForAll:
    """One duration is a deadline for each status."""

    @staticmethod
    def read(value: Any) -> Any:
        if isinstance(value, Mapping | Deadlines):
            return value
        try:
            one = parse_duration(value)
        except ValueError as error:
            table = 'or a table such as { PENDING = "6h", RUNNING = "2d" }'
            raise ValueError(f"{error}, {table}" if str(error).startswith("expected") else str(error)) from None
        return Deadlines(PENDING=one, STARTING=one, RUNNING=one, STOPPING=one)

    @staticmethod
    def __get_pydantic_json_schema__(core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core_schema), {"type": "string"}, {"type": "number", "minimum": 0}]}


class WatchSettings(Table):
    """`[watch]`: which runs to follow."""

    aws: str | None = Field(None, description="Name of the [[aws]] table that this is about, where there are several.")
    run_ids: tuple[RunText, ...] = Field(
        (), description="Runs to follow, also if they ended already: ids, scope:id, or ARNs."
    )
    batch_ids: tuple[BatchId, ...] = Field(
        (), description="Batches to follow with all their runs, from their submission on."
    )
    discover: bool = Field(False, description="Follow every run that is active, and every new one.")
    run_group_ids: tuple[Annotated[str, Field(pattern=r"^\d{1,18}$")], ...] = Field(
        (), description="Discover only runs of these run groups."
    )
    name_prefix: str = Field("", description="Discover only runs whose name begins so.")
    workflow_ids: tuple[Annotated[str, Field(pattern=r"^\d{1,18}$")], ...] = Field(
        (), description="Discover only runs of these workflows."
    )
    tags: dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]] = Field(
        {}, description="Discover only runs that have all these tags; each run found costs one GetRun."
    )
    emit_first: EmitFirst = Field(
        "always",
        description="The first event of discovered runs that are older than the watch: always, terminal, or never.",
    )
    deadline: Annotated[Deadlines, BeforeValidator(_OneForAll.read), _OneForAll] = Field(
        Deadlines(),
        description="Longest time that a run may be in one status, or a table of them; 0 = as long as it takes.",
    )
    overdue_factor: float = Field(
        0.0,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="How many times longer than usual for its workflow a run may be in one status; 0 = off.",
    )
    min_interval: Duration | None = Field(
        None, description="Shortest wait between two looks at one of these runs; without it that of [polling]."
    )
    max_interval: Duration | None = Field(
        None, description="Longest wait, for runs long in one status; without it that of [polling]."
    )


class CohortSettings(Table):
    """`[[cohort]]`: runs that are told of as one, once the last of them has ended."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        examples=["plate-7"],
        description="What it is called in the event: its subject.",
    )
    run_ids: tuple[RunText, ...] = Field((), description="Runs that belong to it: ids, scope:id, or ARNs.")
    run_group_ids: tuple[Annotated[str, Field(pattern=r"^\d{1,18}$")], ...] = Field(
        (), description="Runs of these run groups belong to it."
    )
    run_name: str | None = Field(None, min_length=1, description="Runs whose name fits this glob belong to it.")
    tags: dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]] = Field(
        {}, description="Runs that have all these tags belong to it."
    )
    expected: int | None = Field(None, ge=1, description="How many runs it has; without it, see quiet.")
    quiet: Duration = Field(
        timedelta(minutes=10),
        description="In place of expected: finished once all its runs have ended and no other came for so long.",
    )


class PollingSettings(Table):
    """`[polling]`: how often to ask, and when to draw conclusions."""

    min_interval: Duration = Field(
        timedelta(seconds=5), description="Shortest wait between two looks at one run or list page."
    )
    max_interval: Duration = Field(timedelta(seconds=60), description="Longest wait, for runs long in one status.")
    max_calls_per_second: float = Field(
        5.0,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="Ceiling for each API operation; the rate that is learned stays below it.",
    )
    blind_after: Duration = Field(
        timedelta(minutes=5), description="Without one answer for so long, a scope is told to be blind."
    )
    vanish_deadline: Duration = Field(
        timedelta(seconds=30), description="From the first not-found to the verdict that a run vanished."
    )
    discover_ended: Duration = Field(
        timedelta(minutes=15), description="How often discovery reads the lists of ended runs; 0 = off."
    )


class StoreSettings(Table):
    """`[store]`: the record of what was seen and what is owed."""

    url: StoreUrl = Field(
        "sqlite:///omics-poller.db", description="Where the record is; a relative path is relative to this file."
    )
    retention: Duration = Field(
        timedelta(days=30), description="How long delivered events and ended runs are kept; what is owed always is."
    )


class HttpSettings(Table):
    """`[http]`: health and API of the daemon."""

    listen: Listen = Field(
        "127.0.0.1:8780", description='host:port of the HTTP server; "" = none, port 0 = any free one, logged.'
    )
    token: Annotated[Secret | None, BeforeValidator(_empty_is_none)] = Field(
        None, description="Bearer token that writing needs, and off loopback also reading."
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on; None if there is to be no server."""
        return address(self.listen)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.address is None:
            return True
        host = self.address[0]
        try:
            return ipaddress.ip_address(host.partition("%")[0]).is_loopback
        except ValueError:
            return host.lower() == "localhost"


class PrivacySettings(Table):
    """`[privacy]`: what of a run leaves the account."""

    omit: tuple[OmittableField, ...] = Field((), description="Fields that are null in everything that is sent.")
    include: tuple[PrivateField, ...] = Field(
        (), description="What is left out by default and is to be stored and sent all the same."
    )


class DiagnosisSettings(Table):
    """`[diagnosis]`: whether and how it is found out why a run failed."""

    enabled: bool = Field(True, description="After a run has failed, ask for its failed tasks and tell why it did.")
    log_lines: int = Field(
        0,
        ge=0,
        le=MOST_LOG_LINES,
        description="Last lines of the failed task's log to tell, secrets and names masked; 0 = none.",
    )
    show_names: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (), description="Globs of names that may stand in those lines; all others are masked."
    )


class LogSettings(Table):
    """`[log]`: what the daemon says of its work, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="Least level that is written: debug, info, warning, error."
    )
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = Field(
        "auto", description="console for people, json for programs; auto: console on a terminal, else json."
    )


class DaemonSettings(Table):
    """`[daemon]`: the process itself."""

    instance: str = Field(
        default_factory=_host_name,
        pattern=r"^[A-Za-z0-9._~-]{1,253}$",
        description="Name of this daemon in the events it sends about itself; without it the host name.",
    )
    shutdown_grace: Duration = Field(
        timedelta(seconds=5), description="Longest time that a stop may take: last answers, then last deliveries."
    )
    heartbeat: Duration = Field(
        timedelta(0),
        description="A healthomics.poller.heartbeat event every so often, for sinks that name heartbeat; 0 = off.",
    )


class Settings(Table):
    """The whole configuration.

    `load_settings` and `settings_from` also hold it against the rules of `checks.py`; who builds one by hand does not.
    """

    aws: Annotated[tuple[AwsSettings, ...], BeforeValidator(_one_or_many)] = Field(
        (AwsSettings(),), description="The accounts and regions to ask."
    )
    watch: Annotated[tuple[WatchSettings, ...], BeforeValidator(_one_or_many)] = Field(
        (WatchSettings(),), description="Which runs to follow."
    )
    polling: PollingSettings = Field(PollingSettings(), description="How often to ask, and when to conclude.")
    store: StoreSettings = Field(StoreSettings(), description="The record of what was seen and what is owed.")
    http: HttpSettings = Field(HttpSettings(), description="Health and API of the daemon.")
    privacy: PrivacySettings = Field(PrivacySettings(), description="What of a run leaves the account.")
    diagnosis: DiagnosisSettings = Field(DiagnosisSettings(), description="Why runs failed.")
    log: LogSettings = Field(LogSettings(), description="What the daemon says of its work.")
    daemon: DaemonSettings = Field(default_factory=DaemonSettings, description="The process itself.")
    cohort: Annotated[tuple[CohortSettings, ...], BeforeValidator(_some)] = Field(
        (), description="Runs that are told of as one."
    )
    sinks: tuple[AnySink, ...] = Field((), description="Where events go.")


MANY: Final = frozenset({"aws", "watch", "cohort", "sinks"})
"""The tables that may be written more than once, as [[…]]."""
LISTED: Final = frozenset({"cohort", "sinks"})
"""Those of them of which there is none by itself."""
