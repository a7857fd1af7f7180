"""What is sent again, and what is moved: which, to whom, in which order, and what it does to all else."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.deliveries import UNTIL_RESUMED, DeliveryState, Selection
from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.testing.stores.samples import sample_draft
from tests.unit.delivery.rig import Rig, ScriptedSink, outlet, rejects, rigged, steps, until
from tests.unit.polling.simulation import virtually

MINUTE = 60.0


async def replayed(rig: Rig, wanted: Selection, *, to: str | None = None, limit: int = 3) -> str:
    """Replay all of it in small portions, as the command does; the id."""
    replay_id, after = f"replay-{rig.clock.monotonic()}", 0
    while True:
        last = await rig.store.replay(wanted, to=to, replay_id=replay_id, at=rig.clock.now(), after=after, limit=limit)
        if last is None:
            return replay_id
        after = last


def test_a_dead_letter_is_sent_again_with_the_same_bytes_and_a_mark_and_is_one_no_more() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = rejects("1/life/2")
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 3))
                await until(lambda: len(sink.took) == 2)
                assert [one.events for one in await rig.store.replayable(Selection(dead=True))] == [1]
                sink.answer = lambda _: None
                replay_id = await replayed(rig, Selection(dead=True, sink="hook"))
                await until(lambda: len(sink.took) == 3)
                await anyio.sleep(1)
            again = sink.took[-1]
            assert (again.id, again.replay) == ("1/life/2", replay_id)
            (stored,) = await rig.store.events(after=again.position - 1, limit=1)
            assert again.body == stored.body
            assert await rig.rows("hook", DeliveryState.DEAD) == []
            assert await rig.store.replayable(Selection(dead=True)) == []
            (row,) = await rig.store.deliveries(replay_id=replay_id)
            assert (row.state, row.event_id) == (DeliveryState.ACKNOWLEDGED, "1/life/2")

    virtually(body)


def test_a_replay_keeps_the_order_of_each_run_and_waits_for_nothing_else() -> None:
    async def body() -> None:
        async with rigged() as rig:
            down = False

            def answer(events: Sequence[Event]) -> None:
                if down and events[0].replay is None:
                    raise Retry("503")

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)):
                await rig.tell([draft for number in range(5) for draft in steps(str(number), 4)])
                await until(lambda: len(sink.took) == 20)
                down = True
                await rig.tell(steps("1", 1, 5))
                await replayed(rig, Selection(sink="hook"))
                await until(lambda: len(sink.took) == 40)
            again = [event for event in sink.took if event.replay is not None]
            for number in range(5):
                ids = [event.id for event in again if event.run_id == str(number)]
                assert ids == [f"{number}/life/{step}" for step in range(1, 5)]
            assert await rig.owed() == 1

    virtually(body)


def test_a_sink_that_is_named_gets_the_past_that_it_was_never_owed() -> None:
    async def body() -> None:
        async with rigged() as rig:
            old, new = ScriptedSink(), ScriptedSink()
            async with rig.telling(outlet(old)):
                await rig.tell(steps("1", 2) + steps("2", 2))
                await until(lambda: len(old.took) == 4)
            async with rig.telling(outlet(old), outlet(new, "new")):
                await replayed(rig, Selection(run_id="1"), to="new")
                await until(lambda: len(new.took) == 2)
                await anyio.sleep(MINUTE)
            assert new.taken == ["1/life/1", "1/life/2"]
            assert len(old.took) == 4

    virtually(body)


def test_what_is_still_owed_is_not_replayed() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink()
            async with rig.telling(outlet(sink)):
                await rig.store.pause("hook", UNTIL_RESUMED)
                await anyio.sleep(2)
                await rig.tell(steps("1", 2))
                assert await rig.store.replayable(Selection(sink="hook")) == []
                await replayed(rig, Selection(sink="hook"))
                await rig.store.pause("hook", None)
                await until(lambda: len(sink.took) == 2)
                await anyio.sleep(MINUTE)
            assert len(sink.took) == 2

    virtually(body)


def test_each_part_of_a_selection_narrows_it() -> None:
    async def body() -> None:
        async with rigged() as rig:
            async with rig.telling(outlet(ScriptedSink()), outlet(ScriptedSink(), "other", events=("failed",))):
                await rig.tell([sample_draft("1", 1), sample_draft("1", 2, kind="failed")])
                await anyio.sleep(MINUTE)
                middle = rig.clock.now()
                await rig.tell([sample_draft("2", 1), sample_draft("2", 2, kind="failed"), sample_draft("2", 3)])
                await anyio.sleep(MINUTE)
            whole = Selection()

            async def count(wanted: Selection) -> int:
                return sum(one.events for one in await rig.store.replayable(wanted))

            assert await count(whole) == 7  # the other sink had two of them
            assert await count(replace(whole, run_id="1")) == 3
            assert await count(replace(whole, scope="elsewhere")) == 0
            assert await count(replace(whole, sink="other")) == 2
            assert await count(replace(whole, types=("healthomics.run.failed",))) == 4
            assert await count(replace(whole, since=middle)) == 4
            assert await count(replace(whole, until=middle)) == 3
            assert await count(replace(whole, since=middle, until=middle)) == 0
            assert await count(replace(whole, event_ids=("1/life/1", "2/life/3"))) == 2
            assert await count(replace(whole, dead=True)) == 0

    virtually(body)


def test_a_batch_holds_one_event_of_a_run_also_beside_a_replay() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink(batch_size=10)
            async with rig.telling(outlet(sink)) as dispatcher:
                await rig.tell([draft for number in range(4) for draft in steps(str(number), 2)])
                await until(lambda: len(sink.took) == 8)
                await rig.store.pause("hook", UNTIL_RESUMED)
                await until(lambda: dispatcher.workers["hook"].paused)
                await rig.tell([draft for number in range(4) for draft in steps(str(number), 2, 3)])
                await replayed(rig, Selection(sink="hook"))
                await rig.store.pause("hook", None)
                await until(lambda: len(sink.took) == 24)
            runs = [[one.partition("/")[0] for one in ids] for _, ids in sink.tried]
            assert all(len(set(batch)) == len(batch) for batch in runs)
            assert max(map(len, runs)) > 1

    virtually(body)


# --- moves ------------------------------------------------------------------------------------------------------------


def test_what_a_sink_that_is_gone_is_owed_is_moved_in_order_and_not_owed_twice() -> None:
    async def body() -> None:
        async with rigged() as rig:

            def down(_: Sequence[Event]) -> None:
                raise Retry("503")

            new = ScriptedSink()
            async with rig.telling(outlet(ScriptedSink(down), "old")):
                await rig.tell(steps("1", 3) + steps("2", 1))
                await anyio.sleep(MINUTE)
            async with rig.telling(outlet(new, "new")) as dispatcher:
                await rig.store.pause("new", UNTIL_RESUMED)
                await until(lambda: dispatcher.workers["new"].paused)
                await rig.tell(steps("1", 1, 4))
                while await rig.store.move("old", "new", rig.clock.now(), limit=2):
                    pass
                assert await rig.owed("old") == 0
                await rig.store.pause("new", None)
                await until(lambda: len(new.took) == 5)
            assert [one for one in new.taken if one.startswith("1/")] == [f"1/life/{step}" for step in range(1, 5)]

    virtually(body)


def test_what_the_new_sink_was_owed_anyway_is_superseded() -> None:
    async def body() -> None:
        async with rigged() as rig:

            def down(_: Sequence[Event]) -> None:
                raise Retry("503")

            both = ScriptedSink()
            async with rig.telling(outlet(ScriptedSink(down), "old"), outlet(both, "new")):
                await rig.tell(steps("1", 3))
                await until(lambda: len(both.took) == 3)
            async with rig.telling(outlet(both, "new")):
                assert await rig.store.move("old", "new", rig.clock.now()) == 3
                assert await rig.store.move("old", "new", rig.clock.now()) == 0
                await anyio.sleep(MINUTE)
            assert len(both.took) == 3
            assert {row.state for row in await rig.rows("old")} == {DeliveryState.SUPERSEDED}

    virtually(body)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["tell", "replay", "dead", "fail", "mend", "wait", "move"]), max_size=14), st.data())
def test_whatever_is_replayed_and_moved_each_lane_keeps_its_order_and_nothing_is_lost(
    story: list[str], data: st.DataObject
) -> None:
    async def body() -> None:
        async with rigged() as rig:
            failing = False

            def answer(events: Sequence[Event]) -> None:
                if failing:
                    raise Rejected("422") if events[0].id.endswith("3") else Retry("503")

            first, second = ScriptedSink(answer), ScriptedSink()
            told = dict.fromkeys("123", 0)
            async with rig.telling(outlet(first, "first"), outlet(second, "second")):
                for what in story:
                    match what:
                        case "tell":
                            run = data.draw(st.sampled_from("123"))
                            await rig.tell(steps(run, 2, told[run] + 1))
                            told[run] += 2
                        case "replay":
                            await replayed(rig, Selection(sink=data.draw(st.sampled_from(["first", "second"]))))
                        case "dead":
                            await replayed(rig, Selection(dead=True))
                        case "move":
                            while await rig.store.move("first", "second", rig.clock.now(), limit=2):
                                pass
                        case "wait":
                            await anyio.sleep(2)
                        case _:
                            failing = what == "fail"
                failing = False
                await told_all(rig)
                await replayed(rig, Selection(dead=True))
                await told_all(rig)
            assert await rig.owed() == 0
            assert await rig.rows(state=DeliveryState.DEAD) == []
            for run, count in told.items():
                expected = {f"{run}/life/{step}" for step in range(1, count + 1)}
                assert expected <= {*first.taken, *second.taken}
            for sink in (first, second):
                lanes: dict[tuple[str | None, str | None], list[int]] = {}
                for event in sink.took:
                    lanes.setdefault((event.run_id, event.replay), []).append(event.position)
                if "move" not in story:
                    assert all(positions == sorted(positions) for positions in lanes.values())

    virtually(body)


async def told_all(rig: Rig) -> None:
    """Let virtual time pass until nothing is owed."""
    for _ in range(20):
        if not await rig.owed():
            return
        await anyio.sleep(MINUTE)
    raise AssertionError(f"after 20 minutes {await rig.owed()} deliveries are still owed")
