"""A run id that belongs to another run now: how the old one ended is asked of its manifest, before the new one begins.

The last event of an incarnation comes before the first of the next one, so an answer that shows a new one waits for
the manifest. Meanwhile what it showed is kept in the old one's `successor`, which is written, so that a crash loses
nothing of it. Pure.
"""

from dataclasses import replace

from poller.core.endings import recover
from poller.core.evidence import bare, evidence_of, proven
from poller.core.incarnations import Relation, relate
from poller.core.machine import observe
from poller.core.runs import Evidence, KnownRun, Question, Snapshot, Successor
from poller.core.statuses import Step
from poller.core.transitions import Observed, Transition


def is_succeeded(known: KnownRun, look: Snapshot) -> bool:
    """Whether a GetRun shows a newer incarnation of an id whose old one is still to be told something of.

    One that was given up is not asked about again: its manifest was, when it was given up.
    """
    spoken_of = known.seen_at is not None or known.told or known.end_seen is not None or known.evidence
    return known.live and bool(spoken_of or known.shown_deleted) and relate(known, look) is Relation.NEWER


def await_manifest(known: KnownRun, look: Snapshot) -> KnownRun:
    """Keep what an answer showed of the newer incarnation until `succeed`."""
    created = look.created
    seen: tuple[Evidence, ...] = (evidence_of(look),)
    before = known.successor
    if before is not None:  # shown before a crash: it goes first
        if (before.uuid, before.creation_time) != (look.uuid, created):
            return known
        seen = (*before.seen, *(one for one in seen if one.status != before.seen[-1].status))
    return replace(known, question=Question.IDENTITY, successor=Successor(look.uuid, created, seen))


def kept_look(known: KnownRun) -> Snapshot | None:
    """The last answer that a run's successor was seen in, as far as it was kept; None if it has no successor."""
    if known.successor is None:
        return None
    return bare(known.run_id, known.successor, known.successor.seen[-1], full=True)


def succeed(known: KnownRun, look: Snapshot, manifest: Snapshot | None, tried: tuple[str, ...]) -> Observed:
    """Close the old incarnation by its manifest, or as `replaced`, and start the new one with all that was shown of it.

    Args: `look` is the last answer about the new one; `tried` says what was asked about the old one.
    """
    told: list[Transition] = []
    successor = known.successor
    known = replace(known, successor=None)
    if manifest is not None:
        known, transitions, _ = recover(known, manifest, tried)
        told += transitions
    step = Step.FORWARD
    for shown in (*_shown_before(known.run_id, successor, look), look):
        known, transitions, step = observe(known, shown)
        told += transitions
    closing = [replace(one, evidence=tried) if one.kind == "replaced" else one for one in told]
    return Observed(known, tuple(closing), step)


def _shown_before(run_id: str, successor: Successor | None, look: Snapshot) -> list[Snapshot]:
    """What answers before the last one showed of the new incarnation: there is something only after a crash."""
    if successor is None:
        return []
    earlier = [one for one in successor.seen if one.asked_at < look.asked_at]
    if successor.uuid is not None and successor.uuid == look.uuid:
        return [proven(one, look) for one in earlier]
    return [bare(run_id, successor, one, full=True) for one in earlier]
