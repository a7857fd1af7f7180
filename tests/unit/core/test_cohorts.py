"""Who belongs to a cohort, and when it has finished."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from poller.core.cohorts import LIVE, Cohort, Progress, has_finished, names_of, state_after
from poller.core.runs import RunName
from poller.core.samples import SAMPLE_TYPES, sample_event

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = {
    "run_id": "1234567",
    "region": "us-east-1",
    "account_id": "123456789012",
    "name": "plate-7-h12",
    "tags": {"plate": "7", "lab": "x"},
    "run_group_id": "77",
    "batch_id": "7123456",
}


@pytest.mark.parametrize(
    ("cohort", "belongs"),
    [
        (Cohort("c", named=frozenset({RunName("1234567")})), True),
        (Cohort("c", named=frozenset({RunName("7654321")})), False),
        (Cohort("c", named=frozenset({RunName("1234567", scope="lab")})), True),
        (Cohort("c", named=frozenset({RunName("1234567", scope="clinic")})), False),
        (Cohort("c", named=frozenset({RunName("1234567", region="us-east-1", account_id="123456789012")})), True),
        (Cohort("c", named=frozenset({RunName("1234567", region="eu-west-1", account_id="123456789012")})), False),
        (Cohort("c", name_glob="plate-7-*"), True),
        (Cohort("c", name_glob="plate-8-*"), False),
        (Cohort("c", tags=(("plate", "7"),)), True),
        (Cohort("c", tags=(("plate", "7"), ("lab", "y"))), False),
        (Cohort("c", groups=("77", "78")), True),
        (Cohort("c", groups=("78",)), False),
        (Cohort("c", groups=("77",), name_glob="other*"), False),
        (Cohort("c", named=frozenset({RunName("1234567")}), name_glob="other*"), True),
        (Cohort("7123456", batch_id="7123456", scope="lab"), True),
        (Cohort("7123456", batch_id="7123456", scope="clinic"), False),
        (Cohort("7123457", batch_id="7123457", scope="lab"), False),
    ],
)
def test_a_run_belongs_that_is_named_or_passes_all_that_is_asked(cohort: Cohort, belongs: bool) -> None:
    assert cohort.takes(RUN, "lab") is belongs


def test_those_that_a_run_fits_are_named_in_their_order() -> None:
    cohorts = [
        Cohort("late", tags=(("plate", "7"),)),
        Cohort("other", name_glob="other*"),
        Cohort("early", named=frozenset({RunName("1234567", scope="lab")})),
    ]
    assert names_of(cohorts, RUN, "lab") == ["late", "early"]
    assert names_of(cohorts, RUN, "clinic") == ["late"]
    assert names_of([], RUN, "lab") == []


def test_a_cohort_that_is_described_otherwise_is_another_one() -> None:
    one = Cohort("c", described=("1", "2"), tags=(("a", "b"), ("c", "d")))
    assert one.key == replace(one, described=("2", "1"), tags=(("c", "d"), ("a", "b"))).key
    others = [
        replace(one, name="d"),
        replace(one, described=("1",)),
        replace(one, tags=()),
        replace(one, expected=3),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


def test_every_event_says_whether_its_run_has_ended() -> None:
    ended = {kind for kind in SAMPLE_TYPES if state_after(kind) not in (None, LIVE)}
    assert {sample_event(kind).kind for kind in ended} == {
        "completed", "failed", "cancelled", "deleted", "vanished", "unreachable", "replaced",
    }  # fmt: skip
    assert [state_after(f"healthomics.{kind}") for kind in ("run.pending", "run.overdue", "poller.blind")] == [
        LIVE, None, None,
    ]  # fmt: skip


NAMED = Cohort("c", named=frozenset({RunName("1"), RunName("2")}))
RULE = Cohort("c", name_glob="x*", quiet=10 * MINUTE)
BATCH = Cohort("7", batch_id="7", scope="lab", quiet=10 * MINUTE)


@pytest.mark.parametrize(
    ("cohort", "progress", "finished"),
    [
        (NAMED, Progress({"completed": 2}, named=2, changed_at=AT), True),
        (NAMED, Progress({"completed": 1}, named=1, changed_at=AT - 60 * MINUTE), False),
        (NAMED, Progress({"completed": 1, LIVE: 1}, named=2, changed_at=AT), False),
        (NAMED, Progress({}, changed_at=None), False),
        (RULE, Progress({"failed": 3}, changed_at=AT - 10 * MINUTE), True),
        (RULE, Progress({"failed": 3}, changed_at=AT - 9 * MINUTE), False),
        (RULE, Progress({}), False),
        (replace(RULE, expected=3), Progress({"failed": 3}, changed_at=AT), True),
        (replace(RULE, expected=4), Progress({"failed": 3}, changed_at=AT - 60 * MINUTE), False),
        (BATCH, Progress({"completed": 5}, changed_at=AT, closed=True, submitted=5), True),
        (BATCH, Progress({"completed": 5}, changed_at=AT, closed=False, submitted=5), False),
        (BATCH, Progress({"completed": 4}, changed_at=AT, closed=True, submitted=5), False),
        (BATCH, Progress({"completed": 4}, changed_at=AT - 10 * MINUTE, closed=True, submitted=5), True),
        (BATCH, Progress({"completed": 4, LIVE: 1}, changed_at=AT - 99 * MINUTE, closed=True, submitted=5), False),
    ],
)
def test_when_a_cohort_has_finished(cohort: Cohort, progress: Progress, finished: bool) -> None:
    assert has_finished(cohort, progress, AT) is finished
