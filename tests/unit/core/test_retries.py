"""What follows from a failed delivery: how long it waits, and when a sink is in an outage."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.retries import (
    LONGEST_PROBE,
    LONGEST_RETRY_AFTER,
    OPENS_AFTER,
    Breaker,
    delivery_wait,
    failed,
    full_jitter,
    may_send,
    next_attempt,
    probe_wait,
    probed,
    succeeded,
)

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def test_waits_double_to_sixteen_seconds_and_then_grow_fourfold_up_to_ten_hours() -> None:
    waits = [delivery_wait(failures, 1.0).total_seconds() for failures in range(1, 16)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16384, 36000, 36000, 36000, 36000]
    assert delivery_wait(0, 1.0) == timedelta(seconds=0.5)
    assert delivery_wait(10**9, 1.0) == timedelta(hours=10)


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_full_jitter_draws_from_nothing_to_the_whole_wait(failures: int, jitter: float) -> None:
    assert timedelta(0) <= delivery_wait(failures, jitter) <= delivery_wait(failures, 1.0)
    for base in (timedelta(seconds=0.5), timedelta(hours=1)):
        whole = full_jitter(failures, base, timedelta(hours=10), 1.0)
        assert base <= whole <= timedelta(hours=10)
        assert timedelta(0) <= full_jitter(failures, base, timedelta(hours=10), jitter) <= whole
    assert probe_wait(failures, jitter) <= LONGEST_PROBE


def test_the_first_waits_of_a_look_double() -> None:
    waits = [full_jitter(n, timedelta(seconds=0.5), timedelta(seconds=60), 1.0).total_seconds() for n in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_retry_after_is_honoured_up_to_an_hour() -> None:
    assert next_attempt(1, NOW, 0.0, after=timedelta(minutes=10)) == NOW + timedelta(minutes=10)
    assert next_attempt(1, NOW, 0.0, after=timedelta(days=2)) == NOW + LONGEST_RETRY_AFTER
    assert next_attempt(12, NOW, 1.0, after=timedelta(seconds=1)) == NOW + timedelta(hours=10)
    assert next_attempt(1, NOW, 0.0) == NOW


def test_a_breaker_opens_only_when_nothing_gets_through() -> None:
    breaker = Breaker()
    for _ in range(100):
        for _ in range(OPENS_AFTER - 1):
            breaker = failed(breaker, NOW, 0.5)
        assert not breaker.open
        breaker = succeeded(breaker)
    assert (breaker.failures, breaker.successes) == (0, 100), "poison among successes is no outage"


def test_an_open_breaker_lets_probes_through_at_least_every_five_minutes() -> None:
    breaker, now = Breaker(successes=3), NOW
    for _ in range(OPENS_AFTER):
        assert may_send(breaker, now)
        breaker = failed(breaker, now, 1.0)
    for _ in range(50):
        assert breaker.open
        assert breaker.probe_at is not None
        assert now < breaker.probe_at <= now + LONGEST_PROBE
        assert not may_send(breaker, now)
        now = breaker.probe_at
        assert may_send(breaker, now)
        breaker = failed(probed(breaker), now, 1.0, after=timedelta(hours=1))
    closed = succeeded(breaker)
    assert (closed.open, closed.failures, closed.successes, may_send(closed, now)) == (False, 0, 4, True)


def test_what_was_under_way_when_a_breaker_opened_does_not_put_off_its_probes() -> None:
    breaker = Breaker()
    for _ in range(OPENS_AFTER + 50):
        breaker = failed(breaker, NOW, 1.0)
    waits = []
    for _ in range(4):
        assert breaker.probe_at is not None
        waits.append((breaker.probe_at - NOW).total_seconds())
        breaker = failed(failed(probed(breaker), NOW, 1.0), NOW, 1.0)
    assert waits == [0.5, 1, 2, 4]
    asked = failed(breaker, NOW, 1.0, after=timedelta(seconds=90))
    assert asked.probe_at == NOW + timedelta(seconds=90)
    assert failed(asked, NOW, 1.0, after=timedelta(seconds=20)) == replace(asked, failures=asked.failures + 1)


@pytest.mark.parametrize("after", [None, timedelta(seconds=90)])
def test_a_sink_that_says_when_to_come_back_is_not_probed_sooner(after: timedelta | None) -> None:
    breaker = Breaker()
    for _ in range(OPENS_AFTER):
        breaker = failed(breaker, NOW, 0.0, after=after)
    assert breaker.probe_at == NOW + (after or timedelta(0))
