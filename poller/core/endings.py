"""How a life ends that no GetRun will answer for any more: by its manifest, by what lists showed, or without an end.

Pure. Who is asked before a run is given up: `core.vanishing`.
"""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from poller.core.evidence import bare, tell_proven, tell_unproven
from poller.core.incarnations import identified, is_of
from poller.core.runs import Evidence, KnownRun, Question, Snapshot, Verdict
from poller.core.statuses import ENDS, Step
from poller.core.transitions import Observed, Transition, take


def missed(known: KnownRun, answered_at: datetime) -> KnownRun:
    """GetRun did not find the run: the first time starts the verdict ladder's clock."""
    if not known.live:
        return replace(known, question=None)
    return replace(known, question=Question.GONE, missing_since=known.missing_since or answered_at)


def recover(known: KnownRun, shown: Snapshot, evidence: tuple[str, ...]) -> Observed:
    """A manifest tells how a run ended that no GetRun will answer for any more; also after `vanished`.

    What only lists had shown is told first, by the uuid that the manifest gives, then the end, with `recovered_from`.
    Nothing is told if the end was, if the manifest shows none, or if it is another incarnation's.
    """
    if known.verdict is Verdict.ENDED or shown.status not in ENDS or not is_of(known, shown):
        return Observed(known, (), Step.SAME)
    known, told = tell_proven(replace(identified(known, shown), verdict=None, missing_since=None, refused=False), shown)
    known, transitions, step = take(known, shown, evidence=evidence)
    return Observed(known, (*told, *(replace(one, recovered_from="manifest") for one in transitions)), step)


def vanish(known: KnownRun, at: datetime, evidence: tuple[str, ...]) -> Observed:
    """The top of the verdict ladder: the end that a list had shown, DELETED if GetRun showed it, else `vanished`."""
    if not known.live:
        return Observed(replace(known, question=None), (), Step.SAME)
    known, told = _given_up(known, at, evidence)
    if known.verdict is Verdict.ENDED:
        return Observed(known, told, Step.FORWARD)
    known, transition = _without_answer(known, "vanished", at, evidence=evidence)
    known = replace(known, verdict=Verdict.VANISHED, question=None, missing_since=None)
    return Observed(known, (*told, transition), Step.FORWARD)


def refuse(known: KnownRun, at: datetime, reason: str, *, final: bool = True) -> Observed:
    """The service will not answer about this id: told once. `final` ends the watch; a denial may be lifted.

    What lists had shown of it is told first; an end among that stays a question, in case a GetRun answers after all.
    """
    if known.verdict in (Verdict.ENDED, Verdict.UNREACHABLE):
        return Observed(replace(known, question=None), (), Step.SAME)
    end_seen = known.end_seen
    known, told = tell_unproven(replace(known, end_seen=None))
    known, transition = _without_answer(replace(known, end_seen=end_seen), "unreachable", at, evidence=(reason,))
    known = replace(known, refused=True)
    if final:
        known = replace(known, verdict=Verdict.UNREACHABLE, question=None)
    return Observed(known, (*told, transition), Step.FORWARD)


def close(known: KnownRun, successor: Snapshot) -> tuple[Transition, ...]:
    """The last events of an incarnation that another one has taken the place of; none if its end was told.

    What lists had shown of it is told first (its uuid will never be known), then an end that a list had shown, or
    DELETED if a GetRun had shown it; without one, `replaced`, which names the new uuid.
    """
    if known.verdict is Verdict.ENDED:
        return ()
    known, told = _given_up(known, successor.answered_at, ())
    if known.verdict is not Verdict.ENDED and (known.seen_at is not None or known.told):
        _, replaced = _without_answer(known, "replaced", successor.answered_at, replaced_by=successor.uuid)
        told = (*told, replaced)
    return told


def _given_up(known: KnownRun, at: datetime, evidence: tuple[str, ...]) -> tuple[KnownRun, tuple[Transition, ...]]:
    """What is left to tell when no GetRun will answer any more: what lists showed, then DELETED if GetRun showed it."""
    known, told = tell_unproven(known)
    if known.verdict is Verdict.ENDED or not known.shown_deleted:
        return known, told
    # not full: that answer is gone, and what else is known of the run is in the record
    shown = bare(known.run_id, known, Evidence("DELETED", at, at), full=False)
    known, transitions, _ = take(known, shown, evidence=evidence)
    return known, (*told, *transitions)


def _without_answer(
    known: KnownRun,
    kind: Literal["vanished", "unreachable", "replaced"],
    at: datetime,
    *,
    evidence: tuple[str, ...] = (),
    replaced_by: str | None = None,
) -> tuple[KnownRun, Transition]:
    """An event about a run that no answer shows: what its status is now, nobody knows."""
    transition = Transition(
        kind=kind,
        key="",
        incarnation=known.identity,
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
    return replace(known, incarnation=known.identity or known.incarnation, told=True), transition
