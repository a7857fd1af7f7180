"""Amazon SQS: one message per event, in batches; FIFO queues keep the order of each run.

What a consumer may want to know before it reads the body travels as message attributes.
Limits and error codes: SQS API reference, SendMessageBatch (2012-11-05).
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field

from poller.core.events import Event
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.aws_messages import failures_in, message_of, preview_of
from poller.sinks.aws_sinks import (
    KIB,
    MOST_ENTRIES,
    AwsSinkSettings,
    Entry,
    Failures,
    Limits,
    client_of,
    look,
    send_entries,
)
from poller.sinks.formats import formatter

QUEUE_URL: Final = r"^https?://[^\s/@?#]+/(\S+/)?[A-Za-z0-9_-]{1,80}(\.fifo)?$"
LIMITS: Final = Limits("SQS", entry=1024 * KIB, request=1024 * KIB)
"""With attributes; a queue may be set to take less, and then says so."""
NEVER: Final = frozenset({"InvalidMessageContents", "BatchRequestTooLong"})
_BODY: Final = "MessageBody"
_USUAL_HOST: Final = re.compile(r"sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_REGION: Final = re.compile(r"(?:^|\.)sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)\.")


class SqsSettings(AwsSinkSettings):
    """`type = "sqs"`."""

    queue_url: str = Field(
        pattern=QUEUE_URL,
        examples=["https://sqs.us-east-1.amazonaws.com/123456789012/runs.fifo"],
        description="Queue to send to; a name ending in .fifo keeps the order per run.",
    )


class SqsSink:
    """Sends each event in its format; a message that SQS will never take is rejected, all else tried again."""

    settings_model = SqsSettings
    batch_size = MOST_ENTRIES

    def __init__(self, settings: SqsSettings, tools: Toolbox) -> None:
        parts = urlsplit(settings.queue_url)
        host = parts.hostname or ""
        if settings.endpoint_url is None and not _USUAL_HOST.fullmatch(host):
            settings = settings.model_copy(update={"endpoint_url": f"{parts.scheme}://{parts.netloc}"})
        self.settings = settings
        self._tools = tools
        self._format = formatter(settings)
        self._fifo = settings.queue_url.endswith(".fifo")
        found = _REGION.search(host)
        self._region = found["region"] if found else None

    async def send(self, events: Sequence[Event]) -> None:
        """Send the events. Raises: Rejected for one that is too large or refused, Retry for one to try again."""
        sqs = await self._client()

        async def send_batch(request: Sequence[Entry]) -> Failures:
            entries = [entry.request for entry in request]
            return failures_in(await sqs.send_message_batch(QueueUrl=self.settings.queue_url, Entries=entries))

        await send_entries(events, self._entry, LIMITS, NEVER, send_batch)

    async def probe(self) -> str | None:
        """Ask for the queue's attributes. Says so where that is denied, since sending may still be allowed."""
        sqs = await self._client()
        asking = sqs.get_queue_attributes(QueueUrl=self.settings.queue_url, AttributeNames=["QueueArn"])
        return await look("sqs:GetQueueAttributes", asking)

    def preview(self, event: Event) -> Preview:
        """The message as it would be sent."""
        return preview_of(f"sqs:SendMessageBatch to {self.settings.queue_url}", self._entry(event), _BODY)

    def _entry(self, event: Event) -> Entry:
        group = event.source if self._fifo else None
        return message_of(event, self._format.body(event).body, member=_BODY, group=group)

    async def _client(self) -> Any:
        return await client_of(self.settings, self._tools, "sqs", region=self._region)
