"""Each raw answer of the emulator, walked against botocore's own model of the service, so that it cannot drift into
fiction.

The walk is ours and strict, where botocore's parser is lenient: it knows the members, enums, types and patterns of each
shape. Lengths are not checked: AWS's own sample digest is longer than the model allows. One planted misspelling per
operation proves that the walk would notice.
"""

import json
import random
import re
import sys
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import botocore.session
import pytest
from aiohttp import ClientSession
from botocore.model import OperationModel, Shape

from poller.emulator import Emulator, FailedTask, Fault, Life, RunGroup, RunSpec, Scenario, demo_scenario
from poller.emulator.batches import STATUSES as BATCH_STATUSES
from poller.emulator.batches import SUBMISSIONS
from poller.emulator.errors import HTTP_STATUS, MODELLED
from poller.emulator.faults import OPERATIONS
from poller.emulator.lives import STATUSES
from poller.emulator.requests import ROUTES
from poller.emulator.service import TASK_STATUSES
from poller.emulator.starting import DEFAULT_RUN_SETTING, INLINE_SETTING, START_BATCH, START_RUN
from poller.emulator.wire import LIST_MEMBERS

MODEL = botocore.session.get_session().get_service_model("omics")
SERVED = [operation for operation in OPERATIONS if operation != "GetCallerIdentity"]
BEGIN = datetime(2026, 11, 23, 7, 0, 0, 262471, tzinfo=UTC)
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{3}|\d{6})Z")
EVERYTHING: dict[str, Any] = {
    "workflowId": "4074992",
    "workflowType": "PRIVATE",
    "workflowOwnerId": "123456789012",
    "workflowVersionName": "1.2.1",
    "roleArn": "arn:aws:iam::123456789012:role/OmicsRole",
    "outputUri": "s3://out/runs",
    "name": "sample-42",
    "cacheId": "8205283",
    "cacheBehavior": "CACHE_ON_FAILURE",
    "runGroupId": "9938959",
    "priority": 100,
    "parameters": {"input": "s3://in/sample-42.csv"},
    "storageType": "DYNAMIC",
    "logLevel": "ALL",
    "tags": {"project": "x"},
    "retentionMode": "REMOVE",
    "networkingMode": "VPC",
    "scratchStorageMode": "SHARED",
    "configurationName": "private",
    "sessionPolicy": "{}",
    "engineSettings": {"profile": "test"},
}
DEFAULT_SETTING: dict[str, Any] = {
    **{member: value for member, value in EVERYTHING.items() if member != "tags"},
    "runTags": {"project": "x"},
    "storageCapacity": 2400,
    "outputBucketOwnerId": "123456789012",
}
BATCH: dict[str, Any] = {"batchName": "cohort", "defaultRunSetting": DEFAULT_SETTING, "tags": {"project": "x"}}
# Members of answers that these tests do not see served: a run needs a GPU, or a Nextflow workflow for them.
NOT_SEEN = {"accelerators", "engineVersion"}


# The walk


def problems(shape: Shape, value: object, where: str) -> list[str]:
    """What of `value` the shape does not allow, each with its place."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        if getattr(shape, "is_document_type", False):
            return []
        found = [f"{where}.{name}: unknown member" for name in value if name not in shape.members]  # type: ignore[attr-defined]
        for name, member in shape.members.items():  # type: ignore[attr-defined]  # the stubs type all shapes alike
            if name in value:
                found += problems(member, value[name], f"{where}.{name}")
        return found
    if kind == "list":
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no array"]
        return [
            problem
            for place, item in enumerate(value)
            for problem in problems(shape.member, item, f"{where}[{place}]")  # type: ignore[attr-defined]
        ]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        return [
            problem
            for key, item in value.items()
            for problem in (
                *problems(shape.key, key, f"{where} key"),  # type: ignore[attr-defined]
                *problems(shape.value, item, f"{where}.{key}"),  # type: ignore[attr-defined]
            )
        ]
    return scalar_problems(shape, value, where)


def scalar_problems(shape: Shape, value: object, where: str) -> list[str]:
    match shape.type_name:
        case "string":
            if not isinstance(value, str):
                return [f"{where}: {value!r} is no string"]
            found = []
            if shape.metadata.get("enum") and value not in shape.metadata["enum"]:
                found.append(f"{where}: {value!r} is not one of {shape.metadata['enum']}")
            if shape.metadata.get("pattern") and not matching(shape.metadata["pattern"]).fullmatch(value):
                found.append(f"{where}: {value!r} does not match {shape.metadata['pattern']}")
            return found
        case "integer" | "long":
            low, high = shape.metadata.get("min", 0), shape.metadata.get("max", sys.maxsize)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                return [f"{where}: {value!r} is no whole number from {low} to {high}"]
        case "boolean":
            if not isinstance(value, bool):
                return [f"{where}: {value!r} is no boolean"]
        case "timestamp":
            if not isinstance(value, str) or not TIMESTAMP.fullmatch(value):
                return [f"{where}: {value!r} is no timestamp as the service writes them"]
            datetime.fromisoformat(value)
        case other:
            return [f"{where}: the walk does not know {other}"]
    return []


@cache
def category(letter: str) -> str:
    """A regular expression's character class of a Unicode category, which Python's `re` does not know by name."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == letter:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in ranges)


@cache
def matching(pattern: str) -> re.Pattern[str]:
    """The pattern of a Smithy model as Python's `re` understands it; `||` in its classes adds nothing."""
    return re.compile(re.sub(r"\\p\{(\w)\}", lambda found: category(found[1]), pattern.replace("||", "")))


def walk(operation: str, status: int, body: bytes) -> list[str]:
    """What is wrong with a good answer to `operation`."""
    model: OperationModel = MODEL.operation_model(operation)
    found = [] if status == model.http["responseCode"] else [f"{operation}: HTTP status {status}"]
    if model.output_shape is None:
        return found + ([f"{operation}: a body where none belongs: {body!r}"] if body else [])
    return found + problems(model.output_shape, json.loads(body), operation)


# Asking


@dataclass
class Raw:
    """Asks over bare HTTP, and keeps each good answer."""

    url: str
    session: ClientSession
    answers: list[tuple[str, int, bytes]] = field(default_factory=list)

    async def ask(self, operation: str, *, body: Mapping[str, Any] | None = None, query: str = "", **ids: str) -> Any:
        http = MODEL.operation_model(operation).http
        path = http["requestUri"].format(**ids)
        async with self.session.request(http["method"], f"{self.url}{path}{query}", json=body) as answer:
            content = await answer.read()
            assert answer.status < 300, content
            self.answers.append((operation, answer.status, content))
            return json.loads(content or b"{}")

    def of(self, operation: str) -> list[Any]:
        return [json.loads(body or b"{}") for asked, _, body in self.answers if asked == operation]


class Clock:
    moment = BEGIN

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@asynccontextmanager
async def asking(scenario: Scenario, clock: Clock) -> AsyncIterator[tuple[Emulator, Raw]]:
    async with Emulator(scenario, now=clock) as emulator, ClientSession() as session:
        yield emulator, Raw(emulator.url, session)


async def look_everywhere(raw: Raw, run_ids: set[str]) -> None:
    """All read operations about all runs."""
    for status in (None, *sorted(STATUSES)):
        await raw.ask("ListRuns", query=f"?maxResults=2{f'&status={status}' if status else ''}")
    for run_id in sorted(run_ids):
        await raw.ask("GetRun", id=run_id, query="?export=DEFINITION")
        for task in (await raw.ask("ListRunTasks", id=run_id))["items"]:
            await raw.ask("GetRunTask", id=run_id, taskId=task["taskId"])


kept: list[Raw] = []


async def every_answer() -> Raw:
    """What all operations there are have answered, about runs and batches in all their statuses; asked only once."""
    if not kept:
        kept.append(await runs_in_all_statuses())
        kept[0].answers += (await batches_in_all_statuses()).answers
    return kept[0]


async def runs_in_all_statuses() -> Raw:
    """Runs started, watched through their lives, cancelled and deleted."""
    clock = Clock()
    scenario = Scenario(
        lives={
            "failed": Life.failed("RUN_TASK_FAILED", pending=1, starting=1, running=40, stopping=1),
            "completed": Life.completed(1, 1, 4, 1),
            "long": Life.of(("PENDING", 1), ("RUNNING", 1000), "COMPLETED"),
        }
    )
    async with asking(scenario, clock) as (emulator, raw):
        started = [
            (await raw.ask("StartRun", body={**EVERYTHING, "requestId": name, "tags": {"emulator:life": name}}))["id"]
            for name in ("failed", "completed", "long")
        ]
        started.append(emulator.start_run("completed", batch_id="7123456"))
        failing = (FailedTask("ALIGN"), FailedTask("ALIGN", "OUT_OF_MEMORY_ERROR", "The task ran out of memory."))
        started.append(emulator.start_run("failed", failed_tasks=failing))
        for seconds in (0, 1, 1, 7, 7, 7, 7, 12, 1):
            clock.pass_by(seconds)
            await look_everywhere(raw, set(started))
        await raw.ask("CancelRun", id=started[2])
        await look_everywhere(raw, set(started))
        clock.pass_by(60)
        await look_everywhere(raw, set(started))
        for run_id in started:
            for task in (await raw.ask("ListRunTasks", id=run_id))["items"]:
                await raw.ask("GetRunTask", id=run_id, taskId=task["taskId"])
        await raw.ask("ListRunTasks", id=started[0], query="?maxResults=1")
        failed = (await raw.ask("ListRunTasks", id=started[-1], query="?status=FAILED"))["items"]
        assert [task["name"] for task in failed] == ["ALIGN", "ALIGN"]
        await raw.ask("DeleteRun", id=started[0])
    return raw


async def look_at_batches(raw: Raw, batch_ids: list[str]) -> None:
    """All read operations about all batches."""
    for status in (None, *sorted(BATCH_STATUSES)):
        await raw.ask("ListBatch", query=f"?maxItems=1{f'&status={status}' if status else ''}")
    for batch_id in batch_ids:
        await raw.ask("GetBatch", batchId=batch_id)
        for filtered in ("?maxItems=2", *(f"?submissionStatus={status}" for status in sorted(SUBMISSIONS))):
            await raw.ask("ListRunsInBatch", batchId=batch_id, query=filtered)


async def batches_in_all_statuses() -> Raw:
    """Batches started, watched through their lives, cancelled and deleted, and a run group."""
    clock = Clock()
    group = RunGroup(
        group_id="9938959", name="lab", max_runs=9, max_cpus=64, max_gpus=4, max_duration=600, tags={"a": "b"}
    )
    scenario = Scenario(default_life=Life.completed(1, 1, 4, 1), groups=(group,), batch_pace={"runs_per_second": 2})
    async with asking(scenario, clock) as (emulator, raw):
        await raw.ask("GetRunGroup", id="9938959")
        settings = [
            {"runSettingId": f"sample-{number}", "parameters": {"depth": number}, "priority": number}
            for number in range(4)
        ]
        settings[1]["runTags"] = {"emulator:submission": "ThrottlingException"}
        asked = {**BATCH, "requestId": "r", "batchRunSettings": {"inlineSettings": settings}}
        started = [(await raw.ask("StartRunBatch", body=asked))["id"]]
        started += [
            emulator.start_batch(3, "random", name="long"),
            emulator.start_batch(1, failure_reason="No access."),
        ]
        for seconds in (0, 1, 2, 1, 1):
            clock.pass_by(seconds)
            await look_at_batches(raw, started)
        await raw.ask("CancelRunBatch", body={"batchId": started[1]})
        for _ in range(5):
            await look_at_batches(raw, started)
            clock.pass_by(1)
        clock.pass_by(60)
        await look_at_batches(raw, started)
        emulator.delete_run(emulator.batch_runs(started[0])[0])
        for batch_id in started[:2]:
            await raw.ask("DeleteRunBatch", body={"batchId": batch_id})
            await look_at_batches(raw, started)
        clock.pass_by(60)
        await look_at_batches(raw, started)
        late = emulator.start_batch(2, Life.of("COMPLETED"), pending=0, creating=0, runs_per_second=1)
        emulator.cancel_batch(late)
        clock.pass_by(5)
        await look_at_batches(raw, [late])
        await raw.ask("DeleteBatch", batchId=started[0])
    return raw


# The tests


async def test_every_answer_in_every_status_is_one_that_the_model_knows() -> None:
    raw = await every_answer()

    assert {operation for operation, _, _ in raw.answers} == set(SERVED)
    assert [problem for answer in raw.answers for problem in walk(*answer)] == []
    assert {batch["status"] for batch in raw.of("GetBatch")} == BATCH_STATUSES
    assert {batch["status"] for page in raw.of("ListBatch") for batch in page["items"]} == BATCH_STATUSES
    submissions = {run["submissionStatus"] for page in raw.of("ListRunsInBatch") for run in page["runs"]}
    assert submissions == SUBMISSIONS
    assert {run["status"] for run in raw.of("GetRun")} == STATUSES - {"DELETED"}
    assert {task["status"] for task in raw.of("GetRunTask")} >= {
        "RUNNING",
        "COMPLETED",
        "FAILED",
        "STOPPING",
        "CANCELLED",
    }


async def test_all_members_of_the_model_are_served_but_those_named_here() -> None:
    raw = await every_answer()
    items = [item for page in raw.of("ListRuns") for item in page["items"]]
    tasks = [item for page in raw.of("ListRunTasks") for item in page["items"]]
    batches = raw.of("GetBatch")
    for answers, shape in (
        (raw.of("GetRun"), MODEL.shape_for("GetRunResponse")),
        (items, MODEL.shape_for("RunListItem")),
        (tasks, MODEL.shape_for("TaskListItem")),
        (raw.of("GetRunTask"), MODEL.shape_for("GetRunTaskResponse")),
        (raw.of("StartRun"), MODEL.shape_for("StartRunResponse")),
        (raw.of("ListRuns"), MODEL.shape_for("ListRunsResponse")),
        (raw.of("ListRunTasks"), MODEL.shape_for("ListRunTasksResponse")),
        (raw.of("StartRunBatch"), MODEL.shape_for("StartRunBatchResponse")),
        (batches, MODEL.shape_for("GetBatchResponse")),
        ([batch["defaultRunSetting"] for batch in batches], MODEL.shape_for("DefaultRunSetting")),
        ([batch["submissionSummary"] for batch in batches], MODEL.shape_for("SubmissionSummary")),
        ([batch["runSummary"] for batch in batches], MODEL.shape_for("RunSummary")),
        (raw.of("ListBatch"), MODEL.shape_for("ListBatchResponse")),
        ([item for page in raw.of("ListBatch") for item in page["items"]], MODEL.shape_for("BatchListItem")),
        (raw.of("ListRunsInBatch"), MODEL.shape_for("ListRunsInBatchResponse")),
        ([item for page in raw.of("ListRunsInBatch") for item in page["runs"]], MODEL.shape_for("RunBatchListItem")),
        (raw.of("GetRunGroup"), MODEL.shape_for("GetRunGroupResponse")),
    ):
        seen = {member for answer in answers for member in answer}
        assert set(shape.members) - seen <= NOT_SEEN, shape.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_lives_and_the_demo_say_nothing_that_the_model_does_not_know(seed: int) -> None:
    rng = random.Random(seed)
    scenario = Scenario(runs=tuple(RunSpec(life=Life.random(rng), name=f"sample-{n}") for n in range(8)))
    for chosen, step in ((scenario, 1800), (demo_scenario(), 2)):
        clock = Clock()
        async with asking(Scenario(runs=chosen.runs), clock) as (emulator, raw):
            for _ in range(9):
                present = {
                    transition.run_id
                    for transition in emulator.history()
                    if emulator.status_of(transition.run_id) is not None
                }
                await look_everywhere(raw, present)
                clock.pass_by(step)

        assert [problem for answer in raw.answers for problem in walk(*answer)] == []


DEEP = {
    "StartRun": "runOutputUri",
    "GetRun": "failureReason",
    "ListRuns": "workflowName",
    "StartRunBatch": "uuid",
    "GetBatch": "cancelledRunCount",
    "ListBatch": "createdAt",
    "ListRunsInBatch": "submissionStatus",
    "GetRunGroup": "maxDuration",
}


def misspelled(body: bytes, operation: str) -> bytes:
    """The answer with one letter of one member's name exchanged, as deep in it as there is one."""
    if body in {b"", b"{}"}:
        return b'{"mesage":""}'
    member = DEEP.get(operation, "cpus")
    assert f'"{member}"'.encode() in body
    return body.replace(f'"{member}"'.encode(), f'"{member[:-1]}y"'.encode(), 1)


@pytest.mark.parametrize("operation", SERVED)
async def test_one_planted_misspelling_is_found_in_each_operation(operation: str) -> None:
    raw = await every_answer()
    longest = max(((len(body), status, body) for asked, status, body in raw.answers if asked == operation))
    _, status, body = longest
    if operation == "GetRun":
        body = next(body for asked, _, body in raw.answers if asked == "GetRun" and b"failureReason" in body)

    assert walk(operation, status, body) == []
    assert len(walk(operation, status, misspelled(body, operation))) == 1


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        ("status", "RUNING"),
        ("id", "12a"),
        ("arn", "run/1"),
        ("priority", "100"),
        ("priority", -1),
        ("priority", True),
        ("creationTime", "2026-11-23 07:00:01"),
        ("creationTime", 1795417201),
        ("workflowUuid", "3ec7f4a0"),
        ("tags", ["x"]),
        ("tags", {"x": 1}),
        ("logLocation", {"engineStream": "x"}),
        ("name", "a\x00b"),
        ("vpcConfig", {"subnetIds": ["sg-1"]}),
    ],
)
async def test_wrong_values_are_found(member: str, wrong: object) -> None:
    raw = await every_answer()
    run = {**raw.of("GetRun")[-1], member: wrong}

    (problem,) = walk("GetRun", 200, json.dumps(run).encode())
    assert problem.startswith(f"GetRun.{member}")


@pytest.mark.parametrize("code", MODELLED)
async def test_errors_are_written_as_the_model_says(code: str) -> None:
    shape = MODEL.shape_for(code)
    async with (
        asking(Scenario(faults=(Fault(kind="error", code=code),)), Clock()) as (emulator, raw),
        raw.session.get(f"{emulator.url}/run") as answer,
    ):
        body = await answer.json()
        name, status = answer.headers["x-amzn-ErrorType"], answer.status

    assert name == code
    assert status == HTTP_STATUS[code] == shape.metadata["error"]["httpStatusCode"]
    assert problems(shape, body, code) == []
    assert set(body) >= set(shape.required_members)


def test_every_error_of_the_model_is_known_to_the_emulator() -> None:
    assert {shape.name for shape in MODEL.error_shapes} - {
        "NotSupportedOperationException",
        "RangeNotSatisfiableException",
    } == set(MODELLED)


def test_routes_statuses_and_parameters_are_those_of_the_model() -> None:
    for method, pattern, operation in ROUTES:
        http = MODEL.operation_model(operation).http
        assert method == http["method"]
        assert pattern.fullmatch(http["requestUri"].format(id="1", taskId="2", batchId="3"))
    assert set(MODEL.shape_for("RunStatus").enum) == STATUSES  # type: ignore[attr-defined]
    assert set(MODEL.shape_for("TaskStatus").enum) == TASK_STATUSES  # type: ignore[attr-defined]
    assert set(MODEL.shape_for("RunListItem").members) == LIST_MEMBERS  # type: ignore[attr-defined]
    assert set(MODEL.shape_for("StartRunRequest").members) == set(START_RUN)  # type: ignore[attr-defined]
    for shape, checks in (
        ("StartRunBatchRequest", START_BATCH),
        ("DefaultRunSetting", DEFAULT_RUN_SETTING),
        ("InlineSetting", INLINE_SETTING),
    ):
        assert set(MODEL.shape_for(shape).members) == set(checks), shape  # type: ignore[attr-defined]
    assert set(MODEL.shape_for("BatchStatus").enum) == BATCH_STATUSES  # type: ignore[attr-defined]
    assert set(MODEL.shape_for("SubmissionStatus").enum) == SUBMISSIONS  # type: ignore[attr-defined]
