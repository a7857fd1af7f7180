"""From a `failed` event and what is found of its tasks to the `diagnosed` event."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.diagnosis import (
    DIAGNOSED,
    MOST_TASKS,
    Findings,
    LogExcerpt,
    RunTask,
    diagnosed,
    diagnosis_of,
    first_to_fail,
    in_words,
    log_url,
    of_this_life,
    stream_of_arn,
)
from poller.core.event_data import CloudEvent
from poller.core.events import Event, event_id
from poller.core.samples import sample_event
from poller.core.values import OmittableField

AT = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STREAM = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/omics/WorkflowLog:log-stream:run/1234567/task/1"


def failed(**data: Any) -> Event:
    return sample_event("failed", at=AT, **data)


def task(task_id: str = "1", **fields: Any) -> RunTask:
    stop = AT - MINUTE
    given = {"status": "FAILED", "creation_time": stop - MINUTE, "start_time": stop - MINUTE, "stop_time": stop}
    return RunTask(task_id, **{**given, **fields})


def diagnose(*tasks: RunTask, **data: Any) -> dict[str, Any]:
    return diagnosis_of(failed(**data).data, Findings(tasks, len(tasks)))


def test_the_event_is_of_the_same_incarnation_once_and_repeats_what_is_known_of_the_run() -> None:
    before = failed()
    draft = diagnosed(before, "life", Findings(), AT + MINUTE)
    assert draft.id == event_id(before.source, "life", DIAGNOSED, "")
    again = diagnosed(before, "life", Findings((task(),), 1), AT + 2 * MINUTE)
    assert again.id == draft.id, "its id is of what happened, not of what was found"
    assert (draft.type, draft.source, draft.incarnation, draft.run_id) == (DIAGNOSED, before.source, "life", "1234567")
    own = {
        "previous_status": "FAILED",
        "status": "FAILED",
        "skipped_statuses": [],
        "terminal": False,
        "first_observation": False,
        "not_before": None,
        "occurred_at_source": "observed_at",
    }
    assert {name: draft.data[name] for name in own} == own
    assert draft.data["occurred_at"] == draft.data["observed_at"] == "2026-11-23T08:16:00Z"
    assert draft.time == AT + MINUTE
    kept = ("run_uuid", "name", "tags", "failure_reason", "status_message", "stop_time", "console_url")
    assert {name: draft.data[name] for name in kept} == {name: before.data[name] for name in kept}
    CloudEvent.model_validate_json(draft.to_json(5))


def test_what_is_of_the_failed_event_alone_is_not_repeated_and_where_the_end_was_read_is() -> None:
    before = failed(reappeared=True, evidence=["manifest: FAILED"], recovered_from="manifest")
    data = diagnosed(before, "life", Findings(), AT).data
    assert "reappeared" not in data
    assert (data["recovered_from"], data["evidence"]) == ("manifest", ["manifest: FAILED"])


@pytest.mark.parametrize("code", ["OUT_OF_MEMORY_ERROR", "IMPORT_FAILED"])
def test_a_specific_code_of_the_run_counts_whatever_its_tasks_say(code: str) -> None:
    found = diagnose(task(failure_reason="SERVICE_ERROR"), failure_reason=code)
    assert (found["reason_code"], found["basis"], found["known"]) == (code, "run", True)


def test_where_the_code_of_the_run_is_generic_the_one_of_the_task_counts() -> None:
    found = diagnose(task(failure_reason="TASK_TIMED_OUT"), failure_reason="RUN_TASK_FAILED")
    assert (found["reason_code"], found["basis"]) == ("TASK_TIMED_OUT", "task")
    assert (found["owner"], found["retry_safe"]) == ("workflow", False)


def test_where_both_codes_are_generic_the_words_of_the_task_tell_the_cause() -> None:
    words = "exec /bin/bash: exec format error"
    found = diagnose(task(failure_reason="RUN_TASK_FAILED", status_message=words), failure_reason="RUN_TASK_FAILED")
    assert (found["reason_code"], found["basis"], found["owner"]) == ("RUN_TASK_FAILED", "task_message", "workflow")
    assert "another kind of processor" in found["meaning"]


def test_what_befell_other_tasks_is_no_cause_since_the_run_may_have_survived_it() -> None:
    repeated = task("7", failure_reason="SERVICE_ERROR", stop_time=AT - 9 * MINUTE)
    decisive = task("6657068", failure_reason="RUN_TASK_FAILED", status_message="Task failed.")
    found = diagnose(decisive, repeated, failure_reason="RUN_TASK_FAILED")
    assert (found["reason_code"], found["owner"], found["retry_safe"]) == ("RUN_TASK_FAILED", "unknown", None)


def test_where_no_task_failed_the_words_of_the_run_may_tell_the_cause() -> None:
    said = "Workflow run failed. No such file or directory: /mnt/workflow/main.nf"
    found = diagnose(failure_reason="WORKFLOW_RUN_FAILED", status_message=said)
    assert (found["basis"], found["tasks"]) == ("run_message", [])


def test_where_nothing_tells_why_it_says_so() -> None:
    found = diagnose(
        task(failure_reason="RUN_TASK_FAILED", status_message="It failed."), failure_reason="RUN_TASK_FAILED"
    )
    assert (found["owner"], found["retry_safe"], found["basis"]) == ("unknown", None, "run")
    nothing = diagnose(failure_reason=None, status_message=None)
    assert (nothing["reason_code"], nothing["basis"], nothing["known"]) == (None, "nothing", False)
    assert nothing["meaning"] == "The service gave no reason."


def test_a_code_that_is_newer_than_this_version_is_told_as_it_is() -> None:
    found = diagnose(failure_reason="QUANTUM_FLUX_ERROR")
    assert (found["reason_code"], found["known"], found["owner"]) == ("QUANTUM_FLUX_ERROR", False, "unknown")
    assert "Unknown to this version" in found["meaning"]


def test_the_task_that_the_run_names_goes_before_those_that_failed_before_it_and_were_repeated() -> None:
    early, late, named = task("7", stop_time=AT - 9 * MINUTE), task("8", stop_time=AT), task("6657068")
    chosen = first_to_fail([late, named, early], "Run failed because task failed. Task name: X, task id: 6657068")
    assert [one.task_id for one in chosen] == ["6657068", "7", "8"]


def test_without_a_name_the_first_to_stop_goes_first_and_few_are_told() -> None:
    tasks = [task(str(number), stop_time=AT - number * MINUTE) for number in range(10)] + [task("99", stop_time=None)]
    chosen = first_to_fail(tasks, "It failed.")
    assert [one.task_id for one in chosen] == ["9", "8", "7"]
    assert len(chosen) == MOST_TASKS


def test_tasks_of_another_run_under_the_same_id_do_not_count() -> None:
    ours = task("1")
    after = task("2", creation_time=AT + timedelta(hours=2), stop_time=AT + timedelta(hours=3))
    before = task("3", creation_time=AT - timedelta(days=9))
    undated = task("4", creation_time=None, start_time=None, stop_time=None)
    found, strangers = of_this_life([ours, after, before, undated], failed().data)
    assert ([one.task_id for one in found], strangers) == (["1", "4"], 2)


def test_the_task_is_told_with_what_the_service_says_of_it_without_secrets() -> None:
    words = "GET https://b.s3.amazonaws.com/k?X-Amz-Signature=abcdef0123 failed\nfor sample-42"
    one = task(
        name="ALIGN\x1b[0m (HG002)",
        status_message=words,
        cpus=2,
        memory=4,
        log_stream=STREAM,
        start_time=AT - 2 * MINUTE,
    )
    (told,) = diagnose(one)["tasks"]
    assert told["status_message"] == "GET https://b.s3.amazonaws.com/k?[hidden] failed for sample-42"
    assert (told["name"], told["cpus"], told["memory_gib"]) == ("ALIGN (HG002)", 2, 4)
    assert (told["duration_seconds"], told["log_stream"]) == (60.0, STREAM)
    assert told["log_url"].endswith("/log-events/run$252F1234567$252Ftask$252F1")


def test_lines_of_the_log_are_without_names_but_for_those_that_may_be_shown() -> None:
    lines = ("reading sample-42_R1.fq of example", "HG002 and NA12878 in task 1", "run 1234567 was killed")
    findings = Findings((task(),), 1, LogExcerpt("task", STREAM, lines))
    excerpt = diagnosis_of(failed().data, findings, shown=["HG*"])["log_excerpt"]
    assert excerpt["lines"] == [
        "reading [hidden] of [hidden]",
        "HG002 and [hidden] in task 1",
        "run 1234567 was killed",
    ]
    assert (excerpt["of"], excerpt["log_stream"], excerpt["truncated"]) == ("task", STREAM, False)


@given(st.lists(st.text(max_size=1000), max_size=200))
def test_an_event_stays_small_whatever_is_in_the_log(lines: list[str]) -> None:
    findings = Findings(excerpt=LogExcerpt("engine", STREAM, tuple(lines)))
    assert len(diagnosed(failed(), "life", findings, AT).to_json(5)) < 128 * 1024


def test_long_lines_are_fewer_and_it_says_so() -> None:
    lines = tuple(f"{number} " + "word " * 90 for number in range(200))
    excerpt = diagnosis_of(failed().data, Findings(excerpt=LogExcerpt("task", STREAM, lines)))["log_excerpt"]
    assert excerpt["truncated"]
    assert 50 < len(excerpt["lines"]) < 200
    assert excerpt["lines"][-1].startswith("199")


def test_the_worst_event_fits_into_a_message_of_any_sink() -> None:
    tasks = [task(str(one), status_message="é" * 5000, name="n" * 5000) for one in range(3)]
    lines = tuple('\\"é ' * 500 for _ in range(200))
    findings = Findings(tuple(tasks), 3, LogExcerpt("task", STREAM, lines))
    assert len(diagnosed(failed(status_message="x" * 20_000), "life", findings, AT).to_json(5)) < 200 * 1024


OMITTED: dict[OmittableField, tuple[tuple[str, ...], tuple[str, ...], bool]] = {
    "name": ((), ("name",), True),
    "tags": ((), (), True),
    "status_message": ((), ("status_message",), True),
    "failure_reason": (
        ("reason_code", "known", "basis", "meaning", "owner", "other_owners", "action", "retry_safe", "sources"),
        ("failure_reason",),
        False,
    ),
    "run_log_stream": ((), ("log_stream", "log_url"), False),
    "console_url": ((), ("log_url",), False),
    "output_uri": ((), (), False),
}


@pytest.mark.parametrize("omitted", OMITTED)
def test_what_is_left_out_of_the_run_is_left_out_of_its_diagnosis(omitted: OmittableField) -> None:
    event = sample_event("diagnosed")
    of_diagnosis, of_task, log_goes = OMITTED[omitted]
    told = event.without([omitted]).data["diagnosis"]
    whole = event.data["diagnosis"]
    assert {name for name in told if told[name] is None} - {"log_excerpt"} == set(of_diagnosis)
    assert {name for name, value in told["tasks"][0].items() if value is None} == set(of_task)
    assert (told["log_excerpt"] is None) == log_goes
    CloudEvent.model_validate_json(event.without([omitted]).body)
    assert event.data["diagnosis"] == whole, "the event itself stays as it is"


def test_a_forgotten_diagnosis_is_nothing() -> None:
    event = sample_event("diagnosed")
    assert event.without(["name", "diagnosis"]).data["diagnosis"] is None


def test_a_log_stream_is_taken_apart_and_what_is_none_is_none() -> None:
    stream = stream_of_arn(STREAM)
    assert stream is not None
    assert (stream.group, stream.name) == ("/aws/omics/WorkflowLog", "run/1234567/task/1")
    for wrong in (None, 7, "", "run/1/task/2", "arn:aws:logs:us-east-1:1:log-group:x:log-stream:y", STREAM + ":*"):
        assert stream_of_arn(wrong) is None
        assert log_url("us-east-1", wrong if isinstance(wrong, str) else None) is None


def test_in_one_line_it_says_what_failed_whose_it_is_and_what_to_do() -> None:
    assert in_words(sample_event("diagnosed").data["diagnosis"]) == (
        "ALIGN_READS: OUT_OF_MEMORY_ERROR: A task needed more memory than it had asked for. [workflow] "
        "Raise the memory of the task in the workflow's definition."
    )
    left = sample_event("diagnosed").without(["failure_reason", "name"]).data["diagnosis"]
    assert in_words(left) == "task 6657068"


def test_each_sample_of_findings_makes_another_diagnosis_and_no_other_event() -> None:
    one, other = Findings(), replace(Findings(), incomplete=("ListRunTasks: AccessDeniedException: no",))
    first, second = diagnosed(failed(), "life", one, AT), diagnosed(failed(), "life", other, AT)
    assert first.id == second.id
    assert second.data["diagnosis"]["incomplete"] == ["ListRunTasks: AccessDeniedException: no"]
