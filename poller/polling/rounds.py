"""A round: answers that came together -> what is known now, what is to be told, one transaction, and what to ask next.

The order is the promise: `observe` works on values, the record commits them, and only then memory, planner and telling
side learn of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

import anyio
import structlog

from poller.bell import Bell
from poller.core.cadence import Pace, next_look
from poller.core.errors import BadRequest, Blind, Denied, ServiceError, Throttled
from poller.core.events import Draft, Place, PollerData, event_of, poller_event, short_type
from poller.core.machine import Observed, Step, Transition, absent, missed, observe, refuse, vanish
from poller.core.planner import GetRunLook, ListLook, Planner, Swept
from poller.core.retries import full_jitter
from poller.core.runs import RUN_ARN, Json, KnownRun, Question, Snapshot
from poller.core.sight import Cause, Sight, blinded, fails, sees, turns_blind
from poller.core.vanishing import Ladder, Rung, next_rung
from poller.gate import RecordGate
from poller.polling.discovery import Discovery, newest_first
from poller.polling.looks import Answer, LookFailed, PageShown, RunMissing, RunRefused, RunShown
from poller.ports import Clock, Round, ScopeState, Store
from poller.telemetry import Tally

log = structlog.get_logger("poller.polling")

FIRST_RETRY: Final = timedelta(seconds=0.5)
NEVER: Final = float("inf")
_ODD_STEPS: Final = {Step.STALE: "stale", Step.UNKNOWN: "unknown_status", Step.CONTRADICTION: "contradiction"}


@dataclass(slots=True)
class _Work:
    """What a round has found so far; nothing of it counts before it is committed."""

    runs: dict[str, KnownRun] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    snapshots: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    poller_drafts: list[Draft] = field(default_factory=list)
    due: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    state_changed: bool = False


@dataclass(slots=True)
class _Waiter:
    """Somebody who waits for a GetRun that was sent after `since`."""

    since: datetime
    event: anyio.Event = field(default_factory=anyio.Event)
    known: KnownRun | None = None


class Rounds:
    """What one scope knows, and the one way in which it comes to know more.

    Args: `chance` gives numbers in [0, 1); `include` names the private fields to keep and send; `rates` tells the
    learned calls per second; `instance` names the daemon in events of its own.
    """

    def __init__(
        self,
        *,
        place: Place,
        pace: Pace,
        store: Store,
        gate: RecordGate,
        bell: Bell,
        clock: Clock,
        chance: Callable[[], float],
        planner: Planner,
        discovery: Discovery,
        tally: Tally,
        instance: str,
        rates: Callable[[], Mapping[str, float]],
        include: Sequence[str] = (),
    ) -> None:
        self.place = place
        self.pace = pace
        self.store = store
        self.gate = gate
        self.bell = bell
        self.clock = clock
        self.chance = chance
        self.planner = planner
        self.discovery = discovery
        self.tally = tally
        self.instance = instance
        self.rates = rates
        self.include = include
        self.runs: dict[str, KnownRun] = {}
        self.sight = Sight()
        self._ladders: dict[str, Ladder] = {}
        self._swept_for: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._denied: dict[str, float] = {}
        self._list_failures = 0
        self._run_answered = float("-inf")
        self._waiters: dict[str, list[_Waiter]] = {}
        self._last_ended_item: datetime | None = None
        self._ended_in_order = True

    # --- the ways in -----------------------------------------------------------------------------------------------

    async def commit(self, answers: Sequence[Answer]) -> None:
        """Apply answers in the order in which they came, write what they change, then plan anew."""
        work = _Work()
        was_blind = self.sight.blind_since
        for answer in answers:
            match answer:
                case RunShown():
                    self._run_shown(work, answer)
                case RunMissing():
                    self._run_missing(work, answer)
                case RunRefused():
                    self._run_refused(work, answer)
                case PageShown():
                    await self._page_shown(work, answer)
                case LookFailed():
                    self._look_failed(answer)
                case _:
                    assert_never(answer)
        self._tell_sight(work, was_blind)
        await self._write(work)
        for answer in answers:
            self._landed(answer)
        self._plan(work)
        for answer in answers:
            if isinstance(answer, RunShown) and answer.look.run_id in work.runs:
                self._answer_waiters(work.runs[answer.look.run_id], answer.snapshot.asked_at)
            elif isinstance(answer, RunMissing | RunRefused) and answer.look.run_id in work.runs:
                known = work.runs[answer.look.run_id]
                if not known.live:
                    self._answer_waiters(known, answer.answered_at)

    async def follow(self, runs: Iterable[KnownRun], *, due: float | None = None) -> None:
        """Follow runs from now on: new ones are written first, so that a restart knows them too."""
        work = _Work()
        for known in runs:
            if known.run_id not in self.runs:
                work.runs[known.run_id] = known
                work.due[known.run_id] = self.clock.monotonic() if due is None else due
        if work.runs:
            await self._write(work)
            self._plan(work)

    def take_up(self, runs: Iterable[KnownRun]) -> None:
        """Go on with what the record was following; everything is due, since nobody knows how long nobody looked."""
        now = self.clock.monotonic()
        for known in runs:
            self.runs[known.run_id] = known
            self.planner.follow(known, now)

    def named(self, run_id: str, remembered: KnownRun | None, *, afresh: bool) -> KnownRun | None:
        """How a run that somebody named is followed: None if its story is on record and nobody asks `afresh`."""
        if remembered is None:
            return KnownRun(run_id)
        if remembered.live:
            return replace(remembered, by_rule=False)
        return replace(remembered, question=Question.IDENTITY, by_rule=False) if afresh else None

    def ask_soon(self, run_id: str) -> None:
        """Ask about a followed run as soon as min_interval allows."""
        known = self.runs.get(run_id)
        if known is not None and run_id not in self._ladders:
            asked = replace(known, question=known.question or Question.FIRST)
            self.planner.follow(asked, self.clock.monotonic())

    async def answered(self, run_id: str) -> KnownRun:
        """Wait until a GetRun sent from now on has spoken of the run, or a verdict is given; what is known then."""
        waiter = _Waiter(self.clock.now())
        self._waiters.setdefault(run_id, []).append(waiter)
        await waiter.event.wait()
        assert waiter.known is not None
        return waiter.known

    def unfollow(self, run_id: str) -> None:
        """Look at a run no more; what is known of it stays in the record."""
        self._forget_agenda(run_id)
        self.runs.pop(run_id, None)

    async def climb(self, is_ours: Callable[[], bool]) -> None:
        """Take every run that GetRun did not find one rung further, where its time has come.

        Args: `is_ours` says whether the credentials still belong to the pinned account: without it, no verdict.
        """
        work = _Work()
        now = self.clock.now()
        for run_id, ladder in list(self._ladders.items()):
            known = self.runs.get(run_id)
            if known is None:
                self._forget_agenda(run_id)
                continue
            if self._rung(known, ladder)[0] is not Rung.VANISHED:
                continue
            if not is_ours():
                break
            self._apply(work, vanish(known, now, ladder.evidence), known)
            self._forget_agenda(run_id)
        if work.runs:
            await self._write(work)
            self._plan(work)
            for known in work.runs.values():
                self._answer_waiters(known, now)

    def vanishing(self) -> bool:
        """Whether a run is about to be declared gone."""
        return any(
            self._rung(self.runs[run_id], ladder)[0] is Rung.VANISHED
            for run_id, ladder in self._ladders.items()
            if run_id in self.runs
        )

    async def cannot_see(self, cause: Cause, detail: str) -> None:
        """Note that there is no access: asking stops until the next probe, and it is told."""
        was_blind = self.sight.blind_since
        work = _Work()
        self._fails(cause, detail, at_once=True)
        self._tell_sight(work, was_blind)
        await self._write(work)

    async def look_at_the_clock(self) -> None:
        """Tell blindness that time alone has brought: looks that do not come back at all."""
        work = _Work()
        self._tell_sight(work, self.sight.blind_since)
        await self._write(work)

    async def keep_state(self) -> None:
        """Write what is remembered of the scope itself: the learned rates change without a round."""
        await self._write(_Work(state_changed=True))

    async def pin(self, account_id: str) -> None:
        """The account is known: from now on it is the only one whose answers count."""
        work = _Work()
        self._pin(work, account_id)
        await self._write(work)

    def state(self) -> ScopeState:
        """What the record keeps of this scope."""
        return ScopeState(
            name=self.place.scope,
            region=self.place.region,
            account_id=self.place.account_id,
            discovered_through=self.discovery.discovered_through,
            rates=self.rates(),
        )

    # --- one answer each -------------------------------------------------------------------------------------------

    def _run_shown(self, work: _Work, answer: RunShown) -> None:
        snapshot, run_id = answer.snapshot, answer.look.run_id
        known = work.runs.get(run_id) or self.runs.get(run_id)
        if known is None or not self._is_our_account(work, snapshot):
            return
        self._sees()
        self._run_answered = self.clock.monotonic()
        self._denied.pop(run_id, None)
        self._failures.pop(run_id, None)
        work.shown[run_id] = self._monotonic(snapshot.asked_at)
        observed = observe(known, snapshot)
        if not known.looked or observed.transitions:
            work.snapshots[run_id] = snapshot.fields
        self._apply(work, observed, known)
        if observed.known.question is Question.GONE:
            self._ladders.setdefault(
                run_id,
                Ladder(snapshot.answered_at, evidence=(f"GetRun: DELETED at {snapshot.answered_at.isoformat()}",)),
            )
        else:
            self._ladders.pop(run_id, None)

    def _run_missing(self, work: _Work, answer: RunMissing) -> None:
        self._sees()
        run_id = answer.look.run_id
        known = work.runs.get(run_id) or self.runs.get(run_id)
        if known is None:
            return
        gone = missed(known, answer.answered_at)
        self._apply(work, Observed(gone, (), Step.SAME), known)
        if gone.missing_since is None:
            return
        ladder = self._ladders.get(run_id, Ladder(gone.missing_since, misses=0))
        said = f"GetRun: {answer.error.code} at {answer.answered_at.isoformat()}"
        self._ladders[run_id] = replace(ladder, misses=ladder.misses + 1, evidence=(*ladder.evidence, said))

    def _run_refused(self, work: _Work, answer: RunRefused) -> None:
        run_id, now = answer.look.run_id, self.clock.monotonic()
        known = work.runs.get(run_id) or self.runs.get(run_id)
        if known is None:
            return
        if isinstance(answer.error, BadRequest) or self._run_answered > self._denied.get(run_id, now):
            # the service answers, but not about this one
            self._sees()
            self._denied.pop(run_id, None)
            reason = f"GetRun: {answer.error.code}: {answer.error.message}"
            self._apply(work, refuse(known, answer.answered_at, reason), known)
            return
        self._denied.setdefault(run_id, now)
        everything = all(other in self._denied for other in self.runs)
        cause = Cause.DENIED if everything else Cause.NO_ANSWER
        self._failed(answer.look, answer.error)
        self._fails(cause, str(answer.error), at_once=everything)

    async def _page_shown(self, work: _Work, answer: PageShown) -> None:
        look, page = answer.look, answer.page
        if not self.planner.still_reading(look):
            return
        if self.sight.cause is not Cause.DENIED:  # lists may answer while GetRun is denied for every run
            self._sees()
        self._list_failures = 0
        ended = look.reader == "ended"
        if look.page == 0 and look.status in ("PENDING", "COMPLETED") and look.group in self.planner.groups[:1]:
            self.discovery.began(page, ended=ended)
        if look.page == 0:
            self._last_ended_item, self._ended_in_order = None, True
        remembered = await self._remembered(work, page.items)
        for item in page.items:
            self._item_shown(work, item, remembered)
        token = page.token
        if ended:
            self._ended_in_order = self._ended_in_order and newest_first(page.items, self._last_ended_item)
            if page.items:
                self._last_ended_item = page.items[-1].creation_time
            if self.discovery.passed_mark(page, in_order=self._ended_in_order):
                token = None
        if token is not None and token == look.token:
            token = None  # a service that repeats a token would be read for ever
        swept = self.planner.page_read(look, token)
        if swept is not None:
            self._swept(work, swept)

    def _item_shown(self, work: _Work, item: Snapshot, remembered: Mapping[str, KnownRun]) -> None:
        run_id = item.run_id
        known = work.runs.get(run_id) or self.runs.get(run_id) or remembered.get(run_id)
        if known is None:
            known = self.discovery.adopt(item)
            if known is None:
                return
            self.discovery.last_news = item.answered_at
            log.info("run.found", run=run_id, status=item.status)
        elif run_id not in self.runs and run_id in self.discovery.muted:
            return
        work.shown[run_id] = self._monotonic(item.asked_at)
        self.planner.shown(run_id, work.shown[run_id])
        observed = observe(known, item)
        ladder = self._ladders.get(run_id)
        if ladder is not None and not known.shown_deleted and item.asked_at > ladder.missing_since:
            # lists still show what GetRun does not find: not gone, but a reason to ask again
            self._forget_agenda(run_id)
            observed = observed._replace(
                known=replace(observed.known, question=observed.known.question and Question.END, missing_since=None)
            )
        if run_id in self.runs or run_id in work.runs or observed.known != known or observed.known.live:
            self._apply(work, observed, known if run_id in self.runs or run_id in remembered else None)

    def _swept(self, work: _Work, swept: Swept) -> None:
        now = self.clock.monotonic()
        ended = swept.reader == "ended"
        for run_id in swept.absent:
            known = work.runs.get(run_id) or self.runs.get(run_id)
            if known is not None:
                self._apply(work, Observed(absent(known), (), Step.SAME), known)
        for run_id, ladder in self._ladders.items():
            wanted = self._swept_for.get(run_id, NEVER)
            if swept.everything and not ended and swept.from_status == "PENDING" and swept.started >= wanted:
                said = "ListRuns: not among the active runs"
                self._ladders[run_id] = replace(ladder, listed=True, evidence=(*ladder.evidence, said))
        if ended:
            self.planner.read_ended(now + self.pace.discover_ended.total_seconds())
        if ended or swept.from_status == "PENDING":
            reads_ended = self.pace.discover_ended > timedelta(0)
            moved = self.discovery.finished(ended=ended, ended_lists_are_read=reads_ended)
            work.state_changed = work.state_changed or moved
        if not ended and swept.from_status == "PENDING":
            self.plan_discovery()

    def _look_failed(self, answer: LookFailed) -> None:
        look, error = answer.look, answer.error
        self._failed(look, error)
        if isinstance(error, Throttled):
            # the service answers, only not us: the budget is cut, and it is blindness only if it lasts
            self.sight = replace(
                self.sight,
                failing_since=self.sight.failing_since or answer.answered_at,
                cause=Cause.NO_ANSWER,
                detail=str(error),
            )
        elif isinstance(error, Blind):
            self._fails(Cause.CREDENTIALS, str(error), at_once=True)
        elif not isinstance(error, Denied):
            self._fails(Cause.NO_ANSWER, str(error))

    def _failed(self, look: GetRunLook | ListLook, error: ServiceError) -> None:
        """Count and log a look that brought nothing, and find out when it is made again."""
        operation = "GetRun" if isinstance(look, GetRunLook) else "ListRuns"
        self.tally.add("looks_failed", operation=operation, error=error.code)
        if isinstance(look, GetRunLook):
            failures = self._failures[look.run_id] = self._failures.get(look.run_id, 0) + 1
            facts = {"run": look.run_id}
        else:
            self._list_failures += 1
            failures, facts = self._list_failures, {"list": look.status}
        tell = log.debug if isinstance(error, Throttled) or failures > 1 else log.warning
        tell("look.failed", operation=operation, error=error.code, detail=error.message, failures=failures, **facts)

    # --- what follows ----------------------------------------------------------------------------------------------

    def _apply(self, work: _Work, observed: Observed, before: KnownRun | None) -> None:
        known = observed.known
        odd = _ODD_STEPS.get(observed.step)
        if odd is not None:
            self.tally.add("odd_answers", kind=odd)
            log.debug("look.stale" if odd == "stale" else "look.odd", run=known.run_id, kind=odd, status=known.status)
        work.runs[known.run_id] = known
        work.transitions += observed.transitions
        work.due[known.run_id] = self._due(known)

    def _due(self, known: KnownRun) -> float:
        """When a run is asked about next, in monotonic seconds."""
        now, monotonic = self.clock.now(), self.clock.monotonic()
        if known.question is not None:
            return monotonic
        if known.since is None:
            return monotonic + self.pace.min_interval.total_seconds()
        moment = next_look(min(known.since, now), now, self.pace.min_interval, self.pace.max_interval, self.chance())
        return monotonic + (moment - now).total_seconds()

    def _monotonic(self, moment: datetime) -> float:
        return self.clock.monotonic() - (self.clock.now() - moment).total_seconds()

    async def _write(self, work: _Work) -> None:
        """Commit the round, if it changes anything; returns once it is on disk."""
        changed = [known for known in work.runs.values() if self._is_news(known)]
        if not (changed or work.transitions or work.poller_drafts or work.state_changed):
            return
        drafts = [*await self._drafts(work), *work.poller_drafts]
        round_ = Round(
            at=self.clock.now(),
            scope=self.place.scope,
            runs=changed,
            snapshots=work.snapshots,
            drafts=drafts,
            state=self.state() if work.state_changed else None,
        )
        events = await self.gate.insist(lambda: self.store.commit_round(round_))
        for event in events:
            if event.run_id is not None:
                data = event.data
                log.info("run.transition", run=event.run_id, type=short_type(event.type), name=data.get("name"))
            self.tally.add("events", type=short_type(event.type))
        log.debug("round.committed", runs=len(changed), events=len(events))
        if events:
            self.bell.ring()

    def _is_news(self, known: KnownRun) -> bool:
        """Whether a run changed in more than the time of its last look: idle looks are not written."""
        before = self.runs.get(known.run_id)
        return before is None or replace(known, seen_at=before.seen_at, since=before.since) != before

    async def _drafts(self, work: _Work) -> list[Draft]:
        """The transitions as events; those that no GetRun of this round shows get the stored fields of their run."""
        partial = {one.run_id for one in work.transitions if one.snapshot is None or not one.snapshot.full}
        stored: Mapping[str, Mapping[str, Json]] = {}
        if partial:
            stored = await self.gate.insist(lambda: self.store.snapshots(self.place.scope, partial))
        drafts = []
        for one in work.transitions:
            fields: Mapping[str, Json] = {}
            if one.snapshot is None or not one.snapshot.full:
                candidates = (stored.get(one.run_id, {}), work.snapshots.get(one.run_id, {}))
                fields = next((each for each in candidates if one.uuid and each.get("uuid") == one.uuid), {})
            drafts.append(event_of(one, self.place, fields, include=self.include))
        return drafts

    async def _remembered(self, work: _Work, items: Iterable[Snapshot]) -> Mapping[str, KnownRun]:
        """What the record knows of listed runs that are not followed now: ended ones, given-up ones."""
        if not self.discovery.rule.discover:
            return {}
        strangers = [item.run_id for item in items if item.run_id not in self.runs and item.run_id not in work.runs]
        if not strangers:
            return {}
        return await self.gate.insist(lambda: self.store.known_runs(self.place.scope, strangers))

    def _answer_waiters(self, known: KnownRun, asked_at: datetime) -> None:
        waiters = self._waiters.pop(known.run_id, [])
        for waiter in waiters:
            if asked_at >= waiter.since:
                waiter.known = known
                waiter.event.set()
        later = [waiter for waiter in waiters if waiter.known is None]
        if later:
            self._waiters[known.run_id] = later

    def _landed(self, answer: Answer) -> None:
        """Free what was under way; a failed look is made again after a backoff."""
        now = self.clock.monotonic()
        if isinstance(answer, PageShown):
            return
        look = answer.look
        if isinstance(look, GetRunLook):
            answered = not isinstance(answer, LookFailed) and look.run_id not in self._denied
            self.planner.landed(look.run_id, now, answered=answered)
            known = self.runs.get(look.run_id)
            if not answered and known is not None:
                self.planner.follow(known, now + self._backoff(self._failures.get(look.run_id, 1)))
            return
        assert isinstance(answer, LookFailed)
        if isinstance(answer.error, Denied):
            log.warning("lists.denied", detail=str(answer.error), then="every run is asked about by GetRun")
            self.planner.lists_denied()
        else:
            start_over = isinstance(answer.error, BadRequest) and look.token is not None
            self.planner.page_failed(look, now + self._backoff(self._list_failures), start_over=start_over)

    def _plan(self, work: _Work) -> None:
        """Take a committed round over into memory and agenda."""
        for run_id, known in work.runs.items():
            if known.live or known.question is not None:
                self.runs[run_id] = known
                self.planner.follow(known, work.due[run_id], shown=work.shown.get(run_id))
            else:
                self._forget_agenda(run_id)
                self.planner.drop(run_id)
                self.runs.pop(run_id, None)
        self._plan_ladders()

    def _plan_ladders(self) -> None:
        now = self.clock.monotonic()
        for run_id, ladder in self._ladders.items():
            known = self.runs.get(run_id)
            if known is None:
                continue
            rung, at = self._rung(known, ladder)
            due = now + (at - self.clock.now()).total_seconds() if rung is Rung.GET_RUN else NEVER
            self.planner.follow(known, due)
            if rung is Rung.LIST_RUNS and run_id not in self._swept_for:
                self._swept_for[run_id] = now
                self.planner.sweep_all()

    def _rung(self, known: KnownRun, ladder: Ladder) -> tuple[Rung, datetime]:
        deadline = ladder.missing_since + self.pace.vanish_deadline
        rung, at = next_rung(
            ladder,
            seen_before=known.seen_at is not None,
            shown_deleted=known.shown_deleted,
            pause=self.pace.min_interval,
            deadline=self.pace.vanish_deadline,
        )
        if rung is Rung.LIST_RUNS and (not self.planner.lists_allowed or self.clock.now() >= deadline):
            self._ladders[known.run_id] = replace(
                ladder, listed=True, evidence=(*ladder.evidence, "ListRuns: not read whole in time")
            )
            return Rung.VANISHED, at
        return rung, at

    def ladder_deadline(self) -> datetime | None:
        """When the next run that waits for the lists is declared gone without them."""
        waiting = [
            ladder.missing_since + self.pace.vanish_deadline
            for run_id, ladder in self._ladders.items()
            if run_id in self.runs and self._rung(self.runs[run_id], ladder)[0] is Rung.LIST_RUNS
        ]
        return min(waiting, default=None)

    def blind_at(self) -> datetime | None:
        """When the scope counts as blind if no look succeeds before; None if nothing fails, or it is blind already."""
        if self.sight.blind or self.sight.failing_since is None:
            return None
        return self.sight.failing_since + self.pace.blind_after

    def start_discovery(self) -> None:
        """Read all lists soon: the active ones for what runs, the ended ones for what nobody was there to see."""
        if self.discovery.rule.discover:
            self.discovery.last_news = self.clock.now()
            self.planner.discover(self.clock.monotonic())
            if self.pace.discover_ended > timedelta(0):
                self.planner.read_ended(self.clock.monotonic())

    def plan_discovery(self) -> None:
        """When the active lists are next read for discovery: soon after something was found, seldom in a quiet hour."""
        if not self.discovery.rule.discover:
            self.planner.discover(None)
            return
        now = self.clock.now()
        since = min(self.discovery.last_news or now, now)
        moment = next_look(since, now, self.pace.min_interval, self.pace.max_interval, self.chance())
        self.planner.discover(self.clock.monotonic() + (moment - now).total_seconds())

    def _forget_agenda(self, run_id: str) -> None:
        self._ladders.pop(run_id, None)
        self._swept_for.pop(run_id, None)
        self._failures.pop(run_id, None)
        self._denied.pop(run_id, None)
        known = self.runs.get(run_id)
        if known is not None and not known.live:
            self.planner.drop(run_id)

    def _backoff(self, failures: int) -> float:
        return full_jitter(failures, FIRST_RETRY, self.pace.max_interval, self.chance()).total_seconds()

    # --- whether anything can be seen ------------------------------------------------------------------------------

    def _sees(self) -> None:
        self.sight = sees(self.sight, self.clock.now())

    def _fails(self, cause: Cause, detail: str, *, at_once: bool = False) -> None:
        self.sight = fails(
            self.sight,
            cause,
            detail,
            now=self.clock.now(),
            monotonic=self.clock.monotonic(),
            jitter=self.chance(),
            slowest=self.pace.max_interval,
            at_once=at_once,
        )

    def _tell_sight(self, work: _Work, was_blind: datetime | None) -> None:
        now = self.clock.now()
        if was_blind is not None and not self.sight.blind:
            work.poller_drafts.append(self._poller_event("recovered", was_blind, now))
            log.info("scope.recovered", seconds=round((now - was_blind).total_seconds(), 1))
            if self.discovery.rule.discover and self.pace.discover_ended > timedelta(0):
                self.planner.read_ended(self.clock.monotonic())
        elif turns_blind(self.sight, now, self.pace.blind_after):
            self.sight = blinded(self.sight, now)
            assert self.sight.blind_since is not None
            work.poller_drafts.append(self._poller_event("blind", self.sight.blind_since, now))
            log.error("scope.blind", cause=self.sight.cause, detail=self.sight.detail)

    def _poller_event(self, kind: str, since: datetime, now: datetime) -> Draft:
        recovered = kind == "recovered"
        return poller_event(
            "recovered" if recovered else "blind",
            PollerData(
                instance=self.instance,
                subject=self.place.scope,
                cause=None if recovered else self.sight.cause,
                detail=None if recovered else self.sight.detail,
                since=since,
                observed_at=now,
                last_success_at=self.sight.last_success_at,
                duration_seconds=(now - since).total_seconds() if recovered else None,
            ),
        )

    def _is_our_account(self, work: _Work, snapshot: Snapshot) -> bool:
        """Whether an answer is about the pinned account; the first ARN seen pins it where nothing else could."""
        found = RUN_ARN.fullmatch(str(snapshot.fields.get("arn", "")))
        if found is None:
            return True
        if self.place.account_id is None:
            self._pin(work, found["account"], found["partition"])
        if found["account"] == self.place.account_id:
            return True
        self._fails(Cause.WRONG_ACCOUNT, self.wrong_account(found["account"]), at_once=True)
        return False

    def wrong_account(self, account_id: str) -> str:
        """The sentence that says whose answers these are, and whose are expected."""
        return f"the answers are of account {account_id}; this record follows account {self.place.account_id}"

    def _pin(self, work: _Work, account_id: str, partition: str = "aws") -> None:
        self.place = replace(self.place, account_id=account_id, partition=partition)
        work.state_changed = True
        log.info("account.pinned", account=account_id)
