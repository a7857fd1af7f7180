"""What both sides of the poller stand on, put together once and handed on whole."""

from collections.abc import Callable
from dataclasses import dataclass

from poller.bell import Bell
from poller.core.events import Event
from poller.gate import RecordGate
from poller.ports.clock import Clock
from poller.ports.records import Round
from poller.ports.store import Store
from poller.telemetry import Tally


@dataclass(frozen=True, slots=True)
class Foundation:
    """The record with its gate and its bell, time, chance (numbers in [0, 1)) and the counters."""

    store: Store
    gate: RecordGate
    bell: Bell
    clock: Clock
    chance: Callable[[], float]
    tally: Tally

    async def commit(self, round_: Round) -> list[Event]:
        """Write a round as soon as the record can be written, and let all know of it; the events that are new."""
        events = await self.gate.insist(lambda: self.store.commit_round(round_))
        self.bell.ring()
        return events


def foundation_of(store: Store, clock: Clock, chance: Callable[[], float]) -> Foundation:
    """A foundation over one record, with a gate, a bell and counters of its own."""
    return Foundation(store, RecordGate(clock, chance), Bell(), clock, chance, Tally())
