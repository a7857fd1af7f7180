"""HealthOmics of one account and region over aiobotocore: one client, without retries of its own.

Facts: operations and paths of the API model 2022-11-28; the raw body is taken by a `before-parse` handler, since
botocore drops members that its model does not know. `sts:GetCallerIdentity` needs no permission. Behind a custom
endpoint STS and CloudWatch Logs are asked only where they have addresses of their own: an emulated set-up never asks
the real AWS.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from poller.aws import AwsSessions
from poller.core.batches import BatchSnapshot
from poller.core.diagnosis import RunTask, stream_of_arn
from poller.core.errors import BadRequest, Denied, Transient
from poller.core.runs import RUN_ID, GroupLimits, Snapshot
from poller.healthomics.logs import WorkflowLogs
from poller.healthomics.parse import (
    batch_page_of,
    batch_snapshot_of,
    error_of,
    group_limits_of,
    page_of,
    snapshot_of,
)
from poller.healthomics.tasks import FAILED, TASK_ID, task_of, task_page_of
from poller.ports import BatchPage, Clock, Manifest, Page, Spend, TaskPage

PAGE_SIZE: Final = 100
LOGS_ADDRESSES: Final = ("AWS_ENDPOINT_URL_LOGS", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS")
"""Variables that name an address of CloudWatch Logs: by our short name, and by the one that AWS gives it."""
NOT_ASKED: Final = "NotAsked"
"""The code of a question that is not asked at all: CloudWatch Logs of the real AWS, from an emulated set-up."""
OPERATIONS: Final = (
    "GetRun", "ListRuns", "GetBatch", "ListRunsInBatch", "GetRunGroup", "ListRunTasks", "GetRunTask",
)  # fmt: skip
_RAW: Final = "PollerRawBody"


class HealthOmics:
    """A RunService.

    Args: `sessions` are its own, so that renewing them disturbs nobody else's clients; with `role_arn` every call is
    made as that role, which the credentials of `profile` assume.
    """

    def __init__(
        self,
        sessions: AwsSessions,
        clock: Clock,
        *,
        region: str,
        profile: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
        endpoint_url: str | None = None,
        logs_endpoint_url: str | None = None,
        include: tuple[str, ...] = (),
    ) -> None:
        self.sessions = sessions
        self.clock = clock
        self.region = region
        self._identity = {"profile": profile, "role_arn": role_arn, "external_id": external_id}
        self.endpoint_url = endpoint_url
        named = (os.environ.get(name) for name in LOGS_ADDRESSES)
        self.logs_endpoint_url = logs_endpoint_url or next((url for url in named if url), None)
        self.include = include
        self._prepared: Any = None
        self._logs = WorkflowLogs(self._logs_client, clock, include)

    async def get_run(self, run_id: str) -> Snapshot:
        """GetRun. Raises: ServiceError; BadRequest without asking if `run_id` is no run id."""
        if not RUN_ID.fullmatch(run_id):
            raise BadRequest("ValidationException", f"{run_id!r} is no run id", operation="GetRun")
        body, _, asked_at, answered_at = await self._call("GetRun", "get_run", id=run_id)
        return snapshot_of(body, run_id, asked_at=asked_at, answered_at=answered_at, include=self.include)

    async def list_runs(
        self,
        *,
        status: str | None = None,
        group: str | None = None,
        batch: str | None = None,
        token: str | None = None,
    ) -> Page:
        """One page of ListRuns, 100 runs at most. Raises: ServiceError."""
        asked = {"status": status, "runGroupId": group, "batchId": batch, "startingToken": token}
        given = {key: value for key, value in asked.items() if value is not None}
        body, headers, asked_at, answered_at = await self._call("ListRuns", "list_runs", maxResults=PAGE_SIZE, **given)
        return page_of(body, headers=headers, asked_at=asked_at, answered_at=answered_at)

    async def get_batch(self, batch_id: str) -> BatchSnapshot:
        """GetBatch. Raises: ServiceError."""
        body, _, asked_at, answered_at = await self._call("GetBatch", "get_batch", batchId=batch_id)
        return batch_snapshot_of(body, batch_id, asked_at=asked_at, answered_at=answered_at)

    async def list_runs_in_batch(self, batch_id: str, *, token: str | None = None) -> BatchPage:
        """One page of ListRunsInBatch, 100 submissions at most. Raises: ServiceError."""
        given = {} if token is None else {"startingToken": token}
        body, *_ = await self._call(
            "ListRunsInBatch", "list_runs_in_batch", batchId=batch_id, maxItems=PAGE_SIZE, **given
        )
        return batch_page_of(body)

    async def get_run_group(self, group_id: str) -> GroupLimits:
        """What GetRunGroup says of a group's limits. Raises: ServiceError."""
        body, *_ = await self._call("GetRunGroup", "get_run_group", id=group_id)
        return group_limits_of(body, group_id)

    async def manifest(
        self, run_id: str, *, uuid: str | None = None, created: datetime | None = None, spend: Spend
    ) -> Manifest | None:
        """The run's manifest, None while there is none. Raises: ServiceError; Denied where none is asked for."""
        await self._check_that_logs_may_be_asked()
        return await self._logs.manifest(run_id, uuid, created, spend)

    async def list_failed_tasks(self, run_id: str, *, token: str | None = None) -> TaskPage:
        """One page of ListRunTasks of those that failed, 100 at most. Raises: ServiceError; RunGone without the run."""
        given = {} if token is None else {"startingToken": token}
        body, *_ = await self._call(
            "ListRunTasks", "list_run_tasks", id=run_id, status=FAILED, maxResults=PAGE_SIZE, **given
        )
        return task_page_of(body)

    async def get_run_task(self, run_id: str, task_id: str) -> RunTask:
        """GetRunTask. Raises: ServiceError; BadRequest without asking if `task_id` is no id of a task."""
        if not TASK_ID.fullmatch(task_id):
            raise BadRequest("ValidationException", f"{task_id!r} is no task id", operation="GetRunTask")
        body, *_ = await self._call("GetRunTask", "get_run_task", id=run_id, taskId=task_id)
        return task_of(body, task_id)

    async def failed_tasks_in_manifest(self, run_id: str, uuid: str, *, spend: Spend) -> list[RunTask] | None:
        """The failed tasks that the run's manifest has, None without one. Raises: as `manifest`."""
        await self._check_that_logs_may_be_asked()
        return await self._logs.failed_tasks(run_id, uuid, spend)

    async def last_log_lines(
        self,
        stream: str,
        number: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        spend: Spend,
    ) -> list[str] | None:
        """The last lines of a stream, None if there is none. Raises: as `manifest`; BadRequest for no ARN of one."""
        named = stream_of_arn(stream)
        if named is None:
            raise BadRequest("ValidationException", f"{stream!r} is no ARN of a log stream", operation="GetLogEvents")
        await self._check_that_logs_may_be_asked()
        return await self._logs.last_lines(named, number, since, until, spend)

    async def account(self) -> str | None:
        """The account of the credentials; None behind a custom endpoint, unless AWS_ENDPOINT_URL_STS names one."""
        operation = "GetCallerIdentity"
        try:
            if not os.environ.get("AWS_ENDPOINT_URL_STS") and await self._is_emulated():
                return None
            sts = await self.sessions.client("sts", region=self.region, **self._identity)
            answer = await sts.get_caller_identity()
        except Exception as error:  # the border to botocore: error_of knows what each one means
            raise error_of(error, operation) from error
        account = answer.get("Account")
        return str(account) if account else None

    async def renew(self) -> None:
        """Make session and client anew at the next call, so that renewed credentials are picked up."""
        self._prepared = None
        await self.sessions.renew()

    async def close(self) -> None:
        await self.sessions.close()

    async def _check_that_logs_may_be_asked(self) -> None:
        """Raises: Denied if the real CloudWatch Logs would be asked from an emulated set-up."""
        if self.logs_endpoint_url is not None:
            return
        try:
            emulated = await self._is_emulated()
        except Exception as error:  # the border to botocore: error_of knows what each one means
            raise error_of(error, "GetLogEvents") from error
        if emulated:
            raise Denied(NOT_ASKED, "HealthOmics has an endpoint of its own, and CloudWatch Logs have none")

    async def _is_emulated(self) -> bool:
        """Whether a custom endpoint is in force: then no other service of the real AWS is asked by itself."""
        client = await self._client()
        return not client.meta.config.inject_host_prefix

    async def _logs_client(self) -> Any:
        return await self.sessions.client(
            "logs", region=self.region, endpoint_url=self.logs_endpoint_url, **self._identity
        )

    async def _client(self) -> Any:
        client = await self.sessions.client(
            "omics", region=self.region, endpoint_url=self.endpoint_url, **self._identity
        )
        if client is not self._prepared:
            for operation in OPERATIONS:
                client.meta.events.register(f"before-parse.omics.{operation}", _take_raw_body)
            self._prepared = client
        return client

    async def _call(
        self, operation: str, method: str, **arguments: Any
    ) -> tuple[bytes, Mapping[str, str], datetime, datetime]:
        """Call once; the raw body, the headers, and when it was asked and answered."""
        asked_at = self.clock.now()
        try:
            client = await self._client()
            asked_at = self.clock.now()
            answer = await getattr(client, method)(**arguments)
        except Exception as error:  # the border to botocore: whatever it raises is one of our error classes
            raise error_of(error, operation) from error
        answered_at = self.clock.now()
        body = answer.get(_RAW)
        if not isinstance(body, bytes):
            raise Transient("unreadable", "the answer has no body", operation=operation)
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return body, headers, asked_at, answered_at


def _take_raw_body(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """A `before-parse` handler: the bytes go past botocore, which drops what its model does not know, to `parse.py`.

    A page of 100 runs costs botocore's parser 3 ms, for an answer that nobody would look at. Errors stay its own.
    """
    if response_dict["status_code"] < 300:
        customized_response_dict[_RAW] = response_dict["body"]
        response_dict["body"] = b"{}"
