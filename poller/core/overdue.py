"""When a run has been in one status for too long, and which run comes to be next.

Too long is what its watch says (a deadline for the status), or so many times what is usual for its own workflow in the
record; the shorter one counts. Pure: times come in as arguments. A run is told to be overdue by an answer that was
asked for after its moment and still shows it there, never by the clock alone: it may have moved on unseen. The clock
says only when that answer is wanted. Runs of one workflow in one status have one limit, so that of those the one that
came first is next, whatever the limit comes to be; docs/polling.md has the rule in words.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from statistics import median
from typing import Final, Literal

from poller.core.runs import GroupFacts, KnownRun, Overdue, Question, Snapshot
from poller.core.statuses import ACTIVE, ENDS, RANK, STAMPS, Step
from poller.core.transitions import Observed, Transition

ENOUGH: Final = 5
"""Known runs from which on something is usual: of five, two may be far off and the median is still an ordinary one."""
KEPT: Final = 25
"""Durations kept of each workflow and status: the median of 25 moves little, and follows a workflow that changes."""
LEAST_USUAL: Final = 1.0
"""Seconds below which nothing is called usual: looks are seconds apart, and cannot tell such stays from none."""

StayKey = tuple[str, str | None, str]
"""Workflow id, version (None where it has none), status."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a watch calls too long.

    `deadlines` are by status; one that is missing has none. `factor` times what is usual is too long, too; 0: never.
    """

    deadlines: Mapping[str, timedelta] = field(default_factory=dict)
    factor: float = 0.0

    def are_about(self, status: str | None) -> bool:
        """Whether a run can become overdue in this status."""
        return status in ACTIVE and (self.factor > 0 or status in self.deadlines)


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


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a run may be in its status, and where that comes from."""

    span: timedelta
    basis: Literal["deadline", "usual"]
    usual_seconds: float | None = None
    known_runs: int | None = None


def limit_of(terms: Terms, status: str, stays: Stays | None) -> Limit | None:
    """How long a run may be in a status: the deadline, or `factor` times the usual time if that is shorter."""
    deadline = terms.deadlines.get(status)
    usual = stays.usual if stays is not None and terms.factor > 0 else None
    if stays is None or usual is None:
        return None if deadline is None else Limit(deadline, "deadline")
    span = timedelta(seconds=terms.factor * usual)
    if deadline is not None and deadline <= span:
        return Limit(deadline, "deadline", usual, len(stays.seconds))
    return Limit(span, "usual", usual, len(stays.seconds))


def may_become_overdue(known: KnownRun) -> bool:
    """Whether a run is in a status that it can stay in for too long, and was not told to yet."""
    return known.live and known.status in ACTIVE and known.since is not None and known.overdue_in != known.status


def overdue_from(known: KnownRun, limit: Limit | None) -> datetime | None:
    """The moment from which on a run is overdue where it is; None if it never is, or was told."""
    if limit is None or known.since is None or not may_become_overdue(known):
        return None
    return known.since + limit.span


def is_overdue(known: KnownRun, limit: Limit | None, seen: Snapshot) -> bool:
    """Whether `seen`, the answer that `known` was learned from, shows the run in its status after its moment."""
    moment = overdue_from(known, limit)
    applied = known.seen_at == seen.asked_at and seen.status == known.status
    return moment is not None and applied and known.question is not Question.IDENTITY and seen.asked_at >= moment


def tell_overdue(
    known: KnownRun, limit: Limit, seen: Snapshot, *, factor: float = 0.0, group: GroupFacts | None = None
) -> Observed:
    """That a run is overdue, by an answer for which `is_overdue` holds: it goes on as it was, and is told so once."""
    since, status = known.since, known.status
    if since is None or status is None:
        raise ValueError(f"run {known.run_id} is in no status that it could be overdue in")
    transition = Transition(
        kind="overdue",
        key=status,
        incarnation=known.identity,
        run_id=known.run_id,
        uuid=known.uuid,
        previous_status=status,
        status=status,
        skipped=(),
        terminal=False,
        first=False,
        occurred_at=seen.answered_at,
        occurred_at_source="observed_at",
        observed_at=seen.answered_at,
        # where the beginning is no stamp of the service's, the run was there before: nobody knows for how long
        not_before=since + limit.span if known.since_by == "stamp" else None,
        snapshot=seen,
        reappeared=known.reappeared,
        overdue=Overdue(
            status=status,
            since=since,
            since_source=STAMPS.get(status, "observed_at") if known.since_by == "stamp" else "observed_at",
            seconds=round((seen.asked_at - since).total_seconds(), 3),
            limit_seconds=limit.span.total_seconds(),
            basis=limit.basis,
            usual_seconds=limit.usual_seconds,
            known_runs=limit.known_runs,
            factor=factor or None,
            group=group,
        ),
    )
    told = replace(known, incarnation=known.identity, overdue_in=status, told=True, reappeared=False)
    return Observed(told, (transition,), Step.SAME)


# --- what is usual ----------------------------------------------------------------------------------------------------


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


# --- who is next ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Queue:
    """The runs of one workflow in one status, the one that came first on top; entries that moved on are left behind."""

    since: dict[str, datetime] = field(default_factory=dict)
    heap: list[tuple[datetime, str]] = field(default_factory=list)

    def put(self, run_id: str, since: datetime) -> None:
        self.since[run_id] = since
        heappush(self.heap, (since, run_id))
        if len(self.heap) > 2 * len(self.since) + 64:
            self.heap = [(moment, one) for one, moment in self.since.items()]
            heapify(self.heap)

    def first(self) -> tuple[datetime, str] | None:
        while self.heap and self.since.get(self.heap[0][1]) != self.heap[0][0]:
            heappop(self.heap)
        return self.heap[0] if self.heap else None


class Agenda:
    """Which run of one scope turns overdue next. It looks at the first run of each workflow and status only.

    Args: `stays` are what the record knows of how long runs stay.
    """

    def __init__(self, terms: Terms, stays: Iterable[Stays] = ()) -> None:
        self.terms = terms
        self._stays = {one.key: one for one in stays}
        self._limits: dict[StayKey, Limit | None] = {}
        self._queues: defaultdict[StayKey, _Queue] = defaultdict(_Queue)
        self._queue_of: dict[str, StayKey] = {}

    def stays(self, key: StayKey) -> Stays:
        """What is known of one workflow in one status."""
        return self._stays.get(key) or Stays(*key)

    def learn(self, stays: Stays) -> None:
        """More is known; whoever waits by it waits by the new limit from now on."""
        self._stays[stays.key] = stays
        self._limits.pop(stays.key, None)

    def limit(self, known: KnownRun) -> Limit | None:
        """How long a run may be in its status; None: for ever, as far as anybody knows."""
        return self._limit(_key_of(known)) if self.terms.are_about(known.status) else None

    def plan(self, known: KnownRun) -> None:
        """Wait for the moment of a run, or wait no more."""
        key = _key_of(known)
        if known.since is None or not self.terms.are_about(known.status) or not may_become_overdue(known):
            self.drop(known.run_id)
            return
        before = self._queue_of.get(known.run_id)
        if before == key and self._queues[key].since.get(known.run_id) == known.since:
            return
        if before != key:
            self.drop(known.run_id)
        self._queue_of[known.run_id] = key
        self._queues[key].put(known.run_id, known.since)

    def drop(self, run_id: str) -> None:
        """Wait for this run no more."""
        key = self._queue_of.pop(run_id, None)
        if key is not None:
            queue = self._queues[key]
            del queue.since[run_id]
            if not queue.since:
                del self._queues[key]

    def next_at(self) -> datetime | None:
        """When the next run turns overdue, unless it moves on before; None if none does."""
        return min((moment for _, moment in self._firsts()), default=None)

    def turned(self, now: datetime, *, most: int) -> list[str]:
        """Up to `most` runs whose moment has come; they are waited for no more until they are planned again."""
        found: list[str] = []
        for key in list(self._queues):
            limit = self._limit(key)
            while limit is not None and key in self._queues and len(found) < most:
                first = self._queues[key].first()
                if first is None or first[0] + limit.span > now:
                    break
                found.append(first[1])
                self.drop(first[1])
        return found

    def _firsts(self) -> Iterator[tuple[str, datetime]]:
        """Of each workflow and status the first run, with its moment."""
        for key, queue in self._queues.items():
            limit, first = self._limit(key), queue.first()
            if limit is not None and first is not None:
                yield first[1], first[0] + limit.span

    def _limit(self, key: StayKey) -> Limit | None:
        if key not in self._limits:
            self._limits[key] = limit_of(self.terms, key[2], self._stays.get(key))
        return self._limits[key]


def _key_of(known: KnownRun) -> StayKey:
    return known.workflow_id or "", known.workflow_version, known.status or ""
