"""What run groups allow, as far as it was asked lately: for runs that wait in PENDING for too long.

GetRunGroup is asked only then, once for all runs of a group, and what it says is good for some minutes. Where it is
denied, or does not answer, the run is told to be overdue without it, and the event says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from poller.core.errors import BadRequest, Denied, ServiceError
from poller.core.runs import GroupFacts, GroupLimits, KnownRun, Snapshot
from poller.core.statuses import ACTIVE
from poller.foundation import Foundation
from poller.polling.looks import GroupLook

log = structlog.get_logger("poller.polling")

GOOD_FOR: Final = 300.0
"""Seconds for which an answer counts, a denial too: limits change seldom, and a permission may have been granted."""
MOST_ATTEMPTS: Final = 3
FIRST_PAUSE: Final = 1.0
"""Seconds before the second attempt; doubled before the third. The run waits for them, and they explain it only."""
NOT_DUE: Final = float("inf")


@dataclass(slots=True)
class _Wanted:
    due: float
    attempts: int = 0
    in_flight: bool = False


class Groups:
    """The run groups of one scope. Args: `runs` are those followed: who of them is active is counted."""

    def __init__(self, foundation: Foundation, runs: Mapping[str, KnownRun]) -> None:
        self.clock = foundation.clock
        self.runs = runs
        self._facts: dict[str, tuple[float, GroupFacts]] = {}
        self._wanted: dict[str, _Wanted] = {}
        self._held: dict[str, dict[str, Snapshot]] = {}
        self._group_of: dict[str, str] = {}

    def __contains__(self, run_id: str) -> bool:
        """Whether this run waits for what is known of its group."""
        return run_id in self._group_of

    def facts(self, group_id: str) -> GroupFacts | None:
        """What is known of a group; None if that is not known, or too old."""
        until, facts = self._facts.get(group_id, (float("-inf"), None))
        return facts if self.clock.monotonic() < until else None

    def want(self, group_id: str) -> None:
        """Ask about a group, unless it was lately or is about to be."""
        if self.facts(group_id) is None:
            self._wanted.setdefault(group_id, _Wanted(self.clock.monotonic()))

    def hold(self, run_id: str, group_id: str, seen: Snapshot) -> None:
        """Have a run wait for its group, with the answer that showed it overdue."""
        self.want(group_id)
        self._held.setdefault(group_id, {})[run_id] = seen
        self._group_of[run_id] = group_id

    def forget(self, run_id: str) -> None:
        """This run waits no more."""
        group_id = self._group_of.pop(run_id, None)
        if group_id is not None:
            del self._held[group_id][run_id]

    def release(self, group_id: str) -> dict[str, Snapshot]:
        """Let go who waited for a group of which something is known now; nobody if not."""
        if self.facts(group_id) is None or group_id not in self._held:
            return {}
        seen = self._held.pop(group_id)
        for run_id in seen:
            del self._group_of[run_id]
        return seen

    # --- asking ----------------------------------------------------------------------------------------------------

    def next_look(self, now: float) -> GroupLook | None:
        """The next group to ask about, marked as under way; None if there is none."""
        for group_id, wanted in self._wanted.items():
            if not wanted.in_flight and wanted.due <= now:
                wanted.in_flight = True
                wanted.attempts += 1
                return GroupLook(group_id)
        return None

    def are_due(self, now: float) -> bool:
        return any(not one.in_flight and one.due <= now for one in self._wanted.values())

    def next_due(self) -> float:
        """When the next group is to be asked about; infinite if none is."""
        return min((one.due for one in self._wanted.values() if not one.in_flight), default=NOT_DUE)

    def attempts(self, group_id: str) -> int:
        """How often a group was asked about since it was wanted."""
        wanted = self._wanted.get(group_id)
        return 0 if wanted is None else wanted.attempts

    def answered(self, group_id: str, limits: GroupLimits) -> None:
        """GetRunGroup answered."""
        self._know(group_id, limits, None)

    def failed(self, group_id: str, error: ServiceError) -> None:
        """It did not: again after a pause, or never mind."""
        wanted = self._wanted[group_id]
        final = isinstance(error, BadRequest | Denied) or wanted.attempts >= MOST_ATTEMPTS
        if not final:
            wanted.in_flight = False
            wanted.due = self.clock.monotonic() + FIRST_PAUSE * 2 ** (wanted.attempts - 1)
            return
        log.warning("group.unknown", group=group_id, detail=str(error), then="overdue is told without its limits")
        self._know(group_id, None, f"GetRunGroup: {error.code}: {error.message}")

    def _know(self, group_id: str, limits: GroupLimits | None, unknown_because: str | None) -> None:
        self._wanted.pop(group_id, None)
        active = sum(one.run_group_id == group_id and one.status in ACTIVE[1:] for one in self.runs.values())
        facts = GroupFacts(group_id, limits, active, self.clock.now(), unknown_because)
        self._facts[group_id] = self.clock.monotonic() + GOOD_FOR, facts
