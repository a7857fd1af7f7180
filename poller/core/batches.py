"""A batch of runs: what one GetBatch says of it against what was known, and what that is a hint to.

Pure. The counters of a batch are eventually consistent: that they changed is a reason to look now, and that they did
not is none to look later. Statuses: HealthOmics API 2022-11-28, BatchStatus; their order: user
guide, "workflows-batch".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple

from poller.core.runs import Json
from poller.core.statuses import ACTIVE

BATCH_RANK: Final[Mapping[str, int]] = {
    "CREATING": 0,
    "PENDING": 1,
    "SUBMITTING": 2,
    "INPROGRESS": 3,
    "STOPPING": 4,
    "PROCESSED": 5,
    "CANCELLED": 5,
    "FAILED": 5,
    "RUNS_DELETING": 6,
    "RUNS_DELETE_FAILED": 7,
    "RUNS_DELETED": 7,
}
BATCH_ENDS: Final = frozenset({"PROCESSED", "CANCELLED", "FAILED"})
"""PROCESSED: every run has ended, however; FAILED: the batch itself has."""
BATCH_TYPES: Final = tuple(f"healthomics.batch.{status.lower()}" for status in BATCH_RANK)


@dataclass(frozen=True, slots=True)
class BatchSnapshot:
    """What one GetBatch said. `counts` are its runs by status; `submitted` how many were submitted with success.

    `fields` are the answer's members by the service's own names, as JSON values.
    """

    batch_id: str
    status: str
    asked_at: datetime
    answered_at: datetime
    uuid: str | None = None
    creation_time: datetime | None = None
    submitted_time: datetime | None = None
    processed_time: datetime | None = None
    failed_time: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    submitted: int = 0
    fields: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """What must be remembered of a batch between two answers.

    `listed` is how many runs it had submitted when its runs were last listed whole; `seen_at` when the request was sent
    that last showed `status`; `since` when something of it last changed.
    """

    batch_id: str
    uuid: str | None = None
    status: str | None = None
    seen_at: datetime | None = None
    since: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    submitted: int = 0
    listed: int = 0
    gone: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing of the batch itself will change any more, and all its runs are known by name."""
        return self.gone or (BATCH_RANK.get(self.status or "", 0) >= BATCH_RANK["PROCESSED"] and not self.unlisted)

    @property
    def unlisted(self) -> bool:
        """Whether it has submitted runs since they were last listed."""
        return self.submitted > self.listed


@dataclass(frozen=True, slots=True)
class BatchTransition:
    """Status A to status B of one batch."""

    snapshot: BatchSnapshot
    previous_status: str | None
    skipped: tuple[str, ...]
    occurred_at: datetime
    occurred_at_source: Literal["creationTime", "submittedTime", "processedTime", "failedTime", "observed_at"]
    not_before: datetime | None


class BatchObserved(NamedTuple):
    """The batch as it is known now, what is to be told, and the active statuses whose lists are worth reading now."""

    known: KnownBatch
    transitions: tuple[BatchTransition, ...]
    hints: frozenset[str]


def observe_batch(known: KnownBatch, seen: BatchSnapshot) -> BatchObserved:
    """Apply one GetBatch. Any forward jump is legal; a step back is a stale read, and so are its counters.

    A batch id that shows another uuid is another batch: what was known of the old one counts no more.
    """
    if known.uuid is not None and seen.uuid is not None and known.uuid != seen.uuid:
        known = KnownBatch(known.batch_id)
    rank, before = BATCH_RANK.get(seen.status), BATCH_RANK.get(known.status or "", -1)
    if rank is not None and rank < before:
        return BatchObserved(known, (), frozenset())
    hints = hints_of(known.counts, seen.counts)
    moved = rank is not None and rank > before
    after = replace(
        known,
        uuid=known.uuid or seen.uuid,
        status=seen.status if moved else known.status,
        seen_at=seen.asked_at if rank is not None else known.seen_at,
        since=seen.answered_at if moved or hints or seen.submitted != known.submitted else known.since,
        counts=dict(seen.counts),
        submitted=max(known.submitted, seen.submitted),
    )
    if not moved:
        return BatchObserved(after, (), hints)
    stamp, source = _stamp(seen)
    not_before = known.seen_at
    if not_before is not None:
        not_before = min(not_before, stamp or seen.answered_at)
    transition = BatchTransition(
        snapshot=seen,
        previous_status=known.status,
        skipped=_skipped(known.status, seen.status),
        occurred_at=stamp or seen.answered_at,
        occurred_at_source=source if stamp is not None else "observed_at",
        not_before=not_before,
    )
    return BatchObserved(after, (transition,), hints)


def hints_of(before: Mapping[str, int], now: Mapping[str, int]) -> frozenset[str]:
    """The active lists that a change of the counters makes worth reading.

    Where more runs are active in a status, its list shows who; where more have ended, the lists that have fewer runs
    than before miss who.
    """
    change = {status: now.get(status, 0) - before.get(status, 0) for status in {*before, *now}}
    grown = {status for status in ACTIVE if change.get(status, 0) > 0}
    if any(more > 0 for status, more in change.items() if status not in ACTIVE):
        grown |= {status for status in ACTIVE if change.get(status, 0) < 0} or {"STOPPING"}
    return frozenset(grown)


def _stamp(
    seen: BatchSnapshot,
) -> tuple[datetime | None, Literal["creationTime", "submittedTime", "processedTime", "failedTime", "observed_at"]]:
    """The service's own time of entering a status, where it has one."""
    match seen.status:
        case "CREATING":
            return seen.creation_time, "creationTime"
        case "INPROGRESS":
            return seen.submitted_time, "submittedTime"
        case "PROCESSED":
            return seen.processed_time, "processedTime"
        case "FAILED":
            return seen.failed_time, "failedTime"
    return None, "observed_at"


def _skipped(last: str | None, seen: str) -> tuple[str, ...]:
    """The statuses of the ordinary course between two ranks, whether or not the batch passed them."""
    if last is None:
        return ()
    between = range(BATCH_RANK[last] + 1, BATCH_RANK[seen])
    return tuple(
        status for status in ("PENDING", "SUBMITTING", "INPROGRESS", "PROCESSED") if BATCH_RANK[status] in between
    )
