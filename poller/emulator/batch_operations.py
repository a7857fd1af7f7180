"""The operations about batches: a request and its conditions to the answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from poller.emulator import wire
from poller.emulator.batch_specs import BatchSpec, Pace
from poller.emulator.batches import STATUSES, SUBMISSIONS, Batch, Batches
from poller.emulator.errors import not_valid
from poller.emulator.instants import micro_stamp
from poller.emulator.lives import Life
from poller.emulator.paging import Paging
from poller.emulator.requests import (
    DIGITS,
    DIGITS_WANTED,
    Answer,
    Conditions,
    Request,
    digits,
    id_in_path,
    object_in,
    one_filter,
    one_of,
    text,
)
from poller.emulator.starting import LIFE_TAG, batch_asked

RUN_SUMMARY: Final = {
    "PENDING": "pendingRunCount",
    "STARTING": "startingRunCount",
    "RUNNING": "runningRunCount",
    "STOPPING": "stoppingRunCount",
    "COMPLETED": "completedRunCount",
    "DELETED": "deletedRunCount",
    "FAILED": "failedRunCount",
    "CANCELLED": "cancelledRunCount",
}
SUBMISSION_SUMMARY: Final = {
    "SUCCESS": "successfulStartSubmissionCount",
    "FAILED": "failedStartSubmissionCount",
    "CANCEL_SUCCESS": "successfulCancelSubmissionCount",
    "CANCEL_FAILED": "failedCancelSubmissionCount",
    "DELETE_SUCCESS": "successfulDeleteSubmissionCount",
    "DELETE_FAILED": "failedDeleteSubmissionCount",
}


class BatchOperations:
    """`new_life` gives the life of a run by the name in its tag, or any; `pace`: of batches that StartRunBatch starts,
    the members of `BatchSpec` that say how fast they go.
    """

    def __init__(self, batches: Batches, paging: Paging, new_life: Callable[[str | None], Life], pace: Pace) -> None:
        self._batches, self._paging, self._new_life, self._pace = batches, paging, new_life, pace
        self.by_name: Mapping[str, Callable[[Request, Conditions], Answer]] = {
            "StartRunBatch": self._start,
            "GetBatch": self._get,
            "ListBatch": self._list,
            "ListRunsInBatch": self._list_runs,
            "CancelRunBatch": self._cancel,
            "DeleteRunBatch": self._delete_runs,
            "DeleteBatch": self._delete,
        }

    def _start(self, request: Request, conditions: Conditions) -> Answer:
        asked, settings = batch_asked(request.body)
        batch = self._batches.started_by(asked["requestId"])
        if batch is None:
            spec = BatchSpec(
                settings=settings,
                default=asked["defaultRunSetting"],
                life_of=self._life_of,
                name=asked.get("batchName"),
                tags=asked.get("tags") or {},
                **self._pace,
            )
            batch = self._batches.start(spec, conditions.now, request_id=asked["requestId"])
        return Answer(201, wire.encode(started_answer(batch)))

    def _life_of(self, tags: Mapping[str, str], _place: int, _rng: random.Random) -> Life:
        return self._new_life(tags.get(LIFE_TAG))

    def _get(self, request: Request, conditions: Conditions) -> Answer:
        batch = self._named(request)
        return Answer(200, wire.encode(batch_answer(batch, self._batches.counted(batch, conditions.now))))

    def _list(self, request: Request, conditions: Conditions) -> Answer:
        one_filter(request, "status", "name", "runGroupId")
        status, name = one_of(request, "status", STATUSES), text(request, "name", 64)
        group = digits(request, "runGroupId")
        wanted = self._paging.wanted(request, conditions, ("batches", status, name, group), size="maxItems")
        entries = (
            (batch.key, batch)
            for batch in self._batches.all()
            if status in {None, batch.status}
            and name in {None, batch.spec.name}
            and group in {None, batch.spec.default.get("runGroupId")}
        )
        page, token = self._paging.cut(entries, wanted, conditions)
        return wire.listed([wire.encode(item_answer(batch)) for batch in page], token)

    def _list_runs(self, request: Request, conditions: Conditions) -> Answer:
        batch = self._named(request)
        one_filter(request, "submissionStatus", "runSettingId", "runId")
        filters = (one_of(request, "submissionStatus", SUBMISSIONS), request.one("runSettingId"), request.one("runId"))
        wanted = self._paging.wanted(request, conditions, (batch.uuid, *filters), size="maxItems")
        first = 0 if wanted.after is None else wanted.after + 1
        entries = ((place, place) for place in _places(batch, first, conditions, *filters))
        page, token = self._paging.cut(entries, wanted, conditions)
        return wire.listed([wire.encode(run_answer(batch, place)) for place in page], token, member="runs")

    def _cancel(self, request: Request, conditions: Conditions) -> Answer:
        self._batches.cancel(self._in_body(request), conditions.now)
        return Answer(202, b"{}")

    def _delete_runs(self, request: Request, conditions: Conditions) -> Answer:
        self._batches.delete_runs(self._in_body(request), conditions.now)
        return Answer(202, b"{}")

    def _delete(self, request: Request, conditions: Conditions) -> Answer:
        self._batches.delete(self._named(request), conditions.now)
        return Answer(202, b"")

    def _named(self, request: Request) -> Batch:
        return self._batches.get(id_in_path(request, "batchId"))

    def _in_body(self, request: Request) -> Batch:
        batch_id = object_in(request.body).get("batchId")
        if not isinstance(batch_id, str) or not DIGITS.fullmatch(batch_id):
            raise not_valid("batchId", batch_id, DIGITS_WANTED)
        return self._batches.get(batch_id)


def _places(
    batch: Batch, first: int, conditions: Conditions, submission: str | None, setting_id: str | None, run_id: str | None
) -> Iterable[int]:
    """The places of the batch from `first` on, as far as submitted, that a list shows."""
    for place in range(first, len(batch.runs)):
        run = batch.runs[place]
        if (
            (submission is None or submission == batch.submission(place))
            and (setting_id is None or setting_id == batch.spec.settings[place]["runSettingId"])
            and (run_id is None or (run is not None and run.id == run_id))
            and (run is None or not conditions.hides(run.id))
        ):
            yield place


# How they are written


def started_answer(batch: Batch) -> dict[str, Any]:
    """StartRunBatch."""
    return {"id": batch.id, "arn": batch.arn, "status": batch.status, "uuid": batch.uuid, "tags": dict(batch.spec.tags)}


def batch_answer(batch: Batch, runs: Mapping[str, int]) -> dict[str, Any]:
    """GetBatch; `runs`: by status, as it counts them."""
    spec = batch.spec
    answer: dict[str, Any] = {
        "id": batch.id,
        "arn": batch.arn,
        "uuid": batch.uuid,
        "name": spec.name,
        "status": batch.status,
        "tags": dict(spec.tags),
        "totalRuns": len(spec.settings),
        "defaultRunSetting": dict(spec.default),
        "submissionSummary": {
            "pendingStartSubmissionCount": len(spec.settings) - len(batch.runs),
            **{member: batch.submissions[status] for status, member in SUBMISSION_SUMMARY.items()},
        },
        "runSummary": {member: runs.get(status, 0) for status, member in RUN_SUMMARY.items()},
        "creationTime": micro_stamp(batch.created),
    }
    times = (("submittedTime", batch.submitted), ("processedTime", batch.processed), ("failedTime", batch.failed))
    answer |= {member: micro_stamp(at) for member, at in times if at is not None}
    if batch.failed is not None:
        answer["failureReason"] = spec.failure_reason
    return {member: value for member, value in answer.items() if value is not None}


def item_answer(batch: Batch) -> dict[str, Any]:
    """The batch as an item of ListBatch."""
    answer = {
        "id": batch.id,
        "name": batch.spec.name,
        "status": batch.status,
        "createdAt": micro_stamp(batch.created),
        "totalRuns": len(batch.spec.settings),
        "workflowId": batch.spec.default["workflowId"],
    }
    return {member: value for member, value in answer.items() if value is not None}


def run_answer(batch: Batch, place: int) -> dict[str, Any]:
    """A run as an item of ListRunsInBatch: without its ids if the submission failed."""
    answer: dict[str, Any] = {"runSettingId": batch.spec.settings[place]["runSettingId"]}
    run = batch.runs[place]
    if run is not None:
        answer |= {"runId": run.id, "runInternalUuid": run.uuid, "runArn": run.arn}
    answer["submissionStatus"] = batch.submission(place)
    failure = batch.failures.get(place)
    if failure is not None:
        answer |= {"submissionFailureReason": failure.reason, "submissionFailureMessage": failure.message}
    return answer
