"""Why a run failed: from its `failed` event and what is found of its tasks, the `diagnosed` event.

Pure. Which of the failed tasks are looked at, whose code counts, what that means (`core/reasons.py` has the table), and
what the event says. Facts: ListRunTasks gives no task's reason, GetRunTask does; a task that was repeated has a new id,
so that a task may have failed without harm (HealthOmics user guide, "monitoring-runs").
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from poller.core.diagnosis_data import Basis, LogOf
from poller.core.drafts import Draft
from poller.core.events import RUN_PREFIX, Event, event_id, stamp
from poller.core.excerpts import NamePolicy, clean_line, clean_message, last_that_fit, names_in, without_controls
from poller.core.reasons import GENERIC, REASONS, Cause, Reason, cause_of, reason_of
from poller.core.runs import Json

DIAGNOSED: Final = f"{RUN_PREFIX}diagnosed"
FAILED: Final = f"{RUN_PREFIX}failed"
MOST_TASKS: Final = 3
"""Failed tasks that are asked about and told; how many there are is told, too."""
CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""By which the stamps of a run and of its tasks may be apart: another part of the service gives each."""
LONGEST_NAME: Final = 256
_NO_REASON: Final = Reason(
    "",
    "The service gave no reason.",
    "unknown",
    "Read the log of the run and of its engine.",
    None,
    (),
)
_STREAM: Final = re.compile(
    r"arn:aws[a-z-]*:logs:[a-z0-9-]+:\d{12}:log-group:(?P<group>[^:]+):log-stream:(?P<name>[^:]+)"
)
_OTHER_SIGN: Final = re.compile(r"[^A-Za-z0-9_.~-]")
_OVER: Final = ("reappeared", "overdue", "redacted")
"""What a `failed` event may have and its diagnosis does not repeat: it is of that event alone."""


@dataclass(frozen=True, slots=True)
class DiagnosisTerms:
    """What the operator wants to know of runs that failed: `[diagnosis]`, as the engine reads it.

    `log_lines` is how many lines of a log, 0 for none; `show_names` are globs of names that may stand in them.
    """

    enabled: bool = True
    log_lines: int = 0
    show_names: tuple[str, ...] = ()


NO_DIAGNOSIS: Final = DiagnosisTerms(enabled=False)


@dataclass(frozen=True, slots=True)
class RunTask:
    """A task, as ListRunTasks, GetRunTask or a run's manifest shows it. Memory is in GiB."""

    task_id: str
    uuid: str | None = None
    name: str | None = None
    status: str | None = None
    failure_reason: str | None = None
    status_message: str | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    stop_time: datetime | None = None
    log_stream: str | None = None
    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    instance_type: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """The last lines of a log, as they are kept there."""

    of: LogOf
    log_stream: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found out of one run that failed.

    `tasks` are those that were looked at, in order of weight; `failed` is how many failed, None where nobody could say.
    `evidence` and `incomplete` are sentences.
    """

    tasks: tuple[RunTask, ...] = ()
    failed: int | None = None
    excerpt: LogExcerpt | None = None
    evidence: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    def tried(self, said: str) -> "Findings":
        """With one more thing that was asked, and what came of it."""
        return replace(self, evidence=(*self.evidence, said))

    def missing(self, said: str) -> "Findings":
        """With one more thing that could not be read."""
        return replace(self, incomplete=(*self.incomplete, said))


@dataclass(frozen=True, slots=True)
class Stream:
    """A log stream, taken apart."""

    group: str
    name: str


def stream_of_arn(arn: object) -> Stream | None:
    """The group and the name in the ARN of a log stream; None if it is none."""
    found = _STREAM.fullmatch(arn) if isinstance(arn, str) else None
    return None if found is None else Stream(found["group"], found["name"])


def of_this_life(tasks: Iterable[RunTask], failed: Mapping[str, Json]) -> tuple[list[RunTask], int]:
    """Those of the tasks that can be of the run that failed, and how many cannot.

    Run ids are used again, and a list of tasks does not say whose: what was created after the run had stopped, or
    before it was created, is another one's. Args: `failed` is the `data` of the run's `failed` event.
    """
    created = _moment(failed.get("creation_time"))
    stopped = _moment(failed.get("stop_time")) or _moment(failed.get("observed_at"))

    def is_ours(task: RunTask) -> bool:
        at = task.creation_time or task.start_time or task.stop_time
        if at is None:
            return True
        return (created is None or at >= created - CLOCKS_DIFFER) and (stopped is None or at <= stopped + CLOCKS_DIFFER)

    tasks = list(tasks)
    ours = [task for task in tasks if is_ours(task)]
    return ours, len(tasks) - len(ours)


def first_to_fail(tasks: Iterable[RunTask], run_message: object) -> list[RunTask]:
    """The failed tasks in the order of their weight, `MOST_TASKS` at most: which the run's message names, then by stop.

    The run's message names the task that it failed for; earlier ones may have been repeated and gone well.
    """
    named = task_ids_in(run_message)

    def weight(task: RunTask) -> tuple[bool, float, str]:
        at = task.stop_time
        return task.task_id not in named, float("inf") if at is None else at.timestamp(), task.task_id

    return sorted(tasks, key=weight)[:MOST_TASKS]


def task_ids_in(message: object) -> frozenset[str]:
    """The numbers in a run's message that may be ids of tasks."""
    return frozenset(re.findall(r"(?<![\w.])\d{1,18}(?![\w])", message)) if isinstance(message, str) else frozenset()


def diagnosed(failed: Event, incarnation: str, findings: Findings, at: datetime, *, shown: Sequence[str] = ()) -> Draft:
    """The draft that tells why a run failed.

    Args: `failed` is its `failed` event, whose facts are repeated; `incarnation` the one in that event's id; `at`,
    aware UTC, when it was found out; `shown` are globs of names that may stand in lines of logs.
    """
    said = failed.data
    data = {name: value for name, value in said.items() if name not in _OVER} | {
        "previous_status": said.get("status"),
        "skipped_statuses": [],
        "terminal": False,
        "first_observation": False,
        "occurred_at": stamp(at),
        "occurred_at_source": "observed_at",
        "observed_at": stamp(at),
        "not_before": None,
        "diagnosis": diagnosis_of(said, findings, shown=shown),
    }
    return Draft(
        id=event_id(failed.source, incarnation, DIAGNOSED, ""),
        source=failed.source,
        type=DIAGNOSED,
        subject=failed.subject,
        time=at,
        data=data,
        incarnation=incarnation,
        run_id=failed.subject,
    )


def diagnosis_of(failed: Mapping[str, Json], findings: Findings, *, shown: Sequence[str] = ()) -> dict[str, Json]:
    """`data.diagnosis`. Args: `failed` is the `data` of the `failed` event."""
    code, basis, meaning = _conclude(failed, findings.tasks)
    named = task_ids_in(failed.get("status_message"))
    region = str(failed.get("region") or "")
    plain = frozenset({str(failed.get("run_id")), *(task.task_id for task in findings.tasks)})
    policy = NamePolicy(tuple(shown), names_in(failed.get("name"), failed.get("tags")), plain)
    return {
        "reason_code": code,
        "basis": basis,
        "known": code is not None and code in REASONS,
        "meaning": meaning.meaning,
        "owner": meaning.owner,
        "other_owners": list(meaning.other_owners),
        "action": meaning.action,
        "retry_safe": meaning.retry_safe,
        "sources": list(meaning.sources),
        "failed_task_count": findings.failed,
        "tasks": [_task(task, named, region) for task in findings.tasks],
        "log_excerpt": None if findings.excerpt is None else _excerpt(findings.excerpt, policy),
        "evidence": list(findings.evidence),
        "incomplete": list(findings.incomplete),
    }


def _conclude(failed: Mapping[str, Json], tasks: Sequence[RunTask]) -> tuple[str | None, Basis, Reason | Cause]:
    """The code that counts, what it was read from, and what it means; the more specific word goes before the other.

    Of the tasks the first one counts alone: what befell others the run may have survived.
    """
    code = failed.get("failure_reason")
    code = code if isinstance(code, str) and code else None
    if code is not None and code not in GENERIC:
        return code, "run", reason_of(code)
    task = tasks[0] if tasks else RunTask("")
    if task.failure_reason is not None and task.failure_reason not in GENERIC:
        return task.failure_reason, "task", reason_of(task.failure_reason)
    code = code or task.failure_reason
    if (cause := cause_of(task.status_message or "")) is not None:
        return code, "task_message", cause
    if (cause := cause_of(str(failed.get("status_message") or ""))) is not None:
        return code, "run_message", cause
    return (code, "run", reason_of(code)) if code is not None else (None, "nothing", _NO_REASON)


def _task(task: RunTask, named: Collection[str], region: str) -> dict[str, Json]:
    seconds = None
    if task.start_time is not None and task.stop_time is not None:
        seconds = (task.stop_time - task.start_time).total_seconds()
    return {
        "task_id": task.task_id,
        "task_uuid": task.uuid,
        "name": None if task.name is None else without_controls(task.name)[:LONGEST_NAME],
        "status": task.status,
        "failure_reason": task.failure_reason,
        "status_message": None if task.status_message is None else clean_message(task.status_message),
        "named_by_run": task.task_id in named,
        "cpus": task.cpus,
        "memory_gib": task.memory,
        "gpus": task.gpus,
        "instance_type": task.instance_type,
        "image": task.image,
        "creation_time": _stamped(task.creation_time),
        "start_time": _stamped(task.start_time),
        "stop_time": _stamped(task.stop_time),
        "duration_seconds": seconds,
        "log_stream": task.log_stream,
        "log_url": log_url(region, task.log_stream),
    }


def _excerpt(excerpt: LogExcerpt, policy: NamePolicy) -> dict[str, Json]:
    clean = [clean_line(line, policy) for line in excerpt.lines]
    lines = last_that_fit(clean)
    return {
        "of": excerpt.of,
        "log_stream": excerpt.log_stream,
        "lines": lines,
        "truncated": len(lines) < len(clean),
    }


def log_url(region: str, arn: str | None) -> str | None:
    """A log stream in the AWS console; None without one."""
    stream = stream_of_arn(arn)
    if stream is None or not region:
        return None
    group, name = _quoted_twice(stream.group), _quoted_twice(stream.name)
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
    return f"{console}#logsV2:log-groups/log-group/{group}/log-events/{name}"


def _quoted_twice(text: str) -> str:
    """As the console's addresses have it: each other sign as the `%2F` of a URL, whose `%` is `$25` in turn."""
    return _OTHER_SIGN.sub(lambda sign: "".join(f"$25{octet:02X}" for octet in sign[0].encode()), text)


def in_words(diagnosis: Mapping[str, Json]) -> str:
    """A diagnosis in one line: what failed, whose it is, what to do."""
    tasks = diagnosis.get("tasks") or ()
    name = (tasks[0].get("name") or f"task {tasks[0].get('task_id')}") if tasks else None
    what = ": ".join(part for part in (name, diagnosis.get("reason_code"), diagnosis.get("meaning")) if part)
    owner = _OWNER_WORDS.get(str(diagnosis.get("owner")))
    parts = (what, owner and f"[{owner}]", diagnosis.get("action"))
    return " ".join(part for part in parts if part)


_OWNER_WORDS: Final = {
    "user_input": "inputs",
    "workflow": "workflow",
    "iam": "permissions",
    "quota": "quota",
    "service": "AWS",
}


def _moment(value: Json) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _stamped(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)
