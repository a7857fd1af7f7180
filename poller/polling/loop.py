"""One life of a scope: plan -> look -> observe -> commit -> wait, until it is cancelled or crashes.

Three tasks meet here: the asker starts looks that are due and that the budgets allow; each look is a task of its own;
the committer takes the answers that came together through one round. Nothing is asked while the record is unwritable.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from poller.core.errors import Blind, ServiceError
from poller.core.events import stamp
from poller.core.plan import MOST_FAILING, in_words, plan_of
from poller.core.sight import Cause
from poller.foundation import Foundation
from poller.polling.looks import Answer, Look, Looks, Operation, operation_of
from poller.polling.manifests import Manifests
from poller.polling.named import Named
from poller.polling.rounds import Rounds
from poller.ports import RunService

log = structlog.get_logger("poller.polling")

GATHER_SECONDS: Final = 0.02
"""How long the committer waits for answers that come together; far below the 200 ms that a commit may lag."""
WATCHES_EVERY: Final = 1.0
"""Seconds between two looks at the watches that commands write into the record."""
HOUSEKEEPING_EVERY: Final = 300.0
"""Seconds between two writings of the learned rates, and between two trials of a list that was denied."""
PLANNED_EVERY: Final = 60.0
"""Seconds between two writings of the plan, for `omics-poller explain`."""
MOST_IN_A_ROUND: Final = 200


@dataclass(frozen=True, slots=True)
class _Lane:
    """One API operation: what it is asked next, and whether anything of it is due. Each has a quota of its own."""

    operation: Operation
    next_look: Callable[[float], Look | None]
    is_due: Callable[[float], bool]


@dataclass(slots=True)
class Signals:
    """What reaches a loop from outside, and outlives it: one that crashed is followed by another.

    `changed` is set, and replaced, when the agenda is to be looked at; `idle` once a loop that stops has committed all.
    """

    stopping: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)
    idle: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        """Make the loop look at its agenda now."""
        event, self.changed = self.changed, anyio.Event()
        event.set()


class Loop:
    """Asks, and has rounds made of the answers.

    Args: `meet` is told which account answers, and says whether this scope is still the one that follows in it.
    """

    def __init__(
        self,
        foundation: Foundation,
        service: RunService,
        rounds: Rounds,
        *,
        looks: Looks,
        manifests: Manifests,
        named: Named,
        signals: Signals,
        meet: Callable[[str], bool],
    ) -> None:
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.service = service
        self.rounds = rounds
        self.knowledge = rounds.knowledge
        self.access = rounds.access
        self.planner = self.knowledge.planner
        self.looks = looks
        self.manifests = manifests
        self.named = named
        self.signals = signals
        self.meet = meet
        planner, batches, groups = self.planner, self.knowledge.batches, self.knowledge.overdues.groups
        self._lanes = (
            _Lane("GetRun", planner.next_get_run, planner.wants_get_run),
            _Lane("ListRuns", planner.next_list, planner.wants_list),
            _Lane("GetBatch", batches.next_batch, batches.batch_is_due),
            _Lane("ListRunsInBatch", batches.next_runs, batches.runs_are_due),
            _Lane("GetRunGroup", groups.next_look, groups.are_due),
        )
        self._identified = False
        self._open_looks = 0

    async def run(self, task_status: TaskStatus[None]) -> None:
        """Ask until cancelled."""
        send, receive = anyio.create_memory_object_stream[Answer](1000)
        async with send, receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._commit_answers, receive, name="commit")
            tasks.start_soon(self._notice_watches, name="watches")
            tasks.start_soon(self._tell_plan, name="plan")
            tasks.start_soon(self.manifests.run, self._may_ask_more, self.signals.wake, name="manifests")
            tasks.start_soon(self.rounds.diagnoses.run, self._may_look_into, name="diagnoses")
            task_status.started()
            await self._ask(tasks, send)

    # --- the tasks -------------------------------------------------------------------------------------------------

    async def _ask(self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer]) -> None:
        """Start what is due and allowed, then wait for what changes that: time, an answer, a person."""
        while True:
            await self.gate.open()
            changed = self.signals.changed
            if not self.signals.stopping:
                self.knowledge.ask_about_overdue()
                if self.access.sight.suspended:
                    await self._probe(tasks, send)
                elif not self._identified:
                    await self._identify()
                else:
                    self._start_looks(tasks, send)
            if self.rounds.verdicts.are_due(self.clock.now()) and not self.access.sight.blind:
                await self._climb()
            if self.signals.stopping and not self._open_looks:
                self.signals.idle.set()
            with anyio.move_on_after(self._seconds_to_wait()):
                await changed.wait()
            blind_at = self.access.blind_at()
            if blind_at is not None and self.clock.now() >= blind_at:
                await self.rounds.look_at_the_clock()

    def _start_looks(self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer]) -> None:
        now = self.clock.monotonic()
        for lane in self._lanes:
            while self.looks.wait_seconds(lane.operation) <= 0 and (look := lane.next_look(now)) is not None:
                self._start_look(tasks, send, look)
            self.looks.held_back(lane.operation, waiting=lane.is_due(now))

    async def _probe(self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer]) -> None:
        """While nothing answers: one look at a time. Credentials are found anew first, so that renewed ones count."""
        now = self.clock.monotonic()
        if any(self.looks.in_flight.values()) or self.access.sight.probe_at is None or now < self.access.sight.probe_at:
            return
        if self.access.sight.blind:
            self._identified = False
            await self.service.renew()
        if not self._identified and not await self._identify():
            return
        look = next((look for lane in self._lanes if (look := lane.next_look(now)) is not None), None)
        if look is not None:
            self._start_look(tasks, send, look)

    def _start_look(self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer], look: Look) -> None:
        """Take a call from its budget and make it in a task of its own; its answer goes to the committer."""

        async def call() -> None:
            await send.send(await self.looks.look(look))

        self._open_looks += 1
        self.looks.take(operation_of(look))
        tasks.start_soon(call, name=str(look))

    async def _commit_answers(self, receive: MemoryObjectReceiveStream[Answer]) -> None:
        """Take the answers that came together through one transaction."""
        async for answer in receive:
            answers = [answer]
            await self.clock.sleep(GATHER_SECONDS)
            while len(answers) < MOST_IN_A_ROUND:
                try:
                    answers.append(receive.receive_nowait())
                except anyio.WouldBlock:
                    break
            await self.rounds.commit(answers)
            if self.access.shown_account is not None:
                self.meet(self.access.shown_account)
            await self.named.follow_awaited(self.rounds)
            self._open_looks -= len(answers)
            self.signals.wake()

    async def _notice_watches(self) -> None:
        """Follow what commands add to the record, and let go what they remove or mute."""
        housekept_at = self.clock.monotonic()
        while True:
            await self.clock.sleep(WATCHES_EVERY)
            if await self.named.read_watches(self.rounds):
                self.signals.wake()
            if self.clock.monotonic() - housekept_at > HOUSEKEEPING_EVERY:
                housekept_at = self.clock.monotonic()
                self.planner.try_lists()
                await self.rounds.keep_state()

    async def _tell_plan(self) -> None:
        """Write down how the scope is asked, and what that costs: once it has settled, then every minute."""
        while True:
            await self.clock.sleep(PLANNED_EVERY if self.rounds.plan else PLANNED_EVERY / 10)
            outline = self.planner.outline(self.clock.monotonic())
            plan = plan_of(outline, self.looks.rates, failing=min(self.looks.failing, MOST_FAILING))
            log.debug("plan.made", scope=self.knowledge.scope, plan=in_words(plan))
            self.rounds.plan = {"at": stamp(self.clock.now()), **asdict(plan)}
            await self.rounds.keep_state()

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _identify(self) -> bool:
        """Ask whose credentials these are; False, and told, if they are refused or another account's."""
        try:
            account = await self.service.account()
        except Blind as error:
            await self.rounds.lost(Cause.CREDENTIALS, str(error))
            return False
        except ServiceError as error:
            log.warning("account.unknown", detail=str(error), then="the first ARN seen tells it")
            account = None
        pinned = self.access.place.account_id
        if account is not None and pinned is not None and account != pinned:
            await self.rounds.lost(Cause.WRONG_ACCOUNT, self.access.wrong_account(account))
            return False
        if account is not None and pinned is None:
            await self.rounds.pin(account)
        self._identified = True
        follows_on = account is None or self.meet(account)
        self.signals.wake()
        return follows_on

    def _may_ask_more(self) -> bool:
        """Whether manifests may be asked for: not while stopping, and not by whoever cannot be sure of the account."""
        return self._identified and not self.signals.stopping and not self.access.sight.blind

    def _may_look_into(self) -> bool:
        """Whether it may be asked why runs failed: not while looks fail either, which find out whether one may ask."""
        return self._may_ask_more() and not self.access.sight.suspended

    async def _climb(self) -> None:
        """Declare gone what is gone, once it is sure that we still ask the account that we were asking."""
        if await self._identify():
            await self.rounds.climb()

    def _seconds_to_wait(self) -> float | None:
        if self.signals.stopping:
            return None  # each commit wakes the loop
        now = self.clock.monotonic()
        due_lanes = [lane.operation for lane in self._lanes if lane.is_due(now)]
        moments = (
            self.planner.next_due(now),
            self.knowledge.batches.next_due(),
            self.knowledge.overdues.groups.next_due(),
        )
        waits = [moment - now for moment in moments if moment is not None and moment > now]
        if self.access.sight.suspended:
            waits = [0.0] if due_lanes else waits
            probe_in = (self.access.sight.probe_at or now) - now
            waits = [max(wait, probe_in) for wait in waits if not any(self.looks.in_flight.values())]
        else:
            waits += [self.looks.wait_seconds(operation) for operation in due_lanes]
        if not self.access.sight.blind:
            waits += self._seconds_until(self.rounds.verdicts.next_at())
        waits += self._seconds_until(self.access.blind_at())
        waits += self._seconds_until(self.knowledge.overdues.agenda.next_at())
        finite = [wait for wait in waits if wait != float("inf")]
        return max(min(finite), 0.001) if finite else None

    def _seconds_until(self, moment: datetime | None) -> list[float]:
        return [] if moment is None else [(moment - self.clock.now()).total_seconds()]
