"""The tasks of a run, derived from its life: the same run always has the same tasks, and they tell the same story as
the run.

Pure. A run has tasks from the moment it is RUNNING. They follow each other and end with the run's RUNNING. Where the
run fails for a task's fault its last task fails; where it is cancelled its tasks stop with it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from poller.emulator.instants import SECOND
from poller.emulator.lives import ENDS, GONE
from poller.emulator.runs import Moment, Run

# name, CPUs, GiB, instance type
KINDS: Final[tuple[tuple[str, int, int, str], ...]] = (
    ("FASTQC", 2, 4, "omics.c.large"),
    ("TRIMGALORE", 4, 8, "omics.c.xlarge"),
    ("BWA_MEM", 16, 32, "omics.c.4xlarge"),
    ("SAMTOOLS_SORT", 4, 16, "omics.m.xlarge"),
    ("MULTIQC", 2, 8, "omics.m.large"),
)
OF_A_TASK: Final = frozenset(
    {"RUN_TASK_FAILED", "OUT_OF_MEMORY_ERROR", "TASK_TIMED_OUT", "CANNOT_START_CONTAINER_ERROR", "SERVICE_ERROR"}
)
# Failures before any task was started.
BEFORE_TASKS: Final = frozenset({"IMPORT_FAILED", "INPUT_URI_NOT_FOUND", "INVALID_URI_INPUT", "ASSUME_ROLE_FAILED"})
TASK_MESSAGE: Final = "exec /bin/bash: exec format error"


class TaskMoment(NamedTuple):
    at: int
    status: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task; `moments` are in order and only those that come to pass."""

    id: str
    uuid: str
    name: str
    cpus: int
    memory: int
    instance_type: str
    cached: bool
    failure_reason: str | None
    moments: tuple[TaskMoment, ...]

    def index_at(self, instant: int) -> int:
        """Which moment is the present one at `instant`; -1: not created yet."""
        return sum(moment.at <= instant for moment in self.moments) - 1


def tasks_of(run: Run) -> list[Task]:
    """All tasks that the run has or will have by its script, in the order of their creation."""
    window = _window(run.planned)
    if window is None:
        return []
    begin, end = window
    reason = _reason(run.planned)
    if reason in BEFORE_TASKS:
        return []
    rng = random.Random(run.uuid)  # noqa: S311  # plausible numbers, not secrets
    kinds = sorted(rng.sample(KINDS, rng.randint(2, len(KINDS))), key=KINDS.index)
    slot = ((end if end is not None else begin + 60 * SECOND) - begin) / len(kinds)
    tasks = []
    for place, (name, cpus, memory, instance_type) in enumerate(kinds):
        last = place == len(kinds) - 1
        at = begin + round(place * slot)
        finish = begin + round((place + 1) * slot)
        moments = [
            TaskMoment(at, "PENDING"),
            TaskMoment(_milli(at + slot / 20, at), "STARTING"),
            TaskMoment(_milli(at + slot / 5, at), "RUNNING"),
        ]
        failed = last and reason in OF_A_TASK
        if not last or end is not None:
            status = "FAILED" if failed else "CANCELLED" if last and reason is not None else "COMPLETED"
            moments.append(TaskMoment(_milli(finish, at), status))
        task_id, task_uuid = str(rng.randrange(1_000_000, 10_000_000)), str(UUID(int=rng.getrandbits(128), version=4))
        kept = _stopped_with(run, moments)
        if kept:
            cached = place == 0 and "cacheId" in run.spec.request
            tasks.append(
                Task(
                    task_id,
                    task_uuid,
                    name,
                    cpus,
                    memory,
                    instance_type,
                    cached,
                    reason if failed else None,
                    tuple(kept),
                )
            )
    return tasks


def failed_task(run: Run) -> Task | None:
    """The task that made the run fail, if its script says that one did."""
    return next((task for task in tasks_of(run) if task.failure_reason is not None), None)


def _window(moments: Sequence[Moment]) -> tuple[int, int | None] | None:
    """From when to when the script has the run RUNNING; the end is None where it stays so."""
    for place, moment in enumerate(moments):
        if moment.status == "RUNNING":
            following = moments[place + 1 : place + 2]
            return moment.at, following[0].at if following else None
    return None


def _reason(moments: Sequence[Moment]) -> str | None:
    """Why the script has the run end otherwise than well: a failure's code, CANCELLED, or None."""
    for moment in moments:
        if moment.status == "FAILED":
            return str(moment.fields.get("failureReason") or "WORKFLOW_RUN_FAILED")
        if moment.status in {"CANCELLED", GONE}:
            return moment.status
        if moment.status in ENDS:
            return None
    return None


def _stopped_with(run: Run, moments: list[TaskMoment]) -> list[TaskMoment]:
    """The task's moments, cut where the run was made to stop before its script said so."""
    window = _window(run.moments)
    if window is None:
        return []
    stop = window[1]
    if stop is None or moments[-1].at <= stop:
        return moments
    kept = [moment for moment in moments if moment.at < stop]
    if not kept:
        return []
    ended = run.stopped(len(run.moments) - 1)
    kept.append(TaskMoment(stop, "STOPPING"))
    kept.append(TaskMoment(ended if ended is not None else stop, "CANCELLED"))
    return kept


def _milli(exact: float, lowest: int) -> int:
    whole = int(exact)
    return max(whole - whole % 1000, lowest)
