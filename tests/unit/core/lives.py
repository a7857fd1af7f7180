"""A small HealthOmics of one run id: what truly happened, and what its API may answer about it.

Written from the service's facts and not from the code under test, so that the two cannot agree by accident.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from poller.core.runs import Snapshot

RUN_ID = "7830534"
DAWN = datetime(2026, 11, 23, 7, 0, 0, 262471, tzinfo=UTC)
PATH = ("PENDING", "STARTING", "RUNNING", "STOPPING")
ENDS = ("COMPLETED", "FAILED", "CANCELLED")
RANKS = {**{status: rank for rank, status in enumerate(PATH)}, **dict.fromkeys(ENDS, 4), "DELETED": 5}


def at(seconds: float) -> datetime:
    """A moment, in seconds after the dawn of the test."""
    return DAWN + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Life:
    """One incarnation: its statuses with the second in which each began, and when it was deleted and forgotten.

    `other_end` is a second end that the service shows instead of the first from `changes_its_mind_at` on.
    """

    uuid: str
    history: tuple[tuple[str, float], ...]
    deleted_at: float | None = None
    forgotten_at: float | None = None
    other_end: str | None = None
    changes_its_mind_at: float = 0.0

    @property
    def created(self) -> float:
        return self.history[0][1]

    @property
    def created_ms(self) -> int:
        """The creationTime as event ids have it."""
        return int((at(self.created) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))

    def entered(self, status: str) -> float | None:
        """When the run truly came into this status; None if it never did."""
        return next((since for name, since in self.history if name == status), None)

    def left(self, status: str) -> float:
        """When the run truly left this status."""
        names = [name for name, _ in self.history]
        follows = names.index(status) + 1
        if follows < len(names):
            return self.history[follows][1]
        return self.deleted_at if self.deleted_at is not None else float("inf")

    def status_at(self, second: float) -> str | None:
        """What the service shows at that second; None: no such run."""
        if second < self.created or (self.forgotten_at is not None and second >= self.forgotten_at):
            return None
        if self.deleted_at is not None and second >= self.deleted_at:
            return "DELETED"
        status = [name for name, since in self.history if since <= second][-1]
        if status in ENDS and self.other_end is not None and second >= self.changes_its_mind_at:
            return self.other_end
        return status


def manifest(life: Life, read: float, *, with_uuid: bool = True, with_created: bool = True) -> Snapshot | None:
    """What CloudWatch Logs have of a life at a second: its end as it truly was, from ten seconds after it on."""
    status, ended = life.history[-1]
    if status not in ENDS or read < ended + 10:
        return None
    begun = life.entered("RUNNING")
    created = at(life.created)
    return Snapshot(
        run_id=RUN_ID,
        status=status,
        full=False,
        asked_at=at(read),
        answered_at=at(read + 0.2),
        uuid=life.uuid if with_uuid else None,
        creation_time=created.replace(microsecond=created.microsecond // 1000 * 1000) if with_created else None,
        start_time=None if begun is None else at(begun),
        stop_time=at(ended),
    )


def answer(
    lives: Sequence[Life],
    asked: float,
    *,
    full: bool = True,
    lag: float = 0.0,
    took: float = 0.2,
    with_uuid: bool = True,
    with_created: bool = True,
) -> Snapshot | None:
    """What the service answers to a question sent at `asked`: the truth of `lag` seconds ago. None: not found."""
    moment = asked + took / 2 - lag
    life = next((life for life in reversed(lives) if life.created <= moment), None)
    status = None if life is None else life.status_at(moment)
    if life is None or status is None:
        return None
    begun, ended = life.entered("RUNNING"), life.history[-1]
    created = at(life.created)
    if not full:
        created = created.replace(microsecond=created.microsecond // 1000 * 1000)  # lists give fewer digits
    return Snapshot(
        run_id=RUN_ID,
        status=status,
        full=full,
        asked_at=at(asked),
        answered_at=at(asked + took),
        uuid=life.uuid if full and with_uuid else None,
        creation_time=created if with_created else None,
        start_time=at(begun) if begun is not None and begun <= moment else None,
        stop_time=at(ended[1]) if ended[0] in ENDS and ended[1] <= moment else None,
    )


ORDINARY = Life("u", (("PENDING", 0), ("STARTING", 100), ("RUNNING", 200), ("STOPPING", 1200), ("COMPLETED", 1300)))
"""A run that goes through every status."""
