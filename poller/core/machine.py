"""What one look means: the run as we knew it, against the run as the service now shows it.

Pure: times come in as arguments, results go out as values. `observe` first asks whether the answer speaks of the
incarnation that we know (`relate`), then what its status says against the last one (`judge`). What a list item can
prove, and what only a GetRun may tell, is decided here and nowhere else. Odd cases: docs/architecture.md.
Statuses: HealthOmics API 2022-11-28.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, Literal, NamedTuple, assert_never

from poller.core.runs import (
    Evidence,
    KnownRun,
    Overdue,
    Question,
    Snapshot,
    Verdict,
    created_together,
    cut_to_milliseconds,
    incarnation_of,
)

RANK: Final[Mapping[str, int]] = {
    "PENDING": 0,
    "STARTING": 1,
    "RUNNING": 2,
    "STOPPING": 3,
    "COMPLETED": 4,
    "FAILED": 4,
    "CANCELLED": 4,
    "DELETED": 5,
}
CANONICAL_PATH: Final = ("PENDING", "STARTING", "RUNNING", "STOPPING")
"""The statuses that a transition may skip: between two ranks there is one status each."""
ENDS: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
ACTIVE: Final = CANONICAL_PATH
BEHIND_AT_MOST: Final = timedelta(minutes=5)
"""How long GetRun is asked with priority for an end that a list showed; then the cadence decides again."""
_LATER_FIELDS: Final = frozenset({"status", "statusMessage", "failureReason", "startTime", "stopTime"})

StampName = Literal["creationTime", "startTime", "stopTime", "observed_at"]


class Step(Enum):
    """What a status says against the last one that we understood."""

    FIRST = auto()
    SAME = auto()
    FORWARD = auto()
    STALE = auto()
    CONTRADICTION = auto()
    UNKNOWN = auto()


class Relation(Enum):
    """Whether an answer speaks of the incarnation that we know."""

    SAME = auto()
    OLDER = auto()
    NEWER = auto()
    UNSURE = auto()
    """A list item with a newer creationTime, or one that cannot be compared: only a GetRun can tell."""


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


class Observed(NamedTuple):
    """The run as it is known after a look, what is to be told, and what kind of look it was (for counting)."""

    known: KnownRun
    transitions: tuple[Transition, ...]
    step: Step


def judge(last: str | None, seen: str) -> Step:
    """Relate the status just seen to the last one that we understood (None: none yet)."""
    if seen not in RANK:
        return Step.UNKNOWN  # newer than we are: told once, kept verbatim, never an end
    if last is None:
        return Step.FIRST
    if seen == last or (last in ENDS and seen == "DELETED"):
        return Step.SAME  # an end was told: what is tidied up later is no event
    distance = RANK[seen] - RANK[last]
    return Step.FORWARD if distance > 0 else Step.STALE if distance < 0 else Step.CONTRADICTION


def relate(known: KnownRun, snapshot: Snapshot) -> Relation:
    """Tell whose life an answer shows. The uuid decides where both sides have one, else the creationTime."""
    if known.uuid and known.uuid == snapshot.uuid:
        return Relation.SAME
    created = None if snapshot.creation_time is None else cut_to_milliseconds(snapshot.creation_time)
    if created is not None and known.creation_time is not None and created != known.creation_time:
        if created < known.creation_time:
            return Relation.OLDER
        return Relation.NEWER if snapshot.full else Relation.UNSURE
    if snapshot.full:
        return Relation.NEWER if known.uuid and snapshot.uuid else Relation.SAME
    comparable = created is not None and (known.creation_time is not None or not known.looked)
    return Relation.SAME if comparable or known.verdict is Verdict.ENDED else Relation.UNSURE


def skipped_between(last: str | None, seen: str) -> tuple[str, ...]:
    """All statuses of the canonical path between two ranks, whether or not the run passed them."""
    if last is None or last not in RANK:
        return ()
    return tuple(status for status in CANONICAL_PATH if RANK[last] < RANK[status] < RANK[seen])


def observe(known: KnownRun, snapshot: Snapshot) -> Observed:
    """Apply one answer to what is known of its run.

    A GetRun tells everything. A list item tells a non-terminal step of a run whose uuid is known and whose
    creationTime is the same; before the uuid is known it is kept as evidence; an end that it shows is a question.
    A GetRun that shows another incarnation closes the old one (`replaced`, unless its end was told) and starts afresh.
    """
    match relate(known, snapshot):
        case Relation.OLDER:
            return Observed(known, (), Step.STALE)
        case Relation.UNSURE:
            newer = known.creation_time is not None and snapshot.creation_time is not None
            if not newer and known.live and snapshot.status == known.status:
                return Observed(known, (), Step.SAME)  # nothing moved: not worth a GetRun after every list
            return Observed(replace(known, question=Question.IDENTITY), (), Step.SAME)
        case Relation.NEWER:
            told = _close(known, snapshot)
            fresh = observe(KnownRun(known.run_id, by_rule=known.by_rule), snapshot)
            return fresh._replace(transitions=(*told, *fresh.transitions))
        case Relation.SAME:
            return _observe_full(known, snapshot) if snapshot.full else _observe_item(known, snapshot)
        case never:
            assert_never(never)


def _observe_item(known: KnownRun, item: Snapshot) -> Observed:
    """A list item of the incarnation that we know, or of one that nobody has looked at yet."""
    if known.question is Question.IDENTITY:
        return Observed(known, (), Step.SAME)  # until a GetRun has decided, no item under this id is applied
    if known.verdict is Verdict.ENDED:
        return Observed(known, (), Step.STALE if item.status not in ENDS else Step.SAME)
    if known.verdict is Verdict.VANISHED:
        return Observed(replace(known, question=Question.END), (), Step.SAME)  # lists may lag: GetRun says who is right
    if known.verdict is Verdict.UNREACHABLE:
        return Observed(known, (), Step.SAME)  # lists may show what GetRun refuses to: only a GetRun mends that
    step = judge(known.status, item.status)
    if item.status in ENDS or item.status == "DELETED":
        if step is Step.STALE:
            return Observed(known, (), step)
        seen = Evidence(item.status, item.asked_at, item.answered_at, item.start_time, item.stop_time)
        if known.end_seen is not None and (known.end_seen.status in ENDS or item.status == "DELETED"):
            seen = known.end_seen
        asked = replace(_identified(known, item), end_seen=seen, question=Question.END)
        return Observed(_again(asked), (), step)
    if not known.is_proven_by(item):
        kept = _identified(known, item)
        question = kept.question if kept.question in (Question.END, Question.GONE) else Question.PROOF
        return Observed(_again(replace(kept, evidence=_gather(known.evidence, item), question=question)), (), step)
    known = _again(_identified(known, item))
    known, transitions, step = _take(known, item)
    return Observed(known, transitions, step)


def _gather(evidence: tuple[Evidence, ...], item: Snapshot) -> tuple[Evidence, ...]:
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
    return (*evidence, Evidence(item.status, item.asked_at, item.answered_at, item.start_time, item.stop_time))


def _observe_full(known: KnownRun, look: Snapshot) -> Observed:
    """A GetRun answer of the incarnation that we know: evidence first, in order, then what it shows itself."""
    if known.verdict is Verdict.ENDED:
        return _contradict(known, look)
    known = _again(_identified(known, look))
    known = replace(known, looked=True, question=None, refused=False)
    transitions: list[Transition] = []
    for seen in known.evidence:
        known, told, _ = _take(known, proven(seen, look), evidence=("ListRuns",))
        transitions += told
    known = replace(known, evidence=())
    if look.status == "DELETED":
        # how it ended is not known yet: the verdict ladder is climbed once before this counts as the end
        missing_since = known.missing_since or look.answered_at
        return Observed(
            replace(known, question=Question.GONE, missing_since=missing_since, shown_deleted=True),
            tuple(transitions),
            Step.SAME,
        )
    known, told, step = _take(replace(known, missing_since=None), look)
    if known.live and known.end_seen is not None and look.asked_at < known.end_seen.answered_at + BEHIND_AT_MOST:
        known = replace(known, question=Question.END)  # a list has shown the end: this answer is behind it
    return Observed(known, (*transitions, *told), step)


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


def _take(known: KnownRun, seen: Snapshot, *, evidence: tuple[str, ...] = ()) -> Observed:
    """Apply a status of the same incarnation that may be told: the one place where a status becomes a transition."""
    step = judge(known.status, seen.status)
    match step:
        case Step.STALE | Step.CONTRADICTION:
            return Observed(known, (), step)  # two ends of one run meet only after the first was told: see _contradict
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
    ended = seen.status in ENDS or seen.status == "DELETED"
    after, transition = _told(known, seen, seen.status.lower(), evidence)
    silent = transition.first and (
        known.emit_first == "never" or (known.emit_first == "terminal" and not transition.terminal)
    )
    after = replace(
        known if silent else after,
        status=seen.status,
        since=transition.occurred_at,
        since_by="stamp" if transition.occurred_at_source != "observed_at" else "look" if transition.first else "step",
        seen_at=seen.asked_at,
        verdict=Verdict.ENDED if ended else known.verdict,
        end_seen=None if ended else known.end_seen,
        question=None if ended else known.question,
        told=known.told or not silent,
        reappeared=known.reappeared and silent,
    )
    return Observed(after, () if silent else (transition,), step)


def _told(known: KnownRun, seen: Snapshot, kind: str, evidence: tuple[str, ...]) -> tuple[KnownRun, Transition]:
    """The transition that `seen` shows, and the run with its incarnation fixed."""
    incarnation = (
        known.incarnation if known.incarnation is not None else incarnation_of(known.uuid, known.creation_time)
    )
    understood = kind != "unknown_status"
    stamp, source = _stamp(seen) if understood else (None, "observed_at")
    not_before = known.seen_at
    if not_before is not None:  # answers may come in another order than they were asked for
        not_before = min(not_before, seen.answered_at, stamp or seen.answered_at)
    transition = Transition(
        kind=kind,
        key=seen.status,
        incarnation=incarnation,
        run_id=known.run_id,
        uuid=known.uuid,
        previous_status=known.status,
        status=seen.status,
        skipped=skipped_between(known.status, seen.status) if understood else (),
        terminal=understood and RANK[seen.status] >= RANK["COMPLETED"],
        first=known.seen_at is None,
        occurred_at=stamp or seen.answered_at,
        occurred_at_source=source if stamp is not None else "observed_at",
        observed_at=seen.answered_at,
        not_before=not_before,
        snapshot=seen,
        evidence=evidence,
        reappeared=known.reappeared,
    )
    return replace(known, incarnation=incarnation), transition


def _contradict(known: KnownRun, look: Snapshot) -> Observed:
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


def _close(known: KnownRun, successor: Snapshot) -> tuple[Transition, ...]:
    """The last events of an incarnation that another one has taken the place of; none if its end was told.

    What lists had shown of it is told first (its uuid will never be known), then an end that a list had shown, or
    DELETED if a GetRun had shown it; without one, `replaced`, which names the new uuid.
    """
    if known.verdict is Verdict.ENDED:
        return ()
    known, told = _given_up(known, successor.answered_at, ())
    if known.verdict is not Verdict.ENDED and (known.seen_at is not None or known.told):
        told = (*told, _without_answer(known, "replaced", successor.answered_at, replaced_by=successor.uuid))
    return told


def flush_evidence(known: KnownRun) -> tuple[KnownRun, tuple[Transition, ...]]:
    """Tell what only lists have shown of a run that no GetRun will answer for any more, its end included."""
    told: list[Transition] = []
    seen = [*known.evidence, *([known.end_seen] if known.end_seen is not None else [])]
    for item in seen:
        snapshot = Snapshot(
            run_id=known.run_id,
            status=item.status,
            full=False,
            asked_at=item.asked_at,
            answered_at=item.answered_at,
            uuid=known.uuid,
            creation_time=known.creation_time,
            start_time=item.start_time,
            stop_time=item.stop_time,
        )
        known, transitions, _ = _take(known, snapshot, evidence=("ListRuns",))
        told += [replace(one, recovered_from="ListRuns" if one.terminal else None) for one in transitions]
    return replace(known, evidence=(), end_seen=None), tuple(told)


def recover(known: KnownRun, shown: Snapshot, evidence: tuple[str, ...]) -> Observed:
    """A manifest tells how a run ended that no GetRun will answer for any more; also after `vanished`.

    What only lists had shown is told first, by the uuid that the manifest gives, then the end, with `recovered_from`.
    Nothing is told if the end was, if the manifest shows none, or if it is another incarnation's.
    """
    if known.verdict is Verdict.ENDED or shown.status not in ENDS or not is_of(known, shown):
        return Observed(known, (), Step.SAME)
    known = replace(_identified(known, shown), verdict=None, missing_since=None, refused=False)
    told: list[Transition] = []
    for seen in known.evidence:
        known, transitions, _ = _take(known, proven(seen, shown), evidence=("ListRuns",))
        told += transitions
    known, transitions, step = _take(replace(known, evidence=()), shown, evidence=evidence)
    told += [replace(one, recovered_from="manifest") for one in transitions]
    return Observed(known, tuple(told), step)


def is_of(known: KnownRun, shown: Snapshot) -> bool:
    """Whether a manifest is of the incarnation that we know: by uuid, else creationTime; any where both are unknown."""
    if known.uuid is not None:
        return shown.uuid == known.uuid
    return known.creation_time is None or created_together(known.creation_time, shown.creation_time)


def missed(known: KnownRun, answered_at: datetime) -> KnownRun:
    """GetRun did not find the run: the first time starts the verdict ladder's clock."""
    if not known.live:
        return replace(known, question=None)
    return replace(known, question=Question.GONE, missing_since=known.missing_since or answered_at)


def vanish(known: KnownRun, at: datetime, evidence: tuple[str, ...]) -> Observed:
    """The top of the verdict ladder: the end that a list had shown, DELETED if GetRun showed it, else `vanished`."""
    if not known.live:
        return Observed(replace(known, question=None), (), Step.SAME)
    known, told = _given_up(known, at, evidence)
    if known.verdict is Verdict.ENDED:
        return Observed(known, told, Step.FORWARD)
    transition = _without_answer(known, "vanished", at, evidence=evidence)
    known = replace(known, verdict=Verdict.VANISHED, question=None, missing_since=None, told=True)
    if transition.incarnation:
        known = replace(known, incarnation=transition.incarnation)
    return Observed(known, (*told, transition), Step.FORWARD)


def refuse(known: KnownRun, at: datetime, reason: str, *, final: bool = True) -> Observed:
    """The service will not answer about this id: told once. `final` ends the watch; a denial may be lifted.

    What lists had shown of it is told first; an end among that stays a question, in case a GetRun answers after all.
    """
    if known.verdict in (Verdict.ENDED, Verdict.UNREACHABLE):
        return Observed(replace(known, question=None), (), Step.SAME)
    end_seen = known.end_seen
    known, told = flush_evidence(replace(known, end_seen=None))
    transition = _without_answer(replace(known, end_seen=end_seen), "unreachable", at, evidence=(reason,))
    known = replace(known, refused=True, told=True, end_seen=end_seen)
    if final:
        known = replace(known, verdict=Verdict.UNREACHABLE, question=None)
    if transition.incarnation:
        known = replace(known, incarnation=transition.incarnation)
    return Observed(known, (*told, transition), Step.FORWARD)


def _given_up(known: KnownRun, at: datetime, evidence: tuple[str, ...]) -> tuple[KnownRun, tuple[Transition, ...]]:
    """What is left to tell when no GetRun will answer any more: what lists showed, then DELETED if GetRun showed it."""
    known, told = flush_evidence(known)
    if known.verdict is Verdict.ENDED or not known.shown_deleted:
        return known, told
    # not full: that answer is gone, and what else is known of the run is in the record
    shown = Snapshot(known.run_id, "DELETED", False, at, at, known.uuid, known.creation_time)
    known, transitions, _ = _take(known, shown, evidence=evidence)
    return known, (*told, *transitions)


def _without_answer(
    known: KnownRun,
    kind: Literal["vanished", "unreachable", "replaced"],
    at: datetime,
    *,
    evidence: tuple[str, ...] = (),
    replaced_by: str | None = None,
) -> Transition:
    """An event about a run that no answer shows: what its status is now, nobody knows."""
    fixed = known.incarnation
    return Transition(
        kind=kind,
        key="",
        incarnation=fixed if fixed is not None else incarnation_of(known.uuid, known.creation_time),
        run_id=known.run_id,
        uuid=known.uuid,
        previous_status=known.status,
        status=None,
        skipped=(),
        terminal=False,
        first=not known.looked and known.seen_at is None and known.end_seen is None,
        occurred_at=at,
        occurred_at_source="observed_at",
        observed_at=at,
        not_before=None if known.seen_at is None else min(known.seen_at, at),
        evidence=evidence,
        replaced_by=replaced_by,
        reappeared=known.reappeared,
    )


def _identified(known: KnownRun, seen: Snapshot) -> KnownRun:
    """Take over the identity that an answer brings, and where the run belongs; what is known already stands."""
    uuid, created = known.uuid or seen.uuid, known.creation_time
    if created is None and seen.creation_time is not None:
        created = cut_to_milliseconds(seen.creation_time)
    workflow_id = known.workflow_id or _text(seen, "workflowId")
    version = known.workflow_version or _text(seen, "workflowVersionName")
    group_id = known.run_group_id or _text(seen, "runGroupId")
    if (
        uuid == known.uuid
        and created is known.creation_time
        and (workflow_id, version, group_id) == (known.workflow_id, known.workflow_version, known.run_group_id)
    ):
        return known
    return replace(
        known,
        uuid=uuid,
        creation_time=created,
        workflow_id=workflow_id,
        workflow_version=version,
        run_group_id=group_id,
    )


def _text(seen: Snapshot, name: str) -> str | None:
    value = seen.fields.get(name)
    return value if isinstance(value, str) and value else None


def _again(known: KnownRun) -> KnownRun:
    """A run that was given up and shows itself: it goes on, and its next event says so."""
    if known.verdict in (Verdict.VANISHED, Verdict.UNREACHABLE):
        return replace(known, verdict=None, reappeared=True, missing_since=None)
    return known


def _stamp(seen: Snapshot) -> tuple[datetime | None, StampName]:
    """The service's own time of entering a status, where it has one (HealthOmics user guide, "getinfo-about-runs")."""
    if seen.status == "PENDING":
        return seen.creation_time, "creationTime"
    if seen.status == "RUNNING":
        return seen.start_time, "startTime"
    if seen.status in ENDS:
        return seen.stop_time, "stopTime"
    return None, "observed_at"


def _entered(known: KnownRun, seen: Snapshot) -> datetime | None:
    return known.since or _stamp(seen)[0] or seen.asked_at
