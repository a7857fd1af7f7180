"""Quotas: what goes through, what others in the account take of it, and changes meanwhile."""

import random

import pytest

from poller.emulator.instants import SECOND
from poller.emulator.quota import SERVICE_QUOTAS, SPENT_AS, Quota


def test_a_quota_lets_a_burst_through_and_then_its_rate() -> None:
    quota = Quota({"GetRun": 10})

    assert sum(quota.take("GetRun", 0) for _ in range(50)) == 10
    assert sum(quota.take("GetRun", tick * SECOND // 100) for tick in range(1, 301)) == 30
    assert all(quota.take("ListRuns", 0) for _ in range(50))


def test_one_number_is_the_quota_of_each_operation() -> None:
    quota = Quota(2)

    assert [quota.take("GetRun", 0) for _ in range(3)] == [True, True, False]
    assert [quota.take("ListRuns", 0) for _ in range(3)] == [True, True, False]


def test_a_slow_quota_lets_one_call_through_at_a_time() -> None:
    quota = Quota({**SERVICE_QUOTAS, "StartRun": 0.5})

    assert [quota.take("StartRun", second * SECOND) for second in range(5)] == [True, False, True, False, True]


@pytest.mark.parametrize("quota", [0, -1, {"GetRun": 0}])
def test_a_quota_that_lets_nothing_through_is_refused(quota: float | dict[str, float]) -> None:
    with pytest.raises(ValueError, match="never let a call through"):
        Quota(quota)


def taken(quota: Quota, operation: str, per_second: float, begin: float, end: float) -> int:
    """How many of our own calls go through, made at even intervals from `begin` to `end` seconds."""
    number = round((end - begin) * per_second)
    return sum(quota.take(operation, round((begin + (turn + 1) / per_second) * SECOND)) for turn in range(number))


def test_others_in_the_account_spend_from_the_same_quota() -> None:
    quota = Quota(10)
    quota.call_foreign({"ListRuns": 7}, 0)
    rng = random.Random(1)
    ours = sum(quota.take("ListRuns", at) for at in sorted(rng.randrange(100 * SECOND) for _ in range(1000)))
    others = quota.foreign_calls(100 * SECOND)["ListRuns"]

    assert others.made == 700
    assert ours + others.made - others.refused == pytest.approx(1000, abs=11)  # ten a second, and the first burst
    assert 500 <= ours <= 700  # of 17 calls a second 10 go through, whoever makes them
    assert taken(quota, "GetRun", 10, 100, 110) == 100  # another quota, which nobody shares


def test_who_asks_gently_lets_others_have_what_they_ask_for() -> None:
    quota = Quota(10)
    quota.call_foreign({"ListRuns": 7}, 0)

    assert taken(quota, "ListRuns", 2.9, 0, 100) == 290
    assert quota.foreign_calls(100 * SECOND)["ListRuns"].refused == 0


def test_others_that_ask_more_than_the_quota_are_refused_the_rest() -> None:
    quota = Quota(10)
    quota.call_foreign({"GetRun": 25}, 0)
    others = quota.foreign_calls(60 * SECOND)["GetRun"]

    assert others.made == 1500
    assert others.made - others.refused == pytest.approx(60 * 10 + 10, abs=1)


def test_who_others_are_can_change_and_what_they_asked_stays_counted() -> None:
    quota = Quota(10)
    quota.call_foreign({"GetRun": 4}, 0)
    quota.call_foreign({"GetRun": 2, "ListRuns": 1}, 10 * SECOND)
    quota.call_foreign({}, 20 * SECOND)
    calls = quota.foreign_calls(1000 * SECOND)

    assert {name: (others.made, others.per_second) for name, others in calls.items()} == {
        "GetRun": (60, 0),
        "ListRuns": (10, 0),
    }
    with pytest.raises(ValueError, match="-1 calls of GetRun"):
        quota.call_foreign({"GetRun": -1}, 0)


def test_without_a_quota_nobody_is_refused() -> None:
    quota = Quota(None)
    quota.call_foreign({"GetRun": 100}, 0)

    assert quota.foreign_calls(10 * SECOND)["GetRun"].refused == 0
    assert quota.take("GetRun", 10 * SECOND)


def test_a_quota_can_change_and_gives_no_new_burst() -> None:
    quota = Quota(10)
    assert sum(quota.take("GetRun", 0) for _ in range(20)) == 10
    quota.change({"GetRun": 2}, 0)
    assert taken(quota, "GetRun", 10, 0, 10) == 20
    quota.change(100, 10 * SECOND)
    assert not quota.take("GetRun", 10 * SECOND)
    assert taken(quota, "GetRun", 100, 10, 20) == 1000
    quota.change(None, 20 * SECOND)
    assert all(quota.take("GetRun", 20 * SECOND) for _ in range(500))
    with pytest.raises(ValueError, match="never let a call through"):
        quota.change(0, 20 * SECOND)


@pytest.mark.parametrize(("operation", "shared"), list(SPENT_AS.items()))
def test_batch_operations_spend_the_quota_of_the_single_ones(operation: str, shared: str) -> None:
    quota = Quota({**SERVICE_QUOTAS, "StartRun": 2, "CancelRun": 2, "DeleteRun": 2})

    assert [quota.take(name, 0) for name in (shared, operation, shared, operation)] == [True, True, False, False]
    own = Quota({shared: 1, operation: 1})
    assert [own.take(name, 0) for name in (shared, operation, shared)] == [True, True, False]
