"""From eviction to the sink: HealthOmics as the emulator, CloudWatch Logs as moto, the poller whole between them."""

import json
from pathlib import Path
from typing import Any

import pytest

from poller import Poller
from poller.app.cli.commands.check import _manifests
from poller.aws import AwsSessions
from poller.clock import SystemClock
from poller.emulator import Emulator, Life
from poller.healthomics.service import HealthOmics
from poller.settings.load import settings_from
from tests.unit.app.daemon_rig import Stage, file_sink
from tests.unit.app.library_rig import BRISK, PATIENCE, until
from tests.unit.healthomics.logs_rig import REGION, Logs, denying, run_line, task_line
from tests.unit.http_rig import answering

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("aws_credentials")]
LIFE = "96c57683-74bf-9d6d-ae7e-f09b097db14a"


async def test_the_daemon_tells_how_an_evicted_run_ended(
    emulator: Emulator, logs: Logs, moto_url: str, tmp_path: Path
) -> None:
    run = emulator.start_run(Life.of("RUNNING"), uuid=LIFE, name="sample-42")
    failure = run_line(run, LIFE, "FAILED", failureReason="RUN_TASK_FAILED")
    await logs.write(run, LIFE, failure, *(task_line(run, number) for number in range(20)))
    stage = Stage(emulator, tmp_path)
    stage.configure(file_sink("told"), watch=f'run_ids = ["{run}"]')
    text = stage.path.read_text().replace("[watch]", f'logs_endpoint_url = "{moto_url}"\n[watch]', 1)
    stage.path.write_text(text.replace('vanish_deadline = "300ms"', 'vanish_deadline = "15s"'))
    async with stage.running():
        await until(lambda: len(stage.sent("told.jsonl")) == 1)
        emulator.evict(run)
        await until(lambda: len(stage.sent("told.jsonl")) == 3)
    running, failed, diagnosed = (json.loads(line) for line in stage.sent("told.jsonl"))
    assert (running["type"], failed["type"]) == ("healthomics.run.running", "healthomics.run.failed")
    assert failed["time"] == failed["data"]["stop_time"] == "2026-11-23T08:15:00.908Z"
    data: dict[str, Any] = failed["data"]
    assert (data["recovered_from"], data["failure_reason"]) == ("manifest", "RUN_TASK_FAILED")
    assert (data["run_uuid"], data["name"]) == (LIFE, "sample-42")
    assert data["evidence"][-1] == f"manifest: FAILED in manifest/run/{run}/{LIFE}"
    assert diagnosed["type"] == "healthomics.run.diagnosed"
    assert diagnosed["data"]["diagnosis"]["evidence"][-1] == "manifest: 0 tasks failed"


async def test_the_library_finds_the_end_of_a_run_that_it_never_saw(
    emulator: Emulator, logs: Logs, moto_url: str
) -> None:
    run = "4711"
    await logs.write(run, LIFE, run_line(run, LIFE))
    aws = {"region": REGION, "endpoint_url": emulator.url, "logs_endpoint_url": moto_url}
    polling = {**BRISK, "vanish_deadline": "6s"}  # two thirds of it pass before GetRun is asked once more
    settings = settings_from({"aws": aws, "polling": polling, "store": {"url": "sqlite://"}, "http": {"listen": ""}})
    async with Poller(settings=settings) as poller:
        outcome = await poller.wait(run, timeout=PATIENCE)
    assert (outcome.verdict, outcome.status) == ("ended", "COMPLETED")
    (completed,) = outcome.events
    assert completed.data["recovered_from"] == "manifest"


@pytest.mark.parametrize("with_logs", [True, False])
async def test_check_says_whether_manifests_can_be_read(emulator: Emulator, moto_url: str, with_logs: bool) -> None:
    service = HealthOmics(
        AwsSessions(),
        SystemClock(),
        region=REGION,
        endpoint_url=emulator.url,
        logs_endpoint_url=moto_url if with_logs else None,
    )
    findings = [(one.what, one.verdict) for one in await _manifests(service)]
    await service.close()
    if with_logs:
        assert findings == [("GetLogEvents", "ok"), ("DescribeLogStreams", "ok")]
    else:
        assert findings == [("manifests", "not tried")]


async def test_check_says_what_it_costs_that_manifests_are_denied(emulator: Emulator) -> None:
    async with answering(denying) as url:
        service = HealthOmics(
            AwsSessions(), SystemClock(), region=REGION, endpoint_url=emulator.url, logs_endpoint_url=url
        )
        first, second = await _manifests(service)
        await service.close()
    assert (first.what, first.verdict, second.what, second.verdict) == (
        "GetLogEvents", "warning", "DescribeLogStreams", "warning",
    )  # fmt: skip
    assert "AccessDeniedException" in first.detail
    assert "told as vanished" in first.detail
