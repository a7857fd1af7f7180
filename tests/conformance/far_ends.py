"""What the rigs of the sinks share: a toolbox with real time, and a far end over real HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from aiohttp import web

from poller.sinks.toolbox import Tools
from poller.testing.sinks import Answer, Rig

RigMaker = Callable[[type[Any], Path], AbstractAsyncContextManager[Rig]]


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def tools_in(directory: Path) -> AsyncIterator[Tools]:
    tools = Tools(SystemClock(), directory)
    try:
        yield tools
    finally:
        await tools.close()


def made(kind: type[Any], table: Mapping[str, Any], tools: Tools) -> Any:
    return kind(kind.settings_model.model_validate(dict(table)), tools)


class HttpFarEnd:
    """A real HTTP server on loopback; its error pages repeat the request's headers, as some do."""

    def __init__(self) -> None:
        self.url = ""
        self._bodies: list[bytes] = []
        self._answer: Answer = "taken"
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def received(self) -> Sequence[bytes]:
        return self._bodies

    def answers(self, answer: Answer) -> None:
        self._answer = answer
        self._released.set()
        self._released, self._reached = asyncio.Event(), asyncio.Event()

    async def reached(self) -> None:
        await self._reached.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        bodies = await self.bodies_of(request)
        answer, released = self._answer, self._released
        if answer == "hang":
            self._reached.set()
            await released.wait()
        elif answer == "reset":
            assert request.transport is not None
            request.transport.abort()
        elif answer == "taken":
            self._bodies += bodies
        return self.respond(answer, request)

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        """The bodies of the events in a request."""
        return [await request.read()]

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        status = {"taken": 204, "poison": 422}.get(answer, 503)
        return web.Response(status=status, text=None if status == 204 else f"no: {dict(request.headers)}")

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)  # it would show secret paths
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield
        finally:
            self._released.set()
            await runner.cleanup()
