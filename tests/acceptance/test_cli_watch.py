"""`omics-poller watch`: each exit code of the contract, and what is written where."""

import json
import re
import signal
from pathlib import Path

import pytest

from poller.app.cli.commands import watch as command
from poller.emulator import GONE, FailedTask, Fault, Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import Run, Start, at_a_terminal, into_a_reader_that_leaves

FAST = ("--min-interval", "100ms")
GOOD = Life.completed(pending=0.2, starting=0.2, running=0.3, stopping=0.2)
BAD = Life.failed("RUN_TASK_FAILED", pending=0.2, starting=0.2, running=0.2, stopping=0.1)
CANCELLED = Life.of(("PENDING", 0.3), "CANCELLED")
ENDLESS = Life.of("RUNNING")


def test_completed_runs_are_success(emulator: RunningEmulator, start: Start) -> None:
    runs = [emulator.start_run(GOOD, name=f"sample-{number}") for number in (1, 2)]
    process = start("watch", *runs, *FAST)
    assert process.end() == 0
    assert all(any(run in line and "COMPLETED" in line for line in process.data) for run in runs)
    assert process.talk == ["2 COMPLETED"]


def test_each_line_of_json_is_an_event_and_all_talk_is_on_stderr(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(BAD, name="sample")
    ended = run("watch", run_id, *FAST, "--json")
    assert ended.code == 10
    events = [json.loads(line) for line in ended.lines]
    assert events[-1]["type"] == "healthomics.run.failed"
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert {event["subject"] for event in events} == {run_id}
    assert ended.talk == "1 FAILED\n"


def test_it_says_why_the_last_run_failed_too(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(BAD, failed_tasks=[FailedTask("ALIGN", "OUT_OF_MEMORY_ERROR")])
    ended = run("watch", run_id, *FAST)
    assert ended.code == 10
    said = f"run {run_id} failed: ALIGN: OUT_OF_MEMORY_ERROR: A task needed more memory than it had asked for."
    assert ended.talk.splitlines()[0].startswith(said)


def test_it_says_why_a_run_failed_as_far_as_it_knows_by_then(
    emulator: RunningEmulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that fails while others go on it was found out; of one that cannot be looked into its code is at hand."""
    monkeypatch.setattr(command, "WHY_SECONDS", 0.1)
    early = emulator.start_run(BAD, failed_tasks=[FailedTask("ALIGN", "OUT_OF_MEMORY_ERROR")])
    last = emulator.start_run(Life.failed("SERVICE_ERROR", pending=0.2, starting=0.2, running=4, stopping=None))
    emulator.add_fault(Fault(kind="error", operation="ListRunTasks", run_id=last))
    ended = run("watch", early, last, *FAST)
    assert ended.code == 10
    why = "ALIGN: OUT_OF_MEMORY_ERROR: A task needed more memory than it had asked for. [workflow] Raise the memory"
    assert any("DIAGNOSED" in line and why in line for line in ended.lines)
    assert ended.talk.splitlines()[0].startswith(f"run {early} failed: {why}")
    assert ended.talk.splitlines()[1] == (
        f"run {last} failed: SERVICE_ERROR: HealthOmics had a passing fault. [AWS] Start the run again."
    )
    assert ended.talk.splitlines()[2] == "2 FAILED"


@pytest.mark.parametrize(
    ("lives", "code"),
    [
        ([CANCELLED], 11),
        ([GOOD, CANCELLED], 11),
        ([GOOD, CANCELLED, BAD], 10),
        ([Life.of(("RUNNING", 0.3), "DELETED")], 11),
    ],
    ids=["cancelled", "one cancelled", "one failed", "deleted"],
)
def test_the_worst_end_of_several_is_told(emulator: RunningEmulator, run: Run, lives: list[Life], code: int) -> None:
    assert run("watch", *(emulator.start_run(life) for life in lives), *FAST).code == code


def test_a_run_that_vanished(emulator: RunningEmulator, run: Run) -> None:
    ended = run("watch", emulator.start_run(Life.of(("RUNNING", 1), GONE)), *FAST)
    assert ended.code == 12
    assert "VANISHED" in ended.data


def test_a_run_that_the_service_calls_invalid_is_unreachable(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(ENDLESS)
    emulator.add_fault(Fault(kind="error", operation="GetRun", run_id=run_id, code="ValidationException"))
    ended = run("watch", run_id, emulator.start_run(CANCELLED), *FAST)
    assert ended.code == 12
    assert "UNREACHABLE" in ended.data


def test_a_run_whose_id_was_taken_over_counts_as_vanished(emulator: RunningEmulator, start: Start) -> None:
    run_id = emulator.start_run(ENDLESS, run_id="4711")
    process = start("watch", run_id, *FAST)
    process.wait_for("RUNNING")
    emulator.evict(run_id)
    emulator.start_run(ENDLESS, run_id=run_id)
    assert process.end() == 12
    assert "REPLACED" in process.data[-1]


def test_the_end_of_the_patience(emulator: RunningEmulator, run: Run) -> None:
    failed = emulator.start_run(BAD)
    ended = run("watch", emulator.start_run(ENDLESS), failed, *FAST, "--timeout", "3s")
    assert ended.code == 124
    assert "timed out after 3s: 1 RUNNING, 1 FAILED" in ended.talk


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption(emulator: RunningEmulator, start: Start, number: signal.Signals) -> None:
    process = start("watch", emulator.start_run(ENDLESS), *FAST)
    process.wait_for("RUNNING")
    process.send(number)
    assert process.end() == 130
    assert process.talk == []


def test_no_access_at_the_start_is_an_error(
    emulator: RunningEmulator, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ACCESS_SECONDS", 1.0)
    emulator.add_fault(Fault(kind="error", code="UnrecognizedClientException"))
    ended = run("watch", "1", *FAST)
    assert ended.code == 1
    assert "no access within 1 s" in ended.talk
    assert "UnrecognizedClientException" in ended.talk


def test_blindness_after_the_start_is_waited_out(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(Life.of(("RUNNING", 1), "COMPLETED"))
    emulator.add_fault(Fault(kind="error", code="ExpiredTokenException", start=0.7, end=2))
    ended = run("watch", run_id, *FAST)
    assert ended.code == 0
    assert "blind" in ended.talk
    assert "ExpiredTokenException" in ended.talk


def test_until_is_reached_when_the_status_is_told(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(Life.of(("PENDING", 0.3), ("STARTING", 0.3), "RUNNING"))
    assert run("watch", run_id, *FAST, "--until", "running").code == 0


def test_until_is_reached_by_a_run_that_completed_unseen(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(Life.of("COMPLETED"))
    assert run("watch", run_id, *FAST, "--until", "RUNNING").code == 0


def test_another_end_than_until_gives_its_own_code(emulator: RunningEmulator, run: Run) -> None:
    run_id = emulator.start_run(CANCELLED)
    assert run("watch", run_id, *FAST, "--until", "RUNNING").code == 11


def test_a_reader_that_leaves_ends_it_without_noise(emulator: RunningEmulator, tmp_path: Path) -> None:
    run_id = emulator.start_run(ENDLESS)

    def end() -> None:
        emulator.move_run(run_id, "COMPLETED")

    assert into_a_reader_that_leaves(tmp_path, "watch", run_id, *FAST, "--json", then=end) == (141, "")


def test_a_terminal_shows_a_table_with_task_progress(emulator: RunningEmulator) -> None:
    run_id = emulator.start_run(ENDLESS, name="sample-42")
    code, drawn = at_a_terminal(
        "watch", run_id, *FAST, once=r"sample-42.*RUNNING.*\d+/\d+", then=lambda: emulator.move_run(run_id, "COMPLETED")
    )
    assert code == 0
    assert re.search(r"sample-42.*RUNNING.*\d+/\d+", drawn)
    assert re.search(r"sample-42.*COMPLETED", drawn)
    assert drawn.rstrip().endswith("1 COMPLETED")
    assert drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l"), "the cursor is back"


def test_task_progress_that_is_denied_is_gone_without(emulator: RunningEmulator) -> None:
    emulator.add_fault(Fault(kind="error", operation="ListRunTasks", code="AccessDeniedException"))
    runs = [emulator.start_run(ENDLESS) for _ in range(2)]  # the second would be asked about a second later
    before = emulator.call_counts["ListRunTasks"]

    def end_soon() -> None:
        for run_id in runs:
            emulator.move_run(run_id, ("RUNNING", 2.5), "COMPLETED")

    code, _ = at_a_terminal("watch", *runs, *FAST, once="RUNNING.*\n.*RUNNING", then=end_soon)
    assert code == 0
    assert emulator.call_counts["ListRunTasks"] - before == 1


def test_an_arn_names_the_region_too(emulator: RunningEmulator, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    run_id = emulator.start_run(GOOD)
    assert run("watch", f"arn:aws:omics:us-east-1:123456789012:run/{run_id}", *FAST).code == 0
