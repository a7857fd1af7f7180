"""What a sink is tested with: a rig, which is the sink and its far end; a far end over HTTP; a toolbox.

The suite itself: `testing/sinks.py`. How to use them: docs/writing-a-sink.md.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

from aiohttp import web

from poller.clock import SystemClock
from poller.core.events import Event
from poller.ports.sinks import Sink
from poller.sinks.toolbox import Tools

Answer = Literal["taken", "down", "busy", "poison", "partial", "hang", "reset"]
"""What a far end does with what reaches it from now on, until it is told otherwise.

taken: it takes it · down: it refuses it in a way that passes or that a person mends (HTTP 503, a full disk) · busy: it
has too much to do, and asks to come again after `PAUSE` (HTTP 429 and Retry-After) · poison: it will never take such an
event · partial: it takes the first event, and will never take those after it · hang: it takes what comes and does not
answer · reset: it breaks off.
"""

PAUSE: Final = timedelta(seconds=7)
"""The pause that a far end asks for when it is busy."""


class FarEnd(Protocol):
    """Where the sink under test sends to."""

    async def received(self) -> Sequence[bytes]:
        """The bodies of the events that arrived and were taken so far, in order of arrival."""
        ...

    def answers(self, answer: Answer) -> None:
        """What is done from now on. What hangs is let go by the next call, and need not be counted as received."""
        ...

    async def reached(self) -> None:
        """Return once a send hangs here."""
        ...


@dataclass
class Rig:
    """A sink ready to send, and what is around it.

    `table` is a valid table of the configuration for such a sink; `secrets` are planted in it, or in the environment,
    and must show nowhere. `lacks` says what this transport, or this far end, cannot do: answer -> reason. `rendered`
    says what is received of an event, by a sink that does not send its bytes: a message in a chat.
    """

    sink: Sink
    far_end: FarEnd
    table: Mapping[str, Any]
    secrets: Sequence[str] = ()
    lacks: Mapping[Answer, str] = field(default_factory=dict)
    rendered: Callable[[Event], bytes] = attrgetter("body")


class HttpFarEnd:
    """A real HTTP server on loopback; its error pages repeat the request's headers, as some do.

    As it is, a request is an event: 204 takes it, 422 will never. For another protocol override `bodies_of` and
    `respond`.
    """

    def __init__(self) -> None:
        self.url = ""
        """Where it listens, with a / at the end."""
        self._bodies: list[bytes] = []
        self._answer: Answer = "taken"
        self._took_the_first = False
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def received(self) -> Sequence[bytes]:
        return self._bodies

    def answers(self, answer: Answer) -> None:
        self._answer = answer
        self._took_the_first = False
        self._released.set()
        self._released, self._reached = asyncio.Event(), asyncio.Event()

    async def reached(self) -> None:
        await self._reached.wait()

    async def bodies_of(self, request: web.Request) -> Sequence[bytes]:
        """The bodies of the events in a request; of one that sends none, a probe, none."""
        return [await request.read()] if request.method in ("POST", "PUT") else []

    def respond(self, answer: Answer, request: web.Request) -> web.StreamResponse:
        """What it says. `partial` comes here only for a request of which it took the first event and no other."""
        match answer:
            case "taken":
                return web.Response(status=204)
            case "busy":
                return web.Response(status=429, headers={"Retry-After": f"{PAUSE.total_seconds():g}"})
            case _:
                status = 422 if answer in ("poison", "partial") else 503
                return web.Response(status=status, text=f"no: {dict(request.headers)}")

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Listen on a port that is free, with TLS or without, until the context is left."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)  # it would show secret paths
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield self
        finally:
            self._released.set()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        bodies = await self.bodies_of(request)
        answer, released = self._answer, self._released
        if answer == "hang":
            self._reached.set()
            await released.wait()
        elif answer == "reset":
            assert request.transport is not None
            request.transport.abort()
        elif answer == "partial":
            answer = self._take_the_first(bodies)
        elif answer == "taken":
            self._bodies += bodies
        return self.respond(answer, request)

    def _take_the_first(self, bodies: Sequence[bytes]) -> Answer:
        """Take the first event of all that come, in this request or in one before; what that makes of this one."""
        if not bodies:
            return "taken"
        if self._took_the_first:
            return "poison"
        self._took_the_first = True
        self._bodies.append(bodies[0])
        return "taken" if len(bodies) == 1 else "partial"


@asynccontextmanager
async def opened_toolbox(directory: Path) -> AsyncIterator[Tools]:
    """The toolbox that the daemon gives to its sinks, closed when the context is left.

    Args: `directory` stands for the one of the configuration file.
    """
    tools = Tools(SystemClock(), directory)
    try:
        yield tools
    finally:
        await tools.close()
