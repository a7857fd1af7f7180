"""The sink conformance suite over every sink, and over broken twins of them, which it must refuse.

That each test of the suite finds something is shown in `test_sink_suite.py`.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.core.values import SinkSettings
from poller.sinks import stdout as stdout_module
from poller.sinks.apprise import AppriseSink
from poller.sinks.callback import CallbackSink
from poller.sinks.eventbridge import EventbridgeSink
from poller.sinks.exec import ExecSink
from poller.sinks.file import FileSink
from poller.sinks.slack import SlackSink
from poller.sinks.sns import SnsSink
from poller.sinks.sqs import SqsSink
from poller.sinks.stdout import StdoutSink
from poller.sinks.webhook import WebhookSink
from poller.testing import sending
from poller.testing.rigs import PAUSE, Answer, HttpFarEnd, Rig, opened_toolbox
from poller.testing.sinks import SinkConformance
from tests.conformance import faults
from tests.conformance.aws_far_ends import (
    AWS_SECRET,
    eventbridge_rig,
    moto_bus_rig,
    moto_queue_rig,
    moto_topic_rig,
    sns_rig,
    sqs_rig,
)
from tests.conformance.chat_far_ends import apprise_rig, slack_bot_rig, slack_webhook_rig
from tests.conformance.exec_far_end import exec_rig
from tests.conformance.far_ends import RigMaker, made
from tests.unit.sinks.authority import Authority

SECRET = "whsec_c2l4dGVlbi1ieXRlcy1hdC1sZWFzdA=="
NEW_SECRET = "whsec_bmV3ZXItc2VjcmV0LW9mLW91cnM="
TOKEN = "tok-5f0c9a77"


# far ends


class CallbackFarEnd:
    """A coroutine function of somebody's program."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        self._answer: Answer = "taken"
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def __call__(self, event: Event) -> None:
        await asyncio.sleep(0)
        match self._answer:
            case "taken":
                self._bodies.append(event.body)
            case "poison":
                raise Rejected("not this one")
            case "busy":
                raise Retry("not now", after=PAUSE)
            case "hang":
                self._reached.set()
                await self._released.wait()
            case _:
                raise ConnectionError(self._answer)

    async def received(self) -> Sequence[bytes]:
        return self._bodies

    def answers(self, answer: Answer) -> None:
        self._answer = answer
        self._released.set()
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def reached(self) -> None:
        await self._reached.wait()


class PipeFarEnd:
    """The reader of a pipe that is standard output to the sink (pytest changes `sys.stdout` itself at every step)."""

    def __init__(self) -> None:
        self._stream = SimpleNamespace(stdout=sys.stdout)
        vars(stdout_module)["sys"] = self._stream
        self._read = b""
        self._open()

    def _open(self) -> None:
        self._end, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self._end, False)
        self._stream.stdout = os.fdopen(writing, "w")
        self._answer: Answer = "taken"
        asyncio.get_running_loop().add_reader(self._end, self._take)

    def _take(self) -> None:
        with suppress(BlockingIOError):
            while piece := os.read(self._end, 65536):
                self._read += piece

    async def received(self) -> Sequence[bytes]:
        if self._answer == "taken":
            self._take()
        lines = self._read.split(b"\n")
        assert lines.pop() == b"", "the last line is not whole"
        return [line for line in lines if line]

    def answers(self, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        if answer == "hang":
            loop.remove_reader(self._end)
            filling = os.open(f"/proc/self/fd/{self._stream.stdout.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
            with suppress(BlockingIOError):
                while True:
                    os.write(filling, b"\n" * 4096)
            os.close(filling)
        elif answer == "down":
            loop.remove_reader(self._end)
            os.close(self._end)
        elif self._answer == "hang":
            loop.add_reader(self._end, self._take)
        elif self._answer == "down":
            self._stream.stdout.close()
            self._open()
        self._answer = answer

    async def reached(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def close(self) -> None:
        if self._answer != "down":
            asyncio.get_running_loop().remove_reader(self._end)
            os.close(self._end)
        self._stream.stdout.close()
        vars(stdout_module)["sys"] = sys


class DiskFarEnd:
    """The file, and whoever reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def received(self) -> Sequence[bytes]:
        aside = self.path.with_suffix(".1")
        text = b"".join(file.read_bytes() for file in (aside, self.path) if file.is_file())
        assert not text or text.endswith(b"\n")
        return text.splitlines()

    def answers(self, answer: Answer) -> None:
        if answer == "down":
            if self.path.exists():
                self.path.rename(self.path.with_suffix(".1"))
            self.path.mkdir()
        elif self.path.is_dir():
            self.path.rmdir()

    async def reached(self) -> None:
        raise NotImplementedError


# rigs


@asynccontextmanager
async def webhook_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = HttpFarEnd()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        table = {
            "name": "lims",
            "type": "webhook",
            "url": far_end.url,
            "secret": SECRET,
            "headers": {"Authorization": f"Bearer {TOKEN}", "X-Plain": "plain-9b1d"},
        }
        secrets = (SECRET, SECRET.removeprefix("whsec_"), TOKEN, "plain-9b1d")
        yield Rig(made(kind, table, tools), far_end, table, secrets)


@asynccontextmanager
async def mutual_tls_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    """Over TLS, where each shows the other a certificate, while the signing secret changes."""
    far_end, ca = HttpFarEnd(), Authority(directory)
    ca.issue("poller", password=TOKEN)
    async with far_end.serving(ca.server(clients=ca.ca_file)), opened_toolbox(directory) as tools:
        table = {
            "name": "lims",
            "type": "webhook",
            "url": far_end.url,
            "secret": [NEW_SECRET, SECRET],
            "client_certificate": "poller.crt",
            "client_key": "poller.key",
            "client_key_password": TOKEN,
            "ca_file": "ca.pem",
        }
        yield Rig(made(kind, table, tools), far_end, table, (SECRET, NEW_SECRET, TOKEN))


@asynccontextmanager
async def callback_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = CallbackFarEnd()
    table = {"name": "mine", "type": "callback", "target": "package.module:function"}
    lacks: dict[Answer, str] = {"reset": "a call has no connection"}
    yield Rig(kind.wrapping(far_end, name="mine"), far_end, table, (), lacks)


@asynccontextmanager
async def stdout_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = PipeFarEnd()
    table = {"name": "out", "type": "stdout"}
    lacks: dict[Answer, str] = {
        "busy": "a full pipe says nothing",
        "poison": "a pipe takes every line",
        "partial": "a pipe takes every line",
        "reset": "a closed pipe is down",
    }
    try:
        async with opened_toolbox(directory) as tools:
            yield Rig(made(kind, table, tools), far_end, table, (), lacks)
    finally:
        far_end.close()


@asynccontextmanager
async def file_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = DiskFarEnd(directory / "events.jsonl")
    table = {"name": "log", "type": "file", "path": "events.jsonl"}
    lacks: dict[Answer, str] = {
        "busy": "a full disk says nothing of a time",
        "poison": "a file takes every line",
        "partial": "a file takes every line",
        "hang": "a disk writes or fails",
        "reset": "a file has no connection",
    }
    async with opened_toolbox(directory) as tools:
        sink = made(kind, table, tools)
        yield Rig(sink, far_end, table, (), lacks)
        await sink.close()


@pytest.fixture(autouse=True)
def aws_secret(aws_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is told apart from what else is in a log."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)


# every sink


class OverARig(SinkConformance):
    """The suite over a sink of this kind, with the far end that is made for it."""

    make: RigMaker
    kind: type[Any]

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with type(self).make(self.kind, tmp_path) as rig:
            yield rig


class TestWebhook(OverARig):
    make = staticmethod(webhook_rig)
    kind = WebhookSink


class TestWebhookOverMutualTls(OverARig):
    make = staticmethod(mutual_tls_rig)
    kind = WebhookSink


class TestSnsByHand(OverARig):
    make = staticmethod(sns_rig)
    kind = SnsSink


class ReplaysThroughFifo:
    """FIFO drops what it had in the last five minutes: not what somebody wants sent once more."""

    async def test_what_is_sent_twice_arrives_once_and_a_replay_arrives(self, rig: Rig) -> None:
        event = sample_event("failed")
        for replay in (None, None, "r-1", "r-1", "r-2"):
            await rig.sink.send([Event(event.body, replay=replay)])
        assert list(await rig.far_end.received()) == [event.body] * 3


@pytest.mark.service
class TestSnsStandard(SinkConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path, moto_url: str) -> AsyncIterator[Rig]:
        async with moto_topic_rig(SnsSink, tmp_path, moto_url, "") as rig:
            yield rig


@pytest.mark.service
class TestSnsFifo(SinkConformance, ReplaysThroughFifo):
    @pytest.fixture
    async def rig(self, tmp_path: Path, moto_url: str) -> AsyncIterator[Rig]:
        async with moto_topic_rig(SnsSink, tmp_path, moto_url, ".fifo") as rig:
            yield rig


class TestSqsByHand(OverARig):
    make = staticmethod(sqs_rig)
    kind = SqsSink


@pytest.mark.service
class TestSqsStandard(SinkConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path, moto_url: str) -> AsyncIterator[Rig]:
        async with moto_queue_rig(SqsSink, tmp_path, moto_url, "") as rig:
            yield rig


@pytest.mark.service
class TestSqsFifo(SinkConformance, ReplaysThroughFifo):
    @pytest.fixture
    async def rig(self, tmp_path: Path, moto_url: str) -> AsyncIterator[Rig]:
        async with moto_queue_rig(SqsSink, tmp_path, moto_url, ".fifo") as rig:
            yield rig


class TestEventBridgeByHand(OverARig):
    make = staticmethod(eventbridge_rig)
    kind = EventbridgeSink


@pytest.mark.service
class TestEventBridge(SinkConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path, moto_url: str) -> AsyncIterator[Rig]:
        async with moto_bus_rig(EventbridgeSink, tmp_path, moto_url) as rig:
            yield rig


class TestSlackWebhook(OverARig):
    make = staticmethod(slack_webhook_rig)
    kind = SlackSink


class TestSlackBot(OverARig):
    make = staticmethod(slack_bot_rig)
    kind = SlackSink


class TestApprise(OverARig):
    make = staticmethod(apprise_rig)
    kind = AppriseSink


class TestExec(OverARig):
    make = staticmethod(exec_rig)
    kind = ExecSink


class TestCallback(OverARig):
    make = staticmethod(callback_rig)
    kind = CallbackSink


class TestStdout(OverARig):
    make = staticmethod(stdout_rig)
    kind = StdoutSink


class TestFile(OverARig):
    make = staticmethod(file_rig)
    kind = FileSink


# broken twins: each is a sink with one fault, and the test of the suite that must find it


class Honest:
    """No fault."""


def with_settings(kind: type[Any], fault: type) -> type[Any]:
    """The sink with a fault in it, one of its settings where the fault is there."""
    members: dict[str, Any] = {}
    base: Any = kind.settings_model
    if fault is TakesUnknownKeys:
        members["settings_model"] = type("Loose", (base,), {"model_config": {"extra": "allow"}, "__module__": __name__})
    if fault is ExplainsNothing:
        annotations = {"__annotations__": {"retries": int}, "retries": Field(3), "__module__": __name__}
        members["settings_model"] = type("Silent", (base,), annotations)
    return type(f"{fault.__name__}{kind.__name__}", (fault, kind), members)


class TakesUnknownKeys:
    pass


class ExplainsNothing:
    pass


FAULTS: Mapping[type, str] = {
    faults.SwallowsErrors: "test_a_far_end_that_is_down_is_a_reason_to_retry",
    faults.ChangesBytes: "test_what_is_acknowledged_has_arrived",
    faults.EscapesLetters: "test_the_bytes_arrive_unchanged",
    faults.CountsAttempts: "test_another_attempt_sends_the_same_bytes",
    faults.AcknowledgesFirst: "test_what_is_acknowledged_has_arrived",
    faults.DoesNotWait: "test_nothing_is_acknowledged_while_the_far_end_is_silent",
    faults.RejectsOutages: "test_a_far_end_that_is_down_is_a_reason_to_retry",
    faults.NeverRejects: "test_an_event_that_is_refused_for_good_is_rejected",
    faults.ShowsItsSecret: "test_no_secret_is_shown",
    faults.SharesState: "test_sends_at_the_same_time_do_not_mix",
    faults.BreaksWhenCancelled: "test_a_send_that_is_cancelled_leaves_the_sink_usable",
    faults.LeavesTasks: "test_a_send_that_is_cancelled_leaves_the_sink_usable",
    faults.SendsHalfABatch: "test_a_batch_arrives_whole_and_in_order",
    faults.ProbesBySending: "test_a_probe_sends_nothing",
    faults.ClosesOnce: "test_closing_is_possible_at_any_time_and_twice",
    TakesUnknownKeys: "test_the_settings_refuse_unknown_keys",
    ExplainsNothing: "test_every_key_of_the_settings_is_explained",
}
RIGS: Mapping[type, RigMaker] = {
    WebhookSink: webhook_rig,
    SnsSink: sns_rig,
    SqsSink: sqs_rig,
    EventbridgeSink: eventbridge_rig,
    SlackSink: slack_bot_rig,
    AppriseSink: apprise_rig,
    ExecSink: exec_rig,
    CallbackSink: callback_rig,
    StdoutSink: stdout_rig,
    FileSink: file_rig,
}
NO_SUCH_FAULT = {
    (faults.DoesNotWait, FileSink): "a disk is never silent",
    (faults.NeverRejects, FileSink): "it rejects nothing",
    (faults.NeverRejects, StdoutSink): "it rejects nothing",
    (faults.ShowsItsSecret, CallbackSink): "it has no secrets",
    (faults.ShowsItsSecret, FileSink): "it has no secrets",
    (faults.ShowsItsSecret, StdoutSink): "it has no secrets",
    (faults.SendsHalfABatch, WebhookSink): "it has no batches",
    (faults.SendsHalfABatch, CallbackSink): "it has no batches",
    (faults.SendsHalfABatch, SlackSink): "it has no batches",
    (faults.SendsHalfABatch, ExecSink): "it has no batches",
    (faults.SendsHalfABatch, AppriseSink): "it has no batches",
    (faults.NeverRejects, AppriseSink): "it rejects nothing",
    (faults.ChangesBytes, AppriseSink): "it sends a message of its own",
    (faults.EscapesLetters, AppriseSink): "it sends a message of its own",
    (faults.CountsAttempts, AppriseSink): "it sends a message of its own",
    (faults.ChangesBytes, SlackSink): "it draws a message of its own",
    (faults.EscapesLetters, SlackSink): "it draws a message of its own",
    (faults.CountsAttempts, SlackSink): "it draws a message of its own",
}
TWINS = [
    pytest.param(kind, fault, id=f"{kind.__name__}-{fault.__name__}")
    for kind in RIGS
    for fault in FAULTS
    if (fault, kind) not in NO_SUCH_FAULT
]


async def run_test(name: str, kind: type[Any], fault: type, directory: Path) -> None:
    async with RIGS[kind](with_settings(kind, fault), directory) as rig:
        if fault is faults.ShowsItsSecret:
            type(rig.sink).planted = rig.secrets[0]  # type: ignore[attr-defined]
        await getattr(SinkConformance(), name)(rig)


@pytest.mark.parametrize(("kind", "fault"), TWINS)
async def test_the_suite_refuses_a_broken_twin(
    kind: type, fault: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test that names the fault passes for the honest sink, and fails for the same sink with the fault in it."""
    for name in ("honest", "broken"):
        (tmp_path / name).mkdir()
    await run_test(FAULTS[fault], kind, Honest, tmp_path / "honest")
    monkeypatch.setattr(sending, "PATIENCE", 2.0)
    with pytest.raises((AssertionError, pytest.fail.Exception, RuntimeError)):
        await run_test(FAULTS[fault], kind, fault, tmp_path / "broken")
    await faults.end_what_is_left()


def test_settings_of_every_sink_have_a_name_and_a_type() -> None:
    for kind in RIGS:
        assert issubclass(kind.settings_model, SinkSettings)  # type: ignore[attr-defined]
