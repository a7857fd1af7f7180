"""Runs that may be ours: what lists show of them fits a watch, and their tags, which GetRun alone shows, decide.

Each costs one GetRun. Until that comes, a candidate is known here only, with what lists show of it meanwhile: if it
proves to be ours, all of that is told; if not, nothing of it was told or kept. Runs that are not ours are remembered,
so that none is asked about again; those that no list has shown for longest are forgotten first.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from poller.core.endings import missed
from poller.core.incarnations import Relation, relate
from poller.core.machine import observe
from poller.core.planner import Planner
from poller.core.runs import KnownRun, Question, Snapshot, created_together
from poller.polling.discovery import Discovery

log = structlog.get_logger("poller.polling")

MOST_REMEMBERED: Final = 100_000
"""Runs of others that are remembered: beyond as many that are active at once, some are asked about again."""
JUST_BEFORE: Final = timedelta(microseconds=1)


class Candidates:
    """The candidates of one scope.

    Args: `patience` is how long one that GetRun does not find is asked about, `pause` how long between two of these
    questions; `monotonic` gives seconds that never go back.
    """

    def __init__(
        self,
        planner: Planner,
        discovery: Discovery,
        *,
        pause: timedelta,
        patience: timedelta,
        monotonic: Callable[[], float],
        remembers: int = MOST_REMEMBERED,
    ) -> None:
        self.planner = planner
        self.discovery = discovery
        self.pause = pause
        self.patience = patience
        self.monotonic = monotonic
        self.remembers = remembers
        self.waiting: dict[str, KnownRun] = {}
        self._not_ours: dict[str, datetime | None] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self.waiting

    def ask(self, known: KnownRun, item: Snapshot) -> None:
        """Have GetRun tell whether a run is ours that a list shows."""
        self.waiting[known.run_id] = observe(known, item).known
        self._ask_again(known, self.monotonic())

    def shown(self, item: Snapshot) -> bool:
        """A list shows a run: True if it is a candidate already, which is kept as evidence, or known not to be ours."""
        run_id = item.run_id
        if run_id in self.waiting:
            self.waiting[run_id] = observe(self.waiting[run_id], item).known
            return True
        if run_id not in self._not_ours:
            return False
        created = self._not_ours.pop(run_id)
        same = item.creation_time is None or created is None or created_together(created, item.creation_time)
        if same:  # else the id is another run's now
            self._not_ours[run_id] = created
        return same

    def take(self, run_id: str) -> KnownRun | None:
        """A candidate that is ours whatever its tags are: what is known of it; None if it is none."""
        return self.waiting.pop(run_id, None)

    def judge(self, look: Snapshot) -> KnownRun | None:
        """A GetRun has come: the run with what lists showed of it if it is ours, None if it is not, or not sure yet."""
        known = self.waiting[look.run_id]
        relation = relate(known, look)
        if relation is Relation.OLDER:  # a stale answer, of a run that had this id before
            self._ask_again(known, self.monotonic() + self.pause.total_seconds())
            return None
        if look.run_id in self.discovery.muted or not self.discovery.rules.takers(look):
            self.let_go(look.run_id, look.creation_time)
            return None
        log.info("run.found", run=look.run_id, status=look.status)
        del self.waiting[look.run_id]
        if relation is Relation.NEWER:  # whose the run was that lists showed under this id, nobody will know
            return KnownRun(look.run_id, emit_first="never", by_rule=True)
        return known

    def missed(self, run_id: str, at: datetime) -> bool:
        """GetRun did not find a candidate: it is asked about once more after a pause, as long as patience lasts.

        False if it lasts no longer: whose run it was will not be known.
        """
        known = self.waiting[run_id] = missed(self.waiting[run_id], at)
        if known.missing_since is not None and at < known.missing_since + self.patience:
            self._ask_again(known, self.monotonic() + self.pause.total_seconds())
            return True
        log.info("run.unproven", run=run_id, detail="gone before its tags were seen", then="nothing is told of it")
        del self.waiting[run_id]
        return False

    def let_go(self, run_id: str, created: datetime | None = None) -> None:
        """A candidate is not ours: nothing is asked about it any more."""
        known = self.waiting.pop(run_id)
        self._not_ours[run_id] = created or known.creation_time
        while len(self._not_ours) > self.remembers:
            del self._not_ours[next(iter(self._not_ours))]

    def before_all(self, mark: datetime) -> datetime | None:
        """The moment just before the first candidate created after `mark` was: so far discovery may be said to have
        come. None if there is none such.
        """
        created = (known.creation_time for known in self.waiting.values() if known.creation_time is not None)
        first = min((moment for moment in created if moment > mark), default=None)
        return None if first is None else first - JUST_BEFORE

    def _ask_again(self, known: KnownRun, due: float) -> None:
        question = Question.NEW if known.question is Question.NEW else Question.FIRST
        self.planner.follow(replace(known, question=question), due)
