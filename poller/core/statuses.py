"""The statuses of a run: their order, and what one says against the last that was understood.

Pure. Statuses and the stamps of entering them: HealthOmics API 2022-11-28; user guide, "getinfo-about-runs".
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Literal

RANK: Final[Mapping[str, int]] = {
    "PENDING": 0,
    "STARTING": 1,
    "RUNNING": 2,
    "STOPPING": 3,
    "COMPLETED": 4,
    "FAILED": 4,
    "CANCELLED": 4,
    "DELETED": 5,
}
CANONICAL_PATH: Final = ("PENDING", "STARTING", "RUNNING", "STOPPING")
"""The statuses that a transition may skip: between two ranks there is one status each."""
ENDS: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
ACTIVE: Final = CANONICAL_PATH

StampName = Literal["creationTime", "startTime", "stopTime", "observed_at"]
STAMPS: Final[Mapping[str, StampName]] = {
    "PENDING": "creationTime",
    "RUNNING": "startTime",
    **dict.fromkeys(ENDS, "stopTime"),
}
"""The service's own time of entering a status, where it has one."""


class Step(Enum):
    """What a status says against the last one that we understood."""

    FIRST = auto()
    SAME = auto()
    FORWARD = auto()
    STALE = auto()
    CONTRADICTION = auto()
    UNKNOWN = auto()


def judge(last: str | None, seen: str) -> Step:
    """Relate the status just seen to the last one that we understood (None: none yet)."""
    if seen not in RANK:
        return Step.UNKNOWN  # newer than we are: told once, kept verbatim, never an end
    if last is None:
        return Step.FIRST
    if seen == last or (last in ENDS and seen == "DELETED"):
        return Step.SAME  # an end was told: what is tidied up later is no event
    distance = RANK[seen] - RANK[last]
    return Step.FORWARD if distance > 0 else Step.STALE if distance < 0 else Step.CONTRADICTION


def skipped_between(last: str | None, seen: str) -> tuple[str, ...]:
    """All statuses of the canonical path between two ranks, whether or not the run passed them."""
    if last is None or last not in RANK:
        return ()
    return tuple(status for status in CANONICAL_PATH if RANK[last] < RANK[status] < RANK[seen])
