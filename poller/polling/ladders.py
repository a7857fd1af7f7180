"""The runs that GetRun did not find, each on its rung of the verdict ladder (`core/vanishing.py` has the rungs)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from poller.core.cadence import Pace
from poller.core.errors import ServiceError
from poller.core.planner import Planner
from poller.core.runs import KnownRun, Snapshot
from poller.core.vanishing import Ladder, Rung, Terms, next_rung, tried
from poller.polling.manifests import Manifests

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Climbed:
    """What the ladder comes to for one run: the end that its manifest shows, if it does, and what was tried."""

    known: KnownRun
    end: Snapshot | None
    evidence: tuple[str, ...]


class Ladders:
    """Where each missing run of one scope stands. Args: `runs` are those followed; `now` and `monotonic` the time."""

    def __init__(
        self,
        planner: Planner,
        manifests: Manifests,
        pace: Pace,
        runs: Mapping[str, KnownRun],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self.planner = planner
        self.manifests = manifests
        self.pace = pace
        self.runs = runs
        self.now = now
        self.monotonic = monotonic
        self._ladders: dict[str, Ladder] = {}
        self._sweep_wanted: dict[str, float] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ladders

    def missed(self, known: KnownRun, error: ServiceError, at: datetime) -> None:
        """GetRun did not find the run (any more)."""
        ladder = self._ladders.get(known.run_id) or Ladder(known.missing_since or at, misses=0)
        said = f"GetRun: {error.code} at {at.isoformat()}"
        evidence = ladder.evidence if ladder.contradicted else (*ladder.evidence, said)
        self._ladders[known.run_id] = replace(ladder, misses=ladder.misses + 1, evidence=evidence)

    def shown_deleted(self, look: Snapshot) -> None:
        """GetRun showed DELETED: how the run ended is asked of the other rungs, once."""
        said = f"GetRun: DELETED at {look.answered_at.isoformat()}"
        self._ladders.setdefault(look.run_id, Ladder(look.answered_at, evidence=(said,)))

    def leave(self, run_id: str, *, still_wanted: bool = False) -> None:
        """The run was seen, or is followed no more; its manifest may be `still_wanted`."""
        self._sweep_wanted.pop(run_id, None)
        if self._ladders.pop(run_id, None) is not None and not still_wanted:
            self.manifests.forget(run_id)

    def shown_by_list(self, known: KnownRun, item: Snapshot) -> None:
        """A list shows the run. If it was asked after GetRun first missed it, GetRun is asked again: who is right?"""
        ladder = self._ladders.get(known.run_id)
        if ladder is None or known.shown_deleted or item.asked_at <= ladder.missing_since:
            return
        said = f"ListRuns: still shows {item.status} at {item.answered_at.isoformat()}"
        evidence = tuple(one for one in ladder.evidence if not one.startswith("ListRuns: still"))
        misses = min(ladder.misses, 1)
        self._ladders[known.run_id] = replace(ladder, misses=misses, contradicted=True, evidence=(*evidence, said))
        self._sweep_wanted.pop(known.run_id, None)

    def lists_read(self, since: float) -> None:
        """All active lists were read whole, none begun before `since`: who waited for that is not among them."""
        for run_id, ladder in self._ladders.items():
            if not ladder.listed and since >= self._sweep_wanted.get(run_id, NEVER):
                said = "ListRuns: not among the active runs"
                self._ladders[run_id] = replace(ladder, listed=True, evidence=(*ladder.evidence, said))

    def plan(self) -> None:
        """Put the next question about each missing run on the agenda."""
        for run_id, known, ladder in self._followed():
            rung, at = self._rung(known, ladder)
            ask = rung is Rung.GET_RUN
            self.planner.follow(known, self.monotonic() + (at - self.now()).total_seconds() if ask else NEVER)
            if rung is Rung.LIST_RUNS and run_id not in self._sweep_wanted:
                self._sweep_wanted[run_id] = self.monotonic()
                self.planner.sweep_all()

    def at_the_top(self) -> Iterator[Climbed]:
        """The runs of which nothing more is to be asked; manifests whose turn has come are asked for."""
        for run_id, known, ladder in self._followed():
            rung, _ = self._rung(known, ladder)
            if rung is Rung.TOP:
                reading = self.manifests.reading(run_id)
                evidence = tried(ladder, reading, lists_allowed=self.planner.lists_allowed)
                yield Climbed(known, reading.end, evidence)
            elif rung is Rung.MANIFEST or ladder.contradicted:
                self.manifests.want(known)

    def deadline(self) -> datetime | None:
        """When the next run that waits for lists or its manifest, or that lists contradict, goes on without."""
        moments = []
        for _, known, ladder in self._followed():
            rung, until = self._rung(known, ladder)
            if ladder.contradicted:
                moments.append(ladder.missing_since + self.pace.vanish_deadline)
            elif rung in (Rung.LIST_RUNS, Rung.MANIFEST):
                moments.append(until)
        return min(moments, default=None)

    def _followed(self) -> Iterator[tuple[str, KnownRun, Ladder]]:
        for run_id, ladder in list(self._ladders.items()):
            known = self.runs.get(run_id)
            if known is not None:
                yield run_id, known, ladder

    def _rung(self, known: KnownRun, ladder: Ladder) -> tuple[Rung, datetime]:
        terms = Terms(
            seen_before=known.seen_at is not None,
            shown_deleted=known.shown_deleted,
            lists_allowed=self.planner.lists_allowed,
            pause=self.pace.min_interval,
            deadline=self.pace.vanish_deadline,
        )
        return next_rung(ladder, self.manifests.reading(known.run_id), self.now(), terms)
