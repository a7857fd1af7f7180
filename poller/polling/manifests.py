"""Asking CloudWatch Logs for the manifests of runs that are gone: at what pace, and within budgets of their own.

Whoever wants a manifest says so, and finds in its `reading` how far asking has come. What was asked less often goes
first, so that a thousand runs that vanish at once are each asked about before any is for the second time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from poller.core.cadence import Pace
from poller.core.errors import Denied, ServiceError, Throttled
from poller.core.runs import KnownRun
from poller.core.statuses import ENDS
from poller.core.vanishing import Reading, manifest_pause
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.spending import Spending
from poller.ports import Manifest, RunService

log = structlog.get_logger("poller.polling")

MOST_AT_ONCE: Final = 8
LONGEST_READ: Final = 30.0
"""Seconds for one manifest, with the waits for the budgets; it is then asked for again."""
DENIED_FOR: Final = 300.0
"""Seconds until an operation that was denied is tried again: a permission may have been granted."""
OPERATIONS: Final = ("GetLogEvents", "DescribeLogStreams")


@dataclass(slots=True)
class _Wanted:
    uuid: str | None
    created: datetime | None
    due: float
    reading: Reading = field(default_factory=Reading)
    under_way: bool = False

    @property
    def operations(self) -> tuple[str, ...]:
        """What it takes to read it; by the uuid the stream's name is known."""
        return OPERATIONS[:1] if self.uuid is not None else OPERATIONS


class Manifests:
    """The manifests that are wanted in one scope. Args: `rates` as the record remembers them."""

    def __init__(
        self, service: RunService, foundation: Foundation, access: Access, pace: Pace, rates: Mapping[str, float]
    ) -> None:
        self.service = service
        self.access = access
        self.pace = pace
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.spending = Spending(OPERATIONS, foundation, ceiling=pace.ceiling, rates=rates)
        self._wanted: dict[str, _Wanted] = {}
        self._denied: dict[str, tuple[float, str]] = {}
        self._under_way = 0
        self._changed = anyio.Event()

    @property
    def rates(self) -> dict[str, float]:
        """The learned calls per second, as the record keeps them."""
        return self.spending.rates

    def want(self, known: KnownRun) -> None:
        """Ask for the manifest of this incarnation until it is there or `forget`; it may be wanted already."""
        wanted = self._wanted.get(known.run_id)
        if wanted is None or (wanted.uuid, wanted.created) != (known.uuid, known.creation_time):
            due = self.clock.monotonic()
            self._wanted[known.run_id] = _Wanted(known.uuid, known.creation_time, due)
            self._wake()

    def forget(self, run_id: str) -> None:
        """Nobody wants the manifest of this run any more."""
        self._wanted.pop(run_id, None)

    def reading(self, run_id: str) -> Reading:
        """How asking for a run's manifest has gone so far."""
        wanted = self._wanted.get(run_id)
        return Reading() if wanted is None else wanted.reading

    async def run(self, may_ask: Callable[[], bool], tell: Callable[[], None]) -> None:
        """Ask until cancelled, while one may; `tell` is called whenever a reading has changed."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self.gate.open()
                changed = self._changed
                allowed = may_ask()
                if allowed:
                    self._start_due(tasks, tell)
                with anyio.move_on_after(self._seconds_to_wait(allowed)):
                    await changed.wait()

    def _start_due(self, tasks: TaskGroup, tell: Callable[[], None]) -> None:
        now = self.clock.monotonic()
        self._denied = {operation: memory for operation, memory in self._denied.items() if memory[0] > now}
        due = [
            (one.reading.asked, one.due, run_id)
            for run_id, one in self._wanted.items()
            if one.due <= now and not one.under_way and not self._is_settled(one)
        ]
        for _, _, run_id in sorted(due):
            wanted = self._wanted[run_id]
            denied = next((self._denied[one][1] for one in ("", *wanted.operations) if one in self._denied), None)
            if denied is not None:
                wanted.reading = replace(wanted.reading, left_out=True, said=denied)
                tell()
            elif self._under_way < MOST_AT_ONCE:
                wanted.under_way = True
                self._under_way += 1
                tasks.start_soon(self._read, run_id, wanted, tell, name=f"manifest of {run_id}")

    def _seconds_to_wait(self, allowed: bool) -> float:
        waiting = [one.due for one in self._wanted.values() if not one.under_way and not self._is_settled(one)]
        if not waiting or (allowed and self._under_way >= MOST_AT_ONCE):
            return float("inf")
        return max(min(waiting) - self.clock.monotonic(), 0.001 if allowed else 1.0)

    def _is_settled(self, wanted: _Wanted) -> bool:
        return wanted.reading.left_out or wanted.reading.end is not None

    async def _read(self, run_id: str, wanted: _Wanted, tell: Callable[[], None]) -> None:
        """Ask for one manifest once, and note what came of it."""
        sent = self.clock.monotonic()
        try:
            with anyio.move_on_after(LONGEST_READ) as limit:
                found = await self.service.manifest(
                    run_id, uuid=wanted.uuid, created=wanted.created, spend=self.spending.spend
                )
                wanted.reading = self._judge(wanted.reading, found)
            if limit.cancelled_caught:
                wanted.reading = self._again(wanted.reading, f"no answer within {LONGEST_READ:g} s")
        except Denied as error:
            said = f"manifest: {error}"
            self._denied[error.operation] = (self.clock.monotonic() + DENIED_FOR, said)
            wanted.reading = replace(wanted.reading, asked=wanted.reading.asked + 1, left_out=True, said=said)
            say = log.warning if error.operation else log.info  # without one nothing was asked: so it is set up
            say("manifest.denied", detail=str(error), then="how runs ended that are gone is not told")
        except ServiceError as error:
            if isinstance(error, Throttled):
                self.spending.throttled(error.operation, sent)
            self.tally.add("looks_failed", operation=error.operation, error=error.code)
            log.debug("manifest.failed", run=run_id, error=error.code, detail=error.message)
            wanted.reading = self._again(wanted.reading, str(error))
        finally:
            wanted.under_way = False
            self._under_way -= 1
        pause = manifest_pause(wanted.reading.asked, self.pace.min_interval, self.chance())
        wanted.due = self.clock.monotonic() + pause.total_seconds()
        self._wake()
        tell()

    def _judge(self, before: Reading, found: Manifest | None) -> Reading:
        if found is None:
            return replace(self._again(before, "not there"), absent=True)
        if found.shown.status not in ENDS:
            return self._again(before, f"shows {found.shown.status}, which is no end, in {found.stream}")
        foreign = self.access.is_foreign(found.shown)
        if foreign is not None:
            log.warning("manifest.foreign", run=found.shown.run_id, detail=foreign)
            return Reading(before.asked + 1, left_out=True, said=f"manifest: not ours: {foreign}")
        said = f"manifest: {found.shown.status} in {found.stream}"
        return Reading(before.asked + 1, end=found.shown, said=said)

    def _again(self, before: Reading, said: str) -> Reading:
        return Reading(before.asked + 1, said=f"manifest: {said} at {self.clock.now().isoformat()}")

    def _wake(self) -> None:
        event, self._changed = self._changed, anyio.Event()
        event.set()
