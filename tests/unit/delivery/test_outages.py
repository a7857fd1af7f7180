"""What others are told of a sink's outage, what a pause does, what a fallback gets, and how much is sent at once."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest

from poller.core.deliveries import UNTIL_RESUMED, AttemptOutcome, DeliveryState
from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from tests.unit.delivery.rig import SCOPE, Rig, ScriptedSink, outlet, rejects, rigged, steps, until
from tests.unit.polling.simulation import virtually

MINUTE, HOUR = 60.0, 3600.0


class FarEnd:
    """It is down, or it is not."""

    def __init__(self, *, down: bool = False) -> None:
        self.down = down

    def answer(self, events: Sequence[Event]) -> None:
        if self.down:
            raise Retry("503 Service Unavailable")


async def told(rig: Rig, *kinds: str) -> list[Event]:
    return [event for event in await rig.store.events() if event.kind in (kinds or ("sink_failing", "sink_recovered"))]


# --- outages are told -------------------------------------------------------------------------------------------------


def test_an_outage_is_told_to_the_other_sinks_once_it_has_lasted_and_once_when_it_is_over() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd(down=True)
            down, other = ScriptedSink(far_end.answer), ScriptedSink()
            async with rig.telling(outlet(down, "down"), outlet(other, "other")):
                await rig.tell([draft for number in range(6) for draft in steps(str(number), 1)])
                await anyio.sleep(30)
                assert await told(rig) == []
                await until(lambda: any(event.kind == "sink_failing" for event in other.took), 2 * MINUTE)
                await anyio.sleep(10 * MINUTE)
                far_end.down = False
                await until(lambda: any(event.kind == "sink_recovered" for event in other.took), 6 * MINUTE)
                await anyio.sleep(10 * MINUTE)
            failing, recovered = await told(rig)
            assert (failing.subject, failing.data["detail"]) == ("down", "503 Service Unavailable")
            assert failing.source == "healthomics-poller/test"
            assert recovered.data["since"] == failing.data["since"]
            assert 10 * MINUTE < recovered.data["duration_seconds"] < 18 * MINUTE
            assert [event.id for event in down.took if event.run_id is None] == []
            assert len(down.took) == 6

    virtually(body)


def test_a_sink_that_fails_for_the_only_run_that_it_is_owed_is_told_of_too() -> None:
    """It may be the run's fault, and no other run is kept waiting: but nothing gets through, and somebody must know."""

    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd(down=True)
            down, other = ScriptedSink(far_end.answer), ScriptedSink()
            async with rig.telling(outlet(down, "down"), outlet(other, "other")) as dispatcher:
                await rig.tell(steps("1", 2))
                await until(lambda: any(event.kind == "sink_failing" for event in other.took), 3 * MINUTE)
                assert not dispatcher.workers["down"].judge.breaker.open
                far_end.down = False
                await until(lambda: any(event.kind == "sink_recovered" for event in other.took), 6 * MINUTE)
            assert [event.kind for event in await told(rig)] == ["sink_failing", "sink_recovered"]
            assert down.taken == ["1/life/1", "1/life/2"]

    virtually(body)


def test_an_outage_that_is_short_is_not_told() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd(down=True)
            async with rig.telling(outlet(ScriptedSink(far_end.answer), "down"), outlet(ScriptedSink(), "other")):
                await rig.tell([draft for number in range(6) for draft in steps(str(number), 1)])
                await anyio.sleep(5)
                far_end.down = False
                await anyio.sleep(10 * MINUTE)
            assert await rig.owed() == 0
            assert await told(rig) == []

    virtually(body)


def test_a_restart_amid_an_outage_tells_it_no_second_time_and_its_end_once() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd(down=True)
            down, other = ScriptedSink(far_end.answer), ScriptedSink()
            for _ in range(3):
                async with rig.telling(outlet(down, "down"), outlet(other, "other")):
                    await rig.tell([draft for number in range(6) for draft in steps(str(number), 1)])
                    await anyio.sleep(10 * MINUTE)
            assert [event.kind for event in await told(rig)] == ["sink_failing"]
            far_end.down = False
            async with rig.telling(outlet(down, "down"), outlet(other, "other")):
                await anyio.sleep(10 * MINUTE)
            async with rig.telling(outlet(down, "down"), outlet(other, "other")):
                await anyio.sleep(10 * MINUTE)
            assert [event.kind for event in await told(rig)] == ["sink_failing", "sink_recovered"]
            assert [row.failing_since for row in await rig.store.sinks()] == [None, None]

    virtually(body)


def test_a_crash_before_the_end_of_an_outage_was_told_tells_it_after_the_restart() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd(down=True)
            down = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(down, "down"), outlet(ScriptedSink(), "other")):
                await rig.tell([draft for number in range(6) for draft in steps(str(number), 2)])
                await anyio.sleep(10 * MINUTE)
                far_end.down = False
                await until(lambda: down.took, 6 * MINUTE)
            assert [event.kind for event in await told(rig)] == ["sink_failing"]
            async with rig.telling(outlet(down, "down"), outlet(ScriptedSink(), "other")):
                await anyio.sleep(MINUTE)
            assert [event.kind for event in await told(rig)] == ["sink_failing", "sink_recovered"]

    virtually(body)


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_to_a_sink_that_is_paused_and_all_of_it_in_order_afterwards() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink, other = ScriptedSink(), ScriptedSink()
            async with rig.telling(outlet(sink), outlet(other, "other")) as dispatcher:
                assert await rig.store.pause("hook", UNTIL_RESUMED)
                await anyio.sleep(2)
                await rig.tell(steps("1", 3))
                await anyio.sleep(10 * MINUTE)
                await rig.tell(steps("1", 3, 4))
                await until(lambda: len(other.took) == 6)
                assert sink.tried == []
                assert dispatcher.workers["hook"].paused
                await rig.store.pause("hook", None)
                await until(lambda: len(sink.took) == 6, 3)
            assert sink.taken == [f"1/life/{number}" for number in range(1, 7)]

    virtually(body)


@pytest.mark.parametrize("paused", [True, False])
def test_a_sink_that_goes_on_is_tried_at_once_also_in_an_outage(paused: bool) -> None:
    """Probes come up to five minutes apart; who has mended the far end does not wait for the next one."""

    async def body() -> None:
        async with rigged() as rig:
            down = True

            def answer(_: Sequence[Event]) -> None:
                if down:
                    raise Retry("503 Service Unavailable", after=timedelta(minutes=4))

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)) as dispatcher:
                await rig.tell([*steps("1", 3), *steps("2", 3), *steps("3", 3), *steps("4", 3), *steps("5", 3)])
                await until(lambda: dispatcher.workers["hook"].judge.breaker.open, 60 * MINUTE)
                if paused:
                    await rig.store.pause("hook", UNTIL_RESUMED)
                await anyio.sleep(3)
                assert sink.took == []
                down, resumed = False, anyio.current_time()
                await rig.store.pause("hook", None if paused else rig.clock.now())
                await until(lambda: len(sink.took) == 15)
                first = next(at for at, _ in sink.tried if at >= resumed)
                assert first - resumed <= 5

    virtually(body)


def test_a_pause_of_some_time_ends_by_itself() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink()
            async with rig.telling(outlet(sink)):
                await rig.store.pause("hook", rig.clock.now() + timedelta(minutes=10))
                await anyio.sleep(2)
                await rig.tell(steps("1", 1))
                await anyio.sleep(10 * MINUTE - 10)
                assert sink.tried == []
                await until(lambda: sink.took, 12)
            assert [row.paused_until for row in await rig.store.sinks()] == [None]

    virtually(body)


def test_a_pause_outlives_a_restart_and_does_not_hold_up_a_stop() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink()
            async with rig.telling(outlet(sink)):
                await rig.store.pause("hook", UNTIL_RESUMED)
            async with rig.telling(outlet(sink)) as dispatcher:
                await rig.tell(steps("1", 1))
                await anyio.sleep(5 * MINUTE)
                with anyio.fail_after(2):
                    await dispatcher.drained()
            assert sink.tried == []
            assert await rig.owed() == 1

    virtually(body)


def test_what_was_claimed_ahead_of_a_pause_is_not_sent() -> None:
    async def body() -> None:
        async with rigged() as rig:

            async def slow(_: Sequence[Event]) -> None:
                await anyio.sleep(1)

            sink = ScriptedSink(slow)
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([draft for number in range(50) for draft in steps(str(number), 1)])
                await until(lambda: len(sink.took) == 3)
                await rig.store.pause("hook", UNTIL_RESUMED)
                await anyio.sleep(5 * MINUTE)
                assert len(sink.took) <= 6
                await rig.store.pause("hook", None)
                await until(lambda: len(sink.took) == 50)
            assert len(sink.tried) == 50

    virtually(body)


async def test_a_sink_that_the_record_does_not_know_cannot_be_paused() -> None:
    async with rigged() as rig:
        assert not await rig.store.pause("nobody", UNTIL_RESUMED)


# --- fallbacks --------------------------------------------------------------------------------------------------------


def test_what_was_claimed_ahead_and_is_forgotten_is_not_sent() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink = ScriptedSink(lambda _: anyio.sleep(1))
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([draft for number in range(50) for draft in steps(str(number), 1)])
                await anyio.sleep(2)
                assert await rig.store.forget(SCOPE, "40", rig.clock.now())
                await anyio.sleep(MINUTE)
            assert sink.tries("40/life/1") == []
            assert len(sink.took) == 49

    virtually(body)


def test_what_a_sink_gives_up_is_owed_to_its_fallback_whatever_that_one_takes_else() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink, other = rejects("1/life/2"), ScriptedSink()
            async with rig.telling(outlet(sink, fallback="other"), outlet(other, "other", events=("blind",))):
                await rig.tell(steps("1", 3))
                await until(lambda: other.took)
                await anyio.sleep(MINUTE)
            assert sink.taken == ["1/life/1", "1/life/3"]
            assert other.taken == ["1/life/2"]
            (dead,) = await rig.rows("hook", DeliveryState.DEAD)
            assert dead.event_id == "1/life/2"

    virtually(body)


def test_a_fallback_that_was_owed_the_event_anyway_gets_it_once() -> None:
    async def body() -> None:
        async with rigged() as rig:
            sink, other = rejects("1/life/2"), ScriptedSink()
            async with rig.telling(outlet(sink, fallback="other"), outlet(other, "other")):
                await rig.tell(steps("1", 3))
                await anyio.sleep(MINUTE)
            assert other.taken == ["1/life/1", "1/life/2", "1/life/3"]

    virtually(body)


def test_the_age_of_what_was_too_old_for_a_sink_counts_anew_at_its_fallback() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end, other = FarEnd(down=True), ScriptedSink()
            down = outlet(ScriptedSink(far_end.answer), fallback="other", max_age=timedelta(minutes=10))
            async with rig.telling(down, outlet(other, "other", events=("blind",), max_age=timedelta(minutes=10))):
                await rig.tell(steps("1", 2))
                await until(lambda: len(other.took) == 2, HOUR)
            assert other.taken == ["1/life/1", "1/life/2"]

    virtually(body)


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_each_failed_attempt_is_kept_with_what_the_far_end_said() -> None:
    async def body() -> None:
        async with rigged() as rig:
            answers: list[Exception] = [Retry("500: first"), Retry("500: second"), Rejected("422: third")]

            def answer(_: Sequence[Event]) -> None:
                raise answers.pop(0)

            async with rig.telling(outlet(ScriptedSink(answer))):
                await rig.tell(steps("1", 1))
                await until(lambda: not answers)
                await anyio.sleep(1)
            (row,) = await rig.rows()
            kept = await rig.store.attempts(row.id)
            assert [(one.number, one.outcome, one.error) for one in kept] == [
                (1, AttemptOutcome.FAILED, "500: first"),
                (2, AttemptOutcome.FAILED, "500: second"),
                (3, AttemptOutcome.REJECTED, "422: third"),
            ]
            assert kept[0].at < kept[1].at < kept[2].at
            await rig.store.forget("lab", "1", rig.clock.now())
            assert await rig.store.attempts(row.id) == []

    virtually(body)


def test_of_very_many_attempts_the_last_ones_are_kept() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd(down=True)
            async with rig.telling(outlet(ScriptedSink(far_end.answer), retry_waits=(timedelta(seconds=4),))):
                await rig.tell(steps("1", 1))
                await anyio.sleep(10 * MINUTE)
            (row,) = await rig.rows()
            kept = [one.number for one in await rig.store.attempts(row.id)]
            assert row.attempts > 100
            assert kept == list(range(row.attempts - 49, row.attempts + 1))

    virtually(body)


def test_a_sink_waits_between_attempts_as_it_is_told() -> None:
    async def body() -> None:
        async with rigged(chance=lambda: 0.999999) as rig:
            sink = rejects()

            def answer(events: Sequence[Event]) -> None:
                if events[0].id == "1/life/1":
                    raise Retry("500")

            sink.answer = answer
            waits = tuple(timedelta(seconds=seconds) for seconds in (10, 50, 200))
            async with rig.telling(outlet(sink, retry_waits=waits, max_attempts=5)):
                await rig.tell(steps("1", 1))
                for number in range(1, 80):
                    await rig.tell(steps("2", 1, number))
                    await anyio.sleep(8)
            tries = sink.tries("1/life/1")
            gaps = [round(later - sooner, -1) for sooner, later in pairwise(tries)]
            assert gaps == [10, 10, 50, 200, 200]  # the first one told nothing yet of the event itself

    virtually(body)


# --- how much at once -------------------------------------------------------------------------------------------------


def test_a_far_end_that_has_too_much_to_do_gets_less_at_once_and_more_again_later() -> None:
    async def body() -> None:
        async with rigged() as rig:
            most, bears, under_way = 0, 4, 0

            async def answer(_: Sequence[Event]) -> None:
                nonlocal most, under_way
                under_way += 1
                most = max(most, under_way)
                try:
                    if under_way > bears:
                        raise Retry("429", crowded=True)
                    await anyio.sleep(1)
                finally:
                    under_way -= 1

            async with rig.telling(outlet(ScriptedSink(answer), concurrency=64)) as dispatcher:
                await rig.tell([draft for number in range(2000) for draft in steps(str(number), 1)])
                await anyio.sleep(2 * MINUTE)
                most = 0
                await anyio.sleep(2 * MINUTE)
                assert most <= 2 * bears
                bears = 64
                await anyio.sleep(20 * MINUTE)
                assert await rig.owed() == 0
                assert dispatcher.workers["hook"].concurrency.allowed > 16

    virtually(body)


def test_while_a_far_end_asks_to_be_left_alone_nothing_is_sent_to_it_and_a_stop_does_not_wait() -> None:
    async def body() -> None:
        async with rigged() as rig:
            asked_at: list[float] = []

            def answer(events: Sequence[Event]) -> None:
                if not asked_at:
                    asked_at.append(rig.clock.monotonic())
                    raise Retry("429", after=timedelta(minutes=2), crowded=True)

            sink, other = ScriptedSink(answer), ScriptedSink()
            async with rig.telling(outlet(sink, concurrency=1), outlet(other, "other")) as dispatcher:
                await rig.tell([draft for number in range(20) for draft in steps(str(number), 1)])
                await anyio.sleep(MINUTE)
                assert (len(sink.tried), len(other.took)) == (1, 20)
                with anyio.fail_after(1):
                    await dispatcher.drained()
                await until(lambda: len(sink.took) == 20, 3 * MINUTE)
            assert 2 * MINUTE <= sink.tried[1][0] - asked_at[0] < 2 * MINUTE + 1

    virtually(body)


def test_somebody_who_resumes_a_sink_has_it_tried_although_it_asked_to_be_left_alone() -> None:
    async def body() -> None:
        async with rigged() as rig:
            answers = iter([Retry("429", after=timedelta(hours=1), crowded=True)])

            def answer(events: Sequence[Event]) -> None:
                if (error := next(answers, None)) is not None:
                    raise error

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell(steps("1", 1) + steps("2", 1))
                await anyio.sleep(MINUTE)
                assert len(sink.tried) == 1
                await rig.store.pause("hook", rig.clock.now())  # as `sinks resume` does
                await until(lambda: len(sink.took) == 2, 5)

    virtually(body)


def test_after_an_outage_the_far_end_is_not_buried_under_what_it_missed() -> None:
    async def body() -> None:
        async with rigged() as rig:
            down, seen = True, []

            async def answer(_: Sequence[Event]) -> None:
                if down:
                    raise Retry("503")
                seen.append(sink.under_way)
                await anyio.sleep(1)

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink, concurrency=32)):
                await rig.tell([draft for number in range(500) for draft in steps(str(number), 1)])
                await anyio.sleep(5 * MINUTE)
                down = False
                await until(lambda: len(sink.took) == 500, 10 * MINUTE)
            assert seen[:3] == [1, 1, 2]
            assert max(seen[:20]) < 16
            assert max(seen) > 16

    virtually(body)
