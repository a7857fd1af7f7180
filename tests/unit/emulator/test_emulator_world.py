"""The world: what exists when, in which list, and what was true."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.emulator import GONE, FailedTask, Life, Refused, RunGroup, RunSpec, Step
from poller.emulator.instants import SECOND, datetime_of
from poller.emulator.lists import Filters, Order
from poller.emulator.runs import Run
from poller.emulator.tasks import failed_task, tasks_of
from poller.emulator.world import World

START = 1_795_000_000 * SECOND
STATUSES = ("PENDING", "STARTING", "RUNNING", "STOPPING", "COMPLETED", "FAILED", "CANCELLED", "DELETED")


def world(**options: object) -> World:
    made: dict[str, object] = {"account_id": "123456789012", "region": "us-east-1", "rng": random.Random(1), **options}
    return World(**made)  # type: ignore[arg-type]  # each test names what it needs


def spec(life: Life | None = None, **options: object) -> RunSpec:
    return RunSpec(life=life or Life.completed(1, 2, 3, 4), **options)  # type: ignore[arg-type]  # as above


def everyone(_: Run) -> bool:
    return True


def statuses_of(made: World, run: Run) -> list[str]:
    return [transition.status for transition in made.transitions if transition.uuid == run.uuid]


def test_a_run_is_in_the_status_that_its_script_has_reached() -> None:
    made = world(speed=2)
    run = made.start(spec(), START)

    seen = []
    for half_seconds in range(11):
        made.advance(START + half_seconds * SECOND // 2)
        seen.append(run.status)

    assert seen == [
        "PENDING",
        *["STARTING"] * 2,
        *["RUNNING"] * 3,
        *["STOPPING"] * 4,
        "COMPLETED",
    ]


def test_the_history_tells_each_transition_once_at_its_own_time() -> None:
    made = world()
    run = made.start(spec(), START)
    made.advance(START + 3600 * SECOND)

    assert [(transition.status, transition.at) for transition in made.transitions] == [
        (status, datetime_of(START + seconds * SECOND))
        for status, seconds in (("PENDING", 0), ("STARTING", 1), ("RUNNING", 3), ("STOPPING", 6), ("COMPLETED", 10))
    ]
    assert {transition.uuid for transition in made.transitions} == {run.uuid}


def test_a_run_cancelled_while_pending_never_starts() -> None:
    made = world()
    run = made.start(spec(), START)
    made.cancel(run, START)

    assert statuses_of(made, run) == ["PENDING", "CANCELLED"]
    assert run.started(run.index) is None
    assert run.stopped(run.index) == START


def test_a_run_cancelled_while_running_stops_first() -> None:
    made = world(cancelling=5)
    run = made.start(spec(), START)
    made.advance(START + 4 * SECOND)
    made.cancel(run, START + 4 * SECOND)
    assert run.status == "STOPPING"
    made.cancel(run, START + 5 * SECOND)  # asking twice changes nothing
    made.advance(START + 3600 * SECOND)

    assert statuses_of(made, run) == ["PENDING", "STARTING", "RUNNING", "STOPPING", "CANCELLED"]
    assert run.stopped(run.index) == START + 9 * SECOND


def test_only_an_ended_run_can_be_deleted_and_only_a_live_one_cancelled() -> None:
    made = world()
    run = made.start(spec(), START)
    with pytest.raises(Refused, match="ConflictException"):
        made.delete(run, START)
    made.advance(START + 10 * SECOND)
    with pytest.raises(Refused, match="ConflictException"):
        made.cancel(run, START + 10 * SECOND)
    made.delete(run, START + 10 * SECOND)

    assert made.find(run.id) is None
    assert statuses_of(made, run)[-2:] == ["DELETED", GONE]


def test_a_deleted_run_can_be_shown_for_a_while_but_only_under_its_own_status() -> None:
    made = world(deleting=2)
    run = made.start(spec(), START)
    made.advance(START + 10 * SECOND)
    made.delete(run, START + 10 * SECOND)

    assert made.get(run.id).status == "DELETED"
    assert made.page(Filters(), 100, None, everyone) == ([], False)
    assert made.page(Filters(status="DELETED"), 100, None, everyone) == ([run], False)
    made.advance(START + 12 * SECOND)
    assert made.find(run.id) is None


def test_an_id_is_free_again_once_its_run_is_gone() -> None:
    made = world()
    first = made.start(spec(Life.of("CANCELLED"), run_id="77"), START)
    with pytest.raises(Refused, match="ConflictException"):
        made.start(spec(run_id="77"), START)
    made.delete(first, START)
    second = made.start(spec(run_id="77"), START + SECOND)

    assert made.get("77") is second
    assert first.uuid != second.uuid
    assert made.get_at("77", START + SECOND) is second


def test_a_scheduled_run_takes_its_id_over_from_the_one_that_holds_it() -> None:
    made = world()
    first = made.start(spec(Life.of("RUNNING"), run_id="77"), START)
    second = made.start(spec(run_id="77", starts_in=5), START)
    assert made.get("77") is first
    made.advance(START + 5 * SECOND)

    assert made.get("77") is second
    assert statuses_of(made, first) == ["RUNNING", GONE]
    assert made.get_at("77", START + 4 * SECOND) is first


def test_ids_of_deleted_runs_come_back_where_that_is_asked() -> None:
    made = world(reuse_ids=True)
    first = made.start(spec(Life.of("COMPLETED")), START)
    made.delete(first, START)

    assert made.start(spec(), START).id == first.id


def test_at_the_limit_the_oldest_remove_run_makes_room_and_a_retain_run_is_refused() -> None:
    made = world(max_runs=3)
    kept = made.start(spec(), START)
    oldest = made.start(spec(retention_mode="REMOVE"), START + 1)
    younger = made.start(spec(retention_mode="REMOVE"), START + 2)
    newest = made.start(spec(retention_mode="REMOVE"), START + 3)

    assert made.find(oldest.id) is None
    assert all(made.find(run.id) for run in (kept, younger, newest))
    with pytest.raises(Refused, match="ServiceQuotaExceededException"):
        made.start(spec(), START + 4)


def test_a_run_may_already_be_old() -> None:
    made = world()
    run = made.start(spec(starts_in=-6), START)

    assert run.status == "STOPPING"
    assert run.created == START - 6 * SECOND


@pytest.mark.parametrize(("order", "names"), [("newest", ["c", "b", "a"]), ("oldest", ["a", "b", "c"])])
def test_lists_are_in_the_order_of_creation(order: Order, names: list[str]) -> None:
    made = world(order=order)
    for name, age in (("b", 5), ("a", 9), ("c", 1)):
        made.start(spec(Life.of("RUNNING"), name=name, starts_in=-age), START)

    runs, _ = made.page(Filters(), 100, None, everyone)
    assert [run.spec.name for run in runs] == names


def test_an_arbitrary_order_is_neither_but_pages_through_all() -> None:
    made = world(order="arbitrary")
    started = [made.start(spec(Life.of("RUNNING")), START + number) for number in range(50)]
    seen: list[Run] = []
    more = True
    while more:
        runs, more = made.page(Filters(status="RUNNING"), 7, seen[-1].key if seen else None, everyone)
        seen += runs

    assert set(seen) == set(started)
    assert len(seen) == 50
    assert seen not in (started, started[::-1])


def test_a_page_goes_on_where_the_last_one_ended_although_runs_left_the_list() -> None:
    made = world()
    runs = [made.start(spec(Life.of("RUNNING")), START + number) for number in range(6)]
    first, more = made.page(Filters(status="RUNNING"), 2, None, everyone)
    assert more
    for run in first:
        made.redirect(run, [Step("COMPLETED")], START + 10)
    second, _ = made.page(Filters(status="RUNNING"), 2, first[-1].key, everyone)

    assert first + second == runs[:1:-1]


def test_filters_narrow_together() -> None:
    made = world()
    wanted = made.start(spec(Life.of("RUNNING"), name="x", run_group_id="1", batch_id="2"), START)
    for other in ({"name": "x"}, {"run_group_id": "1"}, {"batch_id": "2"}, {"name": "xx", "run_group_id": "1"}):
        made.start(spec(Life.of("RUNNING"), **other), START)
    made.start(spec(Life.of("FAILED"), name="x", run_group_id="1", batch_id="2"), START)

    filters = Filters(status="RUNNING", name="x", run_group_id="1", batch_id="2")
    assert made.page(filters, 100, None, everyone) == ([wanted], False)


OPERATIONS = st.tuples(
    st.sampled_from(["start", "cancel", "delete", "evict", "move", "pass"]),
    st.integers(0, 10),
    st.sampled_from(STATUSES),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(OPERATIONS, max_size=40), st.sampled_from(["newest", "oldest", "arbitrary"]))
def test_whatever_happens_lists_and_history_agree(operations: list[tuple[str, int, str]], order: Order) -> None:
    """The kept lists say what a look at every run says, and the history of each incarnation ends in its status."""
    made, now, runs = world(order=order, max_runs=8, reuse_ids=True), START, list[Run]()
    made.declare(RunGroup(group_id="77", max_runs=2), START)
    for operation, number, status in operations:
        target = runs[number % len(runs)] if runs else None
        try:
            if operation == "start":
                life = Life.of(("PENDING", number / 2), (status, number), "COMPLETED")
                mode = "REMOVE" if number % 2 else "RETAIN"
                group = "77" if number % 3 else None
                runs.append(
                    made.start(spec(life, starts_in=number / 4 - 1, retention_mode=mode, run_group_id=group), now)
                )
            elif operation == "pass":
                now += number * SECOND // 3
                made.advance(now)
            elif target is not None and made.find(target.id) is target:
                if operation == "cancel":
                    made.cancel(target, now)
                elif operation == "delete":
                    made.delete(target, now)
                else:
                    made.redirect(target, [Step(GONE if operation == "evict" else status)], now)
        except Refused:
            continue
    for filters in (Filters(), *(Filters(status=status) for status in STATUSES)):
        kept, _ = made.page(filters, 1000, None, everyone)
        seen, _ = made.page_at(filters, 1000, None, everyone, lambda _: now)
        assert kept == [run for run, _ in seen]
    for run in runs:
        told = [transition for transition in made.transitions if transition.uuid == run.uuid]
        assert [transition.at for transition in told] == sorted(transition.at for transition in told)
        if made.find(run.id) is run:
            assert told[-1].status == run.status


# Tasks


def test_the_tasks_of_a_completed_run_have_all_completed_when_running_ends() -> None:
    made = world()
    run = made.start(spec(Life.completed(1, 1, 100, 5)), START)
    tasks = tasks_of(run)

    assert len(tasks) >= 2
    assert all(task.moments[-1].status == "COMPLETED" for task in tasks)
    assert min(task.moments[0].at for task in tasks) >= START + 2 * SECOND
    assert max(task.moments[-1].at for task in tasks) <= START + 102 * SECOND
    assert tasks_of(run) == tasks


def test_a_run_that_failed_for_a_task_has_one_failed_task() -> None:
    made = world()
    run = made.start(spec(Life.failed("RUN_TASK_FAILED", running=50)), START)

    assert [task.moments[-1].status for task in tasks_of(run)][-1] == "FAILED"
    assert [task.failure_reason for task in tasks_of(run) if task.failure_reason] == ["RUN_TASK_FAILED"]


def test_the_tasks_that_a_script_has_fail_do_so_one_after_the_other_and_the_run_names_the_last() -> None:
    made = world()
    scripted = (FailedTask("ALIGN"), FailedTask("SORT", "RUN_TASK_FAILED", "exit code 137"))
    run = made.start(spec(Life.failed("RUN_TASK_FAILED", running=50), failed_tasks=scripted), START)
    tasks = tasks_of(run)
    failed = [task for task in tasks if task.moments[-1].status == "FAILED"]

    assert [(task.name, task.failure_reason, task.message) for task in failed] == [
        ("ALIGN", "RUN_TASK_FAILED", None),
        ("SORT", "RUN_TASK_FAILED", "exit code 137"),
    ]
    assert failed[0].moments[-1].at == failed[1].moments[0].at
    assert failed[1].moments[-1].at == START + 57 * SECOND
    assert {task.moments[-1].status for task in tasks if task not in failed} == {"COMPLETED"}
    assert failed_task(run) == failed[1]
    assert len({task.id for task in tasks}) == len(tasks)
    assert tasks_of(run) == tasks


def test_a_completed_run_may_have_tasks_that_failed_and_were_repeated() -> None:
    run = world().start(spec(Life.completed(1, 1, 100, 5), failed_tasks=(FailedTask(reason="SERVICE_ERROR"),)), START)
    assert [task.failure_reason for task in tasks_of(run) if task.failure_reason] == ["SERVICE_ERROR"]


def test_a_run_whose_import_failed_has_no_tasks() -> None:
    assert tasks_of(world().start(spec(Life.failed("IMPORT_FAILED")), START)) == []


def test_cancelling_a_run_cancels_the_task_under_way_and_starts_no_more() -> None:
    made = world(cancelling=5)
    run = made.start(spec(Life.completed(0, 0, 100, 5)), START)
    planned = len(tasks_of(run))
    made.advance(START + 10 * SECOND)
    made.cancel(run, START + 10 * SECOND)
    tasks = tasks_of(run)

    assert len(tasks) < planned
    assert [moment.status for moment in tasks[-1].moments][-2:] == ["STOPPING", "CANCELLED"]
    assert tasks[-1].moments[-1].at == START + 15 * SECOND


def test_a_run_moved_by_hand_has_tasks_that_follow() -> None:
    made = world()
    run = made.start(spec(Life.of("PENDING")), START)
    assert tasks_of(run) == []
    made.redirect(run, [Step("RUNNING")], START)
    assert tasks_of(run)[0].index_at(START) == 0
    made.advance(START + SECOND)
    made.redirect(run, [Step("FAILED", 0, {"failureReason": "RUN_TASK_FAILED"})], START + SECOND)

    assert [task.moments[-1].status for task in tasks_of(run)] == ["FAILED"]
