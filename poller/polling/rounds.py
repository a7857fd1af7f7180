"""A round: answers that came together -> what is known now, what is to be told, one transaction, and what to ask next.

The order is the promise: `observe` works on values, the record commits them, and only then memory, planner and telling
side learn of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, assert_never

import anyio
import structlog

from poller.core.batches import observe_batch
from poller.core.cadence import Pace
from poller.core.diagnosis import FAILED
from poller.core.errors import BadRequest, Denied, ServiceError, Throttled
from poller.core.events import Draft, Event, batch_event, event_of, short_type
from poller.core.machine import Observed, Step, missed, observe, refuse
from poller.core.overdue import Terms
from poller.core.planner import GetRunLook, Planner
from poller.core.retries import full_jitter
from poller.core.runs import Json, KnownRun, Question, Snapshot
from poller.core.sight import Cause
from poller.core.succession import await_manifest, is_succeeded, kept_look, succeed
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.batches import DENIED_PAUSE, Batches
from poller.polling.candidates import Candidates
from poller.polling.diagnosis import Diagnoses
from poller.polling.discovery import Discovery
from poller.polling.followed import Followed, Work
from poller.polling.ladders import Ladders
from poller.polling.listings import Listings
from poller.polling.looks import (
    Answer,
    BatchLook,
    BatchRunsLook,
    BatchRunsShown,
    BatchShown,
    GroupLook,
    GroupShown,
    Look,
    LookFailed,
    PageShown,
    RunMissing,
    RunRefused,
    RunShown,
    operation_of,
)
from poller.polling.manifests import Manifests
from poller.polling.overdue import Overdues
from poller.polling.partings import Partings
from poller.polling.verdicts import Verdicts
from poller.polling.waiters import Waiters
from poller.ports import Round, ScopeState

log = structlog.get_logger("poller.polling")

FIRST_RETRY: Final = timedelta(seconds=0.5)
GONE_AFTER: Final = 6
"""Times that a batch is not found before it counts as gone: a new one can be invisible for a moment."""
CLOCKS_DIFFER: Final = 0.001
"""Seconds by which a wall clock moment may be off on the monotonic clock; on the safe side a look counts as older."""
_PORTION: Final = 1000
"""Runs whose kept fields are read from the record at once."""
_UNREAD_AFTER: Final = 3
"""Pages in a row that did not come, after which the ended lists are read as soon as one does."""
_LOST: Final = {"vanished": "run.vanished", "unreachable": "run.unreachable"}


class Rounds:
    """What one scope knows, and the one way in which it comes to know more.

    Args: `include` names the private fields to keep and send; `rates` tells the learned calls per second; `terms` say
    when a run is overdue.
    """

    def __init__(
        self,
        foundation: Foundation,
        *,
        access: Access,
        manifests: Manifests,
        planner: Planner,
        discovery: Discovery,
        batches: Batches,
        pace: Pace,
        rates: Callable[[], Mapping[str, float]],
        waiters: Waiters,
        terms: Terms,
        diagnoses: Diagnoses,
        include: Sequence[str] = (),
    ) -> None:
        self.access = access
        self.planner = planner
        self.discovery = discovery
        self.batches = batches
        self.pace = pace
        self.store = foundation.store
        self.gate = foundation.gate
        self.bell = foundation.bell
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.rates = rates
        self.plan: Mapping[str, Json] = {}
        self.include = include
        self.followed = Followed(foundation, discovery.rules, planner.claims)
        self.runs = self.followed.runs
        self.overdues = Overdues(foundation, terms, self.runs)
        self.ladders = Ladders(planner, manifests, pace, self.runs, self.clock.now, self.clock.monotonic)
        self.candidates = Candidates(
            planner,
            discovery,
            pause=pace.min_interval,
            patience=pace.vanish_deadline,
            monotonic=self.clock.monotonic,
        )
        self.listings = Listings(
            foundation,
            scope=access.place.scope,
            pace=pace,
            planner=planner,
            discovery=discovery,
            candidates=self.candidates,
            batches=batches,
            followed=self.followed,
            ladders=self.ladders,
            overdues=self.overdues,
        )
        self.partings = Partings(manifests)
        self.verdicts = Verdicts(self.ladders, self.partings, access)
        self._failures: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        self._batch_failures: dict[str, int] = {}
        self._list_failures = 0
        self.waiters = waiters
        self.diagnoses = diagnoses
        self._one_at_a_time = anyio.Lock()

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
        work = Work()
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
                    if self.planner.still_reading(answer.look):
                        await self._page_shown(work, answer)
                case BatchShown():
                    self._batch_shown(work, answer)
                case BatchRunsShown():
                    await self._batch_runs_shown(work, answer)
                case GroupShown():
                    self.access.answered()
                    self.overdues.groups.answered(answer.look.group_id, answer.limits)
                    self._group_landed(work, answer.look)
                case LookFailed(look=GroupLook() as look):
                    self._failed(look, answer.error)
                    self.access.failed(answer.error, answer.answered_at)
                    self.overdues.groups.failed(look.group_id, answer.error)
                    self._group_landed(work, look)
                case LookFailed():
                    self._failed(answer.look, answer.error)
                    self.access.failed(answer.error, answer.answered_at)
                case _:
                    assert_never(answer)
        if was_in_the_dark and not self._in_the_dark:
            self.listings.read_ended()
        await self._write(work)
        for answer in answers:
            self._landed(answer)
        self._plan(work)
        for answer in answers:
            known = work.runs.get(answer.look.run_id) if isinstance(answer.look, GetRunLook) else None
            if known is not None and isinstance(answer, RunShown) and known.successor is None:
                self.waiters.answer(known, answer.snapshot.asked_at)
            elif (
                known is not None and isinstance(answer, RunMissing | RunRefused) and (not known.live or known.refused)
            ):
                self.waiters.answer(known, answer.answered_at)

    async def follow(self, runs: Iterable[KnownRun]) -> None:
        """Follow runs from now on; they are written first, so that a restart knows them too."""
        async with self._one_at_a_time:
            work = Work()
            for known in runs:
                if known.run_id not in self.runs:
                    work.runs[known.run_id] = known
                    work.due[known.run_id] = self.clock.monotonic()
                    self.followed.place(known.run_id, batch_id=known.batch_id)
            await self._write(work)
            self._plan(work)

    async def take_up(self, runs: Sequence[KnownRun]) -> None:
        """Go on with what the record was following; everything is due, since nobody knows how long nobody looked.

        Which watches take a run now is read off the last GetRun that was kept of it: they may have changed.
        """
        now = self.clock.monotonic()
        places = range(0, len(runs), _PORTION) if self.discovery.rules.tell_apart else ()
        for portion in (runs[place : place + _PORTION] for place in places):
            ids = [known.run_id for known in portion]
            kept = await self.gate.insist(partial(self.store.snapshots, self.scope, ids))
            for known in portion:
                at = known.seen_at or self.clock.now()
                fields = kept.get(known.run_id)
                shown = Snapshot(known.run_id, known.status or "", True, at, at, fields=fields) if fields else None
                self.followed.place(known.run_id, shown, batch_id=known.batch_id)
        for known in runs:
            self.runs[known.run_id] = known
            self.planner.follow(known, now)
            self.overdues.plan(known)

    async def let_go(self, run_id: str) -> None:
        """Look at a run no more; what is known of it stays in the record."""
        async with self._one_at_a_time:
            self.partings.drop(run_id)
            self._let_go(run_id)

    def _let_go(self, run_id: str) -> None:
        self.runs.pop(run_id, None)
        self.planner.drop(run_id)
        self.planner.claims.drop(run_id)
        self.ladders.leave(run_id)
        self.access.forget(run_id)
        self.overdues.drop(run_id)
        self._failures.pop(run_id, None)
        self._retry_at.pop(run_id, None)

    def named(self, run_id: str, remembered: KnownRun | None, *, afresh: bool) -> KnownRun | None:
        """How a run that somebody named is followed: None if its story is on record and nobody asks `afresh`."""
        if remembered is None:
            found = self.candidates.take(run_id) or KnownRun(run_id)
            return replace(found, by_rule=False, emit_first="always")
        if remembered.live:
            return replace(remembered, by_rule=False)
        return replace(remembered, question=Question.IDENTITY, by_rule=False) if afresh else None

    def ask_soon(self, run_id: str) -> None:
        """Ask about a followed run as soon as min_interval allows."""
        known = self.runs.get(run_id)
        if known is not None and run_id not in self.ladders and run_id not in self.partings:
            asked = replace(known, question=known.question or Question.FIRST)
            self.planner.follow(asked, self.clock.monotonic())

    def ask_about_overdue(self) -> None:
        """Have the runs asked about whose moment has come: whether they are still where they were, an answer tells."""
        now = self.clock.monotonic()
        for run_id in self.overdues.turned():
            known = self.runs.get(run_id)
            if known is not None and run_id not in self.ladders and run_id not in self.partings:
                self.planner.follow(known, max(now, self._retry_at.get(run_id, 0.0)))

    async def climb(self) -> None:
        """Judge the runs of which nothing more is to be asked: by their manifests, else they are gone."""
        async with self._one_at_a_time:
            now, work, account = self.clock.now(), Work(), self.access.place.account_id
            judged = await self.verdicts.judge(
                now,
                known_runs=lambda ids: self.gate.insist(lambda: self.store.known_runs(self.scope, ids)),
                snapshots=lambda ids: self.gate.insist(lambda: self.store.snapshots(self.scope, ids)),
            )
            for one in judged:
                self.followed.apply(work, one.observed)
                if one.fields is not None:
                    work.snapshots[one.run_id] = one.fields
            work.state_changed = self.access.place.account_id != account
            await self._write(work)
            self.verdicts.settle(judged, now)
            self._plan(work)
            for one in judged:
                self.waiters.answer(one.observed.known, one.asked_at)

    async def lost(self, cause: Cause, detail: str) -> None:
        """Note that there is no access, and tell it."""
        async with self._one_at_a_time:
            self.access.lost(cause, detail)
            await self._write(Work())

    async def look_at_the_clock(self) -> None:
        """Tell blindness that time alone has brought: looks that do not come back at all."""
        async with self._one_at_a_time:
            await self._write(Work())

    async def relieved(self) -> None:
        """Another scope follows from now on: if this one was told to be blind, that is over."""
        async with self._one_at_a_time:
            self.access.relieved()
            await self._write(Work())

    async def pin(self, account_id: str) -> None:
        """The account is known: from now on it is the only one whose answers count."""
        self.access.pin(account_id)
        await self.keep_state()

    async def keep_state(self) -> None:
        """Write what is remembered of the scope itself: the learned rates change without a round."""
        async with self._one_at_a_time:
            await self._write(Work(state_changed=True))

    # --- one answer each -------------------------------------------------------------------------------------------

    def _run_shown(self, work: Work, answer: RunShown) -> None:
        snapshot, run_id = answer.snapshot, answer.look.run_id
        known = self.followed.known(work, run_id)
        if (known is None and run_id not in self.candidates) or not self._is_ours(work, snapshot.fields.get("arn")):
            return
        self.access.run_answered(run_id)
        self._failures.pop(run_id, None)
        known = known or self.candidates.judge(snapshot)
        if known is None:
            self._forget_strangers(run_id)
            return
        seconds = (self.clock.now() - snapshot.asked_at).total_seconds()
        work.shown[run_id] = self.clock.monotonic() - seconds - CLOCKS_DIFFER
        self.partings.drop(run_id)
        if is_succeeded(known, snapshot):
            self.followed.apply(work, Observed(await_manifest(known, snapshot), (), Step.SAME))
            self.ladders.leave(run_id)
            self.partings.hold(work.runs[run_id], snapshot, self.clock.now() + self.pace.vanish_deadline)
            return
        self.followed.place(run_id, snapshot)
        known = self.discovery.heard(known, snapshot)
        observed = self.overdues.judge(observe(known, snapshot), snapshot)
        if not known.looked or observed.transitions:
            work.snapshots[run_id] = snapshot.fields
        self.followed.apply(work, observed)
        if observed.known.question is Question.GONE:
            self.ladders.shown_deleted(snapshot)
        else:
            self.ladders.leave(run_id)

    def _run_missing(self, work: Work, answer: RunMissing) -> None:
        self.access.answered()
        known = self.followed.known(work, answer.look.run_id)
        if known is None:
            if answer.look.run_id in self.candidates:
                self.candidates.missed(answer.look.run_id, answer.answered_at)
                self._forget_strangers(answer.look.run_id)
            return
        look = kept_look(known)
        if look is not None:  # shown before a crash, and gone since
            self.followed.apply(work, succeed(known, look, None, ("manifest: not asked: interrupted",)))
            known = work.runs[known.run_id]
        gone = missed(known, answer.answered_at)
        self.followed.apply(work, Observed(gone, (), Step.SAME))
        if gone.live:
            self.ladders.missed(gone, answer.error, answer.answered_at)

    def _run_refused(self, work: Work, answer: RunRefused) -> None:
        run_id = answer.look.run_id
        known = self.followed.known(work, run_id)
        if known is None and run_id not in self.candidates:
            return
        final = isinstance(answer.error, BadRequest)
        alone = self.access.refuses(run_id, answer.error, [*self.runs, *self.candidates.waiting])
        if alone and known is None:
            self.candidates.let_go(run_id)  # whose it is GetRun will not tell
            self._forget_strangers(run_id)
            return
        if alone and known is not None and not known.refused:
            reason = f"GetRun: {answer.error.code}: {answer.error.message}"
            self.followed.apply(work, refuse(known, answer.answered_at, reason, final=final))
        if not final:
            self._failed(answer.look, answer.error)
        if not alone:
            other = next((run_id for run_id in self.runs if not self.access.is_denied(run_id)), None)
            if other is not None:
                self.ask_soon(other)  # whether it is this run alone, another one's answer tells

    def _forget_strangers(self, run_id: str) -> None:
        """Ask no more about a run that is not ours, if it is no candidate any more."""
        if run_id not in self.candidates:
            self._let_go(run_id)

    def _is_ours(self, work: Work, arn: object) -> bool:
        """Whether an answer is of our account: the first ARN that any answer shows tells which that is."""
        account = self.access.place.account_id
        ours = self.access.is_ours(arn)
        work.state_changed = work.state_changed or self.access.place.account_id != account
        return ours

    async def _page_shown(self, work: Work, answer: PageShown) -> None:
        arns = (item.fields["arn"] for item in answer.page.items if item.fields.get("arn"))
        if not self._is_ours(work, next(arns, None)):
            self.planner.page_failed(answer.look, self.clock.monotonic() + self._backoff(1))
            return
        self.access.answered()
        self._list_failures = 0
        await self.listings.page_shown(work, answer)

    def _batch_shown(self, work: Work, answer: BatchShown) -> None:
        if not self._is_ours(work, answer.snapshot.fields.get("arn")):
            work.batches_answered.add(answer.look.batch_id)
            work.batches[answer.look.batch_id] = self.batches.known[answer.look.batch_id]
            return
        self.access.answered()
        before = self.batches.known[answer.look.batch_id]
        known, transitions, hints = observe_batch(before, answer.snapshot)
        work.batches[known.batch_id] = known
        work.batches_answered.add(known.batch_id)
        work.batch_transitions += transitions
        self.planner.hint(hints, self.clock.monotonic())

    async def _batch_runs_shown(self, work: Work, answer: BatchRunsShown) -> None:
        """Follow the runs that a batch names; what is known of one already stands, but for its uuid."""
        self.access.answered()
        batch_id, runs = answer.look.batch_id, answer.page.runs
        strangers = [run.run_id for run in runs if self.followed.known(work, run.run_id) is None]
        remembered = await self.gate.insist(lambda: self.store.known_runs(self.scope, strangers))
        for run in runs:
            known = self.followed.known(work, run.run_id) or remembered.get(run.run_id)
            if run.run_id in self.discovery.muted:
                continue
            if known is None or (known.uuid is not None and run.uuid is not None and known.uuid != run.uuid):
                work.runs[run.run_id] = self.discovery.of_batch(run, batch_id)
            elif known.live and known.batch_id is None:
                work.runs[run.run_id] = replace(known, uuid=known.uuid or run.uuid, batch_id=batch_id)
            else:
                continue
            self.followed.place(run.run_id, batch_id=batch_id)
            work.due[run.run_id] = self.followed.due(work.runs[run.run_id])
        listed = self.batches.page_came(answer.look, answer.page.token)
        if listed is not None:
            work.batches[batch_id] = listed

    def _group_landed(self, work: Work, look: GroupLook) -> None:
        """Tell what waited for a run group, if it need not wait any longer."""
        for observed in self.overdues.judge_held(look.group_id, work):
            self.followed.apply(work, observed)

    def _failed(self, look: Look, error: ServiceError) -> None:
        """Count and log a look that brought nothing, and note how often it did."""
        operation = operation_of(look)
        self.tally.add("looks_failed", operation=operation, error=error.code)
        if isinstance(look, GetRunLook):
            failures = self._failures[look.run_id] = self._failures.get(look.run_id, 0) + 1
            facts = {"run": look.run_id}
        elif isinstance(look, BatchLook | BatchRunsLook):
            failures = self._batch_failures[look.batch_id] = self._batch_failures.get(look.batch_id, 0) + 1
            facts = {"batch": look.batch_id}
        elif isinstance(look, GroupLook):
            failures, facts = self.overdues.groups.attempts(look.group_id), {"group": look.group_id}
        else:
            self._list_failures += 1
            self.listings.pages_lost = True
            failures, facts = self._list_failures, {"list": look.name.status or "newest"}
        tell = log.debug if isinstance(error, Throttled) or failures > 1 else log.warning
        tell("look.failed", operation=operation, error=error.code, detail=error.message, failures=failures, **facts)

    # --- what follows ----------------------------------------------------------------------------------------------

    async def _write(self, work: Work) -> None:
        """Commit the round, if it changes anything; returns once it is on disk."""
        changed = [known for known in work.runs.values() if self.followed.is_news(known)]
        news = self.access.news()
        batches = [known for known in work.batches.values() if self.batches.is_news(known)]
        if not (changed or batches or work.transitions or work.state_changed or news):
            return
        self.overdues.learn(work)
        drafts = await self._drafts(work)
        if news is not None:
            drafts.append(news)
            if not self.access.sight.blind:
                self.listings.read_ended()
        failed = {draft.id for draft in drafts if draft.type == FAILED} if self.diagnoses.enabled else set()
        round_ = Round(
            at=self.clock.now(),
            scope=self.scope,
            runs=changed,
            snapshots=work.snapshots,
            drafts=drafts,
            state=self._state() if work.state_changed else None,
            batches=batches,
            stays=tuple(work.stays.values()),
            to_diagnose=failed,
        )
        events = await self.gate.insist(lambda: self.store.commit_round(round_))
        self.overdues.learned(work.stays)
        for event in events:
            if event.id in failed and event.run_id is not None:
                self.diagnoses.want(event.position, event.run_id)
            if event.kind in _LOST:
                log.warning(_LOST[event.kind], run=event.run_id, evidence=event.data.get("evidence"))
            elif event.kind == "overdue":
                log.info("run.overdue", run=event.run_id, **_figures(event))
            elif event.run_id is not None:
                log.info("run.transition", run=event.run_id, type=event.kind, name=event.data.get("name"))
            self.tally.add("events", type=short_type(event.type))
        log.debug("round.committed", scope=self.scope, runs=len(changed), events=len(events))
        if events:
            self.bell.ring()

    def _state(self) -> ScopeState:
        place = self.access.place
        through = self.discovery.discovered_through
        return ScopeState(place.scope, place.region, place.account_id, through, self.rates(), self.plan)

    async def _drafts(self, work: Work) -> list[Draft]:
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
        return drafts + [batch_event(one, self.access.place) for one in work.batch_transitions]

    def _landed(self, answer: Answer) -> None:
        """Free what was under way; a failed look is made again after a backoff."""
        now, look = self.clock.monotonic(), answer.look
        if isinstance(look, GroupLook):
            return  # it landed with what waited for it
        if isinstance(look, BatchLook | BatchRunsLook):
            self._batch_landed(look, answer, now)
        elif isinstance(look, GetRunLook):
            if isinstance(answer, RunShown | RunMissing):
                self.planner.run_answered(look.run_id, now)
                self._retry_at.pop(look.run_id, None)
            elif look.run_id in self.planner:
                self._retry_at[look.run_id] = now + self._backoff(self._failures.get(look.run_id, 1))
                self.planner.run_failed(look.run_id, self._retry_at[look.run_id])
        elif isinstance(answer, LookFailed) and isinstance(answer.error, Denied):
            log.warning("lists.denied", detail=str(answer.error), then="every run is asked about by GetRun")
            self.planner.lists_denied()
        elif isinstance(answer, LookFailed):
            start_over = isinstance(answer.error, BadRequest) and look.token is not None
            self.planner.page_failed(look, now + self._backoff(self._list_failures), start_over=start_over)

    def _batch_landed(self, look: BatchLook | BatchRunsLook, answer: Answer, now: float) -> None:
        if not isinstance(answer, LookFailed):
            self._batch_failures.pop(look.batch_id, None)
        elif isinstance(answer.error, Denied):
            log.warning("batches.denied", batch=look.batch_id, detail=str(answer.error), then="its runs show in lists")
            self.batches.failed(look, now + DENIED_PAUSE)
        elif isinstance(look, BatchLook) and self._is_gone(look, answer.error):
            log.error("batch.gone", batch=look.batch_id, detail=str(answer.error), then="its runs are followed on")
            self.batches.dropped(look.batch_id)
        else:
            wait = self._backoff(self._batch_failures.get(look.batch_id, 1))
            self.batches.failed(look, now + wait, start_over=isinstance(answer.error, BadRequest))

    def _is_gone(self, look: BatchLook, error: ServiceError) -> bool:
        """Whether there is no such batch: at once if its id is none, else once it was not found several times."""
        often = self._batch_failures.get(look.batch_id, 0) >= GONE_AFTER
        return isinstance(error, BadRequest) and (error.code != "ResourceNotFoundException" or often)

    def _plan(self, work: Work) -> None:
        """Take a committed round over into memory and agenda."""
        for run_id, known in work.runs.items():
            if known.live or known.question is not None:
                self.runs[run_id] = known
                due = max(work.due[run_id], self._retry_at.get(run_id, 0.0))
                self.planner.follow(known, due, shown=work.shown.get(run_id))
                self.overdues.plan(known)
            else:
                self._let_go(run_id)
        for known_batch in work.batches.values():
            self.batches.update(known_batch, answered=known_batch.batch_id in work.batches_answered)
        self.ladders.plan()
        self.partings.plan(self.planner)

    def _backoff(self, failures: int) -> float:
        return full_jitter(failures, FIRST_RETRY, self.pace.max_interval, self.chance()).total_seconds()


def _figures(event: Event) -> dict[str, Json]:
    """What a log line says of a run that is overdue."""
    figures = event.data["overdue"]
    return {name: figures[name] for name in ("status", "seconds", "limit_seconds", "basis")}
