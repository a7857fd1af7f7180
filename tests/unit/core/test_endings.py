"""Runs that are gone, given up, or come back."""

from poller.core.endings import missed, refuse, vanish
from poller.core.machine import observe
from poller.core.runs import KnownRun, Question, Verdict

from .lives import RUN_ID, at
from .looks import item, kinds, look, seen


def test_vanished_is_no_status_and_a_run_that_shows_itself_again_goes_on() -> None:
    known, _ = seen(look("RUNNING", 10, start=5))
    known = missed(missed(known, at(20)), at(25))
    assert (known.question, known.missing_since) == (Question.GONE, at(20))
    known, (gone,), _ = vanish(known, at(30), ("GetRun", "ListRuns"))
    assert (gone.kind, gone.key, gone.status, gone.terminal, gone.first) == ("vanished", "", None, False, False)
    assert (gone.previous_status, gone.not_before, gone.evidence) == ("RUNNING", at(10), ("GetRun", "ListRuns"))
    assert known.verdict is Verdict.VANISHED
    known, transitions, _ = observe(known, look("RUNNING", 40, start=5))
    assert (transitions, known.live) == ((), True)
    known, (unknown,), _ = observe(known, look("PAUSED", 45))
    known, (back,), _ = observe(known, look("STOPPING", 50))
    assert [one.reappeared for one in (unknown, back)] == [True, False], "the first event after it says so"
    known, transitions, _ = observe(vanish(missed(known, at(60)), at(70), ()).known, look("STOPPING", 80))
    assert transitions == ()
    known, (back,), _ = observe(known, look("FAILED", 90, stop=85))
    assert back.reappeared


def test_only_the_first_event_of_a_run_that_came_back_says_so() -> None:
    known = vanish(missed(seen(look("PENDING", 10))[0], at(20)), at(30), ()).known
    known, (back,), _ = observe(known, look("RUNNING", 40, start=35))
    known, (end,), _ = observe(known, look("FAILED", 50, stop=45))
    assert (back.reappeared, end.reappeared) == (True, False)


def test_a_run_that_vanished_before_it_was_seen_was_observed_first_when_it_came() -> None:
    known, (gone,), _ = vanish(missed(KnownRun(RUN_ID), at(1)), at(30), ("GetRun",))
    assert (gone.incarnation, gone.not_before) == ("", None)
    known, (back,), _ = observe(known, look("PENDING", 40))
    assert (back.first, back.reappeared, back.incarnation) == (True, True, "uuid-a")
    assert known.incarnation == "uuid-a"


def test_a_vanished_run_whose_end_a_list_showed_has_ended_and_says_where_that_was_read() -> None:
    known, _ = seen(look("RUNNING", 10, start=5), item("COMPLETED", 20, stop=18))
    known, (end,), _ = vanish(missed(known, at(25)), at(50), ("GetRun", "ListRuns"))
    assert (end.kind, end.terminal, end.recovered_from, end.occurred_at) == ("completed", True, "ListRuns", at(18))
    assert end.observed_at == at(20.2)
    assert known.verdict is Verdict.ENDED


def test_an_end_in_a_list_is_better_than_deleted_in_a_list() -> None:
    known, _ = seen(look("RUNNING", 10, start=5), item("DELETED", 20), item("FAILED", 21, stop=18), item("DELETED", 22))
    assert kinds(vanish(known, at(50), ()).transitions) == ["failed"]


def test_deleted_without_an_end_climbs_the_ladder_once_and_then_is_the_end() -> None:
    known, told = seen(look("RUNNING", 10, start=5), look("DELETED", 20))
    assert kinds(told) == ["running"]
    assert (known.question, known.shown_deleted, known.missing_since) == (Question.GONE, True, at(20.2))
    known, (end,), _ = vanish(known, at(21), ("ListRuns",))
    assert (end.kind, end.terminal, end.skipped, end.evidence) == ("deleted", True, ("STOPPING",), ("ListRuns",))
    assert known.verdict is Verdict.ENDED
    assert end.snapshot is not None
    assert not end.snapshot.full, "it has no fields: name and tags are those of the record"
    assert observe(known, look("DELETED", 30)).transitions == ()


def test_deleted_tells_first_what_lists_had_shown() -> None:
    _, told = seen(item("RUNNING", 10, start=5), look("DELETED", 20))
    assert kinds(told) == ["running"]


def test_a_verdict_is_given_once() -> None:
    known, _ = seen(look("FAILED", 10, stop=9))
    for after, transitions, _ in (refuse(known, at(20), "Denied"), vanish(known, at(20), ())):
        assert (after, transitions) == (known, ())
    known = vanish(missed(KnownRun(RUN_ID), at(1)), at(2), ()).known
    assert vanish(known, at(3), ()).transitions == ()
    known = refuse(KnownRun(RUN_ID), at(1), "Denied").known
    assert refuse(known, at(2), "Denied").transitions == ()


def test_a_question_about_an_ended_run_ends_with_its_answer_whatever_it_is() -> None:
    ended, _ = seen(look("FAILED", 10, stop=9), item("PENDING", 20, created=at(15)))
    assert ended.question is Question.IDENTITY
    for answered in (
        observe(ended, look("FAILED", 30, stop=9)).known,
        missed(ended, at(30)),
        refuse(ended, at(30), "Denied").known,
    ):
        assert (answered.question, answered.verdict) == (None, Verdict.ENDED)


def test_a_run_that_may_not_be_read_is_unreachable_and_what_lists_showed_of_it_is_not_lost() -> None:
    known, _ = seen(item("PENDING", 10), item("RUNNING", 20, start=15), item("FAILED", 30, stop=25))
    known, transitions, _ = refuse(known, at(40), "AccessDeniedException")
    assert kinds(transitions) == ["pending", "running", "unreachable"]
    assert transitions[-1].evidence == ("AccessDeniedException",)
    assert known.verdict is Verdict.UNREACHABLE
    assert observe(known, item("FAILED", 50, stop=25)).known == known, "only a GetRun mends that"
    known, (end,), _ = observe(known, look("FAILED", 60, start=15, stop=25))
    assert (end.kind, end.reappeared) == ("failed", True)


def test_one_not_found_is_no_verdict() -> None:
    known, _ = seen(look("RUNNING", 10, start=5))
    known = missed(known, at(20))
    assert known.live
    known, transitions, _ = observe(known, look("RUNNING", 30, start=5))
    assert (known.question, known.missing_since, transitions) == (None, None, ())
