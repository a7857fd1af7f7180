"""How long runs stay in a status, and what is usual for a workflow.

Pure. Learned from the transitions that are told; the record keeps it for each workflow and status.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Final

from poller.core.runs import KnownRun
from poller.core.statuses import ENDS, RANK
from poller.core.transitions import Transition

ENOUGH: Final = 5
"""Known runs from which on something is usual: of five, two may be far off and the median is still an ordinary one."""
KEPT: Final = 25
"""Durations kept of each workflow and status: the median of 25 moves little, and follows a workflow that changes."""
LEAST_USUAL: Final = 1.0
"""Seconds below which nothing is called usual: looks are seconds apart, and cannot tell such stays from none."""

StayKey = tuple[str, str | None, str]
"""Workflow id, version (None where it has none), status."""


@dataclass(frozen=True, slots=True)
class Stays:
    """How long the last runs of one workflow were in one status, in seconds, the latest at the end."""

    workflow_id: str
    workflow_version: str | None
    status: str
    seconds: tuple[float, ...] = ()

    @property
    def key(self) -> StayKey:
        return self.workflow_id, self.workflow_version, self.status

    def with_one_more(self, seconds: float) -> "Stays":
        return replace(self, seconds=(*self.seconds, round(seconds, 3))[-KEPT:])

    @property
    def usual(self) -> float | None:
        """The median; None while too few runs are known."""
        return max(median(self.seconds), LEAST_USUAL) if len(self.seconds) >= ENOUGH else None


def stays_in(before: KnownRun | None, told: Iterable[Transition], after: KnownRun) -> Iterator[tuple[StayKey, float]]:
    """How long a run was in each status that it left by these transitions, in order; `before` as it was until then.

    Only what is known from its beginning: a run that was first seen in STARTING may have been there for long. RUNNING
    and STOPPING count once the run is COMPLETED, since one that failed or was cancelled tells nothing of what is usual.
    A status that was left unseen counts up to the next one that was seen, so that a stay is rather long than short.
    """
    status, since, by = (None, None, "look") if before is None else (before.status, before.since, before.since_by)
    for one in told:
        if one.status is None or one.kind != one.status.lower():
            continue  # no step of its life
        if one.first or one.previous_status != status:
            since = None
        workflow = _workflow_of(one, after)
        if workflow is not None:
            for left, begun, ended in _left(one, status, since if by != "look" else None):
                if ended >= begun:
                    yield (*workflow, left), (ended - begun).total_seconds()
        status, since, by = one.status, one.occurred_at, one.since_by


def _workflow_of(step: Transition, after: KnownRun) -> tuple[str, str | None] | None:
    """Whose workflow it is; the run as it is now may be of another incarnation."""
    fields = step.snapshot.fields if step.snapshot is not None else {}
    workflow_id, version = fields.get("workflowId"), fields.get("workflowVersionName")
    if isinstance(workflow_id, str):
        return workflow_id, version if isinstance(version, str) else None
    if after.workflow_id is None or after.uuid != step.uuid:
        return None
    return after.workflow_id, after.workflow_version


def _left(step: Transition, status: str | None, since: datetime | None) -> Iterator[tuple[str, datetime, datetime]]:
    """The statuses that a step brings to their end, with when they began and ended."""
    if (
        step.status is None
        or step.status not in RANK
        or step.status == "DELETED"
        or step.status in ENDS - {"COMPLETED"}
    ):
        return
    started = step.snapshot.start_time if step.snapshot is not None else None
    ran = RANK[step.status] >= RANK["RUNNING"]
    if status in ("PENDING", "STARTING") and since is not None:
        ended = started if ran else step.occurred_at
        if ended is not None:
            yield status, since, ended
    if step.status == "COMPLETED":
        stopping = since if status == "STOPPING" else None
        running = (since if status == "RUNNING" else None) or started
        if running is not None and (status != "STOPPING" or stopping is not None):
            yield "RUNNING", running, stopping or step.occurred_at
        if stopping is not None:
            yield "STOPPING", stopping, step.occurred_at
