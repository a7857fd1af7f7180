"""The state machine by example: each promise of the contract once, and each odd answer that it must bear."""

import pytest

from poller.core.machine import observe
from poller.core.runs import EmitFirst, Verdict, incarnation_of
from poller.core.statuses import Step

from .lives import at
from .looks import CREATED, kinds, look, seen


def test_the_first_observation_has_no_past() -> None:
    _, (one,) = seen(look("RUNNING", 60, start=30))
    assert (one.kind, one.key, one.first, one.previous_status, one.skipped) == ("running", "RUNNING", True, None, ())
    assert one.not_before is None
    assert (one.occurred_at, one.occurred_at_source, one.observed_at) == (at(30), "startTime", at(60.2))


def test_a_step_says_when_the_run_was_last_seen_before_it() -> None:
    _, told = seen(look("STARTING", 10), look("STARTING", 20), look("STOPPING", 30))
    assert (told[1].not_before, told[1].observed_at) == (at(20), at(30.2))
    assert (told[1].occurred_at, told[1].occurred_at_source) == (at(30.2), "observed_at")
    assert told[1].skipped == ("RUNNING",)


def test_not_before_is_never_later_than_the_services_own_time() -> None:
    """A stale answer shows STARTING after the run has begun: the stamp knows better."""
    _, told = seen(look("STARTING", 50), look("RUNNING", 60, start=40))
    assert (told[1].not_before, told[1].occurred_at) == (at(40), at(40))


def test_answers_in_another_order_than_the_questions_keep_the_window_honest() -> None:
    _, told = seen(look("STARTING", 10), look("STARTING", 50), look("STOPPING", 30))
    assert told[1].not_before == told[1].observed_at == at(30.2)
    known, _ = seen(look("STARTING", 50), look("STARTING", 10))
    assert known.seen_at == at(50)


def test_a_stale_read_tells_nothing() -> None:
    known, told = seen(look("STOPPING", 10), look("RUNNING", 20, start=1))
    assert kinds(told) == ["stopping"]
    assert known.status == "STOPPING"
    assert observe(known, look("PENDING", 30)).step is Step.STALE


def test_after_an_end_nothing_is_told_and_deleted_is_no_event() -> None:
    known, told = seen(look("FAILED", 10, stop=9), look("DELETED", 20), look("RUNNING", 30), look("PAUSED", 40))
    assert kinds(told) == ["failed"]
    assert known.verdict is Verdict.ENDED
    assert known.question is None


def test_another_end_is_a_contradiction_told_once_and_the_first_stands() -> None:
    known, told = seen(
        look("COMPLETED", 10, stop=9),
        look("FAILED", 20, stop=9),
        look("FAILED", 30, stop=9),
        look("CANCELLED", 40, stop=9),
        look("FAILED", 50, stop=9),
    )
    assert [(one.kind, one.key) for one in told] == [
        ("completed", "COMPLETED"),
        ("contradicted", "FAILED"),
        ("contradicted", "CANCELLED"),
    ]
    assert known.status == "COMPLETED"
    one = told[1]
    assert (one.terminal, one.first, one.skipped, one.previous_status) == (False, False, (), "COMPLETED")


def test_a_contradiction_that_is_the_first_event_fixes_the_incarnation() -> None:
    known, told = seen(
        look("COMPLETED", 10, uuid=None, stop=9),
        look("FAILED", 20, uuid=None, stop=9),
        look("CANCELLED", 30, stop=9),
        emit_first="never",
    )
    assert kinds(told) == ["contradicted", "contradicted"]
    assert known.incarnation == told[0].incarnation == incarnation_of(None, CREATED)


def test_an_unknown_status_is_told_once_verbatim_and_is_no_end() -> None:
    known, told = seen(
        look("RUNNING", 10, start=5), look("Paused!", 20), look("Paused!", 30), look("COMPLETED", 40, stop=39)
    )
    assert [(one.kind, one.key) for one in told[1:]] == [("unknown_status", "Paused!"), ("completed", "COMPLETED")]
    assert (told[1].status, told[1].terminal, told[1].previous_status) == ("Paused!", False, "RUNNING")
    assert (told[2].previous_status, told[2].skipped) == ("RUNNING", ("STOPPING",))
    assert known.verdict is Verdict.ENDED


def test_an_unknown_status_first_is_the_first_observation() -> None:
    _, told = seen(look("PAUSED", 10), look("RUNNING", 20, start=15))
    assert [one.first for one in told] == [True, False]
    assert (told[1].previous_status, told[1].not_before) == (None, at(10))


@pytest.mark.parametrize("emit_first", ["never", "terminal"])
def test_an_end_that_follows_an_unknown_status_is_told_whatever_emit_first_says(emit_first: EmitFirst) -> None:
    _, told = seen(look("PAUSED", 10), look("COMPLETED", 20, stop=19), emit_first=emit_first)
    assert kinds(told) == ["unknown_status", "completed"]


def test_emit_first_silences_the_first_event_alone() -> None:
    looks = (look("RUNNING", 10, start=5), look("COMPLETED", 20, stop=19))
    assert kinds(seen(*looks, emit_first="always")[1]) == ["running", "completed"]
    assert kinds(seen(*looks, emit_first="terminal")[1]) == ["completed"]
    known, told = seen(*looks, emit_first="never")
    assert kinds(told) == ["completed"]
    assert (told[0].previous_status, told[0].first, told[0].not_before) == ("RUNNING", False, at(10))
    assert kinds(seen(looks[1], emit_first="terminal")[1]) == ["completed"]
    known, told = seen(looks[1], emit_first="never")
    assert told == []
    assert known.verdict is Verdict.ENDED
    assert known.incarnation is None
    assert not known.told
