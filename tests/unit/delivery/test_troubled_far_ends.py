"""Far ends in every kind of trouble beside one that is well, on virtual time: nothing lost, nobody else waits."""

import random
from collections.abc import Sequence
from datetime import timedelta
from statistics import mean

import anyio

from poller.core.deliveries import DeliveryState, Selection
from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from tests.unit.delivery.rig import Rig, ScriptedSink, outlet, rigged, steps, until
from tests.unit.delivery.test_replays import replayed
from tests.unit.polling.simulation import virtually

HOUR = 3600.0
RUNS, STEPS, EVERY = 20, 4, 60.0
"""Twenty runs, of which each tells something every minute."""
TROUBLES = ("down", "busy", "hanging", "resetting", "picky")


class Trouble:
    """A far end that takes nothing in one way or another; `over` once it takes everything."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.over = False
        self.rng = random.Random(kind)

    async def answer(self, events: Sequence[Event]) -> None:
        await anyio.sleep(0.02)
        if self.over:
            return
        match self.kind:
            case "down":
                raise Retry("connection refused")
            case "busy":
                raise Retry("429", after=timedelta(minutes=2), crowded=True)
            case "hanging":
                await anyio.sleep(10 * HOUR)
            case "resetting" if self.rng.random() < 0.5:
                raise Retry("connection reset")
            case "picky" if any(int(event.id.split("/")[0]) % 5 == 0 for event in events):
                raise Rejected("422")


async def lags(rig: Rig, well: ScriptedSink, *troubled: tuple[str, ScriptedSink]) -> list[float]:
    """Seconds from the recording of each event to its acknowledgement by the far end that is well."""
    found = []
    outlets = [outlet(sink, name, timeout=timedelta(seconds=10)) for name, sink in (("well", well), *troubled)]
    async with rig.telling(*outlets):
        for step in range(1, STEPS + 1):
            before = len(well.took)
            begun = anyio.current_time()
            await rig.tell([draft for run in range(1, RUNS + 1) for draft in steps(str(run), 1, step)])
            for count in range(before + 1, before + RUNS + 1):
                await until(lambda: len(well.took) >= count)  # noqa: B023 - awaited
                found.append(anyio.current_time() - begun)
            await anyio.sleep(EVERY)
    return found


def well_one() -> ScriptedSink:
    async def answer(_: Sequence[Event]) -> None:
        await anyio.sleep(0.02)

    return ScriptedSink(answer)


def test_nothing_is_lost_and_whoever_is_well_hears_as_soon_as_on_a_quiet_day() -> None:
    async def body() -> None:
        async with rigged() as rig:
            quiet = await lags(rig, well_one())
        async with rigged() as rig:
            well = well_one()
            troubles = {kind: Trouble(kind) for kind in TROUBLES}
            sinks = {kind: ScriptedSink(trouble.answer) for kind, trouble in troubles.items()}
            beside = await lags(rig, well, *sinks.items())
            assert mean(beside) <= 1.2 * mean(quiet)
            assert max(beside) <= 1.2 * max(quiet)

            for trouble in troubles.values():
                trouble.over = True
            everything = {event_id for event_id in well.taken if "/life/" in event_id}  # beside what is told of outages
            assert len(everything) == RUNS * STEPS
            async with rig.telling(*(outlet(sink, kind) for kind, sink in sinks.items())):
                for kind in ("down", "busy", "hanging", "resetting"):
                    await until(lambda: set(sinks[kind].taken) >= everything, seconds=HOUR)  # noqa: B023 - awaited
                dead = await rig.rows(state=DeliveryState.DEAD)
                assert {row.sink for row in dead} == {"picky"}
                assert len(dead) == RUNS * STEPS / 5
                await replayed(rig, Selection(dead=True))
                await until(lambda: set(sinks["picky"].taken) >= everything)
            assert await rig.rows(state=DeliveryState.DEAD) == []
            for sink in (well, *sinks.values()):
                for run in range(1, RUNS + 1):
                    first_time = [one for one in dict.fromkeys(sink.taken) if one.startswith(f"{run}/")]
                    assert first_time == [f"{run}/life/{step}" for step in range(1, STEPS + 1)]

    virtually(body)
