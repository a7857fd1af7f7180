"""Why runs failed, told after their ends at a pace of its own: nobody who follows runs waits for it.

Which runs are owed a diagnosis is in the record, written with their `failed` events; here they stand in a queue. A few
are looked into at once (`inquiry.py` asks), what may be asked again is so with backoff, and in the end each is told
with what could be found out and what could not. The transaction that records the event takes the run from those owed.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from poller.core.diagnosis import Findings, diagnosed
from poller.core.errors import Blind, ServiceError
from poller.core.retries import half_jitter
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.inquiry import Inquiries
from poller.ports.records import MadeDiagnosis, OwedDiagnosis, Round

log = structlog.get_logger("poller.polling")

MOST_AT_ONCE: Final = 4
MOST_ATTEMPTS: Final = 80
"""After these, a quarter of an hour, a run is told with what could be found out."""
FIRST_PAUSE: Final = timedelta(seconds=2)
LONGEST_PAUSE: Final = timedelta(seconds=15)
BLIND_PAUSE: Final = 30.0
"""Seconds until it is tried again where the credentials are refused; that does not count as an attempt."""
IDLE: Final = 1.0
"""Seconds between two looks whether asking is allowed again."""


@dataclass(slots=True)
class _Owed:
    run_id: str
    attempts: int = 0


class Diagnoses:
    """The runs of one scope that are owed a diagnosis."""

    def __init__(self, foundation: Foundation, access: Access, inquiries: Inquiries) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.commit = foundation.commit
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.access = access
        self.inquiries = inquiries
        self._owed: dict[int, _Owed] = {}
        self._queue: list[tuple[float, int]] = []
        self._under_way = 0
        self._changed = anyio.Event()

    @property
    def enabled(self) -> bool:
        return self.inquiries.terms.enabled

    def __len__(self) -> int:
        """How many runs are owed one."""
        return len(self._owed)

    async def take_up(self) -> None:
        """Go on with what the record says is owed; where diagnosis was turned off, nothing is owed any more."""
        scope = self.access.place.scope
        owed = await self.gate.insist(lambda: self.store.owed_diagnoses(scope))
        if owed and not self.enabled:
            log.info("diagnosis.dropped", runs=len(owed), why="[diagnosis] enabled is off")
            nothing = Round(at=self.clock.now(), scope=scope, diagnoses=[MadeDiagnosis(position) for position in owed])
            await self.gate.insist(lambda: self.store.commit_round(nothing))
            return
        for position, run_id in owed.items():
            self.want(position, run_id)

    def want(self, position: int, run_id: str) -> None:
        """A run is owed a diagnosis from now on, by the `failed` event at this position."""
        if position not in self._owed:
            self._owed[position] = _Owed(run_id)
            self._put(position, 0.0)

    async def run(self, may_ask: Callable[[], bool]) -> None:
        """Tell what is owed until cancelled, while one may ask."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self.gate.open()
                changed = self._changed
                allowed = may_ask()
                if allowed:
                    self._start_due(tasks)
                with anyio.move_on_after(self._seconds_to_wait(allowed)):
                    await changed.wait()

    def _start_due(self, tasks: TaskGroup) -> None:
        now = self.clock.monotonic()
        while self._queue and self._queue[0][0] <= now and self._under_way < MOST_AT_ONCE:
            _, position = heapq.heappop(self._queue)
            self._under_way += 1
            tasks.start_soon(self._diagnose, position, name=f"diagnosis of {self._owed[position].run_id}")

    def _seconds_to_wait(self, allowed: bool) -> float:
        if not self._queue or (allowed and self._under_way >= MOST_AT_ONCE):
            return float("inf")
        return max(self._queue[0][0] - self.clock.monotonic(), 0.001 if allowed else IDLE)

    async def _diagnose(self, position: int) -> None:
        """Look into one run, once; tell what came of it, or put it back into the queue."""
        try:
            pause = await self._look_and_tell(position)
        finally:
            self._under_way -= 1
        if pause is None:
            del self._owed[position]
        else:
            self._put(position, pause)
        self._wake()

    async def _look_and_tell(self, position: int) -> float | None:
        """Seconds until it is tried again; None if nothing is owed any more."""
        owed = self._owed[position]
        what = await self.gate.insist(lambda: self.store.owed_diagnosis(position))
        if what is None:
            return None  # the run was forgotten
        owed.attempts += 1
        try:
            findings = await self.inquiries.look_into(what.failed, owed.attempts, last=owed.attempts >= MOST_ATTEMPTS)
        except Blind as error:
            owed.attempts -= 1
            log.debug("diagnosis.failed", run=owed.run_id, error=error.code, detail=error.message)
            return BLIND_PAUSE
        except ServiceError as error:
            log.debug("diagnosis.failed", run=owed.run_id, error=error.code, detail=error.message)
            return self._pause(owed)
        except Exception as error:
            # an answer that nobody has thought of must neither end the following of runs nor go untold
            self.tally.add("crashes", part="diagnosis")
            log.exception("diagnosis.crashed", run=owed.run_id)
            if owed.attempts < MOST_ATTEMPTS:
                return self._pause(owed)
            findings = Findings().missing(f"the tasks: {type(error).__name__} in this program, see its log")
        await self._tell(position, what, findings)
        return None

    async def _tell(self, position: int, what: OwedDiagnosis, findings: Findings) -> None:
        now, terms = self.clock.now(), self.inquiries.terms
        draft = diagnosed(what.failed, what.incarnation, findings, now, shown=terms.show_names)
        round_ = Round(at=now, scope=self.access.place.scope, diagnoses=[MadeDiagnosis(position, draft)])
        for event in await self.commit(round_):
            diagnosis = event.data["diagnosis"]
            facts = {name: diagnosis[name] for name in ("reason_code", "owner", "retry_safe")}
            log.info("run.diagnosed", run=event.run_id, **facts, incomplete=diagnosis["incomplete"] or None)
            self.tally.add("events", type=event.kind)

    def _pause(self, owed: _Owed) -> float:
        return half_jitter(owed.attempts, FIRST_PAUSE, LONGEST_PAUSE, self.chance()).total_seconds()

    def _put(self, position: int, pause: float) -> None:
        heapq.heappush(self._queue, (self.clock.monotonic() + pause, position))
        self._wake()

    def _wake(self) -> None:
        event, self._changed = self._changed, anyio.Event()
        event.set()
