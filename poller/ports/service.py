"""HealthOmics, as the engine needs it: what is asked, and what an answer holds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from poller.core.batches import BatchSnapshot
from poller.core.diagnosis import RunTask
from poller.core.runs import GroupLimits, Snapshot


@dataclass(frozen=True, slots=True)
class Page:
    """One page of ListRuns. `token` is None on the last one. `served_at` is the service's own clock (Date header).

    `unreadable` counts the items that are left out because nothing can be made of them.
    """

    items: tuple[Snapshot, ...]
    token: str | None
    asked_at: datetime
    answered_at: datetime
    served_at: datetime | None = None
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A run that a batch has submitted, as ListRunsInBatch names it."""

    run_id: str
    uuid: str | None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """One page of ListRunsInBatch: the runs on it that were submitted. `token` is None on the last one."""

    runs: tuple[BatchRun, ...]
    token: str | None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of ListRunTasks. `token` is None on the last one."""

    tasks: tuple[RunTask, ...]
    token: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What CloudWatch Logs keep of a run that ended: `shown` as a GetRun would have said it, and where it was read."""

    shown: Snapshot
    stream: str


Spend = Callable[[str], Awaitable[None]]
"""Awaited before a call, with the name of its operation: it returns once that may be made."""


class RunService(Protocol):
    """HealthOmics of one account and region. Every failure is one of `core.errors.ServiceError`."""

    async def get_run(self, run_id: str) -> Snapshot: ...

    async def list_runs(
        self,
        *,
        status: str | None = None,
        group: str | None = None,
        batch: str | None = None,
        token: str | None = None,
    ) -> Page:
        """One page of at most 100 runs."""
        ...

    async def get_batch(self, batch_id: str) -> BatchSnapshot: ...

    async def list_runs_in_batch(self, batch_id: str, *, token: str | None = None) -> BatchPage:
        """One page of at most 100 submissions."""
        ...

    async def get_run_group(self, group_id: str) -> GroupLimits: ...

    async def manifest(
        self, run_id: str, *, uuid: str | None = None, created: datetime | None = None, spend: Spend
    ) -> Manifest | None:
        """The run's manifest: of the incarnation with this uuid, else of the one created then, else of the newest one.

        None while there is none.
        Args: `spend` is awaited before each call.
        Raises: Denied also where CloudWatch Logs are not to be asked at all.
        """
        ...

    async def list_failed_tasks(self, run_id: str, *, token: str | None = None) -> TaskPage:
        """One page of at most 100 tasks of a run that failed; without their reasons."""
        ...

    async def get_run_task(self, run_id: str, task_id: str) -> RunTask: ...

    async def failed_tasks_in_manifest(self, run_id: str, uuid: str, *, spend: Spend) -> list[RunTask] | None:
        """The tasks that failed, with their reasons, as the run's manifest has them; None while there is none.

        `spend` is as in `manifest`. Raises: Denied also where CloudWatch Logs are not to be asked at all.
        """
        ...

    async def last_log_lines(
        self,
        stream: str,
        number: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        spend: Spend,
    ) -> list[str] | None:
        """The last lines of the log stream with this ARN, oldest first; None if there is no such stream (yet).

        Only what was written from `since` up to `until` counts; `spend` is as in `manifest`.
        Raises: Denied also where CloudWatch Logs are not to be asked at all; BadRequest if that is no ARN of a stream.
        """
        ...

    async def account(self) -> str | None:
        """The account that the credentials belong to (sts:GetCallerIdentity), None where it cannot be asked.

        Raises: Blind if the credentials are refused.
        """
        ...

    async def renew(self) -> None:
        """Forget the session and its credentials: the next call finds them anew."""
        ...

    async def close(self) -> None: ...
