"""Which runs of a list are ours to follow, and the memory of what was discovered.

`discovered_through` is a creationTime by the service's clock, set at the very first start to that moment and trailing
by ten minutes after that: a run created after it is told whatever its status; an ended run created before it never is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from poller.core.machine import ENDS
from poller.core.runs import EmitFirst, KnownRun, Question, Snapshot
from poller.ports import Page

TRAIL: Final = timedelta(minutes=10)
"""How far the memory stays behind: a run may show itself in lists some time after its creation."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What `[watch]` says of discovery."""

    discover: bool = False
    groups: tuple[str, ...] = ()
    name_prefix: str = ""
    emit_first: EmitFirst = "always"


class Discovery:
    """The rule of one scope, applied to what lists show.

    Args: `by_our_clock` says that `discovered_through` was read off our clock, not off the service's yet.
    """

    def __init__(self, rule: Rule, discovered_through: datetime, *, by_our_clock: bool = False) -> None:
        self.rule = rule
        self.discovered_through = discovered_through
        self._by_our_clock = by_our_clock
        self.muted: frozenset[str] = frozenset()
        self.last_news: datetime | None = None
        self._ended_from: datetime | None = None
        self._active_from: datetime | None = None

    def adopt(self, item: Snapshot) -> KnownRun | None:
        """A run that nobody follows yet: how it is followed from now on, None if it is not ours to follow."""
        if not self.rule.discover or item.run_id in self.muted:
            return None
        if self.rule.name_prefix and not str(item.fields.get("name", "")).startswith(self.rule.name_prefix):
            return None
        young = item.creation_time is not None and item.creation_time > self.discovered_through
        if not young and (item.status in ENDS or item.status == "DELETED"):
            return None
        emit_first: EmitFirst = "always" if young else self.rule.emit_first
        self.last_news = item.answered_at
        return KnownRun(item.run_id, emit_first=emit_first, by_rule=True, question=Question.FIRST)

    def began(self, page: Page, *, ended: bool) -> bool:
        """The first page of a walk through the lists came: what is created later may be missing from it.

        True if it is the first one ever, which tells how far the service's clock is from ours: the mark moves by that.
        The answer may have been long under way and its Date is cut to the second, so the mark is rather a little early.
        """
        served_at = page.served_at or page.answered_at
        if ended:
            self._ended_from = served_at
        else:
            self._active_from = served_at
        first, self._by_our_clock = self._by_our_clock, False
        if first:
            self.discovered_through += served_at - page.answered_at
        return first

    def passed_mark(self, page: Page, *, in_order: bool) -> bool:
        """Whether a list of ended runs need not be read on: all that follows was created before the mark."""
        times = [item.creation_time for item in page.items]
        if not in_order or not times:
            return False
        last = times[-1]
        return last is not None and last < self.discovered_through

    def finished(self, *, ended: bool, ended_lists_are_read: bool) -> bool:
        """A walk went through all its lists: move the mark; True if it moved.

        What was created before both walks began, and long enough before to show itself, is known now.
        """
        starts = [self._active_from, self._ended_from] if ended_lists_are_read else [self._active_from]
        if (ended_lists_are_read and not ended) or any(start is None for start in starts):
            return False
        mark = min(start for start in starts if start is not None) - TRAIL
        if mark <= self.discovered_through:
            return False
        self.discovered_through = mark
        return True


def newest_first(items: tuple[Snapshot, ...], last: datetime | None) -> bool:
    """Whether a page shows the order that is not documented: creationTimes that never rise, also after `last`."""
    times = [item.creation_time for item in items]
    if any(time is None for time in times):
        return False
    known = [time for time in (last, *times) if time is not None]
    return all(later <= earlier for earlier, later in pairwise(known))
