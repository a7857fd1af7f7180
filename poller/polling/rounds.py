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

from poller.core.cadence import Pace, next_look
from poller.core.errors import BadRequest, Denied, ServiceError, Throttled
from poller.core.events import Draft, event_of, short_type
from poller.core.machine import Observed, Step, Transition, absent, missed, observe, refuse, vanish
from poller.core.planner import GetRunLook, ListLook, Planner, Swept
from poller.core.retries import full_jitter
from poller.core.runs import Json, KnownRun, Question, Snapshot, Verdict
from poller.core.sight import Cause
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.discovery import Discovery, newest_first
from poller.polling.ladders import Ladders
from poller.polling.looks import Answer, LookFailed, PageShown, RunMissing, RunRefused, RunShown
from poller.polling.waiters import Waiters
from poller.ports import Round, ScopeState

log = structlog.get_logger("poller.polling")

FIRST_RETRY: Final = timedelta(seconds=0.5)
SOON_AFTER_LOSSES: Final = 10
"""Times min_interval between two readings of the ended lists, where pages of the active ones keep failing."""
CLOCKS_DIFFER: Final = 0.001
"""Seconds by which a wall clock moment may be off on the monotonic clock; on the safe side a look counts as older."""
_UNREAD_AFTER: Final = 3
"""Pages in a row that did not come, after which the ended lists are read as soon as one does."""
_LOST: Final = {"vanished": "run.vanished", "unreachable": "run.unreachable"}
_ODD_STEPS: Final = {Step.STALE: "stale", Step.UNKNOWN: "unknown_status", Step.CONTRADICTION: "contradiction"}


@dataclass(slots=True)
class _Work:
    """What a round has found so far; nothing of it counts before it is committed."""

    runs: dict[str, KnownRun] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    snapshots: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    state_changed: bool = False


class Rounds:
    """What one scope knows, and the one way in which it comes to know more.

    Args: `include` names the private fields to keep and send; `rates` tells the learned calls per second.
    """

    def __init__(
        self,
        foundation: Foundation,
        *,
        access: Access,
        planner: Planner,
        discovery: Discovery,
        pace: Pace,
        rates: Callable[[], Mapping[str, float]],
        waiters: Waiters,
        include: Sequence[str] = (),
    ) -> None:
        self.access = access
        self.planner = planner
        self.discovery = discovery
        self.pace = pace
        self.store = foundation.store
        self.gate = foundation.gate
        self.bell = foundation.bell
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.rates = rates
        self.include = include
        self.runs: dict[str, KnownRun] = {}
        self.ladders = Ladders(planner, pace, self.runs, self.clock.now, self.clock.monotonic)
        self._failures: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        self._list_failures = 0
        self._pages_lost = False
        self._ended_read_at = float("-inf")
        self.waiters = waiters
        self._one_at_a_time = anyio.Lock()
        self._last_ended_item: datetime | None = None
        self._ended_in_order = True

    @property
    def scope(self) -> str:
        return self.access.place.scope

    @property
    def _in_the_dark(self) -> bool:
        """Whether so much has failed in a row that a run may have come and ended without any list showing it."""
        return self.access.sight.suspended or self._list_failures >= _UNREAD_AFTER

    # --- the ways in -----------------------------------------------------------------------------------------------

    async def commit(self, answers: Sequence[Answer]) -> None:
        """Apply answers in the order in which they came, write what they change, then plan anew."""
        async with self._one_at_a_time:
            await self._commit(answers)

    async def _commit(self, answers: Sequence[Answer]) -> None:
        work = _Work()
        was_in_the_dark = self._in_the_dark
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
                    self._failed(answer.look, answer.error)
                    self.access.failed(answer.error, answer.answered_at)
                case _:
                    assert_never(answer)
        if was_in_the_dark and not self._in_the_dark:
            self.read_ended()
        await self._write(work)
        for answer in answers:
            self._landed(answer)
        self._plan(work)
        for answer in answers:
            known = work.runs.get(answer.look.run_id) if isinstance(answer.look, GetRunLook) else None
            if known is not None and isinstance(answer, RunShown):
                self.waiters.answer(known, answer.snapshot.asked_at)
            elif (
                known is not None and isinstance(answer, RunMissing | RunRefused) and (not known.live or known.refused)
            ):
                self.waiters.answer(known, answer.answered_at)

    async def follow(self, runs: Iterable[KnownRun]) -> None:
        """Follow runs from now on; they are written first, so that a restart knows them too."""
        async with self._one_at_a_time:
            work = _Work()
            for known in runs:
                if known.run_id not in self.runs:
                    work.runs[known.run_id] = known
                    work.due[known.run_id] = self.clock.monotonic()
            await self._write(work)
            self._plan(work)

    def take_up(self, runs: Iterable[KnownRun]) -> None:
        """Go on with what the record was following; everything is due, since nobody knows how long nobody looked."""
        now = self.clock.monotonic()
        for known in runs:
            self.runs[known.run_id] = known
            self.planner.follow(known, now)

    async def let_go(self, run_id: str) -> None:
        """Look at a run no more; what is known of it stays in the record."""
        async with self._one_at_a_time:
            self._let_go(run_id)

    def _let_go(self, run_id: str) -> None:
        self.runs.pop(run_id, None)
        self.planner.drop(run_id)
        self.ladders.leave(run_id)
        self.access.forget(run_id)
        self._failures.pop(run_id, None)
        self._retry_at.pop(run_id, None)

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
        if known is not None and run_id not in self.ladders:
            asked = replace(known, question=known.question or Question.FIRST)
            self.planner.follow(asked, self.clock.monotonic())

    async def climb(self) -> None:
        """Declare gone the runs of which nothing more is to be asked."""
        async with self._one_at_a_time:
            now = self.clock.now()
            work = _Work()
            for known, evidence in self.ladders.at_the_top():
                self._apply(work, vanish(known, now, evidence))
            await self._write(work)
            for run_id in work.runs:
                self.ladders.leave(run_id)
            self._plan(work)
            for known in work.runs.values():
                self.waiters.answer(known, now)

    async def lost(self, cause: Cause, detail: str) -> None:
        """Note that there is no access, and tell it."""
        async with self._one_at_a_time:
            self.access.lost(cause, detail)
            await self._write(_Work())

    async def look_at_the_clock(self) -> None:
        """Tell blindness that time alone has brought: looks that do not come back at all."""
        async with self._one_at_a_time:
            await self._write(_Work())

    async def relieved(self) -> None:
        """Another scope follows from now on: if this one was told to be blind, that is over."""
        async with self._one_at_a_time:
            self.access.relieved()
            await self._write(_Work())

    async def pin(self, account_id: str) -> None:
        """The account is known: from now on it is the only one whose answers count."""
        self.access.pin(account_id)
        await self.keep_state()

    async def keep_state(self) -> None:
        """Write what is remembered of the scope itself: the learned rates change without a round."""
        async with self._one_at_a_time:
            await self._write(_Work(state_changed=True))

    # --- one answer each -------------------------------------------------------------------------------------------

    def _run_shown(self, work: _Work, answer: RunShown) -> None:
        snapshot, run_id = answer.snapshot, answer.look.run_id
        known = self._known(work, run_id)
        account = self.access.place.account_id
        if known is None or not self.access.is_ours(snapshot):
            return
        work.state_changed = work.state_changed or self.access.place.account_id != account
        self.access.run_answered(run_id)
        self._failures.pop(run_id, None)
        seconds = (self.clock.now() - snapshot.asked_at).total_seconds()
        work.shown[run_id] = self.clock.monotonic() - seconds - CLOCKS_DIFFER
        observed = observe(known, snapshot)
        if not known.looked or observed.transitions:
            work.snapshots[run_id] = snapshot.fields
        self._apply(work, observed)
        if observed.known.question is Question.GONE:
            self.ladders.shown_deleted(snapshot)
        else:
            self.ladders.leave(run_id)

    def _run_missing(self, work: _Work, answer: RunMissing) -> None:
        self.access.answered()
        known = self._known(work, answer.look.run_id)
        if known is None:
            return
        gone = missed(known, answer.answered_at)
        self._apply(work, Observed(gone, (), Step.SAME))
        if gone.live:
            self.ladders.missed(gone, answer.error, answer.answered_at)

    def _run_refused(self, work: _Work, answer: RunRefused) -> None:
        known = self._known(work, answer.look.run_id)
        if known is None:
            return
        final = isinstance(answer.error, BadRequest)
        alone = self.access.refuses(known.run_id, answer.error, self.runs)
        if alone and not known.refused:
            reason = f"GetRun: {answer.error.code}: {answer.error.message}"
            self._apply(work, refuse(known, answer.answered_at, reason, final=final))
        if not final:
            self._failed(answer.look, answer.error)
        if not alone:
            other = next((run_id for run_id in self.runs if not self.access.is_denied(run_id)), None)
            if other is not None:
                self.ask_soon(other)  # whether it is this run alone, another one's answer tells

    async def _page_shown(self, work: _Work, answer: PageShown) -> None:
        look, page = answer.look, answer.page
        if not self.planner.still_reading(look):
            return
        self.access.answered()
        self._list_failures = 0
        ended = look.reader == "ended"
        if look.page == 0:
            self._last_ended_item, self._ended_in_order = None, True
            if look.status in ("PENDING", "COMPLETED") and look.group in self.planner.groups[:1]:
                work.state_changed = self.discovery.began(page, ended=ended) or work.state_changed
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
        if token == look.token:
            token = None  # a service that repeats a token would be read for ever
        swept = self.planner.page_read(look, token)
        if swept is not None:
            self._swept(work, swept)

    def _item_shown(self, work: _Work, item: Snapshot, remembered: Mapping[str, KnownRun]) -> None:
        run_id = item.run_id
        known = self._known(work, run_id) or remembered.get(run_id)
        if known is None:
            known = self.discovery.adopt(item)
            if known is None:
                return
            log.info("run.found", scope=self.scope, run=run_id, status=item.status)
        elif run_id not in self.runs and run_id in self.discovery.muted:
            return
        work.shown[run_id] = self.clock.monotonic()  # its walk goes on: that began before
        self.planner.shown(run_id, work.shown[run_id])
        observed = observe(known, item)
        self.ladders.shown_by_list(known, item)
        waits_already = run_id in self.runs and not known.live and observed.known == known
        if not waits_already and (observed.known.live or observed.known.question or observed.known != known):
            self._apply(work, observed)

    def _swept(self, work: _Work, swept: Swept) -> None:
        """All lists of a walk were read: ask about who is missing, remember how far discovery has come."""
        ended = swept.reader == "ended"
        for run_id in swept.absent:
            known = self._known(work, run_id)
            if known is not None and run_id not in self.ladders:
                self._apply(work, Observed(absent(known), (), Step.SAME))
        self.ladders.swept(swept)
        if ended or swept.from_status == "PENDING":
            reads_ended = self.pace.discover_ended > timedelta(0)
            moved = self.discovery.finished(ended=ended, ended_lists_are_read=reads_ended)
            work.state_changed = work.state_changed or moved
        if ended:
            self._ended_read_at = self.clock.monotonic()
            self.planner.read_ended(self._ended_read_at + self.pace.discover_ended.total_seconds())
        elif swept.from_status == "PENDING":
            self.plan_discovery()
            self.read_ended_after_losses()

    def _failed(self, look: GetRunLook | ListLook, error: ServiceError) -> None:
        """Count and log a look that brought nothing, and note how often it did."""
        operation = "GetRun" if isinstance(look, GetRunLook) else "ListRuns"
        self.tally.add("looks_failed", operation=operation, error=error.code)
        if isinstance(look, GetRunLook):
            failures = self._failures[look.run_id] = self._failures.get(look.run_id, 0) + 1
            facts = {"run": look.run_id}
        else:
            self._list_failures += 1
            self._pages_lost = True
            failures, facts = self._list_failures, {"list": look.status}
        tell = log.debug if isinstance(error, Throttled) or failures > 1 else log.warning
        tell("look.failed", operation=operation, error=error.code, detail=error.message, failures=failures, **facts)

    # --- what follows ----------------------------------------------------------------------------------------------

    def _known(self, work: _Work, run_id: str) -> KnownRun | None:
        return work.runs.get(run_id) or self.runs.get(run_id)

    def _apply(self, work: _Work, observed: Observed) -> None:
        known = observed.known
        odd = _ODD_STEPS.get(observed.step)
        if odd is not None:
            self.tally.add("odd_answers", kind=odd)
            log.debug("look.odd", run=known.run_id, kind=odd, status=known.status)
        work.runs[known.run_id] = known
        work.transitions += observed.transitions
        work.due[known.run_id] = self._due(known)

    def _due(self, known: KnownRun) -> float:
        """When a run is asked about next, in monotonic seconds."""
        now, monotonic = self.clock.now(), self.clock.monotonic()
        if known.question is not None and not (known.verdict is Verdict.VANISHED and known.question is Question.END):
            return monotonic
        if known.question is not None:
            return monotonic + self.pace.max_interval.total_seconds()  # only lists show it: no hurry
        since = min(known.since or now, now)
        moment = next_look(since, now, self.pace.min_interval, self.pace.max_interval, self.chance())
        return monotonic + (moment - now).total_seconds()

    async def _write(self, work: _Work) -> None:
        """Commit the round, if it changes anything; returns once it is on disk."""
        changed = [known for known in work.runs.values() if self._is_news(known)]
        news = self.access.news()
        if not (changed or work.transitions or work.state_changed or news):
            return
        drafts = await self._drafts(work)
        if news is not None:
            drafts.append(news)
            if not self.access.sight.blind:
                self.read_ended()
        round_ = Round(
            at=self.clock.now(),
            scope=self.scope,
            runs=changed,
            snapshots=work.snapshots,
            drafts=drafts,
            state=self._state() if work.state_changed else None,
        )
        events = await self.gate.insist(lambda: self.store.commit_round(round_))
        for event in events:
            if event.kind in _LOST:
                log.warning(_LOST[event.kind], run=event.run_id, evidence=event.data.get("evidence"))
            elif event.run_id is not None:
                log.info("run.transition", run=event.run_id, type=event.kind, name=event.data.get("name"))
            self.tally.add("events", type=short_type(event.type))
        log.debug("round.committed", scope=self.scope, runs=len(changed), events=len(events))
        if events:
            self.bell.ring()

    def _is_news(self, known: KnownRun) -> bool:
        """Whether a run changed in more than the time of its last look: idle looks are not written."""
        before = self.runs.get(known.run_id)
        return before is None or replace(known, seen_at=before.seen_at, since=before.since) != before

    def _state(self) -> ScopeState:
        place = self.access.place
        return ScopeState(place.scope, place.region, place.account_id, self.discovery.discovered_through, self.rates())

    async def _drafts(self, work: _Work) -> list[Draft]:
        """The transitions as events; those that no GetRun of this round shows get the stored fields of their run."""
        partial = {one.run_id for one in work.transitions if one.snapshot is None or not one.snapshot.full}
        stored: Mapping[str, Mapping[str, Json]] = {}
        if partial:
            stored = await self.gate.insist(lambda: self.store.snapshots(self.scope, partial))
        drafts = []
        for one in work.transitions:
            fields: Mapping[str, Json] = {}
            if one.snapshot is None or not one.snapshot.full:
                candidates = (stored.get(one.run_id, {}), work.snapshots.get(one.run_id, {}))
                fields = next((each for each in candidates if one.uuid and each.get("uuid") == one.uuid), {})
            drafts.append(event_of(one, self.access.place, fields, include=self.include))
        return drafts

    async def _remembered(self, work: _Work, items: Iterable[Snapshot]) -> Mapping[str, KnownRun]:
        """What the record knows of listed runs that are not followed now: ended ones, given-up ones."""
        strangers = [item.run_id for item in items if self._known(work, item.run_id) is None]
        if not strangers or not self.discovery.rule.discover:
            return {}
        return await self.gate.insist(lambda: self.store.known_runs(self.scope, strangers))

    def _landed(self, answer: Answer) -> None:
        """Free what was under way; a failed look is made again after a backoff."""
        now, look = self.clock.monotonic(), answer.look
        if isinstance(look, GetRunLook):
            answered = isinstance(answer, RunShown | RunMissing)
            self.planner.landed(look.run_id, now, answered=answered)
            known = self.runs.get(look.run_id)
            if answered:
                self._retry_at.pop(look.run_id, None)
            elif known is not None:
                self._retry_at[look.run_id] = now + self._backoff(self._failures.get(look.run_id, 1))
                self.planner.follow(known, self._retry_at[look.run_id])
        elif isinstance(answer, LookFailed) and isinstance(answer.error, Denied):
            log.warning("lists.denied", detail=str(answer.error), then="every run is asked about by GetRun")
            self.planner.lists_denied()
        elif isinstance(answer, LookFailed):
            start_over = isinstance(answer.error, BadRequest) and look.token is not None
            self.planner.page_failed(look, now + self._backoff(self._list_failures), start_over=start_over)

    def _plan(self, work: _Work) -> None:
        """Take a committed round over into memory and agenda."""
        for run_id, known in work.runs.items():
            if known.live or known.question is not None:
                self.runs[run_id] = known
                due = max(work.due[run_id], self._retry_at.get(run_id, 0.0))
                self.planner.follow(known, due, shown=work.shown.get(run_id))
            else:
                self._let_go(run_id)
        self.ladders.plan()

    def _backoff(self, failures: int) -> float:
        return full_jitter(failures, FIRST_RETRY, self.pace.max_interval, self.chance()).total_seconds()

    # --- discovery -------------------------------------------------------------------------------------------------

    def start_discovery(self) -> None:
        """Read all lists soon: the active ones for what runs, the ended ones for what nobody was there to see."""
        if self.discovery.rule.discover:
            self.discovery.last_news = self.clock.now()
            self.planner.discover(self.clock.monotonic())
            self.read_ended()

    def read_ended_after_losses(self) -> None:
        """Where pages failed to come, a run may have come and ended between two walks: look among the ended ones."""
        if self._pages_lost and self.discovery.rule.discover and self.pace.discover_ended > timedelta(0):
            self._pages_lost = False
            pause = SOON_AFTER_LOSSES * self.pace.min_interval.total_seconds()
            self.planner.read_ended(max(self.clock.monotonic(), self._ended_read_at + pause))

    def read_ended(self) -> None:
        """Read the ended lists soon, where that is done at all."""
        if self.discovery.rule.discover and self.pace.discover_ended > timedelta(0):
            self.planner.read_ended(self.clock.monotonic())

    def plan_discovery(self) -> None:
        """When the active lists are next read for discovery: soon after something was found, seldom in a quiet hour."""
        if self.discovery.rule.discover:
            now = self.clock.now()
            since = min(self.discovery.last_news or now, now)
            moment = next_look(since, now, self.pace.min_interval, self.pace.max_interval, self.chance())
            self.planner.discover(self.clock.monotonic() + (moment - now).total_seconds())
