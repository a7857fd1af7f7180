"""What a manifest says of its run, whatever else is in it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.runs import Snapshot
from poller.healthomics.manifest import newest_first, run_of, stream_of

RUN, LIFE, OTHER = "7830534", "96c57683-74bf-9d6d-ae7e-f09b097db14a", "0ad2c1f0-1111-4222-8333-444455556666"
ARN = f"arn:aws:omics:us-east-1:123456789012:run/{RUN}"
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)

# after the samples of the user guide ("getinfo-about-runs") and of AWS's own readers (run_analyzer, lambda/manifest)
RUN_LINE: dict[str, Any] = {
    "arn": ARN, "uuid": LIFE, "name": "sample-42", "status": "FAILED", "failureReason": "RUN_TASK_FAILED",
    "statusMessage": "Run failed because task failed.", "engine": "NEXTFLOW", "main": "main.nf",
    "workflow": "arn:aws:omics:us-east-1:123456789012:workflow/4074992", "digest": "sha256:a2", "outputUri": "s3://out/runs",
    "roleArn": "arn:aws:iam::123456789012:role/r", "startedBy": "arn:aws:iam::123456789012:user/u",
    "parameters": {"input": "s3://in/sample-42.csv"}, "parameterTemplate": {"input": {}}, "resourceDigests": {},
    "storageType": "DYNAMIC", "storageCapacity": 170, "creationTime": "2026-11-23T07:00:01.262Z",
    "startTime": "2026-11-23T07:10:12.504Z", "stopTime": "2026-11-23T08:15:00.908Z",
    "metrics": {"storageReservedGiB": 0, "storageMaximumGiB": 170.2, "runningSeconds": 3888},
}  # fmt: skip
TASK_LINE: dict[str, Any] = {
    "arn": "arn:aws:omics:us-east-1:123456789012:task/6657068", "uuid": OTHER, "name": "FASTQC", "run": ARN,
    "status": "SUCCESS", "cpus": 2, "startTime": "2026-11-23T07:17:43.437", "stopTime": "2026-11-23T07:17:57.662",
}  # fmt: skip


def read(*lines: Any, life: str | None = LIFE, include: tuple[str, ...] = ()) -> Snapshot | None:
    """What these lines say: dictionaries as JSON, texts as they are."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return run_of(texts, RUN, stream_of(RUN, life or ""), asked_at=NOW, answered_at=NOW, include=include)


def test_the_line_of_the_run_says_how_it_ended_by_the_names_of_get_run() -> None:
    shown = read(RUN_LINE, TASK_LINE)
    assert shown is not None
    assert (shown.run_id, shown.uuid, shown.status, shown.full) == (RUN, LIFE, "FAILED", False)
    assert shown.stop_time == datetime(2026, 11, 23, 8, 15, 0, 908000, tzinfo=UTC)
    assert shown.start_time == datetime(2026, 11, 23, 7, 10, 12, 504000, tzinfo=UTC)
    assert shown.creation_time == datetime(2026, 11, 23, 7, 0, 1, 262000, tzinfo=UTC)
    assert shown.fields["workflowId"] == "4074992"
    assert shown.fields["failureReason"] == "RUN_TASK_FAILED"
    assert shown.fields["stopTime"] == "2026-11-23T08:15:00.908Z"
    assert shown.fields["metrics"]["runningSeconds"] == 3888
    assert not {"workflow", "parameters", "parameterTemplate", "main"} & shown.fields.keys()


def test_private_fields_are_there_only_if_they_are_included() -> None:
    shown = read(RUN_LINE, include=("parameters",))
    assert shown is not None
    assert shown.fields["parameters"] == {"input": "s3://in/sample-42.csv"}


@pytest.mark.parametrize("first", [TASK_LINE, {"message": "hello"}, "no JSON", "[]", "null", '{"arn": ["x"]}', ""])
def test_other_lines_are_passed_over_wherever_they_stand(first: Any) -> None:
    assert read(first, RUN_LINE) == read(RUN_LINE) == read(RUN_LINE, first)


def test_a_line_that_was_cut_off_is_no_line() -> None:
    text = json.dumps(RUN_LINE)
    assert read(text[:200]) is None
    assert read(text[:200], text) == read(text)


def test_times_without_a_zone_are_utc_and_what_is_no_time_is_none() -> None:
    shown = read({**RUN_LINE, "startTime": "2026-11-23T07:10:12", "stopTime": 1795421700, "creationTime": "yesterday"})
    assert shown is not None
    assert shown.start_time == datetime(2026, 11, 23, 7, 10, 12, tzinfo=UTC)
    assert shown.stop_time == datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
    assert shown.creation_time is None
    assert "creationTime" not in shown.fields


@pytest.mark.parametrize(
    "line",
    [{**RUN_LINE, "uuid": OTHER}, {**RUN_LINE, "arn": ARN + "9"}, {**RUN_LINE, "arn": None}, {"status": "FAILED"}],
)
def test_a_line_of_another_run_or_another_life_of_it_is_not_taken(line: dict[str, Any]) -> None:
    assert read(line) is None


def test_the_name_of_the_stream_gives_the_uuid_that_a_line_lacks() -> None:
    shown = read({name: value for name, value in RUN_LINE.items() if name != "uuid"})
    assert shown is not None
    assert shown.uuid == LIFE


@pytest.mark.parametrize("status", [None, "", 7, ["FAILED"]])
def test_a_line_without_a_status_says_nothing(status: Any) -> None:
    assert read({**RUN_LINE, "status": status}) is None


def test_an_unknown_status_is_kept_as_it_is_and_an_end_on_a_later_line_counts() -> None:
    hibernating = read({**RUN_LINE, "status": "HIBERNATING"})
    assert hibernating is not None
    assert hibernating.status == "HIBERNATING"
    ended = read(
        {**RUN_LINE, "status": "STOPPING"}, {**RUN_LINE, "status": "completed"}, {**RUN_LINE, "status": "RUNNING"}
    )
    assert ended is not None
    assert ended.status == "COMPLETED"


@pytest.mark.parametrize(
    "change", [{"name": 5}, {"failureReason": {"code": 1}}, {"tags": ["x"]}, {"tags": {"a": 1}}, {"outputUri": None}]
)
def test_a_member_of_another_type_is_left_out_and_hides_nothing(change: dict[str, Any]) -> None:
    shown = read({**RUN_LINE, **change})
    assert shown is not None
    assert shown.status == "FAILED"
    assert not change.keys() & shown.fields.keys()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.dictionaries(st.sampled_from([*RUN_LINE, "tags", "runGroup", "run"]) | st.text(), JSON, max_size=8)


@given(
    before=st.lists(st.text() | MEMBERS.map(json.dumps), max_size=3),
    strange=MEMBERS,
    after=st.lists(st.text() | MEMBERS.map(json.dumps), max_size=3),
)
def test_whatever_else_a_manifest_holds_the_end_is_read_and_nothing_is_raised(
    before: list[str], strange: dict[str, Any], after: list[str]
) -> None:
    line = {**RUN_LINE, **strange, "arn": ARN, "uuid": LIFE, "status": "FAILED"}
    shown = read(*before, json.dumps(line), *after)
    assert shown is not None
    assert (shown.status, shown.uuid) == ("FAILED", LIFE)
    assert all(isinstance(shown.fields.get(name), str | None) for name in ("name", "failureReason", "workflowId"))
    for moment in (shown.creation_time, shown.start_time, shown.stop_time):
        assert moment is None or moment.tzinfo is UTC


@given(st.text() | MEMBERS.map(json.dumps), st.integers(0, len(json.dumps(RUN_LINE)) - 1))
def test_no_line_whole_or_cut_off_raises_anything_or_hides_the_whole_one(line: str, length: int) -> None:
    whole = json.dumps(RUN_LINE)
    assert read(line, line[:length], whole[:length]) is None
    assert read(line[:length], whole[:length], whole) == read(whole)


def test_the_streams_of_a_run_id_are_read_from_the_one_written_last() -> None:
    streams: list[dict[str, Any]] = [
        {"logStreamName": f"manifest/run/{RUN}/a", "creationTime": 1_000_000},
        {"logStreamName": f"manifest/run/{RUN}/b", "creationTime": 900_000, "lastEventTimestamp": 3_000_000},
        {"logStreamName": f"manifest/run/{RUN}/c"},
        {"logStreamName": f"manifest/run/{RUN}9/d", "creationTime": 9_000_000},
        {"creationTime": 1},
    ]
    assert [name[-1] for name in newest_first(streams, RUN, None)] == ["b", "a", "c"]
    created = datetime.fromtimestamp(2000, UTC)
    assert [name[-1] for name in newest_first(streams, RUN, created)] == ["b", "c"], (
        "what was last written before is older"
    )
