"""The emulator itself: HealthOmics over real HTTP, in the caller's event loop.

Here requests meet the service, its quotas and its faults; what is answered is decided in `service.py`, from the wall
clock that was handed in. Also answers `sts:GetCallerIdentity`, and other processes under `/_emulator/` (`control.py`).
It checks no signatures.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, NoReturn, Self, TypeVar, Unpack
from urllib.parse import parse_qs
from uuid import UUID
from xml.sax.saxutils import escape

from aiohttp import web

from poller.emulator import control
from poller.emulator.errors import HTTP_STATUS, MESSAGES, Refused
from poller.emulator.faults import Asked, Fault, FaultRules, spoiled
from poller.emulator.instants import datetime_of, instant_of
from poller.emulator.lives import GONE, Life, Step, steps_of
from poller.emulator.quota import Quota
from poller.emulator.runs import Run, RunOptions, RunSpec
from poller.emulator.scenario import RANDOM, Scenario
from poller.emulator.service import Answer, Request, Service, routed
from poller.emulator.world import Transition, World

JSON: Final = "application/json"
XML: Final = "text/xml"
PAGE_OF_A_PROXY: Final = b"<html><body><h1>Bad Gateway</h1></body></html>"
IDENTITY: Final = "GetCallerIdentity"
STS: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
# An emulator may run for days: of the log of calls the younger part is kept.
CALLS_KEPT: Final = 100_000
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # linger for 0 seconds: a close sends RST, not FIN

R = TypeVar("R")


@dataclass(slots=True)
class Call:
    """One call as it was asked and answered. `outcome`: "200", an error's name, a fault's kind; "" while it is
    unanswered.
    """

    at: datetime
    operation: str
    run_id: str | None
    status: str | None
    token: str | None
    outcome: str = ""
    answered_at: datetime | None = None


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Emulator:
    """A HealthOmics of one account and region, at `url` while its context is open.

    `scenario`: what it starts with. `speed`: divides the durations of lives; times in answers are those of the wall
    clock `now`. `seed`: of ids, random lives and chance. `quota_per_second`: calls per second of each operation, or by
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
        speed: float = 1.0,
        seed: int = 0,
        account_id: str = "123456789012",
        region: str = "us-east-1",
        quota_per_second: Mapping[str, float] | float | None = None,
        now: Callable[[], datetime] = _wall_clock,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"a speed is above 0, not {speed}")
        self.scenario = scenario or Scenario()
        self.caller_account_id = account_id  # what GetCallerIdentity says; may be changed at any time
        self.calls: list[Call] = []
        self.call_counts: Counter[str] = Counter()
        self.outcome_counts: Counter[tuple[str, str]] = Counter()
        self._host, self._port, self._now = host, port, now
        self._rng = random.Random(seed)  # noqa: S311  # plausible ids and chance, not secrets
        self._world = World(
            account_id=account_id,
            region=region,
            rng=self._rng,
            speed=speed,
            order=self.scenario.order,
            max_runs=self.scenario.max_runs,
            reuse_ids=self.scenario.reuse_ids,
            cancelling=self.scenario.cancel_seconds,
            deleting=self.scenario.deleted_seconds,
            visible_after=self.scenario.visible_after,
        )
        self._service = Service(self._world, self._new_life)
        self._quota = Quota(quota_per_second if quota_per_second is not None else self.scenario.quota_per_second)
        self._faults = FaultRules(self._rng)
        self._runner: web.ServerRunner | None = None
        self._listener: asyncio.Server | None = None
        self._placeholder: socket.socket | None = None
        self._coming_up: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._is_up = True

    # Its life

    async def __aenter__(self) -> Self:
        for fault in self.scenario.faults:
            self.add_fault(fault)
        for spec in self.scenario.runs:
            self._world.start(spec, self._instant())
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

    # Runs

    def start_run(self, life: Life | str | None = None, **options: Unpack[RunOptions]) -> str:
        """Start a run and return its id; `life`: a life, the name of one of the scenario's, "random", or None for its
        default.

        Options are those of `RunSpec`. Raises: Refused for an id in use or no room; KeyError for an unknown life's
        name.
        """
        spec = RunSpec(life=life if isinstance(life, Life) else self._life_named(life), **options)
        return self._world.start(spec, self._instant()).id

    def cancel_run(self, run_id: str) -> None:
        """What CancelRun does. Raises: Refused."""
        self._world.cancel(self._run(run_id), self._instant())

    def delete_run(self, run_id: str) -> None:
        """What DeleteRun does. Raises: Refused."""
        self._world.delete(self._run(run_id), self._instant())

    def evict(self, run_id: str) -> None:
        """Forget the run at once, in whatever status it is. Raises: Refused."""
        self.move_run(run_id, Step(GONE))

    def move_run(self, run_id: str, *steps: Step | str | tuple[str, float]) -> None:
        """From now on the run lives these steps instead of the rest of its life. Raises: Refused."""
        run = self._run(run_id)
        self._world.redirect(run, steps_of(*steps), self._instant())

    def status_of(self, run_id: str) -> str | None:
        """The true status of the run that holds the id now; None if there is none."""
        self._world.advance(self._instant())
        run = self._world.find(run_id)
        return None if run is None else run.status

    def history(self) -> list[Transition]:
        """What truly happened so far, in the order in which it did."""
        self._world.advance(self._instant())
        return list(self._world.transitions)

    def census(self) -> Mapping[str, int]:
        """How many runs are in each status now."""
        self._world.advance(self._instant())
        return self._world.census()

    # Faults

    def add_fault(self, fault: Fault) -> None:
        """Let this go wrong from now on; faults added earlier come first."""
        self._faults.add(fault, self._instant())

    def remove_fault(self, fault: Fault) -> None:
        """Take back a fault that was added; nothing happens if there is none like it."""
        self._faults.remove(fault)

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def faults(self) -> list[Fault]:
        """The faults in force, used up or not."""
        return self._faults.all

    # Requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._is_up:
            self._reset(request)
        path = request.raw_path.partition("?")[0]
        body = await request.read()
        if path.startswith(control.PREFIX):
            return await control.answer(self, request, path, body)
        query = parse_qs(request.raw_path.partition("?")[2], keep_blank_values=True)
        if request.method == "POST" and path == "/":
            return await self._serve(request, Request(IDENTITY, body=body), Asked(IDENTITY))
        asked = routed(request.method, path, query, body)
        if asked is None:
            return self._error("UnknownOperationException", f"No operation is at {request.method} {path}")
        return await self._serve(request, asked, asked.asked())

    async def _serve(self, request: web.BaseRequest, wanted: Request, asked: Asked) -> web.StreamResponse:
        """One call: quota, then faults, then the answer; and what became of it, for the log."""
        call = Call(datetime_of(self._instant()), asked.operation, asked.run_id, asked.status, asked.token)
        self._log(call)
        if not self._quota.take(asked.operation, self._instant()):
            return self._close(
                call, "ThrottlingException", self._error("ThrottlingException", operation=asked.operation)
            )
        stale = 0.0
        spoiling: Fault | None = None
        for fault in self._faults.strike(asked, self._instant()):
            match fault.kind:
                case "slow":
                    await asyncio.sleep(fault.seconds)
                case "hang":
                    self._close(call, "hang", None)
                    await self._closing.wait()
                    self._reset(request)
                case "reset":
                    self._close(call, "reset", None)
                    self._reset(request)
                case "error":
                    return self._close(call, fault.code or str(fault.http_status), self._faulty(fault, asked.operation))
                case "hidden" if asked.run_id is not None:
                    code = "ResourceNotFoundException"
                    return self._close(call, code, self._error(code, f"Run {asked.run_id} not found"))
                case "stale":
                    stale = fault.seconds
                case _:
                    spoiling = fault
        items = self._faults.items(asked, self._instant())
        try:
            if asked.operation == IDENTITY:
                answer = self._identity(wanted)
            else:
                answer = self._service.answer(wanted, self._instant(), items=items, stale=stale)
        except Refused as refused:
            return self._close(
                call, refused.code, self._error(refused.code, refused.message, operation=asked.operation)
            )
        if spoiling is not None:
            self._close(call, spoiling.kind, None)
            return await self._spoil(request, answer, spoiling)
        return self._close(call, str(answer.status), self._good(answer, XML if asked.operation == IDENTITY else JSON))

    def _identity(self, wanted: Request) -> Answer:
        """sts:GetCallerIdentity: the query protocol, answered in XML."""
        action = parse_qs(wanted.body.decode(errors="replace")).get("Action", [""])[0]
        if action != IDENTITY:
            raise Refused("InvalidAction", f"Could not find operation {action}")
        account = escape(self.caller_account_id)
        return Answer(
            200,
            f'<GetCallerIdentityResponse xmlns="{STS}"><GetCallerIdentityResult>'
            f"<Arn>arn:aws:sts::{account}:assumed-role/Lab/ana</Arn><UserId>AROAEMULATEDEMULATED:ana</UserId>"
            f"<Account>{account}</Account></GetCallerIdentityResult>"
            f"<ResponseMetadata><RequestId>{self._request_id()}</RequestId></ResponseMetadata>"
            "</GetCallerIdentityResponse>".encode(),
        )

    def _good(self, answer: Answer, content_type: str) -> web.Response:
        headers = {"x-amzn-RequestId": self._request_id()}
        return web.Response(status=answer.status, body=answer.body, content_type=content_type, headers=headers)

    def _faulty(self, fault: Fault, operation: str) -> web.Response:
        return self._error(
            fault.code,
            fault.message,
            operation=operation,
            http_status=fault.http_status,
            named_in=fault.named_in,
            retry_after=fault.retry_after,
        )

    def _error(
        self,
        code: str,
        message: str | None = None,
        *,
        operation: str = "",
        http_status: int | None = None,
        named_in: str = "header",
        retry_after: float | None = None,
    ) -> web.Response:
        """An error as the protocol of the operation writes it: XML for STS, else JSON with the name in a header or in
        the body.
        """
        text = message if message is not None else MESSAGES.get(code, code)
        status = http_status if http_status is not None else HTTP_STATUS.get(code, 400)
        headers = {"x-amzn-RequestId": self._request_id()}
        if retry_after is not None:
            headers["Retry-After"] = f"{retry_after:g}"
        if operation == IDENTITY:
            body = (
                f'<ErrorResponse xmlns="{STS}"><Error><Type>Sender</Type><Code>{escape(code)}</Code>'
                f"<Message>{escape(text)}</Message></Error><RequestId>{headers['x-amzn-RequestId']}</RequestId></ErrorResponse>"
            )
            return web.Response(status=status, text=body, content_type=XML, headers=headers)
        members = {"message": text}
        if named_in == "body" and code:
            members["__type"] = f"com.amazonaws.omics#{code}"
        elif code:
            headers["x-amzn-ErrorType"] = code
        return web.Response(status=status, body=json.dumps(members).encode(), content_type=JSON, headers=headers)

    async def _spoil(self, request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
        status = fault.http_status or answer.status
        body = spoiled(fault, answer.body)
        if fault.kind == "html":
            return web.Response(status=status, body=PAGE_OF_A_PROXY, content_type="text/html")
        if fault.kind == "cut_off":
            response = web.StreamResponse(status=status, headers={"Content-Type": JSON})
            response.content_length = max(len(answer.body), 2)
            await response.prepare(request)
            await response.write(body or b"{")
            self._reset(request)
        return self._good(Answer(status, body), JSON)

    def _log(self, call: Call) -> None:
        if len(self.calls) >= 2 * CALLS_KEPT:
            del self.calls[:CALLS_KEPT]
        self.calls.append(call)
        self.call_counts[call.operation] += 1

    def _close(self, call: Call, outcome: str, response: R) -> R:
        call.outcome, call.answered_at = outcome, datetime_of(self._instant())
        self.outcome_counts[call.operation, outcome] += 1
        return response

    # Parts

    def _instant(self) -> int:
        return instant_of(self._now())

    def _request_id(self) -> str:
        return str(UUID(int=random.getrandbits(128), version=4))  # not the seeded chance: calls must not change lives

    def _run(self, run_id: str) -> Run:
        self._world.advance(self._instant())
        return self._world.get(run_id)

    def _life_named(self, name: str | None) -> Life:
        if name is None and self.scenario.default_life is not None:
            return self.scenario.default_life
        return Life.random(self._rng) if name in {None, RANDOM} else self.scenario.lives[str(name)]

    def _new_life(self, name: str | None) -> Life:
        """The life of a run that StartRun starts."""
        try:
            return self._life_named(name)
        except KeyError:
            raise Refused("ValidationException", f"The scenario has no life called {name}") from None

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

    def _reset(self, request: web.BaseRequest) -> NoReturn:
        """Break the connection: the client sees a reset, since what it sent or waits for is thrown away."""
        if request.transport is not None:
            linger = request.transport.get_extra_info("socket")
            if linger is not None:
                linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            request.transport.abort()
        raise asyncio.CancelledError
