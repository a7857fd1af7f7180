"""How long runs stay in a status: what is learned of a life, and from what on that is usual."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from poller.core.machine import observe
from poller.core.runs import KnownRun
from poller.core.stays import KEPT, Stays, stays_in

from .lives import ORDINARY, RUN_ID, Life
from .looks import FIELDS, looked_at, shown


def test_only_the_last_durations_are_kept_so_that_a_workflow_may_change() -> None:
    known = Stays("7", "1.0", "RUNNING")
    for number in range(3 * KEPT):
        known = known.with_one_more(number)
    assert known.seconds == tuple(range(2 * KEPT, 3 * KEPT))


def learned(life: Life, *seconds: float) -> dict[str, float]:
    known, found = KnownRun(RUN_ID), dict[str, float]()
    for second in seconds:
        before = known
        known, transitions, _ = observe(before, shown(life, second))
        for (workflow, version, status), spent in stays_in(before, transitions, known):
            assert (workflow, version) == ("7", "1.0")
            assert status not in found
            found[status] = spent
    return found


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ((10, 110, 210, 1210, 1310), {"PENDING": 110.2, "STARTING": 89.8, "RUNNING": 1010.2, "STOPPING": 89.8}),
        ((10, 210, 1310), {"PENDING": 200, "RUNNING": 1100}),
        ((10, 1310), {"PENDING": 200, "RUNNING": 1100}),
        ((1310,), {"RUNNING": 1100}),
        ((110, 210, 1310), {"RUNNING": 1100}),
        ((1210, 1310), {}),
        ((10, 110, 210), {"PENDING": 110.2, "STARTING": 89.8}),
    ],
)
def test_a_stay_is_learned_when_its_beginning_and_its_end_are_known(
    looks: Iterable[float], expected: dict[str, float]
) -> None:
    assert learned(ORDINARY, *looks) == pytest.approx(expected)


@pytest.mark.parametrize("end", ["FAILED", "CANCELLED"])
def test_a_run_that_did_not_complete_says_nothing_of_how_long_running_is_usual(end: str) -> None:
    life = Life("u", (*ORDINARY.history[:-1], (end, 1300)))
    assert learned(life, 10, 110, 210, 1210, 1310).keys() == {"PENDING", "STARTING"}


def test_a_new_incarnation_begins_anew() -> None:
    old = Life("old", (("PENDING", 0), ("STARTING", 10)), 50, 60)
    new = Life("new", (("PENDING", 100), ("STARTING", 130), ("RUNNING", 140)))
    known, _ = looked_at(old, 5, 20)
    after, transitions, _ = observe(known, replace(shown(new, 150), fields=FIELDS | {"workflowId": "8"}))
    assert list(stays_in(known, transitions, after)) == []
    assert after.workflow_id == "8"
