"""The event: what is told of a run, as a CloudEvents 1.0 record, and the identity that makes it one thing for ever.

A `Draft` is an event before the record has numbered it; an `Event` is one as it was recorded, with the bytes that are
sent. `event_of` turns a transition into a draft. Sources: CloudEvents 1.0.2, GetRun, docs/events.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from poller.core.batches import BATCH_ENDS, BATCH_TYPES, BatchTransition
from poller.core.machine import Transition
from poller.core.runs import GroupFacts, GroupLimits, Json, Overdue, incarnation_of

NAMESPACE: Final = UUID("5d6a1f5e-6b0b-5c1b-9a55-0f6d1c8b7e42")
"""Of all event ids; never to be changed: receivers deduplicate by them."""

RUN_PREFIX: Final = "healthomics.run."
POLLER_PREFIX: Final = "healthomics.poller."
STATUS_TYPES: Final = tuple(
    RUN_PREFIX + word
    for word in ("pending", "starting", "running", "stopping", "completed", "failed", "cancelled", "deleted")
)
RUN_TYPES: Final = (
    *STATUS_TYPES,
    *(
        RUN_PREFIX + word
        for word in ("vanished", "unreachable", "replaced", "contradicted", "unknown_status", "overdue")
    ),
)
PollerKind = Literal["blind", "recovered", "sink_failing", "sink_recovered", "heartbeat"]
POLLER_KINDS: Final[tuple[PollerKind, ...]] = get_args(PollerKind)
POLLER_TYPES: Final = tuple(POLLER_PREFIX + kind for kind in POLLER_KINDS)
EVENT_TYPES: Final = (*RUN_TYPES, *BATCH_TYPES, *POLLER_TYPES)
"""Every type of event that is told."""
PRIVATE_FIELDS: Final = ("parameters", "definition", "engineSettings", "sessionPolicy")
"""GetRun members that are neither stored nor sent unless `[privacy] include` names them."""


_ADDED_FIELDS: Final = frozenset({"evidence", "recovered_from", "replaced_by", "reappeared", "overdue", "redacted"})
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
    data: RunData | BatchData | PollerData


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run lives: what its ARN, links and events say beside its id."""

    scope: str
    region: str
    account_id: str | None
    partition: str = "aws"

    def source_of(self, run_id: str) -> str:
        """The `source` of a run's events: its ARN, or a URN while the account is unknown."""
        if self.account_id is None:
            return f"urn:healthomics:{self.region}:run/{run_id}"
        return f"arn:{self.partition}:omics:{self.region}:{self.account_id}:run/{run_id}"

    def source_of_batch(self, batch_id: str) -> str:
        """The `source` of a batch's events: its ARN, or a URN while the account is unknown."""
        return self.source_of("").removesuffix("run/") + f"runBatch/{batch_id}"


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before the record has numbered it.

    `data` holds JSON values only. `incarnation` is None for what is not about a run: such an event gets no sequence.
    Order is kept among the events of one `source`: a run over all its incarnations.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Json]
    incarnation: str | None = None
    run_id: str | None = None

    def to_json(self, sequence: int | None) -> bytes:
        """The bytes that are stored and sent: compact UTF-8 JSON, keys in the order of the contract."""
        body: dict[str, Json] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": stamp(self.time),
            "datacontenttype": "application/json",
        }
        if sequence is not None:
            body["sequence"] = f"{sequence:010d}"
        body["data"] = self.data
        return _bytes_of(body)


class Event:
    """An event as it was recorded. Its bytes are its identity: everything else is read from them.

    Args: `body` as stored; `position` in the record (0: not recorded, a sample); `recorded_at` aware UTC; `id` where it
    is known without reading the body; `replay` is the id of the replay that sends it again, and no part of the body.
    """

    def __init__(
        self,
        body: bytes,
        *,
        position: int = 0,
        recorded_at: datetime | None = None,
        id: str | None = None,
        replay: str | None = None,
    ) -> None:
        self.body = body
        self.replay = replay
        self._id = id
        self.position = position
        self.recorded_at = recorded_at

    @cached_property
    def attributes(self) -> dict[str, Json]:
        """The whole record as JSON values."""
        parsed: dict[str, Json] = json.loads(self.body)
        return parsed

    @property
    def id(self) -> str:
        return self._id if self._id is not None else str(self.attributes["id"])

    @property
    def source(self) -> str:
        return str(self.attributes["source"])

    @property
    def type(self) -> str:
        return str(self.attributes["type"])

    @property
    def subject(self) -> str:
        return str(self.attributes["subject"])

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(str(self.attributes["time"]))

    @property
    def sequence(self) -> int | None:
        """Place among the events of this incarnation, from 1; None for events that are not about a run."""
        number = self.attributes.get("sequence")
        return None if number is None else int(number)

    @property
    def data(self) -> dict[str, Json]:
        data: dict[str, Json] = self.attributes["data"]
        return data

    @property
    def kind(self) -> str:
        """The type without its prefix: "failed", "blind", "batch.failed"."""
        return short_type(self.type)

    @property
    def run_id(self) -> str | None:
        run_id: str | None = self.data.get("run_id")
        return run_id

    @property
    def status(self) -> str | None:
        status: str | None = self.data.get("status")
        return status

    @property
    def terminal(self) -> bool:
        return bool(self.data.get("terminal"))

    def to_json(self) -> str:
        """The stored bytes as text: what every sink sends unless a format of its own says otherwise."""
        return self.body.decode()

    def without(self, omitted: Sequence[str]) -> "Event":
        """The event with fields of `data` set to null and named in `data.redacted`; itself if none of them is there."""
        present = [name for name in omitted if name in self.data]
        if not present:
            return self
        redacted = sorted({*self.data.get("redacted", ()), *present})
        data = {**self.data, **dict.fromkeys(present), "redacted": redacted}
        body = _bytes_of({**self.attributes, "data": data})
        return Event(body, position=self.position, recorded_at=self.recorded_at, replay=self.replay)

    def __repr__(self) -> str:
        return f"<Event {self.kind} {self.subject} {self.id}>"


def event_id(source: str, incarnation: str, event_type: str, key: str) -> str:
    """The UUIDv5 of what happened: of the JSON array [source, incarnation, type, key]."""
    return str(uuid5(NAMESPACE, _bytes_of([source, incarnation, event_type, key]).decode()))


def short_type(event_type: str) -> str:
    """How configuration and people name an event type: without the prefix of runs and of the poller."""
    for prefix in (RUN_PREFIX, POLLER_PREFIX, "healthomics."):
        if event_type.startswith(prefix):
            return event_type.removeprefix(prefix)
    return event_type


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with a Z; a fraction only where there is one, in milliseconds or microseconds."""
    moment = moment.astimezone(UTC)
    precision = "seconds" if not moment.microsecond else "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def event_of(transition: Transition, place: Place, stored: Mapping[str, Json], *, include: Sequence[str] = ()) -> Draft:
    """The draft that tells a transition.

    Args: `stored` are the fields of the run's last GetRun answer, by the service's names, for what the snapshot at
    hand (a list item, or none) does not show. `include` names the private fields that the operator chose to send.
    """
    shown = transition.snapshot
    fields = {**stored, **(shown.fields if shown is not None else {})}
    source = place.source_of(transition.run_id)
    event_type = RUN_PREFIX + transition.kind
    data = _run_data(transition, place, fields)
    for name in include:
        data[name] = fields.get(name)
    return Draft(
        id=event_id(source, transition.incarnation, event_type, transition.key),
        source=source,
        type=event_type,
        subject=transition.run_id,
        time=transition.occurred_at,
        data=data,
        incarnation=transition.incarnation,
        run_id=transition.run_id,
    )


def batch_event(transition: BatchTransition, place: Place) -> Draft:
    """The draft that tells a transition of a batch. Its incarnation is the batch's uuid; it has numbers of its own."""
    seen = transition.snapshot
    source = place.source_of_batch(seen.batch_id)
    event_type = f"healthomics.batch.{seen.status.lower()}"
    incarnation = seen.uuid or incarnation_of(None, seen.creation_time)
    data: dict[str, Json] = {
        "batch_id": seen.batch_id,
        "batch_arn": source if place.account_id is not None else None,
        "batch_uuid": seen.uuid,
        "name": seen.fields.get("name"),
        "previous_status": transition.previous_status,
        "status": seen.status,
        "skipped_statuses": list(transition.skipped),
        "terminal": seen.status in BATCH_ENDS or seen.status.startswith("RUNS_"),
        "first_observation": transition.previous_status is None,
        "occurred_at": stamp(transition.occurred_at),
        "occurred_at_source": transition.occurred_at_source,
        "observed_at": stamp(seen.answered_at),
        "not_before": _jsonable(transition.not_before),
        "failure_reason": seen.fields.get("failureReason"),
        "total_runs": seen.fields.get("totalRuns"),
        "run_counts": dict(seen.counts),
        "submission_counts": seen.fields.get("submissionSummary") or {},
        "creation_time": _jsonable(seen.creation_time),
        "submitted_time": _jsonable(seen.submitted_time),
        "processed_time": _jsonable(seen.processed_time),
        "failed_time": _jsonable(seen.failed_time),
        "region": place.region,
        "account_id": place.account_id,
        "tags": seen.fields.get("tags"),
    }
    return Draft(
        id=event_id(source, incarnation, event_type, seen.status),
        source=source,
        type=event_type,
        subject=seen.batch_id,
        time=transition.occurred_at,
        data=data,
        incarnation=incarnation,
    )


def poller_event(kind: PollerKind, data: PollerData) -> Draft:
    """The draft of something that the poller says of itself; its id is unique within one record only."""
    source = f"healthomics-poller/{data.instance}"
    event_type = POLLER_PREFIX + kind
    subject = data.subject or data.instance
    episode = json.dumps([data.instance, subject, stamp(data.since)], separators=(",", ":"), ensure_ascii=False)
    values = {name: _jsonable(value) for name, value in data.model_dump().items()}
    return Draft(event_id(source, "", event_type, episode), source, event_type, subject, data.observed_at, values)


def _run_data(transition: Transition, place: Place, fields: Mapping[str, Json]) -> dict[str, Json]:
    shown = transition.snapshot
    start, stop = _times_then(transition, fields)
    located = fields.get("logLocation")
    logs = located if isinstance(located, Mapping) else {}
    identified = place.account_id is not None
    seconds = (stop - start).total_seconds() if start is not None and stop is not None else None
    data: dict[str, Json] = {
        "run_id": transition.run_id,
        "run_arn": place.source_of(transition.run_id) if identified else None,
        "run_uuid": transition.uuid,
        "name": fields.get("name"),
        "previous_status": transition.previous_status,
        "status": transition.status,
        "skipped_statuses": list(transition.skipped),
        "terminal": transition.terminal,
        "first_observation": transition.first,
        "occurred_at": stamp(transition.occurred_at),
        "occurred_at_source": transition.occurred_at_source,
        "observed_at": stamp(transition.observed_at),
        "not_before": _jsonable(transition.not_before),
        "status_message": shown.fields.get("statusMessage") if shown is not None else None,
        "failure_reason": shown.fields.get("failureReason") if shown is not None else None,
        "workflow_id": fields.get("workflowId"),
        "workflow_name": fields.get("workflowName"),
        "workflow_version_name": fields.get("workflowVersionName"),
        "run_group_id": fields.get("runGroupId"),
        "batch_id": fields.get("batchId"),
        "output_uri": fields.get("outputUri"),
        "run_output_uri": fields.get("runOutputUri"),
        "engine_log_stream": logs.get("engineLogStream"),
        "run_log_stream": logs.get("runLogStream"),
        "creation_time": fields.get("creationTime") or _jsonable(shown.creation_time if shown is not None else None),
        "start_time": _jsonable(start),
        "stop_time": _jsonable(stop),
        "duration_seconds": seconds,
        "region": place.region,
        "account_id": place.account_id,
        "tags": fields.get("tags"),
        "console_url": console_url(place.region, transition.run_id),
    }
    extras: dict[str, Json] = {
        "evidence": list(transition.evidence) or None,
        "recovered_from": transition.recovered_from,
        "replaced_by": transition.replaced_by,
        "reappeared": transition.reappeared or None,
        "overdue": _overdue_data(transition.overdue) if transition.overdue is not None else None,
    }
    return data | {name: value for name, value in extras.items() if value is not None}


def _overdue_data(overdue: Overdue) -> dict[str, Json]:
    return {
        "status": overdue.status,
        "since": stamp(overdue.since),
        "since_source": overdue.since_source,
        "seconds": overdue.seconds,
        "limit_seconds": overdue.limit_seconds,
        "basis": overdue.basis,
        "usual_seconds": overdue.usual_seconds,
        "known_runs": overdue.known_runs,
        "factor": overdue.factor,
        "pending_reason": _pending_reason(overdue.group) if overdue.group is not None else None,
    }


def _pending_reason(group: GroupFacts) -> dict[str, Json]:
    limits = group.limits or GroupLimits()
    return {
        "run_group_id": group.group_id,
        "max_runs": limits.max_runs,
        "max_cpus": limits.max_cpus,
        "max_gpus": limits.max_gpus,
        "max_duration_minutes": limits.max_duration,
        "active_runs_seen": group.active_seen,
        "seen_at": stamp(group.seen_at),
        "limits_unknown": group.unknown_because,
    }


def _times_then(transition: Transition, fields: Mapping[str, Json]) -> tuple[datetime | None, datetime | None]:
    """startTime and stopTime as the service had said them by then: none of a run that had not begun."""
    shown = transition.snapshot
    start = shown.start_time if shown is not None else None
    stored = fields.get("startTime")
    if start is None and stored and transition.status not in ("PENDING", "STARTING"):
        start = datetime.fromisoformat(stored)
    return start, shown.stop_time if shown is not None else None


def console_url(region: str, run_id: str) -> str:
    """The run in the AWS console."""
    return f"https://{region}.console.aws.amazon.com/omics/home?region={region}#/runs/{run_id}"


def _bytes_of(value: Json) -> bytes:
    """Compact UTF-8 JSON. Half a surrogate pair, which JSON can spell and UTF-8 cannot, becomes a question mark."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _jsonable(value: Any) -> Json:
    return stamp(value) if isinstance(value, datetime) else value
