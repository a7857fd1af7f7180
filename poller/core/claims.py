"""What the watches that take a run want of it: how often it is asked about, and whose turn it then counts as.

Runs that the same watches take are under one claim, which is one object: a hundred thousand of them cost a reference
each. Pure.
"""

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Claim:
    """`watches` has a bit for each watch that takes the run, none for one that only a command asked for.

    `low` and `high` are the shortest and the longest wait between two looks.
    """

    watches: int
    low: timedelta
    high: timedelta


@dataclass(slots=True)
class Claims:
    """Under which claim each run of a scope is: the `common` one, where no other is noted."""

    common: Claim
    _noted: dict[str, Claim] = field(default_factory=dict)

    def __contains__(self, run_id: str) -> bool:
        """Whether a claim of its own is noted."""
        return run_id in self._noted

    def __len__(self) -> int:
        return len(self._noted)

    def of(self, run_id: str) -> Claim:
        return self._noted.get(run_id, self.common)

    def note(self, run_id: str, claim: Claim) -> None:
        """A run is under this claim from now on."""
        if claim == self.common:
            self._noted.pop(run_id, None)
        else:
            self._noted[run_id] = claim

    def drop(self, run_id: str) -> None:
        """The run is followed no more."""
        self._noted.pop(run_id, None)
