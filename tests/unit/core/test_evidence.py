"""What a list can prove, what it only hints at, and when that is told."""

from dataclasses import replace

from poller.core.machine import BEHIND_AT_MOST, observe
from poller.core.runs import KnownRun, Question, Verdict

from .lives import RUN_ID, at
from .looks import item, kinds, look, seen


def test_a_list_tells_a_step_of_a_run_whose_uuid_is_known_at_once() -> None:
    known, told = seen(look("PENDING", 10), item("RUNNING", 20, start=15))
    assert kinds(told) == ["pending", "running"]
    assert told[1].uuid == "uuid-a"
    assert told[1].not_before == at(10)
    assert known.question is None


def test_what_a_list_showed_before_the_uuid_is_told_by_the_first_get_run_in_order() -> None:
    known, told = seen(item("PENDING", 10), item("PENDING", 20), item("STARTING", 30), item("RUNNING", 50, start=45))
    assert told == []
    assert known.question is Question.PROOF
    known, transitions, _ = observe(known, look("COMPLETED", 100, start=45, stop=90, statusMessage="done"))
    assert kinds(transitions) == ["pending", "starting", "running", "completed"]
    assert {one.incarnation for one in transitions} == {"uuid-a"}
    assert [one.observed_at for one in transitions] == [at(10.2), at(30.2), at(50.2), at(100.2)]
    assert [one.not_before for one in transitions] == [None, at(20), at(30), at(50)]
    assert [one.first for one in transitions] == [True, False, False, False]
    assert [one.evidence for one in transitions] == [("ListRuns",)] * 3 + [()]
    assert transitions[0].snapshot is not None
    assert "statusMessage" not in transitions[0].snapshot.fields
    assert (known.evidence, known.question, known.verdict) == ((), None, Verdict.ENDED)


def test_evidence_keeps_its_newest_question_whatever_order_answers_come_in() -> None:
    known, _ = seen(item("RUNNING", 30, start=5), item("RUNNING", 10), item("STARTING", 40))
    assert [(one.status, one.asked_at, one.start_time) for one in known.evidence] == [("RUNNING", at(30), at(5))]


def test_a_list_that_ran_ahead_of_get_run_is_believed() -> None:
    """The GetRun answer is stale: what the list showed is told, the older status is not."""
    _, told = seen(item("RUNNING", 30, start=25), look("STARTING", 40))
    assert kinds(told) == ["running"]


def test_a_uuid_from_a_batch_does_not_make_a_list_item_proof() -> None:
    """ListRunsInBatch gives no creationTime: that uuid and this item may be of two incarnations."""
    known, transitions, _ = observe(replace(KnownRun(RUN_ID), uuid="uuid-a"), item("PENDING", 10))
    assert transitions == ()
    known, transitions, _ = observe(known, item("STARTING", 20))
    assert transitions == ()
    known, transitions, _ = observe(known, look("STARTING", 30))
    assert kinds(transitions) == ["pending", "starting"]


def test_an_end_in_a_list_is_a_question_and_only_get_run_tells_it() -> None:
    known, told = seen(look("RUNNING", 10, start=5), item("FAILED", 20, stop=18))
    assert kinds(told) == ["running"]
    assert known.question is Question.END
    known, transitions, _ = observe(known, look("RUNNING", 25, start=5))
    assert (transitions, known.question) == ((), Question.END), "the GetRun is behind the list: ask again"
    known, (one,), _ = observe(known, look("FAILED", 30, start=5, stop=18))
    assert (one.kind, one.occurred_at, one.not_before, one.recovered_from) == ("failed", at(18), at(18), None)
    assert known.question is None


def test_a_list_that_is_wrong_for_ever_does_not_keep_get_run_busy_for_ever() -> None:
    known, _ = seen(look("RUNNING", 10, start=5), item("FAILED", 20))
    known = observe(known, look("RUNNING", 20.3 + BEHIND_AT_MOST.total_seconds(), start=5)).known
    assert known.question is None


def test_an_item_without_creation_time_proves_nothing_and_asks_only_when_something_moved() -> None:
    known, _ = seen(look("RUNNING", 10, start=5))
    same, transitions, _ = observe(known, item("RUNNING", 20, created=None))
    assert (same, transitions) == (known, ())
    moved, transitions, _ = observe(known, item("STOPPING", 20, created=None))
    assert (moved.question, transitions) == (Question.IDENTITY, ())
    ended, _ = seen(look("FAILED", 10, created=None, uuid=None, stop=5))
    assert observe(ended, item("RUNNING", 20, created=None)).known.question is None


def test_an_item_of_a_run_whose_creation_time_get_run_never_gave_is_not_taken_for_it() -> None:
    """Otherwise another incarnation's status would be told under this uuid."""
    known, told = seen(look("RUNNING", 10, created=None, start=5), item("STOPPING", 20, created=at(15)))
    assert kinds(told) == ["running"]
    assert (known.question, known.creation_time) == (Question.IDENTITY, None)


def test_a_run_that_was_there_before_waits_with_its_first_look_until_lists_show_it_move_on() -> None:
    known, _ = seen(item("RUNNING", 10), item("RUNNING", 20))
    assert known.question is Question.FIRST
    known, _, _ = observe(known, item("STOPPING", 30))
    assert known.question is Question.PROOF


def test_a_new_run_stays_a_new_one_until_it_is_looked_at() -> None:
    known, _, _ = observe(replace(KnownRun(RUN_ID), question=Question.NEW), item("PENDING", 10))
    assert known.question is Question.NEW
    known, _, _ = observe(known, look("PENDING", 20))
    assert known.question is None
