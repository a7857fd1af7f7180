"""What `render` shows of sinks that do not simply write an event: what they would send, and none of their secrets."""

import json
from pathlib import Path
from typing import Any

import pytest

from poller.core.events import Event
from poller.core.samples import sample_event
from poller.ports.sinks import Preview
from poller.sinks.apprise import AppriseSink
from poller.sinks.eventbridge import EventbridgeSink
from poller.sinks.exec import ExecSink
from poller.sinks.slack import SlackSink
from poller.sinks.sns import SnsSink
from poller.sinks.sqs import SqsSink
from tests.unit.sinks.aws_rig import AwsTools, Client

TOPIC = "arn:aws:sns:eu-west-1:123456789012:runs.fifo"
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/runs"
CONSOLE = sample_event("failed").data["console_url"]


class Tools(AwsTools):
    """A toolbox of which nothing is asked while a preview is made."""

    def __init__(self) -> None:
        super().__init__(Client())

    async def aws_client(self, service: str, **arguments: Any) -> Any:
        raise AssertionError("a preview reaches nobody")


def preview(kind: type[Any], event: Event, **keys: Any) -> Preview:
    settings = kind.settings_model.model_validate({"name": "it", "type": "any", **keys})
    shown: Preview = kind(settings, Tools()).preview(event)
    return shown


def test_messages_of_aws_with_their_attributes() -> None:
    event = sample_event("failed")
    topic = preview(SnsSink, event, topic_arn=TOPIC)
    assert topic == Preview(
        f"sns:PublishBatch to {TOPIC}",
        {
            "Id": event.id,
            "MessageGroupId": "1234567",
            "MessageDeduplicationId": event.id,
            "MessageAttributes.type": "healthomics.run.failed",
            "MessageAttributes.status": "FAILED",
            "MessageAttributes.run_id": "1234567",
            "MessageAttributes.workflow_id": "7654321",
            "MessageAttributes.run_group_id": "2345678",
        },
        event.body,
    )
    queue = preview(SqsSink, event, queue_url=QUEUE)
    assert queue.to == f"sqs:SendMessageBatch to {QUEUE}"
    assert "MessageGroupId" not in queue.fields
    assert queue.body == event.body


def test_an_entry_of_eventbridge() -> None:
    event = sample_event("failed")
    shown = preview(EventbridgeSink, event, event_bus="runs")
    assert shown.to == "events:PutEvents to runs"
    assert shown.fields == {
        "Source": "healthomics-poller",
        "DetailType": "healthomics.run.failed",
        "Resources": event.source,
        "Time": event.time.isoformat(),
    }
    assert shown.body == event.body


def test_what_a_command_is_told() -> None:
    event = sample_event("failed")
    command = ["./notify.sh", "two words"]
    shown = preview(ExecSink, event, command=command, environment={"TOKEN": "planted-token"})
    assert shown.to == "./notify.sh 'two words'"
    assert shown.fields["OMICS_STATUS"] == "FAILED"
    assert shown.fields["TOKEN"] == "[hidden]"
    assert shown.body == event.body


def test_a_message_to_slack_and_its_thread() -> None:
    event = sample_event("failed", batch_id="7123456")
    hook = preview(SlackSink, event, url="https://hooks.slack.com/services/T0/B0/planted")
    assert hook.to == "POST https://hooks.slack.com/[hidden]"
    assert "failed" in json.loads(hook.body)["text"]
    bot = preview(SlackSink, event, token="xoxb-planted", channel="C0123456789")
    assert bot.to == "POST https://slack.com/api/chat.postMessage"
    assert bot.fields == {"thread": "Batch 7123456 of 123456789012, us-east-1"}
    message = json.loads(bot.body)
    assert message["channel"] == "C0123456789"
    assert message["blocks"] == json.loads(hook.body)["blocks"]
    assert preview(SlackSink, event, token="xoxb-planted", channel="#runs", thread_by="none").fields == {}
    assert "planted" not in str((hook, bot))


def test_a_message_by_apprise() -> None:
    shown = preview(
        AppriseSink, sample_event("failed"), urls=["mailtos://poller:planted@example.org?to=lab@example.org"]
    )
    assert shown.to == "Apprise, to E-Mail"
    assert shown.fields["title"].endswith("failed")
    assert shown.body.decode().splitlines()[-1] == CONSOLE
    assert "planted" not in str(shown)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [(SqsSink, {"queue_url": QUEUE}), (ExecSink, {"command": ["./notify.sh"]}), (EventbridgeSink, {})],
    ids=["sqs", "exec", "eventbridge"],
)
def test_what_a_template_makes_is_shown(kind: type[Any], keys: dict[str, Any], tmp_path: Path) -> None:
    template = '{"run": {{ data.run_id | tojson }}}'
    shown = preview(kind, sample_event("failed"), events=["failed"], format="template", template=template, **keys)
    assert shown.body == b'{"run": "1234567"}'
