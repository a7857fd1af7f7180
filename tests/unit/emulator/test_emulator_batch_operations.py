"""The operations about batches and run groups over real HTTP, asked by aiobotocore."""

from typing import Any

import pytest
from aiohttp import ClientSession

from poller.emulator import Emulator, Fault, Life, Scenario

from .conftest import REQUIRED, HandClock, Omics, refusal


def batch(*settings: Any, **default: Any) -> dict[str, Any]:
    """A StartRunBatch request."""
    given = [setting if isinstance(setting, dict) else {"runSettingId": setting} for setting in settings]
    return {
        "requestId": "r",
        "defaultRunSetting": {**REQUIRED, **default},
        "batchRunSettings": {"inlineSettings": given},
    }


async def read(client: Any, operation: str, member: str, **asked: Any) -> list[Any]:
    """All pages of a list, as botocore's own paginator reads them."""
    pages = client.get_paginator(operation).paginate(**asked)
    return [item async for page in pages for item in page[member]]


async def test_a_batch_is_followed_from_its_start_to_its_end(omics: Omics, clock: HandClock) -> None:
    scenario = Scenario(default_life=Life.completed(1, 1, 1, 1))
    async with Emulator(scenario, now=clock) as emulator, omics(emulator) as client:
        begin = clock.moment
        started = await client.start_run_batch(**batch("a", "b", "c"), batchName="cohort", tags={"x": "y"})
        created = await client.get_batch(batchId=started["id"])
        clock.pass_by(3)
        submitting = await client.get_batch(batchId=started["id"])
        listed = await read(client, "list_runs_in_batch", "runs", batchId=started["id"])
        of_batch = await read(client, "list_runs", "items", batchId=started["id"])
        clock.pass_by(60)
        ended = await client.get_batch(batchId=started["id"])
        history = emulator.batch_history()

    assert started["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (started["status"], started["tags"]) == ("CREATING", {"x": "y"})
    assert (created["name"], created["totalRuns"], created["creationTime"]) == ("cohort", 3, begin)
    assert {"submittedTime", "processedTime", "failedTime"}.isdisjoint(created)
    assert created["submissionSummary"]["pendingStartSubmissionCount"] == 3
    assert submitting["status"] == "SUBMITTING"
    assert submitting["submissionSummary"]["successfulStartSubmissionCount"] == 1
    assert submitting["runSummary"]["pendingRunCount"] == 1
    assert [run["runSettingId"] for run in listed] == ["a"]
    assert [item["id"] for item in of_batch] == [listed[0]["runId"]]
    assert (ended["status"], ended["runSummary"]["completedRunCount"]) == ("PROCESSED", 3)
    assert {transition.status: transition.at for transition in history}["PROCESSED"] == ended["processedTime"]


async def test_settings_of_a_run_go_over_those_of_its_batch(omics: Omics, clock: HandClock) -> None:
    default = {
        "name": "all",
        "parameters": {"genome": "hg38", "depth": 10},
        "runTags": {"project": "x", "kind": "germline"},
        "priority": 1,
        "engineSettings": {"profile": "docker"},
        "runGroupId": "77",
        "storageType": "DYNAMIC",
    }
    own = {
        "runSettingId": "b",
        "name": "one",
        "outputUri": "s3://other/runs",
        "parameters": {"depth": 30},
        "runTags": {"kind": "tumour"},
        "priority": 0,
        "engineSettings": {"profile": "test"},
    }
    async with Emulator(Scenario(default_life=Life.of("PENDING")), now=clock) as emulator, omics(emulator) as client:
        started = await client.start_run_batch(**batch("a", own, **default))
        clock.pass_by(10)
        listed = await client.list_runs_in_batch(batchId=started["id"])
        first, second = [await client.get_run(id=run["runId"]) for run in listed["runs"]]
        asked = await client.get_batch(batchId=started["id"])

    assert {name: first[name] for name in ("name", "parameters", "priority")} == {
        name: default[name] for name in ("name", "parameters", "priority")
    }
    assert first["tags"] == default["runTags"]
    assert (second["name"], second["outputUri"], second["priority"]) == ("one", "s3://other/runs", 0)
    assert second["parameters"] == {"genome": "hg38", "depth": 30}
    assert second["tags"] == {"project": "x", "kind": "tumour"}
    assert second["engineSettings"] == {"profile": "test"}
    assert {(run["batchId"], run["runGroupId"], run["storageType"]) for run in (first, second)} == {
        (started["id"], "77", "DYNAMIC")
    }
    assert first["uuid"] == listed["runs"][0]["runInternalUuid"]
    assert asked["defaultRunSetting"] == {**REQUIRED, **default}


async def test_the_same_request_id_gives_the_same_batch(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        first = await client.start_run_batch(**batch("a"))
        again = await client.start_run_batch(**batch("a"))
        other = await client.start_run_batch(**{**batch("a"), "requestId": "s"})

        assert first["id"] == again["id"] != other["id"]
        assert first["uuid"] == again["uuid"]
        assert len(await read(client, "list_batch", "items")) == 2


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"requestId": None}, "requestId"),
        ({"defaultRunSetting": None}, "defaultRunSetting"),
        ({"defaultRunSetting": {"workflowId": "1"}}, "defaultRunSetting.roleArn"),
        ({"defaultRunSetting": {**REQUIRED, "workflowId": "x"}}, "defaultRunSetting.workflowId"),
        ({"defaultRunSetting": {**REQUIRED, "workflowType": "READY2RUN"}}, "READY2RUN"),
        ({"defaultRunSetting": {**REQUIRED, "runTags": {"a": 1}}}, "defaultRunSetting.runTags"),
        ({"batchName": "n" * 65}, "batchName"),
        ({"batchRunSettings": {}}, "exactly one"),
        ({"batchRunSettings": {"inlineSettings": [{"runSettingId": "a"}], "s3UriSettings": "s3://a/b"}}, "exactly one"),
        ({"batchRunSettings": {"s3UriSettings": "s3://a/b"}}, "s3://a/b"),
        ({"batchRunSettings": {"inlineSettings": []}}, "between 1 and 100"),
        ({"batchRunSettings": {"inlineSettings": [{"runSettingId": str(n)} for n in range(101)]}}, "between 1 and 100"),
        ({"batchRunSettings": {"inlineSettings": ["a"]}}, "must be an object"),
        ({"batchRunSettings": {"inlineSettings": [{"name": "a"}]}}, "1.member.runSettingId"),
        ({"batchRunSettings": {"inlineSettings": [{"runSettingId": "a", "priority": -1}]}}, "1.member.priority"),
        ({"batchRunSettings": {"inlineSettings": [{"runSettingId": "a"}] * 2}}, "not unique"),
    ],
)
async def test_a_batch_that_the_model_forbids_is_refused(wrong: dict[str, Any], named: str) -> None:
    async with Emulator() as emulator, ClientSession() as session:
        async with session.post(f"{emulator.url}/runBatch", json={**batch("a"), **wrong}) as answer:
            assert answer.status == 400
            assert answer.headers["x-amzn-ErrorType"] == "ValidationException"
            assert named in (await answer.json())["message"]
        assert emulator.batch_history() == []


async def test_a_failed_submission_has_its_reason_and_no_run(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        without_output = {name: value for name, value in REQUIRED.items() if name != "outputUri"}
        asked = batch("a", {"runSettingId": "b", "outputUri": "s3://out/runs"})
        started = await client.start_run_batch(**{**asked, "defaultRunSetting": without_output})
        tagged = {"runSettingId": "a", "runTags": {"emulator:submission": "RequestTimeoutException"}}
        unknown = {"runSettingId": "b", "runTags": {"emulator:life": "unknown"}}
        other = await client.start_run_batch(**{**batch(tagged, unknown), "requestId": "s"})
        clock.pass_by(60)
        first, second = (await client.list_runs_in_batch(batchId=started["id"]))["runs"]
        reasons = [
            run["submissionFailureReason"] for run in (await client.list_runs_in_batch(batchId=other["id"]))["runs"]
        ]
        summary = (await client.get_batch(batchId=started["id"]))["submissionSummary"]

    assert first["submissionStatus"] == "FAILED"
    assert first["submissionFailureReason"] == "ValidationException"
    assert "outputUri" in first["submissionFailureMessage"]
    assert {"runId", "runArn", "runInternalUuid"}.isdisjoint(first)
    assert (second["submissionStatus"], "runId" in second) == ("SUCCESS", True)
    assert reasons == ["RequestTimeoutException", "ValidationException"]
    assert (summary["failedStartSubmissionCount"], summary["successfulStartSubmissionCount"]) == (1, 1)


async def test_lists_about_batches_take_one_filter_per_call(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        plain = emulator.start_batch(3, Life.of("RUNNING"), name="a", failed_submissions=1, runs_per_second=1000)
        grouped = emulator.start_batch(1, name="b", default_run_setting={"runGroupId": "77"}, starts_in=-1.5)
        clock.pass_by(4)
        runs = await read(client, "list_runs_in_batch", "runs", batchId=plain)
        listed = await read(client, "list_batch", "items", PaginationConfig={"PageSize": 1})

        assert [item["id"] for item in listed] == [plain, grouped]
        assert {item["workflowId"] for item in listed} == {"4074992"}
        for filters, found in (
            ({"name": "a"}, [plain]),
            ({"runGroupId": "77"}, [grouped]),
            ({"status": "INPROGRESS"}, [plain, grouped]),
            ({"status": "PROCESSED"}, []),
        ):
            assert [item["id"] for item in await read(client, "list_batch", "items", **filters)] == found
        for filters, some in (
            ({"submissionStatus": "SUCCESS"}, [run for run in runs if "runId" in run]),
            ({"submissionStatus": "FAILED"}, [run for run in runs if "runId" not in run]),
            ({"runSettingId": "a-2"}, runs[1:2]),
            ({"runId": runs[0]["runId"]}, runs[:1]),
        ):
            assert await read(client, "list_runs_in_batch", "runs", batchId=plain, **filters) == some
        both = ({"name": "a", "status": "PENDING"}, {"submissionStatus": "FAILED", "runSettingId": "a-1"})
        assert await refusal(client.list_batch(**both[0])) == ("ValidationException", 400)
        assert await refusal(client.list_runs_in_batch(batchId=plain, **both[1])) == ("ValidationException", 400)
        assert await refusal(client.list_runs_in_batch(batchId="1")) == ("ResourceNotFoundException", 404)
        assert await refusal(client.get_batch(batchId="x")) == ("ValidationException", 400)


async def test_their_pages_are_sized_by_max_items(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator, parameter_validation=False) as client:
        batch_id = emulator.start_batch(150, Life.of("RUNNING"), runs_per_second=1000)
        clock.pass_by(10)
        first = await client.list_runs_in_batch(batchId=batch_id)
        rest = await client.list_runs_in_batch(batchId=batch_id, startingToken=first["nextToken"])
        small = await client.list_runs_in_batch(batchId=batch_id, maxItems=7)
        whole = await read(client, "list_runs_in_batch", "runs", batchId=batch_id, PaginationConfig={"PageSize": 40})

        assert (len(first["runs"]), len(rest["runs"]), "nextToken" in rest, len(small["runs"])) == (100, 50, False, 7)
        assert [run["runId"] for run in whole] == emulator.batch_runs(batch_id)
        for asked in (client.list_runs_in_batch(batchId=batch_id, maxItems=101), client.list_batch(maxItems=0)):
            assert await refusal(asked) == ("ValidationException", 400)
        foreign = client.list_batch(startingToken=first["nextToken"])
        assert await refusal(foreign) == ("ValidationException", 400)


async def test_a_batch_is_cancelled_its_runs_and_itself_deleted(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        batch_id = emulator.start_batch(2, Life.of("RUNNING"), runs_per_second=1000)
        assert await refusal(client.cancel_run_batch(batchId=batch_id)) == ("ConflictException", 409)
        clock.pass_by(10)
        cancelled = await client.cancel_run_batch(batchId=batch_id)
        stopping = await client.get_batch(batchId=batch_id)
        again = await refusal(client.cancel_run_batch(batchId=batch_id))
        early = await refusal(client.delete_batch(batchId=batch_id))
        clock.pass_by(10)
        stopped = await client.get_batch(batchId=batch_id)
        deleted = await client.delete_run_batch(batchId=batch_id)
        clock.pass_by(10)
        emptied = await client.get_batch(batchId=batch_id)
        gone = await client.delete_batch(batchId=batch_id)

        assert [answer["ResponseMetadata"]["HTTPStatusCode"] for answer in (cancelled, deleted, gone)] == [202] * 3
        assert [answer["status"] for answer in (stopping, stopped, emptied)] == [
            "STOPPING",
            "CANCELLED",
            "RUNS_DELETED",
        ]
        assert (stopped["runSummary"]["cancelledRunCount"], emptied["runSummary"]["deletedRunCount"]) == (2, 2)
        assert stopped["submissionSummary"]["successfulCancelSubmissionCount"] == 2
        assert again == early == ("ConflictException", 409)
        for asked in (
            client.get_batch(batchId=batch_id),
            client.cancel_run_batch(batchId=batch_id),
            client.delete_run_batch(batchId=batch_id),
            client.list_runs_in_batch(batchId=batch_id),
        ):
            assert await refusal(asked) == ("ResourceNotFoundException", 404)
        assert await read(client, "list_runs", "items") == []
        assert emulator.batch_status(batch_id) is None


async def test_lives_of_a_batch_may_differ_by_place_or_by_tag(omics: Omics, clock: HandClock) -> None:
    scenario = Scenario(lives={"bad": Life.of("FAILED")}, default_life=Life.of("RUNNING"))
    async with Emulator(scenario, now=clock) as emulator:
        placed = emulator.start_batch(3, lambda place: Life.of(("RUNNING", "COMPLETED", "FAILED")[place]))
        tagged = emulator.start_batch(
            [{"runSettingId": "a"}, {"runSettingId": "b", "runTags": {"emulator:life": "bad"}}]
        )
        clock.pass_by(10)
        statuses = [[emulator.status_of(run) for run in emulator.batch_runs(one)] for one in (placed, tagged)]
        with pytest.raises(KeyError):
            emulator.start_batch(1, "unknown")

    assert statuses == [["RUNNING", "COMPLETED", "FAILED"], ["RUNNING", "FAILED"]]


async def test_get_batch_counts_late_what_get_run_shows_at_once(omics: Omics, clock: HandClock) -> None:
    async with Emulator(Scenario(counters_lag_seconds=30), now=clock) as emulator, omics(emulator) as client:
        batch_id = emulator.start_batch(1, Life.of(("RUNNING", 100), "COMPLETED"))
        clock.pass_by(3)
        (run_id,) = emulator.batch_runs(batch_id)
        early = await client.get_batch(batchId=batch_id)
        run = await client.get_run(id=run_id)
        emulator.counters_lag_seconds = 0
        late = await client.get_batch(batchId=batch_id)

    assert run["status"] == "RUNNING"
    assert early["runSummary"]["runningRunCount"] == 0
    assert early["submissionSummary"]["successfulStartSubmissionCount"] == 1
    assert late["runSummary"]["runningRunCount"] == 1


async def test_a_run_group_is_shown_as_it_was_declared(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        emulator.add_group("77", name="lab", max_runs=2, max_duration=600, tags={"a": "b"})
        created = clock.moment
        clock.pass_by(5)
        emulator.add_group("77", name="lab", max_runs=3)
        group = await client.get_run_group(id="77")

        assert (group["id"], group["name"], group["maxRuns"]) == ("77", "lab", 3)
        assert group["arn"] == "arn:aws:omics:us-east-1:123456789012:runGroup/77"
        assert group["creationTime"] == created
        assert "maxDuration" not in group
        assert await refusal(client.get_run_group(id="78")) == ("ResourceNotFoundException", 404)
        assert await refusal(client.get_run_group(id="x")) == ("ValidationException", 400)


async def test_faults_befall_batches_and_their_lists(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        one, other = (emulator.start_batch(2, Life.of("RUNNING"), runs_per_second=1000) for _ in range(2))
        clock.pass_by(10)
        hidden = emulator.batch_runs(one)[0]
        emulator.add_fault(Fault(kind="hidden", operation="GetBatch", batch_id=one))
        emulator.add_fault(Fault(kind="hidden", operation="ListRunsInBatch", run_id=hidden))
        emulator.add_fault(Fault(kind="error", operation="CancelRunBatch", batch_id=one, code="ThrottlingException"))

        assert await refusal(client.get_batch(batchId=one)) == ("ResourceNotFoundException", 404)
        assert (await client.get_batch(batchId=other))["id"] == other
        assert len(await read(client, "list_runs_in_batch", "runs", batchId=one)) == 1
        assert await refusal(client.cancel_run_batch(batchId=one)) == ("ThrottlingException", 429)
        await client.cancel_run_batch(batchId=other)
        emulator.clear_faults()
        emulator.add_fault(Fault(kind="hidden", operation="ListRunsInBatch"))
        assert await read(client, "list_runs_in_batch", "runs", batchId=one) == []
        assert {(call.operation, call.batch_id) for call in emulator.calls if call.operation == "CancelRunBatch"} == {
            ("CancelRunBatch", one),
            ("CancelRunBatch", other),
        }
