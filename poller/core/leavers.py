"""The runs that left the list of their status: noticed as it is read, and asked about unless a list shows where to.

Pure: moments are seconds of a monotonic clock. Short lists that may show where such a run has gone are read first, then
one GetRun asks. A run that GetRun does not find is another matter: `core.vanishing`.
"""

from collections.abc import Iterable

from poller.core.lists import later_than
from poller.core.schedule import BY_CADENCE, ENDED_PROBABLY, MOVED, Schedule, Slot
from poller.core.scope_lists import ScopeLists
from poller.core.statuses import ACTIVE, RANK


class Leavers:
    """The runs of one scope that left their list, until a list or a GetRun shows them."""

    def __init__(self, schedule: Schedule, lists: ScopeLists) -> None:
        self._schedule = schedule
        self._lists = lists
        self._since: dict[str, float] = {}
        self._unasked: set[str] = set()
        self._unseen: set[str] = set()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._since

    def expect(self, run_id: str) -> None:
        """A batch named the run: no list has shown it yet, and any may."""
        self._unseen.add(run_id)

    def found(self, run_id: str) -> None:
        """The run is looked for no more."""
        self._since.pop(run_id, None)
        self._unasked.discard(run_id)

    def drop(self, run_id: str) -> None:
        """The run is looked for no more, and not expected either."""
        self.found(run_id)
        self._unseen.discard(run_id)

    def passed(self, run_ids: Iterable[str], status: str, now: float, *, begun: float) -> None:
        """Note those of these runs of a status that a reading has gone past, and that no look since it began showed."""
        for run_id in run_ids:
            slot = self._schedule.get(run_id)
            if slot is not None and slot.rank == RANK[status] and run_id not in self._unseen:
                self._note(run_id, slot, now, begun=begun)
        self._read_later_lists(status, now)

    def missing(self, status: str, now: float, *, begun: float) -> None:
        """Note the runs of a status that a whole reading should have shown, and that no look since it began showed."""
        if status == ACTIVE[0] and self._unseen:  # until all lists were read, any may show them
            all_begun = min(one.whole for every in ACTIVE for one in self._lists.of(every))
            for run_id in [one for one in self._unseen if self._schedule[one].due <= all_begun]:
                self._unseen.discard(run_id)
                self._schedule[run_id].shown = all_begun - self._lists.low
        for run_id in self._schedule.members(RANK[status]) - self._unseen:
            self._note(run_id, self._schedule[run_id], now, begun=begun)
        self._read_later_lists(status, now)

    def _note(self, run_id: str, slot: Slot, now: float, *, begun: float) -> None:
        waits = run_id in self._since or slot.priority != BY_CADENCE or slot.in_flight
        if slot.shown < begun and not waits:
            self._since[run_id] = now
            self._unasked.add(run_id)
            slot.parked = True

    def _read_later_lists(self, status: str, now: float) -> None:
        if self._unasked:
            self._lists.make_due((later for later in later_than(status) if self._lists.are_short(later)), now)

    def ask_about(self, now: float) -> None:
        """Have GetRun tell of each of them, unless the list where it should be next is short and read soon."""
        for run_id in list(self._unasked):
            slot, since = self._schedule[run_id], self._since[run_id]
            unread = [
                later
                for later in later_than(ACTIVE[slot.rank])
                if any(one.whole < since for one in self._lists.of(later))
            ]
            if unread and self._lists.show_soon(unread[0], now):
                continue
            self._unasked.discard(run_id)
            slot.priority = MOVED if any(not self._lists.are_short(later) for later in unread) else ENDED_PROBABLY
            self._schedule.put(run_id, slot, now)
