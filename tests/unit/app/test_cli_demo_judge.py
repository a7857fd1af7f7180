"""The judge of the demo finds what is missing, out of order, or told twice: else its praise is worth nothing."""

import json
from datetime import UTC, datetime, timedelta

from poller.app.demo.inbox import Received
from poller.app.demo.judge import judge
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.emulator import GONE, Transition

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def truth(*words: str, lasting: float = 3) -> list[Transition]:
    """A life of one run, each status `lasting` seconds."""
    return [
        Transition("1234567", "u", "sample", word, BEGIN + number * lasting * SECOND)
        for number, word in enumerate(words)
    ]


def told(*kinds: str, skipped: tuple[str, ...] = ()) -> list[Received]:
    """The events of that run, numbered as they come, a second after it began."""
    received = []
    for number, kind in enumerate(kinds, start=1):
        event = sample_event(kind, run_uuid="u", skipped_statuses=list(skipped))
        body = {**event.attributes, "sequence": f"{number:010d}"}
        received.append(Received(Event(json.dumps(body).encode()), BEGIN + SECOND))
    return received


def test_all_told_in_order_is_no_complaint() -> None:
    report = judge(truth("PENDING", "RUNNING", "COMPLETED", "DELETED", GONE), told("pending", "running", "completed"))
    assert report.complaints == ()
    assert (report.incarnations, report.transitions, report.told, report.skipped) == (1, 3, 3, 0)
    assert report.delays[0] == SECOND


def test_what_was_not_told_is_missed() -> None:
    report = judge(truth("PENDING", "RUNNING", "FAILED"), told("pending", "failed", "diagnosed"))
    assert report.complaints == ("sample (1234567): RUNNING was not told",)


def test_a_short_status_may_be_told_as_skipped_and_a_long_one_may_not() -> None:
    events = told("pending", "completed", skipped=("RUNNING",))
    assert judge(truth("PENDING", "RUNNING", "COMPLETED", lasting=0.2), events).skipped == 1
    assert judge(truth("PENDING", "RUNNING", "COMPLETED"), events).complaints


def test_a_wrong_order_is_found() -> None:
    report = judge(truth("PENDING", "RUNNING", "COMPLETED"), told("running", "pending", "completed"))
    assert "its statuses came as" in report.complaints[0]


def test_an_event_that_came_twice_is_found() -> None:
    events = told("pending", "running", "completed")
    assert judge(truth("PENDING", "RUNNING", "COMPLETED"), [*events, events[-1]]).complaints


def test_a_vanished_run_must_be_told() -> None:
    lost = truth("PENDING", GONE)
    assert judge(lost, told("pending")).complaints == ("sample (1234567): that it vanished was not told",)
    assert judge(lost, told("pending", "vanished")).complaints == ()


def test_why_a_run_failed_must_be_told() -> None:
    failed = truth("PENDING", "FAILED")
    assert judge(failed, told("pending", "failed")).complaints == ("sample (1234567): why it failed was not told",)
    assert judge(failed, told("pending", "failed", "diagnosed")).complaints == ()


def test_an_event_of_no_run_is_found() -> None:
    assert judge([], told("pending")).complaints == ("an event of run u, which does not exist",)
