"""HealthOmics asked over real HTTP, while everything goes wrong that can."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from botocore.exceptions import NoRegionError

from poller.app.build import resolve_region
from poller.aws import AwsSessions
from poller.clock import SystemClock
from poller.core.errors import BadRequest, Blind, ConfigError, Denied, RunGone, ServiceError, Throttled, Transient
from poller.core.runs import GroupLimits
from poller.emulator import Emulator, Fault, Life
from poller.healthomics.service import HealthOmics
from poller.settings.model import AwsSettings
from tests.unit.http_rig import NOT_YOU, answering, assumed, identity, key_of

pytestmark = pytest.mark.usefixtures("aws_credentials")

ACCOUNT = "123456789012"
ROLE = "arn:aws:iam::210987654321:role/watcher"


@asynccontextmanager
async def asking(url: str | None, *, read_timeout: float = 20.0, **options: object) -> AsyncIterator[HealthOmics]:
    sessions = AwsSessions(connect_timeout=2.0, read_timeout=read_timeout)
    service = HealthOmics(sessions, SystemClock(), region="us-east-1", endpoint_url=url, **options)  # type: ignore[arg-type]
    try:
        yield service
    finally:
        await service.close()


def running_run(emulator: Emulator, **options: object) -> str:
    return emulator.start_run(Life.of("RUNNING"), **options)  # type: ignore[arg-type]


# --- what is read -----------------------------------------------------------------------------------------------------


async def test_a_run_is_read_whole_with_the_fields_that_botocore_does_not_know(emulator: Emulator) -> None:
    run_id = running_run(emulator, name="sample-42", tags={"project": "x"})
    emulator.add_fault(Fault(kind="altered", fields={"quantumMode": {"qubits": 3}, "status": "PAUSED"}))
    async with asking(emulator.url) as service:
        shown = await service.get_run(run_id)
    assert (shown.run_id, shown.status, shown.full) == (run_id, "PAUSED", True)
    assert shown.uuid
    assert shown.creation_time is not None
    assert shown.fields["quantumMode"] == {"qubits": 3}
    assert shown.fields["tags"] == {"project": "x"}
    assert shown.asked_at <= shown.answered_at


async def test_lists_are_read_in_pages_of_100_by_status_and_token(emulator: Emulator) -> None:
    for _ in range(130):
        running_run(emulator)
    async with asking(emulator.url) as service:
        first = await service.list_runs(status="RUNNING")
        assert len(first.items) == 100
        assert first.served_at is not None
        assert first.token is not None
        second = await service.list_runs(status="RUNNING", token=first.token)
        none = await service.list_runs(status="FAILED")
    assert second.token is None
    assert len({item.run_id for item in (*first.items, *second.items)}) == 130
    assert none.items == ()
    assert [call.status for call in emulator.calls] == ["RUNNING", "RUNNING", "FAILED"]


async def test_the_answer_is_dated_when_it_came_and_asked_when_it_was_sent(emulator: Emulator) -> None:
    run_id = running_run(emulator)
    emulator.add_fault(Fault(kind="slow", seconds=0.2))
    async with asking(emulator.url) as service:
        shown = await service.get_run(run_id)
    (call,) = emulator.calls
    assert shown.asked_at <= call.at
    assert (shown.answered_at - shown.asked_at).total_seconds() >= 0.2


async def test_what_a_run_group_allows_is_read_as_far_as_it_says(emulator: Emulator) -> None:
    emulator.add_group("77", name="lab", max_runs=2, max_duration=600)
    emulator.add_group("78", max_cpus=64, max_gpus=8)
    emulator.add_group("79")
    async with asking(emulator.url) as service:
        assert await service.get_run_group("77") == GroupLimits(max_runs=2, max_duration=600)
        assert await service.get_run_group("78") == GroupLimits(max_cpus=64, max_gpus=8)
        assert await service.get_run_group("79") == GroupLimits()


async def test_a_run_group_that_there_is_not_or_that_may_not_be_asked_about(emulator: Emulator) -> None:
    async with asking(emulator.url) as service:
        with pytest.raises(BadRequest, match="Run group 77 not found"):
            await service.get_run_group("77")
        emulator.add_group("77")
        for fault, expected in (
            (error("AccessDeniedException"), Denied),
            (error("ThrottlingException"), Throttled),
            (error("InternalServerException"), Transient),
            (Fault(kind="html"), Transient),
            (Fault(kind="empty"), Transient),
        ):
            emulator.add_fault(replace(fault, operation="GetRunGroup", count=1))
            with pytest.raises(expected):
                await service.get_run_group("77")
        assert await service.get_run_group("77") == GroupLimits()


async def test_what_is_no_run_id_is_not_even_asked(emulator: Emulator) -> None:
    async with asking(emulator.url) as service:
        for wrong in ("", "abc", "1/2", "../1", "1" * 19, "١"):
            with pytest.raises(BadRequest):
                await service.get_run(wrong)
    assert emulator.calls == []


# --- what goes wrong --------------------------------------------------------------------------------------------------


def error(code: str, **more: object) -> Fault:
    return Fault(kind="error", code=code, **more)  # type: ignore[arg-type]


FAILURES: list[tuple[Fault, type[ServiceError]]] = [
    (error("ThrottlingException"), Throttled),
    (error("ThrottlingException", named_in="body"), Throttled),
    (error("", http_status=429), Throttled),
    (error("RequestTimeoutException"), Transient),
    (error("InternalServerException"), Transient),
    (error("ServiceUnavailableException"), Transient),
    (error("", http_status=500), Transient),
    (error("", http_status=503), Transient),
    (error("ConflictException"), Transient),
    (error("ServiceQuotaExceededException"), Transient),
    (error("BrandNewException", http_status=400), Transient),
    (error("", http_status=404), Transient),
    (error("", http_status=403), Transient),
    (error("ResourceNotFoundException"), RunGone),
    (error("ResourceNotFoundException", named_in="body"), RunGone),
    (error("AccessDeniedException"), Denied),
    (error("ValidationException"), BadRequest),
    (error("ExpiredTokenException"), Blind),
    (error("UnrecognizedClientException"), Blind),
    (error("InvalidSignatureException"), Blind),
    (error("MissingAuthenticationToken"), Blind),
    (Fault(kind="reset"), Transient),
    (Fault(kind="cut_off"), Transient),
    (Fault(kind="truncated"), Transient),
    (Fault(kind="html"), Transient),
    (Fault(kind="html", http_status=502), Transient),
    (Fault(kind="html", http_status=404), Transient),
    (Fault(kind="empty"), Transient),
    (Fault(kind="empty", http_status=503), Transient),
    (Fault(kind="array"), Transient),
    (Fault(kind="bad_timestamp"), Transient),
    (Fault(kind="altered", fields={"status": None, "items": None}), Transient),
]


@pytest.mark.parametrize(
    ("fault", "kind"), FAILURES, ids=lambda value: f"{value.kind}-{value.code}-{value.http_status}-{value.named_in}"
    if isinstance(value, Fault) else value.__name__
)  # fmt: skip
async def test_every_failure_of_get_run_is_its_class_is_asked_once_and_is_over_with_the_next_answer(
    emulator: Emulator, fault: Fault, kind: type[ServiceError]
) -> None:
    run_id = running_run(emulator)
    async with asking(emulator.url) as service:
        emulator.add_fault(fault)
        with pytest.raises(ServiceError) as caught:
            await service.get_run(run_id)
        assert type(caught.value) is kind
        assert caught.value.operation == "GetRun"
        assert emulator.call_counts["GetRun"] == 1 + (fault.kind == "reset")  # aiohttp's own: see below
        emulator.clear_faults()
        assert (await service.get_run(run_id)).status == "RUNNING"


async def test_every_failure_of_list_runs_is_its_class(emulator: Emulator) -> None:
    running_run(emulator)
    async with asking(emulator.url) as service:
        for fault, kind in FAILURES:
            emulator.add_fault(fault)
            with pytest.raises(ServiceError) as caught:
                await service.list_runs(status="RUNNING")
            assert type(caught.value) is (Transient if kind is RunGone else kind), fault
            emulator.clear_faults()
    # one more: where a connection is reset before an answer, aiohttp itself repeats an idempotent request once
    assert emulator.call_counts["ListRuns"] == len(FAILURES) + 1


async def test_a_service_that_does_not_answer_is_waited_for_no_longer_than_the_read_timeout(emulator: Emulator) -> None:
    run_id = running_run(emulator)
    emulator.add_fault(Fault(kind="hang", count=1))
    async with asking(emulator.url, read_timeout=0.2) as service:
        with pytest.raises(Transient) as caught:
            await service.get_run(run_id)
        assert type(caught.value) is Transient
        assert (await service.get_run(run_id)).status == "RUNNING"


async def test_a_call_that_is_cancelled_is_cancelled_and_leaves_the_client_usable(emulator: Emulator) -> None:
    run_id = running_run(emulator)
    emulator.add_fault(Fault(kind="hang", count=1))
    async with asking(emulator.url) as service:
        call = asyncio.create_task(service.get_run(run_id))
        while not emulator.calls:  # noqa: ASYNC110 - the emulator has no event for it
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await service.get_run(run_id)).status == "RUNNING"


async def test_nobody_there_is_transient(emulator: Emulator) -> None:
    emulator.down()
    async with asking(emulator.url) as service:
        with pytest.raises(Transient):
            await service.get_run("1")


async def test_an_answer_about_another_run_is_unreadable(emulator: Emulator) -> None:
    run_id = running_run(emulator)
    emulator.add_fault(Fault(kind="altered", fields={"id": "999"}))
    async with asking(emulator.url) as service:
        with pytest.raises(Transient) as caught:
            await service.get_run(run_id)
    assert caught.value.code == "unreadable"


async def test_a_run_that_is_gone_is_gone(emulator: Emulator) -> None:
    async with asking(emulator.url) as service:
        with pytest.raises(RunGone):
            await service.get_run("999")


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_without_credentials_the_scope_is_blind_and_renewing_finds_new_ones(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = running_run(emulator)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with asking(emulator.url) as service:
        with pytest.raises(Blind):
            await service.get_run(run_id)
        assert emulator.calls == []
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "emulated")
        await service.renew()
        assert (await service.get_run(run_id)).uuid  # the raw body is kept by the new client too


async def test_renewed_credentials_are_those_that_are_signed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    signed_by: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        signed_by.append(key_of(request))
        return web.json_response({"id": "1", "status": "RUNNING"})

    async with answering(answer) as url, asking(url) as service:
        await service.get_run("1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
        await service.get_run("1")
        await service.renew()
        await service.get_run("1")
    assert signed_by == ["emulated", "emulated", "another"]


async def test_a_profile_that_does_not_exist_is_blindness(emulator: Emulator) -> None:
    async with asking(emulator.url, profile="nobody") as service:
        with pytest.raises(Blind):
            await service.get_run("1")


def test_no_region_is_told_at_once_as_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no region: set"):
        resolve_region(AwsSettings())


async def test_no_region_deep_inside_is_no_crash() -> None:
    async with asking(None) as service:
        service.region = None  # type: ignore[assignment]
        with pytest.raises(ServiceError) as caught:
            await service.get_run("1")
    assert isinstance(caught.value.__cause__, NoRegionError)


async def test_with_a_role_every_call_is_made_as_that_role(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_by: list[str] = []

    async def sts(request: web.BaseRequest) -> web.Response:
        asked = await request.text()
        assert "ExternalId=lab-1" in asked or "GetCallerIdentity" in asked
        signed_by.append(key_of(request))
        text = identity("210987654321") if "GetCallerIdentity" in asked else assumed()
        return web.Response(text=text, content_type="text/xml")

    async def omics(request: web.BaseRequest) -> web.Response:
        signed_by.append(key_of(request))
        return web.json_response({"id": "1", "status": "RUNNING"})

    async with answering(sts) as sts_url, answering(omics) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_url)
        async with asking(url, role_arn=ROLE, external_id="lab-1") as service:
            await service.get_run("1")
            assert await service.account() == "210987654321"
    assert signed_by == ["emulated", "ASIAROLE", "ASIAROLE"]


async def test_a_role_that_is_refused_is_blindness(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sts(_: web.BaseRequest) -> web.Response:
        return web.Response(status=403, text=NOT_YOU, content_type="text/xml")

    async with answering(sts) as sts_url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_url)
        async with asking(emulator.url, role_arn=ROLE) as service:
            for call in (service.get_run("1"), service.list_runs(), service.account()):
                with pytest.raises(Blind, match="AccessDenied: not you"):
                    await call
    assert emulator.calls == []


# --- the account ------------------------------------------------------------------------------------------------------


async def test_behind_a_custom_endpoint_the_account_is_not_asked(emulator: Emulator) -> None:
    async with asking(emulator.url) as service:
        assert await service.account() is None
    assert emulator.calls == []


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_OMICS", "AWS_ENDPOINT_URL"])
async def test_an_endpoint_of_the_environment_is_a_custom_one_too(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    run_id = running_run(emulator)
    monkeypatch.setenv(variable, emulator.url)
    async with asking(None) as service:
        assert (await service.get_run(run_id)).status == "RUNNING"  # no host prefix: it would not resolve
        assert await service.account() is None


async def test_behind_a_custom_endpoint_with_one_for_sts_the_account_is_asked(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", emulator.url)
    async with asking(emulator.url) as service:
        assert await service.account() == ACCOUNT
        emulator.caller_account_id = "999999999999"
        assert await service.account() == "999999999999"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ExpiredToken", Blind),
        ("AccessDeniedException", Denied),
        ("InternalServerException", Transient),
        ("ThrottlingException", Throttled),
    ],
)
async def test_a_failure_to_name_the_account_is_its_class(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[ServiceError]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", emulator.url)
    emulator.add_fault(Fault(kind="error", code=code, operation="GetCallerIdentity"))
    async with asking(emulator.url) as service:
        with pytest.raises(ServiceError) as caught:
            await service.account()
    assert type(caught.value) is kind


async def test_the_real_service_is_asked_under_its_host_prefix() -> None:
    hosts: list[str] = []

    def remember(request: object, **_: object) -> None:
        hosts.append(str(request.url))  # type: ignore[attr-defined]
        raise OSError("not on the network in a test")

    async with asking(None) as service:
        client = await service.sessions.client("omics", region="us-east-1")
        client.meta.events.register("before-send.omics", remember)
        with pytest.raises(Transient):
            await service.get_run("1")
    assert [host.split("?")[0] for host in hosts] == ["https://workflows-omics.us-east-1.amazonaws.com/run/1"]
