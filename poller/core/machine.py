"""What one look means: the run as we knew it, against the run as the service now shows it.

Pure: times come in as arguments, results go out as values. `observe` first asks whether the answer speaks of the
incarnation that we know (`core.incarnations`), then what its status says against the last one (`core.statuses`), and
has told what is new (`core.transitions`). What a list item can prove, and what only a GetRun may tell, is decided here
and nowhere else. Odd cases: docs/architecture.md.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final, assert_never

from poller.core.endings import close
from poller.core.evidence import evidence_of, gather, tell_proven
from poller.core.incarnations import Relation, identified, relate
from poller.core.runs import KnownRun, Question, Snapshot, Verdict
from poller.core.statuses import ENDS, Step, judge
from poller.core.transitions import Observed, contradict, take

BEHIND_AT_MOST: Final = timedelta(minutes=5)
"""How long GetRun is asked with priority for an end that a list showed; then the cadence decides again."""


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
            told = close(known, snapshot)
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
        seen = evidence_of(item)
        if known.end_seen is not None and (known.end_seen.status in ENDS or item.status == "DELETED"):
            seen = known.end_seen
        asked = replace(identified(known, item), end_seen=seen, question=Question.END)
        return Observed(_again(asked), (), step)
    if not known.is_proven_by(item):
        kept = identified(known, item)
        evidence = gather(known.evidence, item)
        question = kept.question
        if question not in (Question.END, Question.GONE, Question.NEW):
            question = Question.PROOF if len(evidence) > 1 else Question.FIRST
        return Observed(_again(replace(kept, evidence=evidence, question=question)), (), step)
    known = _again(identified(known, item))
    known, transitions, step = take(known, item)
    return Observed(known, transitions, step)


def _observe_full(known: KnownRun, look: Snapshot) -> Observed:
    """A GetRun answer of the incarnation that we know: evidence first, in order, then what it shows itself."""
    if known.verdict is Verdict.ENDED:
        return contradict(known, look)
    known = _again(identified(known, look))
    known = replace(known, looked=True, question=None, refused=False)
    known, proven = tell_proven(known, look)
    if look.status == "DELETED":
        # how it ended is not known yet: the verdict ladder is climbed once before this counts as the end
        missing_since = known.missing_since or look.answered_at
        return Observed(
            replace(known, question=Question.GONE, missing_since=missing_since, shown_deleted=True),
            proven,
            Step.SAME,
        )
    known, told, step = take(replace(known, missing_since=None), look)
    if known.live and known.end_seen is not None and look.asked_at < known.end_seen.answered_at + BEHIND_AT_MOST:
        known = replace(known, question=Question.END)  # a list has shown the end: this answer is behind it
    return Observed(known, (*proven, *told), step)


def _again(known: KnownRun) -> KnownRun:
    """A run that was given up and shows itself: it goes on, and its next event says so."""
    if known.verdict in (Verdict.VANISHED, Verdict.UNREACHABLE):
        return replace(known, verdict=None, reappeared=True, missing_since=None)
    return known
