"""Whatever fails, hangs or ends: each sink gets each run's events in the order of the record, without gaps."""

import random
from collections import defaultdict
from collections.abc import Sequence

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.core.deliveries import DeliveryState
from poller.core.errors import Partial, Rejected, Retry, StoreUnavailable
from poller.core.events import Event
from poller.delivery import outlet as outlet_module
from poller.delivery.outlet import Outlet
from tests.unit.delivery.rig import ScriptedSink, outlet, rigged, steps
from tests.unit.polling.simulation import virtually


@pytest.fixture(autouse=True)
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "LOOK_EVERY", 600.0)


class Whims:
    """A far end that fails by chance, until it is calm; what it acknowledged, in order."""

    def __init__(self, seed: int, trouble: float) -> None:
        self.rng = random.Random(seed)
        self.trouble = trouble
        self.acknowledged: list[str] = []
        self.down = False

    async def answer(self, events: Sequence[Event]) -> None:
        if self.down:
            raise Retry("outage")
        if self.rng.random() < 0.3:
            await anyio.sleep(self.rng.uniform(0, 3))
        if self.rng.random() >= self.trouble:
            self.acknowledged += [event.id for event in events]
            return
        match self.rng.randrange(5):
            case 0:
                raise Retry("busy")
            case 1:
                raise ValueError("odd")
            case 2 if self.rng.random() < 0.3:
                raise Rejected("never")
            case 3:
                failed = {event.id: Retry("later") for event in events if self.rng.random() < 0.5}
                self.acknowledged += [event.id for event in events if event.id not in failed]
                raise Partial(dict(failed))
            case _:
                await anyio.sleep_forever()


def check_order(whims: Whims, dead: set[str], told: dict[str, int]) -> None:
    """First acknowledgements of each run are 1, 2, 3, … but for the dead, and a repetition is only of the last one."""
    last: dict[str, int] = defaultdict(int)
    for event_id in whims.acknowledged:
        run, _, text = event_id.split("/")
        step = int(text)
        assert step >= last[run], f"{event_id} after {last[run]}"  # the same one again: at least once
        between = {f"{run}/life/{number}" for number in range(last[run] + 1, step)}
        assert between <= dead, f"{event_id} overtook {between - dead}"
        last[run] = step
    for run, count in told.items():
        missing = {f"{run}/life/{number}" for number in range(last[run] + 1, count + 1)}
        assert missing <= dead


ACTS = st.one_of(
    st.tuples(st.just("tell"), st.integers(1, 8)),
    st.tuples(st.just("wait"), st.floats(0.001, 600)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("outage"), st.integers(0, 1)),
    st.tuples(st.just("lock"), st.floats(0.1, 60)),
    st.tuples(st.just("exchange"), st.integers(0, 1)),
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1000), trouble=st.floats(0, 0.8), batch=st.integers(1, 4), acts=st.lists(ACTS, max_size=12))
def test_no_failure_outage_crash_or_exchange_loses_repeats_out_of_order_or_reorders(
    seed: int, trouble: float, batch: int, acts: list[tuple[str, float]]
) -> None:
    async def body() -> None:
        rng = random.Random(seed)
        async with rigged(chance=rng.random) as rig:
            locked_until = 0.0

            def fails(name: str) -> None:
                if anyio.current_time() < locked_until and name not in ("deliveries", "commit_round", "use_routes"):
                    raise StoreUnavailable("locked")

            sound = rig.store
            rig.fragile(fails)
            whims = {name: Whims(seed + number, trouble) for number, name in enumerate(("one", "two"))}
            told: dict[str, int] = defaultdict(int)

            def outlets() -> list[Outlet]:
                return [
                    outlet(ScriptedSink(one.answer, batch_size=batch), name, timeout="5s")
                    for name, one in whims.items()
                ]

            async def play(remaining: list[tuple[str, float]]) -> None:
                """Act until a restart is wanted."""
                nonlocal locked_until
                async with rig.telling(*outlets()) as dispatcher:
                    while remaining:
                        act, amount = remaining.pop(0)
                        match act:
                            case "tell":
                                for _ in range(int(amount)):
                                    run = str(rng.randrange(4))
                                    told[run] += 1
                                    await rig.tell(steps(run, 1, told[run]))
                            case "wait":
                                await anyio.sleep(amount)
                            case "restart":
                                return
                            case "outage":
                                whims["one"].down = bool(amount)
                            case "lock":
                                locked_until = anyio.current_time() + amount
                                await anyio.sleep(amount / 2)
                            case _:
                                await dispatcher.exchange(outlets())

            remaining = list(acts)
            while remaining:
                await play(remaining)
                await anyio.sleep(rng.uniform(0, 5))
                # a process that ends takes its claims with it: the next one frees them when it takes the lock
                sound._holds = False  # type: ignore[attr-defined]
                await sound.hold("the next one")
            for one in whims.values():
                one.down, one.trouble = False, 0.0
            async with rig.telling(*outlets()):
                for _ in range(200):
                    await anyio.sleep(600)
                    if not await rig.owed():
                        break
            for name, one in whims.items():
                rows = await rig.rows(name)
                assert {row.state for row in rows} <= {DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD}
                assert len(rows) == sum(told.values())
                dead = {row.event_id for row in rows if row.state is DeliveryState.DEAD}
                acknowledged = {row.event_id for row in rows if row.state is DeliveryState.ACKNOWLEDGED}
                assert acknowledged <= set(one.acknowledged)
                check_order(one, dead, told)

    virtually(body)
