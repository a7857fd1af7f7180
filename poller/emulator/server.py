"""The emulator itself: HealthOmics over real HTTP, in the caller's event loop.

Here requests meet the service, its outages, quotas and faults; what is answered is decided in `service.py`, and how it
is written in `answers.py`. Also answers `sts:GetCallerIdentity`, and other processes under `/_emulator/`
(`control.py`). It checks no signatures.
"""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Self, TypeVar, Unpack
from urllib.parse import parse_qs

from aiohttp import web

from poller.emulator import answers, control
from poller.emulator.account import Account, AccountOptions
from poller.emulator.answers import IDENTITY
from poller.emulator.calls import Call
from poller.emulator.errors import Refused, not_found
from poller.emulator.faults import Asked, Fault
from poller.emulator.requests import Request, routed
from poller.emulator.scenario import Scenario

R = TypeVar("R")


class Emulator(Account):
    """A HealthOmics of one account and region, at `url` while its context is open.

    `scenario`: what it starts with. `host`, `port`: where it listens; 0: on any free port. `speed`: divides the
    durations of lives; times in answers are those of the wall clock `now`. `seed`: of ids, random lives and chance.
    `account_id`, `region`: whose ARNs it gives. `quota_per_second`: calls per second of each operation, or by
    operation; None: as the scenario says, and without limit where it says nothing (`SERVICE_QUOTAS` are the service's
    own defaults, `{}` is no limit whatever the scenario says).

    All methods belong to the event loop that opened the context; `poller.testing.emulator` offers them to other
    threads.
    """

    def __init__(
        self,
        scenario: Scenario | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        **options: Unpack[AccountOptions],
    ) -> None:
        super().__init__(scenario, **options)
        self._host, self._port = host, port
        self._runner: web.ServerRunner | None = None
        self._listener: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._coming_up: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._is_up = True

    # Its life

    async def __aenter__(self) -> Self:
        self._begin()
        bound = self._bound()
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None),
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        await self._listen(bound)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._coming_up is not None:
            await self._coming_up
        if self._placeholder is not None:
            self._placeholder.close()
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            self._abort_connections()
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens. Give it to a client as endpoint_url, with host prefixes off (docs/emulator.md)."""
        if not self._port:
            raise RuntimeError("the emulator is not running: open it with `async with`")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment, so that boto3 or the AWS CLI in it talk to the emulator."""
        return {
            "AWS_ENDPOINT_URL_OMICS": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
        }

    def down(self) -> None:
        """Be unreachable: open connections are reset, new ones refused, until `up()`. Runs go on living."""
        self._is_up = False
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._placeholder = self._bound()  # holds the port, so that nobody else is given it
        self._abort_connections()

    def up(self) -> None:
        """Be reachable again, at the same url."""
        self._is_up = True
        if self._placeholder is None:
            return
        listening, self._placeholder = self._placeholder, None
        listening.listen(128)  # from here on clients wait in its queue
        self._coming_up = asyncio.get_running_loop().create_task(self._listen(listening), name="emulator up")

    # Requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._is_up:
            answers.reset(request)
        path, _, parameters = request.raw_path.partition("?")
        body = await request.read()
        if path.startswith(control.PREFIX):
            return await control.answer(self, request, path, body)
        if request.method == "POST" and path == "/":
            return await self._serve(request, Request(IDENTITY, body=body), Asked(IDENTITY))
        asked = routed(request.method, path, parse_qs(parameters, keep_blank_values=True), body)
        if asked is None:
            return answers.error("UnknownOperationException", f"No operation is at {request.method} {path}")
        return await self._serve(request, asked, asked.asked())

    async def _serve(self, request: web.BaseRequest, wanted: Request, asked: Asked) -> web.StreamResponse:
        """One call: outages, then quota, then faults, then the answer; and what became of it, for the log."""
        operation = asked.operation
        call = self._log.opened(asked, self._instant())
        outage = self._faults.outage(operation, self._instant())
        if outage is None and not self._quota.take(operation, self._instant()):
            return self._close(call, "ThrottlingException", answers.error("ThrottlingException", operation=operation))
        stale, short = 0.0, None
        spoiling: Fault | None = None
        for fault in self._faults.strike(asked, self._instant()) if outage is None else [outage]:
            match fault.kind:
                case "slow":
                    await asyncio.sleep(fault.seconds)
                case "hang":
                    self._close(call, "hang", None)
                    await self._closing.wait()
                    answers.reset(request)
                case "reset":
                    self._close(call, "reset", None)
                    answers.reset(request)
                case "error":
                    return self._close(call, fault.code or str(fault.http_status), answers.faulty(fault, operation))
                case "hidden" if asked.run_id is not None or operation == "GetBatch":
                    what = f"Run {asked.run_id}" if asked.run_id is not None else f"Batch {asked.batch_id}"
                    return self._refuse(call, not_found(what))
                case "stale":
                    stale = fault.seconds
                case "short_page":
                    short = fault.items
                case _:
                    spoiling = fault
        items = self._faults.items(asked, self._instant())
        try:
            if operation == IDENTITY:
                answer = answers.identity(wanted.body, self.caller_account_id)
            else:
                answer = self._service.answer(wanted, self._instant(), items=items, stale=stale, short=short)
        except Refused as refused:
            return self._refuse(call, refused)
        if spoiling is not None:
            self._close(call, spoiling.kind, None)
            return await answers.spoil(request, answer, spoiling)
        return self._close(call, str(answer.status), answers.good(answer, operation))

    def _refuse(self, call: Call, refused: Refused) -> web.Response:
        error = answers.error(refused.code, refused.message, operation=call.operation)
        return self._close(call, refused.code, error)

    def _close(self, call: Call, outcome: str, response: R) -> R:
        self._log.closed(call, outcome, self._instant())
        return response

    # Connections

    def _bound(self) -> socket.socket:
        bound = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self._port))
        except BaseException:
            bound.close()
            raise
        self._port = bound.getsockname()[1]
        return bound

    async def _listen(self, bound: socket.socket) -> None:
        assert self._runner is not None
        server = self._runner.server
        assert server is not None
        self._listener = await asyncio.get_running_loop().create_server(server, sock=bound)
        if not self._is_up:  # told to be down again meanwhile
            self.down()

    def _abort_connections(self) -> None:
        server = self._runner.server if self._runner is not None else None
        for connection in server.connections if isinstance(server, web.Server) else ():
            if isinstance(connection.transport, asyncio.Transport):
                connection.transport.abort()
