"""Faults and quotas: which calls they befall."""

import json
import random
from typing import Any

import pytest

from poller.emulator import Fault, Outage
from poller.emulator.faults import OPERATIONS, Asked, FaultRules, spoiled
from poller.emulator.instants import SECOND
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
        (Fault(kind="stale"), LOOK, Asked("GetBatch", batch_id="7")),
        (Fault(kind="short_page"), Asked("ListBatch"), LOOK),
        (Fault(kind="reset", batch_id="7"), Asked("GetBatch", batch_id="7"), Asked("GetBatch", batch_id="8")),
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
        {"kind": "stale", "operation": "GetBatch"},
        {"kind": "short_page", "operation": "GetRun"},
        {"kind": "hidden", "operation": "StartRun"},
        {"kind": "short_page", "items": -1},
    ],
)
def test_a_fault_that_could_never_happen_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(
        ValueError, match=r"no fault|no operation|named_in|needs an http_status|probability|negative|befalls"
    ):
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
    assert json.loads(spoiled(Fault(kind="hidden"), b'{"runs":[{"runId":"1"}]}')) == {"runs": []}


def test_every_operation_that_is_served_can_be_named_in_a_fault() -> None:
    assert {operation for _, _, operation in ROUTES} | {"GetCallerIdentity"} == set(OPERATIONS)


def test_an_outage_befalls_the_operations_that_it_names_for_as_long_as_it_lasts() -> None:
    made = rules()
    made.add_outage(Outage(start=10, seconds=5, operations=("GetRun", "ListRuns")), 100 * SECOND)
    made.add_outage(Outage(start=12, seconds=5, kind="hang"), 100 * SECOND)

    def kinds(operation: str) -> list[str | None]:
        faults = [made.outage(operation, (100 + second) * SECOND) for second in (9, 10, 12, 14, 15, 16, 17)]
        return [None if fault is None else fault.kind for fault in faults]

    assert kinds("GetRun") == [None, "error", "error", "error", "hang", "hang", None]
    assert kinds("GetCallerIdentity") == [None, None, "hang", "hang", "hang", "hang", None]
    made.clear_outages()
    assert made.outage("GetRun", 112 * SECOND) is None


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": 0}, {"seconds": 5, "start": -1}, {"seconds": 5, "kind": "dark"}, {"seconds": 5, "operations": ("X",)}],
)
def test_an_outage_that_could_never_happen_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no outage is called|lasts more than 0|no operation"):
        Outage(**wrong)
