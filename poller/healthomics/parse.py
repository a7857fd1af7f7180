"""An answer of HealthOmics -> a Snapshot or a Page; a failure -> an error class. With `tasks.py` the only file that
knows their shapes.

What botocore does with odd answers was measured: an HTML, empty or truncated body with status 200 raises nothing and
gives a dict without the fields; an unparsable timestamp is a ValueError, a JSON array as body an AttributeError;
members that the installed model does not know are dropped, which is why fields are read from the raw body.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from sys import intern
from types import MappingProxyType
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from poller.core.batches import BatchSnapshot
from poller.core.errors import BadRequest, Blind, Denied, RunGone, ServiceError, Throttled, Transient
from poller.core.events import PRIVATE_FIELDS, stamp
from poller.core.runs import RUN_ID, GroupLimits, Json, Snapshot
from poller.healthomics.moments import TIMES_OF_A_RUN, moment_of
from poller.ports import BatchPage, BatchRun, Page

_THROTTLES: Final = (
    "ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "SlowDown", "429",
)  # fmt: skip
_REFUSED_CREDENTIALS: Final = (
    "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId",
    "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "InvalidAccessKeyId", "AuthFailure", "OptInRequired", "RequestExpired",
    "TokenRefreshRequired", "401",
)  # fmt: skip

BY_CODE: Final[Mapping[str, type[ServiceError]]] = MappingProxyType(
    {
        **dict.fromkeys(_THROTTLES, Throttled),
        **dict.fromkeys(_REFUSED_CREDENTIALS, Blind),
        "AccessDeniedException": Denied,
        "AccessDenied": Denied,
        "ResourceNotFoundException": RunGone,
        "ValidationException": BadRequest,
    }
)
"""The service's error code (where it sent none: its HTTP status) -> what follows. All else is Transient."""

_OF_A_RUN: Final = ("GetRun", "ListRunTasks", "GetRunTask")
"""Operations whose "not found" is about the run that they are asked about."""

NO_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    NoAuthTokenError,
    TokenRetrievalError,
    SSOError,
    ProfileNotFound,
)
"""What botocore raises when it finds no credentials that it could sign with."""

_SHARED: Final = ("workflowId", "workflowVersionName", "runGroupId")
"""Members that thousands of runs have in common, and that are remembered of each: one text serves all."""
_BATCH_TIMES: Final = ("creationTime", "submittedTime", "processedTime", "failedTime")


def error_of(error: Exception, operation: str) -> ServiceError:
    """What a failed call means. Anything unknown is transient: a watch never ends because of it."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        code = str(said.get("Code") or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "unknown"))
        kind = BY_CODE.get(code, Transient)
        if kind is RunGone and operation not in _OF_A_RUN:
            # no run is gone; but a group or a batch is, or never was
            kind = BadRequest if operation in ("GetRunGroup", "GetBatch") else Transient
        if error.operation_name.startswith(("AssumeRole", "GetRoleCredentials")):
            kind = _of_credentials(error, kind)
        return kind(code, str(said.get("Message", "")), operation=operation)
    if isinstance(error, NO_CREDENTIALS):
        return Blind(type(error).__name__, str(error), operation=operation)
    if isinstance(error, ParamValidationError):
        return BadRequest("ParamValidationError", str(error), operation=operation)
    if isinstance(error, BotoCoreError | OSError):
        return Transient(type(error).__name__, str(error), operation=operation)
    return Transient("unreadable", f"{type(error).__name__}: {error}", operation=operation)


def _of_credentials(error: ClientError, kind: type[ServiceError]) -> type[ServiceError]:
    """What it means that STS gave no credentials: it is they that are refused, not the question, and nobody's budget.

    A throttle of STS, or a failure of its own, passes by itself; all else a person must mend.
    """
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Transient if kind is Throttled or status >= 500 else Blind


def snapshot_of(
    body: bytes, run_id: str, *, asked_at: datetime, answered_at: datetime, include: tuple[str, ...] = ()
) -> Snapshot:
    """What a GetRun answer says.

    Raises: Transient("unreadable") if it is no JSON object, has no status, or speaks of another run.
    """
    answer = json_object(body, "GetRun")
    shown = answer.get("id", run_id)
    if shown != run_id:
        raise Transient("unreadable", f"asked about run {run_id}, answered about {shown!r}", operation="GetRun")
    return _snapshot(answer, run_id, "GetRun", asked_at, answered_at, include)


def page_of(body: bytes, *, headers: Mapping[str, str], asked_at: datetime, answered_at: datetime) -> Page:
    """What a ListRuns answer says. An item that cannot be read is left out: absence is only a reason to ask.

    Raises: Transient("unreadable") if it is no JSON object, has no items, or none that can be read.
    """
    answer = json_object(body, "ListRuns")
    items = answer.get("items")
    if not isinstance(items, list):
        raise Transient("unreadable", "the answer has no items", operation="ListRuns")
    snapshots = []
    for item in items:
        run_id = item.get("id") if isinstance(item, dict) else None
        if isinstance(run_id, str) and RUN_ID.fullmatch(run_id):
            with suppress(Transient):
                snapshots.append(_snapshot(item, run_id, "ListRuns", asked_at, answered_at, ()))
    if items and not snapshots:
        raise Transient("unreadable", "no item of the answer can be read", operation="ListRuns")
    return Page(
        items=tuple(snapshots),
        token=_text(answer.get("nextToken")),
        asked_at=asked_at,
        answered_at=answered_at,
        served_at=_served_at(headers),
        unreadable=len(items) - len(snapshots),
    )


def batch_snapshot_of(body: bytes, batch_id: str, *, asked_at: datetime, answered_at: datetime) -> BatchSnapshot:
    """What a GetBatch answer says. Raises: Transient("unreadable") if it is none, or about another batch."""
    operation = "GetBatch"
    answer = json_object(body, operation)
    status = answer.get("status")
    if answer.get("id", batch_id) != batch_id or not isinstance(status, str) or not status:
        raise Transient("unreadable", f"asked about batch {batch_id}, and the answer is none", operation=operation)
    fields = {name: value for name, value in answer.items() if value is not None and name != "defaultRunSetting"}
    times = {name: _moment(fields[name], name, operation) for name in _BATCH_TIMES if name in fields}
    return BatchSnapshot(
        batch_id=batch_id,
        status=status,
        asked_at=asked_at,
        answered_at=answered_at,
        uuid=_text(fields.get("uuid")),
        creation_time=times.get("creationTime"),
        submitted_time=times.get("submittedTime"),
        processed_time=times.get("processedTime"),
        failed_time=times.get("failedTime"),
        counts=_counts(fields.get("runSummary"), "RunCount"),
        submitted=_counts(fields.get("submissionSummary"), "SubmissionCount").get("SUCCESSFULSTART", 0),
        fields=fields,
    )


def batch_page_of(body: bytes) -> BatchPage:
    """What a ListRunsInBatch answer says: the runs; submissions that failed have none.

    Raises: Transient("unreadable") if it is no JSON object or has no runs.
    """
    answer = json_object(body, "ListRunsInBatch")
    items = answer.get("runs")
    if not isinstance(items, list):
        raise Transient("unreadable", "the answer has no runs", operation="ListRunsInBatch")
    runs = []
    for item in items:
        run_id = item.get("runId") if isinstance(item, dict) else None
        if isinstance(run_id, str) and RUN_ID.fullmatch(run_id):
            runs.append(BatchRun(run_id, _text(item.get("runInternalUuid"))))
    return BatchPage(tuple(runs), _text(answer.get("nextToken")))


def group_limits_of(body: bytes, group_id: str) -> GroupLimits:
    """What a GetRunGroup answer says of limits. Raises: Transient("unreadable") if it is none, or of another group."""
    operation = "GetRunGroup"
    answer = json_object(body, operation)
    if answer.get("id") != group_id:
        said = f"asked about run group {group_id}, and the answer is none"
        raise Transient("unreadable", said, operation=operation)
    return GroupLimits(
        max_runs=_whole(answer.get("maxRuns")),
        max_cpus=_whole(answer.get("maxCpus")),
        max_gpus=_whole(answer.get("maxGpus")),
        max_duration=_whole(answer.get("maxDuration")),
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _counts(summary: Json, suffix: str) -> dict[str, int]:
    """Counters by status in upper case: `runningRunCount` is RUNNING."""
    members = summary.items() if isinstance(summary, dict) else ()
    return {
        name.removesuffix(suffix).upper(): value
        for name, value in members
        if isinstance(value, int) and name.endswith(suffix)
    }


def _snapshot(
    answer: Mapping[str, Json],
    run_id: str,
    operation: str,
    asked_at: datetime,
    answered_at: datetime,
    include: tuple[str, ...],
) -> Snapshot:
    status = answer.get("status")
    if not isinstance(status, str) or not status:
        raise Transient("unreadable", "the answer has no status", operation=operation)
    fields = members_kept(answer, include)
    times = {name: _moment(fields[name], name, operation) for name in TIMES_OF_A_RUN if name in fields}
    fields |= {name: stamp(moment) for name, moment in times.items()}
    fields |= {name: intern(value) for name in _SHARED if isinstance(value := fields.get(name), str)}
    return Snapshot(
        run_id=run_id,
        status=status,
        full=operation == "GetRun",
        asked_at=asked_at,
        answered_at=answered_at,
        uuid=_text(fields.get("uuid")),
        creation_time=times.get("creationTime"),
        start_time=times.get("startTime"),
        stop_time=times.get("stopTime"),
        fields=fields,
    )


def members_kept(answer: Mapping[str, Json], include: tuple[str, ...]) -> dict[str, Json]:
    """What is kept of what the service shows of a run: no nulls, and what is private only where `include` names it."""
    return {
        name: value
        for name, value in answer.items()
        if value is not None and (name not in PRIVATE_FIELDS or name in include)
    }


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text; NaN and Infinity, which are no JSON to others, are null. Raises: ValueError."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("too deep") from error


def json_object(body: bytes, operation: str) -> Mapping[str, Json]:
    """An answer's members. Raises: Transient("unreadable") if it is no JSON object."""
    try:
        answer = json_of(body)
    except ValueError as error:
        raise Transient("unreadable", "the answer is not JSON", operation=operation) from error
    if not isinstance(answer, dict):
        raise Transient("unreadable", "the answer is not a JSON object", operation=operation)
    return answer


def _moment(value: Json, name: str, operation: str) -> datetime:
    try:
        return moment_of(value)
    except ValueError as error:
        raise Transient("unreadable", f"{name} is {error}", operation=operation) from error


def _served_at(headers: Mapping[str, str]) -> datetime | None:
    date = headers.get("date") or headers.get("Date")
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
