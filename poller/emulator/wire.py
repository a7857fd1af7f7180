"""How the service writes its answers: REST-JSON of the 2022-11-28 model, member by member.

Pure. Which members a run shows in which status: docs/emulator.md, after the User Guide, the model, and AWS's own
samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from poller.emulator.instants import micro_stamp, milli_stamp
from poller.emulator.lives import FAILURES
from poller.emulator.requests import Answer
from poller.emulator.runs import Run
from poller.emulator.tasks import TASK_MESSAGE, Task, failed_task

# Members of a StartRun request that GetRun gives back as they came.
ECHOED: Final = (
    "workflowType", "workflowOwnerId", "roleArn", "priority", "parameters", "outputUri", "logLevel", "cacheId",
    "cacheBehavior", "networkingMode", "scratchStorageMode", "engineSettings", "sessionPolicy", "storageType",
)  # fmt: skip
LIST_MEMBERS: Final = frozenset(
    {
        "arn", "id", "status", "workflowId", "workflowName", "workflowVersionName", "batchId", "name", "priority",
        "storageCapacity", "storageType", "creationTime", "startTime", "stopTime",
    }
)  # fmt: skip
STORAGE_TYPE: Final = "STATIC"  # where nothing is said, after the model's text
STATIC_CAPACITY_GIB: Final = 1200
SENTENCES: Final = dict(FAILURES)


COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # made once: half the cost of a short text


def encode(answer: object) -> bytes:
    """The answer as compact JSON."""
    return COMPACT.encode(answer).encode()


def listed(bodies: Sequence[bytes], token: str | None, *, member: str = "items") -> Answer:
    """A page of a list, of items that are written already."""
    end = b"]}" if token is None else b'],"nextToken":"%b"}' % token.encode()
    return Answer(200, b'{"%b":[' % member.encode() + b",".join(bodies) + end)


def run_answer(run: Run, index: int, *, definition: bool = False) -> dict[str, Any]:
    """GetRun, as of the run's moment `index`; `definition` where `export=DEFINITION` was asked."""
    spec, moment = run.spec, run.moments[index]
    answer = _common(run, index)
    answer |= {
        "runId": run.id,
        "uuid": run.uuid,
        "workflowUuid": _uuid_like(f"workflow {spec.workflow_id}"),
        "digest": f"sha256:{hashlib.sha256(spec.workflow_id.encode()).hexdigest()}",
        "runOutputUri": run_output_uri(run),
        "startedBy": f"arn:aws:sts::{_account(run)}:assumed-role/Lab/ana",
        "retentionMode": spec.retention_mode,
        "tags": dict(spec.tags),
    }
    request = with_defaults(run)
    answer |= {member: request[member] for member in ECHOED if member in request}
    if spec.run_group_id is not None:
        answer["runGroupId"] = spec.run_group_id
    if "configurationName" in request:
        answer["configuration"] = configuration(run)
    if request["networkingMode"] == "VPC":
        answer["vpcConfig"] = {
            "securityGroupIds": ["sg-0a1b2c3d4e5f60718"],
            "subnetIds": ["subnet-0a1b2c3d4e5f60718"],
            "vpcId": "vpc-0a1b2c3d4e5f60718",
            "vpcOwnerAccountId": _account(run),
        }
    if definition:
        answer["definition"] = f"s3://emulated-definitions/{spec.workflow_id}.zip"
    if index > 0:
        answer["resourceDigests"] = {
            value: f"etag:{hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()}"
            for value in request["parameters"].values()
            if isinstance(value, str) and value.startswith("s3://")
        }
    if run.started(index) is not None and request["logLevel"] != "OFF":
        answer["logLocation"] = {"runLogStream": _log_stream(run, f"run/{run.id}")}
        # Expected late: the sources disagree on whether the engine's stream is announced while the run runs.
        if moment.status != "RUNNING":
            answer["logLocation"]["engineLogStream"] = _log_stream(run, f"run/{run.id}/engine")
    if moment.status == "FAILED":
        answer |= _failure(run, moment.fields)
    return _overridden(answer, moment.fields, spec.fields)


def item_answer(run: Run, index: int) -> dict[str, Any]:
    """The run as an item of ListRuns: narrower than GetRun, without uuid, tags, group, reason and outputs."""
    spec = run.spec
    answer = _common(run, index)
    if spec.workflow_name is not None:
        answer["workflowName"] = spec.workflow_name
    answer["storageType"] = spec.request.get("storageType", STORAGE_TYPE)
    if "priority" in spec.request:
        answer["priority"] = spec.request["priority"]
    scripted = run.moments[index].fields
    if not (scripted or spec.fields or spec.item_fields):
        return answer
    listed = ({name: value for name, value in some.items() if name in LIST_MEMBERS} for some in (
        scripted, spec.fields))  # fmt: skip
    return _overridden(answer, *listed, spec.item_fields)


def started_answer(run: Run) -> dict[str, Any]:
    """StartRun."""
    answer: dict[str, Any] = {
        "arn": run.arn,
        "id": run.id,
        "status": run.moments[0].status,
        "tags": dict(run.spec.tags),
        "uuid": run.uuid,
        "runOutputUri": run_output_uri(run),
        "networkingMode": with_defaults(run)["networkingMode"],
    }
    if "configurationName" in run.spec.request:
        answer["configuration"] = configuration(run)
    return answer


def task_item(run: Run, task: Task, index: int) -> dict[str, Any]:
    """The task as an item of ListRunTasks, as of its moment `index`."""
    answer: dict[str, Any] = {
        "taskId": task.id,
        "uuid": task.uuid,
        "name": task.name,
        "status": task.moments[index].status,
        "cpus": task.cpus,
        "memory": task.memory,
        "gpus": 0,
        "instanceType": task.instance_type,
        "cacheHit": task.cached,
        "creationTime": micro_stamp(task.moments[0].at),
    }
    if task.cached:
        answer["cacheS3Uri"] = f"s3://emulated-cache/{run.spec.request['cacheId']}/{task.uuid}"
    for moment in task.moments[: index + 1]:
        if moment.status == "RUNNING":
            answer["startTime"] = milli_stamp(moment.at)
        elif moment.status in {"COMPLETED", "FAILED", "CANCELLED"}:
            answer["stopTime"] = milli_stamp(moment.at)
    return answer


def task_answer(run: Run, task: Task, index: int) -> dict[str, Any]:
    """GetRunTask: the list's item, and why it failed, which lists never say."""
    answer = task_item(run, task, index)
    image = task.name.lower()
    answer["logStream"] = _log_stream(run, f"run/{run.id}/task/{task.id}")
    answer["imageDetails"] = {
        "image": f"{_account(run)}.dkr.ecr.{_region(run)}.amazonaws.com/{image}:1",
        "imageDigest": f"sha256:{hashlib.sha256(image.encode()).hexdigest()}",
        "sourceImage": f"quay.io/{image}:1",
    }
    if answer["status"] == "FAILED" and task.failure_reason is not None:
        answer["failureReason"] = task.failure_reason
        answer["statusMessage"] = task.message or SENTENCES.get(task.failure_reason) or TASK_MESSAGE
    return answer


def run_output_uri(run: Run) -> str:
    return f"{str(with_defaults(run)['outputUri']).rstrip('/')}/{run.id}"


def configuration(run: Run) -> dict[str, str]:
    name = str(run.spec.request["configurationName"])
    return {
        "name": name,
        "arn": f"arn:aws:omics:{_region(run)}:{_account(run)}:configuration/{name}",
        "uuid": _uuid_like(f"configuration {name}"),
    }


def usual_request(account_id: str) -> dict[str, str]:
    """What every run must be asked with, for those to whom it does not matter."""
    return {"roleArn": f"arn:aws:iam::{account_id}:role/OmicsRole", "outputUri": "s3://emulated-outputs/runs"}


def with_defaults(run: Run) -> dict[str, Any]:
    """The request of the run, with what the service takes where it says nothing (the model's text; STATIC is its
    default).
    """
    return {
        **usual_request(_account(run)),
        "workflowType": "PRIVATE",
        "parameters": {},
        "logLevel": "ALL",
        "storageType": STORAGE_TYPE,
        "networkingMode": "RESTRICTED",
        "scratchStorageMode": "SHARED",
        **run.spec.request,
    }


def _common(run: Run, index: int) -> dict[str, Any]:
    """What GetRun and a list's item both show."""
    spec = run.spec
    answer: dict[str, Any] = {
        "arn": run.arn,
        "id": run.id,
        "status": run.moments[index].status,
        "workflowId": spec.workflow_id,
        "creationTime": micro_stamp(run.created),
    }
    optional = (("name", spec.name), ("batchId", spec.batch_id), ("workflowVersionName", spec.workflow_version_name))
    answer |= {member: value for member, value in optional if value is not None}
    started, stopped = run.started(index), run.stopped(index)
    if started is not None:
        answer["startTime"] = milli_stamp(started)
    if stopped is not None:
        answer["stopTime"] = milli_stamp(stopped)
    answer["storageCapacity"] = _capacity_gib(run, ended=stopped is not None)
    return answer


def _capacity_gib(run: Run, *, ended: bool) -> int:
    """STATIC: what was asked. DYNAMIC: the peak, known after the end; 0 before."""
    if run.spec.request.get("storageType", STORAGE_TYPE) == "STATIC":
        return int(run.spec.request.get("storageCapacity", STATIC_CAPACITY_GIB))
    return 10 + run.key % 500 if ended else 0


def _failure(run: Run, scripted: Mapping[str, object]) -> dict[str, str]:
    """Code and sentence of a failed run, where its script does not word them."""
    reason = str(scripted.get("failureReason") or "WORKFLOW_RUN_FAILED")
    task = failed_task(run) if reason == "RUN_TASK_FAILED" else None
    if task is not None:
        message = f"Run failed because task failed. Task name: {task.name}, task id: {task.id}"
    else:
        message = SENTENCES.get(reason) or f"The run failed: {reason}."
    return {"failureReason": reason, "statusMessage": message}


def _overridden(answer: dict[str, Any], *overrides: Mapping[str, object]) -> dict[str, Any]:
    for fields in overrides:
        answer |= fields
    return {member: value for member, value in answer.items() if value is not None}


def _log_stream(run: Run, stream: str) -> str:
    return f"arn:aws:logs:{_region(run)}:{_account(run)}:log-group:/aws/omics/WorkflowLog:log-stream:{stream}"


def _region(run: Run) -> str:
    return run.arn.split(":")[3]


def _account(run: Run) -> str:
    return run.arn.split(":")[4]


def _uuid_like(name: str) -> str:
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
