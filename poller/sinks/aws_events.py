"""An event as AWS itself puts it on the default bus of EventBridge, so that who reads those can read ours.

Sources: HealthOmics user guide, "eventbridge" (Run Status Change) and "workflows-batch" (RunBatch Status Change);
EventBridge user guide, "aws-events" (the envelope). AWS says less than we do: no times, no tags, no failure reason.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from poller.core.batches import BATCH_TYPES
from poller.core.events import STATUS_TYPES, Event
from poller.core.runs import Json

AWS_SOURCE: Final = "aws.omics"
OUR_SOURCE: Final = "healthomics-poller"
"""Of what AWS has no event for; and of all that goes through PutEvents, where AWS keeps aws.* to itself."""
SCHEMA_VERSION: Final = "1.0.0"
UNTOLD_BATCHES: Final = frozenset({"healthomics.batch.runs_delete_failed"})
"""Statuses of batches that AWS names none of its events for."""
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]+")


class Detail(NamedTuple):
    """The part of an EventBridge event that differs from one type to another."""

    source: str
    detail_type: str
    detail: Mapping[str, Json]


def detail_of(event: Event) -> Detail:
    """AWS's own event where it has one; else ours under our own name: its type, and its `data` as the detail.

    What is not known, or left out, is not there: AWS's older events have nothing but arn and status either.
    """
    if event.type in STATUS_TYPES:
        return Detail(AWS_SOURCE, "Run Status Change", _known(_run_detail(event)))
    if event.type in BATCH_TYPES and event.type not in UNTOLD_BATCHES:
        return Detail(AWS_SOURCE, "RunBatch Status Change", _known(_batch_detail(event)))
    return Detail(OUR_SOURCE, event.type, event.data)


def aws_event(event: Event) -> dict[str, Json]:
    """The whole JSON: envelope and detail. The id is the event's own, so that what is sent twice has it twice."""
    found = detail_of(event)
    return {
        "version": "0",
        "id": event.id,
        "detail-type": found.detail_type,
        "source": found.source,
        "account": event.data.get("account_id") or "",
        "time": event.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": event.data.get("region") or "",
        "resources": [event.source] if event.source.startswith("arn:") else [],
        "detail": found.detail,
    }


def _run_detail(event: Event) -> dict[str, Json]:
    data = event.data
    return {
        "omicsVersion": SCHEMA_VERSION,
        "arn": event.source,
        "status": data.get("status"),
        "uuid": data.get("run_uuid"),
        "runId": data.get("run_id"),
        "runName": data.get("name"),
        "runOutputUri": data.get("run_output_uri"),
        "workflowId": data.get("workflow_id"),
        "workflowName": data.get("workflow_name"),
    }


def _batch_detail(event: Event) -> dict[str, Json]:
    """Numbers are texts, as AWS has them. Why a batch failed is a code there, and GetBatch says it in a sentence."""
    data = event.data
    reason = data.get("failure_reason")
    is_code = reason is not None and bool(_CODE.fullmatch(reason))
    submissions = data.get("submission_counts") or {}
    starts = {name: submissions[name] for name in sorted(submissions) if name.endswith("StartSubmissionCount")}
    runs = {f"{status.lower()}RunCount": count for status, count in (data.get("run_counts") or {}).items()}
    total = data.get("total_runs")
    return {
        "omicsVersion": SCHEMA_VERSION,
        "arn": event.source,
        "batchId": data.get("batch_id"),
        "status": data.get("status"),
        "uuid": data.get("batch_uuid"),
        "batchName": data.get("name"),
        "totalRuns": None if total is None else str(total),
        "failureReason": reason if is_code else None,
        "failureMessage": None if is_code else reason,
        **{name: str(count) for name, count in {**starts, **runs}.items()},
    }


def _known(detail: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in detail.items() if value is not None}
