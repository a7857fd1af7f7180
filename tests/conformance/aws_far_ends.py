"""SNS, SQS and EventBridge: moto's server with a queue behind each, and servers that answer what moto never would."""

import json
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

from poller.testing.rigs import Answer, HttpFarEnd, Rig, opened_toolbox
from tests.conformance.far_ends import made

AWS_SECRET = "aws-secret-2b7c6b1d"
ACCOUNT = "123456789012"


class SnsByHand(HttpFarEnd):
    """SNS as far as PublishBatch goes."""

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        form = await request.post()
        entry = "PublishBatchRequestEntries.member.{}.{}"
        numbers = [n for n in range(1, 11) if entry.format(n, "Id") in form]
        self.ids = [str(form[entry.format(n, "Id")]) for n in numbers]
        return [str(form[entry.format(n, "Message")]).encode() for n in numbers]

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        if answer in ("taken", "partial"):
            why = "<Code>InvalidParameter</Code><Message>no</Message><SenderFault>true</SenderFault>"
            failed = self.ids[1:] if answer == "partial" else []
            members = "".join(f"<member><Id>{one}</Id>{why}</member>" for one in failed)
            result = f"<PublishBatchResult><Failed>{members}</Failed></PublishBatchResult>"
            return web.Response(text=f"<R>{result}<GetTopicAttributesResult/></R>")
        status, code = (400, "InvalidParameter") if answer == "poison" else (503, "ServiceUnavailable")
        words = f"<Error><Code>{code}</Code><Message>Invalid parameter: Message Reason: no</Message></Error>"
        return web.Response(status=status, text=f"<ErrorResponse>{words}</ErrorResponse>")


class JsonByHand(HttpFarEnd):
    """A service of AWS that speaks JSON, as far as one operation goes.

    Args: `operation` is the one that takes entries, `member` what it calls the body of an entry.
    """

    operation: str
    member: str

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        asked = await request.json()
        self.entries: list[Mapping[str, Any]] = asked.get("Entries", [])
        is_sending = request.headers["X-Amz-Target"].endswith(f".{self.operation}")
        return [entry[self.member].encode() for entry in self.entries] if is_sending else []

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        first = {"taken": len(self.entries), "partial": 1, "poison": 0}.get(answer)
        if first is None:
            return web.json_response({"__type": "ServiceUnavailable", "message": "no"}, status=503)
        return web.json_response(self.result(first))

    def result(self, first: int) -> Mapping[str, Any]:
        """What it answers that has taken so many of the entries, and refuses those after them for good."""
        raise NotImplementedError


class SqsByHand(JsonByHand):
    operation, member = "SendMessageBatch", "MessageBody"

    def result(self, first: int) -> Mapping[str, Any]:
        failed = {"Code": "InvalidMessageContents", "Message": "bad letters", "SenderFault": True}
        return {"Failed": [failed | {"Id": entry["Id"]} for entry in self.entries[first:]]}


class EventBridgeByHand(JsonByHand):
    operation, member = "PutEvents", "Detail"

    def result(self, first: int) -> Mapping[str, Any]:
        failed = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        return {"Entries": [{"EventId": "x"} if n < first else failed for n in range(len(self.entries))]}


class Queue:
    """A queue of moto, and all that was ever in it, in order of arrival."""

    def __init__(self, sqs: Any, name: str) -> None:
        self.sqs, self.name = sqs, name
        self.arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
        self.url = ""
        self.bodies: list[bytes] = []
        self._kept: Any = None

    async def make(self) -> None:
        attributes = {"FifoQueue": "true"} if self.name.endswith(".fifo") else {}
        self.url = (await self.sqs.create_queue(QueueName=self.name, Attributes=attributes))["QueueUrl"]

    async def received(self) -> Sequence[bytes]:
        while messages := (await self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)).get("Messages"):
            self.bodies += [self.body_of(message["Body"]) for message in messages]
            read = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            await self.sqs.delete_message_batch(QueueUrl=self.url, Entries=read)
        return self.bodies

    def body_of(self, message: str) -> bytes:
        return message.encode()

    @property
    def _place(self) -> tuple[MutableMapping[str, Any], str]:
        """Where moto keeps what the sink sends to, and under which name."""
        from moto.sqs.models import sqs_backends

        return sqs_backends[ACCOUNT]["us-east-1"].queues, self.name

    def answers(self, answer: Answer) -> None:
        """Down: there is no such thing."""
        kept, name = self._place
        if answer == "down":
            self._kept = kept.pop(name)
        elif answer == "taken" and name not in kept:
            kept[name] = self._kept

    async def reached(self) -> None:
        raise NotImplementedError


class Topic(Queue):
    """A topic of moto, with a queue that subscribes to it."""

    def __init__(self, sns: Any, sqs: Any, name: str) -> None:
        super().__init__(sqs, name)
        self.sns = sns
        self.topic_arn = self.arn.replace(":sqs:", ":sns:")

    async def make(self) -> None:
        await super().make()
        fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
        await self.sns.create_topic(Name=self.name, Attributes=fifo if self.name.endswith(".fifo") else {})
        raw = {"RawMessageDelivery": "true"}
        await self.sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=self.arn, Attributes=raw)

    @property
    def _place(self) -> tuple[MutableMapping[str, Any], str]:
        from moto.sns.models import sns_backends

        return sns_backends[ACCOUNT]["us-east-1"].topics, self.topic_arn


class Bus(Queue):
    """A bus of moto, with a rule whose target is a queue; what is received is the detail of each event."""

    def __init__(self, events: Any, sqs: Any, name: str, pattern: Mapping[str, Any]) -> None:
        super().__init__(sqs, name)
        self.events, self.pattern = events, pattern

    async def make(self) -> None:
        await super().make()
        await self.events.create_event_bus(Name=self.name)
        rule = {"Name": self.name, "EventBusName": self.name}
        await self.events.put_rule(**rule, EventPattern=json.dumps(self.pattern))
        await self.events.put_targets(
            Rule=self.name, EventBusName=self.name, Targets=[{"Id": "queue", "Arn": self.arn}]
        )

    def body_of(self, message: str) -> bytes:
        detail = json.loads(message)["detail"]
        return json.dumps(detail, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def _place(self) -> tuple[MutableMapping[str, Any], str]:
        from moto.events.models import events_backends

        return events_backends[ACCOUNT]["us-east-1"].event_buses, self.name


NAMES_NO_PAUSE: dict[Answer, str] = {"busy": "AWS says that it is too much, and not when to come again"}
MOTO_ANSWERS = NAMES_NO_PAUSE | dict.fromkeys(
    ("poison", "partial", "hang", "reset"), "moto always answers, see the one by hand"
)


@asynccontextmanager
async def sns_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = SnsByHand()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        arn = f"arn:aws:sns:eu-west-1:{ACCOUNT}:runs"
        table = {"name": "topic", "type": "sns", "topic_arn": arn, "endpoint_url": far_end.url}
        yield Rig(made(kind, table, tools), far_end, table, (AWS_SECRET,), NAMES_NO_PAUSE)


@asynccontextmanager
async def sqs_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = SqsByHand()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        table = {
            "name": "queue",
            "type": "sqs",
            "queue_url": f"{far_end.url}{ACCOUNT}/runs",
            "region": "eu-west-1",
        }
        yield Rig(made(kind, table, tools), far_end, table, (AWS_SECRET,), NAMES_NO_PAUSE)


@asynccontextmanager
async def eventbridge_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = EventBridgeByHand()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        table = {"name": "bus", "type": "eventbridge", "region": "eu-west-1", "endpoint_url": far_end.url}
        yield Rig(made(kind, table, tools), far_end, table, (AWS_SECRET,), NAMES_NO_PAUSE)


@asynccontextmanager
async def moto_topic_rig(kind: type[Any], directory: Path, url: str, suffix: str) -> AsyncIterator[Rig]:
    async with opened_toolbox(directory) as tools:
        sns, sqs = [await tools.aws_client(name, region="us-east-1", endpoint_url=url) for name in ("sns", "sqs")]
        far_end = Topic(sns, sqs, f"runs-{uuid4().hex}{suffix}")
        await far_end.make()
        table = {"name": "topic", "type": "sns", "topic_arn": far_end.topic_arn, "endpoint_url": url}
        yield Rig(made(kind, table, tools), far_end, table, (AWS_SECRET,), MOTO_ANSWERS)


@asynccontextmanager
async def moto_queue_rig(kind: type[Any], directory: Path, url: str, suffix: str) -> AsyncIterator[Rig]:
    async with opened_toolbox(directory) as tools:
        sqs = await tools.aws_client("sqs", region="us-east-1", endpoint_url=url)
        far_end = Queue(sqs, f"runs-{uuid4().hex}{suffix}")
        await far_end.make()
        table = {"name": "queue", "type": "sqs", "queue_url": far_end.url, "region": "us-east-1"}
        yield Rig(made(kind, table, tools), far_end, table, (AWS_SECRET,), MOTO_ANSWERS)


@asynccontextmanager
async def moto_bus_rig(kind: type[Any], directory: Path, url: str) -> AsyncIterator[Rig]:
    async with opened_toolbox(directory) as tools:
        events, sqs = [await tools.aws_client(name, region="us-east-1", endpoint_url=url) for name in ("events", "sqs")]
        far_end = Bus(events, sqs, f"runs-{uuid4().hex}", {"source": ["healthomics-poller"]})
        await far_end.make()
        table = {
            "name": "bus",
            "type": "eventbridge",
            "event_bus": far_end.name,
            "region": "us-east-1",
            "endpoint_url": url,
        }
        yield Rig(made(kind, table, tools), far_end, table, (AWS_SECRET,), MOTO_ANSWERS)
