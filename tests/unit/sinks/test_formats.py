"""Formats: what is sent of an event, the same at every attempt, and readable for whom it is meant for."""

import json
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from hypothesis import given
from hypothesis import strategies as st

from poller.core.errors import ConfigError, Rejected
from poller.core.events import Event
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks.aws_events import aws_event, detail_of
from poller.sinks.formats import (
    FormattedSettings,
    HttpFormattedSettings,
    Rendered,
    TemplateFile,
    formatter,
    header_value,
)

FAILED = sample_event("failed")
EVENTS = [sample_event(kind) for kind in SAMPLE_TYPES]
RUN_STATUSES = ("pending", "starting", "running", "stopping", "completed", "failed", "cancelled", "deleted")


def rendered(event: Event = FAILED, **keys: Any) -> Rendered:
    table = {"name": "a", "type": "webhook", "events": ["*", "heartbeat"], **keys}
    return formatter(HttpFormattedSettings.model_validate(table)).body(event)


# CloudEvents


@pytest.mark.parametrize("event", EVENTS, ids=SAMPLE_TYPES)
def test_structured_is_the_stored_bytes(event: Event) -> None:
    assert rendered(event) == (event.body, "application/cloudevents+json", {})


@pytest.mark.parametrize("event", EVENTS, ids=SAMPLE_TYPES)
def test_the_public_sdk_reads_binary_mode_as_the_same_event(event: Event) -> None:
    made = rendered(event, mode="binary")
    message = HTTPMessage(headers={"content-type": made.content_type, **made.headers}, body=made.body)
    read = from_binary_event(message)
    assert read.get_data() == event.data
    assert {name: value for name, value in read.get_attributes().items() if name != "time"} == {
        name: value for name, value in event.attributes.items() if name not in ("data", "time")
    }
    assert read.get_time() == event.time


def test_binary_mode_has_no_header_for_what_the_content_type_says() -> None:
    made = rendered(mode="binary")
    assert made.content_type == "application/json"
    assert set(made.headers) == {
        *("ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-sequence")
    }


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),  # the example of the specification
        ('say "100%"', "say%20%22100%25%22"),
        ("arn:aws:omics:us-east-1:1:run/2", "arn:aws:omics:us-east-1:1:run/2"),
        ("a\tb\n", "a%09b%0A"),
        ("", ""),
    ],
)
def test_attributes_are_percent_encoded_as_the_specification_says(text: str, encoded: str) -> None:
    assert header_value(text) == encoded


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"))))
def test_any_instance_name_comes_through_the_headers(name: str) -> None:
    """`source` and `subject` of the poller's own events hold what an operator calls the daemon."""
    event = sample_event("heartbeat", instance=f"x{name}")
    made = rendered(event, mode="binary")
    assert all(text.isascii() and text.isprintable() and " " not in text for text in made.headers.values())
    message = HTTPMessage(headers={"content-type": made.content_type, **made.headers}, body=made.body)
    assert from_binary_event(message).get_source() == event.source


# EventBridge


def test_a_run_is_told_as_aws_tells_it() -> None:
    """Field by field as the example in the HealthOmics user guide, "eventbridge"."""
    made = rendered(format="eventbridge")
    assert (made.content_type, made.headers) == ("application/json", {})
    assert json.loads(made.body) == {
        "version": "0",
        "id": FAILED.id,
        "detail-type": "Run Status Change",
        "source": "aws.omics",
        "account": "123456789012",
        "time": "2026-11-23T08:15:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:omics:us-east-1:123456789012:run/1234567"],
        "detail": {
            "omicsVersion": "1.0.0",
            "arn": "arn:aws:omics:us-east-1:123456789012:run/1234567",
            "status": "FAILED",
            "uuid": FAILED.data["run_uuid"],
            "runId": "1234567",
            "runName": "sample-42",
            "runOutputUri": "s3://example-results/runs/1234567",
            "workflowId": "7654321",
            "workflowName": "germline",
        },
    }


def test_the_documentation_shows_a_true_event_of_aws() -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    block = page.partition("```json\n")[2].partition("```")[0]
    assert json.loads(block) == aws_event(FAILED)


@pytest.mark.parametrize("kind", RUN_STATUSES)
def test_each_status_of_a_run_is_an_event_of_aws(kind: str) -> None:
    made = aws_event(sample_event(kind))
    assert (made["source"], made["detail-type"]) == ("aws.omics", "Run Status Change")
    assert made["detail"]["status"] == kind.upper()


def test_the_time_is_in_whole_seconds_as_that_of_aws() -> None:
    moment = sample_event("failed").time.replace(microsecond=908_813)
    assert aws_event(sample_event("failed", at=moment))["time"] == "2026-11-23T08:15:00Z"


def test_a_batch_is_told_as_aws_tells_it_with_numbers_as_texts() -> None:
    detail = aws_event(sample_event("batch.processed"))["detail"]
    assert (detail["batchId"], detail["status"], detail["totalRuns"]) == ("7123456", "PROCESSED", "96")
    assert (detail["completedRunCount"], detail["failedRunCount"]) == ("94", "2")
    assert detail["successfulStartSubmissionCount"] == "96"
    assert "failureReason" not in detail
    sentence = sample_event("batch.failed", failure_reason="Expected 100 unique ids")
    assert aws_event(sentence)["detail"]["failureMessage"] == "Expected 100 unique ids"
    code = aws_event(sample_event("batch.failed", failure_reason="VALIDATION_EXCEPTION"))["detail"]
    assert (code["failureReason"], "failureMessage" in code) == ("VALIDATION_EXCEPTION", False)


def test_what_aws_has_no_event_for_is_told_under_our_own_name() -> None:
    theirs = {*RUN_STATUSES, *(kind for kind in SAMPLE_TYPES if kind.startswith("healthomics.batch."))}
    for event in EVENTS:
        if event.kind in theirs or (event.type in theirs and event.kind != "batch.runs_delete_failed"):
            continue
        made = aws_event(event)
        assert (made["source"], made["detail-type"]) == ("healthomics-poller", event.type)
        assert made["detail"] == event.data
    assert detail_of(sample_event("batch.runs_delete_failed")).source == "healthomics-poller"


def test_what_is_left_out_or_not_known_is_not_in_the_detail() -> None:
    event = sample_event("failed", workflow_name=None).without(["name", "run_output_uri"])
    assert set(aws_event(event)["detail"]) == {"omicsVersion", "arn", "status", "uuid", "runId", "workflowId"}


# templates


def test_a_template_makes_body_content_type_and_headers() -> None:
    made = rendered(
        events=["failed"],
        format="template",
        template='{"text": {{ (data.name ~ " " ~ kind) | tojson }}}',
        content_type="application/{{ kind }}+json",
        template_headers={"X-Run": "{{ data.run_id }}", "X-Fixed": "yes"},
    )
    assert made == (b'{"text": "sample-42 failed"}', "application/failed+json", {"X-Run": "1234567", "X-Fixed": "yes"})
    assert rendered(format="template", template="é").body == "é".encode()
    assert rendered(format="template", template="x").content_type == "application/json"


def test_a_header_cannot_break_out_of_its_line() -> None:
    keys = {
        "events": ["failed"],
        "format": "template",
        "template": "x",
        "template_headers": {"X-Name": "{{ data.name }} "},
    }
    made = rendered(sample_event("failed", name="a\r\nX-Evil: 1 é"), **keys)
    assert made.headers == {"X-Name": "a%0D%0AX-Evil: 1 %C3%A9"}
    with pytest.raises(Rejected, match="makes a header of more than 4 KiB"):
        rendered(sample_event("failed", name="x" * 5000), **keys)


def test_a_template_that_fails_with_an_event_rejects_it_and_says_why() -> None:
    """Trying again would not mend it."""
    sink = formatter(
        FormattedSettings.model_validate(
            {
                "name": "a",
                "type": "x",
                "events": ["failed"],
                "format": "template",
                "template": "run\n{{ data.tags.project.upper() }}",
            }
        )
    )
    assert sink.body(FAILED).body == b"run\nEXAMPLE"
    with pytest.raises(Rejected) as caught:
        sink.body(sample_event("failed", tags={}))
    assert str(caught.value) == 'template: line 2: there is no "project" here'
    for _ in range(2):
        with pytest.raises(Rejected):
            sink.body(sample_event("failed", tags=None))


def test_every_field_that_such_an_event_can_have_is_there() -> None:
    """`recovered_from` and the like are in an event only where they say something; a template may ask for them."""
    template = "{% if data.recovered_from %}{{ data.recovered_from }}{% else %}GetRun{% endif %}"
    made: dict[str, Any] = {"events": ["failed"], "format": "template", "template": template}
    assert rendered(**made).body == b"GetRun"
    assert rendered(sample_event("failed", recovered_from="manifest"), **made).body == b"manifest"


def test_formats_that_are_not_to_be_had_are_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"format": "template"},
        {"format": "template", "template": "{{ x }}"},
        {"template": "x"},
        {"format": "template", "template_file": "/does/not/exist"},
        {"format": "eventbridge", "mode": "binary"},
    ]
    for keys in wrong:
        with pytest.raises(ConfigError):
            rendered(**keys)


def test_a_template_file_is_read_once_and_is_part_of_the_settings(tmp_path: Path) -> None:
    """A file that changed makes other settings, so that a reload makes the sink anew."""
    file = tmp_path / "page.j2"
    table = {"name": "a", "type": "x", "format": "template", "template_file": "page.j2"}

    def read() -> FormattedSettings:
        return FormattedSettings.model_validate(table, context={"directory": tmp_path})

    file.write_bytes("\ufeffone\r\n{{ kind }}\n".encode())
    before = read()
    assert before == read()
    assert formatter(before).body(FAILED).body == b"one\nfailed"
    file.write_text("two")
    assert before != read()
    assert formatter(before).body(FAILED).body == b"one\nfailed"
    assert before.model_dump()["template_file"] == "page.j2"
    assert TemplateFile.read(Path("none.j2"), tmp_path).problem == "none.j2 cannot be read: No such file or directory"
    assert TemplateFile.read(Path(), tmp_path).problem == ". cannot be read: Is a directory"
    file.write_bytes(b"a\n\xff")
    assert TemplateFile.read(Path("page.j2"), tmp_path).problem == "page.j2:2 is not UTF-8 text"
    file.write_bytes(b"x" * 300_000)
    assert TemplateFile.read(Path("page.j2"), tmp_path).problem == "page.j2 is larger than 256 KiB"


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"mode": "binary"},
        {"format": "eventbridge"},
        {"format": "template", "template": "{{ event | tojson }}{% for k in data %}{{ k }}{% endfor %}"},
    ],
    ids=["structured", "binary", "eventbridge", "template"],
)
@pytest.mark.parametrize("event", EVENTS, ids=SAMPLE_TYPES)
def test_every_attempt_sends_the_same(event: Event, keys: dict[str, Any]) -> None:
    """Also after a restart, with another object for the format, and another one for the event."""
    event = event.without(["name", "tags"])
    assert rendered(event, **keys) == rendered(Event(event.body), **keys)
