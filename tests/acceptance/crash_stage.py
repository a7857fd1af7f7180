"""The stage: an emulated account, a webhook receiver that keeps a log, and the daemon between them."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from aiohttp import web

from poller.emulator import Emulator, Life
from tests.acceptance.crash_truth import (
    DIAGNOSED,
    ENDS,
    Arrival,
    Step,
    lags,
    missing,
    shown,
    steps_of,
    undiagnosed,
    violations,
)
from tests.waiting import becomes

COMMAND: Final = Path(sys.executable).with_name("omics-poller")
SECRET: Final = "whsec_" + base64.b64encode(b"a secret of this stage only").decode()
PATIENCE: Final = 120.0
"""Seconds after which what is waited for counts as missing; nothing takes so long where all is well."""
STOPS_WITHIN: Final = 8.0


class Receiver:
    """A webhook endpoint that writes down each arrival before it answers, and answers as `mood` says.

    `mood` gives a status, or None for a connection that is reset instead of an answer; it may take its time.
    """

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.url = ""
        self.mood: Callable[[web.Request], Awaitable[int | None]] = _always_content
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def up(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/hook"

    async def down(self) -> None:
        """Refuse connections, and end those that are open."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body, at, place = await request.read(), datetime.now(UTC), len(self.arrivals)
        identity = request.headers["webhook-id"]
        arrival = Arrival(identity, body, at, _is_signed(request.headers, body), None)
        self.arrivals.append(arrival)
        status = await self.mood(request)
        if status is None:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError
        self.arrivals[place] = Arrival(identity, body, at, arrival.signed, status)
        return web.Response(status=status)


async def _always_content(_: web.Request) -> int | None:
    return 204


def _is_signed(headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks, done by hand: HMAC-SHA256 over id, timestamp and body; the timestamp of these minutes."""
    stamp = headers["webhook-timestamp"]
    text = f"{headers['webhook-id']}.{stamp}.".encode() + body
    right = hmac.new(base64.b64decode(SECRET.removeprefix("whsec_")), text, hashlib.sha256).digest()
    given = headers["webhook-signature"].removeprefix("v1,")
    return hmac.compare_digest(given, base64.b64encode(right).decode()) and abs(time.time() - int(stamp)) < 60


class Running(Protocol):
    """A daemon that was started."""

    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def kill(self) -> None: ...
    def terminate(self) -> None: ...


class Starts(Protocol):
    """How daemons are started."""

    async def start(self, directory: Path, environment: Mapping[str, str], log: Path) -> Running: ...
    async def close(self) -> None: ...


class Installed:
    """The installed command."""

    async def start(self, directory: Path, environment: Mapping[str, str], log: Path) -> Running:
        with log.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                COMMAND,
                "run",
                "-c",
                "config.toml",
                cwd=directory,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def close(self) -> None:
        pass


class Nursery:
    """The command without its imports: forked by a process that has done them, one daemon after the other."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, directory: Path, environment: Mapping[str, str], log: Path) -> Running:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.acceptance.crash_nursery",
                cwd=Path(__file__).parents[2],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        orders, answers = self._process.stdin, self._process.stdout
        assert orders is not None
        assert answers is not None
        order = {"directory": str(directory), "environment": dict(environment), "log": str(log)}
        orders.write(json.dumps(order).encode() + b"\n")
        pid = int(await answers.readline())
        return Forked(pid, asyncio.create_task(answers.readline()))

    async def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()


@dataclass
class Forked:
    """A daemon of the nursery; `end` gives its exit code as a line."""

    pid: int
    end: "asyncio.Task[bytes]"

    @property
    def returncode(self) -> int | None:
        return int(self.end.result()) if self.end.done() else None

    async def wait(self) -> int:
        return int(await asyncio.shield(self.end))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


@dataclass
class Daemon:
    """The daemon, over one record for all its starts."""

    directory: Path
    environment: Mapping[str, str]
    starting: Starts
    process: Running | None = None
    deaths: list[datetime] = field(default_factory=list)
    starts: int = 0

    @property
    def lines(self) -> list[str]:
        """All that it said."""
        return [line for path in sorted(self.directory.glob("*.log")) for line in path.read_text().splitlines()]

    @property
    def log(self) -> str:
        """The last of what it said."""
        return "\n".join([f"logs: {self.directory}", *self.lines[-15:]])

    def said(self, event: str) -> int:
        """How many lines of its log say this."""
        return sum(f'"event": "{event}"' in line for line in self.lines)

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, **environment: str) -> None:
        self.starts += 1
        log = self.directory / f"{self.starts:02}.log"
        log.touch()  # it may be looked for before the daemon has come to open it
        self.process = await self.starting.start(self.directory, {**self.environment, **environment}, log)

    async def killed(self) -> None:
        """Wait until the kill that its environment orders has hit it."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
        assert code == -signal.SIGKILL, f"it ended with {code}\n{self.log}"
        self.deaths.append(datetime.now(UTC))

    async def kill(self) -> None:
        assert self.process is not None
        assert self.process.returncode is None, f"it ended with {self.process.returncode}\n{self.log}"
        self.process.kill()
        await self.killed()

    async def stop(self) -> int:
        """SIGTERM; the exit code. Fails if it takes longer than it may."""
        assert self.process is not None
        log, process = self.directory / f"{self.starts:02}.log", self.process
        await becomes(
            lambda: b"daemon.started" in log.read_bytes() or process.returncode is not None,
            lambda: f"it did not start\n{self.log}",
        )
        self.process.terminate()
        try:
            async with asyncio.timeout(STOPS_WITHIN):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"it did not stop within {STOPS_WITHIN:g} s\n{self.log}") from None

    async def clear(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self.starting.close()


@dataclass
class Stage:
    """What a test plays with. `lost` are moments around which nobody knows whether an answer was read."""

    emulator: Emulator
    receiver: Receiver
    daemon: Daemon
    chance: random.Random
    lost: list[datetime] = field(default_factory=list)
    _lists_before: int = 0
    _begun: bool = False

    def start_run(self, life: Life | None = None, **more: Any) -> str:
        return self.emulator.start_run(life or short_life(self.chance), **more)

    @property
    def discovery_has_begun(self) -> bool:
        """Whether a first list was read and committed: what is created from now on is told even if nobody saw it live.

        Two lists are read at once, so a third call follows a commit.
        """
        self._begun = self._begun or self.emulator.call_counts["ListRuns"] - self._lists_before >= 3
        return self._begun

    @property
    def told_to_the_end(self) -> list[str]:
        """The runs whose ends arrived, in order; of those that failed, once it was told why."""
        arrivals = [one.event for one in self.receiver.arrivals]
        return [
            one["data"]["run_id"]
            for one in arrivals
            if one["type"] == DIAGNOSED or (one["data"]["terminal"] and one["data"]["status"] != "FAILED")
        ]

    async def start_daemon(self, **environment: str) -> None:
        self._lists_before = self.emulator.call_counts["ListRuns"]
        await self.daemon.start(**environment)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that the daemon brings about."""
        await becomes(lambda: self._while_it_lives() and true(), lambda: f"waited in vain\n{self.daemon.log}")

    def _while_it_lives(self) -> bool:
        assert self.daemon.lives, f"the daemon ended\n{self.daemon.log}"
        return True

    async def truth(self) -> dict[str, list[Step]]:
        return steps_of((await self._ask("history"))["transitions"])

    async def caught_up(self, runs: int) -> None:
        """Wait until so many incarnations have ended, and the receiver has acknowledged the end of each, and why those
        that failed did.
        """
        ended, untold = 0, set[str]()

        async def caught_up() -> bool:
            nonlocal ended, untold
            lives = await self.truth()
            ended = sum(any(step.status in ENDS for step in life) for life in lives.values())
            untold = missing(lives, self.receiver.arrivals) | undiagnosed(lives, self.receiver.arrivals)
            return self._while_it_lives() and ended >= runs and not untold

        await becomes(
            caught_up, lambda: f"{ended} of {runs} ended, untold: {untold}\n{self.daemon.log}", pause_seconds=0.2
        )

    async def violations(self) -> list[str]:
        """What the independent reader finds in the receiver's log and the emulator's."""
        lives = await self.truth()
        seen = shown(lives, (await self._ask("calls"))["calls"], [*self.daemon.deaths, *self.lost])
        return violations(lives, self.receiver.arrivals, seen)

    async def lags(self) -> list[float]:
        """Seconds from transition to arrival, shortest first, since the daemon asked for the first time."""
        first = datetime.fromisoformat((await self._ask("calls"))["calls"][0]["at"])
        return lags(await self.truth(), self.receiver.arrivals, first)

    async def _ask(self, what: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"{self.emulator.url}/_emulator/{what}") as answer:
            return await answer.json()


@asynccontextmanager
async def account(seed: int) -> AsyncIterator[Emulator]:
    """An emulated account without quotas: the daemon's own ceiling is what holds it back."""
    async with Emulator(seed=seed) as emulator:
        yield emulator


@asynccontextmanager
async def stage(
    directory: Path,
    emulator: Emulator,
    *,
    watch: str = "discover = true",
    polling: str,
    sink: str = "",
    seed: int = 0,
    starting: Starts | None = None,
) -> AsyncIterator[Stage]:
    """A receiver, and a daemon that is configured but not started: the installed command, or `starting` says how.

    `watch`, `polling`, `sink` are lines of TOML.
    """
    receiver = Receiver()
    await receiver.up()
    _set_up(
        directory,
        f'[aws]\nregion = "us-east-1"\n\n[watch]\n{watch}\n\n[polling]\n{polling}\n\n[http]\nlisten = ""\n\n'
        f'[log]\nlevel = "debug"\nformat = "json"\n\n'
        f'[[sinks]]\nname = "lims"\ntype = "webhook"\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n{sink}\n',
    )
    daemon = Daemon(directory, environment_of(emulator), starting or Installed())
    try:
        yield Stage(emulator, receiver, daemon, random.Random(seed))
    finally:
        await daemon.clear()
        await receiver.down()


def _set_up(directory: Path, configuration: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.toml").write_text(configuration)


def environment_of(emulator: Emulator) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OMICS_", "CRASH_"))}
    return kept | {
        "AWS_ENDPOINT_URL_OMICS": emulator.url,
        "AWS_ENDPOINT_URL_STS": emulator.url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def short_life(chance: random.Random, scale: float = 1.0) -> Life:
    """A second or two, to one of the three ends; one in ten is cancelled while it is queued."""
    pending, starting, running, stopping = (scale * chance.uniform(0.2, longest) for longest in (0.5, 0.5, 0.9, 0.4))
    draw = chance.random()
    if draw < 0.6:
        return Life.completed(pending, starting, running, stopping)
    if draw < 0.8:
        return Life.failed(pending=pending, starting=starting, running=running, stopping=stopping)
    if draw < 0.9:
        return Life.of(("PENDING", pending), "CANCELLED")
    return Life.of(
        ("PENDING", pending), ("STARTING", starting), ("RUNNING", running), ("STOPPING", stopping), "CANCELLED"
    )
