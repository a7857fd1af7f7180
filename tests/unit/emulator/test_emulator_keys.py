"""Sorted keys: what a plain sorted list would say."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.emulator import keys
from poller.emulator.keys import Keys


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=200), st.integers(-1, 61), st.integers(0, 70))
def test_whatever_is_added_and_removed_the_order_is_that_of_a_sorted_list(
    changes: list[tuple[bool, int]], key: int, number: int
) -> None:
    made, plain = Keys(), set[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "BLOCK", 4)
        for is_added, value in changes:
            if is_added and value not in plain:
                made.add(value)
                plain.add(value)
            elif not is_added and value in plain:
                made.remove(value)
                plain.remove(value)
    expected = sorted(plain)

    assert len(made) == len(expected)
    assert list(made.behind(None)) == list(made.after(0)) == expected
    assert list(made.behind(key)) == [value for value in expected if value > key]
    assert list(made.after(number)) == expected[number:]


def test_what_is_not_there_cannot_be_removed() -> None:
    made = Keys()
    for key in random.Random(1).sample(range(10_000), 5_000):
        made.add(key * 2)

    for key in (-1, 1, 20_001):
        with pytest.raises(KeyError):
            made.remove(key)
    assert len(made) == 5_000
