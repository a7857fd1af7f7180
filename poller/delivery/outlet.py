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
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from poller.core.deliveries import Delivery, DeliveryState, Settlement
from poller.core.errors import StoreUnavailable
from poller.core.retries import LONGEST_PROBE, OPENS_AFTER, Breaker, failed, may_send, next_attempt, succeeded
from poller.core.values import SinkSettings
from poller.delivery.attempts import Outcome, attempt
from poller.foundation import Foundation
from poller.ports import Sink

log = structlog.get_logger("poller.delivery")

AHEAD: Final = 128
"""Deliveries claimed beyond those being sent, so that sends do not wait for the record; bounds the memory of a sink."""
UNSETTLED: Final = 256
"""Deliveries sent whose outcome is not stored yet: sends go on meanwhile, and what came together is stored together."""
SLOW_SETTLING: Final = 0.25
"""Seconds of storing outcomes after which no send begins until they are stored."""
LOOK_EVERY: Final = 1.0
"""Seconds after which the record is read again without a bell: another process may have made something due."""
RELEASE_SECONDS: Final = 2.0
MOST_REMEMBERED: Final = 10_000


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

    Args: `left` are claims of a worker of the same name that it could not give back, and takes those of this one:
    nobody else would ever free them.
    """

    def __init__(self, outlet: Outlet, foundation: Foundation, left: set[int] | None = None) -> None:
        self.outlet = outlet
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.breaker = Breaker()
        self.last_error: str | None = None
        self.last_acknowledged_at: datetime | None = None
        self._left = left if left is not None else set()
        self._queue: deque[Delivery] = deque()
        self._under_way: dict[int, Delivery] = {}
        self._senders = 0
        self._settling_since: float | None = None
        self._successes_at: dict[int, int] = {}
        self._failing_lanes: set[str] = set()
        self._at_once = outlet.settings.concurrency * outlet.batch_size
        self._changed = anyio.Event()
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
        if self._left:
            left = list(self._left)
            await self.gate.insist(lambda: self.store.release(left))
            self._left.clear()
        send, receive = anyio.create_memory_object_stream[Outcome](1000)
        try:
            async with send, receive, anyio.create_task_group() as tasks:
                tasks.start_soon(self._settle, receive, name=f"settle {self.name}")
                await self._serve(tasks, send)
        finally:
            claimed = [*(delivery.id for delivery in self._queue), *self._under_way]
            if claimed:
                self._left.update(claimed)
                with anyio.move_on_after(RELEASE_SECONDS, shield=True), suppress(StoreUnavailable):
                    await self.store.release(claimed)
                    self._left.difference_update(claimed)

    async def _serve(self, tasks: TaskGroup, send: MemoryObjectSendStream[Outcome]) -> None:
        while True:
            await self.gate.open()
            changed = self._changed
            if self._finished is None:
                await self._claim()
                if self.gate.closed_since is not None:
                    continue  # meanwhile an acknowledgement could not be stored: it comes first
                while self._senders < self.outlet.settings.concurrency and (batch := self._next_batch()) is not None:
                    self._senders += 1
                    tasks.start_soon(self._keep_sending, batch, send, name=f"send {self.name}")
            else:
                await self._give_back()
            if not self._under_way:
                if self._finished is not None:
                    self._finished.set()
                elif self._drained is not None and not self._queue and not await self._due_now():
                    self._drained.set()
            with anyio.move_on_after(await self._seconds_to_wait()):
                await changed.wait()

    async def _claim(self) -> None:
        """Take what is due from the record: as much as can soon be sent; while the breaker is open one probe."""
        now = self.clock.now()
        if self.breaker.open:
            await self._give_back()
            if not self._under_way and may_send(self.breaker, now):
                self._queue += await self.gate.insist(lambda: self.store.probe(self.name))
            return
        if len(self._queue) <= AHEAD // 2 and len(self._under_way) < UNSETTLED:
            room = self._at_once + AHEAD - len(self._queue)
            self._queue += await self.gate.insist(lambda: self.store.claim(self.name, now=now, limit=room))

    def _next_batch(self) -> list[Delivery] | None:
        """What to send next, if anything may be sent now; it then counts as under way until its outcome is stored."""
        settling = self._settling_since
        halted = (
            self._finished is not None
            or self.gate.closed_since is not None
            or (settling is not None and self.clock.monotonic() - settling > SLOW_SETTLING)
            or (self.breaker.open and bool(self._under_way))
        )
        if halted or not self._queue or len(self._under_way) >= self._at_once + UNSETTLED:
            return None
        batch = [self._queue.popleft() for _ in range(min(self.outlet.batch_size, len(self._queue)))]
        self._under_way |= {delivery.id: delivery for delivery in batch}
        return batch

    async def _keep_sending(self, batch: list[Delivery] | None, send: MemoryObjectSendStream[Outcome]) -> None:
        """Send one batch after another while there are any: outcomes are stored beside that, together."""
        try:
            while batch is not None:
                await self._send(batch, send)
                batch = self._next_batch()
                if len(self._queue) == AHEAD // 2:
                    self.wake()
        finally:
            self._senders -= 1
            self.wake()

    async def _send(self, batch: Sequence[Delivery], send: MemoryObjectSendStream[Outcome]) -> None:
        now = self.clock.now()
        fresh = []
        for delivery in batch:
            recorded = delivery.event.recorded_at
            if recorded is not None and now - recorded > self.outlet.settings.max_age:
                age = f"older than max_age; last error: {self.last_error or 'none'}"
                await send.send(Outcome(delivery, age, expired=True))
            else:
                fresh.append(delivery)
        if fresh:
            events = [delivery.event.without(self.outlet.omit) for delivery in fresh]
            seconds = self.outlet.settings.timeout.total_seconds()
            for outcome in await attempt(self.outlet.sink, fresh, events, seconds):
                await send.send(outcome)

    async def _settle(self, receive: MemoryObjectReceiveStream[Outcome]) -> None:
        """Write how attempts ended, those that came together in one transaction."""
        async for outcome in receive:
            outcomes = [outcome]
            while len(outcomes) < 1000:
                try:
                    outcomes.append(receive.receive_nowait())
                except anyio.WouldBlock:
                    break
            was_open = self.breaker.open
            now = self.clock.now()
            settlements = [self._judge(each, now) for each in outcomes]
            self._settling_since = self.clock.monotonic()
            await self.gate.insist(partial(self.store.settle, settlements))
            self._settling_since = None
            if was_open and not self.breaker.open:
                log.info("sink.recovered", sink=self.name)
                await self.gate.insist(lambda: self.store.make_due(self.name, self.clock.now()))
            elif self.breaker.open and not was_open:
                log.error("sink.outage", sink=self.name, error=self.last_error)
            for each in outcomes:
                self._under_way.pop(each.delivery.id, None)
            self.wake()

    def _judge(self, outcome: Outcome, now: datetime) -> Settlement:
        """What an outcome means for its delivery and for the sink."""
        delivery = outcome.delivery
        if outcome.error is None:
            self._far_end_answers()
            self.last_acknowledged_at = now
            self._successes_at.pop(delivery.id, None)
            self.tally.add("deliveries", sink=self.name, outcome="acknowledged")
            log.debug(
                "delivery.acknowledged", sink=self.name, event_id=delivery.event.id, attempts=delivery.attempts + 1
            )
            return Settlement(delivery.id, DeliveryState.ACKNOWLEDGED, now, attempts=delivery.attempts)
        facts = {"sink": self.name, "run": delivery.event.run_id, "event_id": delivery.event.id}
        if not outcome.expired:
            self.last_error = outcome.error
        attempts = delivery.attempts + (not outcome.expired)
        counts = self._tells_against_the_event(delivery)
        counted = delivery.counted + counts
        if outcome.rejected or outcome.expired or counted >= self.outlet.settings.max_attempts:
            if outcome.rejected:
                self._far_end_answers()
            self._successes_at.pop(delivery.id, None)
            self.tally.add("deliveries", sink=self.name, outcome="dead")
            log.error("delivery.dead", attempts=attempts, error=outcome.error, **facts)
            return Settlement(
                delivery.id, DeliveryState.DEAD, now, attempts=attempts, counted=counted, error=outcome.error
            )
        self._failing_lanes.add(delivery.lane)
        if len(self._failing_lanes) > 1 or self.breaker.failures < OPENS_AFTER - 1:  # one run alone may be poison
            self.breaker = failed(self.breaker, now, self.chance(), after=outcome.after)
        if delivery.id in self._successes_at or len(self._successes_at) < MOST_REMEMBERED:
            self._successes_at[delivery.id] = self.breaker.successes
        # what was tried in vain during an outage must not make the twelve failures of a poison event last for days
        due = next_attempt(counted if counts else attempts, now, self.chance(), after=outcome.after)
        if not counts:
            due = min(due, now + max(LONGEST_PROBE, outcome.after or LONGEST_PROBE))
        self.tally.add("deliveries", sink=self.name, outcome="failed")
        tell = log.warning if attempts == 1 else log.debug
        tell("delivery.failed", attempts=attempts, error=outcome.error, due=due.isoformat(), **facts)
        return Settlement(
            delivery.id, DeliveryState.PENDING, now, due=due, attempts=attempts, counted=counted, error=outcome.error
        )

    def _far_end_answers(self) -> None:
        """An acknowledgement, or a rejection: it is no outage."""
        self.breaker = succeeded(self.breaker)
        self._failing_lanes.clear()

    def _tells_against_the_event(self, delivery: Delivery) -> bool:
        """Whether others of this sink succeeded since this delivery was tried last, so that it is no outage."""
        before = self._successes_at.get(delivery.id)
        if before is None:  # tried first, or before a restart: then only what this worker has seen counts
            return self.breaker.successes > 0 and self.breaker.failures == 0
        return self.breaker.successes > before

    async def _give_back(self) -> None:
        """Release what was claimed ahead and is not being sent."""
        claimed = [delivery.id for delivery in self._queue]
        if claimed:
            await self.gate.insist(lambda: self.store.release(claimed))
            self._queue.clear()

    async def _due_now(self) -> bool:
        due = await self.gate.insist(lambda: self.store.next_due(self.name))
        return due is not None and due <= self.clock.now() and not self.breaker.open

    async def _seconds_to_wait(self) -> float:
        if self._queue or self._finished is not None:
            return LOOK_EVERY
        now = self.clock.now()
        if self.breaker.open:
            seconds = ((self.breaker.probe_at or now) - now).total_seconds()
            return seconds if seconds > 0 and not self._under_way else LOOK_EVERY
        due = await self.gate.insist(lambda: self.store.next_due(self.name))
        if due is None:
            return LOOK_EVERY
        return min(max((due - now).total_seconds(), 0.001), LOOK_EVERY)
