"""The state machine by example: each promise of the contract once, and each odd answer that it must bear."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from poller.core.machine import (
    BEHIND_AT_MOST,
    RANK,
    Step,
    Transition,
    judge,
    missed,
    observe,
    refuse,
    relate,
    skipped_between,
    vanish,
)
from poller.core.machine import Relation as Whose
from poller.core.runs import EmitFirst, KnownRun, Question, Snapshot, Verdict, incarnation_of

from .lives import RUN_ID, at

CREATED = at(0)


def look(
    status: str,
    second: float,
    *,
    full: bool = True,
    uuid: str | None = "uuid-a",
    created: datetime | None = CREATED,
    start: float | None = None,
    stop: float | None = None,
    **fields: Any,
) -> Snapshot:
    """A GetRun answer that was asked for at `second` and came 0.2 s later."""
    return Snapshot(
        run_id=RUN_ID,
        status=status,
        full=full,
        asked_at=at(second),
        answered_at=at(second + 0.2),
        uuid=uuid if full else None,
        creation_time=created,
        start_time=None if start is None else at(start),
        stop_time=None if stop is None else at(stop),
        fields=fields,
    )


def item(status: str, second: float, **rest: Any) -> Snapshot:
    return look(status, second, full=False, **rest)


def seen(*snapshots: Snapshot, emit_first: EmitFirst = "always") -> tuple[KnownRun, list[Transition]]:
    known = KnownRun(RUN_ID, emit_first=emit_first)
    told: list[Transition] = []
    for snapshot in snapshots:
        known, transitions, _ = observe(known, snapshot)
        told += transitions
    return known, told


def kinds(told: Sequence[Transition]) -> list[str]:
    return [one.kind for one in told]


@pytest.mark.parametrize("last", [None, *RANK])
@pytest.mark.parametrize("now", [*RANK, "PAUSED"])
def test_every_pair_of_statuses_has_the_step_that_the_contract_names(last: str | None, now: str) -> None:
    ends = {"COMPLETED", "FAILED", "CANCELLED"}
    if now == "PAUSED":
        expected = Step.UNKNOWN
    elif last is None:
        expected = Step.FIRST
    elif last == now or (last in ends and now == "DELETED"):
        expected = Step.SAME
    elif last in ends and now in ends:
        expected = Step.CONTRADICTION
    else:
        order = ["PENDING", "STARTING", "RUNNING", "STOPPING", "COMPLETED", "FAILED", "CANCELLED", "DELETED"]
        expected = Step.FORWARD if order.index(now) > order.index(last) else Step.STALE
    assert judge(last, now) is expected


def test_a_jump_names_every_status_between() -> None:
    assert skipped_between("PENDING", "FAILED") == ("STARTING", "RUNNING", "STOPPING")
    assert skipped_between("RUNNING", "DELETED") == ("STOPPING",)
    assert skipped_between("STARTING", "RUNNING") == ()
    assert skipped_between(None, "FAILED") == ()


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


# what a list can prove


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


# incarnations


def test_the_uuid_decides_where_both_sides_have_one() -> None:
    known, _ = seen(look("RUNNING", 10, start=5))
    assert relate(known, look("RUNNING", 20, created=at(-5))) is Whose.SAME
    assert relate(known, look("RUNNING", 20, uuid="uuid-b")) is Whose.NEWER
    assert relate(known, look("RUNNING", 20, uuid="uuid-b", created=at(-5))) is Whose.OLDER
    assert relate(known, look("RUNNING", 20, uuid=None)) is Whose.SAME
    assert relate(known, look("RUNNING", 20, uuid=None, created=at(5))) is Whose.NEWER
    assert relate(known, item("RUNNING", 20, created=CREATED.replace(microsecond=262000))) is Whose.SAME


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


# gone, given up, come back


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
