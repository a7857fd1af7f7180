"""The verdict ladder: what is asked before a run is declared gone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.vanishing import Ladder, Rung, next_rung

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PAUSE, DEADLINE = timedelta(seconds=5), timedelta(seconds=30)


@pytest.mark.parametrize(
    ("seen_before", "pause", "expected"),
    [(True, PAUSE, 5), (False, PAUSE, 20), (True, timedelta(minutes=5), 20), (False, timedelta(minutes=5), 20)],
)
def test_the_second_get_run_comes_after_a_pause(seen_before: bool, pause: timedelta, expected: float) -> None:
    """A new run can be invisible for a moment; a pause longer than the deadline fits into it all the same."""
    rung, due = next_rung(Ladder(START), seen_before=seen_before, shown_deleted=False, pause=pause, deadline=DEADLINE)
    assert (rung, due) == (Rung.GET_RUN, START + timedelta(seconds=expected))


def test_then_the_list_is_read_and_then_it_has_vanished() -> None:
    def climb(**ladder: object) -> Rung:
        known = Ladder(START, **ladder)  # type: ignore[arg-type]
        return next_rung(known, seen_before=True, shown_deleted=False, pause=PAUSE, deadline=DEADLINE)[0]

    assert climb(misses=2) is Rung.LIST_RUNS
    assert climb(misses=2, listed=True) is Rung.VANISHED


def test_a_deleted_that_was_shown_needs_no_second_get_run() -> None:
    rung, due = next_rung(Ladder(START), seen_before=True, shown_deleted=True, pause=PAUSE, deadline=DEADLINE)
    assert (rung, due) == (Rung.LIST_RUNS, START)


@given(st.booleans(), st.booleans(), st.integers(1, 3600), st.integers(1, 3600))
def test_no_run_is_gone_by_one_not_found_and_none_is_asked_about_for_ever(
    seen_before: bool, listed: bool, pause: int, deadline: int
) -> None:
    rung, due = next_rung(
        Ladder(START, misses=1, listed=listed), seen_before=seen_before, shown_deleted=False,
        pause=timedelta(seconds=pause), deadline=timedelta(seconds=deadline),
    )  # fmt: skip
    assert rung is Rung.GET_RUN
    assert START < due < START + timedelta(seconds=deadline)
