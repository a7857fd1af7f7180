"""Lives: the scripts of runs, and how they are laid out in time."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.emulator import GONE, Life, Step
from poller.emulator.instants import SECOND, datetime_of, instant_of, micro_stamp, milli_stamp
from poller.emulator.lives import ENDS
from poller.emulator.runs import lay_out


def test_the_usual_life_passes_all_statuses_in_order() -> None:
    life = Life.completed(pending=1, starting=2, running=3, stopping=4)

    assert [step.status for step in life.steps] == ["PENDING", "STARTING", "RUNNING", "STOPPING", "COMPLETED"]
    assert [step.seconds for step in life.steps[:4]] == [1, 2, 3, 4]


def test_a_failed_life_says_why_and_may_skip_stopping() -> None:
    life = Life.failed("OUT_OF_MEMORY_ERROR", "too big", stopping=None)

    assert [step.status for step in life.steps] == ["PENDING", "STARTING", "RUNNING", "FAILED"]
    assert life.steps[-1].fields == {"failureReason": "OUT_OF_MEMORY_ERROR", "statusMessage": "too big"}


def test_a_vanished_life_never_shows_an_end() -> None:
    statuses = [step.status for step in Life.vanished().steps]

    assert statuses[-1] == GONE
    assert not ENDS & set(statuses)


@pytest.mark.parametrize("steps", [(), (Step(GONE),)])
def test_a_life_without_a_beginning_is_refused(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValueError, match="a life"):
        Life(steps)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_step_that_cannot_be_timed_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="cannot last"):
        Step("RUNNING", seconds)


def test_random_lives_repeat_with_their_seed_and_end() -> None:
    lives = [Life.random(random.Random(seed)) for seed in range(200)]

    assert lives == [Life.random(random.Random(seed)) for seed in range(200)]
    assert all(life.steps[0].status == "PENDING" and life.steps[-1].status in ENDS for life in lives)
    assert {life.steps[-1].status for life in lives} == ENDS


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8),
    st.integers(0, 4 * 10**15),
    st.floats(0.01, 1e4),
)
def test_moments_never_go_back_and_come_no_later_than_scripted(lengths: list[float], begin: int, speed: float) -> None:
    moments = lay_out([Step("RUNNING", length) for length in lengths], begin, speed, {})

    assert moments[0].at == begin
    for number, (earlier, later) in enumerate(pairwise(moments), 1):
        assert earlier.at <= later.at
        assert later.at <= begin + round(sum(lengths[:number]) * SECOND / speed) + 1


def test_fields_stay_until_a_later_step_replaces_them() -> None:
    moments = lay_out(
        [Step("RUNNING", 1, {"a": 1}), Step("STOPPING", 1, {"b": 2}), Step("FAILED", 0, {"a": 3})], 0, 1, {}
    )

    assert [moment.fields for moment in moments] == [{"a": 1}, {"a": 1, "b": 2}, {"a": 3, "b": 2}]


@given(st.integers(0, 4 * 10**15))
def test_instants_lose_nothing_on_their_way_through_datetimes(instant: int) -> None:
    assert instant_of(datetime_of(instant)) == instant


def test_stamps_are_written_as_the_service_writes_them() -> None:
    assert micro_stamp(1_669_849_980_718_651) == "2022-11-30T23:13:00.718651Z"
    assert milli_stamp(1_669_850_267_016_000) == "2022-11-30T23:17:47.016Z"
    assert milli_stamp(1_669_850_267_016_001) == "2022-11-30T23:17:47.016001Z"
