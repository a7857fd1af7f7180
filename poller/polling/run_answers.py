"""What an answer of GetRun means for its run: it is shown, missing, or refused."""

from typing import Final

from poller.core.endings import missed, refuse
from poller.core.errors import BadRequest
from poller.core.machine import observe
from poller.core.planner import GetRunLook
from poller.core.runs import Question
from poller.core.statuses import Step
from poller.core.succession import await_manifest, is_succeeded, kept_look, succeed
from poller.core.transitions import Observed
from poller.foundation import Foundation
from poller.polling.followed import Work
from poller.polling.knowledge import Knowledge
from poller.polling.looks import Answer, RunMissing, RunRefused, RunShown

CLOCKS_DIFFER: Final = 0.001
"""Seconds by which a wall clock moment may be off on the monotonic clock; on the safe side a look counts as older."""


class RunAnswers:
    """The answers of GetRun in one scope."""

    def __init__(self, foundation: Foundation, knowledge: Knowledge) -> None:
        self.clock = foundation.clock
        self.knowledge = knowledge
        self.access = knowledge.access
        self.planner = knowledge.planner
        self.discovery = knowledge.discovery
        self.followed = knowledge.followed
        self.candidates = knowledge.candidates
        self.overdues = knowledge.overdues
        self.ladders = knowledge.ladders
        self.partings = knowledge.partings
        self.failures = knowledge.failures

    def shown(self, work: Work, answer: RunShown) -> None:
        """GetRun shows the run."""
        snapshot, run_id = answer.snapshot, answer.look.run_id
        known = self.followed.known(work, run_id)
        if known is None and run_id not in self.candidates:
            return
        if not self.access.is_ours(snapshot.fields.get("arn")):
            return
        self.access.run_answered(run_id)
        self.failures.run_shown(run_id)
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
            until = self.clock.now() + self.knowledge.pace.vanish_deadline
            self.partings.hold(work.runs[run_id], snapshot, until)
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

    def missing(self, work: Work, answer: RunMissing) -> None:
        """GetRun did not find the run."""
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

    def refused(self, work: Work, answer: RunRefused) -> None:
        """GetRun will not answer: about this run alone, or about any."""
        run_id, runs = answer.look.run_id, self.knowledge.runs
        known = self.followed.known(work, run_id)
        if known is None and run_id not in self.candidates:
            return
        final = isinstance(answer.error, BadRequest)
        alone = self.access.refuses(run_id, answer.error, [*runs, *self.candidates.waiting])
        if alone and known is None:
            self.candidates.let_go(run_id)  # whose it is GetRun will not tell
            self._forget_strangers(run_id)
            return
        if alone and known is not None and not known.refused:
            reason = f"GetRun: {answer.error.code}: {answer.error.message}"
            self.followed.apply(work, refuse(known, answer.answered_at, reason, final=final))
        if not final:
            self.failures.count(answer.look, answer.error)
        if not alone:
            other = next((run_id for run_id in runs if not self.access.is_denied(run_id)), None)
            if other is not None:
                self.knowledge.ask_soon(other)  # whether it is this run alone, another one's answer tells

    def landed(self, look: GetRunLook, answer: Answer) -> None:
        """What a GetRun brought is committed: the next one may be sent, after a backoff if it brought nothing."""
        if isinstance(answer, RunShown | RunMissing):
            self.planner.run_answered(look.run_id, self.clock.monotonic())
            self.failures.run_answered(look.run_id)
        elif look.run_id in self.planner:
            self.planner.run_failed(look.run_id, self.failures.put_off(look.run_id))

    def _forget_strangers(self, run_id: str) -> None:
        """Ask no more about a run that is not ours, if it is no candidate any more."""
        if run_id not in self.candidates:
            self.knowledge.let_go(run_id)
