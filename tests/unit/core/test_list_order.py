"""What a reading of a list went past: told by the order that the list kept, and by nothing where it kept none."""

import random
from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from poller.core.list_order import ListOrder

RUNS = [f"run-{number}" for number in range(300)]


def read(order: ListOrder, runs: Sequence[str], size: int = 100) -> Iterator[list[str]]:
    """Read a list page by page; what each page went past."""
    for begin in range(0, max(len(runs), 1), size):
        yield order.page(runs[begin : begin + size], first=begin == 0, last=begin + size >= len(runs))


def proven(runs: Sequence[str] = RUNS) -> ListOrder:
    """The order of a list that two readings showed alike."""
    order = ListOrder()
    for _ in range(2):
        assert [run_id for passed in read(order, runs) for run_id in passed] == []
    return order


def without(*gone: int, runs: Sequence[str] = RUNS) -> list[str]:
    return [run_id for number, run_id in enumerate(runs) if number not in gone]


def test_a_run_that_left_is_missed_with_the_page_that_goes_past_its_place() -> None:
    assert list(read(proven(), without(7, 150))) == [["run-7"], ["run-150"], []]


def test_the_first_two_readings_prove_the_order_and_miss_nothing() -> None:
    order = ListOrder()
    assert list(read(order, RUNS)) == [[], [], []]
    assert list(read(order, without(7))) == [[], [], []]
    assert list(read(order, without(7, 8))) == [["run-8"], [], []]


def test_runs_that_are_new_stand_anywhere() -> None:
    shown = without(150)
    shown[50:50] = ["new-1"]
    assert [run_id for passed in read(proven(), ["new-2", *shown, "new-3"]) for run_id in passed] == ["run-150"]


def test_what_leaves_the_end_of_the_list_is_for_the_whole_reading_to_miss() -> None:
    assert list(read(proven(), without(299))) == [[], [], []]


def test_a_run_that_two_pages_show_is_no_break_of_the_order() -> None:
    order = proven()
    assert order.page(RUNS[:100], first=True, last=False) == []
    assert order.page([RUNS[99], *RUNS[100:150], *RUNS[151:199]], first=False, last=False) == ["run-150"]


def test_a_list_in_another_order_each_time_proves_nothing() -> None:
    order, rng = ListOrder(), random.Random(7)
    for _ in range(5):
        assert not any(read(order, rng.sample(RUNS, len(RUNS))))


def test_an_order_that_changes_is_no_reason_to_ask_about_half_the_list() -> None:
    assert not any(read(proven(), RUNS[::3]))  # a page that leaps: more is missing than shown
    order = proven()
    for _ in range(2):
        assert not any(read(order, RUNS[::-1]))
    assert list(read(order, without(7, runs=RUNS[::-1]))) == [["run-292"], [], []]


def test_a_reading_that_was_broken_off_changes_nothing() -> None:
    order = proven()
    assert order.page(without(7)[:100], first=True, last=False) == ["run-7"]
    assert list(read(order, without(7, 150))) == [["run-7"], ["run-150"], []]


@given(st.data())
def test_whoever_is_missed_has_left_and_is_missed_once_in_a_reading(data: st.DataObject) -> None:
    """Whatever leaves, comes back or is new between readings, as long as who stays keeps its place."""
    size = data.draw(st.integers(20, 150))
    order, listed = ListOrder(), list(RUNS)
    for number in range(5):
        missed = [run_id for passed in read(order, listed, size) for run_id in passed]
        assert not set(missed) & set(listed)
        assert len(missed) == len(set(missed))
        left = data.draw(st.sets(st.sampled_from(RUNS), max_size=10))
        listed = [run_id for run_id in RUNS if run_id not in left]
        listed.insert(data.draw(st.integers(0, len(listed))), f"new-{number}")
