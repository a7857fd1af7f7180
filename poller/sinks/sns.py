"""Amazon SNS: one message per event; on FIFO topics SNS keeps the order of each run.

What a subscription can filter by travels as message attributes: type, status, run_id, workflow_id, run_group_id.
Limits and error codes: SNS API reference, Publish (2010-03-31).
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import Field

from poller.core.errors import Rejected
from poller.core.events import Event
from poller.core.values import ROLE_ARN
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.formats import FormattedSettings, formatter

ARN: Final = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$"
MAX_BYTES: Final = 256 * 1024
"""Message and attributes together; SNS refuses more, and moto does not, so it is counted here."""
NEVER: Final = frozenset(
    {
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "ParameterValueInvalid",
        "ParameterValueInvalidException",
    }
)
"""Codes that no retry mends; a missing topic, denied access or a disabled key is mended by a person."""
DENIED: Final = frozenset(
    {"AuthorizationError", "AuthorizationErrorException", "AccessDenied", "AccessDeniedException"}
)

_ATTRIBUTES: Final = ("status", "run_id", "workflow_id", "run_group_id")
_GROUP: Final = re.compile(r"[!-~]{1,128}")


class SnsSettings(FormattedSettings, hide_input_in_errors=True):
    """`type = "sns"`."""

    topic_arn: str = Field(
        pattern=ARN, description="Topic to publish to; a name ending in .fifo keeps the order per run."
    )
    region: str | None = Field(
        None, pattern=r"^[a-z0-9-]+$", description="Region of the topic; without it the one in its ARN."
    )
    profile: str | None = Field(None, min_length=1, description="Profile of the AWS configuration to publish with.")
    role_arn: str | None = Field(None, pattern=ROLE_ARN, description="Role to assume with those credentials.")
    endpoint_url: str | None = Field(
        None, pattern=r"^https?://[^\s/@]+(/\S*)?$", description="Another address of SNS: an emulator, a VPC endpoint."
    )


class SnsSink:
    """Publishes each event in its format; a message that SNS will never take is rejected, all else tried again."""

    settings_model = SnsSettings

    def __init__(self, settings: SnsSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._tools = tools
        self._format = formatter(settings)
        self._fifo = settings.topic_arn.endswith(".fifo")

    async def send(self, events: Sequence[Event]) -> None:
        """Publish each event. Raises: Rejected for one that is too large or refused; botocore's errors otherwise."""
        sns = await self._client()
        for event in events:
            message = self._message(event)
            _check_size(message["Message"].encode(), message["MessageAttributes"])
            try:
                await sns.publish(**message)
            except ClientError as error:
                if _is_poison(error):
                    raise Rejected(str(error)) from error
                raise

    def preview(self, event: Event) -> Preview:
        """The message as it would be published."""
        message = self._message(event)
        attributes = message.pop("MessageAttributes")
        body = message.pop("Message").encode()
        shown = {f"MessageAttributes.{name}": value["StringValue"] for name, value in attributes.items()}
        topic = message.pop("TopicArn")
        return Preview(f"sns:Publish to {topic}", message | shown, body)

    def _message(self, event: Event) -> dict[str, Any]:
        message: dict[str, Any] = {
            "TopicArn": self.settings.topic_arn,
            "Message": self._format.body(event).body.decode(),
            "MessageAttributes": attributes_of(event),
        }
        if self._fifo:
            again = "" if event.replay is None else f":{event.replay}"  # else SNS would swallow a replay
            message |= {"MessageGroupId": group_of(event), "MessageDeduplicationId": event.id + again}
        return message

    async def probe(self) -> str | None:
        """Ask for the topic's attributes. Says so where that is denied, since publishing may still be allowed."""
        sns = await self._client()
        try:
            await sns.get_topic_attributes(TopicArn=self.settings.topic_arn)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in DENIED:
                raise
            return "sns:GetTopicAttributes is denied, so the topic could not be looked at; sns:Publish may be allowed"
        return None

    async def _client(self) -> Any:
        return await self._tools.aws_client(
            "sns",
            region=self.settings.region or self.settings.topic_arn.split(":")[3],
            profile=self.settings.profile,
            role_arn=self.settings.role_arn,
            endpoint_url=self.settings.endpoint_url,
        )


def attributes_of(event: Event) -> dict[str, dict[str, str]]:
    """What subscriptions can filter by, as SNS takes it; what is not known is not there."""
    known = {"type": event.type, **{name: event.data.get(name) for name in _ATTRIBUTES}, "replay_id": event.replay}
    return {
        name: {"DataType": "String", "StringValue": str(value)}
        for name, value in known.items()
        if value not in (None, "")
    }


def group_of(event: Event) -> str:
    """The FIFO group: one for each run, and for what the poller says of itself one for its source.

    SNS takes 128 printable ASCII characters; a source that does not fit is hashed.
    """
    group = event.run_id or event.source
    return group if _GROUP.fullmatch(group) else hashlib.sha256(group.encode()).hexdigest()


def _check_size(body: bytes, attributes: dict[str, dict[str, str]]) -> None:
    size = len(body) + sum(
        len(name.encode()) + sum(len(part.encode()) for part in value.values()) for name, value in attributes.items()
    )
    if size > MAX_BYTES:
        raise Rejected(
            f"the message has {size:,} bytes, {size - MAX_BYTES:,} more than the {MAX_BYTES:,} that SNS takes"
        )


def _is_poison(error: ClientError) -> bool:
    """Whether SNS refuses this one message. A parameter that is wrong for all of them, the topic, is a person's."""
    said = error.response.get("Error", {})
    return said.get("Code") in NEVER and "TopicArn" not in said.get("Message", "")
