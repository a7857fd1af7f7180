"""The emulator over real HTTP, asked by aiobotocore and boto3."""

import json
import socket
from typing import Any

import anyio
import anyio.lowlevel
import boto3
import pytest
from aiohttp import ClientError as HttpError
from aiohttp import ClientSession
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, ReadTimeoutError

from poller.emulator import (
    GONE,
    SERVICE_QUOTAS,
    Emulator,
    Fault,
    Life,
    Outage,
    Refused,
    Scenario,
    Step,
    random_scenario,
)
from poller.emulator.control import is_local
from poller.emulator.errors import HTTP_STATUS, MODELLED

from .conftest import REQUIRED, HandClock, Omics, refusal


async def ids(client: Any, **filters: Any) -> list[str]:
    """The ids of all pages of ListRuns."""
    pages = client.get_paginator("list_runs").paginate(**filters)
    return [item["id"] async for page in pages for item in page["items"]]


# The life of a run


async def test_boto3_follows_a_run_to_its_end(clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator:
        run_id = emulator.start_run(Life.completed(1, 2, 3, 4), name="sample-42", tags={"project": "x"})

        def look() -> Any:
            client = boto3.client(
                "omics",
                region_name="us-east-1",
                endpoint_url=emulator.url,
                aws_access_key_id="emulated",
                aws_secret_access_key="emulated",
                config=Config(inject_host_prefix=False),
            )
            return client.get_run(id=run_id), client.list_runs(status="COMPLETED")["items"]

        clock.pass_by(10)
        run, items = await anyio.to_thread.run_sync(look)

    assert (run["id"], run["name"], run["status"], run["tags"]) == (run_id, "sample-42", "COMPLETED", {"project": "x"})
    assert [item["id"] for item in items] == [run_id]
    assert "uuid" not in items[0]


async def test_each_status_shows_the_fields_that_belong_to_it(clock: HandClock, omics: Omics) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.failed("RUN_TASK_FAILED", pending=1, starting=2, running=30, stopping=4))
        begin = clock.moment
        shown: dict[str, Any] = {}
        for seconds in (0, 1, 2, 30, 4):
            clock.pass_by(seconds)
            run = await client.get_run(id=run_id)
            shown[run["status"]] = run

    assert list(shown) == ["PENDING", "STARTING", "RUNNING", "STOPPING", "FAILED"]
    assert all(run["creationTime"] == begin for run in shown.values())
    assert [status for status, run in shown.items() if "startTime" in run] == ["RUNNING", "STOPPING", "FAILED"]
    assert [status for status, run in shown.items() if "stopTime" in run] == ["FAILED"]
    assert [status for status, run in shown.items() if "failureReason" in run] == ["FAILED"]
    assert "resourceDigests" not in shown["PENDING"]
    assert (shown["FAILED"]["stopTime"] - begin).total_seconds() == pytest.approx(37, abs=0.001)
    assert shown["FAILED"]["statusMessage"].startswith("Run failed because task failed. Task name: ")
    assert shown["FAILED"]["logLocation"]["engineLogStream"].endswith(f":run/{run_id}/engine")


async def test_the_speed_shortens_lives_and_leaves_the_clock_alone(clock: HandClock) -> None:
    async with Emulator(now=clock, speed=60) as emulator:
        run_id = emulator.start_run(Life.completed(pending=60, starting=60, running=60, stopping=60))
        clock.pass_by(4)

        assert emulator.status_of(run_id) == "COMPLETED"
        assert (emulator.history()[-1].at - clock.moment).total_seconds() == pytest.approx(0, abs=0.001)


async def test_the_history_is_what_the_answers_said(clock: HandClock, omics: Omics) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.completed(1, 2, 3, 4))
        clock.pass_by(10)
        run = await client.get_run(id=run_id)
        history = {transition.status: transition for transition in emulator.history()}

    assert history["PENDING"].at == run["creationTime"]
    assert history["RUNNING"].at == run["startTime"]
    assert history["COMPLETED"].at == run["stopTime"]
    assert {transition.uuid for transition in history.values()} == {run["uuid"]}


# ListRuns


async def test_lists_are_paged_by_an_opaque_token(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        started = [emulator.start_run(Life.of("RUNNING")) for _ in range(7)]
        first = await client.list_runs(status="RUNNING", maxResults=3)
        paged = await ids(client, status="RUNNING", PaginationConfig={"PageSize": 3})
        last = await client.list_runs(maxResults=7)
        code = await refusal(client.list_runs(status="PENDING", startingToken=first["nextToken"]))
        nonsense = await refusal(client.list_runs(startingToken="§§"))

    assert len(first["items"]) == 3
    assert paged == started[::-1]
    assert "nextToken" not in last
    assert code == nonsense == ("ValidationException", 400)


async def test_lists_are_filtered_by_everything_that_the_model_names(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        running = emulator.start_run(Life.of("RUNNING"), name="a", run_group_id="1", batch_id="2")
        failed = emulator.start_run(Life.of("FAILED"), name="a", run_group_id="1")
        other = emulator.start_run(Life.of("RUNNING"), name="b", batch_id="2")

        assert await ids(client) == [other, failed, running]
        assert await ids(client, status="RUNNING") == [other, running]
        assert await ids(client, name="a") == [failed, running]
        assert await ids(client, runGroupId="1") == [failed, running]
        assert await ids(client, batchId="2") == [other, running]
        assert await ids(client, name="a", status="RUNNING", batchId="2", runGroupId="1") == [running]
        assert await ids(client, name="c") == []


@pytest.mark.parametrize(
    "wrong", [{"status": "PAUSED"}, {"maxResults": 101}, {"maxResults": 0}, {"runGroupId": "x"}, {"name": "n" * 129}]
)
async def test_parameters_that_the_model_forbids_are_refused(omics: Omics, wrong: dict[str, Any]) -> None:
    async with Emulator() as emulator, omics(emulator, parameter_validation=False) as client:
        assert await refusal(client.list_runs(**wrong)) == ("ValidationException", 400)


@pytest.mark.parametrize("run_id", ["abc", "1" * 19, "a/b"])
async def test_malformed_ids_are_refused(omics: Omics, run_id: str) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        assert await refusal(client.get_run(id=run_id)) == ("ValidationException", 400)
        assert await refusal(client.cancel_run(id=run_id)) == ("ValidationException", 400)


# StartRun, CancelRun, DeleteRun


async def test_a_started_run_echoes_what_was_asked(omics: Omics) -> None:
    asked = {
        "name": "sample-42",
        "tags": {"project": "x"},
        "runGroupId": "9938959",
        "priority": 7,
        "parameters": {"input": "s3://in/a.csv", "depth": {"of": [1, 2]}},
        "storageType": "DYNAMIC",
        "logLevel": "ERROR",
        "retentionMode": "REMOVE",
        "cacheId": "8205283",
        "workflowVersionName": "1.2.1",
        "engineSettings": {"profile": "test"},
    }
    async with Emulator(Scenario(default_life=Life.of("PENDING"))) as emulator, omics(emulator) as client:
        started = await client.start_run(**REQUIRED, **asked, requestId="r")
        run = await client.get_run(id=started["id"])
        exported = await client.get_run(id=started["id"], export=["DEFINITION"])

    assert started["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert started["status"] == "PENDING"
    assert {name: run[name] for name in asked} == asked
    assert (run["uuid"], run["arn"], run["runOutputUri"]) == (started["uuid"], started["arn"], started["runOutputUri"])
    assert "definition" not in run
    assert "definition" in exported


async def test_the_same_request_id_gives_the_same_run(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        first = await client.start_run(**REQUIRED, requestId="r")
        again = await client.start_run(**REQUIRED, requestId="r")
        other = await client.start_run(**REQUIRED, requestId="s")

        assert first["id"] == again["id"] != other["id"]
        assert first["uuid"] == again["uuid"]
        assert len(await ids(client)) == 2


async def test_a_run_can_be_run_again_by_its_id(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        first = await client.start_run(**REQUIRED, requestId="r", name="a", runGroupId="3")
        again = {name: value for name, value in REQUIRED.items() if name != "workflowId"}
        second = await client.start_run(**again, requestId="s", runId=first["id"], name="b")
        run = await client.get_run(id=second["id"])
        missing = await refusal(client.start_run(**again, requestId="t", runId="1"))

    assert (run["name"], run["runGroupId"], run["workflowId"]) == ("b", "3", "4074992")
    assert run["uuid"] != first["uuid"]
    assert missing == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workflowId": "x"},
        {"roleArn": "role"},
        {"outputUri": ""},
        {"priority": -1},
        {"priority": True},
        {"storageType": "FAST"},
        {"parameters": []},
        {"tags": {"a": 1}},
        {"tags": {"emulator:life": "unknown"}},
        {"requestId": None},
        {"workflowId": None},
    ],
)
async def test_a_start_that_the_model_forbids_is_refused(wrong: dict[str, Any]) -> None:
    async with Emulator() as emulator, ClientSession() as session:
        async with session.post(f"{emulator.url}/run", json={**REQUIRED, "requestId": "r", **wrong}) as answer:
            assert answer.status == 400
            assert answer.headers["x-amzn-ErrorType"] == "ValidationException"
        assert emulator.history() == []


async def test_the_life_of_a_started_run_is_chosen_by_a_tag(omics: Omics, clock: HandClock) -> None:
    scenario = Scenario(lives={"bad": Life.failed("IMPORT_FAILED")}, default_life=Life.completed())
    async with Emulator(scenario, now=clock) as emulator, omics(emulator) as client:
        bad = await client.start_run(**REQUIRED, requestId="r", tags={"emulator:life": "bad"})
        good = await client.start_run(**REQUIRED, requestId="s")
        clock.pass_by(60)

        assert emulator.status_of(bad["id"]) == "FAILED"
        assert emulator.status_of(good["id"]) == "COMPLETED"


async def test_cancel_and_delete_answer_as_the_service_does(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        pending = emulator.start_run(Life.of("PENDING"))
        running = emulator.start_run(Life.of("RUNNING"))
        early = await refusal(client.delete_run(id=running))
        answers = [await client.cancel_run(id=run_id) for run_id in (pending, running)]
        stopping = await client.get_run(id=running)
        cancelled = await client.get_run(id=pending)
        clock.pass_by(5)
        late = await refusal(client.cancel_run(id=running))
        deleted = await client.delete_run(id=running)
        gone = await refusal(client.get_run(id=running))
        again = await refusal(client.delete_run(id=running))

    assert {answer["ResponseMetadata"]["HTTPStatusCode"] for answer in [*answers, deleted]} == {202}
    assert early == late == ("ConflictException", 409)
    assert stopping["status"] == "STOPPING"
    assert (cancelled["status"], "startTime" in cancelled, "stopTime" in cancelled) == ("CANCELLED", False, True)
    assert gone == again == ("ResourceNotFoundException", 404)


async def test_a_reused_id_is_another_run(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        emulator.start_run(Life.of("COMPLETED"), run_id="7830534")
        first = await client.get_run(id="7830534")
        with pytest.raises(Refused, match="ConflictException"):
            emulator.start_run(run_id="7830534")
        await client.delete_run(id="7830534")
        emulator.start_run(Life.of("PENDING"), run_id="7830534")
        second = await client.get_run(id="7830534")

    assert first["arn"] == second["arn"]
    assert first["uuid"] != second["uuid"]


async def test_at_the_limit_of_runs_an_old_one_is_evicted_or_the_new_one_refused(omics: Omics) -> None:
    async with Emulator(Scenario(max_runs=1)) as emulator, omics(emulator) as client:
        first = await client.start_run(**REQUIRED, requestId="r", retentionMode="REMOVE")
        second = await client.start_run(**REQUIRED, requestId="s", retentionMode="REMOVE")

        assert await refusal(client.get_run(id=first["id"])) == ("ResourceNotFoundException", 404)
        assert await ids(client) == [second["id"]]
        assert await refusal(client.start_run(**REQUIRED, requestId="t")) == ("ServiceQuotaExceededException", 402)


# Tasks


async def test_the_tasks_of_a_failed_run_tell_why(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.failed("RUN_TASK_FAILED"))
        none_yet = await client.list_run_tasks(id=run_id)
        clock.pass_by(60)
        run = await client.get_run(id=run_id)
        pages = client.get_paginator("list_run_tasks").paginate(id=run_id, PaginationConfig={"PageSize": 1})
        tasks = [item async for page in pages for item in page["items"]]
        failed = (await client.list_run_tasks(id=run_id, status="FAILED"))["items"]
        task = await client.get_run_task(id=run_id, taskId=failed[0]["taskId"])
        missing = await refusal(client.get_run_task(id=run_id, taskId="1"))

    assert none_yet["items"] == []
    assert len(tasks) >= 2
    assert [item["status"] for item in tasks[:-1]] == ["COMPLETED"] * (len(tasks) - 1)
    assert tasks[-1] == failed[0]
    assert "failureReason" not in failed[0]
    assert (task["failureReason"], bool(task["statusMessage"])) == ("RUN_TASK_FAILED", True)
    assert task["taskId"] in run["statusMessage"]
    assert all(run["startTime"] <= item["creationTime"] and item["stopTime"] <= run["stopTime"] for item in tasks)
    assert missing == ("ResourceNotFoundException", 404)


# What the service would never do


async def test_a_script_may_hold_unknown_statuses_and_contradicting_ends(omics: Omics, clock: HandClock) -> None:
    life = Life.of(("PENDING", 1), ("PAUSED", 1), ("FAILED", 1), "COMPLETED")
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(life)
        seen = []
        for _ in range(4):
            seen.append((await client.get_run(id=run_id))["status"])
            clock.pass_by(1)

    assert seen == ["PENDING", "PAUSED", "FAILED", "COMPLETED"]


async def test_fields_can_be_added_replaced_and_left_out(omics: Omics, clock: HandClock) -> None:
    fields = {"uuid": None, "newerThanTheModel": {"deep": [1]}, "name": "other"}
    life = Life.of(Step("PENDING", 1, {"sinceBefore": 1}), Step("RUNNING", 1, {"sinceBefore": None}))
    async with Emulator(now=clock) as emulator, ClientSession() as session:
        run_id = emulator.start_run(life, name="mine", fields=fields, item_fields={"newInLists": True})
        pending = await (await session.get(f"{emulator.url}/run/{run_id}")).json()
        clock.pass_by(1)
        running = await (await session.get(f"{emulator.url}/run/{run_id}")).json()
        (item,) = (await (await session.get(f"{emulator.url}/run")).json())["items"]

    assert "uuid" not in pending
    assert (pending["newerThanTheModel"], pending["name"]) == ({"deep": [1]}, "other")
    assert (pending["sinceBefore"], "sinceBefore" in running) == (1, False)
    assert (item["name"], item["newInLists"], "newerThanTheModel" in item) == ("other", True, False)


async def test_a_new_run_can_be_invisible_for_a_while_to_single_operations(omics: Omics, clock: HandClock) -> None:
    async with (
        Emulator(Scenario(visible_after={"GetRun": 2, "ListRuns": 4}), now=clock) as emulator,
        omics(emulator) as client,
    ):
        run_id = emulator.start_run(Life.of("PENDING"))
        assert await refusal(client.get_run(id=run_id)) == ("ResourceNotFoundException", 404)
        assert await ids(client) == []
        clock.pass_by(2)
        assert (await client.get_run(id=run_id))["id"] == run_id
        assert await ids(client) == []
        clock.pass_by(2)
        assert await ids(client) == [run_id]


async def test_a_run_can_be_moved_by_hand_and_evicted(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of("PENDING"))
        emulator.move_run(run_id, "RUNNING")
        assert (await client.get_run(id=run_id))["status"] == "RUNNING"
        emulator.evict(run_id)

        assert await refusal(client.get_run(id=run_id)) == ("ResourceNotFoundException", 404)
        assert emulator.status_of(run_id) is None
        assert [transition.status for transition in emulator.history()] == ["PENDING", "RUNNING", GONE]


# Faults and quotas


@pytest.mark.parametrize("code", MODELLED)
@pytest.mark.parametrize("named_in", ["header", "body"])
async def test_every_modelled_error_reaches_the_client_by_its_name(omics: Omics, code: str, named_in: Any) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        emulator.add_fault(Fault(kind="error", operation="ListRuns", code=code, message="so it is", named_in=named_in))
        with pytest.raises(ClientError) as caught:
            await client.list_runs()

    assert caught.value.response["Error"] == {"Code": code, "Message": "so it is"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == HTTP_STATUS[code]


async def test_errors_may_befall_one_run_or_operation_only(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        denied, other = emulator.start_run(Life.of("RUNNING")), emulator.start_run(Life.of("RUNNING"))
        emulator.add_fault(Fault(kind="error", operation="GetRun", run_id=denied, code="AccessDeniedException"))
        emulator.add_fault(Fault(kind="error", operation="ListRunTasks", code="ExpiredTokenException", count=1))

        assert await refusal(client.get_run(id=denied)) == ("AccessDeniedException", 403)
        assert (await client.get_run(id=other))["id"] == other
        assert await refusal(client.list_run_tasks(id=other)) == ("ExpiredTokenException", 403)
        assert (await client.list_run_tasks(id=other))["items"] is not None


async def test_an_error_may_have_no_name_and_a_retry_after(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        emulator.add_fault(Fault(kind="error", code="", http_status=503, retry_after=7))
        with pytest.raises(ClientError) as caught:
            await client.list_runs()

    assert caught.value.response["Error"]["Code"] == "503"
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"


@pytest.mark.parametrize("kind", ["truncated", "html", "empty"])
async def test_a_good_answer_with_an_unreadable_body_is_silently_empty(omics: Omics, kind: Any) -> None:
    """What botocore makes of it, and why a client must look for `status`."""
    async with Emulator() as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of("RUNNING"))
        emulator.add_fault(Fault(kind=kind))

        assert set(await client.get_run(id=run_id)) == {"ResponseMetadata"}


@pytest.mark.parametrize(("kind", "error"), [("array", AttributeError), ("bad_timestamp", ValueError)])
async def test_some_bodies_break_the_client_itself(omics: Omics, kind: Any, error: type[Exception]) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of("RUNNING"))
        emulator.add_fault(Fault(kind=kind))

        with pytest.raises(error):
            await client.get_run(id=run_id)


@pytest.mark.parametrize("kind", ["reset", "cut_off"])
async def test_a_broken_connection_is_a_connection_error(omics: Omics, kind: Any) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        emulator.add_fault(Fault(kind=kind))

        with pytest.raises((ConnectionError, HTTPClientError)):
            await client.list_runs()
        assert emulator.outcome_counts["ListRuns", kind] >= 1


async def test_a_call_that_hangs_is_ended_by_its_client(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator, read_timeout=0.05) as client:
        emulator.add_fault(Fault(kind="hang", count=1))

        with pytest.raises(ReadTimeoutError):
            await client.list_runs()
        assert await ids(client) == []


async def asked(emulator: Emulator) -> None:
    """Return once the emulator has been asked anything."""
    while not emulator.calls:  # the log of calls is a list, and a request is under way
        await anyio.lowlevel.checkpoint()


async def test_a_call_that_hangs_does_not_keep_the_emulator_from_ending() -> None:
    async with anyio.create_task_group() as tasks, ClientSession() as session, Emulator() as emulator:
        emulator.add_fault(Fault(kind="hang"))

        async def hang() -> None:
            with pytest.raises((HttpError, OSError)):
                await session.get(f"{emulator.url}/run")

        tasks.start_soon(hang)
        await asked(emulator)


async def test_a_slow_call_is_answered_with_what_is_true_then(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of("PENDING"))
        emulator.add_fault(Fault(kind="slow", seconds=0.05))
        async with anyio.create_task_group() as tasks:

            async def move() -> None:
                await asked(emulator)
                emulator.move_run(run_id, "RUNNING")

            tasks.start_soon(move)
            assert (await client.get_run(id=run_id))["status"] == "RUNNING"
        (call,) = emulator.calls
        assert call.answered_at is not None
        assert (call.answered_at - call.at).total_seconds() >= 0.05


async def test_a_stale_read_shows_the_past(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of(("PENDING", 10), "RUNNING"))
        fresh = emulator.start_run(Life.of(("PENDING", 10), "RUNNING"), starts_in=9)
        clock.pass_by(11)
        stale = Fault(kind="stale", seconds=5)
        emulator.add_fault(stale)

        assert (await client.get_run(id=run_id))["status"] == "PENDING"
        assert await refusal(client.get_run(id=fresh)) == ("ResourceNotFoundException", 404)
        assert await ids(client, status="PENDING") == [run_id]
        emulator.clear_faults()
        assert await ids(client, status="PENDING") == [fresh]
        emulator.add_fault(Fault(kind="stale", seconds=5, operation="ListRuns", run_id=run_id))
        assert await ids(client, status="PENDING") == [fresh, run_id]
        assert (await client.get_run(id=run_id))["status"] == "RUNNING"


async def test_a_run_can_be_hidden_from_single_operations(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        hidden, other = emulator.start_run(Life.of("RUNNING")), emulator.start_run(Life.of("RUNNING"))
        emulator.add_fault(Fault(kind="hidden", operation="ListRuns", run_id=hidden))
        assert await ids(client) == [other]
        assert (await client.get_run(id=hidden))["id"] == hidden
        emulator.clear_faults()
        emulator.add_fault(Fault(kind="hidden", operation="GetRun", run_id=hidden))
        assert await ids(client) == [other, hidden]
        assert await refusal(client.get_run(id=hidden)) == ("ResourceNotFoundException", 404)
        emulator.clear_faults()
        emulator.add_fault(Fault(kind="hidden", operation="ListRuns"))
        assert await ids(client) == []


async def test_members_of_an_answer_can_be_altered(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of("RUNNING"))
        emulator.add_fault(Fault(kind="altered", operation="GetRun", fields={"id": "1", "status": None}))
        run = await client.get_run(id=run_id)

    assert run["id"] == "1"
    assert "status" not in run


async def test_the_quota_throttles_what_goes_beyond_it(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock, quota_per_second=SERVICE_QUOTAS) as emulator, omics(emulator) as client:
        for _ in range(10):
            await client.list_runs()
        assert await refusal(client.list_runs()) == ("ThrottlingException", 429)
        clock.pass_by(0.1)
        await client.list_runs()
        assert emulator.outcome_counts["ListRuns", "200"] == 11
        assert emulator.outcome_counts["ListRuns", "ThrottlingException"] == 1


async def test_others_spend_from_the_quota_on_the_clock_and_it_can_be_changed(omics: Omics, clock: HandClock) -> None:
    scenario = Scenario(quota_per_second=10, foreign_calls_per_second={"ListRuns": 20})
    async with Emulator(scenario, now=clock) as emulator, omics(emulator) as client:
        clock.pass_by(5)
        assert await refusal(client.list_runs()) == ("ThrottlingException", 429)
        await client.get_run(id=emulator.start_run())
        others = emulator.foreign_calls()["ListRuns"]
        assert (others.made, emulator.call_counts["ListRuns"]) == (100, 1)
        assert 35 <= others.refused <= 45
        emulator.quota_per_second = {"ListRuns": 40}
        emulator.foreign_calls_per_second = {"ListRuns": 5}
        clock.pass_by(1)
        await client.list_runs()
        assert emulator.foreign_calls_per_second == {"ListRuns": 5}


@pytest.mark.parametrize(
    ("kind", "error"),
    [("unavailable", ClientError), ("reset", (ConnectionError, HTTPClientError)), ("hang", ReadTimeoutError)],
)
async def test_an_outage_comes_and_goes_on_the_clock_and_spends_no_quota(
    omics: Omics, clock: HandClock, kind: Any, error: Any
) -> None:
    outage = Outage(kind=kind, start=60, seconds=30, operations=("ListRuns",))
    scenario = Scenario(outages=(outage,), quota_per_second=1)
    async with Emulator(scenario, now=clock) as emulator, omics(emulator, read_timeout=0.2) as client:
        run_id = emulator.start_run(Life.of("RUNNING"))
        await client.list_runs()
        clock.pass_by(60)
        emulator.add_fault(Fault(kind="error", operation="ListRuns", code="ThrottlingException", count=1))
        for _ in range(3):
            with pytest.raises(error) as caught:
                await client.list_runs()
            assert "429" not in str(caught.value).replace(emulator.url, "")  # a port may have these digits
        await client.get_run(id=run_id)
        clock.pass_by(30)
        assert await refusal(client.list_runs()) == ("ThrottlingException", 429)  # the fault, not used up meanwhile
        clock.pass_by(1)
        await client.list_runs()


async def test_an_outage_is_told_as_the_load_balancer_tells_it(omics: Omics) -> None:
    async with Emulator() as emulator, omics(emulator) as client:
        emulator.add_outage(Outage(seconds=60))
        assert await refusal(client.list_runs()) == ("ServiceUnavailableException", 503)
        emulator.clear_outages()
        await client.list_runs()


async def test_thousands_of_runs_that_nobody_watches_are_started_at_once(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        foreign = emulator.start_runs(3000, Life.of("RUNNING"), name="other", run_group_id="77")
        emulator.start_runs(5, Life.of(("RUNNING", 60), "COMPLETED"), every=10, starts_in=-20)
        page = await client.list_runs(status="RUNNING", runGroupId="77", maxResults=100)

        assert emulator.census() == {"RUNNING": 3003}
        assert len(set(foreign)) == 3000
        assert page["items"][0]["name"] == "other-3000"
        clock.pass_by(45)
        assert emulator.census() == {"RUNNING": 3004, "COMPLETED": 1}


async def test_while_it_is_down_connections_are_refused_and_lives_go_on(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.completed(1, 1, 1, 1))
        url = emulator.url
        await client.get_run(id=run_id)
        emulator.down()
        with pytest.raises(ConnectionError):
            await client.get_run(id=run_id)
        clock.pass_by(4)
        emulator.up()
        emulator.down()
        emulator.up()

        assert emulator.url == url
        assert (await client.get_run(id=run_id))["status"] == "COMPLETED"


async def test_after_the_context_nobody_listens() -> None:
    async with Emulator() as emulator:
        host, port = emulator.url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


# The log, the identity and the control endpoints


async def test_every_call_is_logged_with_its_outcome(omics: Omics, clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, omics(emulator) as client:
        run_id = emulator.start_run(Life.of("RUNNING"))
        await client.get_run(id=run_id)
        await client.list_runs(status="RUNNING")
        await refusal(client.get_run(id="1"))

    assert [(call.operation, call.run_id, call.status, call.outcome) for call in emulator.calls] == [
        ("GetRun", run_id, None, "200"),
        ("ListRuns", None, "RUNNING", "200"),
        ("GetRun", "1", None, "ResourceNotFoundException"),
    ]
    assert emulator.call_counts == {"GetRun": 2, "ListRuns": 1}
    assert all(call.at == call.answered_at == clock.moment for call in emulator.calls)


async def test_the_identity_of_the_caller_is_what_the_test_says() -> None:
    async with Emulator(account_id="111122223333") as emulator:

        def ask() -> Any:
            sts = boto3.client(
                "sts",
                region_name="us-east-1",
                endpoint_url=emulator.url,
                aws_access_key_id="emulated",
                aws_secret_access_key="emulated",
                config=Config(retries={"total_max_attempts": 1}),
            )
            return sts.get_caller_identity()

        first = await anyio.to_thread.run_sync(ask)
        emulator.caller_account_id = "444455556666"
        second = await anyio.to_thread.run_sync(ask)
        emulator.add_fault(Fault(kind="error", operation="GetCallerIdentity", code="ExpiredToken"))
        with pytest.raises(ClientError, match="ExpiredToken"):
            await anyio.to_thread.run_sync(ask)

    assert (first["Account"], second["Account"]) == ("111122223333", "444455556666")
    assert first["Arn"].startswith("arn:aws:sts::111122223333:")


async def test_other_processes_control_it_over_http(clock: HandClock) -> None:
    async with Emulator(now=clock) as emulator, ClientSession(f"{emulator.url}/_emulator/") as session:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            async with session.request(method, path, data=None if body is None else json.dumps(body)) as answer:
                return answer.status, await answer.json()

        run = {"life": ["PENDING 1", "RUNNING"], "run_id": "7830534", "name": "sample", "tags": {"a": "b"}}
        assert await ask("POST", "runs", run) == (200, {"ids": ["7830534"]})
        assert (await ask("POST", "runs", run))[0] == 409
        assert len((await ask("POST", "runs", {"count": 2, "name": "more", "starts_in": 3600}))[1]["ids"]) == 2
        assert (await ask("POST", "runs", {"lif": []})) == (
            400,
            {"message": "run: lif: no such key; did you mean life?"},
        )
        clock.pass_by(1)
        assert await ask("POST", "runs/7830534", {"life": ["STOPPING 1", "COMPLETED"]}) == (200, {})
        assert await ask("DELETE", "runs/7830534") == (200, {})
        assert (await ask("DELETE", "runs/7830534"))[0] == 404
        _, history = await ask("GET", "history")
        assert [entry["status"] for entry in history["transitions"]] == ["PENDING", "RUNNING", "STOPPING", GONE]
        assert history["transitions"][0]["at"] == "2026-11-23T07:00:00.262471+00:00"

        assert await ask("POST", "faults", {"kind": "error", "code": "ThrottlingException", "count": 1}) == (200, {})
        assert len((await ask("GET", "faults"))[1]["faults"]) == 1
        assert (await ask("POST", "faults", {"kind": "bang"}))[0] == 400
        async with session.get(f"{emulator.url}/run") as answer:
            assert answer.status == 429
        assert await ask("DELETE", "faults") == (200, {})
        assert emulator.faults == []
        _, calls = await ask("GET", "calls")
        assert calls["counts"] == {"ListRuns": 1}
        assert calls["outcomes"] == [["ListRuns", "ThrottlingException", 1]]
        assert calls["calls"][0]["operation"] == "ListRuns"
        assert (await ask("GET", ""))[1]["runs"] == {}
        assert (await ask("GET", "nothing"))[0] == 404


async def test_other_processes_control_batches_settings_and_outages_too(omics: Omics, clock: HandClock) -> None:
    async with (
        Emulator(now=clock) as emulator,
        omics(emulator) as client,
        ClientSession(f"{emulator.url}/_emulator/") as session,
    ):

        async def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            async with session.request(method, path, data=None if body is None else json.dumps(body)) as answer:
                return answer.status, await answer.json()

        _, started = await ask("POST", "batches", {"runs": 3, "life": ["RUNNING"], "name": "cohort", "pending": "1s"})
        clock.pass_by(60)
        batch = (await ask("GET", f"batches/{started['id']}"))[1]
        assert (batch["status"], batch["runs"]) == ("INPROGRESS", emulator.batch_runs(started["id"]))
        assert [entry["status"] for entry in (await ask("GET", "batches"))[1]["transitions"]] == [
            "CREATING",
            "PENDING",
            "SUBMITTING",
            "INPROGRESS",
        ]
        assert await ask("POST", "batches", {"runs": 0}) == (
            400,
            {"message": "batch.runs: 0 is not a whole number above 0"},
        )
        assert (await ask("GET", "batches/1"))[0] == 404
        assert await ask("POST", "groups", {"group_id": "77", "max_runs": 3}) == (200, {})
        assert (await client.get_run_group(id="77"))["maxRuns"] == 3

        changes = {"quota_per_second": {"GetRun": 2}, "foreign_calls_per_second": {"GetRun": 50}, "paging": "offset"}
        assert await ask("POST", "settings", {**changes, "token_seconds": "1m", "counters_lag_seconds": 5}) == (200, {})
        assert (await ask("GET", "settings"))[1] == {**changes, "token_seconds": 60, "counters_lag_seconds": 5}
        clock.pass_by(10)
        assert await refusal(client.get_run(id=batch["runs"][0])) == ("ThrottlingException", 429)
        told = (await ask("GET", ""))[1]
        assert (told["batches"], told["foreign_calls"]["GetRun"]["made"]) == ({"INPROGRESS": 1}, 500)
        assert told["foreign_calls"]["GetRun"]["refused"] > 400
        wrong = {"quota_per_second": "service", "paging": "pages"}
        assert (await ask("POST", "settings", wrong)) == (
            400,
            {"message": "settings.paging: 'pages' is not one of cursor, offset"},
        )
        assert emulator.quota_per_second == {"GetRun": 2}  # nothing of it was done
        assert (await ask("POST", "settings", {"page": 1}))[1] == {
            "message": "settings: page: no such key; did you mean paging?"
        }

        assert await ask("POST", "outages", {"seconds": "5m", "operations": ["ListRuns"]}) == (200, {})
        assert (await ask("GET", "outages"))[1]["outages"][0]["operations"] == ["ListRuns"]
        assert await refusal(client.list_runs()) == ("ServiceUnavailableException", 503)
        assert await ask("DELETE", "outages") == (200, {})
        await client.list_runs()


async def test_what_is_no_operation_is_told_so() -> None:
    async with (
        Emulator() as emulator,
        ClientSession() as session,
        session.get(f"{emulator.url}/workflow") as answer,
    ):
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


def test_a_url_before_its_start_is_told_as_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = Emulator().url


@pytest.mark.parametrize(
    ("remote", "local"), [("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("", False), (None, False)]
)
def test_only_this_machine_controls_it(remote: str | None, local: bool) -> None:
    assert is_local(remote) is local


async def test_the_same_seed_gives_the_same_ids_and_lives(clock: HandClock) -> None:
    histories = []
    for seed in (1, 1, 2):
        async with Emulator(random_scenario(5, seed=seed), seed=seed, now=clock) as emulator:
            emulator.start_run()
            histories.append(emulator.history())

    assert histories[0] == histories[1] != histories[2]
