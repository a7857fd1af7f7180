"""Manifests read over real HTTP from moto's CloudWatch Logs, and from answers that moto cannot be made to give."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from poller.aws import AwsSessions
from poller.clock import SystemClock
from poller.core.errors import Blind, Denied, ServiceError, Throttled, Transient
from poller.emulator import Emulator
from poller.healthomics import logs as reading
from poller.healthomics.service import NOT_ASKED, HealthOmics
from poller.ports import Manifest
from tests.unit.http_rig import answering

from .logs_rig import REGION, Logs, run_line, task_line

pytestmark = pytest.mark.usefixtures("aws_credentials")

RUN, LIFE, OTHER = "7830534", "96c57683-74bf-9d6d-ae7e-f09b097db14a", "0ad2c1f0-1111-4222-8333-444455556666"


class Reader:
    """A service over one address of the logs, which counts the calls that it spends."""

    def __init__(self, service: HealthOmics) -> None:
        self.service = service
        self.spent: list[str] = []

    async def __call__(
        self, run_id: str = RUN, *, uuid: str | None = None, created: datetime | None = None
    ) -> Manifest | None:
        async def spend(operation: str) -> None:
            self.spent.append(operation)

        return await self.service.manifest(run_id, uuid=uuid, created=created, spend=spend)


@asynccontextmanager
async def reader(logs_url: str | None, **options: Any) -> AsyncIterator[Reader]:
    sessions = AwsSessions(connect_timeout=2.0, read_timeout=5.0)
    service = HealthOmics(sessions, SystemClock(), region=REGION, logs_endpoint_url=logs_url, **options)
    try:
        yield Reader(service)
    finally:
        await service.close()


@pytest.mark.service
class TestOverMoto:
    async def test_the_manifest_of_a_known_uuid_costs_one_call(self, logs: Logs, moto_url: str) -> None:
        await logs.write(RUN, OTHER, run_line(RUN, OTHER, "FAILED"))
        await logs.write(RUN, LIFE, run_line(RUN, LIFE), *(task_line(RUN, number) for number in range(200)))
        async with reader(moto_url) as read:
            found = await read(uuid=LIFE)
            assert read.spent == ["GetLogEvents"]
        assert found is not None
        assert (found.shown.status, found.shown.uuid, found.stream) == ("COMPLETED", LIFE, f"manifest/run/{RUN}/{LIFE}")
        assert found.shown.asked_at <= found.shown.answered_at

    async def test_without_a_uuid_the_newest_life_is_found_or_the_one_created_then(
        self, logs: Logs, moto_url: str
    ) -> None:
        await logs.write(RUN, OTHER, run_line(RUN, OTHER, "FAILED", creationTime="2026-11-20T00:00:00.5Z"))
        await logs.write(RUN, LIFE, run_line(RUN, LIFE))
        await logs.write(RUN + "9", LIFE, run_line(RUN + "9", LIFE, "CANCELLED"))
        async with reader(moto_url) as read:
            newest = await read()
            assert newest is not None
            assert newest.shown.uuid == LIFE
            assert read.spent == ["DescribeLogStreams", "GetLogEvents"]
            created = datetime.fromisoformat("2026-11-20T00:00:00.500999Z")
            older = await read(created=created)
            assert older is not None
            assert older.shown.uuid == OTHER
            assert await read(created=created + timedelta(seconds=1)) is None

    async def test_a_group_or_stream_that_does_not_exist_is_not_there_yet(self, logs: Logs, moto_url: str) -> None:
        async with reader(moto_url) as read:
            assert await read(uuid=LIFE) is None
            assert await read() is None
            await logs.drop_group()
            assert await read(uuid=LIFE) is None
            assert await read() is None
        await logs.make_group()

    async def test_a_run_line_that_stands_far_behind_is_found_page_by_page(
        self, logs: Logs, moto_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await logs.write(RUN, LIFE, *(task_line(RUN, number) for number in range(120)), run_line(RUN, LIFE))
        monkeypatch.setattr(reading, "PAGE_LINES", 50)
        async with reader(moto_url) as read:
            found = await read(uuid=LIFE)
            assert found is not None
            assert found.shown.status == "COMPLETED"
            assert read.spent == ["GetLogEvents"] * 4

    async def test_of_a_stream_without_an_end_no_more_is_read_than_the_bound(
        self, logs: Logs, moto_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await logs.write(RUN, LIFE, *(task_line(RUN, number) for number in range(500)))
        monkeypatch.setattr(reading, "PAGE_LINES", 20)
        monkeypatch.setattr(reading, "MOST_EVENTS", 60)
        async with reader(moto_url) as read:
            assert await read(uuid=LIFE) is None
            assert len(read.spent) == 4
        monkeypatch.setattr(reading, "MOST_BYTES", 10)
        async with reader(moto_url) as read:
            assert await read(uuid=LIFE) is None
            assert len(read.spent) == 1

    async def test_a_short_stream_without_an_end_is_read_to_where_it_ends(self, logs: Logs, moto_url: str) -> None:
        await logs.write(RUN, LIFE, run_line(RUN, LIFE, "STOPPING"), "cut off: {")
        async with reader(moto_url) as read:
            found = await read(uuid=LIFE)
            assert found is not None
            assert found.shown.status == "STOPPING"
            assert len(read.spent) <= 2


# --- whom it asks ----------------------------------------------------------------------------------------------------


async def test_an_emulated_set_up_never_asks_the_logs_of_the_real_aws() -> None:
    async with Emulator() as emulator, reader(None, endpoint_url=emulator.url) as read:
        with pytest.raises(Denied) as caught:
            await read(uuid=LIFE)
        assert caught.value.code == NOT_ASKED
        assert read.spent == []


async def test_an_address_of_all_services_is_not_one_of_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator() as emulator:
        monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
        async with reader(None) as read:
            with pytest.raises(Denied):
                await read(uuid=LIFE)


@pytest.mark.service
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_LOGS", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"])
async def test_the_environment_may_give_the_logs_of_an_emulated_set_up_an_address(
    name: str, logs: Logs, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await logs.write(RUN, LIFE, run_line(RUN, LIFE))
    monkeypatch.setenv(name, moto_url)
    async with Emulator() as emulator, reader(None, endpoint_url=emulator.url) as read:
        found = await read(uuid=LIFE)
    assert found is not None


# --- answers that moto does not give ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "AccessDeniedException", Denied),
        (400, "ThrottlingException", Throttled),
        (400, "ExpiredTokenException", Blind),
        (400, "InvalidParameterException", Transient),
        (503, "ServiceUnavailableException", Transient),
        (500, "", Transient),
    ],
)
async def test_a_refusal_is_of_the_same_class_as_everywhere(status: int, code: str, kind: type[ServiceError]) -> None:
    async def respond(_: web.BaseRequest) -> web.Response:
        text = json.dumps({"__type": code, "message": "no"}) if code else "<html>"
        return web.Response(status=status, text=text, content_type="application/x-amz-json-1.1")

    async with answering(respond) as url, reader(url) as read:
        for uuid, operation in ((LIFE, "GetLogEvents"), (None, "DescribeLogStreams")):
            with pytest.raises(ServiceError) as caught:
                await read(uuid=uuid)
            assert type(caught.value) is kind
            assert caught.value.operation == operation
        assert len(read.spent) == 2, "no retry hides here"


async def test_a_service_that_repeats_a_token_is_not_read_for_ever() -> None:
    async def respond(request: web.BaseRequest) -> web.Response:
        describes = request.headers["X-Amz-Target"].endswith("DescribeLogStreams")
        lines = [{"message": "{}", "timestamp": 1, "ingestionTime": 1}]
        answer = {"logStreams": [], "nextToken": "t"} if describes else {"events": lines, "nextForwardToken": "t"}
        return web.Response(text=json.dumps(answer), content_type="application/x-amz-json-1.1")

    async with answering(respond) as url, reader(url) as read:
        assert await read(uuid=LIFE) is None
        assert await read() is None
        assert read.spent == ["GetLogEvents"] * 2 + ["DescribeLogStreams"] * 2


@pytest.mark.parametrize("pages", [3, 100])
async def test_an_empty_page_is_not_the_end_and_empty_pages_are_not_read_for_ever(pages: int) -> None:
    """CloudWatch Logs may answer with nothing while there is more behind the token."""

    async def respond(request: web.BaseRequest) -> web.Response:
        page = int((await request.json()).get("nextToken", "0"))
        lines = [{"message": json.dumps(run_line(RUN, LIFE))}] if page == pages else []
        answer = {"events": lines, "nextForwardToken": str(page + 1)}
        return web.Response(text=json.dumps(answer), content_type="application/x-amz-json-1.1")

    async with answering(respond) as url, reader(url) as read:
        found = await read(uuid=LIFE)
        assert (found is not None) == (pages == 3)
        assert len(read.spent) == min(pages + 1, reading.MOST_PAGES)


@pytest.mark.parametrize("body", ["", "[]", "null", '{"events": null}', '{"events": [null]}', '{"logStreams": 7}'])
async def test_an_answer_that_is_none_is_an_error_or_no_manifest(body: str) -> None:
    async def respond(_: web.BaseRequest) -> web.Response:
        return web.Response(text=body, content_type="application/x-amz-json-1.1")

    async with answering(respond) as url, reader(url) as read:
        for uuid in (LIFE, None):
            try:
                assert await read(uuid=uuid) is None
            except ServiceError as error:
                assert type(error) is Transient  # noqa: PT017 - either is right, nothing else is
