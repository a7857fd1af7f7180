"""In which order a list shows its runs: a run that a reading has gone past without showing it has left the list.

Pure. The order of ListRuns is not documented, so none is assumed: each reading is compared with the one before it, and
the places of runs mean something only as long as they stay the same.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

LEAST_COMPARED: Final = 100
"""Runs, a page of them, that a whole reading must have shown in the order of the one before it, for that to count."""
MOST_PASSED: Final = 0.5
"""Runs that may be missing, for each that a page shows: if there are more, it is the order that has changed."""


class ListOrder:
    """The order of one list, as its last whole reading showed it, and how far the reading of now has come in it."""

    def __init__(self) -> None:
        self._last: list[str] = []
        self._places: dict[str, int] = {}
        self._proven = False
        self._begin()

    def page(self, run_ids: Sequence[str], *, first: bool, last: bool) -> list[str]:
        """A page of a reading came, with these runs in this order; the runs that the reading went past on it.

        They stood between those that it shows, in the last whole reading. None, where the order is not proven.
        """
        if first:
            self._begin()
        places = []
        for run_id in run_ids:
            if run_id not in self._shown:  # twice, where pages shifted
                self._shown[run_id] = len(self._shown)
                if run_id in self._places:
                    places.append(self._places[run_id])
        passed = self._passed(places)
        if len(passed) > MOST_PASSED * len(run_ids):
            self._kept, passed = False, []
        if last:
            self._proven = self._kept and self._compared >= LEAST_COMPARED
            self._last, self._places = list(self._shown), self._shown
            self._begin()
        return passed

    def _begin(self) -> None:
        self._shown: dict[str, int] = {}
        self._reached = 0
        self._compared = 0
        self._kept = True

    def _passed(self, places: Sequence[int]) -> list[str]:
        if not places:
            return []
        in_order = places[0] >= self._reached and all(one < other for one, other in pairwise(places))
        self._kept = self._kept and in_order
        self._compared += len(places)
        begin, self._reached = self._reached, places[-1] + 1
        if not (self._kept and self._proven):
            return []
        return [run_id for run_id in self._last[begin : self._reached] if run_id not in self._shown]
