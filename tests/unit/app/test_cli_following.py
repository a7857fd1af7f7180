"""What `watch` makes of events: when a run counts as done, and the one exit code of many."""

from itertools import permutations

import pytest

from poller.app.cli.boards import words_of
from poller.app.cli.exits import ExitCode
from poller.app.cli.failures import diagnosis_in, facts_of, lines_of
from poller.app.cli.following import Followed, exit_code, passed, summary
from poller.core.samples import sample_event

ORDER = [130, 141, 2, 124, 1, 10, 12, 11, 0]


def test_of_several_the_first_of_the_contract_is_told() -> None:
    assert [int(code) for code in sorted(ExitCode, key=lambda code: ORDER.index(code))] == ORDER
    for pair in permutations(ExitCode, 2):
        assert ExitCode.first_of(pair) == min(pair, key=ORDER.index)
    assert ExitCode.first_of([]) is ExitCode.OK


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("pending", None),
        ("running", None),
        ("stopping", None),
        ("unknown_status", None),
        ("completed", 0),
        ("failed", 10),
        ("cancelled", 11),
        ("deleted", 11),
        ("vanished", 12),
        ("unreachable", 12),
        ("replaced", 12),
    ],
)
def test_how_following_ends(kind: str, code: int | None) -> None:
    run = Followed("1234567")
    run.take(sample_event(kind))
    assert run.code == code


def test_what_comes_after_the_end_or_of_others_says_nothing() -> None:
    run = Followed("1234567")
    run.take(sample_event("running"))
    run.take(sample_event("failed", run_id="99"))
    run.take(sample_event("failed", run_uuid="another incarnation"))
    run.take(sample_event("blind"))
    assert run.code is None
    run.take(sample_event("completed"))
    run.take(sample_event("contradicted"))
    assert run.code is ExitCode.OK
    assert run.status == "COMPLETED"


def test_why_a_run_failed_is_what_was_found_out_or_what_its_code_means() -> None:
    run = Followed("1234567")
    run.take(sample_event("running"))
    assert run.why is None
    run.take(sample_event("failed", failure_reason="SERVICE_ERROR"))
    assert run.why == "SERVICE_ERROR: HealthOmics had a passing fault. [AWS] Start the run again."
    run.take(sample_event("diagnosed", run_uuid="another incarnation"))
    assert run.why == "SERVICE_ERROR: HealthOmics had a passing fault. [AWS] Start the run again."
    run.take(sample_event("diagnosed"))
    assert run.why is not None
    assert run.why.startswith("ALIGN_READS: OUT_OF_MEMORY_ERROR: ")
    assert (run.code, run.status, run.note) == (ExitCode.FAILED, "FAILED", "SERVICE_ERROR")
    assert Followed("1").why is None


def test_a_diagnosis_is_one_line_and_its_facts_are_many() -> None:
    event = sample_event("diagnosed")
    assert words_of(event) == (
        "2026-11-23T08:15:08Z  1234567  DIAGNOSED  sample-42  ALIGN_READS: OUT_OF_MEMORY_ERROR: "
        "A task needed more memory than it had asked for. [workflow] Raise the memory of the task in the workflow's "
        "definition."
    )
    diagnosis = diagnosis_in([sample_event("failed"), event], event.data["run_uuid"])
    assert diagnosis is not None
    facts = dict(facts_of(diagnosis))
    assert facts["failed by"] == "OUT_OF_MEMORY_ERROR"
    assert facts["whose it is"] == "workflow, or user input"
    assert facts["retry as it is"] == "will most likely fail again"
    assert facts["task 6657068"] == "ALIGN_READS: OUT_OF_MEMORY_ERROR: The task ran out of memory."
    assert lines_of(diagnosis)[-1] == "Killed"
    assert diagnosis_in([event], "another incarnation") is None
    left_out = event.without(["name", "failure_reason", "status_message", "console_url"])
    assert [value for _, value in facts_of(left_out.data["diagnosis"]) if value] == []


@pytest.mark.parametrize(
    ("until", "kind", "fields", "reached"),
    [
        ("RUNNING", "running", {}, True),
        ("STARTING", "running", {}, True),
        ("PENDING", "starting", {}, True),
        ("RUNNING", "starting", {}, False),
        ("RUNNING", "completed", {"first_observation": True}, True),
        ("STOPPING", "completed", {}, True),
        ("RUNNING", "failed", {}, False),
        ("RUNNING", "cancelled", {}, False),
        ("RUNNING", "stopping", {"start_time": None}, False),
        ("RUNNING", "stopping", {}, True),
        ("STARTING", "stopping", {"start_time": None}, True),
        ("FAILED", "failed", {}, True),
        ("FAILED", "completed", {}, False),
        ("COMPLETED", "failed", {}, False),
        ("DELETED", "deleted", {}, True),
        ("COMPLETED", "deleted", {}, False),
    ],
)
def test_until_is_reached_when_told_or_passed_on_the_way_to_completed(
    until: str, kind: str, fields: dict[str, object], reached: bool
) -> None:
    assert passed(until, sample_event(kind, **fields)) is reached  # type: ignore[arg-type]  # fields of data


def test_runs_that_have_not_ended_count_as_what_ended_the_watch() -> None:
    runs = [Followed("1234567"), Followed("99")]
    runs[0].take(sample_event("failed"))
    assert exit_code(runs, otherwise=ExitCode.TIMED_OUT) is ExitCode.TIMED_OUT
    assert exit_code(runs[:1], otherwise=ExitCode.TIMED_OUT) is ExitCode.FAILED
    assert summary(runs) == "1 FAILED, 1 not seen"
