"""The fixture that users get, used as they use it: from blocking code."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from poller.emulator import Fault, Life, Outage, Refused, Scenario
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


def test_a_blocking_test_drives_batches_quotas_and_outages(healthomics_emulator: RunningEmulator) -> None:
    once = Config(inject_host_prefix=False, retries={"total_max_attempts": 1})
    client = boto3.client("omics", **{**healthomics_emulator.client_options(), "config": once})
    batch_id = healthomics_emulator.start_batch(5000, Life.of("RUNNING"), name="cohort", starts_in=-600)
    healthomics_emulator.add_group("77", max_runs=2)
    healthomics_emulator.start_runs(3, Life.of("PENDING", "RUNNING"), run_group_id="77")

    assert client.get_batch(batchId=batch_id)["runSummary"]["runningRunCount"] == 5000
    assert client.get_run_group(id="77")["maxRuns"] == 2
    assert healthomics_emulator.census() == {"PENDING": 1, "RUNNING": 5002}
    assert len(healthomics_emulator.batch_runs(batch_id)) == 5000
    healthomics_emulator.configure(quota_per_second=100, foreign_calls_per_second={"GetRun": 5}, paging="offset")
    assert healthomics_emulator.foreign_calls()["GetRun"].refused == 0
    healthomics_emulator.add_outage(Outage(seconds=600, operations=("ListBatch",)))
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        client.list_batch()
    healthomics_emulator.clear_outages()
    assert client.list_batch()["items"][0]["id"] == batch_id
    assert healthomics_emulator.outcome_counts["ListBatch", "200"] == 1
    healthomics_emulator.cancel_batch(batch_id)
    assert healthomics_emulator.batch_status(batch_id) == "STOPPING"
    ended = healthomics_emulator.start_batch(1, Life.of("COMPLETED"), starts_in=-600)
    healthomics_emulator.delete_batch_runs(ended)
    healthomics_emulator.delete_batch(ended)
    assert [entry.status for entry in healthomics_emulator.batch_history() if entry.batch_id == ended][-3:] == [
        "RUNS_DELETING",
        "RUNS_DELETED",
        "GONE",
    ]


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
