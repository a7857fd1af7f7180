"""The sink conformance suite over the sinks that take a format, with each of them."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from pydantic import Field, create_model
from standardwebhooks import Webhook

from poller.core.samples import sample_event
from poller.sinks.exec import ExecSink
from poller.sinks.file import FileSink
from poller.sinks.formats import formatter
from poller.sinks.sns import SnsSink
from poller.sinks.sqs import SqsSink
from poller.sinks.stdout import StdoutSink
from poller.sinks.webhook import WebhookSink
from poller.testing.rigs import Rig
from poller.testing.sinks import SinkConformance
from tests.conformance.aws_far_ends import AWS_SECRET, sns_rig, sqs_rig
from tests.conformance.exec_far_end import exec_rig
from tests.conformance.far_ends import RigMaker
from tests.conformance.test_sinks import SECRET, file_rig, stdout_rig, webhook_rig

TEMPLATE = '{"what": {{ kind | tojson }}, "event": {{ event | tojson }}}'
"""One line of JSON for any event, which tells all that it says."""


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)


@asynccontextmanager
async def formatted(make: RigMaker, kind: type[Any], directory: Path, **keys: Any) -> AsyncIterator[Rig]:
    """A rig whose sink sends in another format, as if its table said so."""
    base: Any = kind.settings_model
    fields: dict[str, Any] = {
        name: (str if name == "template" else Literal[value], Field(value, description="As in the test."))
        for name, value in keys.items()
    }
    members = {"settings_model": create_model(f"{base.__name__}Formatted", __base__=base, **fields)}
    async with make(type(kind.__name__, (kind,), members), directory) as rig:
        settings: Any = rig.sink
        making = formatter(settings.settings)
        rig.rendered = lambda event: making.body(event).body
        assert rig.rendered(sample_event()) != sample_event().body
        yield rig


class Formats(SinkConformance):
    """The suite over one sink, with each format."""

    make: RigMaker
    kind: type[Any]

    @pytest.fixture(
        params=[{"format": "eventbridge"}, {"format": "template", "template": TEMPLATE}],
        ids=["eventbridge", "template"],
    )
    async def rig(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
        async with formatted(type(self).make, self.kind, tmp_path, **request.param) as rig:
            yield rig


class TestWebhookFormats(Formats):
    make = staticmethod(webhook_rig)
    kind = WebhookSink


class TestWebhookBinary(SinkConformance):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        async with formatted(webhook_rig, WebhookSink, tmp_path, mode="binary") as rig:
            yield rig


class TestSnsFormats(Formats):
    make = staticmethod(sns_rig)
    kind = SnsSink


class TestSqsFormats(Formats):
    make = staticmethod(sqs_rig)
    kind = SqsSink


class TestExecFormats(Formats):
    make = staticmethod(exec_rig)
    kind = ExecSink


class TestFileFormats(Formats):
    make = staticmethod(file_rig)
    kind = FileSink


class TestStdoutFormats(Formats):
    make = staticmethod(stdout_rig)
    kind = StdoutSink


@pytest.mark.parametrize(
    "keys", [{"mode": "binary"}, {"format": "eventbridge"}, {"format": "template", "template": TEMPLATE}], ids=str
)
async def test_what_is_signed_is_what_is_sent(tmp_path: Path, keys: dict[str, str]) -> None:
    """Over a real server: the signature is of the body as it came, whatever its format."""
    requests: list[tuple[web.Request, bytes]] = []
    event = sample_event("failed", name='é "x"')

    async with formatted(webhook_rig, WebhookSink, tmp_path, **keys) as rig:
        far_end: Any = rig.far_end
        taken = far_end.bodies_of

        async def bodies_of(request: web.Request) -> Sequence[bytes]:
            bodies: Sequence[bytes] = await taken(request)
            requests.extend((request, body) for body in bodies)
            return bodies

        far_end.bodies_of = bodies_of
        await rig.sink.send([event])
    ((request, body),) = requests
    Webhook(SECRET).verify(body, dict(request.headers))
    assert request.headers["webhook-id"] == event.id
    assert request.headers["x-plain"] == "plain-9b1d"
    if "mode" in keys:
        read = from_binary_event(HTTPMessage(headers=dict(request.headers), body=body))
        assert (read.get_id(), read.get_source(), read.get_data()) == (event.id, event.source, event.data)
        assert request.headers["content-type"] == "application/json"


async def test_a_template_that_fails_with_one_event_takes_no_other_with_it(tmp_path: Path) -> None:
    """In one batch: what fails is rejected with the reason, the others are sent."""
    from poller.core.deliveries import Delivery
    from poller.delivery.attempts import attempt
    from poller.delivery.limits import Limit

    template = '{% if data.name == "bad" %}{{ data.tags.none }}{% endif %}{{ kind }} {{ data.name }}'
    keys = {"format": "template", "template": template}
    events = [sample_event("failed", run_id=str(number), name=name) for number, name in enumerate(["a", "bad", "c"], 1)]

    def narrowed(kind: type[Any], directory: Path) -> Any:
        kind.settings_model.model_fields["events"].default = ("failed",)
        kind.settings_model.model_rebuild(force=True)
        return file_rig(kind, directory)

    async with formatted(narrowed, FileSink, tmp_path, **keys) as rig:
        batch = [Delivery(number, "log", event.source, event) for number, event in enumerate(events)]
        outcomes = await attempt(rig.sink, batch, events, Limit(5))
        assert [outcome.rejected for outcome in outcomes] == [False, True, False]
        assert outcomes[1].error == 'template: line 1: there is no "none" here'
        assert list(await rig.far_end.received()) == [b"failed a", b"failed c"]
