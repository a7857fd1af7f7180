"""The event as receivers see it: its identity, its bytes, its schema."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent as PublicCloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from poller.core.cohorts import Cohort
from poller.core.drafts import Draft, Place, event_of, poller_event
from poller.core.endings import vanish
from poller.core.event_data import CloudEvent, PollerData
from poller.core.events import NAMESPACE, PRIVATE_FIELDS, Event, event_id, short_type, stamp
from poller.core.evidence import tell_unproven
from poller.core.machine import observe
from poller.core.runs import KnownRun, Snapshot
from poller.core.transitions import Transition

ARN = "arn:aws:omics:us-east-1:123456789012:run/7830534"
UUID = "96c57683-74bf-9d6d-ae7e-f09b097db14a"
PLACE = Place("research", "us-east-1", "123456789012")
CREATED = datetime(2026, 11, 23, 7, 0, 1, 262471, tzinfo=UTC)
STARTED = datetime(2026, 11, 23, 7, 10, 12, 504000, tzinfo=UTC)
STOPPED = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
FIELDS: dict[str, Any] = {
    "arn": ARN, "id": "7830534", "uuid": UUID, "name": "sample-42", "status": "FAILED",
    "failureReason": "RUN_TASK_FAILED", "statusMessage": "task FASTQC failed", "workflowId": "4074992",
    "workflowVersionName": "1.2.1", "runGroupId": "9938959", "outputUri": "s3://out/runs",
    "runOutputUri": "s3://out/runs/7830534",
    "logLocation": {"engineLogStream": "arn:engine", "runLogStream": "arn:run"},
    "creationTime": stamp(CREATED), "startTime": stamp(STARTED), "stopTime": stamp(STOPPED), "tags": {"project": "x"},
}  # fmt: skip
KEYS = [
    "run_id", "run_arn", "run_uuid", "name", "previous_status", "status", "skipped_statuses", "terminal",
    "first_observation", "occurred_at", "occurred_at_source", "observed_at", "not_before", "status_message",
    "failure_reason", "workflow_id", "workflow_name", "workflow_version_name", "run_group_id", "batch_id",
    "output_uri", "run_output_uri", "engine_log_stream", "run_log_stream", "creation_time", "start_time", "stop_time",
    "duration_seconds", "region", "account_id", "tags", "console_url",
]  # fmt: skip
"""`data` in the order of the contract (DESIGN section 5)."""

SCHEMA = CloudEvent.model_json_schema()
Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())


def failed(**fields: Any) -> tuple[KnownRun, Transition]:
    """A run seen in RUNNING, then FAILED three seconds after its end."""
    known = KnownRun("7830534")
    running = Snapshot(
        "7830534", "RUNNING", True, STOPPED - timedelta(seconds=2), STOPPED - timedelta(seconds=1.9), UUID, CREATED,
        STARTED,
    )  # fmt: skip
    end = replace(
        running, status="FAILED", asked_at=STOPPED + timedelta(seconds=3),
        answered_at=STOPPED + timedelta(seconds=3, milliseconds=120), stop_time=STOPPED, fields=FIELDS | fields,
    )  # fmt: skip
    known = observe(known, running).known
    known, (one,), _ = observe(known, end)
    return known, one


def draft_of(one: Transition, stored: dict[str, Any] | None = None) -> Draft:
    return event_of(one, PLACE, stored or {})


def valid(body: bytes) -> dict[str, Any]:
    """Parse the bytes as any consumer may: by the shipped JSON Schema, and by the public CloudEvents SDK."""
    record: dict[str, Any] = json.loads(body)
    VALIDATOR.validate(record)
    read = from_structured_event(HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=body))
    assert isinstance(read, PublicCloudEvent)
    again = json.loads(to_structured_event(read).body)
    assert {**again, "time": record["time"]} == record
    assert datetime.fromisoformat(again["time"]) == datetime.fromisoformat(record["time"])
    return record


@pytest.mark.parametrize(
    ("source", "incarnation", "event_type", "key", "golden"),
    [
        (ARN, UUID, "healthomics.run.failed", "FAILED", "6bfd940b-d636-505d-8e51-ed988c8c23d5"),
        (ARN, UUID, "healthomics.run.vanished", "", "a80d3467-adca-551c-b1aa-ca19ac0df576"),
        (ARN, "created:1795417201262", "healthomics.run.pending", "PENDING", "a30d524d-72d7-5ed5-a8f6-79fd639755f1"),
        (
            "urn:healthomics:us-east-1:run/7830534",
            "",
            "healthomics.run.unreachable",
            "",
            "6679767b-2d2b-53d0-a2ef-a3c098de0d97",
        ),
        (ARN, UUID, "healthomics.run.unknown_status", "PAUSIERT – für später", "9c665fbf-a741-597a-bcf6-7600a552c032"),
    ],
)
def test_the_id_of_what_happened_is_the_same_for_ever(
    source: str, incarnation: str, event_type: str, key: str, golden: str
) -> None:
    """Receivers deduplicate by these: a change here is a change of the contract, not of a test."""
    assert event_id(source, incarnation, event_type, key) == golden


def test_the_namespace_of_ids_never_changes() -> None:
    assert str(NAMESPACE) == "5d6a1f5e-6b0b-5c1b-9a55-0f6d1c8b7e42"


def test_the_id_depends_on_what_happened_and_not_on_when_we_looked() -> None:
    _, one = failed()
    later = replace(one, observed_at=one.observed_at + timedelta(hours=1), not_before=None, previous_status=None)
    assert draft_of(one).id == draft_of(later).id == event_id(ARN, UUID, "healthomics.run.failed", "FAILED")


def test_the_event_is_the_contracts_byte_for_byte() -> None:
    body = draft_of(failed()[1]).to_json(4)
    assert body.startswith(
        b'{"specversion":"1.0","id":"6bfd940b-d636-505d-8e51-ed988c8c23d5",'
        b'"source":"arn:aws:omics:us-east-1:123456789012:run/7830534","type":"healthomics.run.failed",'
        b'"subject":"7830534","time":"2026-11-23T08:15:00Z","datacontenttype":"application/json",'
        b'"sequence":"0000000004","data":{"run_id":"7830534",'
    )
    record = valid(body)
    assert list(record["data"]) == KEYS
    assert record["data"] == {
        "run_id": "7830534", "run_arn": ARN, "run_uuid": UUID, "name": "sample-42",
        "previous_status": "RUNNING", "status": "FAILED", "skipped_statuses": ["STOPPING"], "terminal": True,
        "first_observation": False, "occurred_at": "2026-11-23T08:15:00Z", "occurred_at_source": "stopTime",
        "observed_at": "2026-11-23T08:15:03.120Z", "not_before": "2026-11-23T08:14:58Z",
        "status_message": "task FASTQC failed", "failure_reason": "RUN_TASK_FAILED", "workflow_id": "4074992",
        "workflow_name": None, "workflow_version_name": "1.2.1", "run_group_id": "9938959", "batch_id": None,
        "output_uri": "s3://out/runs", "run_output_uri": "s3://out/runs/7830534", "engine_log_stream": "arn:engine",
        "run_log_stream": "arn:run", "creation_time": "2026-11-23T07:00:01.262471Z",
        "start_time": "2026-11-23T07:10:12.504Z", "stop_time": "2026-11-23T08:15:00Z", "duration_seconds": 3887.496,
        "region": "us-east-1", "account_id": "123456789012", "tags": {"project": "x"},
        "console_url": "https://us-east-1.console.aws.amazon.com/omics/home?region=us-east-1#/runs/7830534",
    }  # fmt: skip


def test_what_is_not_known_is_null_and_never_missing() -> None:
    bare = Snapshot("7830534", "PENDING", True, CREATED, CREATED)
    draft = event_of(observe(KnownRun("7830534"), bare).transitions[0], Place("lab", "eu-west-1", None), {})
    record = valid(draft.to_json(1))
    assert list(record["data"]) == KEYS
    assert record["source"] == "urn:healthomics:eu-west-1:run/7830534"
    nulls = [name for name, value in record["data"].items() if value is None]
    assert {"run_arn", "run_uuid", "account_id", "tags", "creation_time", "not_before", "previous_status"} <= set(nulls)


@pytest.mark.parametrize("missing", KEYS)
def test_the_schema_requires_every_field_that_is_always_sent(missing: str) -> None:
    record = json.loads(draft_of(failed()[1]).to_json(4))
    del record["data"][missing]
    assert not VALIDATOR.is_valid(record)


@pytest.mark.parametrize("change", [{"sequence": None}, {"sequence": "4"}, {"specversion": "0.3"}, {"extra": 1}])
def test_the_schema_refuses_what_is_never_sent(change: dict[str, Any]) -> None:
    record = json.loads(draft_of(failed()[1]).to_json(4)) | change
    assert not VALIDATOR.is_valid(record)


def test_events_without_a_status_are_valid_and_say_why() -> None:
    known = observe(KnownRun("7830534"), Snapshot("7830534", "RUNNING", True, CREATED, CREATED, UUID, CREATED)).known
    (gone,) = vanish(known, STOPPED, ("GetRun", "ListRuns")).transitions
    record = valid(draft_of(gone, FIELDS).to_json(2))
    assert record["type"] == "healthomics.run.vanished"
    assert list(record["data"]) == [*KEYS, "evidence"]
    assert (record["data"]["status"], record["data"]["evidence"]) == (None, ["GetRun", "ListRuns"])
    assert record["data"]["name"] == "sample-42", "what was stored of it is still known"
    assert record["data"]["status_message"] is None, "what a status said is not said of another one"
    assert (record["data"]["stop_time"], record["data"]["duration_seconds"]) == (None, None)


def test_what_was_recovered_from_a_list_says_so() -> None:
    item = Snapshot("7830534", "COMPLETED", False, STOPPED, STOPPED, None, CREATED, STARTED, STOPPED)
    (end,) = tell_unproven(observe(KnownRun("7830534"), item).known)[1]
    data = valid(draft_of(end).to_json(1))["data"]
    assert (data["evidence"], data["recovered_from"]) == (["ListRuns"], "ListRuns")
    assert data["creation_time"] == "2026-11-23T07:00:01.262Z", "a list was all there was"


def test_replaced_and_reappeared_are_told_in_the_data() -> None:
    _, one = failed()
    data = valid(draft_of(replace(one, replaced_by="uuid-b", reappeared=True)).to_json(1))["data"]
    assert list(data)[-2:] == ["replaced_by", "reappeared"]
    assert (data["replaced_by"], data["reappeared"]) == ("uuid-b", True)


def test_the_cohorts_that_a_run_fits_are_told_and_of_others_nothing() -> None:
    _, one = failed()
    cohorts = [Cohort("x", tags=(("project", "x"),)), Cohort("y", tags=(("project", "y"),))]
    data = valid(event_of(one, PLACE, {}, cohorts=cohorts).to_json(1))["data"]
    assert (list(data)[-1], data["cohorts"]) == ("cohorts", ["x"])
    assert list(event_of(one, PLACE, {}, cohorts=cohorts[1:]).data) == KEYS
    gone = vanish(
        observe(KnownRun("7830534"), Snapshot("7830534", "RUNNING", True, CREATED, CREATED)).known, STOPPED, ()
    )
    assert event_of(gone.transitions[0], PLACE, FIELDS, cohorts=cohorts).data["cohorts"] == ["x"], "by what is stored"


def test_a_run_that_had_not_begun_has_no_start_whatever_is_stored_by_now() -> None:
    """Evidence of a list is told by a later GetRun, whose startTime was not known then."""
    _, one = failed()
    for status, known in (("PENDING", None), ("STARTING", None), ("STOPPING", FIELDS["startTime"])):
        earlier = replace(one, status=status, snapshot=Snapshot("7830534", status, True, CREATED, CREATED, UUID))
        assert draft_of(earlier, FIELDS).data["start_time"] == known


def test_private_fields_are_sent_only_when_they_are_named() -> None:
    private = {"parameters": {"input": "s3://in"}, "engineSettings": {}, "definition": "x", "sessionPolicy": "y"}
    _, one = failed(**private)
    assert set(private) == set(PRIVATE_FIELDS)
    assert not set(private) & set(draft_of(one).data)
    data = event_of(one, PLACE, {}, include=["parameters"]).data
    assert data["parameters"] == {"input": "s3://in"}
    assert not (set(private) - {"parameters"}) & set(data)
    assert event_of(failed()[1], PLACE, {}, include=["parameters"]).data["parameters"] is None


def test_an_omitted_field_is_null_and_named_and_the_rest_is_untouched() -> None:
    event = Event(draft_of(failed()[1]).to_json(4), position=9, recorded_at=STOPPED)
    kept = event.body
    bare = event.without(["tags", "name", "console_url", "no_such_field"])
    record = valid(bare.body)
    assert [record["data"][name] for name in ("tags", "name", "console_url")] == [None] * 3
    assert record["data"]["redacted"] == ["console_url", "name", "tags"]
    assert list(record["data"]) == [*KEYS, "redacted"]
    assert (bare.id, bare.position, bare.recorded_at, event.body) == (event.id, 9, STOPPED, kept)
    assert bare.without(["status_message"]).data["redacted"] == ["console_url", "name", "status_message", "tags"]
    assert event.without([]) is event
    assert event.without(["no_such_field"]) is event


def test_an_event_is_read_from_its_bytes() -> None:
    event = Event(draft_of(failed()[1]).to_json(4))
    assert (event.kind, event.run_id, event.status, event.terminal) == ("failed", "7830534", "FAILED", True)
    assert (event.sequence, event.subject, event.source, event.time) == (4, "7830534", ARN, STOPPED)
    assert event.to_json().encode() == event.body
    assert "failed" in repr(event)


def test_poller_events_are_valid_and_have_no_sequence() -> None:
    data = PollerData(
        instance="lab-1", subject="research", cause="no_answer", detail=None, since=STARTED, observed_at=STOPPED,
        last_success_at=None,
    )  # fmt: skip
    draft = poller_event("blind", data)
    record = valid(draft.to_json(None))
    assert "sequence" not in record
    assert (record["source"], record["subject"], record["type"]) == (
        "healthomics-poller/lab-1",
        "research",
        "healthomics.poller.blind",
    )
    assert record["data"] == {
        "instance": "lab-1", "subject": "research", "cause": "no_answer", "detail": None,
        "since": "2026-11-23T07:10:12.504Z", "observed_at": "2026-11-23T08:15:00Z", "last_success_at": None,
        "duration_seconds": None,
    }  # fmt: skip
    assert Event(draft.to_json(None)).sequence is None
    assert draft.id == "35e3d24f-df58-5945-b22c-3b7abf502044"
    later = data.model_copy(update={"observed_at": STOPPED + timedelta(hours=1)})
    assert poller_event("blind", later).id == draft.id, "one episode, one event"
    assert poller_event("blind", data.model_copy(update={"since": CREATED})).id != draft.id
    assert poller_event("recovered", data).id != draft.id
    assert poller_event("heartbeat", data.model_copy(update={"subject": None})).subject == "lab-1"


@settings(max_examples=50)
@given(
    st.dictionaries(st.sampled_from(["name", "statusMessage", "failureReason"]), st.text() | st.just("\ud800 half")),
    st.text() | st.just("\udfff"),
)
def test_any_text_of_the_service_becomes_valid_utf8(fields: dict[str, str], status: str) -> None:
    """JSON can spell half a surrogate pair, UTF-8 cannot hold it: such a run must not stop the record."""
    shown = Snapshot("7830534", status or "?", True, CREATED, CREATED, UUID, CREATED, fields=fields)
    (one,) = observe(KnownRun("7830534"), shown).transitions
    data = valid(draft_of(one).to_json(1))["data"]
    assert data["status"] == as_utf8_can_hold(status or "?")
    for field, member in (("name", "name"), ("statusMessage", "status_message"), ("failureReason", "failure_reason")):
        assert data[member] == (as_utf8_can_hold(fields[field]) if field in fields else None)


def as_utf8_can_hold(text: str) -> str:
    return "".join("?" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


@pytest.mark.parametrize("odd", ["arn:as-text", 7, [], None])
def test_a_log_location_that_is_no_object_is_no_reason_to_fail(odd: Any) -> None:
    data = draft_of(failed(logLocation=odd)[1]).data
    assert (data["engine_log_stream"], data["run_log_stream"]) == (None, None)


def test_stamps_are_utc_with_a_z_and_no_more_digits_than_they_need() -> None:
    assert stamp(STOPPED) == "2026-11-23T08:15:00Z"
    assert stamp(STARTED) == "2026-11-23T07:10:12.504Z"
    assert stamp(CREATED) == "2026-11-23T07:00:01.262471Z"
    assert stamp(STOPPED.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-11-23T08:15:00Z"


@pytest.mark.parametrize(
    ("whole", "short"),
    [
        ("healthomics.run.failed", "failed"),
        ("healthomics.poller.blind", "blind"),
        ("healthomics.batch.failed", "batch.failed"),
        ("healthomics.cohort.finished", "cohort.finished"),
        ("com.example.other", "com.example.other"),
    ],
)
def test_people_name_events_without_the_prefix(whole: str, short: str) -> None:
    assert short_type(whole) == short


def test_a_govcloud_run_keeps_its_partition() -> None:
    assert Place("lab", "us-gov-west-1", "1" * 12, "aws-us-gov").source_of("7") == (
        f"arn:aws-us-gov:omics:us-gov-west-1:{'1' * 12}:run/7"
    )
