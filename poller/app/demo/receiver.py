"""A webhook receiver as a user would write one: it verifies the signature, drops what it had already, answers 204."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from poller.core.events import Event

PATH: Final = "/hooks/healthomics"


@dataclass(frozen=True, slots=True)
class Received:
    """An event whose signature was right, and when it was acknowledged."""

    event: Event
    at: datetime


@dataclass(slots=True)
class Receiver:
    """What has come in."""

    secret: str
    received: list[Received] = field(default_factory=list)
    forged: int = 0
    repeated: int = 0
    url: str = ""
    _ids: set[str] = field(default_factory=set)

    async def take(self, request: web.Request) -> web.Response:
        """Answer one POST."""
        body = await request.read()
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401, text="the signature is wrong")
        if (identity := request.headers["webhook-id"]) in self._ids:
            self.repeated += 1
            return web.Response(status=204)
        self._ids.add(identity)
        self.received.append(Received(Event(body), datetime.now(UTC)))
        return web.Response(status=204)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    """Serve it on any free port of this machine while the context is open; gives its URL."""
    app = web.Application()
    app.router.add_post(PATH, receiver.take)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    finally:
        await runner.cleanup()
