"""What to ask next: which run directly, which page of which list, and when there is nothing to do before.

Pure: it is told what was seen and what moment it is (seconds of a monotonic clock), and answers with the next look.
Direct looks (GetRun) and lists (ListRuns) spend two different quotas, so each has a lane of its own. A run is due by
its cadence; where reading the lists from its status on costs fewer calls than asking about each run in them, the due
run makes a sweep due instead. A sweep reads the lists in lifecycle order, each whole before the next, so that a run
that moves on meanwhile is seen twice, never missed; who is missing from a whole sweep is asked about by one GetRun.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, Literal

from poller.core.machine import ACTIVE, RANK
from poller.core.runs import KnownRun, Question

ENDED_LISTS: Final = ("COMPLETED", "FAILED", "CANCELLED")
_PRIORITY: Final = {
    Question.IDENTITY: 0,
    Question.END: 1,
    Question.GONE: 1,
    Question.PROOF: 2,
    Question.FIRST: 3,
    None: 4,
}
_BY_CADENCE: Final = 4
_LISTS_FAIL_AFTER: Final = 3
"""Pages in a row that did not come, after which nothing relies on the lists until one does."""


@dataclass(frozen=True, slots=True)
class GetRunLook:
    """Ask about one run; `question` says what for, None where its cadence made it due."""

    run_id: str
    question: Question | None


@dataclass(frozen=True, slots=True)
class ListLook:
    """Read one page of one list: of a sweep over the active statuses, or of a pass over the ended ones."""

    reader: Literal["sweep", "ended"]
    status: str
    group: str | None
    token: str | None
    page: int


@dataclass(frozen=True, slots=True)
class Swept:
    """A reader went through all its lists, whole. `absent` are the covered runs that no look since its start showed."""

    reader: Literal["sweep", "ended"]
    started: float
    from_status: str
    everything: bool
    absent: tuple[str, ...] = ()


@dataclass(slots=True)
class _Slot:
    """One followed run. `serial` tells its valid heap entry from old ones; `shown` the last request that showed it."""

    rank: int
    priority: int
    question: Question | None
    due: float
    serial: int
    by_rule: bool
    shown: float = float("-inf")
    answered: float = float("-inf")
    in_flight: bool = False
    parked: bool = False


@dataclass(slots=True)
class _Reader:
    """A walk through some lists, one page at a time."""

    name: Literal["sweep", "ended"]
    lists: list[tuple[str, str | None]] = field(default_factory=list)
    started: float = float("-inf")
    from_status: str = ACTIVE[0]
    everything: bool = True
    token: str | None = None
    page: int = 0
    in_flight: bool = False
    not_before: float = float("-inf")
    due: float | None = None
    failures: int = 0

    @property
    def reading(self) -> bool:
        return bool(self.lists)

    def stop(self) -> None:
        self.lists, self.token, self.page = [], None, 0


class Planner:
    """The agenda of one scope.

    Args: `low` and `high` are min_interval and max_interval in seconds; `groups` are the run groups that discovery is
    narrowed to, empty for all.
    """

    def __init__(self, *, low: float, high: float, groups: Sequence[str] = ()) -> None:
        self.low = low
        self.high = high
        self.groups: tuple[str | None, ...] = tuple(groups) or (None,)
        self.lists_allowed = True
        self._slots: dict[str, _Slot] = {}
        self._waiting: list[tuple[float, int, str]] = []
        self._ready: list[tuple[int, float, int, str]] = []
        self._serial = 0
        self._members = dict.fromkeys(range(len(ACTIVE)), 0)
        self._pages: dict[tuple[str, str | None], int] = {}
        self._sweep = _Reader("sweep")
        self._ended = _Reader("ended")
        self._wanted_rank: int | None = None
        self._wanted_everything = False
        self._discovery_due: float | None = None
        self._ended_turn = False

    # --- what is followed ------------------------------------------------------------------------------------------

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def follow(self, known: KnownRun, due: float, *, shown: float | None = None) -> None:
        """Put a run on the agenda, or change when and what for it is asked: at `due`, for `known.question`.

        Never sooner than `low` after the last GetRun that answered about it. `shown` is when the request was sent that
        showed the run, if one did.
        """
        slot = self._slots.get(known.run_id)
        rank = min(RANK.get(known.status or "", -1), len(ACTIVE) - 1)
        if slot is None:
            slot = self._slots[known.run_id] = _Slot(rank, 0, None, due, 0, known.by_rule)
            self._count(slot, 1)
        elif slot.rank != rank:
            self._count(slot, -1)
            slot.rank = rank
            self._count(slot, 1)
        if shown is not None:
            slot.shown = max(slot.shown, shown)
        slot.question = known.question
        slot.priority = _PRIORITY[known.question]
        self._schedule(known.run_id, slot, max(due, slot.answered + self.low))

    def drop(self, run_id: str) -> None:
        """Take a run off the agenda."""
        slot = self._slots.pop(run_id, None)
        if slot is not None:
            self._count(slot, -1)

    def shown(self, run_id: str, asked: float) -> None:
        """A look whose request was sent at `asked` showed the run."""
        slot = self._slots.get(run_id)
        if slot is not None:
            slot.shown = max(slot.shown, asked)

    def landed(self, run_id: str, now: float, *, answered: bool) -> None:
        """The GetRun that was under way about this run has come back, with an answer or without one."""
        slot = self._slots.get(run_id)
        if slot is not None:
            slot.in_flight = False
            if answered:
                slot.answered = now

    def discover(self, due: float | None) -> None:
        """When discovery next needs the active lists, all of them; None where nothing is discovered."""
        self._discovery_due = due

    def read_ended(self, due: float | None) -> None:
        """When the ended lists are next to be read; a pass that is under way goes on."""
        self._ended.due = due

    def sweep_all(self) -> None:
        """Ask for a sweep over everything, as the verdict ladder does."""
        self._wanted_rank = 0
        self._wanted_everything = True

    # --- what to do next -------------------------------------------------------------------------------------------

    def next_get_run(self, now: float) -> GetRunLook | None:
        """The most urgent direct look that is due, marked as under way; None if there is none."""
        self._wake(now)
        while self._ready:
            _, _, serial, run_id = heappop(self._ready)
            slot = self._slots.get(run_id)
            if slot is None or slot.serial != serial or slot.in_flight:
                continue
            slot.in_flight = True
            return GetRunLook(run_id, slot.question)
        return None

    def next_list(self, now: float) -> ListLook | None:
        """The next page that is due, marked as under way; None if there is none."""
        if not self.lists_allowed:
            return None
        self._wake(now)
        self._start_readers(now)
        readers = (self._ended, self._sweep) if self._ended_turn else (self._sweep, self._ended)
        for reader in readers:
            if reader.reading and not reader.in_flight and now >= reader.not_before:
                reader.in_flight = True
                self._ended_turn = reader is self._sweep
                status, group = reader.lists[0]
                return ListLook(reader.name, status, group, reader.token, reader.page)
        return None

    def still_reading(self, look: ListLook) -> bool:
        """Whether the page's walk still goes on, so that its answer means anything."""
        reader = self._reader(look)
        return reader.reading and reader.in_flight and reader.lists[0] == (look.status, look.group)

    def wants_get_run(self, now: float) -> bool:
        """Whether a direct look is due now."""
        self._wake(now)
        while self._ready and not self._valid(self._ready[0][2], self._ready[0][3]):
            heappop(self._ready)
        return bool(self._ready)

    def wants_list(self, now: float) -> bool:
        """Whether a page is due now."""
        if not self.lists_allowed:
            return False
        self._wake(now)
        self._start_readers(now)
        return any(
            reader.reading and not reader.in_flight and now >= reader.not_before
            for reader in (self._sweep, self._ended)
        )

    def next_due(self, now: float) -> float | None:
        """When the next thing that is not due yet will be; None if there is none."""
        moments: list[float] = []
        while self._waiting and not self._valid(self._waiting[0][1], self._waiting[0][2]):
            heappop(self._waiting)
        if self._waiting:
            moments.append(self._waiting[0][0])
        if self.lists_allowed:
            for reader in (self._sweep, self._ended):
                if reader.reading and not reader.in_flight:
                    moments.append(reader.not_before)
            if not self._sweep.reading:
                due = [self._discovery_due] if self._discovery_due is not None else []
                due += [now] if self._wanted_rank is not None else []
                moments += [max(moment, self._sweep.started + self.low, self._sweep.not_before) for moment in due]
            if not self._ended.reading and self._ended.due is not None:
                moments.append(self._ended.due)
        return min((moment for moment in moments if moment > now), default=None)

    # --- how a page went -------------------------------------------------------------------------------------------

    def page_read(self, look: ListLook, token: str | None) -> Swept | None:
        """A page came. With a `token` the list goes on; else the next list does; Swept when it was the last of them."""
        reader = self._reader(look)
        if not reader.reading:
            return None
        reader.in_flight = False
        reader.failures = 0
        reader.page += 1
        if token is not None:
            reader.token = token
            return None
        self._pages[look.status, look.group] = reader.page
        reader.lists.pop(0)
        reader.token, reader.page = None, 0
        if reader.lists:
            return None
        absent: tuple[str, ...] = ()
        if reader is self._sweep:
            absent = tuple(self._absent(reader))
        return Swept(reader.name, reader.started, reader.from_status, reader.everything, absent)

    def page_failed(self, look: ListLook, retry_at: float, *, start_over: bool = False) -> None:
        """A page did not come: again at `retry_at`, or the whole walk from its first list if `start_over`.

        Runs that wait for a sweep are not left to lists that do not answer: they are then asked about directly.
        """
        reader = self._reader(look)
        reader.in_flight = False
        reader.not_before = retry_at
        reader.failures += 1
        if reader is self._sweep and reader.failures >= _LISTS_FAIL_AFTER:
            self._unpark()
        if start_over:
            if reader is self._sweep:
                self._wanted_rank = min(RANK[reader.from_status], 3 if self._wanted_rank is None else self._wanted_rank)
                self._wanted_everything = self._wanted_everything or reader.everything
            else:
                reader.due = retry_at
            reader.stop()

    def lists_denied(self) -> None:
        """ListRuns is not allowed: every run is asked about directly from now on."""
        self.lists_allowed = False
        for reader in (self._sweep, self._ended):
            reader.stop()
            reader.in_flight = False
        self._wanted_rank = None
        self._unpark()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _reader(self, look: ListLook) -> _Reader:
        return self._sweep if look.reader == "sweep" else self._ended

    def _unpark(self) -> None:
        for run_id, slot in self._slots.items():
            if slot.parked:
                self._schedule(run_id, slot, slot.due)

    def _count(self, slot: _Slot, change: int) -> None:
        if slot.rank >= 0 and (slot.by_rule or self.groups == (None,)):
            self._members[slot.rank] += change

    def _schedule(self, run_id: str, slot: _Slot, due: float) -> None:
        self._serial += 1
        slot.due, slot.serial, slot.parked = due, self._serial, False
        heappush(self._waiting, (due, self._serial, run_id))
        if len(self._waiting) > 2 * len(self._slots) + 64:
            self._waiting = sorted(entry for entry in self._waiting if self._valid(entry[1], entry[2]))

    def _valid(self, serial: int, run_id: str) -> bool:
        slot = self._slots.get(run_id)
        return slot is not None and slot.serial == serial

    def _wake(self, now: float) -> None:
        """Move what is due from waiting to ready; a run that a sweep answers for more cheaply makes the sweep due."""
        while self._waiting and self._waiting[0][0] <= now:
            due, serial, run_id = heappop(self._waiting)
            slot = self._slots.get(run_id)
            if slot is None or slot.serial != serial:
                continue
            if slot.in_flight:
                heappush(self._waiting, (now + self.low, serial, run_id))
            elif slot.priority == _BY_CADENCE and self._sweep_pays(slot):
                slot.parked = True
                self._wanted_rank = slot.rank if self._wanted_rank is None else min(self._wanted_rank, slot.rank)
            else:
                heappush(self._ready, (slot.priority, due, serial, run_id))

    def _sweep_pays(self, slot: _Slot) -> bool:
        """Whether reading the lists from this run's status on costs no more calls than asking about each of them."""
        if not self.lists_allowed or self._sweep.failures >= _LISTS_FAIL_AFTER:
            return False
        if slot.rank < 0 or not (slot.by_rule or self.groups == (None,)):
            return False
        members = sum(self._members[rank] for rank in range(slot.rank, len(ACTIVE)))
        cost = sum(self._pages.get(one, 1) for one in self._lists_from(slot.rank, self.groups))
        return members > 1 and members >= cost

    def _lists_from(self, rank: int, groups: Iterable[str | None]) -> Iterator[tuple[str, str | None]]:
        for status in ACTIVE[rank:]:
            for group in groups:
                yield status, group

    def _start_readers(self, now: float) -> None:
        sweep, ended = self._sweep, self._ended
        if not sweep.reading and not sweep.in_flight and now >= max(sweep.started + self.low, sweep.not_before):
            discovery = self._discovery_due is not None and self._discovery_due <= now
            if discovery or self._wanted_rank is not None:
                rank = 0 if discovery or self._wanted_rank is None else self._wanted_rank
                groups = (None,) if self._wanted_everything else self.groups
                sweep.lists = list(self._lists_from(rank, groups))
                sweep.started, sweep.from_status = now, ACTIVE[rank]
                sweep.everything = groups == (None,)
                sweep.token, sweep.page = None, 0
                self._wanted_rank, self._wanted_everything = None, False
                if discovery:
                    self._discovery_due = now + self.high
        if not ended.reading and not ended.in_flight and ended.due is not None and now >= ended.due:
            ended.lists = [(status, group) for status in ENDED_LISTS for group in self.groups]
            ended.started, ended.from_status, ended.due = now, ENDED_LISTS[0], None
            ended.token, ended.page = None, 0

    def _absent(self, sweep: _Reader) -> Iterator[str]:
        """Runs that the sweep covered and that no request since its first one has shown."""
        first_rank = RANK[sweep.from_status]
        for run_id, slot in self._slots.items():
            covered = sweep.everything or slot.by_rule
            if covered and slot.rank >= first_rank and slot.shown < sweep.started and not slot.in_flight:
                yield run_id
