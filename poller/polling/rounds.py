"""A round: answers that came together -> what is known now, what is to be told, one transaction, and what to ask next.

The order is the promise: `observe` works on values, the record commits them, and only then memory, planner and telling
side learn of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_never

import anyio

from poller.core.cohorts import Cohort
from poller.core.planner import GetRunLook, ListLook
from poller.core.runs import Json, KnownRun
from poller.core.sight import Cause
from poller.foundation import Foundation
from poller.polling.batch_answers import BatchAnswers
from poller.polling.commits import Commits
from poller.polling.diagnosis import Diagnoses
from poller.polling.followed import Work
from poller.polling.knowledge import Knowledge
from poller.polling.listings import Listings
from poller.polling.looks import (
    Answer,
    BatchLook,
    BatchRunsLook,
    BatchRunsShown,
    BatchShown,
    GroupLook,
    GroupShown,
    LookFailed,
    PageShown,
    RunMissing,
    RunRefused,
    RunShown,
)
from poller.polling.run_answers import RunAnswers
from poller.polling.verdicts import Verdicts
from poller.polling.waiters import Waiters
from poller.ports.records import ScopeState


class Rounds:
    """The one way in which a scope comes to know more.

    Args: `rates` tells the learned calls per second; `diagnoses` learns of runs that failed; `include` and `cohorts`
    are for what is told (`Commits`).
    """

    def __init__(
        self,
        foundation: Foundation,
        knowledge: Knowledge,
        *,
        rates: Callable[[], Mapping[str, float]],
        waiters: Waiters,
        diagnoses: Diagnoses,
        include: Sequence[str] = (),
        cohorts: Callable[[], Sequence[Cohort]] = tuple,
    ) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.knowledge = knowledge
        self.access = knowledge.access
        self.runs = knowledge.runs
        self.rates = rates
        self.plan: Mapping[str, Json] = {}
        self.waiters = waiters
        self.run_answers = RunAnswers(foundation, knowledge)
        self.batch_answers = BatchAnswers(foundation, knowledge)
        self.listings = Listings(foundation, knowledge)
        self.verdicts = Verdicts(knowledge.ladders, knowledge.partings, self.access)
        self.diagnoses = diagnoses
        self.commits = Commits(foundation, knowledge, diagnoses, include=include, cohorts=cohorts)
        self._one_at_a_time = anyio.Lock()

    # --- answers ---------------------------------------------------------------------------------------------------

    async def commit(self, answers: Sequence[Answer]) -> None:
        """Apply answers in the order in which they came, write what they change, then plan anew."""
        async with self._one_at_a_time:
            work, account = Work(), self.access.place.account_id
            was_in_the_dark = self._in_the_dark
            for answer in answers:
                await self._apply(work, answer)
            if was_in_the_dark and not self._in_the_dark:
                self.listings.read_ended()
            work.state_changed = work.state_changed or self.access.place.account_id != account  # the first ARN told it
            await self._write(work)
            for answer in answers:
                self._landed(answer)
            self.knowledge.take_over(work)
            for answer in answers:
                self._wake_waiters(work, answer)

    @property
    def _in_the_dark(self) -> bool:
        """Whether so much has failed in a row that a run may have come and ended without any list showing it."""
        return self.access.sight.suspended or self.knowledge.failures.lists_are_lost

    async def _apply(self, work: Work, answer: Answer) -> None:
        """Hold an answer against what is known, and take what it means into the round."""
        match answer:
            case RunShown():
                self.run_answers.shown(work, answer)
            case RunMissing():
                self.run_answers.missing(work, answer)
            case RunRefused():
                self.run_answers.refused(work, answer)
            case PageShown():
                await self.listings.page_shown(work, answer)
            case BatchShown():
                self.batch_answers.shown(work, answer)
            case BatchRunsShown():
                await self.batch_answers.runs_shown(work, answer)
            case GroupShown():
                self.access.answered()
                self.knowledge.overdues.groups.answered(answer.look.group_id, answer.limits)
                self._group_landed(work, answer.look)
            case LookFailed():
                self._look_failed(work, answer)
            case never:
                assert_never(never)

    def _look_failed(self, work: Work, answer: LookFailed) -> None:
        self.knowledge.failures.count(answer.look, answer.error)
        self.access.failed(answer.error, answer.answered_at)
        match answer.look:
            case ListLook():
                self.listings.pages_lost = True
            case GroupLook(group_id):
                self.knowledge.overdues.groups.failed(group_id, answer.error)
                self._group_landed(work, answer.look)

    def _group_landed(self, work: Work, look: GroupLook) -> None:
        """Tell what waited for a run group, if it need not wait any longer."""
        for observed in self.knowledge.overdues.judge_held(look.group_id, work):
            self.knowledge.followed.apply(work, observed)

    async def _write(self, work: Work) -> None:
        """Commit the round, with what is to be told of the scope itself; returns once it is on disk."""
        news = self.access.news()
        if news is not None and not self.access.sight.blind:
            self.listings.read_ended()
        await self.commits.write(work, news=news, state=self._state() if work.state_changed else None)

    def _state(self) -> ScopeState:
        place = self.access.place
        through = self.knowledge.discovery.discovered_through
        return ScopeState(place.scope, place.region, place.account_id, through, self.rates(), self.plan)

    def _landed(self, answer: Answer) -> None:
        """Free what was under way; a failed look is made again after a backoff."""
        match answer.look:
            case GetRunLook() as look:
                self.run_answers.landed(look, answer)
            case ListLook() as look:
                self.listings.landed(look, answer)
            case BatchLook() | BatchRunsLook() as look:
                self.batch_answers.landed(look, answer)
            case GroupLook():
                pass  # it landed with what waited for it
            case never:
                assert_never(never)

    def _wake_waiters(self, work: Work, answer: Answer) -> None:
        """Tell those who wait for a run what an answer has said of it, if it has."""
        known = work.runs.get(answer.look.run_id) if isinstance(answer.look, GetRunLook) else None
        if known is None:
            return
        if isinstance(answer, RunShown) and known.successor is None:
            self.waiters.answer(known, answer.snapshot.asked_at)
        elif isinstance(answer, RunMissing | RunRefused) and (not known.live or known.refused):
            self.waiters.answer(known, answer.answered_at)

    # --- runs ------------------------------------------------------------------------------------------------------

    async def follow(self, runs: Iterable[KnownRun]) -> None:
        """Follow runs from now on; they are written first, so that a restart knows them too."""
        async with self._one_at_a_time:
            work = Work()
            for known in runs:
                if known.run_id not in self.runs:
                    work.runs[known.run_id] = known
                    work.due[known.run_id] = self.clock.monotonic()
                    self.knowledge.followed.place(known.run_id, batch_id=known.batch_id)
            await self._write(work)
            self.knowledge.take_over(work)

    async def let_go(self, run_id: str) -> None:
        """Look at a run no more; what is known of it stays in the record."""
        async with self._one_at_a_time:
            self.knowledge.partings.drop(run_id)
            self.knowledge.let_go(run_id)

    async def climb(self) -> None:
        """Judge the runs of which nothing more is to be asked: by their manifests, else they are gone."""
        async with self._one_at_a_time:
            now, work, account = self.clock.now(), Work(), self.access.place.account_id
            judged = await self.verdicts.judge(
                now,
                known_runs=lambda ids: self.gate.insist(lambda: self.store.known_runs(self.knowledge.scope, ids)),
                snapshots=lambda ids: self.gate.insist(lambda: self.store.snapshots(self.knowledge.scope, ids)),
            )
            for one in judged:
                self.knowledge.followed.apply(work, one.observed)
                if one.fields is not None:
                    work.snapshots[one.run_id] = one.fields
            work.state_changed = self.access.place.account_id != account
            await self._write(work)
            self.verdicts.settle(judged, now)
            self.knowledge.take_over(work)
            for one in judged:
                self.waiters.answer(one.observed.known, one.asked_at)

    # --- the scope itself ------------------------------------------------------------------------------------------

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
