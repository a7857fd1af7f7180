"""What docs/duplicates.md advises consumers to do: its programs handle each event once, whatever comes twice."""

import re
import runpy
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestServer

from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks.sqs import SqsSink
from poller.sinks.webhook import WebhookSink
from poller.testing.rigs import opened_toolbox
from tests.conformance.far_ends import made

PAGE = Path(__file__).parents[2] / "docs" / "duplicates.md"
AT_ONCE = {"VisibilityTimeout": "0"}
"""What was received and not deleted is there again at once."""
SECRET = "whsec_c2l4dGVlbi1ieXRlcy1hdC1sZWFzdA=="
EVENTS = [sample_event(step, run_id="1") for step in ("pending", "starting", "running", "completed")]
TWICE = [EVENTS[0], EVENTS[1], EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[2], EVENTS[3]]


def program(name: str, directory: Path) -> dict[str, Any]:
    """The names that an example of the page defines."""
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/duplicates.md has no example {name}"
    file = directory / f"{name}.py"
    file.write_text(found[1])
    return runpy.run_path(str(file))


@pytest.fixture
def seen() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


@pytest.mark.service
async def test_a_queue_is_consumed_once_also_by_a_consumer_that_was_killed(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: sqlite3.Connection
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", moto_url)
    for name, value in [("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")]:
        monkeypatch.setenv(f"AWS_{name}", value)
    consume = program("queue", tmp_path)["consume"]
    handled: list[str] = []
    async with opened_toolbox(tmp_path) as tools:
        sqs = await tools.aws_client("sqs", region="us-east-1", endpoint_url=moto_url)
        queue = (await sqs.create_queue(QueueName=f"runs-{uuid4().hex}", Attributes=AT_ONCE))["QueueUrl"]
        sink = made(SqsSink, {"name": "queue", "type": "sqs", "queue_url": queue, "endpoint_url": moto_url}, tools)
        for event in TWICE:
            await sink.send([event])

        def killed(event: dict[str, Any]) -> None:
            handled.append(event["id"])
            if len(handled) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            consume(queue, killed, seen)
        for replay in ("r-1", "r-1"):
            await sink.send([Event(EVENTS[0].body, replay=replay)])
        consume(queue, lambda event: handled.append(event["id"]), seen)
    ids = [event.id for event in EVENTS]
    assert set(handled) == set(ids)
    assert handled.count(ids[0]) == 2, "once, and once more for the replay"


def test_of_messages_in_any_order_the_latest_status_is_kept(tmp_path: Path) -> None:
    keep = program("state", tmp_path)["keep"]
    for order in ([3, 1, 0, 2, 3], [0, 1, 2, 3], [2, 3, 3, 0]):
        states = sqlite3.connect(":memory:")
        keep(sample_event("blind").attributes, states)
        for place in order:
            keep({**EVENTS[place].attributes, "sequence": f"{place + 1:010d}"}, states)
        assert [status for _, _, status in states.execute("SELECT * FROM states")] == ["COMPLETED"]
        states.close()


async def test_a_webhook_is_received_once(tmp_path: Path, seen: sqlite3.Connection) -> None:
    handled: list[str] = []
    application = program("webhook", tmp_path)["receiver"](SECRET, lambda event: handled.append(event["id"]), seen)
    async with TestServer(application) as server, opened_toolbox(tmp_path) as tools:
        table = {"name": "hook", "type": "webhook", "url": str(server.make_url("/")), "secret": SECRET}
        sink = made(WebhookSink, table, tools)
        await sink.send(TWICE)
        assert handled == [event.id for event in EVENTS]
        for replay in ("r-1", "r-1", "r-2"):
            await sink.send([Event(EVENTS[0].body, replay=replay)])
    assert handled == [event.id for event in (*EVENTS, EVENTS[0], EVENTS[0])]
