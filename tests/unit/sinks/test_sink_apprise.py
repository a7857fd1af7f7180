"""Apprise: what is sent, what a failure says, and which addresses are refused. Delivery: tests/conformance."""

import json
import sys
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from poller.core.errors import Retry
from poller.core.samples import sample_event
from poller.sinks.apprise import AppriseSettings, AppriseSink
from poller.sinks.messages import message_of
from poller.sinks.toolbox import Tools
from tests.unit.sinks.test_sink_webhook import answering, server

EVENT = sample_event("failed")


def settings(*urls: str, **keys: Any) -> AppriseSettings:
    return AppriseSettings.model_validate({"name": "mail", "type": "apprise", "urls": urls, **keys})


def address(url: str, user: str = "") -> str:
    """A server of ours, as Apprise writes it."""
    return url.partition("/hooks")[0].replace("http://", f"json://{user}") + "/runs"


async def failure(sink: AppriseSink) -> str:
    with pytest.raises(Retry) as caught:
        await sink.send([EVENT])
    return str(caught.value)


@pytest.mark.parametrize(("kind", "said"), [("failed", "failure"), ("completed", "success"), ("running", "info")])
async def test_a_message_in_words_and_what_kind_it_is(kind: str, said: str, tools: Tools) -> None:
    async with answering(200) as (url, got):
        await AppriseSink(settings(address(url)), tools).send([sample_event(kind)])
    ((_, body),) = got
    sent = json.loads(body)
    message = message_of(sample_event(kind))
    assert (sent["title"], sent["message"], sent["type"]) == (message.title, message.body, said)


async def test_words_of_ours_are_no_commands_of_apprise(tools: Tools) -> None:
    name = r"a\nb {{app_id}} ${HOME} :smile: <b>"
    async with answering(200) as (url, got):
        await AppriseSink(settings(address(url)), tools).send([sample_event("failed", name=name)])
    assert json.loads(got[0][1])["title"] == f"Run {name} (1234567) failed"


async def test_each_address_gets_it_and_one_that_fails_is_named(tools: Tools) -> None:
    async with answering(200) as (good, taken), answering(503, "no") as (bad, refused):
        sink = AppriseSink(settings(address(good), address(bad, "bot:s3cr3t-pass@")), tools)
        said = await failure(sink)
    assert (len(taken), len(refused)) == (1, 1)
    assert said.startswith("JSON: Failed to send JSON POST notification")
    assert said.endswith("error=503.")


async def test_no_failure_shows_a_part_of_an_address(tools: Tools) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=400, text=f"no: {request.url} {dict(request.headers)}")

    async with server(echo) as url:
        said = await failure(AppriseSink(settings(address(url, "bot:s3cr3t-p%20ss@")), tools))
    assert "s3cr3t" not in said
    gone = await failure(AppriseSink(settings(address(url, "bot:s3cr3t-pass@")), tools))
    assert "Connection error" in gone
    assert "s3cr3t" not in gone


async def test_there_is_nothing_to_probe(tools: Tools) -> None:
    async with answering(200) as (url, got):
        assert await AppriseSink(settings(address(url)), tools).probe() == "Apprise can only send, so nothing was tried"
    assert got == []


@pytest.mark.parametrize("wrong", ["nope://x", "slack://too-few-tokens", "", "json://", "json://a, json://b"])
def test_what_apprise_cannot_send_to_is_refused_by_its_number_and_not_shown(wrong: str) -> None:
    with pytest.raises(ValidationError, match="number 2 is no address that Apprise can send to") as caught:
        settings("json://localhost", wrong)
    assert not wrong or wrong not in str(caught.value)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ValidationError, match=r'pip install "healthomics-poller\[apprise\]"'):
        settings("json://localhost")


def test_messages_and_tags_are_left_out_unless_somebody_asks() -> None:
    assert settings("json://localhost").omit == ("status_message", "tags")
    assert settings("json://localhost", omit=[]).omit == ()
