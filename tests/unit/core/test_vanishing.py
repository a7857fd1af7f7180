"""The verdict ladder: what is asked before a run is declared gone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.runs import Snapshot
from poller.core.vanishing import (
    LATE_FOR,
    LONGEST_PAUSE,
    Ladder,
    Reading,
    Rung,
    Terms,
    manifest_pause,
    next_rung,
    tried,
)

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PAUSE, DEADLINE = timedelta(seconds=5), timedelta(seconds=30)
END = Reading(1, end=Snapshot("1", "FAILED", False, START, START), said="manifest: FAILED in manifest/run/1/u")


def terms(
    *,
    seen_before: bool = True,
    shown_deleted: bool = False,
    lists_allowed: bool = True,
    pause: timedelta = PAUSE,
    deadline: timedelta = DEADLINE,
) -> Terms:
    return Terms(seen_before, shown_deleted, lists_allowed, pause, deadline)


def climb(ladder: Ladder, *, reading: Reading | None = None, after: float = 0, **how: Any) -> tuple[Rung, float]:
    """The next rung `after` so many seconds, and the moment that goes with it, in seconds too."""
    now = START + timedelta(seconds=after)
    rung, moment = next_rung(ladder, reading or Reading(), now, terms(**how))
    return rung, (moment - START).total_seconds()


@pytest.mark.parametrize(
    ("seen_before", "pause", "expected"),
    [(True, PAUSE, 5), (False, PAUSE, 20), (True, timedelta(minutes=5), 20), (False, timedelta(minutes=5), 20)],
)
def test_the_second_get_run_comes_after_a_pause(seen_before: bool, pause: timedelta, expected: float) -> None:
    """A new run can be invisible for a moment; a pause longer than the deadline fits into it all the same."""
    assert climb(Ladder(START), seen_before=seen_before, pause=pause) == (Rung.GET_RUN, expected)


def test_then_the_list_is_read_then_the_manifest_and_then_it_has_vanished() -> None:
    assert climb(Ladder(START, misses=2), after=5) == (Rung.LIST_RUNS, 25)
    listed = Ladder(START, misses=2, listed=True)
    assert climb(listed, after=6) == (Rung.MANIFEST, 30)
    assert climb(listed, after=29, reading=Reading(4, absent=True)) == (Rung.MANIFEST, 30)
    assert climb(listed, after=30, reading=Reading(4, absent=True))[0] is Rung.TOP


def test_lists_that_do_not_answer_leave_time_for_the_manifest() -> None:
    assert climb(Ladder(START, misses=2), after=25) == (Rung.MANIFEST, 30)
    assert climb(Ladder(START, misses=2), after=6, lists_allowed=False) == (Rung.MANIFEST, 30)


def test_a_manifest_that_shows_the_end_decides_at_once_and_one_that_is_left_out_is_not_waited_for() -> None:
    listed = Ladder(START, misses=2, listed=True)
    assert climb(listed, after=7, reading=END)[0] is Rung.TOP
    assert climb(listed, after=7, reading=Reading(1, left_out=True))[0] is Rung.TOP
    assert climb(Ladder(START, misses=1, contradicted=True), after=7, reading=END)[0] is Rung.TOP


def test_a_deleted_that_was_shown_needs_no_second_get_run() -> None:
    assert climb(Ladder(START), shown_deleted=True)[0] is Rung.LIST_RUNS


def test_a_list_that_still_shows_the_run_has_get_run_asked_until_the_deadline() -> None:
    contradicted = Ladder(START, misses=1, contradicted=True)
    assert climb(contradicted, after=29)[0] is Rung.GET_RUN
    assert climb(contradicted, after=30)[0] is Rung.TOP


def test_the_evidence_says_of_each_rung_what_came_of_it() -> None:
    climbed = Ladder(START, evidence=("GetRun: gone", "GetRun: gone"))
    assert tried(climbed, Reading(), lists_allowed=True)[2:] == (
        "ListRuns: not read whole in time",
        "manifest: not asked in time",
    )
    assert tried(climbed, Reading(), lists_allowed=False)[2] == "ListRuns: not allowed"
    assert tried(climbed, END, lists_allowed=True)[2:] == (END.said,)


@given(st.booleans(), st.booleans(), st.integers(1, 3600), st.integers(1, 3600))
def test_no_run_is_gone_by_one_not_found_and_none_is_asked_about_for_ever(
    seen_before: bool, listed: bool, pause: int, deadline: int
) -> None:
    rung, due = climb(
        Ladder(START, misses=1, listed=listed),
        seen_before=seen_before,
        pause=timedelta(seconds=pause),
        deadline=timedelta(seconds=deadline),
    )
    assert rung is Rung.GET_RUN
    assert 0 < due < deadline


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(2, 9), st.floats(0, 100))
def test_after_the_deadline_a_run_that_get_run_missed_twice_gets_its_verdict(
    listed: bool, contradicted: bool, allowed: bool, absent: bool, misses: int, late: float
) -> None:
    ladder = Ladder(START, misses=misses, listed=listed, contradicted=contradicted)
    after = DEADLINE.total_seconds() + late
    assert climb(ladder, reading=Reading(1, absent=absent), after=after, lists_allowed=allowed)[0] is Rung.TOP


@given(st.integers(0, 10_000), st.floats(0.05, 3600), st.floats(0, 1, exclude_max=True))
def test_a_manifest_is_asked_for_ever_more_seldom_and_often_enough_to_come_late(
    asked: int, shortest: float, jitter: float
) -> None:
    pause = manifest_pause(asked, timedelta(seconds=shortest), jitter)
    assert timedelta(0) < pause <= LONGEST_PAUSE < LATE_FOR / 5
