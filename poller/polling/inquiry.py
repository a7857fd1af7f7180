"""What is asked about one run that failed: its failed tasks, their reasons, the last lines of a log.

Each operation has a small budget of its own, so that nobody who follows runs or looks at tasks is kept waiting. What is
denied is done without and said; whatever may pass by itself is asked for again, until it has been often enough. A run
that the service has forgotten is asked of its manifest. Nothing of another run under the same id is taken for its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import anyio
import structlog

from poller.core.cadence import Pace
from poller.core.diagnosis import DiagnosisTerms, Findings, LogExcerpt, RunTask, first_to_fail, of_this_life
from poller.core.errors import Blind, Denied, RunGone, ServiceError, Throttled, Transient
from poller.core.events import Event
from poller.core.excerpts import shortened
from poller.core.runs import Json
from poller.foundation import Foundation
from poller.polling.spending import Spending
from poller.ports import RunService
from poller.redaction import redact

log = structlog.get_logger("poller.polling")
T = TypeVar("T")

CALLS_PER_SECOND: Final = 2.0
"""Of each operation at most: a fifth of the service's default quota, which belongs to everybody in the account."""
LONGEST_CALL: Final = 20.0
"""Seconds after which an answer is waited for no longer; it is asked for again."""
LONGEST_READ: Final = 90.0
"""The same for what takes several calls to CloudWatch Logs, with the waits for their budget."""
MOST_PAGES: Final = 5
"""Of 100 failed tasks each: a run with more is told by its first five hundred."""
PATIENT_FOR: Final = 3
"""Attempts in which what is not there yet may still come: lists may lag, and the log of the engine comes late."""
DENIED_FOR: Final = 300.0
"""Seconds until an operation that was denied is tried again: a permission may have been granted."""
LOG_ENDS: Final = timedelta(minutes=10)
"""After the run has stopped: what its engine's log shows later is of another run under the same id."""
OPERATIONS: Final = ("ListRunTasks", "GetRunTask", "GetLogEvents")
REMEMBERED: Final = ("ListRunTasks", "GetRunTask")
"""Those whose learned rates the record keeps; that of GetLogEvents it keeps for the manifests, which need more."""


class NotYet(Transient):
    """What is asked for is not there yet, or the service does not answer: ask again."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """One run that is asked about, for the so-manieth time."""

    failed: Event
    attempt: int
    last: bool

    @property
    def data(self) -> Mapping[str, Json]:
        return self.failed.data

    @property
    def run_id(self) -> str:
        return self.failed.subject

    @property
    def is_patient(self) -> bool:
        """Whether what is not there yet is waited for."""
        return self.attempt < PATIENT_FOR and not self.last

    @property
    def lived(self) -> tuple[datetime | None, datetime | None]:
        """From when to when a log of this id is about this run."""
        created, stopped = self.data.get("creation_time"), self.data.get("stop_time")
        return (
            datetime.fromisoformat(created) if created else None,
            datetime.fromisoformat(stopped) + LOG_ENDS if stopped else None,
        )

    def give_up(self, error: ServiceError, what: str = "") -> str:
        """What to say of a question that brought nothing. Raises: the error where asking again may bring more."""
        if isinstance(error, Blind) or (isinstance(error, Transient) and not self.last):
            raise error
        return f"{what}: {error}" if what else str(error)


class Inquiries:
    """The questions about failed runs of one scope. Args: `rates` as the record remembers them."""

    def __init__(
        self,
        service: RunService,
        foundation: Foundation,
        pace: Pace,
        rates: Mapping[str, float],
        terms: DiagnosisTerms,
    ) -> None:
        self.service = service
        self.terms = terms
        self.clock = foundation.clock
        self.tally = foundation.tally
        remembered = {operation: rate for operation, rate in rates.items() if operation in REMEMBERED}
        ceiling = min(pace.ceiling, CALLS_PER_SECOND)
        self.spending = Spending(OPERATIONS, foundation, ceiling=ceiling, rates=remembered)
        self._denied: dict[str, tuple[float, Denied]] = {}
        self._allowed: dict[str, float] = {}

    @property
    def rates(self) -> dict[str, float]:
        """The learned calls per second, as the record keeps them."""
        return {operation: rate for operation, rate in self.spending.rates.items() if operation in REMEMBERED}

    async def look_into(self, failed: Event, attempt: int, *, last: bool) -> Findings:
        """All that can be found out about a run.

        Args: `failed` is its `failed` event; `attempt` counts from 1; at the `last` one nothing is asked for again.
        Raises: ServiceError where asking again may bring more; Blind where nobody can ask.
        """
        asking = _Asking(failed, attempt, last)
        findings = await self._tasks(asking)
        if self.terms.log_lines > 0:
            findings = await self._last_lines(asking, findings)
        return findings

    # --- what failed -----------------------------------------------------------------------------------------------

    async def _tasks(self, asking: _Asking) -> Findings:
        """The failed tasks, with their reasons."""
        findings, gone = Findings(), False
        try:
            listed = await self._list(asking)
        except RunGone as error:
            gone, listed = True, []
            findings = findings.tried(f"ListRunTasks: {error.code}")
        except ServiceError as error:
            return findings.missing(asking.give_up(error))
        ours, strangers = of_this_life(listed, asking.data)
        if strangers and not ours:
            gone = True
            findings = findings.tried("ListRunTasks: shows tasks of another run under this id only")
        if gone:
            return await self._tasks_of_the_manifest(asking, findings)
        if not ours and asking.data.get("failure_reason") == "RUN_TASK_FAILED" and asking.is_patient:
            raise NotYet("not there", "no task is shown to have failed", operation="ListRunTasks")
        findings = replace(findings.tried(f"ListRunTasks: {_counted(len(ours), 'task')} failed"), failed=len(ours))
        chosen = []
        for task in first_to_fail(ours, asking.data.get("status_message")):
            try:
                ask = partial(self.service.get_run_task, asking.run_id, task.task_id)
                shown = await self._call("GetRunTask", ask)
            except ServiceError as error:
                findings = findings.missing(asking.give_up(error, f"task {task.task_id}"))
                chosen.append(task)
            else:
                findings = findings.tried(f"GetRunTask: task {task.task_id}")
                chosen.append(shown)
        return replace(findings, tasks=tuple(chosen))

    async def _list(self, asking: _Asking) -> list[RunTask]:
        tasks: list[RunTask] = []
        token: str | None = None
        for _ in range(MOST_PAGES):
            ask = partial(self.service.list_failed_tasks, asking.run_id, token=token)
            page = await self._call("ListRunTasks", ask)
            tasks += page.tasks
            token = page.token
            if token is None:
                break
        return tasks

    async def _tasks_of_the_manifest(self, asking: _Asking, findings: Findings) -> Findings:
        """The same of a run that the service has forgotten: what it left in CloudWatch Logs."""
        uuid = asking.data.get("run_uuid")
        if not uuid:
            return findings.missing("manifest: not asked: the run's uuid is not known")
        try:
            ask = partial(self.service.failed_tasks_in_manifest, asking.run_id, uuid, spend=self.spending.spend)
            tasks = await self._read_logs(ask)
            if tasks is None and asking.is_patient:
                raise NotYet("not there", "there is no manifest of the run yet", operation="GetLogEvents")
        except ServiceError as error:
            return findings.missing(asking.give_up(error, "manifest"))
        if tasks is None:
            return findings.missing("manifest: there is none")
        findings = replace(findings.tried(f"manifest: {_counted(len(tasks), 'task')} failed"), failed=len(tasks))
        of_run = asking.data.get("run_log_stream")
        chosen = [
            replace(task, log_stream=f"{of_run}/task/{task.task_id}") if of_run and task.log_stream is None else task
            for task in first_to_fail(tasks, asking.data.get("status_message"))
        ]
        return replace(findings, tasks=tuple(chosen))

    # --- what the log says -----------------------------------------------------------------------------------------

    async def _last_lines(self, asking: _Asking, findings: Findings) -> Findings:
        """The last lines of the first task's log; of the engine's where no task failed."""
        task = findings.tasks[0] if findings.tasks else None
        stream = task.log_stream if task is not None else asking.data.get("engine_log_stream")
        whose = f"task {task.task_id}" if task is not None else "the engine"
        if not stream:
            return findings.missing(f"GetLogEvents: no log stream of {whose} is known")
        since, until = (None, None) if task is not None else asking.lived
        number = self.terms.log_lines
        try:
            ask = partial(
                self.service.last_log_lines, stream, number, since=since, until=until, spend=self.spending.spend
            )
            lines = await self._read_logs(ask)
            if not lines and task is None and asking.is_patient:
                raise NotYet("not there", "there is no log of the engine yet", operation="GetLogEvents")
        except ServiceError as error:
            return findings.missing(asking.give_up(error, f"the log of {whose}"))
        if not lines:
            return findings.tried(f"GetLogEvents: {whose} has written nothing")
        clean = tuple(redact(shortened(line)) for line in lines)
        excerpt = LogExcerpt("task" if task is not None else "engine", stream, clean)
        findings = findings.tried(f"GetLogEvents: {_counted(len(lines), 'line')} of {whose}")
        return replace(findings, excerpt=excerpt)

    async def _read_logs(self, ask: Callable[[], Awaitable[T]]) -> T:
        """A question to CloudWatch Logs, which takes from the budget by itself, call by call."""
        self._check_that_it_may_be_asked("GetLogEvents")
        return await self._guarded("GetLogEvents", ask, LONGEST_READ)

    # --- calls -----------------------------------------------------------------------------------------------------

    async def _call(self, operation: str, ask: Callable[[], Awaitable[T]]) -> T:
        """One call, once the budget allows it."""
        self._check_that_it_may_be_asked(operation)
        await self.spending.spend(operation)
        return await self._guarded(operation, ask, LONGEST_CALL)

    async def _guarded(self, operation: str, ask: Callable[[], Awaitable[T]], longest: float) -> T:
        """What is asked, within its time. What failed is counted, a throttle cuts the rate, a denial is remembered."""
        sent = self.clock.monotonic()
        try:
            with anyio.move_on_after(longest):
                answer = await ask()
                self._allowed[operation] = self.clock.monotonic()
                return answer
            raise NotYet("timeout", f"no answer within {longest:g} s", operation=operation)
        except ServiceError as error:
            if isinstance(error, RunGone):
                self._allowed[operation] = self.clock.monotonic()
            else:
                self.tally.add("looks_failed", operation=operation, error=error.code)
            if isinstance(error, Throttled):
                self.spending.throttled(operation, sent)
            if isinstance(error, Denied):
                self._remember(operation, error)
            raise

    def _remember(self, operation: str, error: Denied) -> None:
        """A denial is of the operation, unless that was allowed lately: then it is of this one run."""
        now = self.clock.monotonic()
        if now - self._allowed.get(operation, float("-inf")) < DENIED_FOR:
            return
        self._denied[operation] = (now + DENIED_FOR, error)
        say = log.warning if error.operation else log.info  # without one nothing was asked: so it is set up
        say("diagnosis.denied", detail=str(error), then="runs that failed are told without it")

    def _check_that_it_may_be_asked(self, operation: str) -> None:
        until, error = self._denied.get(operation, (float("-inf"), None))
        if error is not None and self.clock.monotonic() < until:
            raise Denied(error.code, error.message, operation=error.operation)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
