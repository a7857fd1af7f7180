"""What lists showed of a run before a GetRun did: kept in order, and told by the first answer that knows whose it is.

Pure. An item has no uuid, so that what it shows may be another incarnation's: until a GetRun or a manifest has proven
it, it is evidence. What nothing will prove any more is told as it is, and says so.
"""

from dataclasses import replace
from typing import Final

from poller.core.runs import Evidence, KnownRun, Snapshot, Successor
from poller.core.statuses import RANK, Step, judge
from poller.core.transitions import Transition, take

_LATER_FIELDS: Final = frozenset({"status", "statusMessage", "failureReason", "startTime", "stopTime"})


def evidence_of(shown: Snapshot) -> Evidence:
    """What is kept of an answer until it may be told: its status and its times."""
    return Evidence(shown.status, shown.asked_at, shown.answered_at, shown.start_time, shown.stop_time)


def gather(evidence: tuple[Evidence, ...], item: Snapshot) -> tuple[Evidence, ...]:
    """Evidence with one more item: a step forward or an unknown status is added, the last status seen again renewed."""
    if evidence and evidence[-1].status == item.status:
        last_seen = evidence[-1]
        renewed = replace(
            last_seen,
            asked_at=max(last_seen.asked_at, item.asked_at),
            start_time=last_seen.start_time or item.start_time,
        )
        return (*evidence[:-1], renewed)
    last = next((seen.status for seen in reversed(evidence) if seen.status in RANK), None)
    if judge(last, item.status) not in (Step.FIRST, Step.FORWARD, Step.UNKNOWN):
        return evidence
    if any(seen.status == item.status for seen in evidence):
        return evidence
    return (*evidence, evidence_of(item))


def proven(seen: Evidence, look: Snapshot) -> Snapshot:
    """What the run was when a list showed it, with what a later GetRun says of it that was true then already."""
    started = RANK.get(seen.status, 0) >= RANK["RUNNING"]
    return replace(
        look,
        status=seen.status,
        asked_at=seen.asked_at,
        answered_at=seen.answered_at,
        start_time=seen.start_time or (look.start_time if started else None),
        stop_time=None,
        fields={name: value for name, value in look.fields.items() if name not in _LATER_FIELDS},
    )


def bare(run_id: str, whose: KnownRun | Successor, seen: Evidence, *, full: bool) -> Snapshot:
    """An answer of which only the status and its times were kept, by the uuid and creationTime of `whose`."""
    return Snapshot(
        run_id=run_id,
        status=seen.status,
        full=full,
        asked_at=seen.asked_at,
        answered_at=seen.answered_at,
        uuid=whose.uuid,
        creation_time=whose.creation_time,
        start_time=seen.start_time,
        stop_time=seen.stop_time,
    )


def tell_proven(known: KnownRun, look: Snapshot) -> tuple[KnownRun, tuple[Transition, ...]]:
    """Tell in order what lists had shown, by a later answer that says whose life it was."""
    told: list[Transition] = []
    for seen in known.evidence:
        known, transitions, _ = take(known, proven(seen, look), evidence=("ListRuns",))
        told += transitions
    return replace(known, evidence=()), tuple(told)


def tell_unproven(known: KnownRun) -> tuple[KnownRun, tuple[Transition, ...]]:
    """Tell what only lists have shown of a run that no GetRun will answer for any more, its end included."""
    told: list[Transition] = []
    seen = [*known.evidence, *([known.end_seen] if known.end_seen is not None else [])]
    for item in seen:
        known, transitions, _ = take(known, bare(known.run_id, known, item, full=False), evidence=("ListRuns",))
        told += [replace(one, recovered_from="ListRuns" if one.terminal else None) for one in transitions]
    return replace(known, evidence=(), end_seen=None), tuple(told)
