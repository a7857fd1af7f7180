"""The fixture that users get, used as they use it: from blocking code."""

import boto3
import pytest

from poller.emulator import Fault, Life, Refused, Scenario
from poller.testing.emulator import RunningEmulator, healthomics_emulator, running_emulator

__all__ = ["healthomics_emulator"]


def test_a_blocking_test_drives_the_emulator(healthomics_emulator: RunningEmulator) -> None:
    client = boto3.client("omics", **healthomics_emulator.client_options())
    run_id = healthomics_emulator.start_run(Life.of("PENDING"), name="sample")

    assert client.get_run(id=run_id)["status"] == "PENDING"
    healthomics_emulator.move_run(run_id, "RUNNING")
    assert client.list_runs(status="RUNNING")["items"][0]["name"] == "sample"
    healthomics_emulator.cancel_run(run_id)
    assert healthomics_emulator.status_of(run_id) == "STOPPING"
    healthomics_emulator.evict(run_id)
    assert healthomics_emulator.history()[-1].status == "GONE"
    assert healthomics_emulator.call_counts == {"GetRun": 1, "ListRuns": 1}
    assert len(healthomics_emulator.calls) == 2


def test_faults_outages_and_refusals_cross_the_threads() -> None:
    with running_emulator(Scenario(default_life=Life.of("COMPLETED")), account_id="111122223333") as emulator:
        client = boto3.client("omics", **emulator.client_options())
        run_id = emulator.start_run()
        with pytest.raises(Refused, match="ConflictException"):
            emulator.cancel_run(run_id)
        fault = Fault(kind="error", code="AccessDeniedException")
        emulator.add_fault(fault)
        with pytest.raises(client.exceptions.AccessDeniedException):
            client.get_run(id=run_id)
        emulator.remove_fault(fault)
        emulator.down()
        emulator.up()
        assert client.get_run(id=run_id)["arn"].startswith("arn:aws:omics:us-east-1:111122223333:run/")
        emulator.delete_run(run_id)
        assert emulator.status_of(run_id) is None
        emulator.clear_faults()


def test_the_environment_alone_is_enough_for_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_emulator(region="eu-west-1") as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        run_id = emulator.start_run(Life.of("RUNNING"))

        assert ":eu-west-1:" in boto3.Session().client("omics").get_run(id=run_id)["arn"]
        assert boto3.Session().client("sts").get_caller_identity()["Account"] == "123456789012"


def test_an_emulator_that_cannot_start_says_why() -> None:
    with running_emulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), running_emulator(port=port):
            pass
