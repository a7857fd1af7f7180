"""Amazon EventBridge: one entry of PutEvents per event, with the event in its format as the detail.

`source` is ours, since AWS refuses aws.*; docs/sinks.md has the rule that matches both its own events and these.
Limits and error codes: EventBridge API reference, PutEvents (2015-10-07); how an entry's size is counted: user guide,
"Calculating PutEvents event entry size".
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

from pydantic import Field

from poller.core.errors import ConfigError
from poller.core.events import Event, bytes_of
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.aws_events import OUR_SOURCE, detail_of
from poller.sinks.aws_sinks import (
    KIB,
    MOST_ENTRIES,
    AwsSinkSettings,
    Entry,
    Failures,
    Limits,
    client_of,
    failure_of,
    look,
    send_entries,
)
from poller.sinks.formats import formatter

BUS: Final = r"^(arn:aws[a-z-]*:events:[a-z0-9-]+:\d{12}:event-bus/)?[.\-_A-Za-z0-9/]{1,256}$"
ENDPOINT_ID: Final = r"^[A-Za-z0-9-]+\.[A-Za-z0-9-]+$"
LIMITS: Final = Limits("EventBridge", entry=1024 * KIB, request=256 * KIB)
"""Every region takes 256 KiB; a larger entry goes alone, and its region says whether it may."""
NEVER: Final = frozenset({"Validation", "ValidationError", "PutEventsRequestEntrySizeLimitExceeded"})
POISON: Final = frozenset({"MalformedDetail", "InvalidArgument"})
"""Codes of one entry that no retry mends."""
_TIME_BYTES: Final = 14
"""What EventBridge counts for the time of an entry."""


class EventBridgeSettings(AwsSinkSettings):
    """`type = "eventbridge"`."""

    event_bus: str = Field(
        "default", pattern=BUS, examples=["runs"], description="Event bus to put into, by name or ARN."
    )
    endpoint_id: str | None = Field(
        None,
        pattern=ENDPOINT_ID,
        examples=["abcde.veo"],
        description="Global endpoint to send through; needs the extra [crt].",
    )


class EventbridgeSink:
    """Puts each event in its format as the detail; an entry that is no good is rejected, all else tried again."""

    settings_model = EventBridgeSettings
    batch_size = MOST_ENTRIES

    def __init__(self, settings: EventBridgeSettings, tools: Toolbox) -> None:
        """Raises: ConfigError if a global endpoint is wanted and what signs for it is not installed."""
        if settings.endpoint_id is not None and find_spec("awscrt") is None:
            raise ConfigError(
                'endpoint_id needs signatures of a kind that awscrt makes: pip install "healthomics-poller[crt]"'
            )
        self.settings = settings
        self._tools = tools
        self._format = formatter(settings)
        self._endpoint = {"EndpointId": settings.endpoint_id} if settings.endpoint_id is not None else {}

    async def send(self, events: Sequence[Event]) -> None:
        """Put the events. Raises: Rejected for one that is too large or malformed, Retry for one to try again."""
        eventbridge = await self._client()

        async def put(request: Sequence[Entry]) -> Failures:
            answer = await eventbridge.put_events(Entries=[entry.request for entry in request], **self._endpoint)
            return {
                entry.event.id: failure_of(result["ErrorCode"], result.get("ErrorMessage", ""), poison=_poison(result))
                for entry, result in zip(request, answer["Entries"], strict=True)
                if result.get("ErrorCode")
            }

        await send_entries(events, self._entry, LIMITS, NEVER, put)

    async def probe(self) -> str | None:
        """Look at the bus. Says so where that is denied, since putting events may still be allowed."""
        eventbridge = await self._client()
        return await look("events:DescribeEventBus", eventbridge.describe_event_bus(Name=self.settings.event_bus))

    def preview(self, event: Event) -> Preview:
        """The entry as it would be put."""
        request = dict(self._entry(event).request)
        detail = request.pop("Detail").encode()
        bus = request.pop("EventBusName")
        request |= {"Time": request["Time"].isoformat(), "Resources": ", ".join(request["Resources"])}
        return Preview(f"events:PutEvents to {bus}", request, detail)

    def _entry(self, event: Event) -> Entry:
        detail_type, detail = self._detail(event)
        resources = [event.source] if event.source.startswith("arn:") else []
        texts = (OUR_SOURCE, detail_type, detail, *resources)
        request = {
            "Source": OUR_SOURCE,
            "DetailType": detail_type,
            "Detail": detail,
            "Resources": resources,
            "Time": event.time,
            "EventBusName": self.settings.event_bus,
        }
        return Entry(event, request, _TIME_BYTES + sum(len(text.encode()) for text in texts))

    def _detail(self, event: Event) -> tuple[str, str]:
        """Detail type and detail. What AWS's own JSON says beside its detail, EventBridge adds by itself."""
        if self.settings.format == "eventbridge":
            found = detail_of(event)
            return found.detail_type, bytes_of(found.detail).decode()
        return event.type, self._format.body(event).body.decode()

    async def _client(self) -> Any:
        bus = self.settings.event_bus
        region = bus.split(":")[3] if bus.startswith("arn:") else None
        return await client_of(self.settings, self._tools, "events", region=region)


def _poison(result: dict[str, str]) -> bool:
    """Whether an entry is no good. An argument that is wrong for all of them, the bus, is a person's."""
    return result["ErrorCode"] in POISON and "EventBus" not in result.get("ErrorMessage", "")
