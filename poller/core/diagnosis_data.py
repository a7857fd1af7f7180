"""What `data.diagnosis` of an event says, field by field, and what is left of it where fields are left out."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from poller.core.reasons import Owner
from poller.core.runs import Json

Basis = Literal["run", "task", "task_message", "run_message", "nothing"]
LogOf = Literal["task", "engine"]


def _all_there(schema: dict[str, Any]) -> None:
    """No member is ever missing: what is unknown is null."""
    schema["required"] = list(schema["properties"])


class FailedTaskData(BaseModel):
    """One task that failed. What ListRunTasks and GetRunTask did not say is null."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_all_there)

    task_id: str = Field(description="The task's id.")
    task_uuid: str | None = Field(description="The task's uuid.")
    name: str | None = Field(description="Its name in the workflow.")
    status: str | None = Field(description="FAILED.")
    failure_reason: str | None = Field(description="The service's code of this task.")
    status_message: str | None = Field(description="The service's words, without secrets.")
    named_by_run: bool = Field(description="True if the run's own message names this task.")
    cpus: int | None = Field(description="CPUs that it asked for.")
    memory_gib: int | None = Field(description="Memory that it asked for.")
    gpus: int | None = Field(description="GPUs that it asked for.")
    instance_type: str | None = Field(description="The machine that it got.")
    image: str | None = Field(description="Its container image.")
    creation_time: datetime | None = Field(description="When it was created.")
    start_time: datetime | None = Field(description="When it began.")
    stop_time: datetime | None = Field(description="When it ended.")
    duration_seconds: float | None = Field(description="From start_time to stop_time.")
    log_stream: str | None = Field(description="The ARN of its log stream in CloudWatch Logs.")
    log_url: str | None = Field(description="That stream in the AWS console.")


class LogExcerptData(BaseModel):
    """The last lines of a log, without secrets and without names that the operator does not let be shown."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_all_there)

    of: LogOf = Field(description="Whose log it is: the first task's, or the workflow engine's.")
    log_stream: str | None = Field(description="The ARN of the log stream.")
    lines: list[str] = Field(description="The last lines, oldest first.")
    truncated: bool = Field(description="True if fewer lines are here than were asked for, since they were too long.")


class DiagnosisData(BaseModel):
    """Why a run failed, as far as could be found out."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_all_there)

    reason_code: str | None = Field(description="The code that counts: the run's, or the task's where that is generic.")
    basis: Basis | None = Field(description="What the meaning was read from.")
    known: bool | None = Field(description="False if this version does not know the code.")
    meaning: str | None = Field(description="What happened, in a sentence.")
    owner: Owner | None = Field(description="Who most likely can mend it.")
    other_owners: list[Owner] | None = Field(description="Who else it may be.")
    action: str | None = Field(description="What to do.")
    retry_safe: bool | None = Field(description="Whether the run, started again unchanged, may go well; null: unclear.")
    sources: list[str] | None = Field(description="Where that is documented.")
    failed_task_count: int | None = Field(description="How many tasks failed, those that were repeated included.")
    tasks: list[FailedTaskData] = Field(description="The first tasks that failed: the one that the run names first.")
    log_excerpt: LogExcerptData | None = Field(description="The last lines of the log, if the operator wants them.")
    evidence: list[str] = Field(description="What was asked, and what came of it.")
    incomplete: list[str] = Field(description="What could not be read, and why; empty if everything was.")


_OF_REASON: Final = (
    "reason_code", "basis", "known", "meaning", "owner", "other_owners", "action", "retry_safe", "sources",
)  # fmt: skip
_LEFT_OUT_WITH: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], bool]]] = {
    # what is omitted of the run: (what goes of the diagnosis, what goes of each task, whether the log's lines go)
    "name": ((), ("name",), True),
    "tags": ((), (), True),
    "status_message": ((), ("status_message",), True),
    "failure_reason": (_OF_REASON, ("failure_reason",), False),
    "engine_log_stream": ((), ("log_stream", "log_url"), False),
    "run_log_stream": ((), ("log_stream", "log_url"), False),
    "console_url": ((), ("log_url",), False),
}


def diagnosis_without(diagnosis: Mapping[str, Json], omitted: Collection[str]) -> dict[str, Json]:
    """A diagnosis without what would say the same as the omitted fields of its run.

    The lines of a log may speak of anything that its run's name, tags and message speak of: they go with each of them.
    """
    left = dict(diagnosis)
    for name in omitted:
        of_diagnosis, of_tasks, log_goes = _LEFT_OUT_WITH.get(name, ((), (), False))
        left |= dict.fromkeys(of_diagnosis)
        left["tasks"] = [{**task, **dict.fromkeys(of_tasks)} for task in left.get("tasks") or ()]
        excerpt = left.get("log_excerpt")
        if log_goes or excerpt is None:
            left["log_excerpt"] = None
        elif "log_stream" in of_tasks:
            left["log_excerpt"] = {**excerpt, "log_stream": None}
    return left
