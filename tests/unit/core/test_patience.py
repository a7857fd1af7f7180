"""How long an answer is waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.patience import FIRST, LEAST, MOST, Patience, answered, limit_seconds, waited_in_vain


def test_before_the_first_answer_it_waits_long_and_then_as_answers_teach() -> None:
    patience = Patience()
    assert limit_seconds(patience) == FIRST
    for _ in range(20):
        patience = answered(patience, 0.06)
    assert limit_seconds(patience) == LEAST
    for _ in range(50):
        patience = answered(patience, 6.0)
    assert limit_seconds(patience) == pytest.approx(6.0, rel=0.2)


def test_waiting_in_vain_doubles_the_limit_until_an_answer_comes() -> None:
    patience = answered(Patience(), 0.06)
    in_vain = waited_in_vain(waited_in_vain(patience))
    assert limit_seconds(in_vain) == 4 * LEAST
    assert limit_seconds(answered(in_vain, 0.06)) == LEAST


@given(st.lists(st.one_of(st.floats(0.0, 60.0), st.none()), max_size=50))
def test_the_limit_stays_within_its_bounds(times: list[float | None]) -> None:
    patience = Patience()
    for seconds in times:
        patience = waited_in_vain(patience) if seconds is None else answered(patience, seconds)
        assert LEAST <= limit_seconds(patience) <= MOST
