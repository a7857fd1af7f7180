"""When a run is looked at again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.cadence import next_look

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LOW, HIGH = timedelta(seconds=5), timedelta(seconds=60)


@pytest.mark.parametrize(("spent", "wait"), [(0, 5), (30, 5), (50, 5), (100, 10), (600, 60), (86400, 60), (-10, 5)])
def test_the_wait_is_a_tenth_of_the_time_in_the_status_between_the_two_intervals(spent: float, wait: float) -> None:
    """Also of a run whose stamp lies ahead of our clock."""
    assert next_look(NOW - timedelta(seconds=spent), NOW, LOW, HIGH, 0.0) - NOW == timedelta(seconds=wait)


def test_a_day_is_a_handful_of_looks_at_first_and_one_a_minute_after_ten_minutes() -> None:
    looks, moment = 0, NOW
    while moment < NOW + timedelta(hours=1):
        moment = next_look(NOW, moment, LOW, HIGH, 0.0)
        looks += 1
    assert looks < 90, "a fixed interval of 5 s would need 720"


@given(st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_jitter_makes_a_look_at_most_a_fifth_sooner_and_never_sooner_than_low(spent: float, jitter: float) -> None:
    since = NOW - timedelta(seconds=spent)
    plain = next_look(since, NOW, LOW, HIGH, 0.0) - NOW
    drawn = next_look(since, NOW, LOW, HIGH, jitter) - NOW
    assert max(LOW, plain * 0.8) - timedelta(microseconds=2) <= drawn <= plain


def test_it_counts_from_the_last_look() -> None:
    seen = NOW - timedelta(seconds=4)
    assert next_look(NOW, NOW, LOW, HIGH, 0.0, seen=seen) == seen + LOW


def test_a_naive_time_or_a_crossed_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="aware"):
        next_look(NOW.replace(tzinfo=None), NOW, LOW, HIGH, 0.0)
    with pytest.raises(ValueError, match="longer"):
        next_look(NOW, NOW, HIGH, LOW, 0.0)
