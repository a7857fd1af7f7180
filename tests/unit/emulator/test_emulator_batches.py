"""Batches and run groups over the world: what their lives are, what is counted when, and who waits."""

import random
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.emulator import GONE, BatchSpec, Life, Refused, RunGroup, RunSpec, Step
from poller.emulator.batch_specs import Numbered
from poller.emulator.batches import Batch, Batches
from poller.emulator.groups import ACTIVE
from poller.emulator.instants import SECOND
from poller.emulator.starting import usual_setting
from poller.emulator.world import World

START = 1_795_000_000 * SECOND


class Rig:
    """A world with batches, and a clock that is turned by hand."""

    def __init__(self, *, lag_seconds: float = 0.0, **options: Any) -> None:
        self.world = World(account_id="123456789012", region="us-east-1", rng=random.Random(1), **options)
        self.batches = Batches(self.world, random.Random(2), lag_seconds)
        self.now = START

    def start(self, life: Life, runs: int = 4, *, default: Mapping[str, Any] | None = None, **options: Any) -> Batch:
        spec = BatchSpec(
            settings=options.pop("settings", Numbered("sample", runs)),
            default={**usual_setting("123456789012"), **(default or {})},
            life_of=lambda _tags, _place, _rng: life,
            **options,
        )
        return self.batches.start(spec, self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.world.advance(self.now)

    def counted(self, batch: Batch) -> dict[str, int]:
        """What GetBatch counts now, without what it counts none of."""
        return {status: number for status, number in self.batches.counted(batch, self.now).items() if number}

    def true(self, batch: Batch) -> dict[str, int]:
        """The runs of the batch by their true status."""
        statuses = [run.status for run in batch.runs if run is not None]
        return {status: statuses.count(status) for status in set(statuses)}

    def told(self, batch: Batch) -> list[tuple[str, float]]:
        """The statuses of the batch, and after how many seconds it entered each."""
        return [
            (told.status, round(told.at.timestamp() - START / SECOND, 3))
            for told in self.batches.transitions
            if told.uuid == batch.uuid
        ]


def test_a_batch_lives_from_creating_to_processed_and_submits_its_runs_one_by_one() -> None:
    rig = Rig(speed=2)
    batch = rig.start(Life.completed(1, 1, 2, 2), 4, runs_per_second=1)
    submitted = []
    for _ in range(5):
        rig.pass_by(0.5)
        submitted.append(len(batch.runs))

    assert submitted == [0, 0, 1, 2, 3]
    rig.pass_by(60)
    # 1 s CREATING, 2 s PENDING, 3 s until the last run is submitted, which then lives for 6 s: all at speed 2
    assert rig.told(batch) == [
        ("CREATING", 0),
        ("PENDING", 0.5),
        ("SUBMITTING", 1.5),
        ("INPROGRESS", 3),
        ("PROCESSED", 6),
    ]
    assert rig.counted(batch) == {"COMPLETED": 4}
    assert (batch.submitted, batch.processed) == (START + 3 * SECOND, START + 6 * SECOND)


def test_runs_of_a_batch_are_runs_like_any_other() -> None:
    rig = Rig()
    batch = rig.start(Life.of("RUNNING"), 2, default={"runGroupId": "77", "runTags": {"a": "b"}})
    rig.pass_by(10)
    runs = [run for run in batch.runs if run is not None]

    assert [run.spec.name for run in runs] == ["sample-1", "sample-2"]
    assert {(run.spec.batch_id, run.spec.run_group_id, run.spec.tags["a"]) for run in runs} == {(batch.id, "77", "b")}
    assert all(rig.world.get(run.id) is run for run in runs)


def test_a_batch_may_already_be_old_and_its_runs_with_it() -> None:
    rig = Rig()
    batch = rig.start(Life.completed(1, 1, 1, 1), 3, starts_in=-100, runs_per_second=1)
    first = batch.runs[0]

    assert batch.status == "PROCESSED"
    assert first is not None
    assert first.created == START - 97 * SECOND


def test_submissions_fail_evenly_as_many_as_were_asked_for() -> None:
    rig = Rig()
    batch = rig.start(Life.of("COMPLETED"), 10, failed_submissions=3, submission_failure="ThrottlingException")
    rig.pass_by(10)
    failed = [place for place, run in enumerate(batch.runs) if run is None]

    assert len(failed) == 3
    assert min(after - before for before, after in pairwise(failed)) >= 3
    assert {batch.failures[place].reason for place in failed} == {"ThrottlingException"}
    assert {batch.submission(place) for place in failed} == {"FAILED"}
    assert batch.status == "PROCESSED"


def test_a_batch_without_a_single_run_is_processed_once_all_submissions_failed() -> None:
    rig = Rig()
    batch = rig.start(Life.of("RUNNING"), 2, failed_submissions=2)
    rig.pass_by(10)

    assert [status for status, _ in rig.told(batch)][-2:] == ["INPROGRESS", "PROCESSED"]


def test_a_run_that_finds_no_room_is_a_failed_submission() -> None:
    rig = Rig(max_runs=1)
    batch = rig.start(Life.of("RUNNING"), 2)
    rig.pass_by(10)

    assert batch.runs[0] is not None
    assert batch.runs[1] is None
    assert batch.failures[1].reason == "ServiceQuotaExceededException"


def test_a_batch_that_fails_itself_starts_no_run() -> None:
    rig = Rig()
    batch = rig.start(Life.of("RUNNING"), failure_reason="The role cannot be assumed.")
    rig.pass_by(60)

    assert [status for status, _ in rig.told(batch)] == ["CREATING", "PENDING", "FAILED"]
    assert batch.failed == START + 3 * SECOND
    assert batch.runs == []


def test_counters_are_behind_by_the_lag_and_exact_once_processed() -> None:
    rig = Rig(lag_seconds=20, speed=2)
    batch = rig.start(Life.of(("PENDING", 30), ("RUNNING", 60), "COMPLETED"), 2, runs_per_second=float("inf"))
    seen = []
    for _ in range(12):
        rig.pass_by(5)
        seen.append((rig.counted(batch), rig.true(batch)))

    # submitted at 1.5, RUNNING at 16.5, COMPLETED at 46.5 seconds; the counters 10 seconds later, but for the end
    pending, running, completed = {"PENDING": 2}, {"RUNNING": 2}, {"COMPLETED": 2}
    assert [counted for counted, _ in seen] == [{}, {}, *[pending] * 3, *[running] * 4, *[completed] * 3]
    assert [true for _, true in seen] == [*[pending] * 3, *[running] * 6, *[completed] * 3]
    assert batch.status == "PROCESSED"


def test_counters_do_not_go_back_behind_the_end_of_a_batch() -> None:
    rig = Rig(lag_seconds=20)
    batch = rig.start(Life.of(("RUNNING", 5), "COMPLETED"), 3, runs_per_second=1)
    rig.pass_by(15)
    rig.batches.delete_runs(batch, rig.now)
    rig.pass_by(1)

    assert batch.status == "RUNS_DELETING"
    assert rig.counted(batch) == {"COMPLETED": 3}
    rig.pass_by(10)
    assert rig.counted(batch) == {"DELETED": 3}


def test_counters_agree_with_the_runs_at_any_moment_where_nothing_lags() -> None:
    rig = Rig()
    rng = random.Random(3)
    batch = rig.start(Life.random(rng), 30, runs_per_second=0.1)
    for _ in range(200):
        rig.pass_by(rng.uniform(0, 120))
        assert rig.counted(batch) == rig.true(batch)
        assert len(batch.unseen) == 0


def test_an_evicted_run_has_ended_and_counts_as_deleted() -> None:
    rig = Rig()
    batch = rig.start(Life.of("RUNNING"), 1)
    rig.pass_by(10)
    (run,) = batch.runs
    assert run is not None
    rig.world.redirect(run, [Step(GONE)], rig.now)

    assert rig.counted(batch) == {"DELETED": 1}
    assert batch.status == "PROCESSED"


def test_cancelling_while_submitting_starts_no_more_and_cancels_those_that_live() -> None:
    rig = Rig(cancelling=5)
    batch = rig.start(Life.of("RUNNING"), 100, runs_per_second=1)
    rig.pass_by(3 + 4.5)
    first = batch.runs[0]
    assert first is not None
    rig.world.redirect(first, [Step("COMPLETED")], rig.now)
    rig.batches.cancel(batch, rig.now)
    assert batch.status == "STOPPING"
    rig.pass_by(60)

    assert batch.status == "CANCELLED"
    assert len(batch.runs) == 5
    assert rig.counted(batch) == {"COMPLETED": 1, "CANCELLED": 4}
    assert [batch.submission(place) for place in range(5)] == ["CANCEL_FAILED", *["CANCEL_SUCCESS"] * 4]
    assert batch.failures[0].reason == "ConflictException"


def test_a_batch_is_cancelled_only_when_its_runs_have_stopped() -> None:
    rig = Rig(cancelling=30)
    batch = rig.start(Life.of("RUNNING"), 2)
    rig.pass_by(10)
    rig.batches.cancel(batch, rig.now)
    rig.pass_by(29)
    assert batch.status == "STOPPING"
    rig.pass_by(2)
    assert batch.status == "CANCELLED"


def test_a_batch_is_cancelled_only_when_all_of_its_runs_were_asked() -> None:
    rig = Rig(cancelling=0)
    batch = rig.start(Life.of("RUNNING"), 3, runs_per_second=1)
    rig.pass_by(10)
    for run in batch.runs[1:]:
        assert run is not None
        rig.world.redirect(run, [Step("COMPLETED")], rig.now)
    rig.batches.cancel(batch, rig.now)
    assert (rig.counted(batch), batch.status) == ({"CANCELLED": 1, "COMPLETED": 2}, "STOPPING")
    rig.pass_by(2)

    assert batch.status == "CANCELLED"
    assert (batch.submissions["CANCEL_SUCCESS"], batch.submissions["CANCEL_FAILED"]) == (1, 2)


def test_deleting_the_runs_of_a_batch_tells_how_many_could_be_deleted() -> None:
    rig = Rig()
    batch = rig.start(Life.of("COMPLETED"), 3)
    rig.pass_by(10)
    first = batch.runs[0]
    assert first is not None
    rig.world.delete(first, rig.now)
    rig.batches.delete_runs(batch, rig.now)
    rig.pass_by(10)

    assert batch.status == "RUNS_DELETE_FAILED"
    assert [batch.submission(place) for place in range(3)] == ["DELETE_FAILED", "DELETE_SUCCESS", "DELETE_SUCCESS"]
    assert rig.counted(batch) == {"DELETED": 3}
    assert rig.world.census() == {}


@pytest.mark.parametrize(
    ("seconds", "cancel", "delete_runs", "delete"),
    [(0, False, False, False), (2, True, False, False), (3.5, True, False, False), (60, False, True, True)],
    ids=["CREATING", "PENDING", "SUBMITTING", "PROCESSED"],
)
def test_each_status_allows_what_the_model_says(seconds: float, cancel: bool, delete_runs: bool, delete: bool) -> None:
    for allowed, what in ((cancel, "cancel"), (delete_runs, "delete_runs"), (delete, "delete")):
        rig = Rig()
        batch = rig.start(Life.of("COMPLETED"), 4, runs_per_second=1)
        rig.pass_by(seconds)
        if allowed:
            getattr(rig.batches, what)(batch, rig.now)
        else:
            with pytest.raises(Refused, match="ConflictException"):
                getattr(rig.batches, what)(batch, rig.now)


def test_a_deleted_batch_is_found_no_more_and_its_runs_stay() -> None:
    rig = Rig()
    batch = rig.start(Life.of("COMPLETED"), 2)
    rig.pass_by(10)
    rig.batches.delete(batch, rig.now)

    with pytest.raises(Refused, match="ResourceNotFoundException"):
        rig.batches.get(batch.id)
    assert rig.world.census() == {"COMPLETED": 2}
    assert rig.told(batch)[-1][0] == GONE


def test_a_batch_of_a_hundred_thousand_makes_its_runs_only_when_it_submits_them() -> None:
    rig = Rig()
    batch = rig.start(Life.of("PENDING"), 100_000, runs_per_second=1)
    rig.pass_by(12)

    assert len(batch.runs) == 10
    assert rig.world.census() == {"PENDING": 10}
    assert batch.spec.settings[99_999]["runSettingId"] == "sample-100000"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": 0}, "1 to 100000 runs, not 0"),
        ({"failed_submissions": 5}, "of 4 submissions, 5 cannot fail"),
        ({"runs_per_second": 0}, "runs_per_second is above 0"),
        ({"pending": -1}, "less than 0 seconds"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rig().start(Life.of("RUNNING"), **options)


# Run groups


def group(**limits: Any) -> RunGroup:
    return RunGroup(group_id="77", **limits)


def test_runs_beyond_the_limit_of_their_group_wait_in_pending_until_others_end() -> None:
    rig = Rig()
    rig.world.declare(group(max_runs=2), rig.now)
    life = Life.of(("PENDING", 1), ("RUNNING", 10), "COMPLETED")
    runs = [rig.world.start(RunSpec(life=life, run_group_id="77"), rig.now) for _ in range(5)]
    free = rig.world.start(RunSpec(life=life), rig.now)
    running = []
    for _ in range(8):
        rig.pass_by(5)
        running.append(sum(run.status == "RUNNING" for run in runs))

    assert running == [2, 2, 2, 2, 1, 1, 0, 0]
    assert [run.moments[1].at - START for run in runs] == [second * SECOND for second in (1, 1, 11, 11, 21)]
    assert {run.moments[2].at - run.moments[1].at for run in runs} == {10 * SECOND}
    assert free.moments[1].at == START + SECOND


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 9),
            st.sampled_from(["COMPLETED", "FAILED", GONE]),
            st.none() | st.integers(0, 30),
        ),
        max_size=12,
    ),
)
def test_no_group_is_ever_over_its_limit_and_nobody_waits_for_ever(
    most: int, wanted: list[tuple[int, int, str, int | None]]
) -> None:
    """Runs of all lengths, some of them cancelled at some second, in whatever status that finds them."""
    rig = Rig(cancelling=1)
    rig.world.declare(group(max_runs=most), rig.now)
    runs = [
        rig.world.start(
            RunSpec(life=Life.of(("PENDING", pending), ("STARTING", 1), ("RUNNING", running), end), run_group_id="77"),
            rig.now,
        )
        for pending, running, end, _ in wanted
    ]
    for second in range(200):
        rig.pass_by(1)
        for run, (_, _, _, cancelled) in zip(runs, wanted, strict=True):
            if cancelled == second and run.status in {"PENDING", "STARTING", "RUNNING"}:
                rig.world.cancel(run, rig.now)
        assert sum(run.status in ACTIVE for run in runs) <= most
    assert {run.status for run in runs} <= {"COMPLETED", "FAILED", "CANCELLED", GONE}


def test_of_those_that_wait_the_highest_priority_goes_first() -> None:
    rig = Rig()
    rig.world.declare(group(max_runs=1), rig.now)
    life = Life.of("PENDING", ("RUNNING", 10), "COMPLETED")
    runs = [
        rig.world.start(RunSpec(life=life, run_group_id="77", request={"priority": priority}), rig.now)
        for priority in (0, 1, 5)
    ]
    rig.pass_by(60)

    assert [(run.started(run.index) or 0) - START for run in runs] == [0, 20 * SECOND, 10 * SECOND]


def test_who_was_cancelled_while_waiting_takes_no_place() -> None:
    rig = Rig()
    rig.world.declare(group(max_runs=1), rig.now)
    life = Life.of("PENDING", ("RUNNING", 10), "COMPLETED")
    first, second, third = (rig.world.start(RunSpec(life=life, run_group_id="77"), rig.now) for _ in range(3))
    rig.world.cancel(second, rig.now)
    rig.pass_by(12)

    assert [run.status for run in (first, second, third)] == ["COMPLETED", "CANCELLED", "RUNNING"]


def test_more_room_lets_those_go_on_that_wait_and_a_run_can_be_moved_past_the_limit() -> None:
    rig = Rig()
    rig.world.declare(group(max_runs=1), rig.now)
    life = Life.of("PENDING", "RUNNING")
    runs = [rig.world.start(RunSpec(life=life, run_group_id="77"), rig.now) for _ in range(4)]
    assert [run.status for run in runs] == ["RUNNING", *["PENDING"] * 3]
    rig.world.redirect(runs[3], [Step("RUNNING")], rig.now)
    assert runs[3].status == "RUNNING"
    rig.world.declare(group(max_runs=3), rig.now)

    assert [run.status for run in runs] == ["RUNNING", "RUNNING", "PENDING", "RUNNING"]


def test_thousands_that_wait_go_on_together() -> None:
    rig = Rig()
    rig.world.declare(group(max_runs=1), rig.now)
    life = Life.of("PENDING", ("RUNNING", 10), "COMPLETED")
    for _ in range(3000):
        rig.world.start(RunSpec(life=life, run_group_id="77"), rig.now)
    assert rig.world.census() == {"PENDING": 2999, "RUNNING": 1}
    rig.world.declare(group(), rig.now)

    assert rig.world.census() == {"RUNNING": 3000}
    rig.pass_by(10)
    assert rig.world.census() == {"COMPLETED": 3000}


def test_a_run_longer_than_its_group_allows_fails_at_the_limit() -> None:
    rig = Rig(speed=60, cancelling=30)
    rig.world.declare(group(max_duration=10), rig.now)
    long = rig.world.start(RunSpec(life=Life.completed(60, 60, 3600, 60), run_group_id="77"), rig.now)
    short = rig.world.start(RunSpec(life=Life.completed(60, 60, 540, 60), run_group_id="77"), rig.now)
    rig.pass_by(3600)

    assert [(moment.status, (moment.at - START) / SECOND) for moment in long.moments] == [
        ("PENDING", 0),
        ("STARTING", 1),
        ("RUNNING", 2),
        ("STOPPING", 12),
        ("FAILED", 12.5),
    ]
    assert long.moments[-1].fields["failureReason"] == "RUN_TIMED_OUT"
    assert short.status == "COMPLETED"


@pytest.mark.parametrize("wrong", [{"group_id": "x"}, {"group_id": "1", "max_runs": 0}, {"group_id": "1" * 19}])
def test_a_group_that_the_service_could_not_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"1 to 18 digits|max_runs is from 1"):
        RunGroup(**wrong)
