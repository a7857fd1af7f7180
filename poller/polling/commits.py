"""What a round has found -> one transaction of the record, and what is said of that then: log, counters, bell."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from poller.core.cohorts import Cohort
from poller.core.diagnosis import FAILED
from poller.core.drafts import Draft, batch_event, event_of
from poller.core.events import Event, short_type
from poller.core.runs import Json
from poller.foundation import Foundation
from poller.polling.diagnosis import Diagnoses
from poller.polling.followed import Work
from poller.polling.knowledge import Knowledge
from poller.ports.records import Round, ScopeState

log = structlog.get_logger("poller.polling")

_LOST: Final = {"vanished": "run.vanished", "unreachable": "run.unreachable"}


class Commits:
    """The transactions of one scope.

    Args: `diagnoses` learns of runs that failed; `include` names the private fields to keep and send; of what
    `cohorts` gives each event says whether its run fits.
    """

    def __init__(
        self,
        foundation: Foundation,
        knowledge: Knowledge,
        diagnoses: Diagnoses,
        *,
        include: Sequence[str] = (),
        cohorts: Callable[[], Sequence[Cohort]] = tuple,
    ) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.bell = foundation.bell
        self.clock = foundation.clock
        self.tally = foundation.tally
        self.diagnoses = diagnoses
        self.include = include
        self.cohorts = cohorts
        self.scope = knowledge.scope
        self.access = knowledge.access
        self.batches = knowledge.batches
        self.followed = knowledge.followed
        self.overdues = knowledge.overdues
        self.workflow_names = knowledge.workflow_names

    async def write(self, work: Work, *, news: Draft | None, state: ScopeState | None) -> None:
        """Commit a round, if it changes anything; returns once it is on disk.

        Args: `news` is what is to be told of the scope itself; `state` what is to be remembered of it, if that changed.
        """
        changed = [known for known in work.runs.values() if self.followed.is_news(known)]
        batches = [known for known in work.batches.values() if self.batches.is_news(known)]
        if not (changed or batches or work.transitions or state or news):
            return
        self.overdues.learn(work)
        drafts = await self._drafts(work)
        if news is not None:
            drafts.append(news)
        failed = {draft.id for draft in drafts if draft.type == FAILED} if self.diagnoses.enabled else set()
        round_ = Round(
            at=self.clock.now(),
            scope=self.scope,
            runs=changed,
            snapshots=work.snapshots,
            drafts=drafts,
            state=state,
            batches=batches,
            stays=tuple(work.stays.values()),
            to_diagnose=failed,
        )
        events = await self.gate.insist(lambda: self.store.commit_round(round_))
        self.overdues.learned(work.stays)
        for event in events:
            if event.id in failed:
                self.diagnoses.want(event.position, event.subject)
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

    async def _drafts(self, work: Work) -> list[Draft]:
        """The transitions as events; those that no GetRun of this round shows get the stored fields of their run."""
        partial = {one.run_id for one in work.transitions if one.snapshot is None or not one.snapshot.full}
        stored: Mapping[str, Mapping[str, Json]] = {}
        if partial:
            stored = await self.gate.insist(lambda: self.store.snapshots(self.scope, partial))
        drafts, cohorts = [], self.cohorts() if work.transitions else ()
        for one in work.transitions:
            fields: Mapping[str, Json] = {}
            if one.snapshot is None or not one.snapshot.full:
                candidates = (stored.get(one.run_id, {}), work.snapshots.get(one.run_id, {}))
                fields = next((each for each in candidates if one.uuid and each.get("uuid") == one.uuid), {})
            drafts.append(
                event_of(
                    one,
                    self.access.place,
                    fields,
                    include=self.include,
                    cohorts=cohorts,
                    workflow_names=self.workflow_names,
                )
            )
        return drafts + [batch_event(one, self.access.place) for one in work.batch_transitions]


def _figures(event: Event) -> dict[str, Json]:
    """What a log line says of a run that is overdue."""
    figures = event.data["overdue"]
    return {name: figures[name] for name in ("status", "seconds", "limit_seconds", "basis")}
