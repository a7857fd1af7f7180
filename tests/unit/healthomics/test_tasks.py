"""Tasks of a run and the ends of logs: read over real HTTP from the emulator and moto, and from answers of any kind."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from poller.aws import AwsSessions
from poller.clock import SystemClock
from poller.core.diagnosis import RunTask
from poller.core.errors import BadRequest, Denied, RunGone, ServiceError, Throttled, Transient
from poller.emulator import Emulator, FailedTask, Fault, Life
from poller.healthomics.manifest import GROUP
from poller.healthomics.service import NOT_ASKED, HealthOmics
from poller.healthomics.tasks import failed_tasks_in, task_of, task_page_of
from tests.unit.http_rig import answering

from .logs_rig import REGION, Logs, denying, run_line

pytestmark = pytest.mark.usefixtures("aws_credentials")

RUN, LIFE = "7830534", "96c57683-74bf-9d6d-ae7e-f09b097db14a"
STREAM = f"arn:aws:logs:{REGION}:123456789012:log-group:{GROUP}:log-stream:run/{RUN}/task/1"
SHOWN: dict[str, Any] = {
    "taskId": "6657068",
    "uuid": "44c1a30a-4eee-426d-88ea-1af403858f76",
    "name": "FASTQC",
    "status": "FAILED",
    "failureReason": "RUN_TASK_FAILED",
    "statusMessage": "exec /bin/bash: exec format error",
    "cpus": 2,
    "memory": 4,
    "gpus": 0,
    "instanceType": "omics.c.large",
    "cacheHit": False,
    "logStream": STREAM,
    "imageDetails": {"image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/fastqc:1", "imageDigest": "sha256:80"},
    "creationTime": "2026-11-23T07:14:54.329480Z",
    "startTime": "2026-11-23T07:17:43.437Z",
    "stopTime": "2026-11-23T07:17:57.662Z",
}


@asynccontextmanager
async def asking(url: str | None = None, logs_url: str | None = None) -> AsyncIterator[HealthOmics]:
    sessions = AwsSessions(connect_timeout=2.0, read_timeout=5.0)
    service = HealthOmics(sessions, SystemClock(), region=REGION, endpoint_url=url, logs_endpoint_url=logs_url)
    try:
        yield service
    finally:
        await service.close()


async def free(_: str) -> None:
    """Every call may be made."""


def failing_run(emulator: Emulator, *tasks: FailedTask) -> str:
    life = Life.failed("RUN_TASK_FAILED", pending=0, starting=0, running=10, stopping=None)
    return emulator.start_run(life, starts_in=-60, failed_tasks=tasks)


# --- what is read -----------------------------------------------------------------------------------------------------


async def test_the_failed_tasks_of_a_run_are_listed_and_each_says_why(emulator: Emulator) -> None:
    run = failing_run(emulator, FailedTask("A", "SERVICE_ERROR"), FailedTask("B", "RUN_TASK_FAILED", "exit code 137"))
    async with asking(emulator.url) as service:
        page = await service.list_failed_tasks(run)
        shown = [await service.get_run_task(run, task.task_id) for task in page.tasks]
    assert page.token is None
    assert [(task.name, task.status, task.failure_reason) for task in page.tasks] == [
        ("A", "FAILED", None),
        ("B", "FAILED", None),
    ]
    assert [(task.failure_reason, task.status_message) for task in shown][1] == ("RUN_TASK_FAILED", "exit code 137")
    assert shown[0].failure_reason == "SERVICE_ERROR"
    for task in shown:
        assert task.log_stream is not None
        assert task.log_stream.endswith(f":log-stream:run/{run}/task/{task.task_id}")
        assert task.stop_time is not None
        assert task.image is not None
        assert (task.creation_time or task.stop_time) < task.stop_time


async def test_many_failed_tasks_come_in_pages(emulator: Emulator) -> None:
    run = failing_run(emulator, *(FailedTask(f"T{number}") for number in range(230)))
    names, token = [], None
    async with asking(emulator.url) as service:
        for _ in range(3):
            page = await service.list_failed_tasks(run, token=token)
            names += [task.name for task in page.tasks]
            token = page.token
    assert token is None
    assert names == [f"T{number}" for number in range(230)]


async def test_a_run_or_task_that_there_is_not_is_gone_and_what_is_no_id_is_not_asked(emulator: Emulator) -> None:
    run = failing_run(emulator)
    async with asking(emulator.url) as service:
        with pytest.raises(RunGone):
            await service.list_failed_tasks("1")
        with pytest.raises(RunGone):
            await service.get_run_task(run, "1")
        asked = emulator.call_counts["GetRunTask"]
        with pytest.raises(BadRequest):
            await service.get_run_task(run, "a/b")
    assert emulator.call_counts["GetRunTask"] == asked


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind="error", code="ThrottlingException"), Throttled),
        (Fault(kind="error", code="AccessDeniedException"), Denied),
        (Fault(kind="error", code="ValidationException"), BadRequest),
        (Fault(kind="error"), Transient),
        (Fault(kind="truncated"), Transient),
        (Fault(kind="empty"), Transient),
        (Fault(kind="html"), Transient),
        (Fault(kind="array"), Transient),
    ],
)
async def test_each_failure_is_its_class(emulator: Emulator, fault: Fault, kind: type[ServiceError]) -> None:
    run = failing_run(emulator)
    async with asking(emulator.url) as service:
        (task,) = (await service.list_failed_tasks(run)).tasks
        emulator.add_fault(fault)
        for operation, ask in (
            ("ListRunTasks", lambda: service.list_failed_tasks(run)),
            ("GetRunTask", lambda: service.get_run_task(run, task.task_id)),
        ):
            with pytest.raises(kind) as caught:
                await ask()
            assert caught.value.operation == operation


def test_a_task_is_read_whole() -> None:
    task = task_of(json.dumps(SHOWN).encode(), "6657068")
    assert task == RunTask(
        task_id="6657068",
        uuid="44c1a30a-4eee-426d-88ea-1af403858f76",
        name="FASTQC",
        status="FAILED",
        failure_reason="RUN_TASK_FAILED",
        status_message="exec /bin/bash: exec format error",
        creation_time=datetime(2026, 11, 23, 7, 14, 54, 329480, tzinfo=UTC),
        start_time=datetime(2026, 11, 23, 7, 17, 43, 437000, tzinfo=UTC),
        stop_time=datetime(2026, 11, 23, 7, 17, 57, 662000, tzinfo=UTC),
        log_stream=STREAM,
        cpus=2,
        memory=4,
        gpus=0,
        instance_type="omics.c.large",
        image="123456789012.dkr.ecr.us-east-1.amazonaws.com/fastqc:1",
    )


@pytest.mark.parametrize("name", [name for name in SHOWN if name != "taskId"])
@pytest.mark.parametrize("value", [None, [], {}, True, 1.5, "x" * 10])
def test_a_member_of_another_type_costs_that_member_only(name: str, value: Any) -> None:
    task = task_of(json.dumps({**SHOWN, name: value}).encode(), "6657068")
    assert task.task_id == "6657068"
    assert task.name == ("FASTQC" if name != "name" else "x" * 10 if value == "x" * 10 else None)


def test_an_answer_about_another_task_is_unreadable() -> None:
    for body in (json.dumps({**SHOWN, "taskId": "7"}), "{}", "[]", "x", json.dumps({"taskId": 6657068})):
        with pytest.raises(Transient):
            task_of(body.encode(), "6657068")


def test_a_list_without_items_is_unreadable_and_an_odd_item_is_left_out() -> None:
    with pytest.raises(Transient):
        task_page_of(b"{}")
    page = task_page_of(json.dumps({"items": [SHOWN, {}, 7, {"taskId": "x"}], "nextToken": 7}).encode())
    assert ([task.task_id for task in page.tasks], page.token) == (["6657068"], None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SHOWN, "items", "x"]), inner),
    max_leaves=10,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_answer_raises_anything_but_a_service_error(body: bytes) -> None:
    for read in (task_page_of, lambda given: task_of(given, "6657068")):
        with suppress(ServiceError):
            read(body)


@given(st.lists(st.text() | JSON.map(json.dumps), max_size=5))
def test_no_line_of_a_manifest_raises_anything(lines: list[str]) -> None:
    assert isinstance(failed_tasks_in(lines, RUN), list)


# --- what CloudWatch Logs have ----------------------------------------------------------------------------------------


def task_line(task_id: str, status: str = "FAILED", run_id: str = RUN, **members: Any) -> dict[str, Any]:
    arn = f"arn:aws:omics:{REGION}:123456789012"
    return {"arn": f"{arn}:task/{task_id}", "run": f"{arn}:run/{run_id}", "status": status, **members}


@pytest.mark.service
async def test_the_failed_tasks_that_a_manifest_has(logs: Logs, moto_url: str) -> None:
    lines = [
        run_line(RUN, LIFE, "FAILED"),
        task_line("11", "COMPLETED"),
        task_line("22", name="B", failureReason="TASK_TIMED_OUT", statusMessage="slow", image="repo/b:1", cpus=2),
        task_line("33", run_id="1"),
        *(task_line(str(number), "SUCCESS") for number in range(100, 140)),
        task_line("44", "failed", stopTime="2026-11-23T07:17:57"),
    ]
    await logs.write(RUN, LIFE, *lines)
    async with asking(logs_url=moto_url) as service:
        found = await service.failed_tasks_in_manifest(RUN, LIFE, spend=free)
        assert await service.failed_tasks_in_manifest(RUN, "another", spend=free) is None
    assert found is not None
    assert [(task.task_id, task.name, task.failure_reason, task.image) for task in found] == [
        ("22", "B", "TASK_TIMED_OUT", "repo/b:1"),
        ("44", None, None, None),
    ]
    assert found[1].stop_time == datetime(2026, 11, 23, 7, 17, 57, tzinfo=UTC)


async def write(logs: Logs, lines: list[tuple[float, str]]) -> None:
    """Lines of the task's log, each so many seconds ago."""
    name = STREAM.partition(":log-stream:")[2]
    await logs.client.create_log_stream(logGroupName=GROUP, logStreamName=name)
    now = time.time()
    events = [{"timestamp": int((now - ago) * 1000), "message": text} for ago, text in lines]
    await logs.client.put_log_events(logGroupName=GROUP, logStreamName=name, logEvents=events)


@pytest.mark.service
async def test_the_last_lines_of_a_log_cost_one_call(logs: Logs, moto_url: str) -> None:
    await write(logs, [(900 - number, f"line {number}") for number in range(300)])
    spent: list[str] = []

    async def spend(operation: str) -> None:
        spent.append(operation)

    async with asking(logs_url=moto_url) as service:
        assert await service.last_log_lines(STREAM, 3, spend=spend) == ["line 297", "line 298", "line 299"]
        assert spent == ["GetLogEvents"]
        assert len(await service.last_log_lines(STREAM, 200, spend=spend) or []) == 200
        assert await service.last_log_lines(f"{STREAM}9", 3, spend=spend) is None


@pytest.mark.service
async def test_what_was_written_before_or_after_does_not_count(logs: Logs, moto_url: str) -> None:
    await write(logs, [(900, "before"), (600, "first"), (500, "last"), (100, "after")])
    now = datetime.now(UTC)
    since, until = now - timedelta(seconds=700), now - timedelta(seconds=300)
    async with asking(logs_url=moto_url) as service:
        lines = await service.last_log_lines(STREAM, 10, since=since, until=until, spend=free)
    assert lines == ["first", "last"]


def paged(*pages: dict[str, Any]) -> tuple[Callable[[web.BaseRequest], Any], list[dict[str, Any]]]:
    """A server that gives one page after the other, and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def respond(request: web.BaseRequest) -> web.Response:
        asked.append(json.loads(await request.read()))
        text = json.dumps(pages[min(len(asked), len(pages)) - 1])
        return web.Response(text=text, content_type="application/x-amz-json-1.1")

    return respond, asked


async def test_an_empty_page_is_read_on_backwards_and_a_line_of_several_is_several() -> None:
    said = {"events": [{"message": "one\ntwo\nthree"}, {"message": 7}, {"message": "four"}], "nextBackwardToken": "b/2"}
    respond, asked = paged({"events": [], "nextBackwardToken": "b/1"}, said)
    async with answering(respond) as url, asking(logs_url=url) as service:
        assert await service.last_log_lines(STREAM, 3, spend=free) == ["two", "three", "four"]
    assert [one.get("nextToken") for one in asked] == [None, "b/1"]
    assert [(one["limit"], one["startFromHead"]) for one in asked] == [(3, False), (3, False)]


async def test_empty_pages_are_not_read_for_ever() -> None:
    respond, asked = paged(*({"events": [], "nextBackwardToken": f"b/{number}"} for number in range(20)))
    async with answering(respond) as url, asking(logs_url=url) as service:
        assert await service.last_log_lines(STREAM, 3, spend=free) == []
    assert len(asked) == 3


async def test_what_is_denied_or_no_stream_is_said_and_an_emulated_set_up_never_asks_the_real_logs(
    emulator: Emulator,
) -> None:
    async with answering(denying) as url, asking(logs_url=url) as service:
        with pytest.raises(Denied):
            await service.last_log_lines(STREAM, 3, spend=free)
        with pytest.raises(BadRequest):
            await service.last_log_lines("run/1/task/2", 3, spend=free)
    async with asking(emulator.url) as service:
        for ask in (
            lambda: service.last_log_lines(STREAM, 3, spend=free),
            lambda: service.failed_tasks_in_manifest(RUN, LIFE, spend=free),
        ):
            with pytest.raises(Denied) as caught:
                await ask()
            assert caught.value.code == NOT_ASKED
