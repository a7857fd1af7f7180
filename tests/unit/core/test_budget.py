"""The learned budget, by simulation: hours of calls against a quota that nobody tells us.

Figures measured with `service()` below (bursts of one second of the quota, as the emulator has them), 6 seeds:

- hidden quota 3/s, ceiling 10/s, unlimited need, 10 minutes: 1.5 % of the calls refused, 84 % of the quota used;
- the quota freed from 3/s to 10/s: 9.5/s again after 120 s;
- 2 % of the calls refused by chance: 8/s on average, of a ceiling of 10/s; 4 %: 4/s; 8 %: 2/s (the floor is 0.5/s);
- a foreign caller that steadily asks half the quota, after its first minute: 0.4 % refused at 10/s, 4 % at 3/s.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.budget import (
    CUT,
    FLOOR,
    LONGEST_CLIMB,
    Budget,
    held_back,
    open_budget,
    take,
    throttled,
    wait_seconds,
)

SEEDS = range(4)


@dataclass
class Course:
    """What came of a simulation: (moment, answered) of our calls and of a foreign caller's, and our rate at each."""

    ours: list[tuple[float, bool]] = field(default_factory=list)
    theirs: list[tuple[float, bool]] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)


def refused(calls: list[tuple[float, bool]], since: float = 0.0) -> float:
    answers = [answered for moment, answered in calls if moment >= since]
    return 1 - sum(answers) / len(answers)


def service(
    quota: Callable[[float], float], seconds: float, *, ceiling: float = 10.0, foreign: float = 0.0,
    by_chance: float = 0.0, round_trip: float = 0.1, seed: int = 0, need: float | None = None,
) -> Course:  # fmt: skip
    """Ask a service with a hidden token bucket, as fast as the budget lets us (or `need` times a second)."""
    chance, order, course = random.Random(seed), itertools.count(), Course()
    budget, now, tokens, counted_at = open_budget(ceiling, 0.0), 0.0, quota(0.0), 0.0
    events: list[tuple[float, int, str, float, bool]] = []

    def at(moment: float, what: str, sent: float = 0.0, answered: bool = False) -> None:
        heapq.heappush(events, (moment, next(order), what, sent, answered))

    def ask() -> bool:
        nonlocal tokens, counted_at
        tokens = min(max(quota(now), 1.0), tokens + (now - counted_at) * quota(now))
        counted_at = now
        if tokens < 1 or chance.random() < by_chance:
            return False
        tokens -= 1
        return True

    at(0.0, "send")
    if foreign:
        at(chance.random() / foreign, "foreign")
    while events[0][0] < seconds:
        now, _, what, sent, answered = heapq.heappop(events)
        if what == "foreign":
            course.theirs.append((now, ask()))
            at(now + 1 / foreign, "foreign")
        elif what == "arrive":
            course.ours.append((now, ask()))
            course.rates.append((now, budget.rate))
            at(now + round_trip * chance.uniform(0.3, 0.7), "answer", sent, course.ours[-1][1])
        elif what == "answer" and not answered:
            budget = throttled(budget, now, sent)
        elif what == "send":
            wait = wait_seconds(budget, now)
            budget = held_back(budget, now, waiting=wait > 0)
            if wait > 0:
                at(now + wait, "send")
                continue
            budget = take(budget, now)
            at(now + round_trip * chance.uniform(0.3, 0.7), "arrive", now)
            at(now if need is None else now + 1 / need, "send")
    return course


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("round_trip", [0.05, 0.5])
def test_a_hidden_quota_is_used_and_seldom_run_into(seed: int, round_trip: float) -> None:
    """At most 2 % of the calls refused over ten minutes, the first seconds at the ceiling included; 80 % used."""
    course = service(lambda _: 3.0, 600, seed=seed, round_trip=round_trip)
    assert refused(course.ours) <= 0.02
    assert sum(answered for _, answered in course.ours) >= 0.8 * 3 * 600


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quota_that_is_freed_is_found_again_within_three_minutes(seed: int) -> None:
    course = service(lambda now: 3.0 if now < 300 else 10.0, 500, seed=seed)
    assert min(moment for moment, rate in course.rates if moment > 300 and rate >= 9.5) <= 480


@pytest.mark.parametrize("seed", SEEDS)
def test_refusals_by_chance_hardly_slow_us_down(seed: int) -> None:
    course = service(lambda _: 1e6, 1200, by_chance=0.02, seed=seed)
    assert len([moment for moment, _ in course.ours if moment >= 120]) / 1080 >= 5.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("ceiling", [5.0, 10.0])
def test_a_steady_foreign_caller_of_half_the_quota_is_hardly_refused(seed: int, ceiling: float) -> None:
    """Also where both are steady: callers in step would starve one of them for ever (it was 25 to 75 %)."""
    course = service(lambda _: 10.0, 600, foreign=5.0, seed=seed, ceiling=ceiling)
    assert refused(course.theirs, since=60) <= 0.05
    assert sum(answered for moment, answered in course.ours if moment >= 60) >= 0.8 * 5 * 540


def test_a_quota_above_the_ceiling_gives_the_ceiling() -> None:
    course = service(lambda _: 20.0, 300, ceiling=5.0)
    assert len(course.ours) == pytest.approx(5 * 300, rel=0.01)
    assert refused(course.ours) == 0


def test_an_idle_bucket_proves_nothing() -> None:
    """The rate does not grow while the need stays below it."""
    budget = throttled(open_budget(10.0, 0.0), 1.0, 0.5)
    for second in range(2, 600):
        budget = held_back(take(budget, float(second)), float(second), waiting=False)
    assert budget.rate == pytest.approx(10.0 * CUT)
    forgotten = held_back(held_back(budget, 600.0, waiting=True), 7200.0, waiting=False)
    assert (
        forgotten.rate == held_back(held_back(budget, 600.0, waiting=True), 600.0 + LONGEST_CLIMB, waiting=False).rate
    )


def test_a_throttle_cuts_once_per_round_trip() -> None:
    budget = open_budget(10.0, 0.0)
    budget = throttled(budget, 1.0, 0.8)
    assert budget.rate == pytest.approx(10 * CUT)
    assert throttled(budget, 1.1, 0.9) == budget, "it was under way when the rate was cut"
    again = throttled(throttled(budget, 1.3, 1.2), 1.35, 1.25)
    assert again.rate == pytest.approx(10 * CUT**2), "two in a row are no chance, at whatever rate"


def test_a_throttle_takes_what_was_saved_up() -> None:
    budget = throttled(open_budget(10.0, 0.0), 100.0, 99.0)
    assert wait_seconds(budget, 100.0) == pytest.approx(1 / (10 * CUT))


def test_it_starts_at_what_is_remembered_else_at_the_ceiling() -> None:
    assert open_budget(5.0, 0.0).rate == 5.0
    assert open_budget(5.0, 0.0, remembered=2.0).rate == 2.0
    assert open_budget(5.0, 0.0, remembered=50.0).rate == 5.0
    assert open_budget(5.0, 0.0, remembered=0.01).rate == FLOOR
    assert open_budget(0.2, 0.0, remembered=0.01).rate == 0.2
    assert wait_seconds(open_budget(5.0, 7.0), 7.0) == 0.0


@given(
    st.floats(0.1, 100.0),
    st.lists(st.tuples(st.floats(0.0, 100.0), st.sampled_from(["take", "throttle", "wait", "idle"])), max_size=60),
)
def test_the_rate_stays_between_floor_and_ceiling_and_every_wait_ends(
    ceiling: float, steps: list[tuple[float, str]]
) -> None:
    budget, now = open_budget(ceiling, 1e6), 1e6
    for seconds, what in steps:
        now += seconds
        if what == "take":
            wait = wait_seconds(budget, now)
            assert 0 <= wait <= 3 / budget.rate
            now += wait
            assert wait_seconds(budget, now) == pytest.approx(0.0, abs=1e-6)
            budget = take(budget, now)
        elif what == "throttle":
            budget = throttled(budget, now, now - 0.1)
        else:
            budget = held_back(budget, now, waiting=what == "wait")
        assert min(FLOOR, ceiling) <= budget.rate <= ceiling


@pytest.mark.parametrize("start", [0.0, 12_345_678.9, 1_795_417_201.3])
def test_after_the_whole_wait_a_call_may_be_made_on_any_clock(start: float) -> None:
    """A wait too short to move the clock would be waited for ever."""
    budget, now = open_budget(3.0, start), start
    for _ in range(1000):
        waits = 0
        while (wait := wait_seconds(budget, now)) > 0:
            now += wait
            waits += 1
            assert waits < 5
        budget = take(budget, now)
    assert now - start == pytest.approx(1000 / 3, rel=0.02)


def test_a_burst_after_silence_is_at_most_a_second_of_the_rate() -> None:
    budget: Budget = open_budget(5.0, 0.0)
    burst = 0
    while wait_seconds(budget, 3600.0) == 0:
        budget = take(budget, 3600.0)
        burst += 1
    assert 4 <= burst <= 7
