"""CloudWatch Logs as moto serves them over real HTTP, with manifests in them."""

import json
import time
from typing import Any

from aiohttp import web

from poller.aws import AwsSessions
from poller.healthomics.manifest import GROUP, stream_of

ACCOUNT, REGION = "123456789012", "us-east-1"


def run_line(run_id: str, uuid: str, status: str = "COMPLETED", **members: Any) -> dict[str, Any]:
    return {
        "arn": f"arn:aws:omics:{REGION}:{ACCOUNT}:run/{run_id}",
        "uuid": uuid,
        "name": "sample-42",
        "status": status,
        "creationTime": "2026-11-23T07:00:01.262Z",
        "startTime": "2026-11-23T07:10:12.504Z",
        "stopTime": "2026-11-23T08:15:00.908Z",
        **members,
    }


def task_line(run_id: str, number: int) -> dict[str, Any]:
    run = f"arn:aws:omics:{REGION}:{ACCOUNT}:run/{run_id}"
    return {"arn": f"arn:aws:omics:{REGION}:{ACCOUNT}:task/{number}", "run": run, "status": "SUCCESS"}


async def denying(_: web.BaseRequest) -> web.Response:
    """Every question is denied."""
    text = json.dumps({"__type": "AccessDeniedException", "message": "not authorized"})
    return web.Response(status=400, text=text, content_type="application/x-amz-json-1.1")


class Logs:
    """The log group of a region, as the service writes it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._written = 0

    @classmethod
    async def at(cls, sessions: AwsSessions, url: str) -> "Logs":
        return cls(await sessions.client("logs", region=REGION, endpoint_url=url))

    async def make_group(self) -> None:
        await self.client.create_log_group(logGroupName=GROUP)

    async def drop_group(self) -> None:
        await self.client.delete_log_group(logGroupName=GROUP)

    async def write(self, run_id: str, uuid: str, *lines: Any) -> None:
        """Append lines to a manifest's stream: dictionaries as JSON, texts as they are."""
        stream = stream_of(run_id, uuid)
        await self.client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self._written += 1
        written = int(time.time() * 1000) - 60_000 + self._written * 1000
        for start in range(0, len(texts), 1000):
            events = [{"timestamp": written, "message": text} for text in texts[start : start + 1000]]
            await self.client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
