"""Events in words: each type says what happened, nothing that was left out is said, nothing breaks out of its line."""

import json
from typing import Any

import pytest

from poller.core.events import Event
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks.messages import Message, message_of


def facts(message: Message) -> dict[str, str]:
    return {fact.label: fact.text for fact in message.facts}


def with_data(kind: str, **data: Any) -> Event:
    """A sample with fields in its data that the samples do not have, under a type that may be of a later version."""
    record = json.loads(sample_event("failed").body)
    record["type"] = kind
    record["data"] |= data
    return Event(json.dumps(record).encode())


def test_a_run_that_failed_says_what_happened_to_which_run_when_how_long_and_why() -> None:
    message = message_of(sample_event("failed"))
    assert message.title == "Run sample-42 (1234567) failed"
    assert message.mood == "bad"
    assert message.link == sample_event("failed").data["console_url"]
    assert facts(message) == {
        "When": "2026-11-23 08:15:00 UTC",
        "Before": "RUNNING",
        "Ran for": "1 h 30 min",
        "Reason": "RUN_TASK_FAILED",
        "Message": "Run failed because task failed. Task name: ALIGN_READS, task id: 6657068",
        "Workflow": "germline 1.4.2 (7654321)",
        "Run group": "2345678",
        "Account": "123456789012, us-east-1",
        "Tags": "project=example, event=a sample, nothing has happened",
    }
    assert message.body.splitlines()[0] == "When: 2026-11-23 08:15:00 UTC"
    assert message.body.splitlines()[-1] == message.link


def test_a_run_says_what_it_belongs_to() -> None:
    said = facts(message_of(sample_event("failed", batch_id="7123456", cohorts=["plate-7", "nightly"])))
    assert (said["Batch"], said["Cohort"]) == ("7123456", "plate-7, nightly")


@pytest.mark.parametrize("kind", SAMPLE_TYPES)
def test_each_type_has_a_title_of_its_own_that_names_what_it_is_about(kind: str) -> None:
    event = sample_event(kind)
    message = message_of(event)
    assert not message.title.startswith("healthomics."), "the title is made of the type's name: give it words"
    assert event.subject in message.title
    assert "{" not in message.title
    assert "None" not in message.title + message.body
    assert [title for other in SAMPLE_TYPES if (title := message_of(sample_event(other)).title) == message.title] == [
        message.title
    ]


@pytest.mark.parametrize(
    ("kind", "mood"),
    [
        ("completed", "good"),
        ("recovered", "good"),
        ("failed", "bad"),
        ("vanished", "bad"),
        ("overdue", "bad"),
        ("blind", "bad"),
        ("sink_failing", "bad"),
        ("running", "news"),
        ("cancelled", "news"),
        ("heartbeat", "news"),
        ("batch.failed", "bad"),
        ("batch.processed", "bad"),
    ],
)
def test_the_mood_is_right(kind: str, mood: str) -> None:
    assert message_of(sample_event(kind)).mood == mood


def test_a_batch_is_well_done_if_none_of_its_runs_failed() -> None:
    message = message_of(sample_event("batch.processed", run_counts={"COMPLETED": 96, "FAILED": 0}))
    assert message.mood == "good"
    assert facts(message)["Runs"] == "96 completed"
    assert facts(message)["Of"] == "96"


def test_what_was_left_out_is_not_said() -> None:
    event = sample_event("failed").without(["name", "tags", "status_message", "console_url", "failure_reason"])
    message = message_of(event)
    assert message.title == "Run 1234567 failed"
    assert message.link is None
    assert not {"Tags", "Message", "Reason"} & facts(message).keys()


def test_what_was_only_seen_says_so_and_what_was_read_elsewhere_says_where() -> None:
    assert facts(message_of(sample_event("starting")))["Seen"] == "2026-11-23 06:43:03 UTC"
    assert facts(message_of(sample_event("failed", recovered_from="manifest")))["Known by"] == "manifest"
    assert facts(message_of(sample_event("vanished")))["Evidence"] == "GetRun, GetRun, ListRuns"


def test_a_run_that_stays_too_long_says_how_long_and_how_long_is_usual() -> None:
    said = facts(message_of(sample_event("overdue")))
    assert (said["For"], said["Usual"]) == ("1 h 30 min", "30 min, of 12 runs of this workflow")
    deadline = {**sample_event("overdue").data["overdue"], "basis": "deadline", "limit_seconds": 7200.0}
    said = facts(message_of(sample_event("overdue", overdue=deadline)))
    assert (said["Deadline"], said.get("Usual")) == ("2 h", None)


def test_how_long_it_waited_is_told_when_it_runs() -> None:
    assert facts(message_of(sample_event("running")))["Waited"] == "5 min"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (86_400 * 30, "30 d")],
)
def test_spans_are_said_by_their_two_largest_units(seconds: float, said: str) -> None:
    assert facts(message_of(sample_event("failed", duration_seconds=seconds)))["Ran for"] == said


def test_a_diagnosis_says_what_it_means_whose_it_is_and_what_to_do() -> None:
    message = message_of(sample_event("diagnosed"))
    assert message.title == "Run sample-42 (1234567) failed: A task needed more memory than it had asked for."
    said = facts(message)
    assert (said["Task"], said["Whose"]) == ("ALIGN_READS", "workflow")
    assert said["What to do"] == "Raise the memory of the task in the workflow's definition."
    assert said["Started again unchanged"] == "will fail again"
    assert "Before" not in said


@pytest.mark.parametrize(("safe", "said"), [(None, "unclear"), (True, "may go well"), (False, "will fail again")])
def test_whether_to_start_it_again_is_said_as_far_as_it_is_known(safe: bool | None, said: str) -> None:
    diagnosis = {**sample_event("diagnosed").data["diagnosis"], "retry_safe": safe, "meaning": None, "tasks": []}
    message = message_of(sample_event("diagnosed", diagnosis=diagnosis))
    assert message.title == "Run sample-42 (1234567) failed: what can be said of it"
    assert facts(message)["Started again unchanged"] == said
    assert "Task" not in facts(message)


def test_a_cohort_says_how_its_runs_ended_and_names_those_that_did_not_complete() -> None:
    message = message_of(sample_event("cohort.finished"))
    assert message.title == "All runs of the cohort plate-7 have ended"
    assert message.mood == "bad"
    assert facts(message) == {
        "When": "2026-11-23 08:15:00 UTC",
        "Took": "1 h 35 min",
        "Runs": "95 completed, 1 failed",
        "Of": "96",
        "Not completed": "plate-7-h12 (1234567) RUN_TASK_FAILED",
    }
    well = message_of(sample_event("cohort.finished", all_completed=True, not_completed=[], not_completed_runs=0))
    assert (well.mood, facts(well).get("Not completed")) == ("good", None)


def test_of_a_cohort_of_many_failures_a_few_are_named_and_the_others_counted() -> None:
    failed = [{"run_id": str(number), "name": None, "failure_reason": None} for number in range(1, 10)]
    event = sample_event("cohort.finished", not_completed=failed, not_completed_runs=200, batch_id="7")
    message = message_of(event)
    assert facts(message)["Not completed"] == "1, 2, 3, 4, 5, and 195 more"
    assert message.title == "All runs of the batch plate-7 have ended"


def test_a_type_of_a_later_version_is_told_by_its_name() -> None:
    message = message_of(with_data("healthomics.sequence.lost"))
    assert message.title == "healthomics.sequence.lost of 1234567"
    assert message.mood == "news"


def test_no_text_breaks_out_of_its_line() -> None:
    name = "a\nb\r\n\x1b[31mc\u2028d\u202ee {status} {0} %s"
    message = message_of(sample_event("failed", name=name, status_message="one\ntwo"))
    assert message.title == "Run a b [31mc d e {status} {0} %s (1234567) failed"
    assert facts(message)["Message"] == "one two"
    assert len(message.body.splitlines()) == len(message.facts) + 1


def test_an_event_of_which_nothing_is_known_says_when_it_was_since_a_mailbox_takes_no_empty_message() -> None:
    record = json.loads(sample_event("failed").body) | {
        "type": "healthomics.workflow.published",
        "data": {"version": 2},
    }
    message = message_of(Event(json.dumps(record).encode()))
    assert message.title == "healthomics.workflow.published of 1234567"
    assert message.body == "When: 2026-11-23 08:15:00 UTC"
