"""One scope, for ever: plan -> look -> observe -> commit -> wait.

Three tasks meet here: the asker starts looks that are due and that the budgets allow; each look is a task of its own;
the committer takes the answers that came together through one round. Nothing is asked while the record is unwritable.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from poller.core.cadence import Pace
from poller.core.claims import Claims
from poller.core.diagnosis import NO_DIAGNOSIS, DiagnosisTerms
from poller.core.errors import Blind, ServiceError
from poller.core.events import Place, stamp
from poller.core.overdue import Terms
from poller.core.plan import MOST_FAILING, in_words, plan_of
from poller.core.planner import Planner
from poller.core.runs import KnownRun
from poller.core.sight import Cause, Sight
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.batches import Batches
from poller.polling.diagnosis import Diagnoses
from poller.polling.discovery import Discovery
from poller.polling.inquiry import Inquiries
from poller.polling.looks import Answer, Look, Looks, Operation, operation_of
from poller.polling.manifests import Manifests
from poller.polling.rounds import Rounds
from poller.polling.rules import Rule, Rules
from poller.polling.twins import Twins, service_of, take_over, whole_rules
from poller.polling.waiters import Waiters
from poller.ports import RunService, ScopeState

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


class Scope:
    """One account and region: what is followed in it, and the loop that follows.

    Args: `rules` say what is followed, one for each `[[watch]]`; `terms` say when a run is overdue, `diagnosis` what is
    asked about one that failed. Where there are several scopes `twins` is set, too: one that proves to be the same
    account and region as an earlier one rests with that, its `keeper`, as one of its `guests`.
    """

    def __init__(
        self,
        foundation: Foundation,
        *,
        place: Place,
        service: RunService,
        instance: str,
        pace: Pace,
        rules: Iterable[Rule] = (),
        terms: Terms = Terms(),  # noqa: B008 - frozen
        diagnosis: DiagnosisTerms = NO_DIAGNOSIS,
        include: tuple[str, ...] = (),
    ) -> None:
        self.foundation = foundation
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.place = place
        self.own_service = self.service = service
        self.instance = instance
        self.pace = pace
        self.rules = tuple(rules)
        self._whole = Rules(self.rules, pace)
        self.terms = terms
        self.diagnosis = diagnosis
        self.include = include
        self.rounds: Rounds | None = None
        self._looks: Looks | None = None
        self._lanes: tuple[_Lane, ...] = ()
        self._changed = anyio.Event()
        self._stopping = False
        self._identified = False
        self._idle = anyio.Event()
        self._open_looks = 0
        self._named: set[str] = set()
        self._waiters = Waiters()
        self._watched = frozenset[str]()
        self._started_at = self.clock.now()
        self._turn = anyio.CancelScope()
        self._opened = anyio.Event()
        self.twins: Twins | None = None
        self.keeper: Scope | None = None
        self.guests: list[Scope] = []
        self.rested_before = False

    @property
    def name(self) -> str:
        return self.place.scope

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Ask until cancelled; ready once what the record knows is on the agenda."""
        with structlog.contextvars.bound_contextvars(**({"scope": self.name} if self.twins is not None else {})):
            while True:
                with anyio.CancelScope() as self._turn:
                    await (self._run(task_status) if self.keeper is None else self._rest(self.keeper, task_status))
                task_status = anyio.TASK_STATUS_IGNORED  # begun anew: once more from the record, with other watches

    @property
    def account_id(self) -> str | None:
        """The account, once it was learned, in this life or an earlier one."""
        rounds = self.acting.rounds
        return rounds.access.place.account_id if rounds is not None else None

    @property
    def calls(self) -> Looks | None:
        """The calls of this life: what they may cost, and how many of them fail; None before it has begun."""
        return self._looks

    @property
    def sight(self) -> Sight:
        """How well the service is seen, as far as anybody looked."""
        rounds = self.acting.rounds
        return rounds.access.sight if rounds is not None else Sight()

    @property
    def acting(self) -> "Scope":
        """The scope that follows: this one, or the one that it rests with."""
        return self.keeper or self

    def rest_with(self, keeper: "Scope") -> None:
        """Ask no more: another scope is the same account and region, and follows what this one was to follow."""
        self.keeper = keeper
        self._turn.cancel()

    async def _rest(self, keeper: "Scope", task_status: TaskStatus[None]) -> None:
        log.info("scopes.merged", scope=self.name, into=keeper.name, region=self.place.region)
        if self.rounds is not None:
            await self.rounds.relieved()
        self.rounds = self._looks = None
        self.guests.clear()
        keeper.take_in(self)
        self._opened.set()
        task_status.started()
        await anyio.sleep_forever()

    def take_in(self, guest: "Scope") -> None:
        """Follow for a scope that rests from now on: once more from the record, with what that one was following."""
        if guest not in self.guests:
            self.guests.append(guest)
        self._named |= guest._named
        self._waiters.join(guest._waiters)
        self._turn.cancel()

    def watch_anew(self, rules: Iterable[Rule]) -> None:
        """Go on with other watches: answers in flight are asked for again."""
        self.rules = tuple(rules)
        self.acting._turn.cancel()

    def use_terms(self, terms: Terms) -> None:
        """Call other runs overdue from now on: answers in flight are asked for again."""
        self.terms = terms
        self._turn.cancel()

    async def _run(self, task_status: TaskStatus[None]) -> None:
        self._identified = False
        self._open_looks = 0
        self._started_at = self.clock.now()
        await take_over(self)
        self.service = service_of(self.own_service, self.guests)
        self._whole = whole_rules(self)
        stored = await self.gate.insist(lambda: self.store.scope(self.name))
        state = stored or ScopeState(self.name, self.place.region)
        first_start = state.discovered_through is None
        self.rested_before = stored is not None and first_start  # its mark went to its keeper
        planner = Planner(
            low=self._whole.shortest.total_seconds(),
            high=self._whole.of_lists.high.total_seconds(),
            parts=self._whole.parts,
            claims=Claims(self._whole.common),
        )
        tally, chance = self.foundation.tally, self.foundation.chance
        self._looks = looks = Looks(self.service, self.clock, tally, ceiling=self.pace.ceiling, rates=state.rates)
        access = Access(replace(self.place, account_id=state.account_id), self.pace, self.clock, chance, self.instance)
        if self.rounds is not None:
            access.go_on_from(self.rounds.access)
        manifests = Manifests(self.service, self.foundation, access, self.pace, state.rates)
        inquiries = Inquiries(self.service, self.foundation, self.pace, state.rates, self.diagnosis)
        diagnoses = Diagnoses(self.foundation, access, inquiries)
        self.rounds = rounds = Rounds(
            self.foundation,
            access=access,
            manifests=manifests,
            pace=self.pace,
            planner=planner,
            batches=Batches(self._whole.claim_of_batch, self.clock, chance),
            discovery=Discovery(self._whole, state.discovered_through or self._started_at, by_our_clock=first_start),
            rates=lambda: looks.rates | manifests.rates | inquiries.rates,
            waiters=self._waiters,
            terms=self.terms,
            diagnoses=diagnoses,
            include=self.include,
        )
        self._lanes = (
            _Lane("GetRun", planner.next_get_run, planner.wants_get_run),
            _Lane("ListRuns", planner.next_list, planner.wants_list),
            _Lane("GetBatch", rounds.batches.next_batch, rounds.batches.batch_is_due),
            _Lane("ListRunsInBatch", rounds.batches.next_runs, rounds.batches.runs_are_due),
            _Lane("GetRunGroup", rounds.overdues.groups.next_look, rounds.overdues.groups.are_due),
        )
        if first_start:
            await rounds.keep_state()  # a run that is created from now on is told, whatever befalls us before a look
        await self._take_up(rounds)
        await diagnoses.take_up()
        self._opened.set()
        log.info("scope.opened", scope=self.name, region=self.place.region, runs=len(rounds.runs))
        send, receive = anyio.create_memory_object_stream[Answer](1000)
        async with send, receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._commit_answers, receive, rounds, name="commit")
            tasks.start_soon(self._notice_watches, rounds, name="watches")
            tasks.start_soon(self._tell_plan, rounds, looks, name="plan")
            tasks.start_soon(manifests.run, lambda: self._may_ask_more(rounds), self.wake, name="manifests")
            tasks.start_soon(diagnoses.run, lambda: self._may_look_into(rounds), name="diagnoses")
            task_status.started()
            await self._ask(tasks, send, planner, looks, rounds)

    async def finish_looks(self) -> None:
        """Start no new look; return once the answers in flight are committed. The caller sets the deadline."""
        self._stopping = True
        self.wake()
        if self.rounds is not None:
            await self._idle.wait()
            await self.rounds.keep_state()

    def wake(self) -> None:
        """Make the loop look at its agenda now."""
        event, self._changed = self._changed, anyio.Event()
        event.set()

    async def follow(self, run_ids: Iterable[str], *, afresh: bool = False) -> None:
        """Follow runs from now on, if nobody does. `afresh` asks the service even if their end is on record."""
        await self._opened.wait()
        if self.keeper is not None:
            await self.keeper.follow(run_ids, afresh=afresh)
            return
        assert self.rounds is not None
        run_ids = list(run_ids)
        self._named.update(run_ids)
        await self._follow_ids(run_ids, self.rounds, afresh=afresh)
        self.wake()

    async def find(self, run_id: str) -> KnownRun:
        """Follow a run, and return what a GetRun that is sent from now on finds: the incarnation that lives now."""
        await self.follow([run_id], afresh=True)
        if self.acting.rounds is not None:
            self.acting.rounds.ask_soon(run_id)
        self.acting.wake()
        return await self._waiters.wait(run_id, self.clock.now())

    # --- the tasks -------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        tasks: TaskGroup,
        send: MemoryObjectSendStream[Answer],
        planner: Planner,
        looks: Looks,
        rounds: Rounds,
    ) -> None:
        """Start what is due and allowed, then wait for what changes that: time, an answer, a person."""
        while True:
            await self.gate.open()
            changed = self._changed
            if not self._stopping:
                rounds.ask_about_overdue()
                if rounds.access.sight.suspended:
                    await self._probe(tasks, send, planner, looks, rounds)
                elif not self._identified:
                    await self._identify(rounds)
                else:
                    self._start_looks(tasks, send, planner, looks)
            if rounds.verdicts.are_due(self.clock.now()) and not rounds.access.sight.blind:
                await self._climb(rounds)
            if self._stopping and not self._open_looks:
                self._idle.set()
            with anyio.move_on_after(self._seconds_to_wait(planner, looks, rounds)):
                await changed.wait()
            blind_at = rounds.access.blind_at()
            if blind_at is not None and self.clock.now() >= blind_at:
                await rounds.look_at_the_clock()

    def _start_looks(
        self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer], planner: Planner, looks: Looks
    ) -> None:
        now = self.clock.monotonic()
        for lane in self._lanes:
            while looks.wait_seconds(lane.operation) <= 0 and (look := lane.next_look(now)) is not None:
                self._start_look(tasks, send, looks, look)
            looks.held_back(lane.operation, waiting=lane.is_due(now))

    async def _probe(
        self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer], planner: Planner, looks: Looks, rounds: Rounds
    ) -> None:
        """While nothing answers: one look at a time. Credentials are found anew first, so that renewed ones count."""
        now = self.clock.monotonic()
        if any(looks.in_flight.values()) or rounds.access.sight.probe_at is None or now < rounds.access.sight.probe_at:
            return
        if rounds.access.sight.blind:
            self._identified = False
            await self.service.renew()
        if not self._identified and not await self._identify(rounds):
            return
        look = next((look for lane in self._lanes if (look := lane.next_look(now)) is not None), None)
        if look is not None:
            self._start_look(tasks, send, looks, look)

    def _start_look(self, tasks: TaskGroup, send: MemoryObjectSendStream[Answer], looks: Looks, look: Look) -> None:
        """Take a call from its budget and make it in a task of its own; its answer goes to the committer."""

        async def call() -> None:
            await send.send(await looks.look(look))

        self._open_looks += 1
        looks.take(operation_of(look))
        tasks.start_soon(call, name=str(look))

    async def _commit_answers(self, receive: MemoryObjectReceiveStream[Answer], rounds: Rounds) -> None:
        """Take the answers that came together through one transaction."""
        async for answer in receive:
            answers = [answer]
            await self.clock.sleep(GATHER_SECONDS)
            while len(answers) < MOST_IN_A_ROUND:
                try:
                    answers.append(receive.receive_nowait())
                except anyio.WouldBlock:
                    break
            await rounds.commit(answers)
            if rounds.access.shown_account is not None:
                self._meet(rounds.access.shown_account)
            if self._waiters.run_ids:  # the answer that ended a run may have been under way before somebody waited
                await self._follow_ids(self._waiters.run_ids, rounds, afresh=True)
            self._open_looks -= len(answers)
            self.wake()

    async def _notice_watches(self, rounds: Rounds) -> None:
        """Follow what commands add to the record, and let go what they remove or mute."""
        housekept_at = self.clock.monotonic()
        while True:
            await self.clock.sleep(WATCHES_EVERY)
            await self._read_watches(rounds)
            if self.clock.monotonic() - housekept_at > HOUSEKEEPING_EVERY:
                housekept_at = self.clock.monotonic()
                rounds.planner.try_lists()
                await rounds.keep_state()

    async def _tell_plan(self, rounds: Rounds, looks: Looks) -> None:
        """Write down how the scope is asked, and what that costs: once it has settled, then every minute."""
        while True:
            await self.clock.sleep(PLANNED_EVERY if rounds.plan else PLANNED_EVERY / 10)
            outline = rounds.planner.outline(self.clock.monotonic())
            plan = plan_of(outline, looks.rates, failing=min(looks.failing, MOST_FAILING))
            log.debug("plan.made", scope=self.name, plan=in_words(plan))
            rounds.plan = {"at": stamp(self.clock.now()), **asdict(plan)}
            await rounds.keep_state()

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _identify(self, rounds: Rounds) -> bool:
        """Ask whose credentials these are; False, and told, if they are refused or another account's."""
        try:
            account = await self.service.account()
        except Blind as error:
            await rounds.lost(Cause.CREDENTIALS, str(error))
            return False
        except ServiceError as error:
            log.warning("account.unknown", detail=str(error), then="the first ARN seen tells it")
            account = None
        pinned = rounds.access.place.account_id
        if account is not None and pinned is not None and account != pinned:
            await rounds.lost(Cause.WRONG_ACCOUNT, rounds.access.wrong_account(account))
            return False
        if account is not None and pinned is None:
            await rounds.pin(account)
        self._identified = True
        if account is not None:
            self._meet(account)
        self.wake()
        return self.keeper is None

    def _meet(self, account_id: str) -> None:
        if self.twins is not None:
            self.twins.met(self, account_id)

    def _may_ask_more(self, rounds: Rounds) -> bool:
        """Whether manifests may be asked for: not while stopping, and not by whoever cannot be sure of the account."""
        return self._identified and not self._stopping and not rounds.access.sight.blind

    def _may_look_into(self, rounds: Rounds) -> bool:
        """Whether it may be asked why runs failed: not while looks fail either, which find out whether one may ask."""
        return self._may_ask_more(rounds) and not rounds.access.sight.suspended

    async def _climb(self, rounds: Rounds) -> None:
        """Declare gone what is gone, once it is sure that we still ask the account that we were asking."""
        if await self._identify(rounds):
            await rounds.climb()

    def _seconds_to_wait(self, planner: Planner, looks: Looks, rounds: Rounds) -> float | None:
        if self._stopping:
            return None  # each commit wakes the loop
        now = self.clock.monotonic()
        due_lanes = [lane.operation for lane in self._lanes if lane.is_due(now)]
        moments = (planner.next_due(now), rounds.batches.next_due(), rounds.overdues.groups.next_due())
        waits = [moment - now for moment in moments if moment is not None and moment > now]
        if rounds.access.sight.suspended:
            waits = [0.0] if due_lanes else waits
            probe_in = (rounds.access.sight.probe_at or now) - now
            waits = [max(wait, probe_in) for wait in waits if not any(looks.in_flight.values())]
        else:
            waits += [looks.wait_seconds(operation) for operation in due_lanes]
        if not rounds.access.sight.blind:
            waits += self._seconds_until(rounds.verdicts.next_at())
        waits += self._seconds_until(rounds.access.blind_at())
        waits += self._seconds_until(rounds.overdues.agenda.next_at())
        finite = [wait for wait in waits if wait != float("inf")]
        return max(min(finite), 0.001) if finite else None

    def _seconds_until(self, moment: datetime | None) -> list[float]:
        return [] if moment is None else [(moment - self.clock.now()).total_seconds()]

    async def _take_up(self, rounds: Rounds) -> None:
        """Put on the agenda what the record was following and what the configuration names."""
        rounds.overdues.take_up(await self.gate.insist(lambda: self.store.stays(self.name)))
        live = await self.gate.insist(lambda: self.store.live_runs(self.name))
        wanted = [known for known in live if self._whole.reads_lists or not known.by_rule]
        await self._read_watches(rounds)
        named = self._whole.run_ids | self._named
        keep = [
            known
            for known in wanted
            if known.run_id not in rounds.discovery.muted and (known.by_rule or known.run_id in named | self._watched)
        ]
        await rounds.take_up(keep)
        remembered = await self.gate.insist(lambda: self.store.batches(self.name))
        rounds.batches.take_up(self._whole.batches, remembered)
        await self.gate.insist(lambda: rounds.partings.take_up(self.store, self.name, self.clock.now()))
        await self._follow_ids(named, rounds)
        await self._follow_ids(self._waiters.run_ids, rounds, afresh=True)
        rounds.listings.start_discovery()

    async def _follow_ids(self, run_ids: Iterable[str], rounds: Rounds, *, afresh: bool = False) -> None:
        strangers = [run_id for run_id in run_ids if run_id not in rounds.runs]
        if not strangers:
            return
        remembered = await self.gate.insist(lambda: self.store.known_runs(self.name, strangers))
        news = [rounds.named(run_id, remembered.get(run_id), afresh=afresh) for run_id in strangers]
        await rounds.follow([known for known in news if known is not None])

    async def _read_watches(self, rounds: Rounds) -> None:
        names = {self.name, *(guest.name for guest in self.guests)}
        rows = [row for row in await self.gate.insist(self.store.watches) if row.scope in names]
        modes = {row.run_id: row.mode for row in rows}  # of one run under two names the newest counts: they come last
        followed = frozenset(run_id for run_id, mode in modes.items() if mode == "follow")
        muted = frozenset(modes.keys() - followed)
        rounds.discovery.muted = muted
        for run_id in (self._watched - followed - self._whole.run_ids - self._named) | (muted & rounds.runs.keys()):
            known = rounds.runs.get(run_id)
            if known is not None and (run_id in muted or not known.by_rule):
                await rounds.let_go(run_id)
        new = followed - self._watched
        asked_now = {row.run_id for row in rows if row.added_at >= self._started_at}
        self._watched = followed
        if new:
            await self._follow_ids(new - asked_now, rounds)
            await self._follow_ids(new & asked_now, rounds, afresh=True)
            self.wake()
