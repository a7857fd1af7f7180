"""A sample of every type of event, made as the real ones are: by the state machine, from answers that might be real.

For `omics-poller send-test`, for tests, and for those who write a sink. Nothing here is kept by hand in parallel to the
event: each sample is the end of a short life that is observed look by look.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid5

from poller.core.batches import (
    BATCH_ENDS,
    BATCH_RANK,
    BATCH_TYPES,
    BatchSnapshot,
    BatchTransition,
    KnownBatch,
    observe_batch,
)
from poller.core.cohorts import Cohort, Ended, Finished
from poller.core.diagnosis import DIAGNOSED, Findings, LogExcerpt, RunTask, diagnosed
from poller.core.drafts import Place, batch_event, cohort_event, event_of, poller_event
from poller.core.endings import refuse, vanish
from poller.core.event_data import BatchData, CohortData, PollerData, RunData
from poller.core.events import (
    COHORT_FINISHED,
    EVENT_TYPES,
    NAMESPACE,
    POLLER_KINDS,
    RUN_PREFIX,
    RUN_TYPES,
    Event,
    short_type,
    stamp,
)
from poller.core.machine import observe
from poller.core.overdue import Limit, tell_overdue
from poller.core.runs import Json, KnownRun, Snapshot
from poller.core.statuses import ENDS, RANK
from poller.core.transitions import Observed, Transition

SAMPLE_TYPES: Final = EVENT_TYPES
"""All types of event that there are a sample of."""
SAMPLE_TIME: Final = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
SAMPLE_PLACE: Final = Place("sample", "us-east-1", "123456789012")

_STREAM: Final = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/omics/WorkflowLog:log-stream:run"
_LATENCY: Final = timedelta(milliseconds=120)
_RUNTIME: Final = timedelta(minutes=90)
_LOOKED_INTO: Final = timedelta(seconds=8)
_LIMIT: Final = Limit(timedelta(minutes=90), "usual", usual_seconds=1800.0, known_runs=12)


def sample_event(
    kind: str = "failed",
    *,
    run_id: str = "1234567",
    at: datetime = SAMPLE_TIME,
    position: int = 0,
    **overrides: Json,
) -> Event:
    """A sample event.

    Args: `kind` is a type, whole or short ("failed", "blind"); `at`, aware UTC, is when the run ends, or what befalls
    it happens, its first steps lie 95 minutes before; `overrides` are fields of its `data`. The same arguments give the
    same bytes; another run or time is another incarnation, and gives another id.
    Raises: ValueError for a type that does not exist; TypeError for an override that is no field of its data.
    """
    name = short_type(kind)
    ours = next((one for one in POLLER_KINDS if one == name), None)
    if ours is not None:
        data: dict[str, Any] = {**_poller_data(ours, at), **_fields_of(PollerData, overrides)}
        draft = poller_event(ours, PollerData(**data))
        return Event(draft.to_json(None), position=position, recorded_at=at)
    if (event_type := f"healthomics.{name}") in BATCH_TYPES:
        draft = batch_event(_batch_transition(event_type, at), SAMPLE_PLACE)
        draft = replace(draft, data={**draft.data, **_fields_of(BatchData, overrides)})
        return Event(draft.to_json(1), position=position, recorded_at=at)
    if event_type == COHORT_FINISHED:
        draft = cohort_event(_finished_cohort(run_id, at))
        draft = replace(draft, data={**draft.data, **_fields_of(CohortData, overrides)})
        return Event(draft.to_json(None), position=position, recorded_at=at)
    if RUN_PREFIX + name not in RUN_TYPES:
        names = ", ".join(short_type(known) for known in SAMPLE_TYPES)
        raise ValueError(f'there is no event "{kind}"; there are {names}')
    if RUN_PREFIX + name == DIAGNOSED:
        failed = sample_event("failed", run_id=run_id, at=at)
        draft = diagnosed(failed, str(failed.data["run_uuid"]), _findings(run_id, at), at + _LOOKED_INTO)
        draft = replace(draft, data={**draft.data, **_fields_of(RunData, overrides)})
        return Event(draft.to_json((failed.sequence or 0) + 1), position=position, recorded_at=at)
    told = _life(name, run_id, at)
    sequence, transition = next((place, one) for place, one in enumerate(told, 1) if one.kind == name)
    draft = event_of(transition, SAMPLE_PLACE, _fields(run_id, at))
    draft = replace(draft, data={**draft.data, **_fields_of(RunData, overrides)})
    return Event(draft.to_json(sequence), position=position, recorded_at=at)


def _life(kind: str, run_id: str, at: datetime) -> list[Transition]:
    """Everything that is told of one incarnation, up to a transition of this kind at this time."""
    look = _looks(run_id, at)
    passed = ["PENDING", "STARTING", "RUNNING"]
    last: list[Callable[[KnownRun], Observed]] = []
    status = kind.upper()
    if status in ENDS:
        last = [lambda known: observe(known, look(status))]
    elif status == "DELETED":
        last = [lambda known: observe(known, look(status)), lambda known: vanish(known, at, ("GetRun", "ListRuns"))]
    elif status in RANK:
        passed = [word for word in passed if RANK[word] < RANK[status]]
        last = [lambda known: observe(known, look(status))]
    elif kind == "vanished":
        last = [lambda known: vanish(known, at, ("GetRun", "GetRun", "ListRuns"))]
    elif kind == "unreachable":
        last = [lambda known: refuse(known, at, "ValidationException")]
    elif kind == "replaced":
        last = [lambda known: observe(known, _successor(look("PENDING"), at))]
    elif kind == "contradicted":
        last = [lambda known: observe(known, look("FAILED")), lambda known: observe(known, look("COMPLETED"))]
    elif kind == "overdue":
        seen = replace(look("RUNNING"), asked_at=at, answered_at=at + _LATENCY)
        last = [lambda known: tell_overdue(known, _LIMIT, seen, factor=3.0)]
    else:
        last = [lambda known: observe(known, look("PAUSED"))]  # unknown_status
    known, told = KnownRun(run_id), list[Transition]()
    for step in (*(_observing(look(word)) for word in passed), *last):
        known, transitions, _ = step(known)
        told += transitions
    return told


def _observing(snapshot: Snapshot) -> Callable[[KnownRun], Observed]:
    return lambda known: observe(known, snapshot)


def _looks(run_id: str, at: datetime) -> Callable[[str], Snapshot]:
    """GetRun's answers over a life in which the thing to tell happens at `at`."""
    created, started = at - _RUNTIME - timedelta(minutes=5), at - _RUNTIME

    def look(status: str) -> Snapshot:
        rank = RANK.get(status, RANK["STOPPING"])
        moment = {"PENDING": created, "STARTING": created + timedelta(minutes=3), "RUNNING": started}.get(status, at)
        answered_at = moment + timedelta(seconds=3)
        running, ended = rank >= RANK["RUNNING"], status in ENDS
        fields = {**_fields(run_id, at), "creationTime": stamp(created), "status": status}
        if running:
            fields["startTime"] = stamp(started)
        if ended:
            fields["stopTime"] = stamp(at)
        if status == "FAILED":
            fields |= {
                "statusMessage": "Run failed because task failed. Task name: ALIGN_READS, task id: 6657068",
                "failureReason": "RUN_TASK_FAILED",
            }
        return Snapshot(
            run_id=run_id,
            status=status,
            full=True,
            asked_at=answered_at - _LATENCY,
            answered_at=answered_at,
            uuid=fields["uuid"],
            creation_time=created,
            start_time=started if running else None,
            stop_time=at if ended else None,
            fields=fields,
        )

    return look


def _successor(look: Snapshot, at: datetime) -> Snapshot:
    """The first answer about another run under the same id."""
    uuid = str(uuid5(NAMESPACE, f"successor {look.run_id}"))
    fields = {**look.fields, "uuid": uuid, "creationTime": stamp(at)}
    return replace(look, uuid=uuid, fields=fields, creation_time=at, asked_at=at, answered_at=at + _LATENCY)


def _fields(run_id: str, at: datetime) -> Mapping[str, Json]:
    """What GetRun says of the run at any time."""
    uuid = str(uuid5(NAMESPACE, f"sample {run_id} {stamp(at)}"))
    return {
        "id": run_id,
        "arn": SAMPLE_PLACE.source_of(run_id),
        "uuid": uuid,
        "name": "sample-42",
        "workflowId": "7654321",
        "workflowName": "germline",
        "workflowVersionName": "1.4.2",
        "runGroupId": "2345678",
        "outputUri": "s3://example-results/runs/",
        "runOutputUri": f"s3://example-results/runs/{run_id}",
        "logLocation": {"engineLogStream": f"{_STREAM}/{run_id}/engine", "runLogStream": f"{_STREAM}/{run_id}"},
        "tags": {"project": "example", "event": "a sample, nothing has happened"},
    }


def _finished_cohort(run_id: str, at: datetime) -> Finished:
    """A cohort of 96 runs of which one failed."""
    return Finished(
        Cohort("plate-7", name_glob="plate-7-*", expected=96),
        counts={"completed": 95, "failed": 1},
        others=[Ended(run_id, SAMPLE_PLACE.source_of(run_id), None, "plate-7-h12", "failed", "RUN_TASK_FAILED")],
        first_at=at - timedelta(minutes=95),
        last_at=at,
        observed_at=at + _LATENCY,
    )


def _findings(run_id: str, at: datetime) -> Findings:
    """What ListRunTasks, GetRunTask and the log of a task that ran out of memory might say."""
    stream = f"{_STREAM}/{run_id}/task/6657068"
    task = RunTask(
        task_id="6657068",
        uuid=str(uuid5(NAMESPACE, "task 6657068")),
        name="ALIGN_READS",
        status="FAILED",
        failure_reason="OUT_OF_MEMORY_ERROR",
        status_message="The task ran out of memory.",
        creation_time=at - timedelta(minutes=30),
        start_time=at - timedelta(minutes=28),
        stop_time=at - timedelta(minutes=1),
        log_stream=stream,
        cpus=16,
        memory=32,
        gpus=0,
        instance_type="omics.c.4xlarge",
        image="123456789012.dkr.ecr.us-east-1.amazonaws.com/bwa:1",
    )
    lines = ("[M::mem_process_seqs] Processed 160000 reads", "Killed")
    evidence = ("ListRunTasks: 1 task failed", "GetRunTask: task 6657068", "GetLogEvents: 2 lines of task 6657068")
    return Findings((task,), 1, LogExcerpt("task", stream, lines), evidence)


def _batch_transition(event_type: str, at: datetime) -> BatchTransition:
    """A batch of 96 runs that enters the status of this type, seen in the one before."""
    statuses = list(BATCH_RANK)
    status = event_type.rpartition(".")[2].upper()
    created = at - _RUNTIME
    uuid = str(uuid5(NAMESPACE, f"batch {stamp(created)}"))
    summary = {"successfulStartSubmissionCount": 96, "failedStartSubmissionCount": 0, "pendingStartSubmissionCount": 0}
    fields: dict[str, Json] = {
        "name": "cohort-7",
        "totalRuns": 96,
        "submissionSummary": summary,
        "tags": {"project": "example", "event": "a sample, nothing has happened"},
    }

    def look(word: str, moment: datetime) -> BatchSnapshot:
        counts = {"COMPLETED": 94, "FAILED": 2} if word in BATCH_ENDS else {"RUNNING": 40, "PENDING": 56}
        ended = moment if word == "PROCESSED" else None
        asked_at = moment + timedelta(seconds=3) - _LATENCY
        return BatchSnapshot(
            batch_id="7123456",
            status=word,
            asked_at=asked_at,
            answered_at=asked_at + _LATENCY,
            uuid=uuid,
            creation_time=created,
            submitted_time=created if BATCH_RANK[word] >= BATCH_RANK["INPROGRESS"] else None,
            processed_time=ended,
            failed_time=moment if word == "FAILED" else None,
            counts=counts,
            submitted=96,
            fields=fields | ({"failureReason": "INTERNAL_ERROR"} if word == "FAILED" else {}),
        )

    known = KnownBatch("7123456")
    before = next((word for word in reversed(statuses) if BATCH_RANK[word] < BATCH_RANK[status]), None)
    if before is not None:
        known = observe_batch(known, look(before, at - timedelta(minutes=5))).known
    return observe_batch(known, look(status, at)).transitions[0]


def _poller_data(kind: str, at: datetime) -> dict[str, Any]:
    since, over = at - timedelta(minutes=5), kind.endswith("recovered")
    said: dict[str, str | None] = {
        "subject": "us-east-1",
        "cause": "credentials",
        "detail": "ExpiredTokenException: The security token included in the request is expired",
    }
    if kind.startswith("sink_"):
        said = {"subject": "sample", "cause": None, "detail": "lims.example.org: 503 Service Unavailable"}
    elif kind == "heartbeat":
        said = dict.fromkeys(said)
    return {
        "instance": "sample",
        **said,
        "since": since,
        "observed_at": at,
        "last_success_at": at if over else since,
        "duration_seconds": 300.0 if over else None,
    }


def _fields_of(
    model: type[RunData] | type[BatchData] | type[CohortData] | type[PollerData], overrides: Mapping[str, Json]
) -> Mapping[str, Json]:
    unknown = sorted(overrides.keys() - model.model_fields.keys())
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: no field of {model.__name__}")
    return overrides
