"""What to ask next: which run directly, which page of which list, and when there is nothing to do before.

Pure: it is told what was seen and what moment it is (seconds of a monotonic clock), and answers with the next look.
Direct looks (GetRun) and lists (ListRuns) spend two different quotas, so each has a lane of its own: the runs are in
`core.schedule`, the lists in `core.scope_lists`. A run is due by its cadence; where a list answers for it and for
others at no greater cost, it makes that list due instead. Who is missing from a list that was read whole has moved on
(`core.leavers`). Measurements and the bound: docs/polling.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from poller.core.claims import Claim, Claims
from poller.core.leavers import Leavers
from poller.core.lists import NEVER, NOT_DUE, WHOLE, ListName, Part
from poller.core.outline import Outline, outline_of
from poller.core.runs import KnownRun, Question
from poller.core.schedule import ENDED_PROBABLY, PRIORITY, Schedule
from poller.core.scope_lists import ScopeLists
from poller.core.statuses import ACTIVE, RANK


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


class Planner:
    """What one scope asks, and when.

    Args: `low` is the shortest min_interval in seconds, `high` the max_interval of discovery; a run's own are in
    `claims`. `parts` are what the lists of discovery are narrowed to; where one of them is the whole account, its lists
    answer for every run.
    """

    def __init__(
        self, *, low: float, high: float, parts: Sequence[Part] = (WHOLE,), claims: Claims | None = None
    ) -> None:
        self.low = low
        if claims is None:
            claims = Claims(Claim(0, timedelta(seconds=low), timedelta(seconds=high)))
        self.claims = claims
        self._schedule = Schedule(claims)
        self._lists = ScopeLists(low=low, high=high, parts=parts)
        self._leavers = Leavers(self._schedule, self._lists)

    # --- what is followed ------------------------------------------------------------------------------------------

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._schedule

    def __len__(self) -> int:
        return len(self._schedule)

    def follow(self, known: KnownRun, due: float, *, shown: float | None = None) -> None:
        """Put a run on the schedule, or change when and what for it is asked: at `due`, for `known.question`.

        Never sooner than its min_interval after the last GetRun that answered about it. `shown` is when the request
        was sent that showed the run, if one did.
        """
        in_batch = known.status is None and known.batch_id is not None  # lists show it, though none has yet
        rank = 0 if in_batch else min(RANK.get(known.status or "", -1), len(ACTIVE) - 1)
        in_parts = known.by_rule or WHOLE in self._lists.parts
        slot = self._schedule.place(known.run_id, rank, due, in_parts=in_parts)
        if shown is not None:
            slot.shown = max(slot.shown, shown)
        self._leavers.drop(known.run_id)
        if in_batch:
            self._leavers.expect(known.run_id)
        slot.question = known.question
        slot.priority = PRIORITY[known.question]
        self._schedule.put(known.run_id, slot, due)

    def drop(self, run_id: str) -> None:
        """Ask about a run no more."""
        self._schedule.drop(run_id)
        self._leavers.drop(run_id)

    def shown(self, run_id: str, asked: float) -> None:
        """A page whose request was sent at `asked` showed the run."""
        slot = self._schedule.get(run_id)
        if slot is not None:
            slot.shown = max(slot.shown, asked)

    def run_answered(self, run_id: str, now: float) -> None:
        """The GetRun that was under way about this run has come back with an answer."""
        slot = self._schedule.get(run_id)
        if slot is not None:
            slot.in_flight = False
            slot.answered = now

    def run_failed(self, run_id: str, retry_at: float) -> None:
        """The GetRun that was under way brought nothing: ask the same again at `retry_at`, as urgently as before."""
        slot = self._schedule.get(run_id)
        if slot is not None:
            slot.in_flight = False
            self._schedule.put(run_id, slot, retry_at)

    def discover(self, due: float | None) -> None:
        """When discovery next needs the lists that show what is new; None where nothing is discovered."""
        self._lists.discover(due)

    def read_ended(self, due: float | None) -> None:
        """When the ended lists are next to be read; a reading that is under way goes on."""
        self._lists.read_ended(due)

    def hint(self, statuses: Iterable[str], now: float) -> None:
        """Something tells that these active lists are worth reading now."""
        self._lists.make_due(statuses, now)

    def sweep_all(self) -> None:
        """Have every active list read whole soon, of the whole account, as the verdict ladder needs them."""
        self._lists.make_whole_account_due()

    @property
    def all_read_since(self) -> float:
        """The latest moment since which every active list of the whole account was begun and read whole."""
        return self._lists.all_read_since

    # --- what to do next -------------------------------------------------------------------------------------------

    def next_get_run(self, now: float) -> GetRunLook | None:
        """The most urgent direct look that is due, marked as under way; None if there is none."""
        self._wake(now)
        run_id = self._schedule.take()
        return None if run_id is None else GetRunLook(run_id, self._schedule[run_id].question)

    def next_list(self, now: float) -> ListLook | None:
        """The next page that is due, marked as under way; None if there is none."""
        if self._lists.allowed:
            self._wake(now)
        chosen = self._lists.next_page(now)
        return None if chosen is None else ListLook(chosen.name, chosen.token, chosen.page, chosen.walk)

    def still_reading(self, look: ListLook) -> bool:
        """Whether the page's reading still goes on, so that its answer means anything."""
        one = self._lists[look.name]
        return one.reading and one.in_flight and one.walk == look.walk

    def wants_get_run(self, now: float) -> bool:
        """Whether a direct look is due now."""
        self._wake(now)
        return bool(self._schedule.ready)

    def wants_list(self, now: float) -> bool:
        """Whether a page is due now."""
        if self._lists.allowed:
            self._wake(now)
        return bool(self._lists.readable(now))

    def next_due(self, now: float) -> float | None:
        """When the next thing that is not due yet will be; None if there is none."""
        next_run = self._schedule.next_at()
        moments = [*([] if next_run is None else [next_run]), *self._lists.next_moments()]
        return min((moment for moment in moments if now < moment < NOT_DUE), default=None)

    def outline(self, now: float) -> Outline:
        """What there is to do as things stand, for `core.plan`."""
        self.wants_get_run(now)
        return outline_of(self._schedule, self._lists)

    def _wake(self, now: float) -> None:
        """Make ready what has come to be due; a run that a list answers for makes that list due instead."""
        for entry, slot in self._schedule.come_due(now, pause=self.low):
            lists = self._lists.answer_for(entry[2], slot, alike=self._schedule.alike(slot))
            slot.parked = bool(lists)
            if lists:
                self._lists.read_for_run(lists, now)
            else:
                self._schedule.make_ready(entry, slot)

    # --- how a page went -------------------------------------------------------------------------------------------

    def page_read(self, look: ListLook, showed: Sequence[str], token: str | None, now: float) -> bool:
        """A page came, with these runs; with a `token` the list goes on. True if it has now been read whole."""
        status, lists, one = look.name.status, self._lists, self._lists[look.name]
        is_whole = lists.page_came(look.name, token)
        if status in ACTIVE[1:]:  # what leaves PENDING shows itself in STARTING, and the queue may be long
            passed = one.order.page(showed, first=look.page == 0, last=is_whole)
            self._leavers.passed(passed, status, now, begun=one.begun)
        if status in ACTIVE and is_whole:
            self._leavers.missing(status, now, begun=min(every.whole for every in lists.of(status)))
        self._leavers.ask_about(now)
        return is_whole

    def newest_read(self, look: ListLook, showed: Iterable[str], now: float, *, in_order: bool, complete: bool) -> None:
        """The page of the newest runs came, with these runs. It is trusted if it showed its order, or all there is.

        A followed run that it shows no more was pushed off it by newer ones: other lists answer for it. If the page
        shows all there is, the run is missing.
        """
        ours = frozenset(run_id for run_id in showed if run_id in self._schedule)
        for run_id in self._lists.newest_came(look.name, ours, now, in_order=in_order, complete=complete):
            slot = self._schedule.get(run_id)
            if slot is not None and slot.parked and run_id not in self._leavers:
                slot.priority = ENDED_PROBABLY if complete else slot.priority
                self._schedule.put(run_id, slot, now)

    def page_failed(self, look: ListLook, retry_at: float, *, start_over: bool = False) -> None:
        """A page did not come: again at `retry_at`, or the list from its first page if `start_over`.

        Runs that wait for a list are not left to one that does not answer: they are then asked about directly.
        """
        one = self._lists[look.name]
        one.page_failed(retry_at)
        if one.failing:
            self._ask_directly()
        if start_over:
            one.give_up()
            one.due = NEVER

    @property
    def lists_allowed(self) -> bool:
        """Whether lists may be read, as far as is known."""
        return self._lists.allowed

    def lists_denied(self) -> None:
        """ListRuns is not allowed: every run is asked about directly from now on."""
        self._lists.deny()
        self._ask_directly()

    def try_lists(self) -> None:
        """A permission may have been granted: one page will tell."""
        self._lists.allowed = True

    def _ask_directly(self) -> None:
        """Have GetRun tell of the runs that a list was to answer for."""
        for run_id in self._schedule.unpark():
            self._leavers.found(run_id)
