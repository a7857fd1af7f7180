"""Amazon SNS: one message per event, in batches; on FIFO topics SNS keeps the order of each run.

What a subscription can filter by travels as message attributes: type, status, run_id, workflow_id, run_group_id.
Limits and error codes: SNS API reference, PublishBatch (2010-03-31); a topic's MaximumMessageSize may be up to 1 MiB.
"""

from collections.abc import Sequence
from typing import Any, Final

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

ARN: Final = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$"
LIMITS: Final = Limits("SNS", entry=1024 * KIB, request=256 * KIB)
"""With attributes. Every topic takes 256 KiB; a larger message goes alone, and its topic says whether it may."""
NEVER: Final = frozenset({"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "BatchRequestTooLong"})
_BODY: Final = "Message"


class SnsSettings(AwsSinkSettings):
    """`type = "sns"`."""

    topic_arn: str = Field(
        pattern=ARN,
        examples=["arn:aws:sns:us-east-1:123456789012:runs.fifo"],
        description="Topic to publish to; a name ending in .fifo keeps the order per run.",
    )


class SnsSink:
    """Publishes each event in its format; a message that SNS will never take is rejected, all else tried again."""

    settings_model = SnsSettings
    batch_size = MOST_ENTRIES

    def __init__(self, settings: SnsSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._tools = tools
        self._format = formatter(settings)
        self._fifo = settings.topic_arn.endswith(".fifo")

    async def send(self, events: Sequence[Event]) -> None:
        """Publish the events. Raises: Rejected for one that is too large or refused, Retry for one to try again."""
        sns = await self._client()

        async def publish(request: Sequence[Entry]) -> Failures:
            entries = [entry.request for entry in request]
            topic = self.settings.topic_arn
            return failures_in(await sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries))

        await send_entries(events, self._entry, LIMITS, NEVER, publish)

    async def probe(self) -> str | None:
        """Ask for the topic's attributes. Says so where that is denied, since publishing may still be allowed."""
        sns = await self._client()
        return await look("sns:GetTopicAttributes", sns.get_topic_attributes(TopicArn=self.settings.topic_arn))

    def preview(self, event: Event) -> Preview:
        """The message as it would be published."""
        return preview_of(f"sns:PublishBatch to {self.settings.topic_arn}", self._entry(event), _BODY)

    def _entry(self, event: Event) -> Entry:
        group = (event.run_id or event.source) if self._fifo else None
        return message_of(event, self._format.body(event).body, member=_BODY, group=group)

    async def _client(self) -> Any:
        return await client_of(self.settings, self._tools, "sns", region=self.settings.topic_arn.split(":")[3])
