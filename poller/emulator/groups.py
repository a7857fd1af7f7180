"""Run groups: who must wait in PENDING, and who has run for too long. Pure; the world asks and is told who goes on."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypedDict

from poller.emulator.errors import not_found
from poller.emulator.instants import micro_stamp
from poller.emulator.lives import ENDS, GONE, Step
from poller.emulator.runs import Run

ACTIVE: Final = frozenset({"STARTING", "RUNNING", "STOPPING"})
LEAVING: Final = frozenset({"STOPPING", "DELETED", GONE}) | ENDS
LARGEST: Final = 100_000


class GroupOptions(TypedDict, total=False):
    """What `add_group` takes beside the id; the meaning of each is told at `RunGroup`."""

    name: str | None
    max_runs: int | None
    max_cpus: int | None
    max_gpus: int | None
    max_duration: int | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGroup:
    """A run group as GetRunGroup shows it.

    At `max_runs` active runs the others wait in PENDING, those of the highest priority going first. A run that was
    RUNNING for `max_duration` minutes (before speed) fails. `max_cpus` and `max_gpus` are shown, and hold nobody up.
    """

    group_id: str
    name: str | None = None
    max_runs: int | None = None
    max_cpus: int | None = None
    max_gpus: int | None = None
    max_duration: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.group_id.isdecimal() and len(self.group_id) <= 18):
            raise ValueError(f"the id of a run group is 1 to 18 digits, not {self.group_id!r}")
        for limit in ("max_runs", "max_cpus", "max_gpus", "max_duration"):
            value = getattr(self, limit)
            if value is not None and not 1 <= value <= LARGEST:
                raise ValueError(f"{limit} is from 1 to {LARGEST}, not {value}")


class Groups:
    """The groups of one account. Runs may name groups that nobody declared; those have no limits."""

    def __init__(self) -> None:
        self._declared: dict[str, tuple[RunGroup, int]] = {}
        self._active: Counter[str] = Counter()
        self._waiting: dict[str, list[tuple[int, int, Run, int]]] = {}
        self._numbers = count()

    def declare(self, group: RunGroup, now: int) -> None:
        """Make it known, or change its limits."""
        _, created = self._declared.get(group.group_id, (group, now))
        self._declared[group.group_id] = group, created

    def get(self, group_id: str) -> tuple[RunGroup, int]:
        """The group and when it was created. Raises: Refused (ResourceNotFoundException)."""
        if group_id not in self._declared:
            raise not_found(f"Run group {group_id}")
        return self._declared[group_id]

    def must_wait(self, run: Run, status: str) -> bool:
        """Whether the run cannot enter `status` now, as its group has all the active runs that it may have."""
        group_id = run.spec.run_group_id
        return (
            group_id is not None
            and status in ACTIVE
            and run.index >= 0
            and run.status == "PENDING"
            and not self._has_room(group_id)
        )

    def wait(self, run: Run) -> None:
        priority = int(run.spec.request.get("priority", 0))
        queue = self._waiting.setdefault(str(run.spec.run_group_id), [])
        heapq.heappush(queue, (-priority, next(self._numbers), run, run.version))

    def moved(self, run: Run, old: str | None, new: str) -> bool:
        """Count who is active, and say whether that made room in the group."""
        change = (new in ACTIVE) - (old in ACTIVE)
        if run.spec.run_group_id is not None:
            self._active[run.spec.run_group_id] += change
        return change < 0

    def next_in(self, group_id: str | None) -> Run | None:
        """The run that may stop waiting now, if there is one; it is no longer in the queue."""
        queue = self._waiting.get(group_id) if group_id is not None else None
        while queue and self._has_room(str(group_id)):
            _, _, run, version = heapq.heappop(queue)
            if version == run.version:
                return run
        return None

    def timeout_of(self, run: Run, stopping: float) -> tuple[float, tuple[Step, ...]] | None:
        """After how many seconds of RUNNING (before speed) the run fails, and how; None without a limit."""
        group, _ = self._declared.get(str(run.spec.run_group_id), (None, 0))
        if group is None or group.max_duration is None:
            return None
        message = f"Run timeout after {group.max_duration} minutes."
        failed = Step("FAILED", fields={"failureReason": "RUN_TIMED_OUT", "statusMessage": message})
        return group.max_duration * 60.0, (Step("STOPPING", stopping), failed)

    def _has_room(self, group_id: str) -> bool:
        group, _ = self._declared.get(group_id, (None, 0))
        return group is None or group.max_runs is None or self._active[group_id] < group.max_runs


def group_answer(group: RunGroup, created: int, arn: str) -> dict[str, Any]:
    """GetRunGroup."""
    answer = {
        "arn": arn,
        "id": group.group_id,
        "name": group.name,
        "maxCpus": group.max_cpus,
        "maxRuns": group.max_runs,
        "maxDuration": group.max_duration,
        "maxGpus": group.max_gpus,
        "creationTime": micro_stamp(created),
        "tags": dict(group.tags),
    }
    return {member: value for member, value in answer.items() if value is not None}


def overruns(run: Run, limit: int) -> bool:
    """Whether the script still has the run RUNNING, or in something after it that is no end, at `limit`."""
    coming = run.moments[run.index + 1 :]
    return not any(moment.at <= limit and moment.status in LEAVING for moment in coming)
