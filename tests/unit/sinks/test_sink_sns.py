"""SNS: what is published, what is rejected, and what a probe says. Delivery itself: tests/conformance/test_sinks.py."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from poller.core.errors import Rejected
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks.sns import MAX_BYTES, SnsSettings, SnsSink, attributes_of, group_of

STANDARD = "arn:aws:sns:eu-west-1:123456789012:runs"
FIFO = STANDARD + ".fifo"


class Topic:
    """SNS, as a client shows it."""

    def __init__(self, error: ClientError | None = None) -> None:
        self.error = error
        self.published: list[dict[str, Any]] = []

    async def publish(self, **message: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.published.append(message)
        return {}

    async def get_topic_attributes(self, **_: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {}


class Tools:
    """A toolbox that hands out one topic, and remembers how it was asked for it."""

    clock: Any = None
    directory = Path()

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.asked: list[dict[str, Any]] = []

    async def http(self, **_: bool) -> Any:
        raise NotImplementedError

    async def aws_client(self, service: str, **arguments: Any) -> Any:
        self.asked.append({"service": service, **arguments})
        return self.topic


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Publish")


def sink_to(topic: Topic, arn: str = STANDARD, **keys: Any) -> tuple[SnsSink, Tools]:
    tools = Tools(topic)
    table = {"name": "topic", "type": "sns", "topic_arn": arn, **keys}
    return SnsSink(SnsSettings.model_validate(table), tools), tools


async def test_a_message_on_a_standard_topic() -> None:
    topic = Topic()
    event = sample_event("failed")
    await sink_to(topic)[0].send([event])
    (message,) = topic.published
    assert message == {
        "TopicArn": STANDARD,
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
    topic = Topic()
    event = sample_event("failed")
    await sink_to(topic, FIFO)[0].send([event])
    (message,) = topic.published
    assert message["MessageGroupId"] == "1234567"
    assert message["MessageDeduplicationId"] == event.id


def test_groups_are_what_sns_takes_and_one_for_each_lane() -> None:
    for kind in SAMPLE_TYPES:
        assert 1 <= len(group_of(sample_event(kind))) <= 128
    assert group_of(sample_event("blind")) == "healthomics-poller/sample"
    names = ["é", "x" * 200, "x" * 201, "a b"]
    groups = {group_of(sample_event("blind", instance=name)) for name in names}
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


async def test_a_message_that_is_too_large_is_rejected_with_figures() -> None:
    """Attributes count too, and so do bytes, not letters: 256 KiB is taken, one byte more is not."""
    topic = Topic()
    sink, _ = sink_to(topic)
    bare = sample_event("failed", status_message="")
    attributes = sum(len(name) + len("String") + len(v["StringValue"]) for name, v in attributes_of(bare).items())
    room = MAX_BYTES - len(bare.body) - attributes
    await sink.send([sample_event("failed", status_message="é" * (room // 2) + "x" * (room % 2))])
    assert len(topic.published) == 1
    with pytest.raises(Rejected, match=r"the message has 262,145 bytes, 1 more than the 262,144 that SNS takes"):
        await sink.send([sample_event("failed", status_message="x" * (room + 1))])
    assert len(topic.published) == 1


@pytest.mark.parametrize("code", ["InvalidParameter", "ParameterValueInvalid", "InvalidParameterException"])
async def test_a_message_that_sns_refuses_is_rejected(code: str) -> None:
    sink, _ = sink_to(Topic(refused(code, "Invalid parameter: Message Reason: no")))
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
    sink, _ = sink_to(Topic(error))
    with pytest.raises(ClientError) as caught:
        await sink.send([sample_event()])
    assert caught.value is error


async def test_the_client_is_that_of_the_topics_region_and_of_the_settings() -> None:
    plain, tools = sink_to(Topic())
    await plain.send([sample_event()])
    defaults = {"profile": None, "role_arn": None, "endpoint_url": None}
    assert tools.asked == [{"service": "sns", "region": "eu-west-1", **defaults}]
    keys = {
        "region": "us-east-1",
        "profile": "p",
        "role_arn": "arn:aws:iam::123456789012:role/r",
        "endpoint_url": "http://127.0.0.1:5000",
    }
    special, tools = sink_to(Topic(), **keys)
    await special.send([sample_event()])
    assert tools.asked == [{"service": "sns", **keys}]


async def test_a_probe_fails_without_the_topic_and_not_without_the_right_to_look() -> None:
    assert await sink_to(Topic())[0].probe() is None
    note = await sink_to(Topic(refused("AuthorizationError")))[0].probe()
    assert note is not None
    assert "sns:Publish may be allowed" in note
    with pytest.raises(ClientError, match="NotFound"):
        await sink_to(Topic(refused("NotFound")))[0].probe()


@pytest.mark.parametrize("arn", ["runs", STANDARD.replace("sns", "sqs"), STANDARD + ":sub", STANDARD + ".fif"])
def test_what_is_no_topic_is_refused(arn: str) -> None:
    with pytest.raises(ValidationError):
        SnsSettings(name="t", type="sns", topic_arn=arn)
