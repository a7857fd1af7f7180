"""A dispatcher over an in-memory record and sinks that do as they are told, on a virtual clock."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel

from poller.bell import Bell
from poller.core.deliveries import DeliveryRow, DeliveryState
from poller.core.drafts import Draft
from poller.core.errors import Rejected
from poller.core.events import Event
from poller.core.values import SinkSettings
from poller.delivery.dispatcher import Dispatcher
from poller.delivery.outlet import Outlet
from poller.foundation import Foundation
from poller.gate import RecordGate
from poller.ports.records import Round
from poller.ports.store import Store
from poller.store.opening import open_store
from poller.telemetry import Tally
from poller.testing.stores.samples import sample_draft
from tests.unit.polling.simulation import VirtualClock

SCOPE = "lab"
Answer = Callable[[Sequence[Event]], Awaitable[None] | None]


class ScriptedSink:
    """A sink whose far end is a function: what it raises, the sink raises. `tried` and `took` tell what it saw when."""

    settings_model = SinkSettings

    def __init__(self, answer: Answer = lambda _: None, *, batch_size: int = 1) -> None:
        self.answer = answer
        self.batch_size = batch_size
        self.tried: list[tuple[float, tuple[str, ...]]] = []
        self.took: list[Event] = []
        self.under_way = 0

    async def send(self, events: Sequence[Event]) -> None:
        self.tried.append((VirtualClock().monotonic(), tuple(event.id for event in events)))
        self.under_way += 1
        try:
            waiting = self.answer(events)
            if waiting is not None:
                await waiting
            self.took += events
        finally:
            self.under_way -= 1

    @property
    def taken(self) -> list[str]:
        return [event.id for event in self.took]

    def tries(self, event_id: str) -> list[float]:
        """When an event was sent."""
        return [at for at, ids in self.tried if event_id in ids]


def rejects(*ids: str) -> ScriptedSink:
    """A sink whose far end will never take these events."""

    def answer(events: Sequence[Event]) -> None:
        if any(event.id in ids for event in events):
            raise Rejected("422")

    return ScriptedSink(answer)


def outlet(sink: ScriptedSink, name: str = "hook", **settings: Any) -> Outlet:
    return Outlet(sink, SinkSettings(name=name, type="scripted", **settings))


def steps(run_id: str, count: int, first: int = 1) -> list[Draft]:
    """The drafts of a run's next events; their ids are `<run>/life/<number>`."""
    return [sample_draft(run_id, step) for step in range(first, first + count)]


class FragileStore:
    """A store whose operations fail as `fails(name)` raises; what it raises is raised before anything is done."""

    def __init__(self, store: Store, fails: Callable[[str], None]) -> None:
        self.store = store
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.store, name)
        if name == "location":
            return operation

        async def call(*arguments: Any, **named: Any) -> Any:
            await anyio.lowlevel.checkpoint()
            self.fails(name)
            return await operation(*arguments, **named)

        return call


@dataclass
class Rig:
    """A record, and one dispatcher after another that serves it."""

    store: Store
    clock: VirtualClock = field(default_factory=VirtualClock)
    chance: Callable[[], float] = field(default_factory=lambda: random.Random(1).random)
    bell: Bell = field(default_factory=Bell)
    tally: Tally = field(default_factory=Tally)
    gate: RecordGate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = RecordGate(self.clock, self.chance)

    def fragile(self, fails: Callable[[str], None]) -> None:
        """From the next dispatcher on the record fails so."""
        self.store = cast(Store, FragileStore(self.store, fails))

    async def tell(self, drafts: Iterable[Draft]) -> None:
        await self.store.commit_round(Round(self.clock.now(), SCOPE, drafts=list(drafts)))
        self.bell.ring()

    @asynccontextmanager
    async def telling(self, *outlets: Outlet) -> AsyncIterator[Dispatcher]:
        """A dispatcher that serves while the context is open; leaving it is a crash, not a stop."""
        dispatcher = Dispatcher(
            outlets, Foundation(self.store, self.gate, self.bell, self.clock, self.chance, self.tally), instance="test"
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(dispatcher.run)
            yield dispatcher
            tasks.cancel_scope.cancel()

    async def rows(self, sink: str | None = None, state: DeliveryState | None = None) -> list[DeliveryRow]:
        return await self.store.deliveries(sink=sink, state=state, limit=1_000_000)

    async def states(self, sink: str | None = None) -> dict[str, DeliveryState]:
        """By event id; of one sink."""
        return {row.event_id: row.state for row in await self.rows(sink)}

    async def acknowledged(self, sink: str | None = None) -> int:
        return len(await self.rows(sink, DeliveryState.ACKNOWLEDGED))

    async def owed(self, sink: str | None = None) -> int:
        return len(await self.rows(sink, DeliveryState.PENDING))


@asynccontextmanager
async def rigged(**options: Any) -> AsyncIterator[Rig]:
    store = open_store("sqlite://", directory=Path.cwd())
    await store.open()
    try:
        yield Rig(store, **options)
    finally:
        await store.close()


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Let virtual time pass until something is true; it must be within so many seconds."""
    with anyio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - a condition, and virtual time
            await anyio.sleep(max(0.01, seconds / 10_000))
