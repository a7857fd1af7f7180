"""The tasks of a run, derived from its life: the same run always has the same tasks, and they tell the same story as
the run.

Pure. A run has tasks from the moment it is RUNNING. They follow each other and end with the run's RUNNING. Where the
run fails for a task's fault its last task fails, or those that its script names (`failed_tasks`); where it is cancelled
its tasks stop with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from poller.emulator.chance import chance, id_by, uuid_by
from poller.emulator.instants import SECOND
from poller.emulator.lives import ENDS, GONE
from poller.emulator.runs import FailedTask, Moment, Run

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
# The window that tasks are spread over where the script does not say when RUNNING ends.
OPEN_WINDOW: Final = 60 * SECOND
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
    message: str | None = None

    def index_at(self, instant: int) -> int:
        """Which moment is the present one at `instant`; -1: not created yet."""
        return sum(moment.at <= instant for moment in self.moments) - 1


def tasks_of(run: Run) -> list[Task]:
    """All tasks that the run has or will have, in the order of their creation; one after the other until RUNNING ends.

    Where the run was made to leave RUNNING before its first script said so, the rest of the tasks never is.
    """
    actual = _window(run.moments)
    reason = _reason(run.moments)
    if actual is None or reason in BEFORE_TASKS:
        return []
    begin, stop = actual
    scripted = run.spec.failed_tasks if stop is not None and reason not in {"CANCELLED", GONE} else ()
    if scripted:
        reason = None  # the tasks of its usual life complete
    planned = _window(run.planned if run.planned is not None else run.moments)
    end = None if planned is None else planned[1]
    rng = chance(run.uuid)
    kinds = sorted(rng.sample(KINDS, rng.randint(2, len(KINDS))), key=KINDS.index)
    slot = ((begin + OPEN_WINDOW if end is None else end) - begin) / len(kinds)
    tasks = []
    for place, (name, cpus, memory, instance_type) in enumerate(kinds):
        task_id, task_uuid = id_by(rng), uuid_by(rng)
        at = begin + round(place * slot)
        moments = [
            TaskMoment(at, "PENDING"),
            TaskMoment(_milli(at + slot / 20, at), "STARTING"),
            TaskMoment(_milli(at + slot / 5, at), "RUNNING"),
        ]
        if place < len(kinds) - 1:  # the last one ends with RUNNING itself
            moments.append(TaskMoment(_milli(at + slot, at), "COMPLETED"))
        failed = False
        if stop is not None:
            moments = [moment for moment in moments if moment.at <= stop]
            if not moments:
                break
            if moments[-1].status != "COMPLETED":
                failed = reason in OF_A_TASK
                moments += _ended(run, stop, reason)
        cached = place == 0 and "cacheId" in run.spec.request
        failure = reason if failed else None
        tasks.append(Task(task_id, task_uuid, name, cpus, memory, instance_type, cached, failure, tuple(moments)))
    return tasks if stop is None else tasks + _scripted(run, scripted, begin, stop, rng)


def failed_task(run: Run) -> Task | None:
    """The task that made the run fail, if its script says that one did."""
    return next((task for task in reversed(tasks_of(run)) if task.failure_reason is not None), None)


def _scripted(run: Run, scripted: Sequence[FailedTask], begin: int, stop: int, rng: Random) -> list[Task]:
    """The tasks that the script has fail, one after the other; the last one fails as RUNNING ends."""
    of_run = _reason(run.moments)
    slot = (stop - begin) / max(len(scripted), 1)
    _, cpus, memory, instance_type = KINDS[2]
    tasks = []
    for place, one in enumerate(scripted):
        at, end = begin + round(place * slot), stop if place == len(scripted) - 1 else begin + round((place + 1) * slot)
        moments = (
            TaskMoment(at, "PENDING"),
            TaskMoment(_milli(at + slot / 20, at), "STARTING"),
            TaskMoment(_milli(at + slot / 5, at), "RUNNING"),
            TaskMoment(_milli(end, at), "FAILED"),
        )
        task_id, task_uuid = id_by(rng), uuid_by(rng)
        reason = one.reason or (of_run if of_run in OF_A_TASK else None) or "RUN_TASK_FAILED"
        tasks.append(
            Task(task_id, task_uuid, one.name, cpus, memory, instance_type, False, reason, moments, one.message)
        )
    return tasks


def _ended(run: Run, stop: int, reason: str | None) -> list[TaskMoment]:
    """How the task ends that is under way when the run leaves RUNNING."""
    if reason is None:
        return [TaskMoment(stop, "COMPLETED")]
    if reason in OF_A_TASK:
        return [TaskMoment(stop, "FAILED")]
    stopped = run.stopped(len(run.moments) - 1)
    return [TaskMoment(stop, "STOPPING"), TaskMoment(stop if stopped is None else stopped, "CANCELLED")]


def _window(moments: Sequence[Moment]) -> tuple[int, int | None] | None:
    """From when to when the script has the run RUNNING; the end is None where it stays so."""
    for place, moment in enumerate(moments):
        if moment.status == "RUNNING":
            following = next((later.at for later in moments[place + 1 :] if later.status != "RUNNING"), None)
            return moment.at, following
    return None


def _reason(moments: Sequence[Moment]) -> str | None:
    """Why the run ends otherwise than well: a failure's code, CANCELLED or GONE; None for a good end and for none."""
    for moment in moments:
        if moment.status == "FAILED":
            return str(moment.fields.get("failureReason") or "WORKFLOW_RUN_FAILED")
        if moment.status in {"CANCELLED", GONE}:
            return moment.status
        if moment.status in ENDS:
            return None
    return None


def _milli(exact: float, lowest: int) -> int:
    whole = int(exact)
    return max(whole - whole % 1000, lowest)
