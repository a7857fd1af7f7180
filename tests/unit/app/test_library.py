"""The library's contract, held over the emulator's HTTP."""

import asyncio
import gc
import os
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from poller import ConfigError, Event, Outcome, Poller
from poller.app.build import Parts
from poller.core.errors import PollerError, StoreRefused, StoreUnavailable
from poller.emulator import Emulator, Fault, Life
from poller.settings.load import settings_from
from tests.unit.app.library_rig import BRISK, PATIENCE, asked_again, brisk_poller, quick_life, until

pytestmark = pytest.mark.usefixtures("aws_credentials")


def others() -> set[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


def kinds(events: Any) -> list[str]:
    return [event.kind for event in events]


# --- the example ------------------------------------------------------------------------------------------------------


async def test_the_example_of_the_readme_works(emulator: Emulator) -> None:
    failing = emulator.start_run(quick_life("FAILED"))
    completing = emulator.start_run(quick_life())
    told: list[Event] = []
    read: list[Event] = []
    async with brisk_poller(emulator) as poller:

        @poller.on("failed", "completed")
        async def tell(event: Event) -> None:
            told.append(event)

        await poller.watch(completing)
        outcome = await poller.wait(failing, timeout=PATIENCE)
        assert isinstance(outcome, Outcome)
        assert (outcome.verdict, outcome.status, outcome.run) == ("ended", "FAILED", failing)
        assert outcome.events[-1].kind == "failed"
        assert [event.sequence for event in outcome.events] == list(range(1, len(outcome.events) + 1))
        async for event in poller.events():
            read.append(event)
            if sum(one.terminal for one in read) == 2:
                break
    assert sorted(kinds(told)) == ["completed", "failed"]
    assert [event.position for event in read] == list(range(1, len(read) + 1))


async def test_a_whole_configuration_may_have_several_watches_each_at_its_own_pace(emulator: Emulator) -> None:
    slow = {"min_interval": "1h", "max_interval": "1h"}
    settings = settings_from(
        {
            "aws": {"region": "us-east-1", "endpoint_url": emulator.url},
            "watch": [
                {"discover": True, "name_prefix": "lab-", "tags": {"project": "x"}},
                {"discover": True, "workflow_ids": ["5"]},
                {"run_ids": [waits := emulator.start_run(Life.of("RUNNING"))], **slow},
            ],
            "polling": BRISK,
            "store": {"url": "sqlite://"},
            "http": {"listen": ""},
        }
    )
    told: list[Event] = []
    async with Poller(settings=settings) as poller:
        poller.on_event(told.append)
        ours = {
            emulator.start_run(quick_life(), name="lab-1", tags={"project": "x"}),
            emulator.start_run(quick_life(), name="else", workflow_id="5"),
        }
        emulator.start_run(quick_life(), name="lab-2", tags={"project": "y"})
        emulator.start_run(quick_life(), name="else", workflow_id="6", tags={"project": "x"})
        await until(lambda: {event.run_id for event in told if event.kind == "completed"} == ours)
        await until(lambda: waits in {event.run_id for event in told})
        await asked_again(emulator, "ListRuns", times=8)  # which shows the strangers, and others their tags
    assert {event.run_id for event in told} == {*ours, waits}
    assert sum(call.operation == "GetRun" and call.run_id == waits for call in emulator.calls) == 1


async def test_discovery_finds_runs_that_nobody_named(emulator: Emulator) -> None:
    ended: list[str | None] = []
    async with brisk_poller(emulator, discover=True) as poller:
        poller.on("completed")(lambda event: ended.append(event.run_id))
        run_id = emulator.start_run(quick_life())
        await until(lambda: ended)
    assert ended == [run_id]


# --- callbacks --------------------------------------------------------------------------------------------------------


async def test_callbacks_plain_and_async_slow_and_raising_disturb_nobody(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    plain: list[str] = []
    fine: list[str] = []
    cancelled: list[str] = []
    hanging: list[str] = []
    let = asyncio.Event()
    poller = brisk_poller(emulator)

    @poller.on_event
    def note(event: Event) -> None:
        plain.append(event.kind)

    @poller.on()
    def broken(event: Event) -> None:
        raise ValueError("a bug of the user's")

    @poller.on()
    async def cancels_itself(event: Event) -> None:
        cancelled.append(event.kind)
        raise asyncio.CancelledError

    @poller.on()
    async def hangs(event: Event) -> None:
        hanging.append(event.kind)
        await let.wait()

    @poller.on("healthomics.run.completed")
    async def end(event: Event) -> None:
        fine.append(event.kind)

    run_id = emulator.start_run(quick_life())
    async with poller:
        outcome = await poller.wait(run_id, timeout=PATIENCE)
        await until(lambda: plain[-1:] == cancelled[-1:] == fine == ["completed"])
        assert poller._running().foundation.tally.count("listener_failures") >= len(outcome.events)
        let.set()
    assert plain == cancelled == hanging == kinds(outcome.events)  # leaving waits for the slow one, up to 5 s
    assert fine == ["completed"]
    assert sum(record.message == "listener.failed" for record in caplog.records) == 2 * len(outcome.events)


async def test_a_callback_gets_each_event_once_from_the_first_one_of_the_context(
    emulator: Emulator, tmp_path: Path
) -> None:
    first, second = emulator.start_run(quick_life()), emulator.start_run(quick_life())
    before: list[Event] = []
    after: list[Event] = []
    late: list[Event] = []
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        poller.on_event(before.append)
        await poller.wait(first, timeout=PATIENCE)
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        poller.on_event(after.append)
        outcome = await poller.wait(second, timeout=PATIENCE)
        poller.on_event(late.append)
        await until(lambda: len(late) == len(outcome.events))
    assert {event.run_id for event in before} == {first}
    assert [event.id for event in after] == [event.id for event in outcome.events]
    assert [event.id for event in late] == [event.id for event in after]


async def test_what_cannot_be_called_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        brisk_poller(emulator).on_event("tell")  # type: ignore[arg-type]


async def test_a_record_that_cannot_be_read_for_a_moment_ends_no_listener(emulator: Emulator) -> None:
    heard: list[Event] = []
    read: list[Event] = []
    async with brisk_poller(emulator) as poller:
        poller.on_event(heard.append)
        store = poller._running().foundation.store
        events, failures = store.events, iter(range(5))

        async def failing(**query: Any) -> list[Event]:
            if next(failures, None) is not None:
                raise StoreUnavailable("locked")
            return await events(**query)

        store.events = failing  # type: ignore[method-assign]

        async def listen() -> None:
            async for event in poller.events():
                read.append(event)

        listening = asyncio.create_task(listen())
        run_id = emulator.start_run(quick_life())
        outcome = await poller.wait(run_id, timeout=PATIENCE)
        await until(lambda: len(heard) == len(read) == len(outcome.events))
        listening.cancel()
    assert outcome.status == "COMPLETED"


# --- verdicts ---------------------------------------------------------------------------------------------------------


async def test_a_run_that_the_service_does_not_know_vanished(emulator: Emulator) -> None:
    async with brisk_poller(emulator) as poller:
        outcome = await poller.wait("999", timeout=PATIENCE)
    assert (outcome.verdict, outcome.status) == ("vanished", None)
    assert kinds(outcome.events) == ["vanished"]


async def test_a_run_that_is_evicted_vanished_with_the_status_that_was_known(emulator: Emulator) -> None:
    run_id = emulator.start_run(Life.of("RUNNING"))
    async with brisk_poller(emulator) as poller:
        await poller.watch(run_id)
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(poller.wait(run_id))
            async for event in poller.events():
                if event.status == "RUNNING":
                    break
            emulator.evict(run_id)
    outcome = waiting.result()
    assert (outcome.verdict, outcome.status) == ("vanished", "RUNNING")


async def test_a_run_that_the_service_refuses_to_speak_of_is_unreachable(emulator: Emulator) -> None:
    run_id = emulator.start_run(Life.of("RUNNING"))
    emulator.add_fault(Fault(kind="error", code="ValidationException", run_id=run_id))
    async with brisk_poller(emulator) as poller:
        outcome = await poller.wait(run_id, timeout=PATIENCE)
    assert outcome.verdict == "unreachable"


async def test_a_timeout_is_an_outcome(emulator: Emulator) -> None:
    run_id = emulator.start_run(Life.of("RUNNING"))
    async with brisk_poller(emulator) as poller:
        await poller.watch(run_id)
        async for event in poller.events():  # now it is known, and the client is warm
            assert event.kind == "running"
            break
        outcome = await poller.wait(run_id, timeout=timedelta(seconds=2))
        assert (outcome.verdict, outcome.status) == ("timed_out", "RUNNING")
        assert kinds(outcome.events) == ["running"]
        assert (await poller.wait(run_id, timeout="0s")).verdict == "timed_out"
        emulator.down()
        assert (await poller.wait("12", timeout=0.1)).status is None


async def test_a_run_whose_id_is_taken_by_another_one_was_replaced(emulator: Emulator) -> None:
    run_id = emulator.start_run(Life.of("RUNNING"))
    async with brisk_poller(emulator) as poller:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(poller.wait(run_id))
            async for event in poller.events():
                if event.status == "RUNNING":
                    break
            emulator.evict(run_id)
            emulator.start_run(Life.of("RUNNING"), run_id=run_id)
        outcome = waiting.result()
    assert outcome.verdict == "replaced"
    assert len({event.data["run_uuid"] for event in outcome.events}) == 1


async def test_an_end_on_record_is_checked_with_the_service_before_it_is_answered(
    emulator: Emulator, tmp_path: Path
) -> None:
    run_id = emulator.start_run(quick_life())
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        first = await poller.wait(run_id, timeout=PATIENCE)
    asked = emulator.call_counts["GetRun"]
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        again = await poller.wait(run_id, timeout=PATIENCE)
        assert emulator.call_counts["GetRun"] > asked
        emulator.down()
        assert (await poller.wait(run_id, timeout=0.3)).verdict == "timed_out"
    assert (again.verdict, again.status) == ("ended", "COMPLETED")
    assert [event.id for event in again.events] == [event.id for event in first.events]


async def test_of_an_id_that_was_reused_the_new_incarnation_is_followed(emulator: Emulator, tmp_path: Path) -> None:
    run_id = emulator.start_run(quick_life())
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        first = await poller.wait(run_id, timeout=PATIENCE)
    emulator.evict(run_id)
    emulator.start_run(quick_life("FAILED", 0.3), run_id=run_id)
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        second = await poller.wait(run_id, timeout=PATIENCE)
    assert (second.verdict, second.status) == ("ended", "FAILED")
    assert not {event.id for event in first.events} & {event.id for event in second.events}
    assert {event.data["run_uuid"] for event in second.events} != {event.data["run_uuid"] for event in first.events}


async def test_a_run_whose_end_comes_with_an_answer_under_way_is_asked_once_more_for_who_waits(
    emulator: Emulator,
) -> None:
    run_id = emulator.start_run(Life.of("COMPLETED"))
    emulator.add_fault(Fault(kind="slow", seconds=0.3, count=1))
    async with brisk_poller(emulator) as poller:
        await poller.watch(run_id)
        await until(lambda: emulator.calls)
        outcome = await poller.wait(run_id, timeout=3)
    assert (outcome.verdict, outcome.status) == ("ended", "COMPLETED")


# --- leaving ----------------------------------------------------------------------------------------------------------


class Oops(Exception):
    pass


async def test_leaving_leaves_no_task_and_no_socket(emulator: Emulator, recwarn: pytest.WarningsRecorder) -> None:
    before = others()
    run_id = emulator.start_run(Life.of("RUNNING"))
    async with brisk_poller(emulator, discover=True, sinks=[nothing]) as poller:
        poller.on_event(nothing)
        await poller.watch(run_id)
        await poller.wait(run_id, timeout=0.3)
    await asyncio.sleep(0)
    assert {task for task in others() - before if not is_of_emulator(task)} == set()
    server = emulator._runner.server if emulator._runner is not None else None
    await until(lambda: not getattr(server, "connections", []))
    del poller
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


async def nothing(_: Event) -> None:
    pass


def is_of_emulator(task: asyncio.Task[Any]) -> bool:
    return "RequestHandler" in repr(task) or "emulator" in repr(task)


async def test_what_the_body_raises_passes_as_it_is(emulator: Emulator) -> None:
    oops = Oops("mine")
    with pytest.raises(Oops) as caught:  # noqa: PT012 - a context, and its body
        async with brisk_poller(emulator, sinks=[nothing]) as poller:
            await poller.watch("1")
            raise oops
    assert caught.value is oops


async def test_an_error_in_the_body_lets_the_callback_under_way_end_and_begins_no_other(emulator: Emulator) -> None:
    run_id = emulator.start_run(quick_life(seconds=0.2))
    begun: list[str] = []
    finished: list[str] = []
    let = asyncio.Event()
    with pytest.raises(Oops):  # noqa: PT012 - a context, and its body
        async with brisk_poller(emulator) as poller:

            @poller.on_event
            async def slow(event: Event) -> None:
                begun.append(event.kind)
                await let.wait()
                finished.append(event.kind)

            await poller.wait(run_id, timeout=PATIENCE)
            let.set()
            raise Oops
    assert begun == finished
    assert len(begun) == 1


async def test_leaving_waits_five_seconds_for_a_callback_and_no_longer(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from poller.app import library

    assert library.GRACE_SECONDS == 5
    monkeypatch.setattr(library, "GRACE_SECONDS", 0.3)
    run_id = emulator.start_run(Life.of("RUNNING"))
    async with brisk_poller(emulator) as poller:
        called = asyncio.Event()

        @poller.on_event
        async def hangs(_: Event) -> None:
            called.set()
            await asyncio.Event().wait()

        await poller.watch(run_id)
        await asyncio.wait_for(called.wait(), PATIENCE)
        began = asyncio.get_running_loop().time()
    assert 0.2 < asyncio.get_running_loop().time() - began < 3


async def test_a_service_that_hangs_delays_leaving_by_two_seconds_at_most(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the five seconds answers in flight get two at most; callbacks and sinks all that they need."""
    from poller.app import daemon, library

    assert daemon.ANSWERS_SECONDS == 2
    monkeypatch.setattr(library, "ANSWERS_SECONDS", 0.2)
    run_id = emulator.start_run(Life.of("RUNNING"))
    heard: list[str] = []
    sent: list[str] = []

    given_up = asyncio.Event()
    finish_looks = Parts.finish_looks

    async def finish_or_give_up(parts: Parts) -> None:
        try:
            await finish_looks(parts)
        finally:
            given_up.set()

    monkeypatch.setattr(Parts, "finish_looks", finish_or_give_up)

    async def slow_sink(event: Event) -> None:
        await given_up.wait()
        sent.append(event.kind)

    async with brisk_poller(emulator, sinks=[slow_sink]) as poller:

        @poller.on_event
        async def slow(event: Event) -> None:
            await given_up.wait()
            heard.append(event.kind)

        await poller.watch(run_id)
        async for _ in poller.events():
            break
        emulator.add_fault(Fault(kind="hang"))
        asked = len(emulator.calls)
        await until(lambda: len(emulator.calls) > asked)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 3
    assert heard == sent == ["running"]


async def test_cancelling_the_callers_task_ends_everything(emulator: Emulator) -> None:
    before = others()
    run_id = emulator.start_run(Life.of("RUNNING"))
    entered = asyncio.Event()

    async def program() -> None:
        async with brisk_poller(emulator, sinks=[nothing]) as poller:
            poller.on_event(nothing)
            entered.set()
            await poller.wait(run_id)

    task = asyncio.create_task(program())
    await entered.wait()
    await until(lambda: emulator.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE)
    assert {task for task in others() - before if not is_of_emulator(task)} == set()


async def test_a_timeout_of_asyncio_around_it_is_a_timeout(emulator: Emulator) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), brisk_poller(emulator) as poller:
            await poller.wait(emulator.start_run(Life.of("RUNNING")))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_it_lives_in_anyio_task_groups_and_scopes(emulator: Emulator) -> None:
    runs = [emulator.start_run(quick_life()) for _ in range(3)]
    outcomes: dict[str, Outcome] = {}
    async with anyio.create_task_group() as tasks, brisk_poller(emulator) as poller:

        async def follow(run_id: str) -> None:
            outcomes[run_id] = await poller.wait(run_id, timeout=PATIENCE)

        async with anyio.create_task_group() as following:
            for run_id in runs:
                following.start_soon(follow, run_id)
        with anyio.move_on_after(0.1) as limit:
            await poller.wait(emulator.start_run(Life.of("RUNNING")))
        assert limit.cancelled_caught
        tasks.cancel_scope.cancel()
    assert {outcome.status for outcome in outcomes.values()} == {"COMPLETED"}


async def test_a_record_that_a_person_must_mend_is_raised_as_it_is(emulator: Emulator) -> None:
    with pytest.raises(StoreRefused, match="replaced"):  # noqa: PT012 - a context, and its body
        async with brisk_poller(emulator) as poller:
            run_id = emulator.start_run(Life.of("RUNNING"))
            await poller.watch(run_id)
            async for _ in poller.events():
                break

            async def refuse(_: object) -> None:
                raise StoreRefused("the record was replaced")

            poller._running().foundation.store.commit_round = refuse  # type: ignore[method-assign,assignment]
            emulator.move_run(run_id, "COMPLETED")
            await asyncio.sleep(PATIENCE)  # a part of the poller ends, and takes the body with it
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_record_that_is_busy_at_the_end_leaves_nothing_open(emulator: Emulator, tmp_path: Path) -> None:
    async def busy() -> int:
        raise StoreUnavailable("database is locked")

    poller = await brisk_poller(emulator, store=tmp_path / "record.db").__aenter__()
    assert poller._parts is not None
    poller._parts.foundation.store.last_position = busy  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await poller.__aexit__(None, None, None)
    async with brisk_poller(emulator, store=tmp_path / "record.db"):
        pass  # the record's lock is free


# --- sinks, and what is refused ---------------------------------------------------------------------------------------


async def test_a_coroutine_given_as_a_sink_gets_every_event_until_it_took_it(emulator: Emulator) -> None:
    run_id = emulator.start_run(quick_life())
    tried: list[str] = []
    took: list[str] = []

    async def lims(event: Event) -> None:
        tried.append(event.id)
        if tried.count(event.id) < 3:
            raise ConnectionError("the far end is down")
        took.append(event.id)

    async with brisk_poller(emulator, sinks=[lims]) as poller:
        outcome = await poller.wait(run_id, timeout=PATIENCE)
        await until(lambda: len(took) == len(outcome.events))
    assert took == [event.id for event in outcome.events]
    assert all(tried.count(event_id) == 3 for event_id in took)


async def test_what_a_sink_did_not_take_is_owed_in_the_file_and_sent_by_the_next_poller(
    emulator: Emulator, tmp_path: Path
) -> None:
    run_id = emulator.start_run(quick_life())
    took: list[str] = []
    down = True

    async def lims(event: Event) -> None:
        if down:
            raise ConnectionError("the far end is down")
        took.append(event.id)

    async with brisk_poller(emulator, store=tmp_path / "record.db", sinks=[lims]) as poller:
        outcome = await poller.wait(run_id, timeout=PATIENCE)
    down = False
    async with brisk_poller(emulator, store=tmp_path / "record.db", sinks=[lims]):
        await until(lambda: len(took) == len(outcome.events))
    assert took == [event.id for event in outcome.events]


async def test_sinks_of_one_name_are_each_owed_everything(emulator: Emulator, tmp_path: Path) -> None:
    """Two sinks of one name would share what is owed, and each miss half of it."""
    run_id = emulator.start_run(quick_life())
    took: list[list[str]] = [[] for _ in range(4)]

    async def note(list_: list[str], event: Event) -> None:
        list_.append(event.id)

    table = {"name": "note-2", "type": "file", "path": str(tmp_path / "events.jsonl")}
    async with brisk_poller(emulator, sinks=[*(partial(note, one) for one in took), table]) as poller:
        outcome = await poller.wait(run_id, timeout=PATIENCE)
        await until(lambda: all(len(one) == len(outcome.events) for one in took))
        names = [outlet.name for outlet in poller._running().dispatcher.outlets]
    assert len(set(names)) == 5
    assert (tmp_path / "events.jsonl").read_text().count("\n") == len(outcome.events)


async def test_a_poller_is_entered_once(emulator: Emulator) -> None:
    poller = brisk_poller(emulator)
    async with poller:
        with pytest.raises(PollerError, match="once"):
            await poller.__aenter__()
        assert poller.regions == ["us-east-1"]
    with pytest.raises(PollerError, match="once"):
        await poller.__aenter__()
    with pytest.raises(PollerError, match="not running"):
        await poller.watch("1")


async def test_a_second_poller_on_one_file_is_refused_and_names_the_first(emulator: Emulator, tmp_path: Path) -> None:
    async with brisk_poller(emulator, store=tmp_path / "record.db") as poller:
        with pytest.raises(StoreRefused, match=str(os.getpid())):
            await brisk_poller(emulator, store=tmp_path / "record.db").__aenter__()
        assert (await poller.wait("999", timeout=PATIENCE)).verdict == "vanished"
    async with brisk_poller(emulator, store=tmp_path / "record.db"):
        pass


@pytest.mark.parametrize("name", ["nonsense", "", "1" * 19, "elsewhere:1", "arn:aws:s3:::bucket"])
async def test_what_names_no_run_is_refused_and_nothing_is_watched(emulator: Emulator, name: str) -> None:
    run_id = emulator.start_run(Life.of("RUNNING"))
    async with brisk_poller(emulator) as poller:
        with pytest.raises(ConfigError):
            await poller.watch(run_id, name)
        with pytest.raises(ConfigError):
            await poller.wait(name)
        assert await poller._running().foundation.store.runs() == []


def test_settings_that_cannot_be_are_refused_when_the_poller_is_made() -> None:
    with pytest.raises(ConfigError, match="max_intervall"):
        Poller(region="us-east-1", polling={"max_intervall": "1s"})
    with pytest.raises(ConfigError, match="no-such-type"):
        Poller(region="us-east-1", sinks=[{"name": "x", "type": "no-such-type"}])


async def test_no_region_is_refused_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no region"):
        async with Poller(store=tmp_path / "record.db"):
            pass
    gc.collect()


# --- types ------------------------------------------------------------------------------------------------------------

TYPED = """
from poller import Event, Outcome, Poller

async def main() -> None:
    async def lims(event: Event) -> None: ...
    async with Poller(region="us-east-1", sinks=[lims], polling={"min_interval": "1s"}) as poller:
        @poller.on("failed")
        async def tell(event: Event) -> None:
            reveal_type(event.sequence)
        poller.on_event(print)
        await poller.watch("1", "2")
        reveal_type(await poller.wait("1", timeout=7200))
        async for event in poller.events():
            reveal_type(event)
        await poller.wait(7)
"""


@pytest.mark.service
def test_the_library_is_typed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(program)],
        cwd=Path(__file__).parents[3],  # with our own configuration: what the linter has read is not read anew
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout
    assert "int | None" in said
    assert "library.Outcome" in said
    assert "events.Event" in said
    assert 'Argument 1 to "wait" of "Poller" has incompatible type "int"' in said
    assert "Found 1 error" in said
