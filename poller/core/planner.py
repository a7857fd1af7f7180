"""What to ask next: which run directly, which page of which list, and when there is nothing to do before.

Pure: it is told what was seen and what moment it is (seconds of a monotonic clock), and answers with the next look.
Direct looks (GetRun) and lists (ListRuns) spend two different quotas, so each has a lane of its own. A run is due by
its cadence; where a list answers for it and for others at no greater cost, it makes that list due instead. The list of
the newest runs answers for all that it shows, whatever their status, as long as it shows its order; the lists of the
statuses answer for the rest. Who is missing from a list that was read whole has moved on: short lists that may show
where to are read first, then one GetRun asks. Measurements and the bound: docs/polling.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from poller.core.claims import Claim, Claims
from poller.core.lists import ENDED_LISTS, NEVER, NOT_DUE, WHOLE, ListName, Part, RunList, later_than, more_urgent
from poller.core.runs import KnownRun, Question
from poller.core.statuses import ACTIVE, RANK
from poller.core.turns import Turns

_PRIORITY: Final = {
    Question.IDENTITY: 0,
    Question.END: 1,
    Question.GONE: 1,
    Question.PROOF: 2,
    Question.FIRST: 3,
    None: 5,
}
_ENDED_PROBABLY: Final = 1
_MOVED: Final = 4
"""Priority of a run that left its list for one that is long: a list would show it too, only later."""
_BY_CADENCE: Final = 5
_LISTS_FAIL_AFTER: Final = 3
"""Pages in a row that did not come, after which nothing relies on a list until one does."""
_SOON: Final = 0.5
"""Seconds that a missing run waits for a short list that may show it."""
VERIFY_EVERY: Final = 60.0
"""Seconds between two readings of the active lists while the newest runs are trusted to show what is new."""
OUTLINED: Final = 5000
"""Runs that an outline looks at, evenly chosen: to look at a hundred thousand would hold up all else for a second."""
TRY_AGAIN: Final = 900.0
"""Seconds until a list of the newest runs that did not show its order is tried again, and until a complete one is
verified.
"""


@dataclass(frozen=True, slots=True)
class GetRunLook:
    """Ask about one run; `question` says what for, None where its cadence or its absence from a list made it due."""

    run_id: str
    question: Question | None


@dataclass(frozen=True, slots=True)
class ListLook:
    """Read one page of one list; `walk` is the reading that it belongs to."""

    name: ListName
    token: str | None
    page: int
    walk: int


@dataclass(frozen=True, slots=True)
class ListOutline:
    """One list that is read as things stand: `wait` is the seconds between two readings that its runs ask for."""

    called: str
    pages: int
    runs: int
    wait: float
    urgency: float


@dataclass(frozen=True, slots=True)
class Outline:
    """What the planner has to do as things stand; `waiting` GetRuns are due. Seconds are those of the cadence alone."""

    low: float
    high: float
    runs: int
    newest_trusted: bool
    lists: tuple[ListOutline, ...]
    direct_runs: int
    direct_wait: float
    waiting: int


@dataclass(slots=True)
class _Slot:
    """One followed run. `serial` tells its valid heap entry from old ones; `shown` the last request that showed it.

    `parked` says that a list is to answer for it; `missing` since when it is known to have left the list of its status.
    """

    rank: int
    priority: int
    question: Question | None
    due: float
    serial: int
    by_rule: bool
    created: float = NEVER
    shown: float = NEVER
    answered: float = NEVER
    missing: float | None = None
    in_flight: bool = False
    parked: bool = False


class Planner:
    """The agenda of one scope.

    Args: `low` is the shortest min_interval in seconds, `high` the max_interval of discovery; a run's own are in
    `claims`. `parts` are what the lists of discovery are narrowed to; where one of them is the whole account, its lists
    answer for every run.
    """

    def __init__(
        self, *, low: float, high: float, parts: Sequence[Part] = (WHOLE,), claims: Claims | None = None
    ) -> None:
        self.low = low
        self.high = high
        if claims is None:
            claims = Claims(Claim(0, timedelta(seconds=low), timedelta(seconds=high)))
        self.claims = claims
        self.parts = tuple(parts)
        self._answering = (WHOLE,) if WHOLE in self.parts else self.parts
        self.lists_allowed = True
        self._lists_answer = False
        self._slots: dict[str, _Slot] = {}
        self._members: tuple[set[str], ...] = tuple(set() for _ in ACTIVE)
        self._missing: set[str] = set()
        self._unseen: set[str] = set()
        self._waiting: list[tuple[float, int, str]] = []
        self._ready = Turns(self._startable)
        self._serial = 0
        self._newest = [RunList(part.list_of(None)) for part in self.parts]
        self._lists: dict[ListName, RunList] = {one.name: one for one in self._newest}
        for status in (*ACTIVE, *ENDED_LISTS):
            for part in (*self.parts, WHOLE):
                self._lists.setdefault(part.list_of(status), RunList(part.list_of(status)))
        self._discovery_due: float | None = None
        self._verify_at = NEVER
        self._try_newest_at = NEVER
        self._ended_due: float | None = None

    # --- what is followed ------------------------------------------------------------------------------------------

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def follow(self, known: KnownRun, due: float, *, shown: float | None = None) -> None:
        """Put a run on the agenda, or change when and what for it is asked: at `due`, for `known.question`.

        Never sooner than its min_interval after the last GetRun that answered about it. `shown` is when the request
        was sent that showed the run, if one did.
        """
        slot = self._slots.get(known.run_id)
        in_batch = known.status is None and known.batch_id is not None  # lists show it, though none has yet
        rank = 0 if in_batch else min(RANK.get(known.status or "", -1), len(ACTIVE) - 1)
        if slot is None:
            slot = self._slots[known.run_id] = _Slot(rank, 0, None, due, 0, known.by_rule)
            self._join(known.run_id, slot)
        elif slot.rank != rank:
            self._leave(known.run_id, slot)
            slot.rank = rank
            self._join(known.run_id, slot)
        if known.creation_time is not None:
            slot.created = known.creation_time.timestamp()
        if shown is not None:
            slot.shown = max(slot.shown, shown)
        if in_batch:
            self._unseen.add(known.run_id)
        else:
            self._unseen.discard(known.run_id)
        self._found(known.run_id, slot)
        slot.question = known.question
        slot.priority = _PRIORITY[known.question]
        self._schedule(known.run_id, slot, max(due, self._again_at(known.run_id, slot)))

    def drop(self, run_id: str) -> None:
        """Take a run off the agenda."""
        slot = self._slots.pop(run_id, None)
        if slot is not None:
            self._leave(run_id, slot)
            self._found(run_id, slot)
            self._unseen.discard(run_id)

    def shown(self, run_id: str, asked: float) -> None:
        """A page whose request was sent at `asked` showed the run."""
        slot = self._slots.get(run_id)
        if slot is not None:
            slot.shown = max(slot.shown, asked)

    def run_answered(self, run_id: str, now: float) -> None:
        """The GetRun that was under way about this run has come back with an answer."""
        slot = self._slots.get(run_id)
        if slot is not None:
            slot.in_flight = False
            slot.answered = now

    def run_failed(self, run_id: str, retry_at: float) -> None:
        """The GetRun that was under way brought nothing: ask the same again at `retry_at`, as urgently as before."""
        slot = self._slots.get(run_id)
        if slot is not None:
            slot.in_flight = False
            self._schedule(run_id, slot, max(retry_at, self._again_at(run_id, slot)))

    def discover(self, due: float | None) -> None:
        """When discovery next needs the lists that show what is new; None where nothing is discovered."""
        self._discovery_due = due

    def read_ended(self, due: float | None) -> None:
        """When the ended lists are next to be read; a reading that is under way goes on."""
        self._ended_due = due

    def hint(self, statuses: Iterable[str], now: float) -> None:
        """Something tells that these active lists are worth reading now."""
        self._make_lists_due(statuses, now)

    def sweep_all(self) -> None:
        """Have every active list read whole soon, of the whole account, as the verdict ladder needs them."""
        for status in ACTIVE:
            self._lists[ListName(status)].due = NEVER

    @property
    def all_read_since(self) -> float:
        """The latest moment since which every active list of the whole account was begun and read whole."""
        return min(self._lists[ListName(status)].whole for status in ACTIVE)

    # --- what to do next -------------------------------------------------------------------------------------------

    def next_get_run(self, now: float) -> GetRunLook | None:
        """The most urgent direct look that is due, marked as under way; None if there is none."""
        self._wake(now)
        run_id = self._ready.take()
        if run_id is None:
            return None
        slot = self._slots[run_id]
        slot.in_flight = True
        return GetRunLook(run_id, slot.question)

    def next_list(self, now: float) -> ListLook | None:
        """The next page that is due, marked as under way; None if there is none."""
        readable = self._readable(now)
        if not readable:
            return None
        chosen = more_urgent(readable, now, news_elsewhere=self._discovery_due is not None and self._newest_trusted)
        chosen.begin_or_go_on(now)
        return ListLook(chosen.name, chosen.token, chosen.page, chosen.walk)

    def still_reading(self, look: ListLook) -> bool:
        """Whether the page's reading still goes on, so that its answer means anything."""
        one = self._lists[look.name]
        return one.reading and one.in_flight and one.walk == look.walk

    def wants_get_run(self, now: float) -> bool:
        """Whether a direct look is due now."""
        self._wake(now)
        return bool(self._ready)

    def wants_list(self, now: float) -> bool:
        """Whether a page is due now."""
        return bool(self._readable(now))

    def next_due(self, now: float) -> float | None:
        """When the next thing that is not due yet will be; None if there is none."""
        while self._waiting and not self._valid(self._waiting[0][1], self._waiting[0][2]):
            heappop(self._waiting)
        moments = [self._waiting[0][0]] if self._waiting else []
        if self.lists_allowed:
            moments += [one.readable_at(self.low) for one in self._lists.values()]
            moments += [due for due in (self._discovery_due, self._ended_due) if due is not None]
        return min((moment for moment in moments if now < moment < NOT_DUE), default=None)

    def outline(self, now: float) -> Outline:
        """What there is to do as things stand, for `core.plan`."""
        self.wants_get_run(now)
        waits: dict[ListName, list[float]] = {}
        direct: list[float] = []
        step = len(self._slots) // OUTLINED + 1
        for run_id, slot in islice(self._slots.items(), 0, None, step):
            wait = min(max(slot.due - max(slot.shown, slot.answered), self.low), self.high)
            lists = self._answer_for(run_id, slot) if slot.priority == _BY_CADENCE else []
            for one in lists:
                waits.setdefault(one.name, []).append(wait)
            if not lists and slot.priority == _BY_CADENCE and slot.due < NOT_DUE:
                direct.append(wait)
        if self._discovery_due is not None:
            for one in (
                self._newest if self._newest_trusted else (one for every in ACTIVE for one in self._lists_of(every))
            ):
                waits.setdefault(one.name, [])
        return Outline(
            low=self.low,
            high=self.high,
            runs=len(self._slots),
            newest_trusted=self._discovery_due is not None and self._newest_trusted,
            lists=tuple(self._outlined(self._lists[name], asked, step) for name, asked in waits.items()),
            direct_runs=len(direct) * step,
            direct_wait=sum(direct) / len(direct) if direct else self.high,
            waiting=len(self._ready),
        )

    def _outlined(self, one: RunList, waits: Sequence[float], step: int) -> ListOutline:
        discovers = self._discovery_due is not None and (one.name.status is None or not self._newest_trusted)
        wait = min([*waits, self.high]) if waits or not discovers else self.high
        urgency = one.urgency(news_elsewhere=self._discovery_due is not None and self._newest_trusted)
        return ListOutline(_called(one.name), one.pages, len(waits) * step, max(wait, one.pause(self.low)), urgency)

    # --- how a page went -------------------------------------------------------------------------------------------

    def page_read(self, look: ListLook, token: str | None, now: float, *, back_to: float | None = None) -> bool:
        """A page came; with a `token` the list goes on. True if the list has now been read whole.

        `back_to` is the creationTime, in seconds since 1970, that the reading has come to, where the list shows its
        order: then a younger run that it did not show is missing already.
        """
        one, self._lists_answer = self._lists[look.name], True
        if not one.page_came(token):
            alone = len(self._answering) == 1 and look.name == self._answering[0].list_of("RUNNING")
            if back_to is not None and alone:
                self._look_for_missing("RUNNING", now, begun=one.begun, back_to=back_to)
                self._ask_about_missing(now)
            return False
        if look.name.status in ACTIVE:
            begun = min(one.whole for one in self._lists_of(look.name.status))
            self._look_for_missing(look.name.status, now, begun=begun)
        self._ask_about_missing(now)
        return True

    def newest_read(self, look: ListLook, showed: Iterable[str], now: float, *, in_order: bool, complete: bool) -> None:
        """The page of the newest runs came, with these runs. It is trusted if it showed its order, or all there is.

        A followed run that it shows no more was pushed off it by newer ones: other lists answer for it. If the page
        shows all there is, the run is missing.
        """
        one, self._lists_answer = self._lists[look.name], True
        one.page_came(None)
        one.trusted, one.complete = in_order or complete, complete
        if not one.trusted:
            self._try_newest_at = now + TRY_AGAIN
        before, one.showed = one.showed, frozenset(run_id for run_id in showed if run_id in self._slots)
        for run_id in before - (one.showed if one.trusted else frozenset()):
            slot = self._slots.get(run_id)
            if slot is not None and slot.parked and slot.missing is None:
                slot.priority = _ENDED_PROBABLY if complete else slot.priority
                self._schedule(run_id, slot, max(now, self._again_at(run_id, slot)))

    def page_failed(self, look: ListLook, retry_at: float, *, start_over: bool = False) -> None:
        """A page did not come: again at `retry_at`, or the list from its first page if `start_over`.

        Runs that wait for a list are not left to one that does not answer: they are then asked about directly.
        """
        one = self._lists[look.name]
        one.in_flight = False
        one.not_before = retry_at
        one.failures += 1
        if one.failures >= _LISTS_FAIL_AFTER:
            self._unpark()
        if start_over:
            one.give_up()
            one.due = NEVER

    def lists_denied(self) -> None:
        """ListRuns is not allowed: every run is asked about directly from now on."""
        self.lists_allowed = self._lists_answer = False
        for one in self._lists.values():
            one.give_up()
            one.due = NOT_DUE
        self._unpark()

    def try_lists(self) -> None:
        """A permission may have been granted: one page will tell."""
        self.lists_allowed = True

    # --- lists: which are due, and what they are good for ----------------------------------------------------------

    def _readable(self, now: float) -> list[RunList]:
        if not self.lists_allowed:
            return []
        self._wake(now)
        self._make_due(now)
        if not self._lists_answer and any(one.in_flight for one in self._lists.values()):
            return []  # whether lists may be read at all, and answer, one page tells
        return [one for one in self._lists.values() if one.readable_at(self.low) <= now]

    @property
    def _newest_trusted(self) -> bool:
        return all(one.trusted for one in self._newest)

    def _make_due(self, now: float) -> None:
        """What discovery needs by now."""
        if self._discovery_due is not None and self._discovery_due <= now:
            self._discovery_due = now + self.high
            trusted = self._newest_trusted
            if trusted or now >= self._try_newest_at:
                for one in self._newest:
                    one.due = min(one.due, now)
            if not trusted or now >= self._verify_at:
                complete = trusted and all(one.complete for one in self._newest)
                self._verify_at = now + (TRY_AGAIN if complete else max(self.high, VERIFY_EVERY))
                self._make_lists_due(ACTIVE, now, self.parts)
        if self._ended_due is not None and self._ended_due <= now:
            self._ended_due = None
            self._make_lists_due(ENDED_LISTS, now, self.parts)

    def _make_lists_due(self, statuses: Iterable[str], now: float, parts: Sequence[Part] = ()) -> None:
        for status in statuses:
            for part in parts or self._answering:
                one = self._lists[part.list_of(status)]
                one.due = min(one.due, now)

    def _lists_of(self, status: str) -> Iterator[RunList]:
        """The lists that show between them all followed runs of a status."""
        return (self._lists[part.list_of(status)] for part in self._answering)

    def _answer_for(self, run_id: str, slot: _Slot) -> list[RunList]:
        """The lists that answer for a due run and for others at no greater cost than asking about each; or none."""
        if not self.lists_allowed or not self._listed(slot):
            return []
        for newest in self._newest:
            pays = self._discovery_due is not None or len(newest.showed) > 1
            if newest.trusted and not newest.failures and run_id in newest.showed and pays:
                return [newest]
        lists = list(self._lists_of(ACTIVE[slot.rank]))
        members = len(self._members[slot.rank])
        if any(one.failures >= _LISTS_FAIL_AFTER for one in lists) or members < max(2, sum(one.pages for one in lists)):
            return []
        return lists

    def _listed(self, slot: _Slot) -> bool:
        """Whether the lists that are read show this run: its status is known, and it is in one of the parts."""
        return slot.rank >= 0 and (slot.by_rule or WHOLE in self.parts)

    # --- runs that left their list ---------------------------------------------------------------------------------

    def _look_for_missing(self, status: str, now: float, *, begun: float, back_to: float = NEVER) -> None:
        """Note the runs, created after `back_to`, that a reading should have shown and no look since it began did."""
        if status == ACTIVE[0] and self._unseen:  # a batch named them: until all lists were read, any may show them
            all_begun = min(one.whole for every in ACTIVE for one in self._lists_of(every))
            for run_id in [one for one in self._unseen if self._slots[one].due <= all_begun]:
                self._unseen.discard(run_id)
                self._slots[run_id].shown = all_begun - self.low
        for run_id in self._members[RANK[status]] - self._unseen:
            slot = self._slots[run_id]
            if slot.shown >= begun or (back_to != NEVER and slot.created <= back_to):
                continue
            if slot.missing is None and slot.priority == _BY_CADENCE and not slot.in_flight:
                slot.missing = now
                slot.parked = True
                self._missing.add(run_id)
        if self._missing:
            self._make_lists_due((later for later in later_than(status) if self._is_short(later)), now)

    def _ask_about_missing(self, now: float) -> None:
        """Have GetRun tell of each missing run, unless the list where it should be next is short and read soon."""
        for run_id in list(self._missing):
            slot = self._slots[run_id]
            since = slot.missing
            assert since is not None
            unread = [
                later
                for later in later_than(ACTIVE[slot.rank])
                if any(one.whole < since for one in self._lists_of(later))
            ]
            if unread and self._shows_soon(unread[0], now):
                continue
            self._missing.discard(run_id)
            slot.priority = _MOVED if any(not self._is_short(later) for later in unread) else _ENDED_PROBABLY
            self._schedule(run_id, slot, max(now, self._again_at(run_id, slot)))

    def _is_short(self, status: str) -> bool:
        return all(one.short and not one.failures for one in self._lists_of(status))

    def _shows_soon(self, status: str, now: float) -> bool:
        return self._is_short(status) and all(
            one.in_flight or one.reading or one.begun + self.low <= now + _SOON for one in self._lists_of(status)
        )

    def _found(self, run_id: str, slot: _Slot) -> None:
        slot.missing = None
        self._missing.discard(run_id)

    # --- the agenda ------------------------------------------------------------------------------------------------

    def _join(self, run_id: str, slot: _Slot) -> None:
        if self._listed(slot):
            self._members[slot.rank].add(run_id)

    def _leave(self, run_id: str, slot: _Slot) -> None:
        if self._listed(slot):
            self._members[slot.rank].discard(run_id)

    def _again_at(self, run_id: str, slot: _Slot) -> float:
        """The first moment at which a run may be asked about again."""
        return slot.answered + self.claims.of(run_id).low.total_seconds()

    def _schedule(self, run_id: str, slot: _Slot, due: float) -> None:
        self._serial += 1
        slot.due, slot.serial, slot.parked = due, self._serial, False
        heappush(self._waiting, (due, self._serial, run_id))
        if len(self._waiting) > 2 * len(self._slots) + 64:
            self._waiting = sorted(entry for entry in self._waiting if self._valid(entry[1], entry[2]))

    def _unpark(self) -> None:
        for run_id, slot in self._slots.items():
            if slot.parked:
                self._found(run_id, slot)
                self._schedule(run_id, slot, slot.due)

    def _valid(self, serial: int, run_id: str) -> bool:
        slot = self._slots.get(run_id)
        return slot is not None and slot.serial == serial

    def _startable(self, serial: int, run_id: str) -> bool:
        slot = self._slots.get(run_id)
        return slot is not None and slot.serial == serial and not slot.in_flight

    def _wake(self, now: float) -> None:
        """Move what is due from waiting to ready; a run that a list answers for makes that list due instead."""
        while self._waiting and self._waiting[0][0] <= now:
            due, serial, run_id = heappop(self._waiting)
            slot = self._slots.get(run_id)
            if slot is None or slot.serial != serial:
                continue
            if slot.in_flight:
                heappush(self._waiting, (now + self.low, serial, run_id))
                continue
            lists = self._answer_for(run_id, slot) if slot.priority == _BY_CADENCE else []
            for one in lists:
                one.due = min(one.due, now)
            if lists and self._discovery_due is None and now >= self._try_newest_at:
                self._try_newest_at = now + TRY_AGAIN  # would one page do instead of several lists?
                for one in self._newest:
                    one.due = min(one.due, now)
            slot.parked = bool(lists)
            if not lists:
                self._ready.add(self.claims.of(run_id).watches, slot.priority, (due, serial, run_id))


def _called(name: ListName) -> str:
    """A list by the words of the docs: "newest", "RUNNING", "RUNNING of group 77"."""
    status = name.status or "newest"
    if name.group is not None:
        return f"{status} of group {name.group}"
    return status if name.batch is None else f"{status} of batch {name.batch}"
