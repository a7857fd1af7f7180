"""Why runs failed, on virtual time: at its own pace, once, whatever is denied, slow, gone or crashes meanwhile."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import anyio
import pytest

from poller.bell import Bell
from poller.core.cadence import Pace
from poller.core.diagnosis import NO_DIAGNOSIS, DiagnosisTerms
from poller.core.drafts import Place
from poller.core.errors import BadRequest, Denied, ServiceError, Throttled, Transient
from poller.core.events import Event, event_id
from poller.emulator.lives import Life
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.diagnosis import MOST_AT_ONCE, MOST_ATTEMPTS, Diagnoses
from poller.polling.inquiry import CALLS_PER_SECOND, DENIED_FOR, MOST_PAGES, Inquiries
from poller.polling.rules import Rule
from poller.ports.records import Round
from poller.testing.stores.samples import sample_draft
from tests.unit.polling.simulation import (
    ACCOUNT,
    BRISK,
    NO_CREDENTIALS,
    REGION,
    START,
    Simulation,
    refused,
    simulated,
    virtually,
)

WANTED = DiagnosisTerms()
WITH_LOG = DiagnosisTerms(log_lines=20, show_names=("HG*",))
LIFE, OTHER = "96c57683-74bf-9d6d-ae7e-f09b097db14a", "0ad2c1f0-1111-4222-8333-444455556666"
ASKED = ("ListRunTasks", "GetRunTask", "GetLogEvents")


def fails_with(error: Callable[[], ServiceError], *operations: str) -> Callable[[str, str | None], None]:
    def fails(operation: str, _: str | None) -> None:
        if operation in operations:
            raise error()

    return fails


def denied() -> ServiceError:
    return Denied("AccessDeniedException", "not authorized to perform omics:ListRunTasks", operation="ListRunTasks")


def calls(simulation: Simulation, *operations: str) -> list[float]:
    """When these were asked."""
    return [at for at, operation, _ in simulation.service.times if operation in (operations or ASKED)]


def start_failing(simulation: Simulation, reason: str = "OUT_OF_MEMORY_ERROR", after: float = 10, **more: Any) -> str:
    return simulation.start_life(Life.failed(reason, pending=1, starting=1, running=after, stopping=None), **more)


async def told_within(simulation: Simulation, seconds: float, *run_ids: str) -> list[Event]:
    """What was told of runs as diagnosed, by a scope that follows them so long."""
    async with simulation.polling(Rule(), run_ids):
        await anyio.sleep(seconds)
    return await simulation.events("diagnosed")


def second(event: Event, field: str = "observed_at") -> float:
    moment: float = (datetime.fromisoformat(event.data[field]) - START).total_seconds()
    return moment


def test_a_run_that_failed_is_diagnosed_by_its_task() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = start_failing(simulation, "RUN_TASK_FAILED", name="sample-42", tags={"project": "x"})
            (event,) = await told_within(simulation, 60, run)
            assert [one.kind for one in await simulation.events()][-2:] == ["failed", "diagnosed"]
            failed = (await simulation.events("failed"))[0]
            assert event.sequence == (failed.sequence or 0) + 1
            assert event.id == event_id(failed.source, failed.data["run_uuid"], event.type, "")
            assert (event.data["name"], event.data["tags"]) == ("sample-42", {"project": "x"})
            diagnosis = event.data["diagnosis"]
            (task,) = diagnosis["tasks"]
            assert (diagnosis["basis"], diagnosis["owner"]) == ("task_message", "workflow")
            assert task["status_message"] == "exec /bin/bash: exec format error"
            assert (task["status"], task["named_by_run"], diagnosis["failed_task_count"]) == ("FAILED", True, 1)
            assert task["log_stream"].endswith(f":log-stream:run/{run}/task/{task['task_id']}")
            assert (diagnosis["incomplete"], diagnosis["log_excerpt"]) == ([], None)
            assert diagnosis["evidence"] == ["ListRunTasks: 1 task failed", f"GetRunTask: task {task['task_id']}"]
            assert await simulation.store.owed_diagnoses("us-east-1") == {}
            assert second(event) - second(failed) < 5

    virtually(body)


def test_nobody_asks_about_runs_that_did_not_fail() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            runs = [
                simulation.start_life(Life.completed(1, 1, 5, 1)),
                simulation.start_run(("RUNNING", 5), "CANCELLED"),
                simulation.start_run(("RUNNING", 5), "GONE"),
            ]
            assert await told_within(simulation, 120, *runs) == []
            assert calls(simulation, "ListRunTasks", "GetRunTask") == []

    virtually(body)


def test_where_it_is_turned_off_nothing_is_asked_told_or_owed() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = start_failing(simulation)
            assert await told_within(simulation, 60, run) == []
            assert calls(simulation) == []
            assert await simulation.store.owed_diagnoses("us-east-1") == {}
            assert len(await simulation.events("failed")) == 1

    virtually(body)


def test_a_run_that_failed_before_any_task_began_is_diagnosed_by_its_code() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = start_failing(simulation, "IMPORT_FAILED")
            (event,) = await told_within(simulation, 60, run)
            diagnosis = event.data["diagnosis"]
            assert (diagnosis["reason_code"], diagnosis["owner"], diagnosis["tasks"]) == (
                "IMPORT_FAILED",
                "user_input",
                [],
            )
            assert (diagnosis["failed_task_count"], diagnosis["incomplete"]) == (0, [])

    virtually(body)


@pytest.mark.parametrize("operation", ["ListRunTasks", "GetRunTask"])
def test_what_is_denied_is_done_without_and_the_event_says_so(operation: str) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(denied, operation)
            run = start_failing(simulation)
            (event,) = await told_within(simulation, 60, run)
            diagnosis = event.data["diagnosis"]
            assert (diagnosis["reason_code"], diagnosis["basis"]) == ("OUT_OF_MEMORY_ERROR", "run")
            (said,) = diagnosis["incomplete"]
            assert "AccessDeniedException: not authorized" in said
            assert (diagnosis["failed_task_count"] is None) == (operation == "ListRunTasks")
            assert [task["failure_reason"] for task in diagnosis["tasks"]] == (
                [] if operation == "ListRunTasks" else [None]
            )

    virtually(body)


def test_a_denial_is_remembered_and_tried_again_later() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(denied, "ListRunTasks")
            runs = [start_failing(simulation, after=10 + number) for number in range(50)]
            late = start_failing(simulation, after=DENIED_FOR + 100)
            async with simulation.polling(Rule(), (*runs, late)):
                await anyio.sleep(120)
                assert len(await simulation.events("diagnosed")) == 50
                assert len(calls(simulation, "ListRunTasks")) == 1
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(DENIED_FOR)
            event = (await simulation.events("diagnosed"))[-1]
            assert (event.run_id, event.data["diagnosis"]["incomplete"]) == (late, [])

    virtually(body)


def test_a_denial_of_one_run_is_not_taken_for_one_of_all() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            runs = [start_failing(simulation, after=10 + 10 * number) for number in range(3)]

            def fails(operation: str, run_id: str | None) -> None:
                if operation == "ListRunTasks" and run_id == runs[1]:
                    raise denied()

            simulation.service.fails = fails
            events = {one.run_id: one for one in await told_within(simulation, 90, *runs)}
            told = [bool(events[run].data["diagnosis"]["incomplete"]) for run in runs]
            assert told == [False, True, False]

    virtually(body)


@pytest.mark.parametrize("operation", ["ListRunTasks", "GetRunTask"])
def test_what_fails_for_a_moment_is_asked_for_again_with_backoff(operation: str) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), operation)
            run = start_failing(simulation)
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(60)
                assert await simulation.events("diagnosed") == []
                times = calls(simulation, operation)
                assert 4 <= len(times) <= 7
                waits = [later - earlier for earlier, later in pairwise(times)]
                assert waits[-1] > 3 * waits[0]
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(60)
            (event,) = await simulation.events("diagnosed")
            assert event.data["diagnosis"]["incomplete"] == []

    virtually(body)


def test_what_fails_for_long_is_told_in_the_end_without_it() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), "ListRunTasks")
            run = start_failing(simulation)
            (event,) = await told_within(simulation, 3600, run)
            assert len(calls(simulation, "ListRunTasks")) == MOST_ATTEMPTS
            assert event.data["diagnosis"]["incomplete"] == ["test: InternalServerException: as the test wants it"]
            assert 300 < second(event) < 1500

    virtually(body)


def test_a_question_that_is_refused_is_not_asked_again() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(lambda: refused(BadRequest, "ValidationException"), "GetRunTask")
            run = start_failing(simulation)
            (event,) = await told_within(simulation, 60, run)
            assert len(calls(simulation, "GetRunTask")) == 1
            assert "ValidationException" in event.data["diagnosis"]["incomplete"][0]

    virtually(body)


def test_while_nothing_can_be_seen_nothing_is_asked_and_afterwards_it_is_told() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = start_failing(simulation)
            keeps = simulation.start_run(("RUNNING", 9000), "COMPLETED")
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), "ListRunTasks")
            async with simulation.polling(Rule(), (run, keeps)):
                await anyio.sleep(25)
                assert len(await simulation.events("failed")) == 1

                def fails(_: str, __: str | None) -> None:
                    raise NO_CREDENTIALS

                simulation.service.fails = fails
                await anyio.sleep(60)
                assert len(await simulation.events("blind")) == 1
                asked = len(calls(simulation))
                await anyio.sleep(4000)
                assert len(calls(simulation)) == asked
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(400)
            (event,) = await simulation.events("diagnosed")
            assert event.data["diagnosis"]["incomplete"] == []
            assert second(event) > 4000

    virtually(body)


def test_what_was_owed_before_a_crash_is_told_after_the_restart_once() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), "ListRunTasks")
            runs = [start_failing(simulation, after=5 + number) for number in range(20)]
            assert await told_within(simulation, 60, *runs) == []
            assert len(await simulation.store.owed_diagnoses("us-east-1")) == 20
            simulation.service.fails = lambda _, __: None
            for _ in range(6):  # each crash amid some of them
                await told_within(simulation, 2.3, *runs)
            events = await told_within(simulation, 60, *runs)
            assert sorted(str(event.run_id) for event in events) == sorted(runs)
            assert len({event.id for event in events}) == 20

    virtually(body)


def test_a_run_that_is_forgotten_while_it_is_looked_into_is_not_told() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run, other = start_failing(simulation, name="secret"), start_failing(simulation)
            simulation.service.latency = 4.0
            asked = anyio.Event()

            def fails(operation: str, _: str | None) -> None:
                if operation == "ListRunTasks":
                    asked.set()

            simulation.service.fails = fails
            async with simulation.polling(Rule(), (run, other)):
                await asked.wait()
                assert await simulation.store.forget("us-east-1", run, simulation.clock.now())
                await anyio.sleep(120)
            (event,) = await simulation.events("diagnosed")
            assert event.run_id == other

    virtually(body)


def test_turning_it_off_drops_what_was_owed() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), "ListRunTasks")
            run = start_failing(simulation)
            await told_within(simulation, 60, run)
            assert len(await simulation.store.owed_diagnoses("us-east-1")) == 1
            simulation.diagnosis = NO_DIAGNOSIS
            assert await told_within(simulation, 60, run) == []
            assert await simulation.store.owed_diagnoses("us-east-1") == {}

    virtually(body)


def test_a_run_whose_end_its_manifest_told_is_diagnosed_by_its_manifest() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = simulation.start_run(("PENDING", 2), ("RUNNING", 20), "GONE", uuid=LIFE, name="sample-42")
            said = "Run failed because task failed. Task name: B, task id: 22"
            simulation.leave_manifest(run, LIFE, "FAILED", 22, failureReason="RUN_TASK_FAILED", statusMessage=said)
            simulation.service.manifest_lines[run, LIFE] = [
                task_line(run, "11", name="A", failureReason="SERVICE_ERROR"),
                task_line(run, "22", name="B", failureReason="TASK_TIMED_OUT"),
                task_line(run, "33", name="C", status="COMPLETED"),
                task_line("9", "44", name="D"),
                "no JSON",
            ]
            (event,) = await told_within(simulation, 90, run)
            diagnosis = event.data["diagnosis"]
            assert (event.data["recovered_from"], diagnosis["reason_code"]) == ("manifest", "TASK_TIMED_OUT")
            assert [(task["name"], task["named_by_run"]) for task in diagnosis["tasks"]] == [("B", True), ("A", False)]
            assert diagnosis["evidence"] == ["ListRunTasks: ResourceNotFoundException", "manifest: 2 tasks failed"]
            assert (diagnosis["failed_task_count"], diagnosis["incomplete"]) == (2, [])
            assert calls(simulation, "GetRunTask") == []

    virtually(body)


def task_line(run_id: str, task_id: str, status: str = "FAILED", **members: Any) -> str:
    arn = "arn:aws:omics:us-east-1:123456789012"
    stop = (START + timedelta(seconds=20)).isoformat()
    return json.dumps(
        {"arn": f"{arn}:task/{task_id}", "run": f"{arn}:run/{run_id}", "status": status, "stopTime": stop, **members}
    )


def test_a_run_that_is_gone_and_left_no_manifest_is_told_by_its_code() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = simulation.start_life(
                Life.of(("RUNNING", 10), "FAILED"), fields={"failureReason": "RUN_TASK_FAILED"}, uuid=LIFE
            )
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), "ListRunTasks")
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(20)
                simulation.world.redirect(
                    simulation.world.get(run), [*Life.vanished(0, 0, 0).steps[-1:]], _now(simulation)
                )
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(60)
            (event,) = await simulation.events("diagnosed")
            diagnosis = event.data["diagnosis"]
            assert diagnosis["evidence"] == ["ListRunTasks: ResourceNotFoundException"]
            assert diagnosis["incomplete"] == ["manifest: there is none"]
            assert (diagnosis["owner"], diagnosis["basis"]) == ("unknown", "run")

    virtually(body)


def _now(simulation: Simulation) -> int:
    from poller.emulator.instants import instant_of

    return instant_of(simulation.clock.now())


def test_tasks_of_another_run_under_the_same_id_are_not_taken_for_its_own() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = start_failing(simulation, "RUN_TASK_FAILED", uuid=LIFE)
            simulation.start_life(
                Life.failed("OUT_OF_MEMORY_ERROR", pending=1, starting=1, running=20, stopping=None),
                run_id=run,
                uuid=OTHER,
                starts_in=60,
            )
            simulation.service.fails = fails_with(lambda: refused(Transient, "InternalServerException"), "ListRunTasks")
            async with simulation.polling(Rule(discover=True), (run,)):
                await anyio.sleep(100)
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(200)
            first, second_one = sorted(await simulation.events("diagnosed"), key=lambda one: one.data["creation_time"])
            assert (first.data["run_uuid"], second_one.data["run_uuid"]) == (LIFE, OTHER)
            assert second_one.data["diagnosis"]["reason_code"] == "OUT_OF_MEMORY_ERROR"
            diagnosis = first.data["diagnosis"]
            assert (diagnosis["reason_code"], diagnosis["tasks"]) == ("RUN_TASK_FAILED", [])
            assert "another run under this id" in diagnosis["evidence"][0]

    virtually(body)


def test_the_last_lines_of_the_failed_task_are_told_without_names() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WITH_LOG) as simulation:
            run = start_failing(simulation, "RUN_TASK_FAILED", name="P-0017")

            def write(operation: str, _: str | None) -> None:
                if operation == "GetRunTask":  # whoever asks for the task's log knows its stream by then
                    (task,) = _failed_tasks(simulation, run)
                    simulation.service.logs[_stream(run, task)] = [
                        *[f"line {number}" for number in range(50)],
                        "HG002 and NA12878 of P-0017",
                        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                        "Killed",
                    ]

            simulation.service.fails = write
            (event,) = await told_within(simulation, 60, run)
            excerpt = event.data["diagnosis"]["log_excerpt"]
            assert len(excerpt["lines"]) == 20
            assert excerpt["lines"][-3:] == [
                "HG002 and [hidden] of [hidden]",
                "AWS_SECRET_ACCESS_KEY=[hidden]",
                "Killed",
            ]
            assert (excerpt["of"], excerpt["truncated"]) == ("task", False)

    virtually(body)


def _failed_tasks(simulation: Simulation, run_id: str) -> list[str]:
    from poller.emulator.tasks import failed_task

    found = failed_task(simulation.world.get(run_id))
    return [] if found is None else [found.id]


def _stream(run_id: str, task_id: str) -> str:
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/omics/WorkflowLog"
    return f"{group}:log-stream:run/{run_id}/task/{task_id}"


def test_where_no_task_failed_the_log_of_the_engine_is_waited_for_a_little() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WITH_LOG) as simulation:
            run = start_failing(simulation, "WORKFLOW_RUN_FAILED")
            stream = f"arn:aws:logs:us-east-1:123456789012:log-group:/aws/omics/WorkflowLog:log-stream:run/{run}/engine"

            def write(operation: str, _: str | None) -> None:
                if operation == "GetLogEvents" and len(calls(simulation, "GetLogEvents")) == 2:
                    simulation.service.logs[stream] = ["ERROR ~ No such variable: reads"]

            simulation.service.fails = write
            (event,) = await told_within(simulation, 60, run)
            excerpt = event.data["diagnosis"]["log_excerpt"]
            assert (excerpt["of"], excerpt["lines"]) == ("engine", ["ERROR ~ No such variable: reads"])
            assert len(calls(simulation, "GetLogEvents")) == 2

    virtually(body)


@pytest.mark.parametrize("error", [Denied("NotAsked", "CloudWatch Logs have none"), None])
def test_a_log_that_cannot_be_read_costs_its_lines_only(error: ServiceError | None) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WITH_LOG) as simulation:
            if error is not None:
                simulation.service.fails = fails_with(lambda: error, "GetLogEvents")
            run = start_failing(simulation)
            (event,) = await told_within(simulation, 60, run)
            diagnosis = event.data["diagnosis"]
            assert diagnosis["log_excerpt"] is None
            assert diagnosis["tasks"][0]["failure_reason"] == "OUT_OF_MEMORY_ERROR"
            said = diagnosis["incomplete"] if error is not None else diagnosis["evidence"][-1:]
            assert said[0].endswith(
                "NotAsked: CloudWatch Logs have none" if error is not None else "has written nothing"
            )

    virtually(body)


def test_an_answer_that_hangs_is_asked_for_again() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = start_failing(simulation)
            simulation.service.hangs = lambda: simulation.service.calls["ListRunTasks"] == 1
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(120)
            (event,) = await simulation.events("diagnosed")
            assert event.data["diagnosis"]["incomplete"] == []
            assert len(calls(simulation, "ListRunTasks")) == 2

    virtually(body)


def test_a_mistake_of_ours_is_told_and_costs_no_run_its_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run, other = start_failing(simulation), start_failing(simulation, after=15)
            looks = simulation.service.list_failed_tasks

            async def breaks(run_id: str, **more: Any) -> Any:
                if run_id == run:
                    raise ZeroDivisionError
                return await looks(run_id, **more)

            monkeypatch.setattr(simulation.service, "list_failed_tasks", breaks)
            events = {event.run_id: event for event in await told_within(simulation, 3600, run, other)}
            assert "ZeroDivisionError in this program" in events[run].data["diagnosis"]["incomplete"][0]
            assert events[other].data["diagnosis"]["incomplete"] == []
            assert simulation.tally.count("crashes") == MOST_ATTEMPTS

    virtually(body)


def test_a_thousand_that_fail_at_once_are_no_storm_and_each_is_told_once() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, quota=10.0) as simulation:
            runs = [start_failing(simulation, "OUT_OF_MEMORY_ERROR", after=1) for _ in range(1000)]
            await anyio.sleep(10)
            drafts = [replace(sample_draft(run, 1, kind="failed"), data=_failed_data(run)) for run in runs]
            ids = {draft.id for draft in drafts}
            await simulation.store.commit_round(Round(simulation.clock.now(), REGION, drafts=drafts, to_diagnose=ids))
            foundation = Foundation(
                simulation.store, simulation.gate, Bell(), simulation.clock, simulation.rng.random, simulation.tally
            )
            access = Access(Place(REGION, REGION, ACCOUNT), BRISK, simulation.clock, simulation.rng.random, "test")
            inquiries = Inquiries(simulation.service, foundation, BRISK, {}, WANTED)
            diagnoses = Diagnoses(foundation, access, inquiries)
            await diagnoses.take_up()
            assert len(diagnoses) == 1000
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(diagnoses.run, lambda: True)
                await anyio.sleep(1000 / CALLS_PER_SECOND + 60)
                tasks.cancel_scope.cancel()
            assert len(diagnoses) == 0
            events = await simulation.events("diagnosed")
            assert len({event.id for event in events}) == len(events) == 1000
            assert all(event.data["diagnosis"]["incomplete"] == [] for event in events)
            for operation in ("ListRunTasks", "GetRunTask"):
                times = calls(simulation, operation)
                assert len(times) == 1000
                for begin, end in zip(times, times[40:], strict=False):
                    assert end - begin >= 40 / CALLS_PER_SECOND * 0.8
            assert simulation.service.throttled == 0

    virtually(body)


def _failed_data(run_id: str) -> dict[str, Any]:
    return {**sample_draft(run_id, kind="failed").data, "failure_reason": "OUT_OF_MEMORY_ERROR"}


def test_runs_that_are_followed_are_asked_about_as_if_nobody_looked_into_those_that_failed() -> None:
    async def looks_and_lags(wanted: DiagnosisTerms) -> tuple[int, float, list[float]]:
        async with simulated(pace=replace(BRISK, ceiling=10.0), diagnosis=wanted, quota=10.0) as simulation:
            for _ in range(150):
                start_failing(simulation, "OUT_OF_MEMORY_ERROR", after=30)
            others = [simulation.start_run(("RUNNING", 10 * number), "COMPLETED") for number in range(3, 15)]
            async with simulation.polling(Rule(discover=True), tuple(others)):
                await anyio.sleep(200)
            ends = [second(one) - second(one, "occurred_at") for one in await simulation.events("completed")]
            assert len(ends) == len(others)
            assert len(await simulation.events("diagnosed")) == (150 if wanted.enabled else 0)
            failed = [second(event) for event in await simulation.events("failed")]
            assert len(failed) == 150
            return len(calls(simulation, "GetRun")), max(failed), ends

    looks, last_failed, ends = virtually(lambda: looks_and_lags(WANTED))
    looks_without, last_without, ends_without = virtually(lambda: looks_and_lags(NO_DIAGNOSIS))
    assert abs(looks - looks_without) <= 0.05 * looks_without
    assert abs(last_failed - last_without) <= 0.05 * last_without
    assert max(ends) <= max(ends_without) * 1.2 + 1


def test_no_more_than_a_few_are_looked_into_at_once() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            runs = [start_failing(simulation) for _ in range(30)]
            simulation.service.hangs = lambda: True
            open_questions = 0
            async with simulation.polling(Rule(), tuple(runs)):
                simulation.service.hangs = lambda: simulation.service.calls["ListRunTasks"] > 0
                await anyio.sleep(35)
                open_questions = simulation.service.calls["ListRunTasks"]
            assert 0 < open_questions <= MOST_AT_ONCE

    virtually(body)


def test_a_throttle_cuts_its_own_budget_and_the_record_remembers_the_rate() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            runs = [start_failing(simulation, after=10 + number / 10) for number in range(200)]
            throttles = iter([True, True, True, True] * 5)

            def fails(operation: str, _: str | None) -> None:
                if operation == "ListRunTasks" and next(throttles, False):
                    raise refused(Throttled, "ThrottlingException")

            simulation.service.fails = fails
            async with simulation.polling(Rule(), tuple(runs)) as scope:
                await anyio.sleep(60)
                await scope.finish_looks()
            state = await simulation.store.scope("us-east-1")
            assert state is not None
            assert state.rates["ListRunTasks"] < CALLS_PER_SECOND
            assert state.rates["GetRun"] == BRISK.ceiling
            await told_within(simulation, 400, *runs)
            assert len(await simulation.events("diagnosed")) == 200

    virtually(body)


def test_of_a_run_with_very_many_failed_tasks_few_are_told_and_the_reading_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, diagnosis=WANTED) as simulation:
            run = start_failing(simulation)
            looks = simulation.service.list_failed_tasks

            async def endless(run_id: str, *, token: str | None = None) -> Any:
                page = await looks(run_id)
                return replace(page, token=f"{token or ''}x")

            monkeypatch.setattr(simulation.service, "list_failed_tasks", endless)
            (event,) = await told_within(simulation, 60, run)
            assert len(calls(simulation, "ListRunTasks")) == MOST_PAGES
            assert len(event.data["diagnosis"]["tasks"]) == 3

    virtually(body)


def test_the_pace_of_looks_has_nothing_to_do_with_it() -> None:
    """The default pace, an hour, with a service that answers slowly: the failed event is not later for it."""

    async def seconds(wanted: DiagnosisTerms) -> list[float]:
        async with simulated(pace=Pace(), diagnosis=wanted, latency=3.0) as simulation:
            runs = [start_failing(simulation, after=60 * number) for number in range(1, 6)]
            async with simulation.polling(Rule(), tuple(runs)):
                await anyio.sleep(1200)
            return [second(event) for event in await simulation.events("failed")]

    with_it, without = virtually(lambda: seconds(WANTED)), virtually(lambda: seconds(NO_DIAGNOSIS))
    assert len(with_it) == len(without) == 5
    assert max(abs(one - other) for one, other in zip(with_it, without, strict=True)) < 10
