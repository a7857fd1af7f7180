"""CloudWatch Logs, as far as they are needed: GetLogEvents for manifests and the ends of logs, and DescribeLogStreams
for manifests where the uuid is not known.

Bounded: a manifest's first line is the run's, so little is read, and at most `MOST_EVENTS` lines and `MOST_BYTES` of
them. No such group or stream means: not there, perhaps not yet. Quotas of CloudWatch Logs are the account's.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from poller.core.diagnosis import RunTask, Stream
from poller.core.runs import created_together
from poller.core.statuses import ENDS
from poller.healthomics.manifest import GROUP, newest_first, run_of, stream_of, stream_prefix
from poller.healthomics.parse import error_of
from poller.healthomics.tasks import failed_tasks_in
from poller.ports import Clock, Manifest, Spend

FIRST_LINES: Final = 10
"""Lines of the first page: the run's own is among them, and a task's takes some hundred bytes."""
PAGE_LINES: Final = 1000
MOST_EVENTS: Final = 5000
MOST_BYTES: Final = 8 * 2**20
MOST_PAGES: Final = 20
STREAMS_PAGE: Final = 50
"""The service's own limit for a page of DescribeLogStreams."""
MOST_STREAM_PAGES: Final = 4
MOST_STREAMS: Final = 5
"""Incarnations whose manifests are opened in search of one."""
MOST_EMPTY_PAGES: Final = 3
"""Pages without a line that are read on when the end of a log is wanted: one may be empty though there are lines."""
_NOT_THERE: Final = "ResourceNotFoundException"


class WorkflowLogs:
    """The manifests of one account and region. Args: `client` makes or finds the aiobotocore client of "logs"."""

    def __init__(self, client: Callable[[], Awaitable[Any]], clock: Clock, include: tuple[str, ...]) -> None:
        self.client = client
        self.clock = clock
        self.include = include

    async def manifest(self, run_id: str, uuid: str | None, created: datetime | None, spend: Spend) -> Manifest | None:
        """As `RunService.manifest`."""
        if uuid is not None:
            return await self._read(run_id, stream_of(run_id, uuid), spend)
        streams = [stream async for page in self._stream_pages(run_id, spend) for stream in page]
        for name in newest_first(streams, run_id, created)[:MOST_STREAMS]:
            found = await self._read(run_id, name, spend)
            if found is not None and (created is None or created_together(found.shown.creation_time, created)):
                return found
        return None

    async def failed_tasks(self, run_id: str, uuid: str, spend: Spend) -> list[RunTask] | None:
        """As `RunService.failed_tasks_in_manifest`."""
        found: list[RunTask] = []
        there = False
        async with aclosing(self._line_pages(stream_of(run_id, uuid), spend)) as pages:
            async for lines in pages:
                there = there or bool(lines)
                found += failed_tasks_in(lines, run_id)
        return found if there else None

    async def last_lines(
        self, stream: Stream, number: int, since: datetime | None, until: datetime | None, spend: Spend
    ) -> list[str] | None:
        """As `RunService.last_log_lines`, of a stream by its name."""
        asked: dict[str, Any] = {"logGroupName": stream.group, "logStreamName": stream.name, "limit": number}
        asked["startFromHead"] = False
        if since is not None:
            asked["startTime"] = int(since.timestamp() * 1000)
        if until is not None:
            asked["endTime"] = int(until.timestamp() * 1000) + 1  # what is written at that moment is not returned
        lines: list[str] = []
        for _ in range(MOST_EMPTY_PAGES):
            answer = await self._call("GetLogEvents", "get_log_events", asked, spend)
            if not answer:
                return None
            texts = [text for one in _members(answer, "events") if isinstance(text := one.get("message"), str)]
            lines = [line for text in texts for line in text.splitlines()]
            before = answer.get("nextBackwardToken")
            if lines or not before or before == asked.get("nextToken"):
                break
            asked["nextToken"] = before
        return lines[-number:]

    async def _read(self, run_id: str, stream: str, spend: Spend) -> Manifest | None:
        """One stream, page by page, until it has shown the run's end."""
        asked_at = self.clock.now()
        found: Manifest | None = None
        async with aclosing(self._line_pages(stream, spend)) as pages:
            async for lines in pages:
                now = self.clock.now()
                shown = run_of(lines, run_id, stream, asked_at=asked_at, answered_at=now, include=self.include)
                if shown is not None:
                    found = Manifest(shown, stream)
                    if shown.status in ENDS:
                        break
        return found

    async def _line_pages(self, stream: str, spend: Spend) -> AsyncGenerator[list[str]]:
        events = size = 0
        token: str | None = None
        for _ in range(MOST_PAGES):
            asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
            asked["limit"] = FIRST_LINES if token is None else PAGE_LINES
            if token is not None:
                asked["nextToken"] = token
            answer = await self._call("GetLogEvents", "get_log_events", asked, spend)
            lines = [text for one in _members(answer, "events") if isinstance(text := one.get("message"), str)]
            yield lines
            events += len(lines)
            size += sum(map(len, lines))
            following = answer.get("nextForwardToken")
            if not following or following == token or events >= MOST_EVENTS or size >= MOST_BYTES:
                return  # the end is where the token repeats itself: a page may be empty though more follow
            token = following

    async def _stream_pages(self, run_id: str, spend: Spend) -> AsyncGenerator[list[dict[str, Any]]]:
        token: str | None = None
        for _ in range(MOST_STREAM_PAGES):
            asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamNamePrefix": stream_prefix(run_id)}
            asked["limit"] = STREAMS_PAGE
            if token is not None:
                asked["nextToken"] = token
            answer = await self._call("DescribeLogStreams", "describe_log_streams", asked, spend)
            yield _members(answer, "logStreams")
            following = answer.get("nextToken")
            if not following or following == token:
                return
            token = following

    async def _call(self, operation: str, method: str, asked: dict[str, Any], spend: Spend) -> dict[str, Any]:
        """One call; an empty answer where the group or the stream does not exist."""
        await spend(operation)
        try:
            client = await self.client()
            answer: dict[str, Any] = await getattr(client, method)(**asked)
        except Exception as error:  # the border to botocore: whatever it raises is one of our error classes
            if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == _NOT_THERE:
                return {}
            raise error_of(error, operation) from error
        return answer


def _members(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer, without what is none."""
    listed = answer.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
