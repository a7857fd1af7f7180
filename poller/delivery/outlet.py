"""One sink and all that is owed to it: claim -> send -> settle, for ever.

Order is the record's: it hands out only the first delivery of each lane (sink, run), and the next one once that one is
settled. So sends of different runs go on side by side, and no event overtakes another of its run.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from poller.core.concurrency import acknowledged, broken, crowded, open_wide
from poller.core.deliveries import Delivery, source_of
from poller.core.errors import StoreUnavailable
from poller.core.events import stamp
from poller.core.retries import LONGEST_RETRY_AFTER, may_send
from poller.core.values import SinkSettings
from poller.delivery.attempts import Outcome, attempt
from poller.delivery.limits import Limit, Limits
from poller.delivery.outages import Outages
from poller.delivery.verdicts import Judge
from poller.foundation import Foundation
from poller.ports.sinks import Sink

log = structlog.get_logger("poller.delivery")

AHEAD: Final = 1024
"""Deliveries claimed beyond those being sent, so that sends do not wait for the record; bounds the memory of a sink."""
LOW: Final = AHEAD // 4
"""With so few of them left the next are claimed."""
UNSETTLED: Final = 1024
"""Deliveries sent whose outcome is not stored yet: sends go on meanwhile, and what came together is stored together."""
GATHER: Final = 0.02
"""Seconds that the first outcome waits for others to be stored with it, while there are sends that could bring them."""
SLOW_SETTLING: Final = 0.25
"""Seconds of storing outcomes after which no send begins until they are stored."""
LOOK_EVERY: Final = 1.0
"""Seconds after which the record is read again without a bell: another process may have made something due."""
RELEASE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Outlet:
    """A sink in force, as it was configured. `omit` holds the fields that neither it nor anybody is to be sent."""

    sink: Sink
    settings: SinkSettings
    omit: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def batch_size(self) -> int:
        return int(getattr(self.sink, "batch_size", 1))


class OutletWorker:
    """Serves one outlet.

    Args: `left` are claims of workers of the same name that they could not give back, and takes those of this one:
    nobody else would ever free them.
    """

    def __init__(self, outlet: Outlet, foundation: Foundation, instance: str, left: set[int] | None = None) -> None:
        self.outlet = outlet
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.tally = foundation.tally
        self.judge = Judge(outlet.settings, foundation.chance, foundation.tally)
        self.outages = Outages(outlet.name, outlet.settings.failing_after, foundation, instance)
        self.limits = Limits(outlet.settings.timeout.total_seconds(), self.clock)
        self.concurrency = open_wide(outlet.settings.concurrency)
        self.paused_until: datetime | None = None
        self._state_read_at: float | None = None
        self._left = left if left is not None else set()
        self._queue: deque[Delivery] = deque()
        self._returning: list[int] = []
        self._held_until: datetime | None = None
        self._under_way: dict[int, Delivery] = {}
        self._ended: list[Outcome] = []
        self._senders = 0
        self._sends = 0
        self._settling_since: float | None = None
        self._at_once = outlet.settings.concurrency * outlet.batch_size
        self._changed = anyio.Event()
        self._to_settle = anyio.Event()
        self._drained: anyio.Event | None = None
        self._finished: anyio.Event | None = None

    @property
    def name(self) -> str:
        return self.outlet.name

    def wake(self) -> None:
        """Something may be due."""
        event, self._changed = self._changed, anyio.Event()
        event.set()

    async def drained(self) -> None:
        """Return once nothing is in flight and nothing is due. The caller sets the deadline."""
        self._drained = anyio.Event()
        self.wake()
        await self._drained.wait()

    async def finished(self) -> None:
        """Claim no more; return once what is in flight is settled. The caller sets the deadline."""
        self._finished = anyio.Event()
        self.wake()
        await self._finished.wait()

    async def run(self) -> None:
        """Serve until cancelled; what was claimed and not settled is then given back."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.limits.watch, name=f"limits of {self.name}")
                tasks.start_soon(self._keep_settling, name=f"settle {self.name}")
                await self._serve(tasks)
        finally:
            claimed = [*(delivery.id for delivery in self._queue), *self._returning, *self._under_way]
            if claimed:
                self._left.update(claimed)
                with anyio.move_on_after(RELEASE_SECONDS, shield=True), suppress(StoreUnavailable):
                    await self.store.release(claimed)
                    self._left.difference_update(claimed)

    async def _serve(self, tasks: TaskGroup) -> None:
        while True:
            await self.gate.open()
            changed = self._changed
            await self._look_around()
            if self._finished is None and not self.halted:
                await self._claim()
                if self.gate.closed_since is not None:
                    continue  # meanwhile an acknowledgement could not be stored: it comes first
                while self._senders < self.concurrency.allowed and (batch := self._next_batch()) is not None:
                    self._senders += 1
                    tasks.start_soon(self._keep_sending, batch, name=f"send {self.name}")
            else:
                await self._give_back()
            if not self._under_way:
                if self._finished is not None:
                    self._finished.set()
                elif self._drained is not None and not self._queue and (self.halted or not await self._due_now()):
                    self._drained.set()
            with anyio.move_on_after(await self._seconds_to_wait()):
                await changed.wait()

    @property
    def paused(self) -> bool:
        """Whether somebody wants nothing sent now."""
        return self.paused_until is not None and self.clock.now() < self.paused_until

    @property
    def _held_for(self) -> float:
        """Seconds for which the far end still wants nothing; 0 in an outage."""
        if self._held_until is None or self.judge.breaker.open:
            return 0
        return max((self._held_until - self.clock.now()).total_seconds(), 0)

    @property
    def halted(self) -> bool:
        """Whether nothing is to be sent now: somebody paused the sink, or the far end asked to be left alone.

        In an outage the breaker decides, and heeds what the far end asks for, too.
        """
        return self.paused or self._held_for > 0

    async def _look_around(self) -> None:
        """Once a second: what somebody else did to the sink or to what it is owed, and what is to be told of it."""
        now = self.clock.monotonic()
        if self._state_read_at is not None and now - self._state_read_at < LOOK_EVERY:
            return
        if self._left:
            left = list(self._left)
            await self.gate.insist(lambda: self.store.release(left))
            self._left.difference_update(left)
        await self._drop_forgotten()
        state = await self.gate.insist(lambda: self.store.sink_state(self.name))
        if self._state_read_at is None:
            self.outages.remember(state.failing_since)
        self._state_read_at = now
        was_paused, self.paused_until = self.paused_until is not None, state.paused_until
        if self.paused_until is not None and not self.paused:
            was_paused, self.paused_until = True, None  # also by a resume of what was not paused: it ends at once
            await self.gate.insist(lambda: self.store.pause(self.name, None))
        if self.paused_until is not None and not was_paused:
            log.info("sink.paused", sink=self.name, until=stamp(self.paused_until))
        elif self.paused_until is None and was_paused:
            log.info("sink.resumed", sink=self.name)
            self._held_until = None
            self.judge.probe_now(self.clock.now())  # who ends a pause has mended the far end, or wants to know
            await self.gate.insist(lambda: self.store.make_due(self.name, self.clock.now()))
        await self.outages.look(self.judge.breaker, self.judge.last_error, self.judge.last_acknowledged_at)

    async def _drop_forgotten(self) -> None:
        """Of what was claimed ahead, and may wait for long, send nothing that the record has settled since."""
        if self._queue:
            ids = [delivery.id for delivery in self._queue]
            gone = set(ids) - await self.gate.insist(lambda: self.store.still_claimed(ids))
            self._queue = deque(delivery for delivery in self._queue if delivery.id not in gone)

    async def _claim(self) -> None:
        """Take what is due from the record: as much as can soon be sent; while the breaker is open one probe."""
        now = self.clock.now()
        if self.judge.breaker.open:
            await self._give_back()
            if not self._under_way and may_send(self.judge.breaker, now):
                self._queue += await self.gate.insist(lambda: self.store.probe(self.name))
                if self._queue:
                    self.judge.probe_sent()
            return
        if len(self._queue) <= LOW and len(self._under_way) < UNSETTLED:
            room = self._at_once + AHEAD - len(self._queue)
            self._queue += await self.gate.insist(lambda: self.store.claim(self.name, now=now, limit=room))

    def _next_batch(self) -> list[Delivery] | None:
        """What to send next, if anything may be sent now; it then counts as under way until its outcome is stored."""
        settling = self._settling_since
        not_now = (
            self._finished is not None
            or self.halted
            or self.gate.closed_since is not None
            or (settling is not None and self.clock.monotonic() - settling > SLOW_SETTLING)
            or (self.judge.breaker.open and bool(self._under_way))
        )
        if not_now or not self._queue or len(self._under_way) >= self._at_once + UNSETTLED:
            return None
        batch = self._take_batch()
        self._under_way |= {delivery.id: delivery for delivery in batch}
        return batch

    def _take_batch(self) -> list[Delivery]:
        """The first of the queue, each of another run: a replay may have one of the same run at its head."""
        if self.outlet.batch_size == 1:
            return [self._queue.popleft()]
        taken: dict[str, Delivery] = {}
        put_back: list[Delivery] = []
        while self._queue and len(taken) < self.outlet.batch_size:
            delivery = self._queue.popleft()
            if taken.setdefault(source_of(delivery.lane), delivery) is not delivery:
                put_back.append(delivery)
        self._queue.extendleft(reversed(put_back))
        return list(taken.values())

    async def _keep_sending(self, batch: list[Delivery] | None) -> None:
        """Send one batch after another while there are any: outcomes are stored beside that, together."""
        try:
            with self.limits.of_this_task() as limit:
                while batch is not None:
                    self._sends = this = self._sends + 1
                    begun = self.clock.now()
                    outcomes = await self._send(batch, limit)
                    self._learn(outcomes, begun)
                    self._ended.extend(outcomes)
                    self._to_settle.set()
                    batch = self._next_batch() if self._senders <= self.concurrency.allowed else None
                    if len(self._queue) == LOW:
                        self.wake()
                    if batch is not None and self._sends == this:
                        await checkpoint()  # no other send has begun: a sink that never waits must not keep all waiting
        finally:
            self._senders -= 1
            self.wake()

    def _learn(self, outcomes: Sequence[Outcome], begun: datetime) -> None:
        """How many sends at once the far end bears, and until when it wants none."""
        too_much = went_well = False
        for outcome in outcomes:
            too_much = too_much or outcome.crowded
            if outcome.crowded and outcome.after is not None:
                until = self.clock.now() + min(outcome.after, LONGEST_RETRY_AFTER)
                self._held_until = max(until, self._held_until or until)
            went_well = went_well or outcome.error is None
        if too_much:
            self.concurrency = crowded(self.concurrency, self.clock.now(), begun)
        elif went_well:
            self.concurrency = acknowledged(self.concurrency)

    async def _send(self, batch: Sequence[Delivery], limit: Limit) -> list[Outcome]:
        """Try a batch once; what is too old by now is not tried."""
        now, settings = self.clock.now(), self.outlet.settings
        expired, fresh = [], []
        for delivery in batch:
            owed_since = delivery.owed_since or delivery.event.recorded_at
            if owed_since is not None and now - owed_since > settings.max_age:
                age = f"older than max_age; last error: {self.judge.last_error or 'none'}"
                expired.append(Outcome(delivery, age, expired=True))
            else:
                fresh.append(delivery)
        if not fresh:
            return expired
        events = [delivery.event.without(self.outlet.omit) for delivery in fresh]
        return expired + await attempt(self.outlet.sink, fresh, events, limit)

    async def _keep_settling(self) -> None:
        """Write how attempts ended, those that came together in one transaction."""
        while True:
            await self._to_settle.wait()
            if self._senders:
                await self.clock.sleep(GATHER)
            self._to_settle = anyio.Event()
            outcomes = list(self._ended)
            self._ended.clear()
            await self._settle(outcomes)
            self.wake()

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write in one transaction how these attempts ended; they are then no longer under way."""
        now, was_open = self.clock.now(), self.judge.breaker.open
        settlements = self.judge.settlements_of(outcomes, now)
        self._settling_since = self.clock.monotonic()
        await self.gate.insist(partial(self.store.settle, settlements))
        self._settling_since = None
        if was_open and not self.judge.breaker.open:
            log.info("sink.recovered", sink=self.name)
            self._held_until = None
            await self.gate.insist(lambda: self.store.make_due(self.name, self.clock.now()))
        elif self.judge.breaker.open and not was_open:
            log.error("sink.outage", sink=self.name, error=self.judge.last_error)
            self.concurrency = broken(self.concurrency)
        for outcome in outcomes:
            self._under_way.pop(outcome.delivery.id, None)

    async def _give_back(self) -> None:
        """Release what was claimed ahead and is not being sent."""
        self._returning = [delivery.id for delivery in self._queue]
        self._queue = deque()  # before they are released: a send that ends meanwhile must not take one of them
        if self._returning:
            await self.gate.insist(lambda: self.store.release(self._returning))
            self._returning = []

    async def _due_now(self) -> bool:
        due = await self.gate.insist(lambda: self.store.next_due(self.name))
        return due is not None and due <= self.clock.now() and not self.judge.breaker.open

    async def _seconds_to_wait(self) -> float:
        if held_for := self._held_for:
            return min(held_for, LOOK_EVERY)
        if self._queue or self._finished is not None or self.paused:
            return LOOK_EVERY
        now = self.clock.now()
        if self.judge.breaker.open:
            seconds = ((self.judge.breaker.probe_at or now) - now).total_seconds()
            return min(seconds, LOOK_EVERY) if seconds > 0 and not self._under_way else LOOK_EVERY
        due = await self.gate.insist(lambda: self.store.next_due(self.name))
        if due is None:
            return LOOK_EVERY
        return min(max((due - now).total_seconds(), 0.001), LOOK_EVERY)
