"""What an answer is read as: every field kept, and whatever is odd an unreadable answer, never a state or a crash."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)
from hypothesis import example, given
from hypothesis import strategies as st

from poller.core.errors import BadRequest, Blind, Denied, RunGone, ServiceError, Throttled, Transient
from poller.core.runs import Snapshot
from poller.healthomics.parse import error_of, page_of, snapshot_of
from poller.ports.service import Page

ASKED = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
ANSWERED = datetime(2026, 11, 23, 8, 0, 1, tzinfo=UTC)
RUN: dict[str, Any] = {
    "arn": "arn:aws:omics:us-east-1:123456789012:run/7830534",
    "id": "7830534",
    "uuid": "96c57683-74bf-9d6d-ae7e-f09b097db14a",
    "status": "RUNNING",
    "name": "sample-42",
    "creationTime": "2022-11-30T23:13:00.718651Z",
    "startTime": "2022-11-30T23:17:47.016Z",
    "tags": {"project": "x"},
}


def run_body(**changes: Any) -> bytes:
    answer = {key: value for key, value in {**RUN, **changes}.items() if value is not ...}
    return json.dumps(answer).encode()


def read_run(body: bytes, *, include: tuple[str, ...] = ()) -> Snapshot:
    return snapshot_of(body, "7830534", asked_at=ASKED, answered_at=ANSWERED, include=include)


def read_page(*items: Any, date: str | None = None, **more: Any) -> Page:
    headers = {} if date is None else {"date": date}
    body = json.dumps({"items": list(items), **more}).encode()
    return page_of(body, headers=headers, asked_at=ASKED, answered_at=ANSWERED)


def test_a_get_run_answer_is_read_with_its_times_cut_to_nothing() -> None:
    shown = read_run(run_body())
    assert (shown.run_id, shown.status, shown.full, shown.uuid) == ("7830534", "RUNNING", True, RUN["uuid"])
    assert shown.creation_time == datetime(2022, 11, 30, 23, 13, 0, 718651, tzinfo=UTC)
    assert shown.start_time == datetime(2022, 11, 30, 23, 17, 47, 16000, tzinfo=UTC)
    assert shown.stop_time is None
    assert (shown.asked_at, shown.answered_at) == (ASKED, ANSWERED)
    assert shown.fields == RUN


def test_fields_that_nobody_knows_yet_are_kept() -> None:
    shown = read_run(run_body(quantumMode={"qubits": 3}, spotPrice=0.25))
    assert shown.fields["quantumMode"] == {"qubits": 3}
    assert shown.fields["spotPrice"] == 0.25


def test_a_status_that_nobody_knows_yet_is_kept_as_it_is() -> None:
    assert read_run(run_body(status="PAUSED")).status == "PAUSED"
    assert read_page({**RUN, "status": "PAUSED"}).items[0].status == "PAUSED"


def test_a_number_that_is_no_json_is_unknown_and_never_repeated() -> None:
    shown = read_run(run_body(storageCapacity=float("nan"), priority=float("-inf")))
    assert not {"storageCapacity", "priority"} & shown.fields.keys()


def test_private_fields_are_left_out_unless_they_are_included() -> None:
    private = {"parameters": {"patient": "Ana"}, "definition": "d", "engineSettings": {}, "sessionPolicy": "p"}
    assert not private.keys() & read_run(run_body(**private)).fields.keys()
    included = read_run(run_body(**private), include=("parameters",)).fields
    assert included["parameters"] == {"patient": "Ana"}
    assert "definition" not in included


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2022-11-30T23:13:00Z", datetime(2022, 11, 30, 23, 13, tzinfo=UTC)),
        ("2022-11-30T23:13:00", datetime(2022, 11, 30, 23, 13, tzinfo=UTC)),
        ("2022-12-01T00:13:00+01:00", datetime(2022, 11, 30, 23, 13, tzinfo=UTC)),
        (1669849980, datetime(2022, 11, 30, 23, 13, tzinfo=UTC)),
        (1669849980.5, datetime(2022, 11, 30, 23, 13, 0, 500000, tzinfo=UTC)),
    ],
)
def test_times_are_read_however_they_are_written(written: Any, read: datetime) -> None:
    assert read_run(run_body(creationTime=written)).creation_time == read


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad Gateway</body></html>",
        run_body()[:100],
        b"[" + run_body() + b"]",
        b"null",
        b'"RUNNING"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        run_body(status=...),
        run_body(status=None),
        run_body(status=""),
        run_body(status=7),
        run_body(status={"S": "RUNNING"}),
        run_body(id="7830535"),
        run_body(id=7830534),
        run_body(creationTime="yesterday at noon"),
        run_body(creationTime=True),
        run_body(creationTime={}),
        run_body(startTime=1e300),
        run_body(stopTime="0001-01-01T00:00:00+14:00"),
        run_body(stopTime="9999-12-31T23:59:59-14:00"),
    ],
    ids=lambda body: body[:30].decode(errors="replace") + "…" if isinstance(body, bytes) else None,
)
def test_an_odd_get_run_answer_is_unreadable(body: bytes) -> None:
    with pytest.raises(Transient) as caught:
        read_run(body)
    assert type(caught.value) is Transient
    assert caught.value.code == "unreadable"
    assert caught.value.operation == "GetRun"


def test_an_answer_without_an_id_is_about_the_run_that_was_asked_for() -> None:
    assert read_run(run_body(id=...)).run_id == "7830534"


def test_a_page_keeps_the_order_its_token_and_the_services_clock() -> None:
    page = read_page({**RUN, "id": "2"}, {**RUN, "id": "1"}, nextToken="more", date="Mon, 23 Nov 2026 08:00:00 GMT")
    assert [item.run_id for item in page.items] == ["2", "1"]
    assert page.token == "more"
    assert page.served_at == ASKED
    assert not page.items[0].full
    assert read_page().token is None


@pytest.mark.parametrize("date", [None, "", "noon", "Mon, 99 Nov 2026 08:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -1400"])
def test_a_page_without_a_readable_date_is_a_page_all_the_same(date: str | None) -> None:
    assert read_page(RUN, date=date).served_at is None


@pytest.mark.parametrize(
    "item", [None, 7, [], {}, {"id": 7}, {"id": "../x"}, {**RUN, "status": None}, {**RUN, "creationTime": "noon"}]
)
def test_an_item_that_is_no_run_is_left_out_and_takes_no_other_with_it(item: Any) -> None:
    assert [one.run_id for one in read_page(item, RUN).items] == ["7830534"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"items":null}', b'{"items":{}}', b"[]", b'{"items":[', b"<html>"])
def test_a_list_without_items_is_unreadable_and_never_no_runs(body: bytes) -> None:
    with pytest.raises(Transient) as caught:
        page_of(body, headers={}, asked_at=ASKED, answered_at=ANSWERED)
    assert caught.value.code == "unreadable"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(datetime.isoformat),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **{name: JSON for name in ("id", "status", "uuid", "creationTime", "startTime", "stopTime", "tags", "arn")},
        "logLocation": JSON,
    },
)
RUNS = st.builds(lambda odd, fine: {**fine, **odd}, FIELDS, st.sampled_from([{}, RUN]))


@given(
    st.one_of(
        st.binary(), JSON.map(lambda value: json.dumps(value).encode()), RUNS.map(lambda run: json.dumps(run).encode())
    )
)
@example(b'{"status":"RUNNING","creationTime":1e999}')
@example(b'{"status":"RUNNING","creationTime":-1e999}')
@example(b'{"status":"RUNNING","creationTime":"2022-11-30T23:13:00+23:59:59.999999"}')
def test_no_answer_to_get_run_raises_anything_but_a_service_error(body: bytes) -> None:
    try:
        shown = read_run(body)
    except ServiceError:
        return
    assert shown.run_id == "7830534"
    assert shown.status
    assert all(time is None or time.tzinfo is UTC for time in (shown.creation_time, shown.start_time, shown.stop_time))


PAGES = st.lists(RUNS | JSON).map(lambda items: {"items": items})


@given(st.one_of(st.binary(), (JSON | PAGES).map(lambda value: json.dumps(value).encode())), st.text())
def test_no_answer_to_list_runs_raises_anything_but_a_service_error(body: bytes, date: str) -> None:
    try:
        page = page_of(body, headers={"date": date}, asked_at=ASKED, answered_at=ANSWERED)
    except ServiceError:
        return
    assert len(page.items) + page.unreadable == len(json.loads(body)["items"])
    assert all(one.run_id and one.status for one in page.items)
    times = [time for one in page.items for time in (one.creation_time, one.start_time, one.stop_time)]
    assert all(time is None or time.tzinfo is UTC for time in (*times, page.served_at))


# --- errors -----------------------------------------------------------------------------------------------------------


def client_error(code: str, status: int = 400, message: str = "said") -> ClientError:
    said: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "GetRun")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (client_error("ThrottlingException", 429), Throttled),
        (client_error("TooManyRequestsException", 429), Throttled),
        (client_error("429", 429), Throttled),
        (client_error("RequestTimeoutException", 408), Transient),
        (client_error("InternalServerException", 500), Transient),
        (client_error("503", 503), Transient),
        (client_error("ConflictException", 409), Transient),
        (client_error("ServiceQuotaExceededException", 402), Transient),
        (client_error("404", 404), Transient),
        (client_error("403", 403), Transient),
        (client_error("SomethingNewException", 400), Transient),
        (client_error("", 502), Transient),
        (client_error("AccessDeniedException", 403), Denied),
        (client_error("ValidationException", 400), BadRequest),
        (client_error("ResourceNotFoundException", 404), RunGone),
        (client_error("ExpiredTokenException", 403), Blind),
        (client_error("ExpiredToken", 403), Blind),
        (client_error("UnrecognizedClientException", 403), Blind),
        (client_error("InvalidSignatureException", 403), Blind),
        (client_error("MissingAuthenticationToken", 403), Blind),
        (NoCredentialsError(), Blind),
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), Blind),
        (CredentialRetrievalError(provider="process", error_msg="no"), Blind),
        (TokenRetrievalError(provider="sso", error_msg="expired"), Blind),
        (ProfileNotFound(profile="lab"), Blind),
        (EndpointConnectionError(endpoint_url="http://x"), Transient),
        (ParamValidationError(report="id"), BadRequest),
        (ConnectionResetError(), Transient),
        (ValueError("not a timestamp"), Transient),
        (AttributeError("'list' object has no attribute 'get'"), Transient),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:60],
)
def test_every_failure_is_the_class_that_says_what_follows(error: Exception, kind: type[ServiceError]) -> None:
    meaning = error_of(error, "GetRun")
    assert type(meaning) is kind
    assert meaning.operation == "GetRun"


def test_a_list_that_finds_nothing_says_nothing_of_a_run() -> None:
    assert type(error_of(client_error("ResourceNotFoundException", 404), "ListRuns")) is Transient


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, Blind),
        ("InvalidClientTokenId", 403, Blind),
        ("RegionDisabledException", 403, Blind),
        ("ValidationError", 400, Blind),
        ("MalformedPolicyDocument", 400, Blind),
        ("Throttling", 400, Transient),
        ("InternalFailure", 500, Transient),
    ],
)
def test_a_role_that_cannot_be_assumed_is_blindness_and_a_throttle_of_sts_cuts_no_budget(
    code: str, status: int, kind: type[ServiceError]
) -> None:
    said = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(error_of(ClientError(said, "AssumeRole"), "GetRun")) is kind  # type: ignore[arg-type]


def test_an_error_of_ours_passes_as_it_is() -> None:
    error = Denied("AccessDenied")
    assert error_of(error, "GetRun") is error
