"""EventBridge: what is put, how large it is, what is rejected. Delivery itself: tests/conformance/test_sinks.py."""

import json
from importlib.util import find_spec
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from poller.core.errors import ConfigError, Partial, Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks import eventbridge as module
from poller.sinks.aws_events import aws_event
from poller.sinks.eventbridge import EventBridgeSettings, EventbridgeSink
from tests.unit.sinks.aws_rig import AwsTools, Client, always, refused

BUS_ARN = "arn:aws:events:eu-west-1:123456789012:event-bus/runs"


def sink_to(client: Client, **keys: Any) -> tuple[EventbridgeSink, AwsTools]:
    tools = AwsTools(client)
    table = {"name": "bus", "type": "eventbridge", **keys}
    return EventbridgeSink(EventBridgeSettings.model_validate(table), tools), tools


def taking(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"FailedEntryCount": 0, "Entries": [{"EventId": "x"} for _ in arguments["Entries"]]}


async def test_an_event_on_the_default_bus() -> None:
    client = Client(taking)
    event = sample_event("failed")
    await sink_to(client)[0].send([event])
    assert client.calls == [
        (
            "put_events",
            {
                "Entries": [
                    {
                        "Source": "healthomics-poller",
                        "DetailType": "healthomics.run.failed",
                        "Detail": event.to_json(),
                        "Resources": ["arn:aws:omics:us-east-1:123456789012:run/1234567"],
                        "Time": event.time,
                        "EventBusName": "default",
                    }
                ]
            },
        )
    ]


async def put(event: Event, **keys: Any) -> dict[str, Any]:
    """The entry that a sink with these settings puts."""
    client = Client(taking)
    await sink_to(client, **keys)[0].send([event])
    ((_, arguments),) = client.calls
    (entry,) = arguments["Entries"]
    return dict(entry)


async def test_in_the_format_of_aws_detail_type_and_detail_are_those_of_its_own_events() -> None:
    event = sample_event("failed")
    entry = await put(event, format="eventbridge")
    assert (entry["Source"], entry["DetailType"]) == ("healthomics-poller", "Run Status Change")
    assert json.loads(entry["Detail"]) == aws_event(event)["detail"]
    entry = await put(sample_event("overdue"), format="eventbridge")
    assert entry["DetailType"] == "healthomics.run.overdue"


async def test_a_template_makes_the_detail() -> None:
    template = '{"run": {{ data.run_id | tojson }}}'
    entry = await put(sample_event("failed"), events=["failed"], format="template", template=template)
    assert (entry["DetailType"], entry["Detail"]) == ("healthomics.run.failed", '{"run": "1234567"}')


async def test_only_arns_are_resources() -> None:
    assert (await put(sample_event("blind")))["Resources"] == []


async def test_a_global_endpoint_signs_otherwise_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(taking)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "awscrt" else find_spec(name))
    with pytest.raises(ConfigError, match=r'endpoint_id needs .* pip install "healthomics-poller\[crt\]"'):
        sink_to(client, endpoint_id="abcde.veo")
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    await sink_to(client, endpoint_id="abcde.veo")[0].send([sample_event()])
    assert client.calls[0][1]["EndpointId"] == "abcde.veo"


async def test_failures_are_told_by_their_place_in_the_answer() -> None:
    codes = ["MalformedDetail", None, "ThrottlingException", "InternalFailure", "NotAuthorizedForSourceException"]

    def script(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        results = [{"ErrorCode": code, "ErrorMessage": "because"} if code else {"EventId": "x"} for code in codes]
        return {"FailedEntryCount": 4, "Entries": results}

    events = [sample_event(run_id=str(number)) for number in range(5)]
    with pytest.raises(Partial) as caught:
        await sink_to(Client(script))[0].send(events)
    kinds = [type(caught.value.failures.get(event.id)) for event in events]
    assert kinds == [Rejected, type(None), Retry, Retry, Retry]
    throttled = caught.value.failures[events[2].id]
    assert isinstance(throttled, Retry)
    assert throttled.crowded


async def test_a_bus_that_is_wrong_is_a_persons() -> None:
    def script(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"Entries": [{"ErrorCode": "InvalidArgument", "ErrorMessage": "EventBusName is wrong"}]}

    with pytest.raises(Retry):
        await sink_to(Client(script))[0].send([sample_event()])


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException", "InternalException"])
async def test_what_a_person_mends_is_tried_again(code: str) -> None:
    with pytest.raises(Retry, match=code):
        await sink_to(Client(always(refused(code))))[0].send([sample_event()])


async def test_the_size_of_an_entry_is_counted_as_eventbridge_counts_it() -> None:
    """14 bytes of time, then source, type, detail and resources in UTF-8; up to 1 MiB the service decides."""
    bare = sample_event("failed", status_message="")
    beside = 14 + len("healthomics-poller") + len(bare.type) + len(bare.source) + len(bare.body)
    room = 1024 * 1024 - beside
    client = Client(taking)
    sink, _ = sink_to(client)
    await sink.send([sample_event("failed", status_message="é" * (room // 2) + "x" * (room % 2))])
    assert len(client.calls) == 1
    with pytest.raises(Rejected, match="has 1,048,577 bytes, 1 more than the 1,048,576 that EventBridge takes"):
        await sink.send([sample_event("failed", status_message="x" * (room + 1))])


async def test_together_entries_have_no_more_than_any_region_takes() -> None:
    client = Client(taking)
    events = [sample_event(run_id=str(number), status_message="x" * 90_000) for number in range(4)]
    await sink_to(client)[0].send(events)
    assert [len(arguments["Entries"]) for _, arguments in client.calls] == [2, 2]


async def test_the_client_is_that_of_the_bus() -> None:
    defaults = {"profile": None, "role_arn": None, "endpoint_url": None}
    for bus, region in (("default", None), ("runs", None), (BUS_ARN, "eu-west-1")):
        sink, tools = sink_to(Client(taking), event_bus=bus)
        await sink.send([sample_event()])
        assert tools.asked == [{"service": "events", "region": region, **defaults}]


async def test_a_probe_looks_at_the_bus() -> None:
    client = Client()
    assert await sink_to(client, event_bus=BUS_ARN)[0].probe() is None
    assert client.calls == [("describe_event_bus", {"Name": BUS_ARN})]
    note = await sink_to(Client(always(refused("AccessDeniedException"))))[0].probe()
    assert note is not None
    assert note.startswith("events:DescribeEventBus is denied")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        await sink_to(Client(always(refused("ResourceNotFoundException"))))[0].probe()


@pytest.mark.parametrize(
    "key", [{"event_bus": "a bus"}, {"event_bus": "arn:aws:sns:eu-west-1:1:x"}, {"endpoint_id": "a"}]
)
def test_what_is_no_bus_and_no_endpoint_is_refused(key: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        EventBridgeSettings.model_validate({"name": "b", "type": "eventbridge", **key})
