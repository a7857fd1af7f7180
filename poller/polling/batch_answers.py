"""What the answers about a batch mean: GetBatch shows how far it has come, ListRunsInBatch names its runs."""

from dataclasses import replace
from typing import Final

import structlog

from poller.core.batches import observe_batch
from poller.core.errors import BadRequest, Denied, ServiceError
from poller.foundation import Foundation
from poller.polling.batches import DENIED_PAUSE
from poller.polling.followed import Work
from poller.polling.knowledge import Knowledge
from poller.polling.looks import Answer, BatchLook, BatchRunsLook, BatchRunsShown, BatchShown, LookFailed

log = structlog.get_logger("poller.polling")

GONE_AFTER: Final = 6
"""Times that a batch is not found before it counts as gone: a new one can be invisible for a moment."""


class BatchAnswers:
    """The answers about the batches of one scope."""

    def __init__(self, foundation: Foundation, knowledge: Knowledge) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.scope = knowledge.scope
        self.access = knowledge.access
        self.planner = knowledge.planner
        self.discovery = knowledge.discovery
        self.batches = knowledge.batches
        self.followed = knowledge.followed
        self.failures = knowledge.failures

    def shown(self, work: Work, answer: BatchShown) -> None:
        """GetBatch shows the batch."""
        batch_id = answer.look.batch_id
        before = self.batches.known[batch_id]
        work.batches_answered.add(batch_id)
        if not self.access.is_ours(answer.snapshot.fields.get("arn")):
            work.batches[batch_id] = before
            return
        self.access.answered()
        known, transitions, hints = observe_batch(before, answer.snapshot)
        work.batches[batch_id] = known
        work.batch_transitions += transitions
        self.planner.hint(hints, self.clock.monotonic())

    async def runs_shown(self, work: Work, answer: BatchRunsShown) -> None:
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

    def landed(self, look: BatchLook | BatchRunsLook, answer: Answer) -> None:
        """What a look brought is committed; one that brought nothing is made again, unless there is no such batch."""
        if not isinstance(answer, LookFailed):
            self.failures.batch_answered(look.batch_id)
        elif isinstance(answer.error, Denied):
            log.warning("batches.denied", batch=look.batch_id, detail=str(answer.error), then="its runs show in lists")
            self.batches.failed(look, self.clock.monotonic() + DENIED_PAUSE)
        elif isinstance(look, BatchLook) and self._is_gone(look, answer.error):
            log.error("batch.gone", batch=look.batch_id, detail=str(answer.error), then="its runs are followed on")
            self.batches.dropped(look.batch_id)
        else:
            wait = self.failures.backoff(self.failures.of_batch(look.batch_id))
            retry_at = self.clock.monotonic() + wait
            self.batches.failed(look, retry_at, start_over=isinstance(answer.error, BadRequest))

    def _is_gone(self, look: BatchLook, error: ServiceError) -> bool:
        """Whether there is no such batch: at once if its id is none, else once it was not found several times."""
        often = self.failures.of_batch(look.batch_id) >= GONE_AFTER
        return isinstance(error, BadRequest) and (error.code != "ResourceNotFoundException" or often)
