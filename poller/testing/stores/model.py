"""Random calls on a store and on a simple model of it, which must agree."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from poller.core.deliveries import Delivery, DeliveryState, Settlement
from poller.core.drafts import Draft
from poller.core.routing import Route
from poller.ports import Store
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, DAY, MINUTE, sample_draft, tell


@dataclass
class _Owed:
    """One delivery of the model."""

    sink: str
    lane: str
    position: int
    event_id: str
    due: datetime
    state: DeliveryState = DeliveryState.PENDING
    claimed: bool = False
    attempts: int = 0
    tried: datetime | None = None
    number: int = 0


@dataclass
class _Model:
    """The record as plain lists, searched through from the start each time."""

    told: dict[str, int] = field(default_factory=dict)
    sequences: list[tuple[str, int]] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    owed: list[_Owed] = field(default_factory=list)
    routes: tuple[str, ...] = ()

    def commit(self, drafts: Iterable[Draft], at: datetime) -> list[int]:
        positions = []
        for draft in drafts:
            if draft.id in self.told:
                continue
            position = self.told[draft.id] = len(self.told) + 1
            life = (draft.source, draft.incarnation or "")
            self.numbers[life] = self.numbers.get(life, 0) + 1
            self.sequences.append((draft.id, self.numbers[life]))
            for sink in self.routes:
                self.owed.append(_Owed(sink, draft.source, position, draft.id, at))
            positions.append(position)
        return positions

    def lane(self, sink: str, lane: str) -> list[_Owed]:
        return [
            one for one in self.owed if one.sink == sink and one.lane == lane and one.state is DeliveryState.PENDING
        ]

    def heads(self, sink: str) -> list[_Owed]:
        lanes = dict.fromkeys(one.lane for one in self.owed if one.sink == sink)
        return [pending[0] for lane in lanes if (pending := self.lane(sink, lane))]

    def settle(self, one: _Owed, state: DeliveryState, at: datetime, due: datetime) -> None:
        one.state, one.due, one.tried, one.claimed = state, due, at, False
        if state is not DeliveryState.PENDING and (rest := self.lane(one.sink, one.lane)):
            rest[0].due = at

    def ready(self, sink: str) -> list[_Owed]:
        return [one for one in self.heads(sink) if not one.claimed]


SINKS = st.sampled_from(["hook", "topic", "file"])
SETTLED = (DeliveryState.PENDING, DeliveryState.ACKNOWLEDGED, DeliveryState.DEAD)
"""How an attempt can end."""
DRAFTS = st.builds(
    sample_draft,
    st.sampled_from(["1", "2", "3"]),
    st.integers(1, 6),
    incarnation=st.sampled_from(["life", "next"]),
)


class StoreMachine(RuleBasedStateMachine):
    """Random calls on a store and on the model; `opened`, `name` and `closes` come from the conformance class."""

    opened: Any
    name: Any
    closes = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = _Model()
        self.now = AT
        self.stack = AsyncExitStack()
        self.store: Store = self.runner.run(self._open())

    async def _open(self) -> Store:
        self.stack = AsyncExitStack()
        store: Store = await self.stack.enter_async_context(self.opened(self.name))
        await store.hold("machine")
        await store.use_routes([Route(name) for name in self.model.routes], self.now)
        return store

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    @rule(drafts=st.lists(DRAFTS, max_size=6))
    def commit(self, drafts: list[Draft]) -> None:
        positions = self.runner.run(tell(self.store, *drafts, at=self.now))
        assert positions == self.model.commit(drafts, self.now)

    @rule(names=st.lists(SINKS, unique=True))
    def use_routes(self, names: list[str]) -> None:
        self.runner.run(self.store.use_routes([Route(name) for name in names], self.now))
        self.model.routes = tuple(names)

    @rule(sink=SINKS, limit=st.integers(1, 3))
    def claim(self, sink: str, limit: int) -> None:
        due = [one for one in self.model.ready(sink) if one.due <= self.now]
        expected = sorted(due, key=lambda one: (one.due, one.position))[:limit]
        self._claimed(expected, self.runner.run(self.store.claim(sink, now=self.now, limit=limit)))

    @rule(sink=SINKS)
    def probe(self, sink: str) -> None:
        ready = self.model.ready(sink)
        longest = min(ready, key=lambda one: (one.tried or AT - DAY, one.position), default=None)
        self._claimed([longest] if longest is not None else [], self.runner.run(self.store.probe(sink)))

    @rule(data=st.data(), state=st.sampled_from(SETTLED), wait=st.integers(0, 5))
    def settle(self, data: st.DataObject, state: DeliveryState, wait: int) -> None:
        chosen = self._some_claimed(data)
        due = self.now + wait * MINUTE
        self.runner.run(
            self.store.settle([Settlement(one.number, state, self.now, due, one.attempts + 1) for one in chosen])
        )
        for one in chosen:
            one.attempts += 1
            self.model.settle(one, state, self.now, due)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        chosen = self._some_claimed(data)
        self.runner.run(self.store.release([one.number for one in chosen]))
        for one in chosen:
            one.claimed = False

    @rule(sink=SINKS)
    def make_due(self, sink: str) -> None:
        self.runner.run(self.store.make_due(sink, self.now))
        for one in self.model.heads(sink):
            one.due = self.now

    @rule(minutes=st.integers(1, 4))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @precondition(lambda self: self.closes)
    @rule()
    def restart(self) -> None:
        self.runner.run(self.stack.aclose())
        self.store = self.runner.run(self._open())
        for one in self.model.owed:
            one.claimed = False

    @invariant()
    def what_is_told_agrees(self) -> None:
        events = self.runner.run(self.store.events())
        assert [(event.id, event.sequence) for event in events] == self.model.sequences
        assert self.runner.run(self.store.last_position()) == len(self.model.told)

    @invariant()
    def what_is_owed_agrees(self) -> None:
        rows = self.runner.run(self.store.deliveries())
        listed = {(row.sink, row.event_id): (row.state, row.attempts, row.parked) for row in rows}
        assert len(rows) == len(listed)
        assert listed == {
            (one.sink, one.event_id): (one.state, one.attempts, one.sink not in self.model.routes)
            for one in self.model.owed
        }
        for sink in ("hook", "topic", "file"):
            due = min((one.due for one in self.model.ready(sink)), default=None)
            assert self.runner.run(self.store.next_due(sink)) == due

    def _some_claimed(self, data: st.DataObject) -> list[_Owed]:
        claimed = [one for one in self.model.owed if one.claimed]
        return data.draw(st.lists(st.sampled_from(claimed), unique_by=id)) if claimed else []

    def _claimed(self, expected: list[_Owed], came: Sequence[Delivery]) -> None:
        assert [(one.sink, one.event.position, one.attempts, one.last_attempt_at) for one in came] == [
            (one.sink, one.position, one.attempts, one.tried) for one in expected
        ]
        for one, delivery in zip(expected, came, strict=True):
            one.claimed, one.number = True, delivery.id


class ModelPromises(Opened):
    """Any order of calls does what it does to the model."""

    def test_any_order_of_calls_agrees_with_a_simple_model(self) -> None:
        self._run_model(reopens=False)

    def _run_model(self, *, reopens: bool) -> None:
        numbers = iter(range(1_000_000))

        class Machine(StoreMachine):
            opened = staticmethod(self.open_store)
            name = property(lambda machine: f"model-{machine.number}")
            closes = reopens

            def __init__(self) -> None:
                self.number = next(numbers)
                super().__init__()

        run_state_machine_as_test(
            Machine,
            settings=settings(
                deadline=None,
                max_examples=20,
                stateful_step_count=30,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
                database=None,
            ),
        )
