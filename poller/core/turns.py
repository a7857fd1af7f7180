"""Who of the runs that are due is asked about next, where not all can be at once.

Runs that the same watches take stand in one queue, and the queues take turns: a watch with tens of thousands of runs
makes another one with ten wait for one call. Within a queue the most urgent goes first, and every so often the one that
has been due longest. Pure.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

PRIORITIES: Final = 6
FAIR_SHARE: Final = 5
"""Every so many picks of a queue its run that has been due longest goes first, whatever its priority: none starves."""

Entry = tuple[float, int, str]
"""When a run is due, the serial number of that, and the run."""


class _Queue:
    """The due runs of one set of watches, a heap for each priority; `turn` is when it had its last one."""

    __slots__ = ("heaps", "picks", "turn")

    def __init__(self) -> None:
        self.heaps: tuple[list[Entry], ...] = tuple([] for _ in range(PRIORITIES))
        self.picks = 0
        self.turn = 0

    def take(self) -> str:
        heads = [heap for heap in self.heaps if heap]
        self.picks += 1
        heap = min(heads, key=lambda one: one[0][0]) if self.picks % FAIR_SHARE == 0 else heads[0]
        return heappop(heap)[2]


class Turns:
    """The runs that are due now. Args: `stands` tells whether an entry still says what is to be done."""

    def __init__(self, stands: Callable[[int, str], bool]) -> None:
        self._stands = stands
        self._queues: dict[int, _Queue] = {}
        self._turn = 0

    def add(self, watches: int, priority: int, entry: Entry) -> None:
        """A run is due, of these watches; priority 0 is the most urgent one."""
        queue = self._queues.setdefault(watches, _Queue())
        heappush(queue.heaps[priority], entry)

    def __bool__(self) -> bool:
        """Whether anything is due; entries that stand no more are dropped where they would come next."""
        for queue in self._queues.values():
            for heap in queue.heaps:
                while heap and not self._stands(heap[0][1], heap[0][2]):
                    heappop(heap)
        return any(any(queue.heaps) for queue in self._queues.values())

    def __len__(self) -> int:
        """How many are due, those that stand no more counted in."""
        return sum(len(heap) for queue in self._queues.values() for heap in queue.heaps)

    def take(self) -> str | None:
        """The run that is next; None if none is due."""
        if not self:
            return None
        queue = min((one for one in self._queues.values() if any(one.heaps)), key=lambda one: one.turn)
        self._turn += 1
        queue.turn = self._turn
        return queue.take()
