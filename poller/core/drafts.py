"""The draft: what is to be told of a run, of a batch or of the poller itself, before the record has numbered it.

`event_of` turns a transition into one, `batch_event` that of a batch; `poller_event` is for what is no transition.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from poller.core.batches import BATCH_ENDS, BatchTransition
from poller.core.cohorts import MOST_NAMED, Cohort, Finished, names_of
from poller.core.event_data import PollerData
from poller.core.events import COHORT_FINISHED, POLLER_PREFIX, RUN_PREFIX, PollerKind, bytes_of, event_id, stamp
from poller.core.runs import GroupFacts, GroupLimits, Json, Overdue, incarnation_of
from poller.core.transitions import Transition


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
        return bytes_of(body)


def event_of(
    transition: Transition,
    place: Place,
    stored: Mapping[str, Json],
    *,
    include: Sequence[str] = (),
    cohorts: Sequence[Cohort] = (),
    workflow_names: Mapping[str, Json] = MappingProxyType({}),
) -> Draft:
    """The draft that tells a transition.

    Args: `stored` are the fields of the run's last GetRun answer, by the service's names, for what the snapshot at
    hand (a list item, or none) does not show. `include` names the private fields that the operator chose to send;
    `cohorts` are those of which the event says whether the run fits them; `workflow_names` are by workflow id, for what
    GetRun does not show.
    """
    shown = transition.snapshot
    fields = {**stored, **(shown.fields if shown is not None else {})}
    if (workflow_name := workflow_names.get(str(fields.get("workflowId")))) is not None:
        fields.setdefault("workflowName", workflow_name)
    source = place.source_of(transition.run_id)
    event_type = RUN_PREFIX + transition.kind
    data = _run_data(transition, place, fields)
    if names := names_of(cohorts, data, place.scope):
        data["cohorts"] = names
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


def cohort_event(finished: Finished) -> Draft:
    """The draft that tells that a cohort has finished; the same whoever tells it of the same runs."""
    cohort = finished.cohort
    source = finished.source or f"urn:healthomics:cohort/{cohort.name}"
    completed = finished.counts.get("completed", 0)
    total = sum(finished.counts.values())
    data: dict[str, Json] = {
        "cohort": cohort.name,
        "batch_id": cohort.batch_id,
        "batch_arn": finished.source if (finished.source or "").startswith("arn:") else None,
        "total_runs": total,
        "counts": {name: finished.counts[name] for name in sorted(finished.counts)},
        "all_completed": completed == total,
        "not_completed": [
            {
                "run_id": one.run_id,
                "run_arn": one.source if one.source.startswith("arn:") else None,
                "run_uuid": one.run_uuid,
                "name": one.name,
                "end": one.state,
                "failure_reason": one.failure_reason,
            }
            for one in finished.others[:MOST_NAMED]
        ],
        "not_completed_runs": total - completed,
        "first_at": stamp(finished.first_at),
        "occurred_at": stamp(finished.last_at),
        "observed_at": stamp(finished.observed_at),
    }
    key = cohort.key if cohort.batch_id is None else ""  # a batch is known by its ARN and uuid to everybody
    identity = event_id(source, finished.incarnation, COHORT_FINISHED, key)
    return Draft(identity, source, COHORT_FINISHED, cohort.batch_id or cohort.name, finished.last_at, data)


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


def _jsonable(value: Any) -> Json:
    return stamp(value) if isinstance(value, datetime) else value
