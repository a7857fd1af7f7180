"""SQS: what is sent, what is rejected, and which queue it goes to. Delivery itself: tests/conformance/test_sinks.py."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from poller.core.errors import Partial, Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks.sqs import SqsSettings, SqsSink
from tests.unit.sinks.aws_rig import AwsTools, Client, always, refused

STANDARD = "https://sqs.eu-west-1.amazonaws.com/123456789012/runs"
FIFO = STANDARD + ".fifo"


def sink_to(client: Client, url: str = STANDARD, **keys: Any) -> tuple[SqsSink, AwsTools]:
    tools = AwsTools(client)
    table = {"name": "queue", "type": "sqs", "queue_url": url, **keys}
    return SqsSink(SqsSettings.model_validate(table), tools), tools


async def sent(*events: Event, url: str = STANDARD) -> list[dict[str, Any]]:
    """The entries of the only request that these events take."""
    client = Client()
    await sink_to(client, url)[0].send(events)
    ((operation, arguments),) = client.calls
    assert (operation, arguments["QueueUrl"]) == ("send_message_batch", url)
    entries: list[dict[str, Any]] = arguments["Entries"]
    return entries


async def test_a_message_in_a_standard_queue() -> None:
    event = sample_event("failed", run_group_id=None)
    assert await sent(event) == [
        {
            "Id": event.id,
            "MessageBody": event.to_json(),
            "MessageAttributes": {
                "type": {"DataType": "String", "StringValue": "healthomics.run.failed"},
                "status": {"DataType": "String", "StringValue": "FAILED"},
                "run_id": {"DataType": "String", "StringValue": "1234567"},
                "workflow_id": {"DataType": "String", "StringValue": "7654321"},
            },
        }
    ]


async def test_a_fifo_queue_keeps_the_order_of_a_run_and_drops_what_it_had() -> None:
    """The group is the run's ARN: a run of another account or region under the same id does not wait for this one."""
    event = sample_event("failed")
    (message,) = await sent(event, url=FIFO)
    assert message["MessageGroupId"] == event.source == "arn:aws:omics:us-east-1:123456789012:run/1234567"
    assert message["MessageDeduplicationId"] == event.id
    (again,) = await sent(Event(event.body, replay="r-7"), url=FIFO)
    assert again["MessageDeduplicationId"] == f"{event.id}:r-7"
    assert again["MessageAttributes"]["replay_id"]["StringValue"] == "r-7"
    assert again["MessageBody"] == message["MessageBody"]


async def test_a_batch_is_one_request_up_to_a_mebibyte() -> None:
    events = [sample_event(run_id=str(number), status_message="x" * 90_000) for number in range(SqsSink.batch_size)]
    assert len(await sent(*events)) == 10
    larger = [sample_event(run_id=str(number), status_message="x" * 110_000) for number in range(10)]
    client = Client()
    await sink_to(client)[0].send(larger)
    assert [len(arguments["Entries"]) for _, arguments in client.calls] == [9, 1]


async def test_a_message_that_is_too_large_is_rejected() -> None:
    with pytest.raises(Rejected, match="more than the 1,048,576 that SQS takes"):
        await sent(sample_event(status_message="x" * 1024 * 1024))


async def test_the_senders_fault_is_rejected_and_the_services_is_tried_again() -> None:
    codes = [("InvalidMessageContents", True), ("InternalError", False), ("RequestThrottled", True)]

    def script(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        failed = [
            {"Id": entry["Id"], "Code": code, "Message": "because", "SenderFault": fault}
            for entry, (code, fault) in zip(arguments["Entries"], codes, strict=False)
        ]
        return {"Failed": failed, "Successful": [{"Id": arguments["Entries"][-1]["Id"]}]}

    events = [sample_event(run_id=str(number)) for number in range(4)]
    with pytest.raises(Partial) as caught:
        await sink_to(Client(script))[0].send(events)
    kinds = [type(caught.value.failures.get(event.id)) for event in events]
    assert kinds == [Rejected, Retry, Retry, type(None)]
    assert str(caught.value.failures[events[0].id]) == "InvalidMessageContents: because"


@pytest.mark.parametrize("code", ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "AccessDenied", "X"])
async def test_what_a_person_mends_is_tried_again(code: str) -> None:
    with pytest.raises(Retry, match=code):
        await sink_to(Client(always(refused(code))))[0].send([sample_event()])


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        (STANDARD, "eu-west-1", None),
        (FIFO, "eu-west-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/runs", "cn-north-1", None),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/runs", "us-gov-west-1", None),
        (
            "https://vpce-0a-b1.sqs.us-east-2.vpce.amazonaws.com/123456789012/runs",
            "us-east-2",
            "https://vpce-0a-b1.sqs.us-east-2.vpce.amazonaws.com",
        ),
        ("http://127.0.0.1:5000/123456789012/runs.fifo", None, "http://127.0.0.1:5000"),
    ],
)
async def test_the_url_says_region_and_address(url: str, region: str | None, endpoint: str | None) -> None:
    sink, tools = sink_to(Client(), url)
    await sink.send([sample_event()])
    defaults = {"profile": None, "role_arn": None}
    assert tools.asked == [{"service": "sqs", "region": region, "endpoint_url": endpoint, **defaults}]


async def test_the_settings_go_before_the_url() -> None:
    keys = {
        "region": "us-east-1",
        "profile": "p",
        "role_arn": "arn:aws:iam::123456789012:role/r",
        "endpoint_url": "http://127.0.0.1:5000",
    }
    sink, tools = sink_to(Client(), "http://localhost:4566/000000000000/runs", **keys)
    await sink.send([sample_event()])
    assert tools.asked == [{"service": "sqs", **keys}]


async def test_a_probe_fails_without_the_queue_and_not_without_the_right_to_look() -> None:
    client = Client()
    assert await sink_to(client)[0].probe() is None
    assert [operation for operation, _ in client.calls] == ["get_queue_attributes"]
    note = await sink_to(Client(always(refused("AccessDenied"))))[0].probe()
    assert note is not None
    assert note.startswith("sqs:GetQueueAttributes is denied")
    with pytest.raises(ClientError, match="QueueDoesNotExist"):
        await sink_to(Client(always(refused("QueueDoesNotExist"))))[0].probe()


@pytest.mark.parametrize(
    "url", ["runs", "arn:aws:sqs:us-east-1:123456789012:runs", STANDARD + "?x=1", STANDARD + "/", "https://a:b@c/runs"]
)
def test_what_is_no_queue_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        SqsSettings(name="q", type="sqs", queue_url=url)
