"""The message of an event, as SNS and SQS take it: attributes beside the body, and what makes FIFO keep order.

Sources: SNS API reference, PublishBatch (2010-03-31); SQS API reference, SendMessageBatch (2012-11-05).
"""

import hashlib
import re
from typing import Any, Final

from poller.core.events import Event
from poller.ports.sinks import Preview
from poller.sinks.aws_sinks import Entry, Failures, failure_of, is_mendable

_ATTRIBUTES: Final = ("status", "run_id", "workflow_id", "run_group_id")
_GROUP: Final = re.compile(r"[!-~]{1,128}")


def message_of(event: Event, body: bytes, *, member: str, group: str | None) -> Entry:
    """An entry of PublishBatch or SendMessageBatch.

    Args: `member` is what the service calls the body; `group` is what keeps its order on a FIFO target, None on others.
    """
    attributes = attributes_of(event)
    request: dict[str, Any] = {"Id": event.id, member: body.decode(), "MessageAttributes": attributes}
    if group is not None:
        request |= {"MessageGroupId": _as_group(group), "MessageDeduplicationId": deduplication_id(event)}
    size = len(body) + sum(
        len(name.encode()) + sum(len(part.encode()) for part in value.values()) for name, value in attributes.items()
    )
    return Entry(event, request, size)


def attributes_of(event: Event) -> dict[str, dict[str, str]]:
    """What a subscription can filter by and a consumer can read beside the body; what is not known is not there."""
    known = {"type": event.type, **{name: event.data.get(name) for name in _ATTRIBUTES}, "replay_id": event.replay}
    return {
        name: {"DataType": "String", "StringValue": str(value)}
        for name, value in known.items()
        if value not in (None, "")
    }


def deduplication_id(event: Event) -> str:
    """By which FIFO drops what it had already. A replay is another message, else FIFO would swallow it."""
    return event.id if event.replay is None else f"{event.id}:{event.replay}"


def preview_of(to: str, entry: Entry, member: str) -> Preview:
    """A message as it would be sent. Args: `member` is what the service calls the body."""
    attributes = entry.request["MessageAttributes"]
    fields = {name: value for name, value in entry.request.items() if name not in (member, "MessageAttributes")}
    shown = {f"MessageAttributes.{name}": value["StringValue"] for name, value in attributes.items()}
    return Preview(to, fields | shown, entry.request[member].encode())


def failures_in(answer: Any) -> Failures:
    """The entries that a batch of messages failed for; SNS and SQS say it in one way."""
    return {
        failed["Id"]: failure_of(
            failed.get("Code", ""),
            failed.get("Message", ""),
            poison=failed.get("SenderFault", False) and not is_mendable(failed.get("Code", "")),
        )
        for failed in answer.get("Failed", ())
    }


def _as_group(text: str) -> str:
    """A FIFO group is 1 to 128 printable ASCII characters; what does not fit is hashed."""
    return text if _GROUP.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()
