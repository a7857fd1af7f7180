"""Faults and quotas: which calls they befall."""

import json
import random

import pytest

from poller.emulator import Fault
from poller.emulator.faults import OPERATIONS, Asked, FaultRules, spoiled
from poller.emulator.instants import SECOND
from poller.emulator.quota import SERVICE_QUOTAS, Quota
from poller.emulator.requests import ROUTES

LOOK = Asked("GetRun", run_id="1")


def rules(*faults: Fault) -> FaultRules:
    made = FaultRules(random.Random(1))
    for fault in faults:
        made.add(fault, 0)
    return made


@pytest.mark.parametrize(
    ("fault", "befallen", "spared"),
    [
        (Fault(kind="reset", operation="GetRun"), LOOK, Asked("ListRuns")),
        (Fault(kind="reset", run_id="1"), LOOK, Asked("GetRun", run_id="2")),
        (
            Fault(kind="reset", status="RUNNING"),
            Asked("ListRuns", status="RUNNING"),
            Asked("ListRuns", status="PENDING"),
        ),
        (Fault(kind="reset", paged=True), Asked("ListRuns", token="x"), Asked("ListRuns")),
        (Fault(kind="reset", paged=False), Asked("ListRuns"), Asked("ListRuns", token="x")),
        (Fault(kind="hidden"), LOOK, Asked("StartRun")),
    ],
)
def test_a_fault_befalls_the_calls_that_it_names(fault: Fault, befallen: Asked, spared: Asked) -> None:
    made = rules(fault)

    assert made.strike(befallen, 0) == [fault]
    assert made.strike(spared, 0) == []


def test_a_fault_skips_then_befalls_as_many_calls_as_it_says() -> None:
    made = rules(Fault(kind="reset", skip=2, count=3))

    assert [len(made.strike(LOOK, 0)) for _ in range(8)] == [0, 0, 1, 1, 1, 0, 0, 0]


def test_a_fault_lasts_as_long_as_its_window() -> None:
    made = rules(Fault(kind="reset", start=5, end=10))

    assert [len(made.strike(LOOK, second * SECOND)) for second in (0, 4, 5, 9, 10)] == [0, 0, 1, 1, 0]


def test_chance_repeats_with_its_seed() -> None:
    struck = [[len(made.strike(LOOK, 0)) for _ in range(300)] for made in (rules(half), rules(half))]

    assert struck[0] == struck[1]
    assert 100 < sum(struck[0]) < 200


half = Fault(kind="reset", probability=0.5)


def test_delays_add_to_the_first_other_fault() -> None:
    slow, reset, never = Fault(kind="slow", seconds=1), Fault(kind="reset"), Fault(kind="html", count=1)
    made = rules(slow, reset, slow, never)

    assert made.strike(LOOK, 0) == [slow, slow, reset]
    made.remove(reset)
    assert made.strike(LOOK, 0) == [slow, slow, never]  # what was not reached was not used up
    made.clear()
    assert made.strike(LOOK, 0) == []


def test_in_lists_a_fault_of_one_run_befalls_its_item() -> None:
    hidden, reset = Fault(kind="hidden", run_id="1"), Fault(kind="reset", run_id="1")
    made = rules(hidden, reset)

    assert made.strike(Asked("ListRuns"), 0) == []
    assert made.items(Asked("ListRuns"), 0) == {"1": hidden}
    assert made.items(LOOK, 0) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "explode"},
        {"kind": "reset", "operation": "Getrun"},
        {"kind": "reset", "probability": 2},
        {"kind": "reset", "count": -1},
        {"kind": "error", "code": "NewException"},
        {"kind": "error", "code": ""},
        {"kind": "error", "named_in": "footer"},
    ],
)
def test_a_fault_that_could_never_happen_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no fault|no operation|named_in|needs an http_status|probability|negative"):
        Fault(**wrong)  # type: ignore[arg-type]


def test_spoiled_bodies_are_what_they_say() -> None:
    body = b'{"items":[{"id":"1","creationTime":"2026-11-23T07:00:01Z"}],"nextToken":"x"}'

    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(spoiled(Fault(kind="truncated"), body))
    assert spoiled(Fault(kind="empty"), body) == b""
    assert json.loads(spoiled(Fault(kind="array"), body)) == [json.loads(body)]
    assert json.loads(spoiled(Fault(kind="altered", fields={"nextToken": None, "new": 1}), body)) == {
        "items": json.loads(body)["items"],
        "new": 1,
    }
    assert json.loads(spoiled(Fault(kind="bad_timestamp"), body))["items"][0]["creationTime"] == "yesterday at noon"
    assert json.loads(spoiled(Fault(kind="hidden"), body)) == {"items": []}


def test_every_operation_that_is_served_can_be_named_in_a_fault() -> None:
    assert {operation for _, _, operation in ROUTES} | {"GetCallerIdentity"} == set(OPERATIONS)


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
