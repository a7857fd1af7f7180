"""One account and region: the parts that follow in it, put together anew for each life of its loop, or its rest.

A life ends by a crash, or where other watches, other terms or a twin (`twins.py`) ask for another one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import anyio
import structlog
from anyio.abc import TaskStatus

from poller.core.cadence import Pace
from poller.core.claims import Claims
from poller.core.cohorts import Cohort
from poller.core.diagnosis import NO_DIAGNOSIS, DiagnosisTerms
from poller.core.drafts import Place
from poller.core.overdue import NO_TERMS, Terms
from poller.core.planner import Planner
from poller.core.runs import KnownRun
from poller.core.sight import Sight
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.batches import Batches
from poller.polling.diagnosis import Diagnoses
from poller.polling.discovery import Discovery
from poller.polling.inquiry import Inquiries
from poller.polling.knowledge import Knowledge
from poller.polling.looks import Looks
from poller.polling.loop import Loop, Signals
from poller.polling.manifests import Manifests
from poller.polling.named import Named
from poller.polling.rounds import Rounds
from poller.polling.rules import Rule
from poller.polling.twins import Twins, service_of, take_over, whole_rules, whole_terms
from poller.polling.waiters import Waiters
from poller.ports.records import ScopeState
from poller.ports.service import RunService

log = structlog.get_logger("poller.polling")


class Scope:
    """One account and region: what is followed in it, and the loop that follows.

    Args: `rules` say what is followed, one for each `[[watch]]`; `terms` say when a run is overdue, `diagnosis` what is
    asked about one that failed. `cohorts` gives those that events name, as things stand. Where there are several scopes
    `twins` is set, too: one that proves to be the same account and region as an earlier one rests with that, its
    `keeper`, as one of its `guests`.
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
        terms: Terms = NO_TERMS,
        diagnosis: DiagnosisTerms = NO_DIAGNOSIS,
        include: tuple[str, ...] = (),
    ) -> None:
        self.foundation = foundation
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.place = place
        self.service = service
        self.instance = instance
        self.pace = pace
        self.rules = tuple(rules)
        self.terms = terms
        self.diagnosis = diagnosis
        self.include = include
        self.cohorts: Callable[[], Sequence[Cohort]] = tuple
        self.rounds: Rounds | None = None
        self._looks: Looks | None = None
        self._signals = Signals()
        self._waiters = Waiters()
        self._named = Named(foundation, place.scope, self._waiters)
        self._turn = anyio.CancelScope()
        self._opened = anyio.Event()
        self.twins: Twins | None = None
        self.keeper: Scope | None = None
        self.guests: list[Scope] = []
        self.rested_before = False
        self.recorded_as = place.scope
        """The name under which the record holds what is followed here: in the end that of the keeper."""

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
        self._named.by_callers |= guest._named.by_callers
        self._waiters.join(guest._waiters)
        self._turn.cancel()

    def watch_anew(self, rules: Iterable[Rule]) -> None:
        """Go on with other watches: answers in flight are asked for again."""
        self.rules = tuple(rules)
        self.acting._turn.cancel()

    def use_terms(self, terms: Terms) -> None:
        """Call other runs overdue from now on: answers in flight are asked for again."""
        self.terms = terms
        self.acting._turn.cancel()

    async def _run(self, task_status: TaskStatus[None]) -> None:
        started_at = self.clock.now()
        await take_over(self)
        service = service_of(self.service, self.guests)
        rules = whole_rules(self)
        stored = await self.gate.insist(lambda: self.store.scope(self.name))
        state = stored or ScopeState(self.name, self.place.region)
        first_start = state.discovered_through is None
        self.rested_before = stored is not None and first_start  # its mark went to its keeper
        planner = Planner(
            low=rules.shortest.total_seconds(),
            high=rules.of_lists.high.total_seconds(),
            parts=rules.parts,
            claims=Claims(rules.common),
        )
        tally, chance = self.foundation.tally, self.foundation.chance
        self._looks = looks = Looks(service, self.clock, tally, ceiling=self.pace.ceiling, rates=state.rates)
        access = Access(replace(self.place, account_id=state.account_id), self.pace, self.clock, chance, self.instance)
        if self.rounds is not None:
            access.go_on_from(self.rounds.access)
        manifests = Manifests(service, self.foundation, access, self.pace, state.rates)
        knowledge = Knowledge(
            self.foundation,
            access=access,
            manifests=manifests,
            planner=planner,
            discovery=Discovery(rules, state.discovered_through or started_at, by_our_clock=first_start),
            batches=Batches(rules.claim_of_batch, self.clock, chance),
            pace=self.pace,
            terms=whole_terms(self),
        )
        inquiries = Inquiries(service, self.foundation, self.pace, state.rates, self.diagnosis)
        diagnoses = Diagnoses(self.foundation, access, inquiries)
        self.rounds = rounds = Rounds(
            self.foundation,
            knowledge,
            rates=lambda: looks.rates | manifests.rates | inquiries.rates,
            waiters=self._waiters,
            diagnoses=diagnoses,
            include=self.include,
            cohorts=self.cohorts,
        )
        if first_start:
            await rounds.keep_state()  # a run that is created from now on is told, whatever befalls us before a look
        await self._named.take_up(rounds, scopes=[self.name, *(guest.name for guest in self.guests)], since=started_at)
        await diagnoses.take_up()
        self._opened.set()
        log.info("scope.opened", scope=self.name, region=self.place.region, runs=len(rounds.runs))
        loop = Loop(
            self.foundation,
            service,
            rounds,
            looks=looks,
            manifests=manifests,
            named=self._named,
            signals=self._signals,
            meet=self._meet,
        )
        await loop.run(task_status)

    async def finish_looks(self) -> None:
        """Start no new look; return once the answers in flight are committed. The caller sets the deadline."""
        self._signals.stopping = True
        self.wake()
        if self.rounds is not None:
            await self._signals.idle.wait()
            await self.rounds.keep_state()

    def wake(self) -> None:
        """Make the loop look at its agenda now."""
        self._signals.wake()

    async def follow(self, run_ids: Iterable[str], *, afresh: bool = False) -> None:
        """Follow runs from now on, if nobody does. `afresh` asks the service even if their end is on record."""
        await self._opened.wait()
        if self.keeper is not None:
            await self.keeper.follow(run_ids, afresh=afresh)
            return
        assert self.rounds is not None
        run_ids = list(run_ids)
        self._named.by_callers.update(run_ids)
        await self._named.follow(run_ids, self.rounds, afresh=afresh)
        self.wake()

    async def find(self, run_id: str) -> KnownRun:
        """Follow a run, and return what a GetRun that is sent from now on finds: the incarnation that lives now."""
        await self.follow([run_id], afresh=True)
        if self.acting.rounds is not None:
            self.acting.rounds.knowledge.ask_soon(run_id)
        self.acting.wake()
        return await self._waiters.wait(run_id, self.clock.now())

    def _meet(self, account_id: str) -> bool:
        """This account answers: False if another scope follows in it from now on."""
        if self.twins is not None:
            self.twins.met(self, account_id)
        return self.keeper is None
