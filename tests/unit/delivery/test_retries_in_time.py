"""Hours of failing sends: how long is waited, what is an outage, what is poison, and what both leave alone."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest

from poller.core.deliveries import DeliveryState
from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.delivery import outlet as outlet_module
from tests.unit.delivery.rig import Rig, ScriptedSink, outlet, rigged, steps, until
from tests.unit.polling.simulation import virtually

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
WAITS = [0.5, 1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16384, 36000]


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process changes this record: it need not be looked at every second of a week."""
    monkeypatch.setattr(outlet_module, "LOOK_EVERY", 600.0)


class FarEnd:
    """What is down, and what is poison."""

    def __init__(self) -> None:
        self.down = False
        self.poison: set[str] = set()
        self.after: timedelta | None = None

    def answer(self, events: Sequence[Event]) -> None:
        if self.down or any(event.id in self.poison for event in events):
            raise Retry("503", after=self.after)


async def others_succeed(rig: Rig, seconds: float, every: float = MINUTE, run_id: str = "99", first: int = 1) -> None:
    """Another run has an event every so often."""
    for number in range(round(seconds / every)):
        await rig.tell(steps(run_id, 1, first + number))
        await anyio.sleep(every)


def gaps(times: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(times)]


# --- how long is waited -----------------------------------------------------------------------------------------------


def test_an_event_that_fails_while_others_succeed_waits_ever_longer_and_is_dead_after_12_attempts() -> None:
    async def body() -> None:
        async with rigged(chance=lambda: 0.999) as rig:
            far_end = FarEnd()
            far_end.poison = {"1/life/1"}
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("99", 1))
                await anyio.sleep(1)
                await rig.tell(steps("1", 2))
                for wait in WAITS[:11]:
                    await anyio.sleep(wait * 0.5)
                    assert await rig.owed() == 2
                    assert sink.tries("1/life/2") == []
                    await rig.tell(steps("99", 1, len(sink.tried) + 2))
                    await anyio.sleep(wait * 0.5)
                await until(lambda: "1/life/2" in sink.taken)
            tries = sink.tries("1/life/1")
            assert len(tries) == 12
            for gap, wait in zip(gaps(tries), WAITS, strict=False):
                assert wait * 0.99 <= gap <= wait + 0.05
            (dead,) = await rig.rows("hook", DeliveryState.DEAD)
            assert (dead.event_id, dead.error, dead.attempts) == ("1/life/1", "503", 12)

    virtually(body)


def test_the_wait_is_drawn_between_nothing_and_the_ceiling() -> None:
    async def body() -> None:
        draws = iter([0.0, 0.25, 0.5, 0.75] * 100)
        async with rigged(chance=lambda: next(draws)) as rig:
            far_end = FarEnd()
            far_end.poison = {"1/life/1"}
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 1))
                await anyio.sleep(30)
            observed = [gap / wait for gap, wait in zip(gaps(sink.tries("1/life/1")), WAITS, strict=False)]
            assert min(observed) < 0.3
            assert all(share <= 0.76 + 0.01 for share in observed)

    virtually(body)


@pytest.mark.parametrize(("asked", "honoured"), [(timedelta(minutes=20), 1200.0), (timedelta(hours=5), 3600.0)])
def test_retry_after_is_honoured_up_to_an_hour(asked: timedelta, honoured: float) -> None:
    async def body() -> None:
        async with rigged(chance=lambda: 0.0) as rig:
            far_end = FarEnd()
            far_end.poison, far_end.after = {"1/life/1"}, asked
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 1))
                await others_succeed(rig, honoured * 1.5)
            first, second = sink.tries("1/life/1")
            assert second - first == pytest.approx(honoured, abs=1)

    virtually(body)


# --- poison -----------------------------------------------------------------------------------------------------------


def test_a_poison_event_is_dead_and_frees_its_run_and_holds_no_other() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.poison = {"1/life/2"}
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("1", 3))
                await others_succeed(rig, 24 * HOUR, every=5 * MINUTE)
            assert 12 <= len(sink.tries("1/life/2")) < 40  # those without a success of others between do not count
            assert (await rig.states())["1/life/2"] is DeliveryState.DEAD
            assert sink.tries("1/life/2")[-1] < 8 * HOUR
            assert [event_id for event_id in sink.taken if event_id.startswith("1/")] == ["1/life/1", "1/life/3"]
            others = [at for at, ids in sink.tried if ids[0].startswith("99/")]
            assert max(gaps(others)) < 5 * MINUTE + 1

    virtually(body)


def test_two_poison_events_do_not_stop_the_sink_for_the_others() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.poison = {"1/life/1", "2/life/1"}
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                await rig.tell([*steps("1", 2), *steps("2", 2)])
                await others_succeed(rig, 24 * HOUR, every=5 * MINUTE)
            states = await rig.states()
            assert states["1/life/1"] is states["2/life/1"] is DeliveryState.DEAD
            assert {"1/life/2", "2/life/2"} <= set(sink.taken)
            waited = [
                sink.tries(row.event_id)[0] - 300 * (int(row.event_id.split("/")[2]) - 1)
                for row in await rig.rows()
                if row.event_id.startswith("99/")
            ]
            assert max(waited) <= 5 * MINUTE + 1  # the longest that a breaker which two of them opened may hold it up

    virtually(body)


def test_max_attempts_is_the_sinks_own() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.poison = {"1/life/1"}
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink, max_attempts=3)):
                await rig.tell(steps("99", 1))
                await anyio.sleep(1)
                await rig.tell(steps("1", 1))
                await others_succeed(rig, 60, every=1, first=2)
            assert 3 <= len(sink.tries("1/life/1")) <= 5  # not counted: one that no success of others precedes
            assert (await rig.states())["1/life/1"] is DeliveryState.DEAD

    virtually(body)


# --- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [1, 2, 40])
def test_an_outage_of_hours_costs_few_attempts_probes_every_five_minutes_and_kills_nothing(runs: int) -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                await rig.tell(steps("99", 1))
                await anyio.sleep(1)
                far_end.down = True
                for number in range(runs):
                    await rig.tell(steps(str(number), 3))
                await anyio.sleep(12 * HOUR)
                during = [at for at, _ in sink.tried[1:]]
                assert max(gaps([*during, anyio.current_time()])) <= 5 * MINUTE + 1
                assert len(during) < 12 * 60 * 2
                assert await rig.owed() == 3 * runs
                assert await rig.rows(state=DeliveryState.DEAD) == []
                far_end.down = False
                await until(lambda: len(sink.took) == 3 * runs + 1, seconds=5 * MINUTE + 2)
            for number in range(runs):
                mine = [event_id for event_id in sink.taken if event_id.startswith(f"{number}/")]
                assert mine == [f"{number}/life/{step}" for step in (1, 2, 3)]

    virtually(body)


def test_the_first_success_after_an_outage_makes_all_that_is_owed_due_in_the_order_of_the_record() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.down = True
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink, concurrency=1)):
                await rig.tell([draft for number in range(50) for draft in steps(str(number), 1)])
                await anyio.sleep(6 * HOUR)
                far_end.down = False
                await until(lambda: sink.took, seconds=5 * MINUTE + 1)
                began = anyio.current_time()
                await until(lambda: len(sink.took) == 50)
                assert anyio.current_time() - began < 1
            numbers = [int(event_id.split("/")[0]) for event_id in sink.taken[1:]]
            assert numbers == sorted(numbers)

    virtually(body)


def test_what_is_new_during_an_outage_starts_no_storm() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.down = True
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)):
                for number in range(1000):
                    await rig.tell(steps(str(number), 1))
                    await anyio.sleep(10)
            assert len(sink.tried) < 200

    virtually(body)


def test_no_number_of_restarts_in_an_outage_kills_an_event() -> None:
    """A new worker has seen neither failure nor success: the first failure it sees is no proof against the event."""

    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.down = True
            sink = ScriptedSink(far_end.answer)
            await rig.store.use_routes([], rig.clock.now())
            for number in range(30):
                async with rig.telling(outlet(sink)):
                    if number == 0:
                        await rig.tell(steps("1", 1))
                    await anyio.sleep(20 * MINUTE)
            assert len(sink.tried) > 60
            assert await rig.owed() == 1

    virtually(body)


def test_what_expires_in_an_outage_is_no_success_of_the_sink() -> None:
    """An event that is too old is dead without being sent: that neither ends the outage nor counts against others."""

    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.down = True
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink, max_age="1d")) as dispatcher:
                await rig.tell(steps("young", 1))
                await anyio.sleep(0.001)
                for number in range(200):
                    await rig.tell(steps(str(number), 1))
                    await anyio.sleep(10 * MINUTE)
                worker = dispatcher.workers["hook"]
                assert worker.judge.breaker.open
                assert worker.judge.breaker.successes == 0
                assert len(sink.tried) < 1200  # a probe every 2.5 minutes on average
            dead = await rig.rows(state=DeliveryState.DEAD)
            assert len(dead) > 20
            assert all("max_age" in (row.error or "") and "503" in (row.error or "") for row in dead)
            assert all(row.recorded_at <= rig.clock.now() - timedelta(days=1) for row in dead)

    virtually(body)


def test_an_event_older_than_max_age_is_dead_unsent_and_frees_its_run() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.poison = {"1/life/1"}
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink, max_age="2h", max_attempts=1000)):
                await rig.tell(steps("1", 1))
                await anyio.sleep(HOUR)
                await rig.tell(steps("1", 1, first=2))
                await until(lambda: sink.took, seconds=2 * HOUR)
            assert sink.taken == ["1/life/2"]
            assert max(sink.tries("1/life/1")) <= 2 * HOUR
            (dead,) = await rig.rows(state=DeliveryState.DEAD)
            assert dead.error == "older than max_age; last error: 503"

    virtually(body)


def test_a_rejection_shows_that_the_far_end_answers() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.down = True

            def answer(events: Sequence[Event]) -> None:
                far_end.answer(events)
                if events[0].id == "0/life/1":
                    raise Rejected("422")

            sink = ScriptedSink(answer)
            async with rig.telling(outlet(sink)) as dispatcher:
                await rig.tell([draft for number in range(20) for draft in steps(str(number), 1)])
                await anyio.sleep(HOUR)
                assert dispatcher.workers["hook"].judge.breaker.open
                far_end.down = False
                await until(lambda: len(sink.took) == 19, seconds=5 * MINUTE + 1)
                await dispatcher.drained()
            assert await rig.owed() == 0

    virtually(body)


def test_a_hiccup_of_seconds_that_many_sends_meet_at_once_is_over_soon_after_it_ends() -> None:
    async def body() -> None:
        async with rigged(chance=lambda: 0.999) as rig:
            far_end = FarEnd()
            far_end.down = True
            sink = ScriptedSink(far_end.answer)
            async with rig.telling(outlet(sink)) as dispatcher:
                await rig.tell([draft for number in range(200) for draft in steps(str(number), 1)])
                await anyio.sleep(4)
                assert dispatcher.workers["hook"].judge.breaker.open
                far_end.down = False
                await until(lambda: len(sink.took) == 200, seconds=5)
                assert not dispatcher.workers["hook"].judge.breaker.open
            assert sorted(sink.taken) == sorted(f"{number}/life/1" for number in range(200))

    virtually(body)


def test_an_outage_of_one_sink_delays_no_other() -> None:
    async def body() -> None:
        async with rigged() as rig:
            far_end = FarEnd()
            far_end.down = True
            down, fine = ScriptedSink(far_end.answer), ScriptedSink()
            async with rig.telling(outlet(down, "down"), outlet(fine, "fine")):
                for number in range(60):
                    await rig.tell(steps(str(number % 7), 1, number))
                    asked = anyio.current_time()
                    await until(lambda: f"{number % 7}/life/{number}" in fine.taken)  # noqa: B023 - awaited
                    assert anyio.current_time() - asked < 0.1
                    await anyio.sleep(MINUTE)
            assert down.took == []

    virtually(body)
