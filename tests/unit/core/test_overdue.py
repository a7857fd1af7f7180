"""A run is overdue by its deadline or by what is usual: once in a status, not before its moment, not after its end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.drafts import Place, event_of
from poller.core.event_data import CloudEvent
from poller.core.machine import observe
from poller.core.overdue import NO_TERMS, Agenda, Limit, Terms, is_overdue, limit_of, strictest, tell_overdue
from poller.core.runs import GroupFacts, GroupLimits, KnownRun
from poller.core.statuses import ENDS
from poller.core.stays import ENOUGH, Stays
from poller.core.transitions import Transition

from .lives import PATH, RUN_ID, Life, answer, at
from .looks import FIELDS, looked_at, shown

PLACE = Place("lab", "us-east-1", "123456789012")
HOUR = timedelta(hours=1)


def stays(*seconds: float, status: str = "RUNNING") -> Stays:
    return Stays("7", "1.0", status, seconds)


STUCK = Life("u", (("PENDING", 0), ("STARTING", 100), ("RUNNING", 200)))


# --- the limit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "known", "expected"),
    [
        (Terms(), stays(*[10.0] * 9), None),
        (Terms({"RUNNING": HOUR}), None, Limit(HOUR, "deadline")),
        (Terms({"PENDING": HOUR}), None, None),
        (Terms({"RUNNING": HOUR}), stays(*[10.0] * 9), Limit(HOUR, "deadline")),
        (Terms(factor=3), stays(*[10.0] * (ENOUGH - 1)), None),
        (Terms(factor=3), stays(*[10.0] * ENOUGH), Limit(timedelta(seconds=30), "usual", 10.0, ENOUGH)),
        (Terms(factor=3), stays(9, 10, 11, 5000, 0), Limit(timedelta(seconds=30), "usual", 10.0, 5)),
        (Terms(factor=3), stays(*[0.0] * 5), Limit(timedelta(seconds=3), "usual", 1.0, 5)),
        (Terms({"RUNNING": HOUR}, 3), stays(*[10.0] * 5), Limit(timedelta(seconds=30), "usual", 10.0, 5)),
        (Terms({"RUNNING": HOUR}, 3), stays(*[7200.0] * 5), Limit(HOUR, "deadline", 7200.0, 5)),
        (Terms({"RUNNING": HOUR}, 3), stays(10), Limit(HOUR, "deadline")),
    ],
)
def test_the_shorter_of_deadline_and_usual_time_counts(terms: Terms, known: Stays | None, expected: Limit) -> None:
    assert limit_of(terms, "RUNNING", known) == expected


# --- telling ----------------------------------------------------------------------------------------------------------


def test_a_run_is_overdue_by_an_answer_that_was_asked_for_after_its_moment() -> None:
    limit = Limit(timedelta(seconds=500), "deadline")
    known, _ = looked_at(STUCK, 10, 110, 210, 699)
    assert not is_overdue(known, limit, shown(STUCK, 699))
    known, _, _ = observe(known, shown(STUCK, 700))
    assert is_overdue(known, limit, shown(STUCK, 700))
    assert not is_overdue(known, limit, shown(STUCK, 699)), "an answer that came late says nothing new"


def test_the_event_says_since_when_how_long_and_by_what_limit() -> None:
    known, _ = looked_at(STUCK, 10, 110, 210, 710)
    limit = limit_of(Terms(factor=2.5), "RUNNING", stays(180, 190, 200, 210, 220))
    assert limit is not None
    told, (transition,), _ = tell_overdue(known, limit, shown(STUCK, 710), factor=2.5)
    assert told == replace(known, overdue_in="RUNNING")
    event = event_of(transition, PLACE, {})
    CloudEvent.model_validate_json(event.to_json(4))
    assert event.type == "healthomics.run.overdue"
    data = event.data
    assert (data["status"], data["previous_status"], data["skipped_statuses"]) == ("RUNNING", "RUNNING", [])
    assert (data["terminal"], data["first_observation"]) == (False, False)
    assert data["not_before"] == "2026-11-23T07:11:40.262471Z", "the moment itself: the start is the service's own"
    assert (data["occurred_at"], data["occurred_at_source"]) == (data["observed_at"], "observed_at")
    assert data["overdue"] == {
        "status": "RUNNING",
        "since": "2026-11-23T07:03:20.262471Z",
        "since_source": "startTime",
        "seconds": 510.0,
        "limit_seconds": 500.0,
        "basis": "usual",
        "usual_seconds": 200,
        "known_runs": 5,
        "factor": 2.5,
        "pending_reason": None,
    }


def test_where_the_beginning_has_no_stamp_the_event_says_so() -> None:
    life = Life("u", (("PENDING", 0), ("STARTING", 100)))
    known, _ = looked_at(life, 10, 150, 300)
    _, (transition,), _ = tell_overdue(known, Limit(timedelta(seconds=60), "deadline"), shown(life, 300))
    assert transition.overdue is not None
    assert (transition.overdue.since_source, transition.not_before) == ("observed_at", None)
    assert transition.overdue.seconds == pytest.approx(149.8), (
        "at least so long: counted from the answer that showed it"
    )


def test_what_is_known_of_the_group_is_told_as_facts() -> None:
    known, _ = looked_at(STUCK, 10, 90)
    facts = GroupFacts("3", GroupLimits(max_runs=2), 2, at(90))
    _, (transition,), _ = tell_overdue(known, Limit(timedelta(seconds=60), "deadline"), shown(STUCK, 90), group=facts)
    told = event_of(transition, PLACE, {})
    CloudEvent.model_validate_json(told.to_json(2))
    assert told.data["overdue"]["pending_reason"] == {
        "run_group_id": "3",
        "max_runs": 2,
        "max_cpus": None,
        "max_gpus": None,
        "max_duration_minutes": None,
        "active_runs_seen": 2,
        "seen_at": "2026-11-23T07:01:30.262471Z",
        "limits_unknown": None,
    }


def test_each_status_of_each_incarnation_is_an_event_of_its_own() -> None:
    ids = set()
    for uuid in ("u", "v"):
        life = replace(STUCK, uuid=uuid)
        for seconds in ((10, 90), (10, 110, 190), (10, 210, 900)):
            known, _ = looked_at(life, *seconds)
            seen = shown(life, seconds[-1])
            _, (transition,), _ = tell_overdue(known, Limit(timedelta(seconds=1), "deadline"), seen)
            ids.add(event_of(transition, PLACE, {}).id)
    assert len(ids) == 6


def test_a_run_in_no_status_cannot_be_told_to_be_overdue() -> None:
    with pytest.raises(ValueError, match="in no status"):
        tell_overdue(KnownRun("1"), Limit(HOUR, "deadline"), shown(STUCK, 10))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    second, history = 10.0, []
    passed = draw(st.sets(st.sampled_from(PATH[1:])))
    for status in ("PENDING", *(name for name in PATH[1:] if name in passed)):
        history.append((status, second))
        second += draw(st.sampled_from([1.5, 20.0, 300.0]))
    if draw(st.booleans()):
        history.append((draw(st.sampled_from(sorted(ENDS))), second))
    return Life("u", tuple(history))


SPANS = st.sampled_from([0.5, 5.0, 60.0, 250.0])
TERMS = st.builds(
    Terms,
    st.dictionaries(st.sampled_from(PATH), SPANS.map(lambda seconds: timedelta(seconds=seconds))),
    st.sampled_from([0.0, 1.0, 3.0]),
)
KNOWN = st.lists(st.tuples(st.sampled_from(PATH), st.floats(0, 400)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(lives(), TERMS, KNOWN, st.lists(st.tuples(st.floats(0, 1500), st.booleans()), max_size=25), st.integers(0, 25))
def test_overdue_is_told_once_in_a_status_in_its_time_and_not_after_the_end(
    life: Life, terms: Terms, durations: Sequence[tuple[str, float]], looks: Sequence[tuple[float, bool]], crash: int
) -> None:
    """Looks in any order, GetRun or list, some made again after a crash before the commit."""
    agenda = Agenda(terms)
    for status, seconds in durations:
        agenda.learn(agenda.stays(("7", "1.0", status)).with_one_more(seconds))
    known, told, ids = KnownRun(RUN_ID), list[Transition](), set[str]()
    for place, (second, full) in enumerate(looks):
        seen = answer([life], second, full=full)
        if seen is None:
            continue
        seen = replace(seen, fields=FIELDS)
        for again in (True, False) if place == crash else (False,):
            after, transitions, _ = observe(known, seen)
            limit = agenda.limit(after)
            if limit is not None and is_overdue(after, limit, seen):
                after, more, _ = tell_overdue(after, limit, seen)
                transitions += more
            if not again:
                known = after
                told += transitions
    for one in told:
        identity = event_of(one, PLACE, {}).id
        assert identity not in ids
        ids.add(identity)
    ended = False
    for one in told:
        if one.overdue is None:
            ended = ended or one.terminal
            continue
        assert not ended
        status = one.overdue.status
        entered = life.entered(status)
        assert entered is not None
        assert terms.are_about(status)
        truly = (one.observed_at - at(entered)).total_seconds()
        assert truly >= one.overdue.seconds >= one.overdue.limit_seconds, "never before its moment"
        moment = one.overdue.since + timedelta(seconds=one.overdue.limit_seconds)
        assert life.left(status) >= (moment - at(0)).total_seconds(), "it was still there"


# --- who is next ------------------------------------------------------------------------------------------------------


def running(run_id: str, since: float, **changes: Any) -> KnownRun:
    known = KnownRun(run_id, status="RUNNING", since=at(since), workflow_id="7", workflow_version="1.0")
    return replace(known, **changes)


def test_the_run_that_came_first_is_next_and_is_named_once() -> None:
    agenda = Agenda(Terms({"RUNNING": timedelta(seconds=100)}))
    for run_id, since in (("1", 50), ("2", 20), ("3", 80)):
        agenda.plan(running(run_id, since))
        agenda.plan(running(run_id, since))
    assert agenda.next_at() == at(120)
    assert agenda.turned(at(119), most=10) == []
    assert agenda.turned(at(155), most=10) == ["2", "1"]
    assert agenda.turned(at(155), most=10) == []
    assert agenda.next_at() == at(180)
    agenda.plan(running("3", 80, status="STOPPING"))
    assert agenda.next_at() is None


def test_what_is_learned_moves_the_moment_of_all_that_wait() -> None:
    agenda = Agenda(Terms(factor=2))
    agenda.plan(running("1", 0))
    agenda.plan(running("2", 0, workflow_version="2.0"))
    assert agenda.next_at() is None
    agenda.learn(stays(*[60.0] * ENOUGH))
    assert agenda.next_at() == at(120)
    agenda.learn(stays(*[30.0] * ENOUGH))
    assert agenda.next_at() == at(60)
    assert agenda.turned(at(60), most=10) == ["1"]


@pytest.mark.parametrize(
    "changes",
    [{"overdue_in": "RUNNING"}, {"verdict": "ended"}, {"since": None}, {"status": "PAUSED"}, {"status": None}],
)
def test_nobody_waits_for_a_run_that_cannot_become_overdue(changes: dict[str, Any]) -> None:
    agenda = Agenda(Terms({status: HOUR for status in PATH}, 2))
    agenda.plan(running("1", 0))
    agenda.plan(replace(running("1", 0), **changes))
    assert agenda.next_at() is None


def test_of_a_long_queue_only_so_many_turn_at_once() -> None:
    agenda = Agenda(Terms({"PENDING": HOUR}))
    for number in range(1000):
        agenda.plan(running(str(number), number / 1000, status="PENDING"))
    assert len(agenda.turned(at(0) + 2 * HOUR, most=300)) == 300
    assert agenda.next_at() == at(0.3) + HOUR
    assert len(agenda.turned(at(0) + 2 * HOUR, most=1000)) == 700


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["plan", "drop", "learn", "turn"]),
        st.sampled_from("abcd"),
        st.sampled_from(PATH),
        st.integers(0, 300),
        st.sampled_from(["7", "8"]),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(TERMS, STEPS)
def test_the_agenda_agrees_with_looking_at_every_run(
    terms: Terms, steps: Sequence[tuple[str, str, str, int, str]]
) -> None:
    agenda, waiting = Agenda(terms), dict[str, KnownRun]()

    def moment(known: KnownRun) -> datetime | None:
        limit = agenda.limit(known)
        return None if limit is None or known.since is None else known.since + limit.span

    for step, run_id, status, number, workflow in steps:
        if step == "plan":
            waiting[run_id] = KnownRun(run_id, status=status, since=at(number), workflow_id=workflow)
            agenda.plan(waiting[run_id])
        elif step == "drop":
            waiting.pop(run_id, None)
            agenda.drop(run_id)
        elif step == "learn":
            agenda.learn(agenda.stays((workflow, None, status)).with_one_more(number))
        else:
            due = {one for one, known in waiting.items() if (when := moment(known)) is not None and when <= at(number)}
            assert set(agenda.turned(at(number), most=100)) == due
            for one in due:
                del waiting[one]
        moments = [when for known in waiting.values() if (when := moment(known)) is not None]
        assert agenda.next_at() == min(moments, default=None)


def test_of_several_terms_the_strictest_hold() -> None:
    hour, day = timedelta(hours=1), timedelta(days=1)
    several = [Terms({"RUNNING": day, "PENDING": hour}, 3.0), Terms({"RUNNING": hour}), Terms({}, 2.0)]
    assert strictest(several) == Terms({"RUNNING": hour, "PENDING": hour}, 2.0)
    assert strictest([]) == NO_TERMS
