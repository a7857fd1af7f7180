"""When each followed run is to be asked about by GetRun, and which of those that are due is next.

Pure: moments are seconds of a monotonic clock. Whether a list answers for a run that is due, instead of a GetRun, is
not decided here (`core.planner`): such a run is parked until it is scheduled again.
"""

from collections.abc import ItemsView, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from poller.core.claims import Claims
from poller.core.lists import NEVER
from poller.core.runs import Question
from poller.core.statuses import ACTIVE
from poller.core.turns import Entry, Turns

PRIORITY: Final = {
    Question.IDENTITY: 0,
    Question.END: 1,
    Question.GONE: 1,
    Question.NEW: 2,
    Question.PROOF: 2,
    Question.FIRST: 4,
    None: 5,
}
ENDED_PROBABLY: Final = 1
MOVED: Final = 3
"""Priority of a run that left its list for one that is long: a list would show it too, only later."""
BY_CADENCE: Final = 5


@dataclass(slots=True)
class Slot:
    """One followed run. `serial` tells its valid heap entry from old ones; `shown` the last request that showed it.

    `rank` is that of its status, -1 while none is known; `in_parts` says that it is in what the lists are narrowed to;
    `parked` that a list is to answer for it.
    """

    rank: int
    in_parts: bool
    due: float
    priority: int = BY_CADENCE
    question: Question | None = None
    serial: int = 0
    shown: float = NEVER
    answered: float = NEVER
    in_flight: bool = False
    parked: bool = False

    @property
    def listed(self) -> bool:
        """Whether the lists that are read show this run: its status is known, and it is in one of the parts."""
        return self.rank >= 0 and self.in_parts


class Schedule:
    """The followed runs of one scope; `ready` are those of which a GetRun is due now.

    Args: `claims` say how soon each may be asked about again, and in whose queue it stands.
    """

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self._slots: dict[str, Slot] = {}
        self._members: tuple[set[str], ...] = tuple(set() for _ in ACTIVE)
        self._waiting: list[Entry] = []
        self.ready = Turns(self._startable)
        self._serial = 0

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, run_id: str) -> Slot:
        return self._slots[run_id]

    def get(self, run_id: str) -> Slot | None:
        """The slot of a run; None if it is not followed."""
        return self._slots.get(run_id)

    def items(self) -> ItemsView[str, Slot]:
        return self._slots.items()

    def members(self, rank: int) -> set[str]:
        """The runs of one rank that lists show."""
        return self._members[rank]

    def alike(self, slot: Slot) -> int:
        """How many runs of its rank lists show."""
        return len(self._members[slot.rank])

    def place(self, run_id: str, rank: int, due: float, *, in_parts: bool) -> Slot:
        """The slot of a run under its rank; a new one if it has none. `in_parts` stays as it was at first."""
        slot = self._slots.get(run_id)
        if slot is None:
            slot = self._slots[run_id] = Slot(rank, in_parts, due)
        elif slot.rank == rank:
            return slot
        else:
            self._leave(run_id, slot)
            slot.rank = rank
        if slot.listed:
            self._members[rank].add(run_id)
        return slot

    def drop(self, run_id: str) -> None:
        """Forget a run; what is left of it in the heaps counts no more."""
        slot = self._slots.pop(run_id, None)
        if slot is not None:
            self._leave(run_id, slot)

    def _leave(self, run_id: str, slot: Slot) -> None:
        if slot.listed:
            self._members[slot.rank].discard(run_id)

    # --- when ------------------------------------------------------------------------------------------------------

    def put(self, run_id: str, slot: Slot, due: float) -> None:
        """Have a run asked about at `due`, never sooner than its min_interval after the last GetRun that answered."""
        self._put(run_id, slot, max(due, slot.answered + self.claims.of(run_id).low.total_seconds()))

    def unpark(self) -> list[str]:
        """Have all runs that a list was to answer for asked about when they were due; which these are."""
        parked = [run_id for run_id, slot in self._slots.items() if slot.parked]
        for run_id in parked:
            slot = self._slots[run_id]
            self._put(run_id, slot, slot.due)
        return parked

    def _put(self, run_id: str, slot: Slot, due: float) -> None:
        self._serial += 1
        slot.due, slot.serial, slot.parked = due, self._serial, False
        heappush(self._waiting, (due, self._serial, run_id))
        if len(self._waiting) > 2 * len(self._slots) + 64:
            self._waiting = sorted(entry for entry in self._waiting if self._stands(entry[1], entry[2]))

    def next_at(self) -> float | None:
        """When the next run comes to be due; None if none does."""
        while self._waiting and not self._stands(self._waiting[0][1], self._waiting[0][2]):
            heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def come_due(self, now: float, *, pause: float) -> Iterator[tuple[Entry, Slot]]:
        """The runs that have come to be due, taken off; one that is asked about just now comes again after `pause`."""
        while self._waiting and self._waiting[0][0] <= now:
            entry = heappop(self._waiting)
            _, serial, run_id = entry
            slot = self._slots.get(run_id)
            if slot is None or slot.serial != serial:
                continue
            if slot.in_flight:
                heappush(self._waiting, (now + pause, serial, run_id))
                continue
            yield entry, slot

    # --- who is next -----------------------------------------------------------------------------------------------

    def make_ready(self, entry: Entry, slot: Slot) -> None:
        """Have GetRun ask about a run that has come to be due."""
        self.ready.add(self.claims.of(entry[2]).watches, slot.priority, entry)

    def take(self) -> str | None:
        """The run that is asked about next, marked as under way; None if there is none."""
        run_id = self.ready.take()
        if run_id is not None:
            self._slots[run_id].in_flight = True
        return run_id

    def _stands(self, serial: int, run_id: str) -> bool:
        slot = self._slots.get(run_id)
        return slot is not None and slot.serial == serial

    def _startable(self, serial: int, run_id: str) -> bool:
        return self._stands(serial, run_id) and not self._slots[run_id].in_flight
