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
from typing import Final, Literal

from poller.core.runs import GroupFacts, KnownRun, Overdue, Question, Snapshot
from poller.core.statuses import ACTIVE, STAMPS, Step
from poller.core.stays import StayKey, Stays
from poller.core.transitions import Observed, Transition


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


NO_TERMS: Final = Terms()
"""No run is ever overdue."""


def strictest(several: Iterable[Terms]) -> Terms:
    """The shortest deadline of each status, and the smallest factor that is on."""
    several = list(several)
    deadlines: dict[str, timedelta] = {}
    for terms in several:
        for status, deadline in terms.deadlines.items():
            deadlines[status] = min(deadline, deadlines.get(status, deadline))
    return Terms(deadlines, min((terms.factor for terms in several if terms.factor), default=0.0))


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
