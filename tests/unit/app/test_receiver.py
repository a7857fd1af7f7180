"""The receiver behind `listen` and the demonstration, over real HTTP: what it takes, what it refuses and why."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from standardwebhooks import Webhook

from poller.app.receiver import receiving
from poller.app.receiver.messages import read_message
from poller.app.receiver.receiving import Answers, Receipt, Receiver
from poller.app.receiver.serving import listening
from poller.app.receiver.verifying import SignatureError, verify
from poller.app.receiver.words import document_of, line_of, summary_of
from poller.clock import SystemClock
from poller.core.errors import Retry
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks.toolbox import Tools
from poller.sinks.webhook import WebhookSettings, WebhookSink

SECRET = "whsec_c2l4dGVlbi1ieXRlcy1hdC1sZWFzdA=="
OTHER = "whsec_bmV3ZXItc2VjcmV0LW9mLW91cnM="
NOW = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
EVENT = sample_event("failed")


def signed(body: str, *secrets: str, at: datetime = NOW, **more: str) -> dict[str, str]:
    """The headers that a sender of the specification's own library makes."""
    signatures = " ".join(Webhook(secret).sign("msg_1", at, body) for secret in secrets)
    stamp = str(int(at.timestamp()))
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signatures, **more}


# signatures


@pytest.mark.parametrize("known", [[SECRET], [OTHER, SECRET], [SECRET, OTHER]])
@pytest.mark.parametrize("by", [[SECRET], [SECRET, OTHER], [OTHER, SECRET]])
def test_any_of_the_secrets_will_do(known: list[str], by: list[str]) -> None:
    assert known[verify(signed("{}", *by), b"{}", known, now=NOW) - 1] in by


def test_a_signature_without_its_padding_and_others_beside_it_do_no_harm() -> None:
    headers = signed("{}", SECRET)
    headers["webhook-signature"] = "v1a,abc v1,??? v2,x " + headers["webhook-signature"].rstrip("=")
    assert verify(headers, b"{}", [SECRET], now=NOW) == 1


FITTING = signed("{}", SECRET)
REFUSED: list[tuple[dict[str, str], bytes, str, str]] = [
    ({}, b"{}", "a header is missing", "there is no webhook-id and no webhook-timestamp and no webhook-signature"),
    (FITTING | {"webhook-signature": ""}, b"{}", "a header is missing", "the sender does not sign"),
    (FITTING | {"webhook-timestamp": "soon"}, b"{}", "the timestamp is none", "no whole number"),
    (FITTING | {"webhook-timestamp": "-5"}, b"{}", "the timestamp is none", "no whole number"),
    (FITTING | {"webhook-timestamp": "9" * 40}, b"{}", "the timestamp is none", "no whole number"),
    (signed("{}", SECRET, at=NOW - timedelta(minutes=12)), b"{}", "too old", "is 12m old, 5m is allowed"),
    (signed("{}", SECRET, at=NOW - timedelta(seconds=301)), b"{}", "too old", "is 301s old, 5m is allowed"),
    (signed("{}", SECRET, at=NOW + timedelta(hours=1)), b"{}", "too new", "is 1h in the future, 5m is allowed"),
    (FITTING | {"webhook-signature": "v1a,abc"}, b"{}", "no v1 signature", "holds no signature that begins with v1"),
    (FITTING, b"{ }", "no signature fits", "the signature does not fit the secret"),
    (FITTING | {"webhook-id": "msg_2"}, b"{}", "no signature fits", "the body was changed on its way"),
    (FITTING | {"webhook-signature": "v1,"}, b"{}", "no signature fits", "does not fit"),
    (signed("{}", OTHER, OTHER), b"{}", "no signature fits", "none of the 2 signatures does fit the secret"),
    (FITTING, b"\xff", "the body is no text", "no UTF-8"),
]


@pytest.mark.parametrize(("headers", "body", "cause", "says"), REFUSED)
def test_why_a_request_is_refused(headers: dict[str, str], body: bytes, cause: str, says: str) -> None:
    with pytest.raises(SignatureError) as caught:
        verify(headers, body, [SECRET], now=NOW)
    assert caught.value.cause == cause
    assert says in str(caught.value)
    assert SECRET.removeprefix("whsec_") not in str(caught.value)


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_within_the_tolerance_a_clock_may_be_off(off: int) -> None:
    verify(signed("{}", SECRET, at=NOW + timedelta(seconds=off)), b"{}", [SECRET], now=NOW)


# messages


def test_a_structured_event_is_read_whole() -> None:
    message = read_message({"content-type": "application/cloudevents+json; charset=utf-8"}, EVENT.body)
    assert message.mode == "structured"
    assert message.event == EVENT.attributes


def test_a_binary_event_is_put_together_from_its_headers() -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "a/b",
        "ce-type": "t",
        "ce-subject": "sample%20%C3%A9",
    }
    message = read_message({**headers, "content-type": "application/json"}, b'{"status": "FAILED"}')
    assert message.mode == "binary"
    assert message.event == {
        "specversion": "1.0",
        "id": "1",
        "source": "a/b",
        "type": "t",
        "subject": "sample é",
        "datacontenttype": "application/json",
        "data": {"status": "FAILED"},
    }


@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        ({"content-type": "application/json"}, b'{"detail-type": "Run Status Change"}', None),
        ({}, b"", None),
        ({"content-type": "application/cloudevents+json"}, b"[]", "it is called a CloudEvent, and the body is no JSON"),
        ({"content-type": "application/cloudevents+json"}, b"{", "the body is no JSON object"),
        ({"content-type": "application/cloudevents+json"}, b'{"id": NaN}', "the body is no JSON object"),
        ({"content-type": "application/cloudevents+json"}, b'{"id": "1"}', "no specversion and no source and no type"),
        ({"content-type": "application/cloudevents+json"}, b"[" * 100_000, "the body is no JSON object"),
        ({"ce-specversion": "1.0", "ce-id": "1"}, b"{}", "its headers are a CloudEvent's, and there is no source"),
    ],
)
def test_what_is_no_cloudevent_stays_as_it_is(headers: dict[str, str], body: bytes, problem: str | None) -> None:
    message = read_message(headers, body)
    assert (message.mode, message.event, message.body) == ("raw", None, body)
    assert (problem or "") in (message.problem or "")
    assert (problem is None) == (message.problem is None)


# over HTTP


@dataclass
class Here:
    """A receiver that listens, what it was told, and a client."""

    url: str
    receiver: Receiver
    client: ClientSession
    receipts: list[Receipt] = field(default_factory=list)

    async def post(self, body: bytes | BytesIO = EVENT.body, **headers: str) -> ClientResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.post(self.url, data=body, headers=named) as answer:
            await answer.read()
            return answer


@asynccontextmanager
async def here(*secrets: str, **options: Any) -> AsyncIterator[Here]:
    receipts: list[Receipt] = []

    async def take(receipt: Receipt) -> None:
        receipts.append(receipt)

    receiver = Receiver(secrets, take, **options)
    async with listening(receiver) as url, ClientSession() as client:
        yield Here(url, receiver, client, receipts)


@asynccontextmanager
async def sink_to(url: str, tmp_path: Path, **keys: Any) -> AsyncIterator[WebhookSink]:
    tools = Tools(SystemClock(), tmp_path)
    try:
        table = {"name": "lims", "type": "webhook", "url": url, **keys}
        yield WebhookSink(WebhookSettings.model_validate(table), tools)
    finally:
        await tools.close()


async def test_what_our_sink_sends_is_accepted_and_a_repetition_is_known_again(tmp_path: Path) -> None:
    async with here(OTHER, SECRET) as receiver, sink_to(receiver.url, tmp_path, secret=SECRET) as sink:
        await sink.send([EVENT])
        await sink.send([EVENT])
        await sink.send([sample_event("completed")])
    first, again, other = receiver.receipts
    assert [one.verdict for one in receiver.receipts] == ["accepted", "repeated", "accepted"]
    assert [one.attempt for one in receiver.receipts] == [1, 2, 1]
    assert {one.secret for one in receiver.receipts} == {2}
    assert first.webhook_id == again.webhook_id == EVENT.id
    assert first.message is not None
    assert first.message.event == EVENT.attributes
    assert other.message is not None
    assert summary_of(receiver.receiver.tally) == [
        "3 requests: 2 accepted, 1 repeated",
        "accepted: 1 failed, 1 completed",
    ]


async def test_a_wrong_secret_is_refused_and_the_sink_says_what_the_receiver_said(tmp_path: Path) -> None:
    async with here(OTHER) as receiver, sink_to(receiver.url, tmp_path, secret=SECRET) as sink:
        with pytest.raises(Retry, match="answered 401: the signature does not fit the secret"):
            await sink.send([EVENT])
    (receipt,) = receiver.receipts
    assert receipt.verdict == "refused"
    assert receiver.receiver.tally.causes == {"no signature fits": 1}


async def test_a_receiver_that_recovers(tmp_path: Path) -> None:
    answers = Answers(accepted=202, failing=429, fail_first=2, retry_after=timedelta(seconds=30))
    async with here(SECRET, answers=answers) as receiver, sink_to(receiver.url, tmp_path, secret=SECRET) as sink:
        for _ in range(2):
            with pytest.raises(Retry) as caught:
                await sink.send([EVENT])
            assert caught.value.after == timedelta(seconds=30)
        await sink.send([EVENT])
    assert [(one.verdict, one.status, one.attempt) for one in receiver.receipts] == [
        ("failed", 429, 1),
        ("failed", 429, 2),
        ("accepted", 202, 3),
    ]


async def test_a_receiver_that_stays_down(tmp_path: Path) -> None:
    async with here(answers=Answers(failing=503)) as receiver, sink_to(receiver.url, tmp_path) as sink:
        for _ in range(3):
            with pytest.raises(Retry):
                await sink.send([EVENT])
    assert {one.verdict for one in receiver.receipts} == {"failed"}


async def test_a_slow_receiver_has_taken_what_its_sender_no_longer_waited_for(tmp_path: Path) -> None:
    """The reason why receivers must know ids again."""
    waiting, go = asyncio.Event(), asyncio.Event()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        waiting.set()
        await go.wait()

    answers = Answers(delay=timedelta(seconds=20))
    async with here(answers=answers, sleep=sleep) as receiver, sink_to(receiver.url, tmp_path) as sink:
        sending = asyncio.ensure_future(sink.send([EVENT]))
        await waiting.wait()
        sending.cancel()
        go.set()
        await sink.send([EVENT])
    assert waits == [20.0, 20.0]
    assert [one.verdict for one in receiver.receipts] == ["accepted", "repeated"]


async def test_a_replay_and_a_changed_content_are_marked() -> None:
    async with here() as receiver:
        await receiver.post(webhook_id="1")
        await receiver.post(webhook_id="1", replay_id="r-7")
        await receiver.post(sample_event("completed").body, webhook_id="1")
    first, replayed, changed = receiver.receipts
    assert (first.replay_id, replayed.replay_id) == (None, "r-7")
    assert (first.changed, replayed.changed, changed.changed) == (False, False, True)
    assert "(replay r-7)" in line_of(replayed)
    assert "ITS CONTENT WAS ANOTHER ONE BEFORE" in line_of(changed)


async def test_what_is_no_webhook_is_answered_so_and_told() -> None:
    async with here(SECRET) as receiver:
        async with receiver.client.get(receiver.url + "/x") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await receiver.post(BytesIO(b"x" * (receiving.LARGEST + 1)))).status == 413
        assert (await receiver.post()).status == 401
    assert [(one.verdict, one.status) for one in receiver.receipts] == [("refused", n) for n in (405, 413, 401)]
    assert summary_of(receiver.receiver.tally) == [
        "3 requests: 3 refused",
        "refused: 1 not a POST, 1 too large, 1 a header is missing",
    ]


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "READ_SECONDS", 0.05)
    async with here() as receiver:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(receiver.url.rpartition(":")[2]))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert b" 408 " in await reader.readline()
        writer.close()
    assert [one.status for one in receiver.receipts] == [408]


async def test_only_the_newest_webhooks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MOST_IDS", 3)
    async with here() as receiver:
        for identity in ("1", "2", "3", "1", "4", "1", "2"):
            await receiver.post(webhook_id=identity)
    assert [one.verdict for one in receiver.receipts] == [
        "accepted", "accepted", "accepted", "repeated", "accepted", "repeated", "accepted",
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "value"), [("MOST_AT_ONCE", 2), ("MOST_HELD", 2 * len(EVENT.body) + 1)])
async def test_no_more_is_held_at_once_than_memory_allows(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, limit, value)
    waiting, go = asyncio.Semaphore(0), asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.release()
        await go.wait()

    async with here(answers=Answers(delay=timedelta(seconds=1)), sleep=sleep) as receiver:
        held = [asyncio.ensure_future(receiver.post()) for _ in range(2)]
        for _ in range(2):
            await waiting.acquire()
        assert (await receiver.post()).status == 503
        go.set()
        assert [(await one).status for one in held] == [204, 204]
        assert (await receiver.post()).status == 204, "what was held is let go"


async def test_types_are_counted_without_end_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MOST_TYPES", 2)
    async with here() as receiver:
        for kind in ("failed", "completed", "cancelled", "failed"):
            await receiver.post(sample_event(kind).body, content_type="application/cloudevents+json")
    assert receiver.receiver.tally.types == {
        "healthomics.run.failed": 2,
        "healthomics.run.completed": 1,
        "other": 1,
    }


# how it is shown


async def test_every_type_of_event_can_be_shown() -> None:
    async with here() as receiver:
        for kind in SAMPLE_TYPES:
            event = sample_event(kind)
            await receiver.post(event.body, content_type="application/cloudevents+json", webhook_id=event.id)
    for receipt, kind in zip(receiver.receipts, SAMPLE_TYPES, strict=True):
        event = sample_event(kind)
        line = line_of(receipt)
        assert all(part in line for part in ("accepted", event.kind, event.subject, event.id))
        assert json.loads(json.dumps(document_of(receipt)))["event"] == event.attributes


async def test_nothing_that_a_sender_writes_moves_a_cursor_or_fills_the_screen() -> None:
    awkward = json.loads(sample_event("failed", name="\x1b[31m\n\u202e" + "n" * 5000).body) | {"subject": "\x07" * 3}
    async with here() as receiver:
        await receiver.post(json.dumps(awkward).encode(), content_type="application/cloudevents+json")
        await receiver.post(b"\x1b", webhook_id="i" * 5000, content_type="a\u202eb" * 500)
    for receipt in receiver.receipts:
        assert line_of(receipt).isprintable()
        assert len(line_of(receipt)) < 600


async def test_credentials_of_a_sender_are_masked() -> None:
    async with here() as receiver:
        await receiver.post(
            authorization="Bearer tok-5f0c", x_api_key="key-5f0c", cookie="a=5f0c", webhook_signature="v1,s"
        )
    document = document_of(receiver.receipts[0])
    assert "5f0c" not in json.dumps(document)
    assert document["headers"]["webhook-signature"] == "v1,s"
