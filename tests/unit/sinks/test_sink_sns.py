"""SNS: what is published, what is rejected, and what a probe says. Delivery itself: tests/conformance/test_sinks.py."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from poller.core.errors import Partial, Rejected, Retry
from poller.core.events import Event
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks.aws_messages import attributes_of
from poller.sinks.sns import SnsSettings, SnsSink
from tests.unit.sinks.aws_rig import AwsTools, Client, Script, always, refused

STANDARD = "arn:aws:sns:eu-west-1:123456789012:runs"
FIFO = STANDARD + ".fifo"


def sink_to(client: Client, arn: str = STANDARD, **keys: Any) -> tuple[SnsSink, AwsTools]:
    tools = AwsTools(client)
    table = {"name": "topic", "type": "sns", "topic_arn": arn, **keys}
    return SnsSink(SnsSettings.model_validate(table), tools), tools


async def published(*events: Event, arn: str = STANDARD) -> list[dict[str, Any]]:
    """The entries of the only request that these events take."""
    client = Client()
    await sink_to(client, arn)[0].send(events)
    ((operation, arguments),) = client.calls
    assert operation == "publish_batch"
    assert arguments["TopicArn"] == arn
    entries: list[dict[str, Any]] = arguments["PublishBatchRequestEntries"]
    return entries


async def test_a_message_on_a_standard_topic() -> None:
    event = sample_event("failed")
    (message,) = await published(event)
    assert message == {
        "Id": event.id,
        "Message": event.to_json(),
        "MessageAttributes": {
            "type": {"DataType": "String", "StringValue": "healthomics.run.failed"},
            "status": {"DataType": "String", "StringValue": "FAILED"},
            "run_id": {"DataType": "String", "StringValue": "1234567"},
            "workflow_id": {"DataType": "String", "StringValue": "7654321"},
            "run_group_id": {"DataType": "String", "StringValue": "2345678"},
        },
    }


async def test_a_fifo_topic_keeps_the_order_of_a_run_and_drops_what_it_had() -> None:
    event = sample_event("failed")
    (message,) = await published(event, arn=FIFO)
    assert message["MessageGroupId"] == "1234567"
    assert message["MessageDeduplicationId"] == event.id


async def test_a_replay_is_another_message_on_a_fifo_topic_with_the_same_body() -> None:
    event = sample_event("failed")
    again = Event(event.body, replay="r-7")
    (message,) = await published(again, arn=FIFO)
    assert message["Message"] == event.to_json()
    assert message["MessageDeduplicationId"] == f"{event.id}:r-7"
    assert message["MessageAttributes"]["replay_id"] == {"DataType": "String", "StringValue": "r-7"}
    assert len(message["MessageDeduplicationId"]) <= 128
    (plain,) = await published(again)
    assert "MessageDeduplicationId" not in plain


async def test_a_batch_is_one_request() -> None:
    events = [sample_event("failed", run_id=str(number)) for number in range(1, SnsSink.batch_size + 1)]
    messages = await published(*events)
    assert [message["Message"] for message in messages] == [event.to_json() for event in events]


async def test_groups_are_what_sns_takes_and_one_for_each_lane() -> None:
    async def group_of(event: Event) -> str:
        (message,) = await published(event, arn=FIFO)
        return str(message["MessageGroupId"])

    for kind in SAMPLE_TYPES:
        assert 1 <= len(await group_of(sample_event(kind))) <= 128
    assert await group_of(sample_event("blind")) == "healthomics-poller/sample"
    names = ["é", "x" * 200, "x" * 201, "a b"]
    groups = {await group_of(sample_event("blind", instance=name)) for name in names}
    assert len(groups) == len(names)
    assert all(group.isascii() and len(group) <= 128 and " " not in group for group in groups)


def test_attributes_that_are_not_known_are_not_there() -> None:
    assert attributes_of(sample_event("heartbeat")).keys() == {"type"}
    assert attributes_of(sample_event("vanished")).keys() == {"type", "run_id", "workflow_id", "run_group_id"}
    assert attributes_of(sample_event("failed", run_group_id=None)).keys() == {
        "type",
        "status",
        "run_id",
        "workflow_id",
    }


def with_room(bytes_: int) -> Event:
    """An event whose message has so many bytes with its attributes."""
    bare = sample_event("failed", status_message="")
    attributes = sum(len(name) + len("String") + len(v["StringValue"]) for name, v in attributes_of(bare).items())
    room = bytes_ - len(bare.body) - attributes
    return sample_event("failed", status_message="é" * (room // 2) + "x" * (room % 2))


async def test_a_message_that_is_too_large_is_rejected_with_figures() -> None:
    """Attributes count too, and so do bytes, not letters: 1 MiB is left to the topic, one byte more is not."""
    await published(with_room(1024 * 1024))
    with pytest.raises(Rejected, match=r"the message has 1,048,577 bytes, 1 more than the 1,048,576 that SNS takes"):
        await published(with_room(1024 * 1024 + 1))


async def test_together_messages_have_no_more_than_any_topic_takes() -> None:
    client = Client()
    half = 128 * 1024
    await sink_to(client)[0].send([with_room(half), with_room(half), with_room(1), with_room(300 * 1024)])
    assert [len(arguments["PublishBatchRequestEntries"]) for _, arguments in client.calls] == [2, 1, 1]


def failing(*entries: dict[str, Any]) -> Script:
    def script(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        sent = arguments["PublishBatchRequestEntries"]
        return {"Failed": [{"Id": one["Id"], **entry} for one, entry in zip(sent, entries, strict=False) if entry]}

    return script


async def test_of_a_batch_that_fails_in_part_only_the_failed_ones_are_named() -> None:
    never = {"Code": "InvalidParameter", "Message": "bad letters", "SenderFault": True}
    later = {"Code": "InternalError", "Message": "oops", "SenderFault": False}
    mended = {"Code": "KMSAccessDenied", "Message": "no key", "SenderFault": True}
    events = [sample_event(run_id=str(number)) for number in range(4)]
    with pytest.raises(Partial) as caught:
        await sink_to(Client(failing(never, {}, later, mended)))[0].send(events)
    failures = caught.value.failures
    assert failures.keys() == {events[0].id, events[2].id, events[3].id}
    assert isinstance(failures[events[0].id], Rejected)
    assert str(failures[events[0].id]) == "InvalidParameter: bad letters"
    assert isinstance(failures[events[2].id], Retry)
    assert isinstance(failures[events[3].id], Retry), "a key is mended by a person"


@pytest.mark.parametrize("code", ["InvalidParameter", "ParameterValueInvalid", "InvalidParameterException"])
async def test_a_message_that_sns_refuses_is_rejected(code: str) -> None:
    sink, _ = sink_to(Client(always(refused(code, "Invalid parameter: Message Reason: no"))))
    with pytest.raises(Rejected, match="Message Reason"):
        await sink.send([sample_event()])


@pytest.mark.parametrize(
    "error",
    [
        refused("NotFound", "Topic does not exist"),
        refused("AuthorizationError"),
        refused("AccessDenied"),
        refused("Throttled"),
        refused("KMSAccessDenied"),
        refused("InternalError"),
        refused("ExpiredToken"),
        refused("InvalidParameter", "Invalid parameter: TopicArn"),
    ],
    ids=lambda error: f"{error.response['Error']['Code']}",
)
async def test_what_a_person_mends_is_tried_again(error: ClientError) -> None:
    """Also a wrong topic, which SNS calls an invalid parameter: it is wrong for every event, so no event is dead."""
    sink, _ = sink_to(Client(always(error)))
    with pytest.raises(Retry) as caught:
        await sink.send([sample_event()])
    assert str(caught.value) == str(error)


async def test_the_client_is_that_of_the_topics_region_and_of_the_settings() -> None:
    plain, tools = sink_to(Client())
    await plain.send([sample_event()])
    defaults = {"profile": None, "role_arn": None, "endpoint_url": None}
    assert tools.asked == [{"service": "sns", "region": "eu-west-1", **defaults}]
    keys = {
        "region": "us-east-1",
        "profile": "p",
        "role_arn": "arn:aws:iam::123456789012:role/r",
        "endpoint_url": "http://127.0.0.1:5000",
    }
    special, tools = sink_to(Client(), **keys)
    await special.send([sample_event()])
    assert tools.asked == [{"service": "sns", **keys}]


async def test_a_probe_fails_without_the_topic_and_not_without_the_right_to_look() -> None:
    assert await sink_to(Client())[0].probe() is None
    note = await sink_to(Client(always(refused("AuthorizationError"))))[0].probe()
    assert note is not None
    assert note.startswith("sns:GetTopicAttributes is denied")
    with pytest.raises(ClientError, match="NotFound"):
        await sink_to(Client(always(refused("NotFound"))))[0].probe()


@pytest.mark.parametrize("arn", ["runs", STANDARD.replace("sns", "sqs"), STANDARD + ":sub", STANDARD + ".fif"])
def test_what_is_no_topic_is_refused(arn: str) -> None:
    with pytest.raises(ValidationError):
        SnsSettings(name="t", type="sns", topic_arn=arn)
