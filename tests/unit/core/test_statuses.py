"""The order of the statuses: what each says against each."""

import pytest

from poller.core.statuses import RANK, Step, judge, skipped_between


@pytest.mark.parametrize("last", [None, *RANK])
@pytest.mark.parametrize("now", [*RANK, "PAUSED"])
def test_every_pair_of_statuses_has_the_step_that_the_contract_names(last: str | None, now: str) -> None:
    ends = {"COMPLETED", "FAILED", "CANCELLED"}
    if now == "PAUSED":
        expected = Step.UNKNOWN
    elif last is None:
        expected = Step.FIRST
    elif last == now or (last in ends and now == "DELETED"):
        expected = Step.SAME
    elif last in ends and now in ends:
        expected = Step.CONTRADICTION
    else:
        order = ["PENDING", "STARTING", "RUNNING", "STOPPING", "COMPLETED", "FAILED", "CANCELLED", "DELETED"]
        expected = Step.FORWARD if order.index(now) > order.index(last) else Step.STALE
    assert judge(last, now) is expected


def test_a_jump_names_every_status_between() -> None:
    assert skipped_between("PENDING", "FAILED") == ("STARTING", "RUNNING", "STOPPING")
    assert skipped_between("RUNNING", "DELETED") == ("STOPPING",)
    assert skipped_between("STARTING", "RUNNING") == ()
    assert skipped_between(None, "FAILED") == ()
