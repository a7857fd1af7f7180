"""Tasks of a run, as ListRunTasks, GetRunTask and a run's manifest show them -> `RunTask`.

Read leniently: a task explains an end that was told already, so that a member that is missing, new or of another type
costs that member and no more. Only GetRunTask and the manifest have a task's reason and message. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from poller.core.diagnosis import RunTask
from poller.core.errors import Transient
from poller.core.runs import Json
from poller.healthomics.moments import moment_of
from poller.healthomics.parse import json_object, json_of
from poller.ports import TaskPage

TASK_ID: Final = re.compile(r"[0-9]{1,18}")
_TASK_ARN: Final = re.compile(r":task/(?P<id>\d{1,18})$")
FAILED: Final = "FAILED"


def task_page_of(body: bytes) -> TaskPage:
    """What a ListRunTasks answer says. Raises: Transient("unreadable") if it is no JSON object or has no items."""
    operation = "ListRunTasks"
    answer = json_object(body, operation)
    items, token = answer.get("items"), answer.get("nextToken")
    if not isinstance(items, list):
        raise Transient("unreadable", "the answer has no items", operation=operation)
    tasks = [task for item in items if isinstance(item, dict) and (task := _task(item, item.get("taskId"))) is not None]
    return TaskPage(tuple(tasks), token if isinstance(token, str) and token else None)


def task_of(body: bytes, task_id: str) -> RunTask:
    """What a GetRunTask answer says. Raises: Transient("unreadable") if it is none, or about another task."""
    operation = "GetRunTask"
    task = _task(answer := json_object(body, operation), answer.get("taskId"))
    if task is None or task.task_id != task_id:
        raise Transient("unreadable", f"asked about task {task_id}, and the answer is none", operation=operation)
    return task


def failed_tasks_in(lines: Iterable[str], run_id: str) -> list[RunTask]:
    """The tasks of this run that failed, as the lines of its manifest show them."""
    return [task for line in lines if (task := _task_in(line, run_id)) is not None and task.status == FAILED]


def _task_in(line: str, run_id: str) -> RunTask | None:
    try:
        members = json_of(line)
    except ValueError:
        return None
    if not isinstance(members, dict):
        return None
    arn, run = members.get("arn"), members.get("run")
    found = _TASK_ARN.search(arn) if isinstance(arn, str) else None
    if found is None or not (isinstance(run, str) and run.endswith(f":run/{run_id}")):
        return None
    status = members.get("status")
    return _task({**members, "status": status.upper() if isinstance(status, str) else None}, found["id"])


def _task(members: Mapping[str, Json], task_id: Json) -> RunTask | None:
    if not (isinstance(task_id, str) and TASK_ID.fullmatch(task_id)):
        return None
    details = members.get("imageDetails")
    return RunTask(
        task_id=task_id,
        uuid=_text(members.get("uuid")),
        name=_text(members.get("name")),
        status=_text(members.get("status")),
        failure_reason=_text(members.get("failureReason")),
        status_message=_text(members.get("statusMessage")),
        creation_time=_moment(members.get("creationTime")),
        start_time=_moment(members.get("startTime")),
        stop_time=_moment(members.get("stopTime")),
        log_stream=_text(members.get("logStream")),
        cpus=_whole(members.get("cpus")),
        memory=_whole(members.get("memory")),
        gpus=_whole(members.get("gpus")),
        instance_type=_text(members.get("instanceType")),
        image=_text(details.get("image") if isinstance(details, dict) else members.get("image")),
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Json) -> datetime | None:
    with suppress(ValueError):
        return None if value is None else moment_of(value)
    return None
