"""Why a run failed, from the failing task to the sink: HealthOmics as the emulator, CloudWatch Logs as moto."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from poller.app.cli.commands.check import _diagnosis
from poller.aws import AwsSessions
from poller.clock import SystemClock
from poller.emulator import Emulator, FailedTask, Fault, Life
from poller.healthomics.manifest import GROUP
from poller.healthomics.service import HealthOmics
from poller.settings.model import DiagnosisSettings
from tests.unit.app.daemon_rig import Stage, file_sink
from tests.unit.app.library_rig import until
from tests.unit.healthomics.logs_rig import REGION, Logs, denying
from tests.unit.http_rig import answering

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("aws_credentials")]
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LOG = [
    *(f"step {number}" for number in range(30)),
    "reading s3://lab/mueller/HG002_R1.fastq.gz of P-0017",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    "GET https://lab.s3.amazonaws.com/x?X-Amz-Signature=0123456789abcdef&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE",
    "write error: No space left on device",
]
BAD = Life.failed("RUN_TASK_FAILED", pending=0.1, starting=0.1, running=0.3, stopping=None)


async def write(logs: Logs, stream: str, lines: list[str]) -> None:
    await logs.client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    at = int(time.time() * 1000) - 1000
    events = [{"timestamp": at, "message": line} for line in lines]
    await logs.client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


async def failed_task_of(emulator: Emulator, run_id: str) -> str:
    """The id of the run's failed task, as anybody may ask for it."""
    service = HealthOmics(AwsSessions(), SystemClock(), region=REGION, endpoint_url=emulator.url)
    page = await service.list_failed_tasks(run_id)
    await service.close()
    return page.tasks[-1].task_id


def configure(stage: Stage, moto_url: str, diagnosis: str, *sinks: str) -> None:
    stage.configure("".join(sinks), watch="discover = true")
    text = stage.path.read_text().replace("[watch]", f'logs_endpoint_url = "{moto_url}"\n[watch]', 1)
    stage.path.write_text(f"{text}\n[diagnosis]\n{diagnosis}\n")


async def test_the_daemon_tells_why_a_run_failed_with_the_last_lines_of_its_task(
    emulator: Emulator, logs: Logs, moto_url: str, tmp_path: Path
) -> None:
    ends = Life.failed("RUN_TASK_FAILED", pending=0, starting=0, running=1, stopping=None)
    scripted = [FailedTask("ALIGN", "SERVICE_ERROR"), FailedTask("SORT", "RUN_TASK_FAILED", "Task failed.")]
    run = emulator.start_run(ends, name="P-0017", failed_tasks=scripted)
    await until(lambda: emulator.status_of(run) == "FAILED")
    await write(logs, f"run/{run}/task/{await failed_task_of(emulator, run)}", LOG)
    stage = Stage(emulator, tmp_path)
    sinks = (file_sink("all"), file_sink("few", omit='["name", "status_message"]'))
    configure(stage, moto_url, 'log_lines = 5\nshow_names = ["HG*"]', *sinks)
    text = stage.path.read_text().replace("discover = true", f'run_ids = ["{run}"]', 1)
    stage.path.write_text(text)
    async with stage.running():
        await until(lambda: len(stage.sent("few.jsonl")) == 2)
        await until(lambda: len(stage.sent("all.jsonl")) == 2)
    failed, diagnosed = (json.loads(line) for line in stage.sent("all.jsonl"))
    assert (failed["type"], diagnosed["type"]) == ("healthomics.run.failed", "healthomics.run.diagnosed")
    assert (failed["sequence"], diagnosed["sequence"]) == ("0000000001", "0000000002")
    diagnosis: dict[str, Any] = diagnosed["data"]["diagnosis"]
    assert [(task["name"], task["named_by_run"]) for task in diagnosis["tasks"]] == [("SORT", True), ("ALIGN", False)]
    assert (diagnosis["reason_code"], diagnosis["basis"], diagnosis["incomplete"]) == ("RUN_TASK_FAILED", "run", [])
    assert diagnosis["log_excerpt"]["lines"] == [
        "step 29",
        "reading s3://lab/[hidden]/HG002_R1.fastq.gz of [hidden]",
        "AWS_SECRET_ACCESS_KEY=[hidden]",
        "GET https://lab.s3.amazonaws.com/[hidden]?[hidden]",
        "write error: No space left on device",
    ]
    assert SECRET not in "".join(stage.sent("all.jsonl"))
    few = json.loads(stage.sent("few.jsonl")[1])["data"]["diagnosis"]
    assert (few["log_excerpt"], few["tasks"][0]["name"], few["tasks"][0]["status_message"]) == (None, None, None)
    assert few["tasks"][1]["failure_reason"] == "SERVICE_ERROR"


async def test_where_tasks_may_not_be_read_it_says_so_and_looks_go_on(
    emulator: Emulator, moto_url: str, tmp_path: Path
) -> None:
    for operation in ("ListRunTasks", "GetRunTask"):
        emulator.add_fault(Fault(kind="error", operation=operation, code="AccessDeniedException", message="not you"))
    stage = Stage(emulator, tmp_path)
    configure(stage, moto_url, "", file_sink("told"))
    async with stage.running():
        run = emulator.start_run(BAD)
        other = emulator.start_run(Life.completed(0.1, 0.1, 0.1, 0.1))

        def told(run_id: str, kind: str) -> list[dict[str, Any]]:
            events = [json.loads(line) for line in stage.sent("told.jsonl")]
            return [one for one in events if one["subject"] == run_id and one["type"] == f"healthomics.run.{kind}"]

        await until(lambda: bool(told(run, "diagnosed") and told(other, "completed")))
        (event,) = told(run, "diagnosed")
    diagnosis = event["data"]["diagnosis"]
    assert diagnosis["incomplete"] == ["ListRunTasks: AccessDeniedException: not you"]
    assert (diagnosis["reason_code"], diagnosis["tasks"]) == ("RUN_TASK_FAILED", [])


async def found_by_check(emulator: Emulator, logs_url: str | None, log_lines: int) -> list[tuple[str, str]]:
    service = HealthOmics(
        AwsSessions(), SystemClock(), region=REGION, endpoint_url=emulator.url, logs_endpoint_url=logs_url
    )
    found = await _diagnosis(service, DiagnosisSettings(log_lines=log_lines))
    await service.close()
    return [(one.what, one.verdict) for one in found]


async def test_check_says_what_is_missing_for_a_diagnosis(emulator: Emulator, moto_url: str) -> None:
    assert await found_by_check(emulator, None, 0) == [("ListRunTasks", "ok"), ("GetRunTask", "ok")]
    assert (await found_by_check(emulator, moto_url, 20))[2:] == [("logs of tasks", "ok")]
    assert (await found_by_check(emulator, None, 20))[2:] == [("logs of tasks", "not tried")]
    emulator.add_fault(Fault(kind="error", operation="GetRunTask", code="AccessDeniedException"))
    assert await found_by_check(emulator, None, 0) == [("ListRunTasks", "ok"), ("GetRunTask", "warning")]
    async with answering(denying) as url:
        assert (await found_by_check(emulator, url, 20))[2:] == [("logs of tasks", "warning")]
    service = HealthOmics(AwsSessions(), SystemClock(), region=REGION, endpoint_url=emulator.url)
    assert await _diagnosis(service, DiagnosisSettings(enabled=False)) == []
    await service.close()
