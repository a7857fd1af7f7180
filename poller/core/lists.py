"""The lists of ListRuns as things to read: how long each is, which page comes next, and how far a reading reaches.

Pure. A list is named by a status, and by a run group or a batch where it is narrowed to one; without a status it shows
the newest runs of every status, and only its first page is read. Each list is read by one reader, page by page. Moments
are seconds of a monotonic clock.
"""

from dataclasses import dataclass, field
from math import sqrt
from typing import Final, NamedTuple

from poller.core.list_order import ListOrder
from poller.core.statuses import ACTIVE, RANK

ENDED_LISTS: Final = ("COMPLETED", "FAILED", "CANCELLED")
NEVER: Final = float("-inf")
NOT_DUE: Final = float("inf")
FAILING_AFTER: Final = 3
"""Pages in a row that did not come, after which nothing relies on a list until one does."""
SHORT: Final = 2
"""Pages up to which a list counts as short: read often, and worth waiting for before a GetRun is spent."""
LONG_RUNNING: Final = 1.0
"""Urgency of a long RUNNING list beside short ones: most of what leaves it shows itself in STOPPING."""
SLOW: Final = 0.3
"""Urgency of a page of the PENDING list where it is long, or what is new shows elsewhere, and of the ended lists: what
leaves the queue shows itself in STARTING.
"""
QUEUE_PAGE: Final = 1.0
"""Seconds of pause for each page of a long PENDING list between two readings of it: a queue is read on a slow clock."""


class ListName(NamedTuple):
    """Which runs a list shows: those of a status (None: the newest of all), of a run group or a batch, or of any."""

    status: str | None
    group: str | None = None
    batch: str | None = None


class Part(NamedTuple):
    """A part of an account's runs that the lists are narrowed to: a run group, or a batch. Neither: all of them."""

    group: str | None = None
    batch: str | None = None

    def list_of(self, status: str | None) -> ListName:
        return ListName(status, *self)


WHOLE: Final = Part()


@dataclass(slots=True)
class RunList:
    """One list.

    `pages` is its length at the last whole reading; `begun` when the first page of the last reading was asked for,
    `asked` when any was; `whole` when the last reading began that reached the end. `walk` numbers the readings, so that
    an answer that comes too late is known as one. A list of the newest runs is `trusted` while it shows its order, or
    all there is; `complete` says that it was the latter; `showed` are the followed runs that it showed last.
    """

    name: ListName
    due: float = NOT_DUE
    pages: int = 1
    begun: float = NEVER
    asked: float = NEVER
    whole: float = NEVER
    walk: int = 0
    reading: bool = False
    token: str | None = None
    page: int = 0
    in_flight: bool = False
    not_before: float = NEVER
    failures: int = 0
    trusted: bool = False
    complete: bool = False
    showed: frozenset[str] = frozenset()
    order: ListOrder = field(default_factory=ListOrder)

    @property
    def short(self) -> bool:
        return self.pages <= SHORT

    @property
    def failing(self) -> bool:
        """Whether nothing relies on it until a page comes."""
        return self.failures >= FAILING_AFTER

    def wanted(self, now: float) -> None:
        """It is due now, unless it was before."""
        self.due = min(self.due, now)

    def pause(self, low: float) -> float:
        """Seconds between the beginnings of two readings, at least: `low`, more for a long queue."""
        slow = self.name.status == "PENDING" and not self.short
        return max(low, self.pages * QUEUE_PAGE) if slow else low

    def readable_at(self, low: float) -> float:
        """When its next page may be read: at once within a reading, else when it is due, and not before its pause."""
        if self.in_flight:
            return NOT_DUE
        return self.not_before if self.reading else max(self.due, self.begun + self.pause(low), self.not_before)

    def begin_or_go_on(self, now: float) -> None:
        """Ask for its next page; the first one of a new reading if none is under way."""
        if not self.reading:
            self.reading, self.begun, self.due = True, now, NOT_DUE
            self.token, self.page = None, 0
            self.walk += 1
        self.in_flight, self.asked = True, now

    def page_came(self, token: str | None) -> bool:
        """A page was read; True if it was the last one of the list."""
        self.in_flight, self.failures = False, 0
        self.page += 1
        self.token = token
        if token is not None:
            return False
        self.reading, self.whole, self.pages = False, self.begun, self.page
        return True

    def page_failed(self, retry_at: float) -> None:
        """A page did not come; none is asked for before `retry_at`."""
        self.in_flight = False
        self.not_before = retry_at
        self.failures += 1

    def give_up(self) -> None:
        """End the reading without having read it whole."""
        self.reading = self.in_flight = False
        self.token, self.page = None, 0

    def urgency(self, *, news_elsewhere: bool) -> float:
        """What a second of waiting weighs beside other lists that are due; `news_elsewhere`: new runs show themselves
        on another list than PENDING.

        The time between two readings that costs least lag for a number of calls grows with the square root of a
        list's pages; so the pages of a long list come more often than a short list, and its readings less often.
        """
        status = self.name.status
        if status in ENDED_LISTS or (status == "PENDING" and (news_elsewhere or not self.short)):
            return SLOW
        if status == "RUNNING" and not self.short:
            return LONG_RUNNING * sqrt(self.pages)
        return sqrt(self.pages)


def more_urgent(lists: list[RunList], now: float, *, news_elsewhere: bool) -> RunList:
    """Which of these is read next: the one that has waited most, weighed; of equals the earliest of the lifecycle."""

    def weight(one: RunList) -> tuple[float, int]:
        return (now - one.asked) * one.urgency(news_elsewhere=news_elsewhere), -RANK.get(one.name.status or "", -1)

    return max(lists, key=weight)


def later_than(status: str) -> tuple[str, ...]:
    """The active statuses that may follow one."""
    return ACTIVE[ACTIVE.index(status) + 1 :]
