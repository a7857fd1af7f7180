"""What is said of runs that no GetRun will answer about any more: the end that a manifest shows, or that they are gone.

It decides nothing by itself: `ladders` and `partings` say whose turn it is, the core says what follows, and rounds
commit it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from poller.core.endings import recover, vanish
from poller.core.runs import Json, KnownRun, Snapshot, Verdict
from poller.core.succession import succeed
from poller.core.transitions import Observed
from poller.polling.access import Access
from poller.polling.ladders import Ladders
from poller.polling.partings import Partings

Fields = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows for one run, and when the question was sent that it answers.

    `fields` are those to keep of it, if there are newer ones; `evidence` is what was tried in vain.
    """

    observed: Observed
    asked_at: datetime
    fields: Fields | None = None
    evidence: tuple[str, ...] = ()

    @property
    def run_id(self) -> str:
        return self.observed.known.run_id


class Verdicts:
    """The verdicts of one scope."""

    def __init__(self, ladders: Ladders, partings: Partings, access: Access) -> None:
        self.ladders = ladders
        self.partings = partings
        self.access = access

    def are_due(self, now: datetime) -> bool:
        """Whether there is a run of which nothing more is to be asked. Manifests whose turn has come are asked for."""
        climbed = list(self.ladders.at_the_top())
        return bool(climbed or list(self.partings.resolved(now)) or self.partings.came_late(now))

    def next_at(self) -> datetime | None:
        """When the next run that waits for something is judged without it."""
        moments = (self.ladders.deadline(), self.partings.next_until())
        return min((moment for moment in moments if moment is not None), default=None)

    async def judge(
        self,
        now: datetime,
        *,
        known_runs: Callable[[Iterable[str]], Awaitable[Mapping[str, KnownRun]]],
        snapshots: Callable[[Iterable[str]], Awaitable[Mapping[str, Fields]]],
    ) -> list[Judged]:
        """The verdicts that are due. Args: `known_runs` and `snapshots` read what the record has of runs.

        A manifest whose account is not the pinned one gives none, and is blindness.
        """
        climbed, parted = list(self.ladders.at_the_top()), list(self.partings.resolved(now))
        late = self.partings.came_late(now)
        ends = {one.known.run_id: one.end for one in climbed if one.end is not None}
        ends |= {run_id: end for run_id, (end, _) in late.items()}
        remembered = await known_runs(late) if late else {}
        stored = await snapshots(ends) if ends else {}
        kept = {run_id: _merged(stored.get(run_id, {}), end) for run_id, end in ends.items()}
        judged: list[Judged] = []
        for one in climbed:
            if one.end is None:
                judged.append(Judged(vanish(one.known, now, one.evidence), now, evidence=one.evidence))
            elif self._counts(one.known.run_id, one.end):
                recovered = _recovered(one.known, one.end, now, one.evidence)
                judged.append(Judged(recovered, now, kept[one.known.run_id]))
        for held, end, said in parted:
            if end is None or self._counts(held.known.run_id, end):
                started = succeed(held.known, held.look, end, (said,))
                judged.append(Judged(started, held.look.asked_at, held.look.fields))
        for run_id, (end, evidence) in late.items():
            known = remembered.get(run_id)
            if known is None or known.verdict is not Verdict.VANISHED:
                self.partings.drop(run_id)
            elif self._counts(run_id, end):
                judged.append(Judged(recover(known, end, evidence), now, kept[run_id]))
        return judged

    def _counts(self, run_id: str, end: Snapshot) -> bool:
        """Whether a manifest is of the pinned account; the first ARN seen pins it. One that is not is read anew."""
        if self.access.is_ours(end.fields.get("arn")):
            return True
        self.ladders.manifests.forget(run_id)
        return False

    def settle(self, judged: Iterable[Judged], now: datetime) -> None:
        """Verdicts are committed: who vanished is waited for a while longer, everybody else no more."""
        for one in judged:
            known = one.observed.known
            vanished = known.verdict is Verdict.VANISHED and bool(one.evidence)
            vanished = vanished and not self.ladders.manifests.reading(one.run_id).left_out
            self.ladders.leave(one.run_id, still_wanted=vanished)
            self.partings.drop(one.run_id)
            if vanished:
                self.partings.await_late(known, now, one.evidence)


def _recovered(known: KnownRun, end: Snapshot, now: datetime, evidence: tuple[str, ...]) -> Observed:
    """The end that the manifest shows; if it is of another incarnation after all, the run is gone."""
    observed = recover(known, end, evidence)
    return observed if not observed.known.live else vanish(known, now, evidence)


def _merged(stored: Fields, end: Snapshot) -> Fields:
    """What GetRun had shown of the same incarnation, and what the manifest shows."""
    same = stored.get("uuid") is not None and stored.get("uuid") == end.uuid
    return {**(stored if same else {}), **end.fields}
