"""Which runs of a list are ours to follow, and the memory of what was discovered.

`discovered_through` is a creationTime by the service's clock, set at the very first start to that moment and trailing
by ten minutes after that: a run created after it is told whatever its status; an ended run created before it never is.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from poller.core.lists import ENDED_LISTS, ListName
from poller.core.runs import KnownRun, Question, Snapshot
from poller.core.statuses import ACTIVE, ENDS
from poller.polling.rules import Match, Rules, loudest
from poller.ports.service import BatchRun, Page

TRAIL: Final = timedelta(minutes=10)
"""How far the memory stays behind: a run may show itself in lists some time after its creation."""


class Discovery:
    """The rules of one scope, applied to what lists show.

    Args: `by_our_clock` says that `discovered_through` was read off our clock, not off the service's yet.
    """

    def __init__(self, rules: Rules, discovered_through: datetime, *, by_our_clock: bool = False) -> None:
        self.rules = rules
        self.discovered_through = discovered_through
        self._by_our_clock = by_our_clock
        self.muted: frozenset[str] = frozenset()
        self.last_news: datetime | None = None
        self._reached: dict[ListName, datetime] = {}
        self._reaching: dict[ListName, datetime | None] = {}
        self._last_items: dict[ListName, datetime | None] = {}
        self._in_order: dict[ListName, bool] = {}

    def adopt(self, item: Snapshot, name: ListName) -> KnownRun | None:
        """A run that nobody follows yet: how it is followed from now on, None if it is not ours to follow.

        Where only its tags can tell whether it is ours, that is how it is followed if it is.
        """
        if item.run_id in self.muted or self.rules.match(item, name.group) is Match.NO:
            return None
        if not self.is_young(item) and (item.status in ENDS or item.status == "DELETED"):
            return None
        self.last_news = item.answered_at
        question = Question.NEW if self.is_young(item) else Question.FIRST
        known = KnownRun(item.run_id, emit_first="never", by_rule=True, question=question)
        return self.heard(known, item, name.group)

    def of_batch(self, run: BatchRun, batch_id: str) -> KnownRun:
        """A run that a batch names, as it is followed before any look at it."""
        question = None if run.uuid is not None else Question.FIRST
        return KnownRun(
            run.run_id,
            emit_first=loudest(rule.emit_first for rule in self.rules.of_batch(batch_id)),
            by_rule=True,
            uuid=run.uuid,
            batch_id=batch_id,
            question=question,
        )

    def heard(self, known: KnownRun, shown: Snapshot, group: str | None = None) -> KnownRun:
        """A run of which no status was taken yet, with what is told of it first, now that more of it is seen.

        Whatever it is, if the run was created after the mark; else what the most talkative watch that takes it says.
        """
        if not known.by_rule or known.seen_at is not None:
            return known
        said = (rule.emit_first for rule in self.rules.takers(shown, group))
        return replace(known, emit_first="always" if self.is_young(shown) else loudest((known.emit_first, *said)))

    def is_young(self, shown: Snapshot) -> bool:
        """Whether a run was created after the mark."""
        return shown.creation_time is not None and shown.creation_time > self.discovered_through

    def began(self, name: ListName, page: Page) -> bool:
        """The first page of a list came: what is created later may be missing from the reading.

        True if it is the first page ever, which tells how far the service's clock is from ours: the mark moves by that.
        The answer may have been long under way and its Date is cut to the second, so the mark is rather a little early.
        """
        served_at = page.served_at or page.answered_at
        self._reaching[name] = served_at if name.status == "PENDING" else self._reached_before(name.status)
        self._last_items[name], self._in_order[name] = None, True
        first, self._by_our_clock = self._by_our_clock, False
        if first:
            self.discovered_through += served_at - page.answered_at
        return first

    def next_token(self, name: ListName, token: str | None, page: Page) -> str | None:
        """Where the reading goes on; None if there is nothing more, or nothing that matters.

        A list of ended runs is read back to the mark where it shows its order, else to its end. `token` brought this
        page: a service that repeats it would be read for ever.
        """
        self._in_order[name] = self._in_order[name] and newest_first(page.items, self._last_items[name])
        last = page.items[-1].creation_time if page.items else None
        self._last_items[name] = last or self._last_items[name]
        if name.status in ENDED_LISTS and self._in_order[name] and last is not None and last < self.discovered_through:
            return None
        return None if page.token == token else page.token

    def finished(self, name: ListName, *, ended_lists_are_read: bool, at_most: datetime | None = None) -> bool:
        """A list was read whole: move the mark, `at_most` to that moment; True if it moved.

        A run is known once the lists were read whole one after the other in the order of the lifecycle: wherever it
        went meanwhile, one of them showed it. So each reading reaches as far as the list before had reached when it
        began, and PENDING as far as its own beginning.
        """
        reaching = self._reaching.get(name)
        if reaching is not None:
            self._reached[name] = reaching
        last = self._least(ENDED_LISTS if ended_lists_are_read else ACTIVE[-1:])
        if last is None:
            return False
        mark = last - TRAIL if at_most is None else min(last - TRAIL, at_most)
        moves = mark > self.discovered_through
        self.discovered_through = max(mark, self.discovered_through)
        return moves

    def _reached_before(self, status: str | None) -> datetime | None:
        if status in ENDED_LISTS:
            return self._least(ACTIVE[-1:])
        return self._least((ACTIVE[ACTIVE.index(status) - 1],)) if status in ACTIVE else None

    def _least(self, statuses: Sequence[str]) -> datetime | None:
        """How far these lists have been read, all of them; None if one never was."""
        reached = [self._reached.get(part.list_of(status)) for status in statuses for part in self.rules.parts]
        return None if None in reached else min(one for one in reached if one is not None)


def newest_first(items: tuple[Snapshot, ...], last: datetime | None = None) -> bool:
    """Whether a page shows the order that is not documented: creationTimes that never rise, also after `last`."""
    times = [item.creation_time for item in items]
    if any(time is None for time in times):
        return False
    known = [time for time in (last, *times) if time is not None]
    return all(later <= earlier for earlier, later in pairwise(known))
