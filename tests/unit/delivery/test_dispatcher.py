"""Order, independence, exchange, stopping, and what becomes of deliveries when something breaks."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint

from poller.core.deliveries import DeliveryState
from poller.core.errors import Partial, Rejected, Retry, StoreRefused, StoreUnavailable
from poller.core.events import Event
from poller.delivery.dispatcher import Dispatcher
from poller.ports.store import Store
from tests.unit.delivery.rig import ScriptedSink, outlet, rigged, steps, until
from tests.unit.polling.simulation import virtually

RUNS = [str(number) for number in range(1, 11)]


def by_run(ids: Sequence[str]) -> dict[str, list[int]]:
    order: dict[str, list[int]] = defaultdict(list)
    for event_id in ids:
        run, _, step = event_id.split("/")
        order[run].append(int(step))
    return order


async def hang(_: Sequence[Event]) -> None:
    await anyio.sleep_forever()


async def half_a_second(_: Sequence[Event]) -> None:
    await anyio.sleep(0.5)


# --- order and independence -------------------------------------------------------------------------------------------


def test_every_event_reaches_every_sink_in_the_order_of_its_run() -> None:
    async def body() -> None:
        async with rigged() as rig:
            one, two = ScriptedSink(half_a_second), ScriptedSink()
            async with rig.telling(outlet(one, "one"), outlet(two, "two")):
                for step in range(1, 6):
                    await rig.tell([draft for run in RUNS for draft in steps(run, 1, step)])
                await until(lambda: len(one.took) == len(two.took) == 50)
            for sink in (one, two):
                assert by_run(sink.taken) == {run: [1, 2, 3, 4, 5] for run in RUNS}
            assert set((await rig.states()).values()) == {DeliveryState.ACKNOWLEDGED}

    virtually(body)


def test_an_event_is_not_sent_while_the_one_before_it_is_under_way() -> None:
    async def body() -> None:
        async with rigged() as rig:
            at_once: list[int] = []

            async def answer(_: Sequence[Event]) -> None:
                at_once.append(sink.under_way)
                await anyio.sleep(1)

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 5))
                await until(lambda: len(sink.took) == 5)
            assert at_once == [1] * 5

    virtually(body)


def test_an_event_waits_for_an_earlier_one_of_its_run_that_is_to_be_retried() -> None:
    async def body() -> None:
        async with rigged() as rig:
            down = True

            def answer(events: Sequence[Event]) -> None:
                if down and events[0].id == "1/life/1":
                    raise Retry("not now")

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)):
                await rig.tell([*steps("1", 3), *steps("2", 3)])
                await anyio.sleep(5)
                assert by_run(sink.taken) == {"2": [1, 2, 3]}
                assert {event_id for _, ids in sink.tried for event_id in ids if event_id[0] == "1"} == {"1/life/1"}
                down = False
                await until(lambda: len(sink.took) == 6)
            assert by_run(sink.taken)["1"] == [1, 2, 3]

    virtually(body)


def test_a_sink_that_hangs_keeps_no_other_waiting() -> None:
    async def body() -> None:
        async with rigged() as rig:
            hanging, fine = ScriptedSink(hang), ScriptedSink()
            async with rig.telling(outlet(hanging, "hanging", timeout="10s"), outlet(fine, "fine")):
                await rig.tell([draft for number in range(300) for draft in steps(str(number), 1)])
                await until(lambda: len(fine.took) == 300, seconds=5)
                assert hanging.under_way == 16
                assert hanging.took == []

    virtually(body)


def test_sends_of_one_sink_are_never_more_than_its_concurrency() -> None:
    async def body() -> None:
        async with rigged() as rig:
            most = 0

            async def answer(_: Sequence[Event]) -> None:
                nonlocal most
                most = max(most, sink.under_way)
                await anyio.sleep(1)

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink, concurrency=3)):
                await rig.tell([draft for run in RUNS for draft in steps(run, 3)])
                await until(lambda: len(sink.took) == 30)
            assert most == 3

    virtually(body)


def test_outcomes_that_come_together_are_stored_together_and_one_alone_at_once() -> None:
    async def body() -> None:
        async with rigged() as rig:
            stored: list[float] = []

            def note(operation: str) -> None:
                if operation == "settle":
                    stored.append(rig.clock.monotonic())

            async def answer(_: Sequence[Event]) -> None:
                await anyio.sleep(0.001)

            rig.fragile(note)
            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink, concurrency=4)) as dispatcher:
                await rig.tell(steps("alone", 1))
                await until(lambda: len(stored) == 1)
                assert stored[0] - sink.tried[0][0] < 0.002
                await rig.tell([draft for run in range(100) for draft in steps(str(run), 1)])
                await until(lambda: len(sink.took) == 101)
                await dispatcher.drained()
            assert len(stored) <= 1 + 100 / 20 + 2

    virtually(body)


def test_a_sink_that_never_waits_lets_others_run_between_its_sends() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink()
            turns = 0
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([draft for run in range(50) for draft in steps(str(run), 1)])
                while len(sink.took) < 50:
                    await checkpoint()
                    turns += 1
            assert turns > 50

    virtually(body)


def test_a_batch_holds_at_most_one_event_of_a_run_and_at_most_its_size() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink(half_a_second, batch_size=4)
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([draft for run in RUNS for draft in steps(run, 4)])
                await until(lambda: len(sink.took) == 40)
            batches = [ids for _, ids in sink.tried]
            assert max(map(len, batches)) == 4
            assert all(len(by_run(ids)) == len(ids) for ids in batches)
            assert by_run(sink.taken) == {run: [1, 2, 3, 4] for run in RUNS}

    virtually(body)


# --- what a sink says -------------------------------------------------------------------------------------------------


def test_a_rejected_event_is_dead_at_once_with_its_reason_and_frees_its_run() -> None:
    async def body() -> None:
        async with rigged() as rig:

            def answer(events: Sequence[Event]) -> None:
                if events[0].id == "1/life/1":
                    raise Rejected("422: no such sample")

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 2))
                await until(lambda: len(sink.took) == 1, seconds=5)
                await anyio.sleep(1)
            assert len(sink.tries("1/life/1")) == 1
            (dead,) = await rig.rows("hook", DeliveryState.DEAD)
            assert (dead.event_id, dead.error, dead.attempts) == ("1/life/1", "422: no such sample", 1)
            assert sink.taken == ["1/life/2"]

    virtually(body)


def test_of_a_batch_that_failed_in_part_only_what_failed_is_tried_again() -> None:
    async def body() -> None:
        async with rigged() as rig:

            def answer(events: Sequence[Event]) -> None:
                if len(sink.tried) == 1:
                    sink.took += [event for event in events if event.id == "3/life/1"]
                    raise Partial({"1/life/1": Retry("busy"), "2/life/1": Rejected("never")})

            sink = ScriptedSink(answer, batch_size=3)
            await rig.store.use_routes([], rig.clock.now())
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([*steps("1", 1), *steps("2", 1), *steps("3", 1)])
                await until(lambda: len(sink.took) == 2)
                await anyio.sleep(60)
            assert sink.taken == ["3/life/1", "1/life/1"]
            assert await rig.states() == {
                "1/life/1": DeliveryState.ACKNOWLEDGED,
                "2/life/1": DeliveryState.DEAD,
                "3/life/1": DeliveryState.ACKNOWLEDGED,
            }

    virtually(body)


def test_a_batch_that_is_rejected_is_sent_one_by_one_so_that_only_the_bad_event_is_dead() -> None:
    async def body() -> None:
        async with rigged() as rig:

            def answer(events: Sequence[Event]) -> None:
                if any(event.id == "2/life/1" for event in events):
                    raise Rejected("no")

            sink = ScriptedSink(answer, batch_size=3)
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([*steps("1", 1), *steps("2", 1), *steps("3", 1)])
                await until(lambda: len(sink.took) == 2)
                await anyio.sleep(60)
            assert [len(ids) for _, ids in sink.tried] == [3, 1, 1, 1]
            assert (await rig.states())["2/life/1"] is DeliveryState.DEAD
            assert await rig.acknowledged() == 2

    virtually(body)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (Retry("503"), "503"),
        (ValueError("odd"), "ValueError: odd"),
        (Retry("407: Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA=="), "407: Proxy-Authorization: [hidden]"),
        (ConnectionResetError(), "ConnectionResetError"),
        (TimeoutError("connect timed out"), "TimeoutError: connect timed out"),
        (ExceptionGroup("two", [ValueError("a"), ValueError("b")]), "ExceptionGroup: two (2 sub-exceptions)"),
        (asyncio.CancelledError(), "it cancelled itself"),
    ],
)
def test_whatever_a_sink_raises_is_a_reason_to_retry_and_is_told(raised: BaseException, said: str) -> None:
    async def body() -> None:
        async with rigged() as rig:

            def answer(_: Sequence[Event]) -> None:
                if len(sink.tried) < 3:
                    raise raised

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 2))
                await until(lambda: len(sink.tried) == 2)
                await anyio.sleep(0.01)
                assert {row.error for row in await rig.rows() if row.attempts} == {said}
                await until(lambda: len(sink.took) == 2)
            assert sink.taken == ["1/life/1", "1/life/2"]
            assert rig.tally.count("crashes") == 0

    virtually(body)


def test_a_send_that_takes_longer_than_its_timeout_is_ended_and_tried_again() -> None:
    async def body() -> None:
        async with rigged() as rig:

            async def answer(_: Sequence[Event]) -> None:
                if len(sink.tried) == 1:
                    await anyio.sleep_forever()

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink, timeout="10s")):
                await rig.tell(steps("1", 1))
                await anyio.sleep(9.9)
                assert sink.under_way == 1
                await anyio.sleep(0.2)
                assert [row.error for row in await rig.rows()] == ["no acknowledgement within 10 s"]
                await until(lambda: sink.took)

    virtually(body)


# --- which sinks are owed what ----------------------------------------------------------------------------------------


def test_a_sink_that_is_added_gets_nothing_of_the_past() -> None:
    async def body() -> None:
        async with rigged() as rig:
            old, new = ScriptedSink(), ScriptedSink()
            first = outlet(old, "old")
            async with rig.telling(first) as dispatcher:
                await rig.tell(steps("1", 2))
                await dispatcher.exchange([first, outlet(new, "new")])
                await rig.tell(steps("1", 2, first=3))
                await until(lambda: len(old.took) == 4 and new.took)
                await anyio.sleep(10)
            assert new.taken == ["1/life/3", "1/life/4"]

    virtually(body)


def test_what_is_owed_to_a_sink_that_is_removed_stays_owed_and_goes_on_when_its_name_returns() -> None:
    async def body() -> None:
        async with rigged() as rig:
            gone, back = ScriptedSink(hang), ScriptedSink()
            async with rig.telling(outlet(gone)) as dispatcher:
                await rig.tell(steps("1", 3))
                await until(lambda: gone.under_way)
                await dispatcher.exchange([])
                await rig.tell(steps("1", 1, first=4))  # of what happens while it is gone it is owed nothing
                await anyio.sleep(3600)
                assert gone.under_way == 0
                assert [row.parked for row in await rig.rows()] == [True] * 3
                await dispatcher.exchange([outlet(back)])
                await rig.tell(steps("1", 1, first=5))
                await until(lambda: len(back.took) == 4)
            assert back.taken == ["1/life/1", "1/life/2", "1/life/3", "1/life/5"]

    virtually(body)


def test_an_exchange_lets_sends_under_way_end_and_loses_and_repeats_nothing() -> None:
    async def body() -> None:
        async with rigged() as rig:
            before, after, other = ScriptedSink(half_a_second), ScriptedSink(half_a_second), ScriptedSink(half_a_second)
            stays = outlet(other, "other")
            async with rig.telling(outlet(before), stays) as dispatcher:
                await rig.tell([draft for run in RUNS for draft in steps(run, 10)])
                await anyio.sleep(1.7)
                worker = dispatcher.workers["other"]
                await dispatcher.exchange([outlet(after), stays])
                assert dispatcher.workers["other"] is worker
                await until(lambda: len(before.took) + len(after.took) == 100 == len(other.took))
            assert before.under_way == 0
            assert len(before.tried) + len(after.tried) == 100
            assert by_run(before.taken + after.taken) == {run: list(range(1, 11)) for run in RUNS}

    virtually(body)


def test_exchanges_that_follow_each_other_at_once_leave_one_worker_for_each_sink_in_force() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sinks = [ScriptedSink(half_a_second) for _ in range(5)]
            async with rig.telling() as dispatcher:
                for sink in sinks:
                    await dispatcher.exchange([outlet(sink)])
                await rig.tell([draft for run in RUNS for draft in steps(run, 3)])
                await until(lambda: len(sinks[-1].took) == 30)
                assert [len(sink.tried) for sink in sinks[:-1]] == [0] * 4
                assert list(dispatcher.workers) == ["hook"]

    virtually(body)


# --- stopping ---------------------------------------------------------------------------------------------------------


async def seconds_to_drain(dispatcher: Dispatcher) -> float:
    began = anyio.current_time()
    await dispatcher.drained()
    return anyio.current_time() - began


def test_drained_returns_once_nothing_is_under_way_and_nothing_is_due() -> None:
    async def body() -> None:
        async with rigged() as rig:
            slow = ScriptedSink(half_a_second)
            async with rig.telling(outlet(slow), outlet(ScriptedSink(), "quick")) as dispatcher:
                await rig.tell(steps("1", 4))
                assert await seconds_to_drain(dispatcher) == pytest.approx(2, abs=0.1)
                assert len(slow.took) == 4
                assert await seconds_to_drain(dispatcher) < 0.1

    virtually(body)


def test_drained_does_not_wait_for_what_is_due_later_nor_for_a_sink_that_is_down() -> None:
    async def body() -> None:
        async with rigged(chance=lambda: 0.999) as rig:

            def refuse(_: Sequence[Event]) -> None:
                raise Retry("down")

            down, one_down = ScriptedSink(refuse), ScriptedSink(refuse)
            async with rig.telling(outlet(down, "down"), outlet(one_down, "one-down", events=["failed"])) as dispatcher:
                await rig.tell([draft for run in RUNS for draft in steps(run, 2)])
                await anyio.sleep(300)
                assert await seconds_to_drain(dispatcher) < 0.1

    virtually(body)


# --- what breaks ------------------------------------------------------------------------------------------------------


def test_what_was_claimed_by_a_dispatcher_that_ended_is_sent_by_the_next_one() -> None:
    async def body() -> None:
        async with rigged() as rig:
            hanging, fine = ScriptedSink(hang), ScriptedSink()
            await rig.store.use_routes([], rig.clock.now())
            async with rig.telling(outlet(hanging)):
                await rig.tell([draft for run in range(100) for draft in steps(str(run), 2)])
                await until(lambda: hanging.under_way == 16)
            async with rig.telling(outlet(fine)):
                await until(lambda: len(fine.took) == 200, seconds=10)
            assert hanging.took == []
            assert by_run(fine.taken) == {str(run): [1, 2] for run in range(100)}

    virtually(body)


@pytest.mark.parametrize("operation", ["claim", "settle", "next_due"])
def test_a_worker_that_crashes_is_told_and_goes_on_and_disturbs_no_other_sink(operation: str) -> None:
    async def body() -> None:
        async with rigged() as rig:
            crashes = 0

            def fails(name: str) -> None:
                nonlocal crashes
                if name == operation and crashes == 0:
                    crashes += 1
                    raise RuntimeError("a bug of ours")

            rig.fragile(fails)
            one, two = ScriptedSink(), ScriptedSink()
            async with rig.telling(outlet(one, "one"), outlet(two, "two")):
                await rig.tell([draft for run in RUNS for draft in steps(run, 3)])
                await until(lambda: len(set(one.taken)) == len(set(two.taken)) == 30, seconds=10)
                await anyio.sleep(5)
                assert await rig.owed() == 0
            assert rig.tally.count("crashes") == 1
            assert {sorted(set(sink.taken))[0] for sink in (one, two)} == {"1/life/1"}

    virtually(body)


def test_what_a_crashed_worker_could_not_give_back_is_given_back_by_the_next_one() -> None:
    """Claimed deliveries that nobody remembers would be owed for ever, and hold their runs."""

    async def body() -> None:
        async with rigged() as rig:
            broken = {"settle": 1, "release": 1}

            def fails(name: str) -> None:
                if broken.get(name):
                    broken[name] -= 1
                    raise RuntimeError("a bug of ours") if name == "settle" else StoreUnavailable("locked")

            rig.fragile(fails)
            sink = ScriptedSink()
            async with rig.telling(outlet(sink)):
                await rig.tell([draft for run in RUNS for draft in steps(run, 2)])
                await until(lambda: len(set(sink.taken)) == 20, seconds=60)
                await anyio.sleep(5)
                assert await rig.owed() == 0

    virtually(body)


def test_what_a_sink_that_left_gave_back_late_and_in_vain_goes_on_with_the_one_that_took_its_place() -> None:
    """It ends its send while the new one serves already, as a command does that must be killed first."""

    async def body() -> None:
        busy = False

        def fails(name: str) -> None:
            if busy and name == "release":
                raise StoreUnavailable("busy")

        async with rigged() as rig:
            rig.fragile(fails)

            async def slow_to_end(_: Sequence[Event]) -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(1)

            after = ScriptedSink()
            async with rig.telling(outlet(ScriptedSink(slow_to_end), timeout="1h")) as dispatcher:
                await rig.tell(steps("1", 2))
                await anyio.sleep(1)
                busy = True
                await dispatcher.exchange([outlet(after)])
                await anyio.sleep(5)
                busy = False
                await until(lambda: len(after.taken) == 2, 10)
                await anyio.sleep(1)  # of the virtual clock: the outcome is stored
                assert await rig.owed() == 0
            assert after.taken == ["1/life/1", "1/life/2"]

    virtually(body)


def test_what_is_being_given_back_is_not_sent_meanwhile() -> None:
    """The breaker opens and closes while the record takes its time to release what was claimed ahead."""

    async def body() -> None:
        under_way: dict[str, int] = defaultdict(int)
        most_at_once: dict[str, int] = defaultdict(int)

        async with rigged() as rig:
            sends: dict[str, int] = defaultdict(int)

            async def answer(events: Sequence[Event]) -> None:
                (event,) = events
                run = int(event.run_id or "")
                sends[event.id] += 1
                under_way[event.id] += 1
                most_at_once[event.id] = max(most_at_once[event.id], under_way[event.id])
                try:
                    if run <= 5 and sends[event.id] == 1:
                        await anyio.sleep(0.1)
                        raise Retry("503")
                    if run in (6, 7, 8):  # under way when the breaker opens, and taken while the release goes on
                        await anyio.sleep(0.3 + 0.05 * (run - 6))
                    else:
                        await anyio.sleep(3 if sends[event.id] == 1 else 0.1)
                finally:
                    under_way[event.id] -= 1

            rig.store = cast(Store, SlowRelease(rig.store))
            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink, concurrency=8)):
                await rig.tell([draft for number in range(1, 30) for draft in steps(str(number), 2)])
                await until(lambda: len(sink.took) == 58, 120)
        assert set(most_at_once.values()) == {1}
        assert [one for one, times in sends.items() if times > 1 and int(one.partition("/")[0]) > 5] == []

    virtually(body)


class SlowRelease:
    """A store that takes half a second to say that it has released something."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def release(self, delivery_ids: Sequence[int]) -> None:
        await self.store.release(delivery_ids)
        await anyio.sleep(0.5)


def test_what_a_sink_that_left_could_not_give_back_goes_on_when_its_name_returns() -> None:
    async def body() -> None:
        async with rigged() as rig:
            broken = False

            def fails(name: str) -> None:
                if broken and name == "release":
                    raise StoreUnavailable("locked")

            rig.fragile(fails)
            gone, back = ScriptedSink(hang), ScriptedSink()
            async with rig.telling(outlet(gone)) as dispatcher:
                await rig.tell(steps("1", 2))
                await until(lambda: gone.under_way)
                broken = True
                await dispatcher.exchange([])
                await anyio.sleep(60)
                broken = False
                await dispatcher.exchange([outlet(back)])
                await until(lambda: len(back.took) == 2, seconds=60)
            assert gone.took == []
            assert back.taken == ["1/life/1", "1/life/2"]

    virtually(body)


def test_a_record_that_a_person_must_mend_ends_the_dispatcher() -> None:
    async def body() -> None:
        async with rigged() as rig:

            def fails(name: str) -> None:
                if name == "settle":
                    raise StoreRefused("the record was replaced")

            rig.fragile(fails)

            async def serve() -> None:
                async with rig.telling(outlet(ScriptedSink())):
                    await rig.tell(steps("1", 1))
                    await anyio.sleep(600)

            with pytest.raises(ExceptionGroup) as caught:
                await serve()
            found = caught.value.subgroup(StoreRefused)
            assert found is not None

    virtually(body)


def test_an_acknowledgement_that_cannot_be_stored_is_stored_before_that_sink_sends_anything_else() -> None:
    async def body() -> None:
        async with rigged() as rig:
            locked = False
            begun_at_failures: list[int] = []

            def fails(name: str) -> None:
                if locked and name == "settle":
                    begun_at_failures.append(len(sink.tried))
                    raise StoreUnavailable("locked")

            rig.fragile(fails)
            sink = ScriptedSink(half_a_second)
            async with rig.telling(outlet(sink, concurrency=2)):
                await rig.tell([draft for run in range(20) for draft in steps(str(run), 2)])
                await anyio.sleep(0.1)
                assert len(sink.tried) == 2
                locked = True
                await anyio.sleep(600)
                assert len(begun_at_failures) > 100
                assert set(begun_at_failures) == {begun_at_failures[0]} == {len(sink.tried)}
                assert rig.gate.closed_since is not None
                assert await rig.owed() == 40
                locked = False
                await until(lambda: len(sink.took) == 40, seconds=60)
            assert len(set(sink.taken)) == 40

    virtually(body)


def test_no_send_begins_between_the_failure_of_an_acknowledgement_and_its_storing() -> None:
    """The claim that was under way when the settlement failed succeeds: what it brings must wait all the same."""

    async def body() -> None:
        async with rigged() as rig:
            settling_fails = False
            failed_at: list[float] = []

            def fails(name: str) -> None:
                if name == "settle" and settling_fails:
                    failed_at.append(anyio.current_time())
                    raise StoreUnavailable("locked")

            rig.fragile(fails)
            claim = rig.store.claim

            async def slow_claim(*arguments: object, **named: object) -> object:
                await anyio.sleep(0.3)
                return await claim(*arguments, **named)  # type: ignore[arg-type]

            rig.store.claim = slow_claim  # type: ignore[method-assign,assignment]

            async def answer(_: Sequence[Event]) -> None:
                await anyio.sleep(0.7)

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 1))
                await until(lambda: sink.tried)
                settling_fails = True
                await anyio.sleep(0.5)
                await rig.tell(steps("2", 1))  # its claim is under way when the settlement of run 1 fails
                await anyio.sleep(30)
                assert failed_at
                assert sink.tries("2/life/1") == []
                settling_fails = False
                await until(lambda: len(sink.took) == 2, seconds=60)

    virtually(body)
