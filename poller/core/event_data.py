"""What an event says, field by field: the `data` of each kind of event, and the record around it.

The JSON Schema of what is sent is made of these; where the values come from is in `core.drafts`. In words:
docs/events.md. Source: CloudEvents 1.0.2.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from poller.core.diagnosis_data import DiagnosisData
from poller.core.runs import Json

_ADDED_FIELDS: Final = frozenset(
    {"evidence", "recovered_from", "replaced_by", "reappeared", "overdue", "cohorts", "diagnosis", "redacted"}
)
"""Members of `data` that are there only where they say something; all others are null, never missing."""


def _never_missing(schema: dict[str, Json]) -> None:
    """The JSON Schema of what is sent: defaults are for those who build a record, not for those who read one."""
    optional = _ADDED_FIELDS | {"sequence"}
    schema["required"] = [name for name in schema["properties"] if name not in optional]
    for member in schema["properties"].values():
        member.pop("default", None)


class PendingReason(BaseModel):
    """What is known of the group of a run that waits. Facts: why it waits the service does not say."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    run_group_id: str = Field(description="The run group that the run is in.")
    max_runs: int | None = Field(description="How many runs of it may be active at once; null: no limit, or unknown.")
    max_cpus: int | None = Field(description="How many CPUs they may use at once.")
    max_gpus: int | None = Field(description="How many GPUs they may use at once.")
    max_duration_minutes: int | None = Field(description="How long each of them may run.")
    active_runs_seen: int = Field(description="Followed runs of it seen in STARTING, RUNNING or STOPPING.")
    seen_at: datetime = Field(description="When these figures were read.")
    limits_unknown: str | None = Field(description="Why the limits are not known; null where they are.")


class OverdueData(BaseModel):
    """The figures of `healthomics.run.overdue`. What is unknown is null."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    status: str = Field(description="The status that the run stays in.")
    since: datetime = Field(description="Since when it is there, as well as is known.")
    since_source: Literal["creationTime", "startTime", "observed_at"]
    seconds: float = Field(description="How long it has been there, at least: until it was asked about last.")
    limit_seconds: float = Field(description="How long it may be there.")
    basis: Literal["deadline", "usual"] = Field(description="Which limit it is past: the shorter one.")
    usual_seconds: float | None = Field(description="How long runs of its workflow usually are in this status.")
    known_runs: int | None = Field(description="Of how many runs that is the median.")
    factor: float | None = Field(description="How many times that is too long; null where nobody asked for it.")
    pending_reason: PendingReason | None = Field(description="What is known of its group, for a run in PENDING.")


class RunData(BaseModel):
    """`data` of `healthomics.run.*`: what happened to the run, when, and the run itself. What is unknown is null."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    run_id: str = Field(description="The run's id; ids are reused, see run_uuid.")
    run_arn: str | None = Field(description="The run's ARN, once the account is known.")
    run_uuid: str | None = Field(description="The identity of this incarnation of the run.")
    name: str | None = None
    previous_status: str | None = Field(description="The status told before; null at the first observation.")
    status: str | None = Field(description="The status now; null where nobody knows it.")
    skipped_statuses: list[str] = Field(description="Statuses between the two, whether or not the run passed them.")
    terminal: bool = Field(description="True for completed, failed, cancelled and deleted.")
    first_observation: bool = Field(description="True if this run was never seen before.")
    occurred_at: datetime = Field(description="When it happened: the service's stamp, else observed_at.")
    occurred_at_source: Literal["creationTime", "startTime", "stopTime", "observed_at"]
    observed_at: datetime = Field(description="When the answer came that showed it.")
    not_before: datetime | None = Field(description="When the request was sent that last showed the previous status.")
    status_message: str | None = None
    failure_reason: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    workflow_version_name: str | None = None
    run_group_id: str | None = None
    batch_id: str | None = None
    output_uri: str | None = None
    run_output_uri: str | None = None
    engine_log_stream: str | None = None
    run_log_stream: str | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    stop_time: datetime | None = None
    duration_seconds: float | None = Field(None, description="From startTime to stopTime.")
    region: str
    account_id: str | None = None
    tags: dict[str, str] | None = None
    console_url: str | None = Field(description="The run in the AWS console; null only where it is redacted.")
    evidence: list[str] | None = Field(None, description="What was asked, where no GetRun showed it by itself.")
    recovered_from: str | None = Field(None, description="Where an end was read that GetRun could not show any more.")
    replaced_by: str | None = Field(None, description="The uuid of the incarnation that has taken this one's id.")
    reappeared: bool | None = Field(None, description="True where the run had been given up before.")
    overdue: OverdueData | None = Field(None, description="For how long it is where it is, and how long it may be.")
    cohorts: list[str] | None = Field(None, description="The [[cohort]] tables that the run fits, by name.")
    diagnosis: DiagnosisData | None = Field(None, description="Why it failed, as far as could be found out.")
    redacted: list[str] | None = Field(None, description="Fields that are null because they were left out.")


class PollerData(BaseModel):
    """`data` of `healthomics.poller.*`: what the poller says of itself. What is unknown is null."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    instance: str = Field(description="The daemon that says it.")
    subject: str | None = Field(description="The scope or sink that it is about.")
    cause: str | None = Field(
        description="Of a scope why, in one word: no_answer, credentials, denied, wrong_account; of a sink null."
    )
    detail: str | None = Field(description="The last error, in the words of the service or of the far end.")
    since: datetime = Field(description="When the episode began.")
    observed_at: datetime = Field(description="When it was noticed.")
    last_success_at: datetime | None = Field(
        description="The last look that succeeded; of a sink the last acknowledgement since the daemon started."
    )
    duration_seconds: float | None = Field(None, description="How long it lasted, at its end.")


class BatchData(BaseModel):
    """`data` of `healthomics.batch.*`: what happened to a batch of runs, and the batch. What is unknown is null."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    batch_id: str = Field(description="The batch's id.")
    batch_arn: str | None = None
    batch_uuid: str | None = Field(description="The identity of this batch.")
    name: str | None = None
    previous_status: str | None = Field(description="The status told before; null at the first observation.")
    status: str = Field(description="The status now.")
    skipped_statuses: list[str] = Field(description="Statuses of the ordinary course between the two.")
    terminal: bool = Field(description="True for processed, cancelled and failed, and for what follows them.")
    first_observation: bool = Field(description="True if this batch was never seen before.")
    occurred_at: datetime = Field(description="When it happened: the service's stamp, else observed_at.")
    occurred_at_source: Literal["creationTime", "submittedTime", "processedTime", "failedTime", "observed_at"]
    observed_at: datetime = Field(description="When the answer came that showed it.")
    not_before: datetime | None = Field(description="When the request was sent that last showed the previous status.")
    failure_reason: str | None = None
    total_runs: int | None = None
    run_counts: dict[str, int] = Field(description="Runs by status, as the service counts them; it may be behind.")
    submission_counts: dict[str, int] = Field(description="Submissions by how they went.")
    creation_time: datetime | None = None
    submitted_time: datetime | None = None
    processed_time: datetime | None = None
    failed_time: datetime | None = None
    region: str
    account_id: str | None = None
    tags: dict[str, str] | None = None
    redacted: list[str] | None = Field(None, description="Fields that are null because they were left out.")


class NotCompleted(BaseModel):
    """A run of a cohort that did not complete."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    run_id: str
    run_arn: str | None = None
    run_uuid: str | None = None
    name: str | None = None
    end: str = Field(description="failed, cancelled, deleted, vanished, unreachable or replaced.")
    failure_reason: str | None = None


class CohortData(BaseModel):
    """`data` of `healthomics.cohort.finished`: how the runs of a cohort ended. What is unknown is null."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_never_missing)

    cohort: str = Field(description="Its name in the configuration, or the batch's id.")
    batch_id: str | None = Field(description="The batch that it is; null for a [[cohort]].")
    batch_arn: str | None = None
    total_runs: int = Field(description="How many runs it had.")
    counts: dict[str, int] = Field(description="Its runs by how they ended.")
    all_completed: bool = Field(description="Whether every one of them completed.")
    not_completed: list[NotCompleted] = Field(description="Those that did not, the first hundred by id.")
    not_completed_runs: int = Field(description="How many did not.")
    first_at: datetime = Field(description="When the first of them was first told to be somewhere.")
    occurred_at: datetime = Field(description="When the last of them ended.")
    observed_at: datetime = Field(description="When it was clear that it was the last one.")
    redacted: list[str] | None = Field(None, description="Fields that are null because they were left out.")


class CloudEvent(BaseModel):
    """A CloudEvents 1.0 record in JSON structured mode (application/cloudevents+json)."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_never_missing)

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(description="UUIDv5 of what happened: the same whenever, and by whomever, it is told.")
    source: str = Field(description="The run's ARN, or healthomics-poller/<instance>.")
    type: str = Field(description="healthomics.run.<status>, healthomics.poller.blind, …")
    subject: str = Field(description="The run id, or the scope or sink.")
    time: datetime = Field(description="When it happened.")
    datacontenttype: Literal["application/json"] = "application/json"
    sequence: Annotated[str, Field(pattern=r"^[0-9]{10,}$")] | SkipJsonSchema[None] = Field(
        None, description="Place among the events of this incarnation, from 0000000001; missing where it has none."
    )
    data: RunData | BatchData | CohortData | PollerData
