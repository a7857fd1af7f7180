"""AWS sessions: one client each, no retries, custom addresses from wherever they come, roles, fast timestamps."""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    ReadTimeoutError,
)

from poller.aws import AwsSessions, parse_instant
from tests.unit.http_rig import NOT_YOU, answering, assumed, key_of

REGION = "us-east-1"
SECRET = "aws-secret-2b7c6b1d"


@pytest.fixture(autouse=True)
def environment(aws_credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are told apart from what else is in a log."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
async def sessions() -> AsyncIterator[AwsSessions]:
    sessions = AwsSessions()
    yield sessions
    await sessions.close()


class Service:
    """A service that answers every request in one way, and remembers the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.body: Any = {"id": "1", "status": "RUNNING"}
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[dict[str, list[str]]] = []
        self.silent: asyncio.Event | None = None
        self.expected = 1
        self.reached = asyncio.Event()
        """Set once `expected` requests have come."""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.requests.append(request)
        self.bodies.append(parse_qs((await request.read()).decode()))
        if len(self.requests) >= self.expected:
            self.reached.set()
        if self.silent is not None:
            await self.silent.wait()
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(status=self.status, text=text, content_type="application/json")


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    made = Service()
    async with answering(made.handle) as made.url:
        yield made


# one client each


async def test_there_is_one_client_for_the_same_arguments_however_many_ask(sessions: AwsSessions) -> None:
    clients = await asyncio.gather(*(sessions.client("omics", region=REGION) for _ in range(20)))
    assert len({id(client) for client in clients}) == 1
    others = [
        await sessions.client("omics", region="eu-west-1"),
        await sessions.client("sns", region=REGION),
        await sessions.client("omics", region=REGION, endpoint_url="http://127.0.0.1:1"),
        await sessions.client("omics", region=REGION, role_arn="arn:aws:iam::123456789012:role/r"),
        await sessions.client("omics", region=REGION, role_arn="arn:aws:iam::123456789012:role/r", external_id="x"),
    ]
    assert len({id(client) for client in (*clients, *others)}) == 1 + len(others)


async def test_who_waits_for_a_client_gets_one_though_its_maker_was_cancelled(sessions: AwsSessions) -> None:
    maker, waiter = (asyncio.ensure_future(sessions.client("omics", region=REGION)) for _ in range(2))
    await asyncio.sleep(0)
    maker.cancel()
    client = await waiter
    assert client is await sessions.client("omics", region=REGION)


async def test_renewed_clients_have_the_credentials_of_now(
    sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service() as omics:
        before = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        await before.get_run(id="1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDRENEWED")
        assert await sessions.client("omics", region=REGION, endpoint_url=omics.url) is before
        await sessions.renew()
        after = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        await after.get_run(id="1")
    assert [key_of(request) for request in omics.requests] == ["AKIDEXAMPLE", "AKIDRENEWED"]


async def test_credentials_of_a_profile_are_read_anew_too(sessions: AwsSessions, tmp_path: Path) -> None:
    async with service() as omics:
        for key in ("AKIDONE", "AKIDTWO"):
            write(tmp_path / "credentials", f"[lab]\naws_access_key_id={key}\naws_secret_access_key={SECRET}\n")
            client = await sessions.client("omics", region=REGION, profile="lab", endpoint_url=omics.url)
            await client.get_run(id="1")
            await sessions.renew()
    assert [key_of(request) for request in omics.requests] == ["AKIDONE", "AKIDTWO"]


async def test_renewing_does_not_cut_an_answer_in_flight(sessions: AwsSessions) -> None:
    async with service() as omics:
        omics.silent = asyncio.Event()
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        asking = asyncio.ensure_future(client.get_run(id="1"))
        await omics.reached.wait()
        await sessions.renew()
        omics.silent.set()
        assert (await asking)["status"] == "RUNNING"


async def test_sessions_can_be_closed_in_another_task_and_twice() -> None:
    """Nothing is left open: warnings about unclosed sessions are errors here."""
    sessions = AwsSessions()
    async with service() as omics:
        for _ in range(3):
            client = await asyncio.create_task(sessions.client("omics", region=REGION, endpoint_url=omics.url))
            await client.get_run(id="1")
            await asyncio.create_task(sessions.renew())
        await asyncio.create_task(sessions.client("sns", region=REGION))
        await asyncio.create_task(sessions.close())
        await asyncio.create_task(sessions.close())
    with pytest.raises(RuntimeError, match="closed"):
        await sessions.client("omics", region=REGION)
    gc.collect()


async def test_closing_while_a_client_is_made_leaves_nothing_open() -> None:
    sessions = AwsSessions()
    making = asyncio.ensure_future(sessions.client("omics", region=REGION))
    await asyncio.sleep(0)
    await sessions.close()
    await asyncio.gather(making, return_exceptions=True)
    gc.collect()


async def test_hooks_can_be_registered_on_a_client(sessions: AwsSessions) -> None:
    """How HealthOmics answers are read whole: fields that the installed model does not know are in the raw body."""
    bodies = []

    async def keep(http_response: Any, **_: Any) -> None:
        bodies.append(json.loads(await http_response.content))

    async with service() as omics:
        omics.body = {"id": "1", "status": "RUNNING", "fieldOf2031": 1}
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        client.meta.events.register("after-call.omics.GetRun", keep)
        answer = await client.get_run(id="1")
    assert "fieldOf2031" not in answer
    assert bodies == [omics.body]


# no retries, bounded waits, errors as they are


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_nothing_is_retried_but_by_us(
    status: int, sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    async with service() as omics:
        omics.status, omics.body = status, {"message": "no"}
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        with pytest.raises(ClientError):
            await client.get_run(id="1")
    assert len(omics.requests) == 1


async def test_a_silent_service_is_not_waited_for_for_ever() -> None:
    sessions = AwsSessions(read_timeout=0.05)
    async with service() as omics:
        omics.silent = asyncio.Event()
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        with pytest.raises(ReadTimeoutError):
            await client.get_run(id="1")
    await sessions.close()
    assert len(omics.requests) == 1


async def test_more_calls_than_ten_are_under_way_at_once(sessions: AwsSessions) -> None:
    """Ten is botocore's own pool: a slow answer must not hold up another sink's."""
    async with service() as omics:
        omics.silent, omics.expected = asyncio.Event(), 32
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        asking = [asyncio.ensure_future(client.get_run(id=str(number))) for number in range(1, 33)]
        await omics.reached.wait()
        omics.silent.set()
        await asyncio.gather(*asking)


async def test_errors_of_credentials_and_configuration_are_not_hidden(
    sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoRegionError):
        await sessions.client("omics")
    with pytest.raises(ProfileNotFound):
        await sessions.client("omics", region=REGION, profile="nobody")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    await sessions.renew()
    async with service() as omics:
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        with pytest.raises(NoCredentialsError):
            await client.get_run(id="1")
        with pytest.raises(NoCredentialsError):
            await sessions.client("sns", region=REGION, role_arn="arn:aws:iam::123456789012:role/r")
    assert omics.requests == []


async def test_a_region_may_come_from_the_environment(sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    client = await sessions.client("omics")
    assert client.meta.region_name == "eu-west-1"


async def test_no_secret_is_logged(sessions: AwsSessions, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with service() as omics:
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        await client.get_run(id="1")
    assert caplog.records
    assert SECRET not in caplog.text
    assert SECRET not in repr(sessions) + repr(client)


# custom addresses: HealthOmics' host prefix is off there, and only there


async def test_without_a_custom_address_the_host_prefix_is_on(sessions: AwsSessions) -> None:
    client = await sessions.client("omics", region=REGION)
    assert await host_of(client) == "workflows-omics.us-east-1.amazonaws.com"


SECTIONS = "[profile lab]\nservices = local\n[services local]\nomics =\n  endpoint_url = {url}\n"
ADDRESSES: dict[str, tuple[dict[str, str], str]] = {
    "argument": ({}, ""),
    "environment": ({"AWS_ENDPOINT_URL": "{url}"}, ""),
    "environment of the service": ({"AWS_ENDPOINT_URL_OMICS": "{url}", "AWS_ENDPOINT_URL": "http://other:1"}, ""),
    "profile": ({}, "[profile lab]\nendpoint_url = {url}\n"),
    "services section": ({}, SECTIONS),
}
"""Where an address may come from: (environment, configuration file)."""


@pytest.mark.parametrize("origin", ADDRESSES)
async def test_a_custom_address_is_asked_as_it_is_wherever_it_comes_from(
    origin: str, sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables, config = ADDRESSES[origin]
    async with service() as omics:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(url=omics.url))
        write(tmp_path / "config", config.format(url=omics.url))
        write(tmp_path / "credentials", f"[lab]\naws_access_key_id=A\naws_secret_access_key={SECRET}\n")
        given = {"endpoint_url": omics.url} if origin == "argument" else {}
        client = await sessions.client("omics", region=REGION, profile="lab" if config else None, **given)
        await client.get_run(id="1")
        assert [request.headers["Host"] for request in omics.requests] == [omics.url.removeprefix("http://")]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
    ],
)
async def test_what_is_no_custom_address_of_this_service(
    variable: str, value: str, sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another service's address, and AWS's own variants of the usual one."""
    monkeypatch.setenv(variable, value)
    client = await sessions.client("omics", region=REGION)
    assert (await host_of(client)).startswith("workflows-omics")


async def test_an_address_that_is_ignored_is_not_in_force(
    sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    client = await sessions.client("omics", region=REGION)
    assert await host_of(client) == "workflows-omics.us-east-1.amazonaws.com"


async def host_of(client: Any) -> str:
    """The host that GetRun would be sent to."""
    hosts = []

    def stop(request: Any, **_: Any) -> None:
        hosts.append(request.url.split("/")[2])
        raise EndpointConnectionError(endpoint_url=request.url)

    client.meta.events.register("before-send.omics.GetRun", stop)
    with pytest.raises(EndpointConnectionError):
        await client.get_run(id="1")
    return str(hosts[0])


# roles


@pytest.mark.service
async def test_a_role_is_assumed_with_the_credentials_at_hand(
    sessions: AwsSessions, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    role = "arn:aws:iam::210987654321:role/watcher"
    plain = await sessions.client("sts", region=REGION)
    assumed = await sessions.client("sts", region=REGION, role_arn=role, external_id="lab-1")
    mine, roles = await plain.get_caller_identity(), await assumed.get_caller_identity()
    assert mine["Account"] == "123456789012"
    assert roles["Account"] == "210987654321"
    assert roles["Arn"] == "arn:aws:sts::210987654321:assumed-role/watcher/healthomics-poller"


async def test_a_roles_credentials_are_asked_for_once_and_renewed_before_they_expire(
    sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:iam::210987654321:role/watcher"
    async with service() as sts, service() as omics:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        client = await sessions.client("omics", region=REGION, role_arn=role, endpoint_url=omics.url)
        assert sts.requests == [], "nothing is asked before it is needed"
        sts.body = assumed("ASIAONE", timedelta(hours=1))
        await asyncio.gather(*(client.get_run(id="1") for _ in range(5)))
        assert len(sts.requests) == 1
        await sessions.renew()
        client = await sessions.client("omics", region=REGION, role_arn=role, endpoint_url=omics.url)
        sts.body = assumed("ASIATWO", timedelta(minutes=5))
        await client.get_run(id="1")
        sts.body = assumed("ASIATHREE", timedelta(hours=1))
        await client.get_run(id="1")
    assert [key_of(request) for request in omics.requests] == ["ASIAONE"] * 5 + ["ASIATWO", "ASIATHREE"]


class HandClock:
    """Real time, and as much later as the test says."""

    def __init__(self) -> None:
        self.later = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later


@pytest.mark.service
async def test_a_roles_credentials_are_renewed_without_a_restart_before_they_expire(
    moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    sessions = AwsSessions(now=clock.now)
    role = "arn:aws:iam::210987654321:role/watcher"
    async with service() as omics:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_url)
        client = await sessions.client("omics", region=REGION, role_arn=role, endpoint_url=omics.url)
        for _ in range(3):
            await client.get_run(id="1")
        clock.later = timedelta(minutes=44)
        await client.get_run(id="1")
        clock.later = timedelta(minutes=46)
        await client.get_run(id="1")
    await sessions.close()
    keys = [key_of(request) for request in omics.requests]
    assert all(key.startswith("ASIA") for key in keys)
    assert len(set(keys[:4])) == 1, "an hour's credentials are good for three quarters of it"
    assert keys[4] != keys[3], "and are renewed in the last quarter"


async def test_credentials_that_cannot_be_renewed_yet_are_used_while_they_are_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = HandClock()
    sessions = AwsSessions(now=clock.now)
    role = "arn:aws:iam::210987654321:role/watcher"
    async with service() as sts, service() as omics:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        client = await sessions.client("omics", region=REGION, role_arn=role, endpoint_url=omics.url)
        sts.body = assumed("ASIAONE", timedelta(hours=1))
        await client.get_run(id="1")
        sts.status, sts.body = 503, "<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>"
        clock.later = timedelta(minutes=46)
        await client.get_run(id="1")
        clock.later = timedelta(minutes=51)
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            await client.get_run(id="1")
        sts.status, sts.body = 200, assumed("ASIATWO", timedelta(hours=2))
        await client.get_run(id="1")
    await sessions.close()
    assert [key_of(request) for request in omics.requests] == ["ASIAONE", "ASIAONE", "ASIATWO"]


async def test_the_external_id_and_our_name_go_to_sts_and_no_secret_to_the_log(
    sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with service() as sts, service() as omics:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        sts.body = assumed("ASIAONE", timedelta(hours=1))
        role = "arn:aws:iam::210987654321:role/watcher"
        client = await sessions.client(
            "omics", region=REGION, role_arn=role, external_id="lab-1", endpoint_url=omics.url
        )
        await client.get_run(id="1")
    assert sts.bodies[0]["ExternalId"] == ["lab-1"]
    assert sts.bodies[0]["RoleSessionName"] == ["healthomics-poller"]
    assert sts.bodies[0]["RoleArn"] == [role]
    assert SECRET not in caplog.text
    assert "SessionToken" not in caplog.text


async def test_a_role_that_is_refused_says_so(sessions: AwsSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    async with service() as sts, service() as omics:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        sts.status = 403
        sts.body = NOT_YOU
        role = "arn:aws:iam::210987654321:role/watcher"
        client = await sessions.client("omics", region=REGION, role_arn=role, endpoint_url=omics.url)
        with pytest.raises(ClientError, match=r"AccessDenied.* AssumeRole operation .*: not you"):
            await client.get_run(id="1")
    assert (len(sts.requests), len(omics.requests)) == (1, 0)


# timestamps


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-11-30T23:13:00.718651Z", datetime(2022, 11, 30, 23, 13, 0, 718651, UTC)),
        ("2022-11-30T23:17:47.016Z", datetime(2022, 11, 30, 23, 17, 47, 16000, UTC)),
        ("2022-11-30T23:17:47Z", datetime(2022, 11, 30, 23, 17, 47, tzinfo=UTC)),
        ("2022-11-30T23:17:47.123456789Z", datetime(2022, 11, 30, 23, 17, 47, 123456, UTC)),
        ("2022-12-01T01:17:47+02:00", datetime(2022, 11, 30, 23, 17, 47, tzinfo=UTC)),
        ("2022-11-30T23:17:47", datetime(2022, 11, 30, 23, 17, 47, tzinfo=UTC)),
        ("Wed, 30 Nov 2022 23:17:47 GMT", datetime(2022, 11, 30, 23, 17, 47, tzinfo=UTC)),
        (1669850267, datetime(2022, 11, 30, 23, 17, 47, tzinfo=UTC)),
        (1669850267.5, datetime(2022, 11, 30, 23, 17, 47, 500000, UTC)),
    ],
)
def test_timestamps_are_aware_utc(text: Any, moment: datetime) -> None:
    parsed = parse_instant(text)
    assert parsed == moment
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "", "soon", "monday", "5", "1669850267", "2022-11-30", "20221130", "2022-13-30T23:17:47Z",
        "2022-11-30T25:00:00Z", "0001-01-01T00:00:00+23:59", b"2022-11-30T23:17:47Z", None, True, [], {},
        float("nan"), float("inf"), 1e300, -1e300,
    ],
)  # fmt: skip
def test_what_is_no_timestamp_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="not a timestamp"):
        parse_instant(value)


async def test_an_unreadable_timestamp_makes_the_answer_unreadable(sessions: AwsSessions) -> None:
    async with service() as omics:
        omics.body = {"id": "1", "status": "RUNNING", "startTime": "soon"}
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        with pytest.raises(ValueError, match="not a timestamp: 'soon'"):
            await client.get_run(id="1")


async def test_a_parser_can_be_handed_in() -> None:
    sessions = AwsSessions(timestamp_parser=lambda value: datetime(2000, 1, 1, tzinfo=UTC))
    async with service() as omics:
        omics.body = {"id": "1", "status": "RUNNING", "startTime": "2022-11-30T23:17:47Z"}
        client = await sessions.client("omics", region=REGION, endpoint_url=omics.url)
        assert (await client.get_run(id="1"))["startTime"].year == 2000
    await sessions.close()


async def test_a_page_of_runs_is_read_quickly(sessions: AwsSessions) -> None:
    """19.7 ms of CPU with botocore's own parser, 2.9 ms with ours; the bound leaves room for a slow machine."""
    from botocore.parsers import RestJSONParser, create_parser
    from botocore.session import Session

    shape = Session().get_service_model("omics").operation_model("ListRuns").output_shape
    assert shape is not None
    times = dict.fromkeys(("creationTime", "startTime", "stopTime"), "2022-11-30T23:13:00.718651Z")
    body = json.dumps({"items": [{"id": str(number), "status": "FAILED", **times} for number in range(100)]}).encode()
    answer = {"body": body, "headers": {}, "status_code": 200, "context": {}}

    def cost(parser: Any) -> float:
        started = process_time()
        for _ in range(5):
            parser.parse(answer, shape)
        return process_time() - started

    ours, botocores = RestJSONParser(timestamp_parser=parse_instant), create_parser("rest-json")
    assert ours.parse(answer, shape)["items"] == botocores.parse(answer, shape)["items"]
    assert cost(ours) < cost(botocores) / 2


def write(path: Path, text: str) -> None:
    path.write_text(text)
