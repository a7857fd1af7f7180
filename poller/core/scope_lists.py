"""The lists that one scope reads: which of them are due, which answer for a run, and whether lists may be read at all.

Pure: moments are seconds of a monotonic clock. The list of the newest runs answers for all that it shows, whatever
their status, as long as it shows its order; the lists of the statuses answer for the rest. Measurements:
docs/polling.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from poller.core.lists import ENDED_LISTS, NEVER, NOT_DUE, WHOLE, ListName, Part, RunList, more_urgent
from poller.core.schedule import BY_CADENCE, Slot
from poller.core.statuses import ACTIVE

_SOON: Final = 0.5
"""Seconds that a run which left its list waits for a short one that may show it."""
VERIFY_EVERY: Final = 60.0
"""Seconds between two readings of the active lists while the newest runs are trusted to show what is new."""
TRY_AGAIN: Final = 900.0
"""Seconds until a list of the newest runs that did not show its order is tried again, and until a complete one is
verified.
"""


class ScopeLists:
    """The lists of one scope, by their names.

    Args: `low` is the shortest wait between two readings of one in seconds, `high` the longest between two of those
    that show what is new. `parts` are what the lists of discovery are narrowed to; where one of them is the whole
    account, its lists answer for every run.
    """

    def __init__(self, *, low: float, high: float, parts: Sequence[Part] = (WHOLE,)) -> None:
        self.low = low
        self.high = high
        self.parts = tuple(parts)
        self.answering = (WHOLE,) if WHOLE in self.parts else self.parts
        self.allowed = True
        self.newest = [RunList(part.list_of(None)) for part in self.parts]
        self._lists: dict[ListName, RunList] = {one.name: one for one in self.newest}
        for status in (*ACTIVE, *ENDED_LISTS):
            for part in (*self.parts, WHOLE):
                self._lists.setdefault(part.list_of(status), RunList(part.list_of(status)))
        self._one_answered = False
        self._discovery_due: float | None = None
        self._verify_at = NEVER
        self._try_newest_at = NEVER
        self._ended_due: float | None = None

    def __getitem__(self, name: ListName) -> RunList:
        return self._lists[name]

    def of(self, status: str) -> Iterator[RunList]:
        """The lists that show between them all followed runs of a status."""
        return (self._lists[part.list_of(status)] for part in self.answering)

    @property
    def discovering(self) -> bool:
        """Whether anything is discovered."""
        return self._discovery_due is not None

    @property
    def newest_trusted(self) -> bool:
        return all(one.trusted for one in self.newest)

    @property
    def news_elsewhere(self) -> bool:
        """Whether new runs show themselves on another list than PENDING."""
        return self.discovering and self.newest_trusted

    @property
    def all_read_since(self) -> float:
        """The latest moment since which every active list of the whole account was begun and read whole."""
        return min(self._lists[ListName(status)].whole for status in ACTIVE)

    # --- what they are good for ------------------------------------------------------------------------------------

    def answer_for(self, run_id: str, slot: Slot, *, alike: int) -> list[RunList]:
        """The lists that answer for a due run and for others at no greater cost than asking about each; or none.

        `alike` is how many followed runs the lists of its status show.
        """
        if not self.allowed or not slot.listed or slot.priority != BY_CADENCE:
            return []
        for newest in self.newest:
            pays = self.discovering or len(newest.showed) > 1
            if newest.trusted and not newest.failures and run_id in newest.showed and pays:
                return [newest]
        lists = list(self.of(ACTIVE[slot.rank]))
        if any(one.failing for one in lists) or alike < max(2, sum(one.pages for one in lists)):
            return []
        return lists

    def are_short(self, status: str) -> bool:
        """Whether those of a status are short, and come."""
        return all(one.short and not one.failures for one in self.of(status))

    def show_soon(self, status: str, now: float) -> bool:
        """Whether those of a status are short and read so soon that they are worth waiting for."""
        return self.are_short(status) and all(
            one.in_flight or one.reading or one.begun + self.low <= now + _SOON for one in self.of(status)
        )

    # --- which are due ---------------------------------------------------------------------------------------------

    def discover(self, due: float | None) -> None:
        """When discovery next needs the lists that show what is new; None where nothing is discovered."""
        self._discovery_due = due

    def read_ended(self, due: float | None) -> None:
        """When the ended lists are next to be read; a reading that is under way goes on."""
        self._ended_due = due

    def make_due(self, statuses: Iterable[str], now: float, parts: Sequence[Part] = ()) -> None:
        """Have the lists of these statuses read now: those that answer for the followed runs, or those of `parts`."""
        for status in statuses:
            for part in parts or self.answering:
                self._lists[part.list_of(status)].wanted(now)

    def make_whole_account_due(self) -> None:
        """Have every active list of the whole account read whole soon."""
        for status in ACTIVE:
            self._lists[ListName(status)].due = NEVER

    def read_for_run(self, lists: Iterable[RunList], now: float) -> None:
        """Have these read now, which answer for a run that is due."""
        for one in lists:
            one.wanted(now)
        if not self.discovering and now >= self._try_newest_at:
            self._try_newest_at = now + TRY_AGAIN  # would one page do instead of several lists?
            for one in self.newest:
                one.wanted(now)

    def readable(self, now: float) -> list[RunList]:
        """Those of which a page may be asked for now."""
        if not self.allowed:
            return []
        self._make_news_due(now)
        if not self._one_answered and any(one.in_flight for one in self._lists.values()):
            return []  # whether lists may be read at all, and answer, one page tells
        return [one for one in self._lists.values() if one.readable_at(self.low) <= now]

    def next_page(self, now: float) -> RunList | None:
        """The list whose next page is asked for now, marked as under way; None if none is due."""
        readable = self.readable(now)
        if not readable:
            return None
        chosen = more_urgent(readable, now, news_elsewhere=self.news_elsewhere)
        chosen.begin_or_go_on(now)
        return chosen

    def next_moments(self) -> list[float]:
        """When anything of them may come to be due."""
        if not self.allowed:
            return []
        moments = [one.readable_at(self.low) for one in self._lists.values()]
        return [*moments, *(due for due in (self._discovery_due, self._ended_due) if due is not None)]

    def _make_news_due(self, now: float) -> None:
        """What discovery needs by now."""
        if self._discovery_due is not None and self._discovery_due <= now:
            self._discovery_due = now + self.high
            trusted = self.newest_trusted
            if trusted or now >= self._try_newest_at:
                for one in self.newest:
                    one.wanted(now)
            if not trusted or now >= self._verify_at:
                complete = trusted and all(one.complete for one in self.newest)
                self._verify_at = now + (TRY_AGAIN if complete else max(self.high, VERIFY_EVERY))
                self.make_due(ACTIVE, now, self.parts)
        if self._ended_due is not None and self._ended_due <= now:
            self._ended_due = None
            self.make_due(ENDED_LISTS, now, self.parts)

    # --- how a page went -------------------------------------------------------------------------------------------

    def page_came(self, name: ListName, token: str | None) -> bool:
        """A page was read; True if it was the last one of its list."""
        self._one_answered = True
        return self._lists[name].page_came(token)

    def newest_came(
        self, name: ListName, showed: frozenset[str], now: float, *, in_order: bool, complete: bool
    ) -> frozenset[str]:
        """The page of the newest runs came, with these followed ones; which of them it answers for no more."""
        self.page_came(name, None)
        one = self._lists[name]
        one.trusted, one.complete = in_order or complete, complete
        if not one.trusted:
            self._try_newest_at = now + TRY_AGAIN
        before, one.showed = one.showed, showed
        return before - showed if one.trusted else before

    def deny(self) -> None:
        """ListRuns is not allowed."""
        self.allowed = self._one_answered = False
        for one in self._lists.values():
            one.give_up()
            one.due = NOT_DUE
