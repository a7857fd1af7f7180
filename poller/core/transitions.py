"""What is told of a run: the transition, and how a status that was seen becomes one.

Pure. Whose life an answer shows, and whether what it shows may be told, was decided before: `core.machine`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, assert_never

from poller.core.runs import KnownRun, Overdue, SinceBy, Snapshot, Verdict
from poller.core.statuses import ENDS, RANK, STAMPS, StampName, Step, judge, skipped_between


@dataclass(frozen=True, slots=True)
class Transition:
    """A thing worth telling of one incarnation: status A to status B, or what befell it instead.

    `kind` is the last word of the event type ("failed", "vanished"); `key` is what makes the event's id one of its
    kind. `snapshot` is the answer that showed it (None where there was none, or the answer spoke of another
    incarnation). `evidence` and `recovered_from` are there only for what was not read from a GetRun.
    """

    kind: str
    key: str
    incarnation: str
    run_id: str
    uuid: str | None
    previous_status: str | None
    status: str | None
    skipped: tuple[str, ...]
    terminal: bool
    first: bool
    occurred_at: datetime
    occurred_at_source: StampName
    observed_at: datetime
    not_before: datetime | None
    snapshot: Snapshot | None = None
    evidence: tuple[str, ...] = ()
    recovered_from: str | None = None
    replaced_by: str | None = None
    reappeared: bool = False
    overdue: Overdue | None = None

    @property
    def since_by(self) -> SinceBy:
        """How it is known when the run entered the status that this tells of."""
        if self.occurred_at_source != "observed_at":
            return "stamp"
        return "look" if self.first else "step"


class Observed(NamedTuple):
    """The run as it is known after a look, what is to be told, and what kind of look it was (for counting)."""

    known: KnownRun
    transitions: tuple[Transition, ...]
    step: Step


def take(known: KnownRun, seen: Snapshot, *, evidence: tuple[str, ...] = ()) -> Observed:
    """Apply a status of the same incarnation that may be told: the one place where a status becomes a transition."""
    step = judge(known.status, seen.status)
    match step:
        case Step.STALE | Step.CONTRADICTION:
            return Observed(known, (), step)  # two ends of one run meet only after the first was told: see contradict
        case Step.SAME:
            seen_at = seen.asked_at if known.seen_at is None else max(known.seen_at, seen.asked_at)
            return Observed(replace(known, seen_at=seen_at, since=_entered(known, seen)), (), step)
        case Step.UNKNOWN:
            if seen.status in known.unknown_statuses:
                return Observed(known, (), step)
            known, transition = _told(known, seen, "unknown_status", evidence)
            unknown = (*known.unknown_statuses, seen.status)
            known = replace(known, unknown_statuses=unknown, told=True, reappeared=False)
            if known.seen_at is None:
                known = replace(known, seen_at=seen.asked_at)
            return Observed(known, (transition,), step)
        case Step.FIRST | Step.FORWARD:
            pass
        case _:
            assert_never(step)
    after, transition = _told(known, seen, seen.status.lower(), evidence)
    silent = transition.first and (
        known.emit_first == "never" or (known.emit_first == "terminal" and not transition.terminal)
    )
    after = replace(
        known if silent else after,
        status=seen.status,
        since=transition.occurred_at,
        since_by=transition.since_by,
        seen_at=seen.asked_at,
        verdict=Verdict.ENDED if transition.terminal else known.verdict,
        end_seen=None if transition.terminal else known.end_seen,
        question=None if transition.terminal else known.question,
        told=known.told or not silent,
        reappeared=known.reappeared and silent,
    )
    return Observed(after, () if silent else (transition,), step)


def contradict(known: KnownRun, look: Snapshot) -> Observed:
    """An answer about a run whose end was told: another end is told as a contradiction, once; all else is nothing."""
    known = replace(known, question=None)
    other_end = look.status in ENDS and known.status in ENDS and look.status != known.status
    if not other_end:
        return Observed(known, (), Step.STALE if RANK.get(look.status, 5) < RANK["COMPLETED"] else Step.SAME)
    if look.status in known.contradictions:
        return Observed(known, (), Step.CONTRADICTION)
    known, transition = _told(known, look, "contradicted", ())
    transition = replace(transition, terminal=False, skipped=(), first=False)
    contradictions = (*known.contradictions, look.status)
    return Observed(replace(known, contradictions=contradictions, told=True), (transition,), Step.CONTRADICTION)


def _told(known: KnownRun, seen: Snapshot, kind: str, evidence: tuple[str, ...]) -> tuple[KnownRun, Transition]:
    """The transition that `seen` shows, and the run with its incarnation fixed."""
    understood = kind != "unknown_status"
    stamp, source = _stamp(seen) if understood else (None, "observed_at")
    not_before = known.seen_at
    if not_before is not None:  # answers may come in another order than they were asked for
        not_before = min(not_before, seen.answered_at, stamp or seen.answered_at)
    transition = Transition(
        kind=kind,
        key=seen.status,
        incarnation=known.identity,
        run_id=known.run_id,
        uuid=known.uuid,
        previous_status=known.status,
        status=seen.status,
        skipped=skipped_between(known.status, seen.status) if understood else (),
        terminal=understood and RANK[seen.status] >= RANK["COMPLETED"],
        first=known.seen_at is None,
        occurred_at=stamp or seen.answered_at,
        occurred_at_source=source,
        observed_at=seen.answered_at,
        not_before=not_before,
        snapshot=seen,
        evidence=evidence,
        reappeared=known.reappeared,
    )
    return replace(known, incarnation=known.identity), transition


def _stamp(seen: Snapshot) -> tuple[datetime | None, StampName]:
    """The service's own time of entering the status, with its name, where the answer has one."""
    name = STAMPS.get(seen.status, "observed_at")
    times = {"creationTime": seen.creation_time, "startTime": seen.start_time, "stopTime": seen.stop_time}
    moment = times.get(name)
    return moment, "observed_at" if moment is None else name


def _entered(known: KnownRun, seen: Snapshot) -> datetime | None:
    return known.since or _stamp(seen)[0] or seen.asked_at
