"""Chats, played by a server: incoming webhooks of Slack, what a bot needs of its Web API, and a service of Apprise."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from poller.core.events import Event
from poller.sinks.messages import message_of
from poller.sinks.slack_blocks import payload_of
from poller.testing.rigs import Answer, HttpFarEnd, Rig, opened_toolbox
from tests.conformance.far_ends import made

BOT_TOKEN = "xoxb-5f0c9a77-secret"
APPRISE_PASSWORD = "pw-77c0ffee11"
WEBHOOK_PATH = "services/T000/B000/s3cr3tw3bh00k"


def drawn(payload: Mapping[str, Any]) -> bytes:
    """What is seen of a message."""
    return json.dumps({"text": payload["text"], "blocks": payload["blocks"]}, sort_keys=True).encode()


def as_slack_draws(event: Event) -> bytes:
    return drawn(payload_of(event))


class SlackWebhook(HttpFarEnd):
    """An incoming webhook."""

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        if request.method != "POST":
            return []
        assert request.path == f"/{WEBHOOK_PATH}"
        assert request.content_type == "application/json"
        return [drawn(await request.json())]

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        match answer:
            case "taken":
                return web.Response(text="ok")
            case "poison":
                return web.Response(status=400, text="invalid_blocks")
            case "busy":
                return super().respond(answer, request)
            case _:
                return web.Response(status=503, text=f"no: {request.url} {dict(request.headers)}")


class SlackApi(HttpFarEnd):
    """chat.postMessage and auth.test. `posted` is every message, with its timestamp; `refuses` are words for them."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Mapping[str, Any]] = []
        self.refuses: dict[str, str] = {}
        self.waits: str | None = None

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        assert request.headers["authorization"] == f"Bearer {BOT_TOKEN}"
        self.asked = await request.json()
        self.method = request.path.rpartition("/")[2]
        is_root = self.asked.get("metadata", {}).get("event_type") == "healthomics_thread"
        if self.method != "chat.postMessage" or is_root or self._refused():
            return []
        return [drawn(self.asked)]

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        if answer == "busy":
            return super().respond(answer, request)
        if answer == "taken" and self.waits is not None:
            limited = {"ok": False, "error": "ratelimited"}
            return web.json_response(limited, status=429, headers={"Retry-After": self.waits})
        if answer == "taken" and self.method == "auth.test":
            return web.json_response({"ok": True, "user": "poller"})
        if answer == "taken":
            if word := self._refused():
                return web.json_response({"ok": False, "error": word})
            stamp = f"1700000000.{len(self.posted):06}"
            self.posted.append({**self.asked, "ts": stamp})
            return web.json_response({"ok": True, "ts": stamp, "message": self.asked})
        if answer == "poison":
            return web.json_response({"ok": False, "error": "msg_too_long"})
        return web.Response(status=503, text=f"no: {dict(request.headers)}")

    def _refused(self) -> str | None:
        """What is said against the message that is asked for: by its thread, or whatever it is."""
        return self.refuses.get(self.asked.get("thread_ts", ""), self.refuses.get("all"))


def as_apprise_says_it(event: Event) -> bytes:
    message = message_of(event)
    return json.dumps([message.title, message.body]).encode()


class AppriseService(HttpFarEnd):
    """What Apprise calls json://: a service that it can be held to without an account anywhere."""

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        said = await request.json()
        assert said["type"] in ("success", "failure", "info")
        return [json.dumps([said["title"], said["message"]]).encode()]

    @property
    def address(self) -> str:
        return self.url.replace("http://", f"json://poller:{APPRISE_PASSWORD}@") + "runs"


@asynccontextmanager
async def slack_webhook_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = SlackWebhook()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        table = {"name": "chat", "type": "slack", "url": f"{far_end.url}{WEBHOOK_PATH}"}
        sink = made(kind, table, tools)
        yield Rig(sink, far_end, table, (WEBHOOK_PATH, "s3cr3tw3bh00k"), rendered=as_slack_draws)


@asynccontextmanager
async def slack_bot_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = SlackApi()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        table = {
            "name": "chat",
            "type": "slack",
            "token": BOT_TOKEN,
            "channel": "C0123",
            "api_url": f"{far_end.url}api/",
        }
        yield Rig(made(kind, table, tools), far_end, table, (BOT_TOKEN,), rendered=as_slack_draws)


@asynccontextmanager
async def apprise_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = AppriseService()
    async with far_end.serving(), opened_toolbox(directory) as tools:
        table = {"name": "mail", "type": "apprise", "urls": [far_end.address]}
        lacks: dict[Answer, str] = {
            "poison": "Apprise says of a message that it was not taken, and not whether it ever will",
            "busy": "nor when to come again",
        }
        sink = made(kind, table, tools)
        yield Rig(sink, far_end, table, (APPRISE_PASSWORD,), lacks, as_apprise_says_it)
