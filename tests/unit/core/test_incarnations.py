"""Whose life an answer shows, and what is told where another run has the id."""

from poller.core.endings import missed
from poller.core.incarnations import Relation, relate
from poller.core.machine import observe
from poller.core.runs import KnownRun, Question, incarnation_of
from poller.core.statuses import Step

from .lives import RUN_ID, at
from .looks import CREATED, item, kinds, look, seen


def test_the_uuid_decides_where_both_sides_have_one() -> None:
    known, _ = seen(look("RUNNING", 10, start=5))
    assert relate(known, look("RUNNING", 20, created=at(-5))) is Relation.SAME
    assert relate(known, look("RUNNING", 20, uuid="uuid-b")) is Relation.NEWER
    assert relate(known, look("RUNNING", 20, uuid="uuid-b", created=at(-5))) is Relation.OLDER
    assert relate(known, look("RUNNING", 20, uuid=None)) is Relation.SAME
    assert relate(known, look("RUNNING", 20, uuid=None, created=at(5))) is Relation.NEWER
    assert relate(known, item("RUNNING", 20, created=CREATED.replace(microsecond=262000))) is Relation.SAME


def test_an_older_creation_time_is_a_stale_read() -> None:
    known, _ = seen(look("PENDING", 10))
    for snapshot in (item("COMPLETED", 20, created=at(-5)), look("COMPLETED", 20, uuid="uuid-z", created=at(-5))):
        after, transitions, step = observe(known, snapshot)
        assert (after, transitions, step) == (known, (), Step.STALE)


def test_a_newer_creation_time_in_a_list_is_a_question_and_nothing_is_applied_until_it_is_answered() -> None:
    known, _ = seen(look("PENDING", 10))
    known, transitions, _ = observe(known, item("RUNNING", 20, created=at(15)))
    assert (transitions, known.question, known.status) == ((), Question.IDENTITY, "PENDING")
    known, transitions, _ = observe(known, item("RUNNING", 25, start=20))
    assert (transitions, known.status) == ((), "PENDING")
    known, transitions, _ = observe(known, look("RUNNING", 30, uuid="uuid-b", created=at(15), start=20))
    assert [(one.kind, one.uuid) for one in transitions] == [("replaced", "uuid-a"), ("running", "uuid-b")]
    assert transitions[0].replaced_by == "uuid-b"
    assert transitions[1].first
    assert (known.uuid, known.question) == ("uuid-b", None)


def test_an_incarnation_whose_end_was_told_is_replaced_without_a_word() -> None:
    _, told = seen(look("FAILED", 10, stop=9), look("PENDING", 30, uuid="uuid-b", created=at(20)))
    assert kinds(told) == ["failed", "pending"]


def test_an_end_that_only_a_list_showed_is_told_when_another_incarnation_has_the_id() -> None:
    known, told = seen(
        item("PENDING", 10), item("COMPLETED", 20, stop=18), look("PENDING", 40, uuid="uuid-b", created=at(30))
    )
    assert kinds(told) == ["pending", "completed", "pending"]
    assert told[0].incarnation == told[1].incarnation == incarnation_of(None, CREATED)
    assert (told[1].recovered_from, told[1].evidence) == ("ListRuns", ("ListRuns",))
    assert told[2].incarnation == "uuid-b"
    assert known.emit_first == "always"


def test_deleted_stands_as_the_end_of_an_incarnation_that_another_one_follows() -> None:
    _, told = seen(look("RUNNING", 5, start=1), look("DELETED", 10), look("PENDING", 30, uuid="uuid-b", created=at(20)))
    assert kinds(told) == ["running", "deleted", "pending"]


def test_a_run_that_was_never_seen_is_not_replaced() -> None:
    known, transitions, _ = observe(missed(KnownRun(RUN_ID), at(5)), look("PENDING", 10))
    assert kinds(transitions) == ["pending"]
    assert known.missing_since is None


def test_the_incarnation_is_fixed_with_its_first_event() -> None:
    _, told = seen(look("PENDING", 10, uuid=None), look("RUNNING", 20, start=15), look("FAILED", 30, stop=25))
    assert {one.incarnation for one in told} == {incarnation_of(None, CREATED)}
    assert [one.uuid for one in told] == [None, "uuid-a", "uuid-a"]
