"""Deliveries a second, recorded durably, against a program that just POSTs the same bytes.

The receiver is a process of its own that reads the body and answers 204. One way is what the daemon does: claim from a
file (WAL, synchronous FULL), send through the webhook sink, settle. The other is a bare loop of as many workers over
one aiohttp session, which remembers nothing. They take turns, A B A B, and what counts is the median of the pairs'
ratios: the machine's other load then falls on both. The same again with a receiver that takes 10 ms to answer: there it
shows whether sends wait for anything but the receiver.
"""

import asyncio
import base64
import gc
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import anyio
from aiohttp import web
from pydantic import SecretStr

from benchmarks.processes import serving
from benchmarks.tables import show, times
from poller.clock import SystemClock
from poller.core.drafts import Draft
from poller.core.events import Event
from poller.core.routing import Route
from poller.core.samples import sample_event
from poller.delivery.dispatcher import Dispatcher
from poller.delivery.outlet import Outlet
from poller.foundation import foundation_of
from poller.ports import Round
from poller.sinks.toolbox import Tools
from poller.sinks.webhook import CONTENT_TYPE, WebhookSettings, WebhookSink
from poller.store.store import SqliteStore
from poller.telemetry import library_logging

GOAL: Final = 0.5
CONCURRENCY: Final = 16
SINK: Final = "hook"
SLOW_MILLISECONDS: Final = 10
SECRET: Final = SecretStr("whsec_" + base64.b64encode(bytes(range(32))).decode())


@dataclass(frozen=True, slots=True)
class Figure:
    """How one turn went: deliveries a second of the clock, and CPU seconds of the sender for each."""

    per_second: float
    cpu: float


def drafts_of(events: Sequence[Event]) -> list[Draft]:
    """Events as the asking side hands them to the record."""
    return [
        Draft(one.id, one.source, one.type, one.subject, one.time, one.data, one.data["run_uuid"], one.run_id)
        for one in events
    ]


async def prefill(store: SqliteStore, events: Sequence[Event]) -> None:
    """Record events that are owed to the sink."""
    now = datetime.now(UTC)
    await store.use_routes([Route(SINK)], now)
    drafts = drafts_of(events)
    for begin in range(0, len(drafts), 500):
        await store.commit_round(Round(at=now, scope="bench", drafts=drafts[begin : begin + 500]))


async def dispatched(directory: Path, url: str, events: Sequence[Event], *, signed: bool) -> Figure:
    """Deliver all through dispatcher, webhook sink and a file."""
    clock = SystemClock()
    store = SqliteStore(directory / f"{time.monotonic_ns()}.db")
    await store.open()
    tools = Tools(clock, directory)
    try:
        await prefill(store, events)
        settings = WebhookSettings(
            name=SINK, type="webhook", url=url, secret=SECRET if signed else None, concurrency=CONCURRENCY
        )
        foundation = foundation_of(store, clock, random.random)
        tally = foundation.tally
        dispatcher = Dispatcher([Outlet(WebhookSink(settings, tools), settings)], foundation, instance="bench")
        gc.collect()  # what recording left behind is no cost of telling; before the bare loop likewise
        begun, cpu = time.perf_counter(), time.process_time()
        async with anyio.create_task_group() as tasks:
            await tasks.start(dispatcher.run)
            while tally.count("deliveries", outcome="acknowledged") < len(events):  # noqa: ASYNC110
                await anyio.sleep(0.005)
            await dispatcher.drained()
            figure = Figure(len(events) / (time.perf_counter() - begun), (time.process_time() - cpu) / len(events))
            tasks.cancel_scope.cancel()
        return figure
    finally:
        await tools.close()
        await store.close()


async def bare(url: str, events: Sequence[Event]) -> Figure:
    """POST all in a loop of workers, and forget them."""
    headers = {"content-type": CONTENT_TYPE}
    waiting = deque(event.body for event in events)

    async def work(session: aiohttp.ClientSession) -> None:
        while waiting:
            async with session.post(url, data=waiting.popleft(), headers=headers) as answer:
                await answer.read()

    gc.collect()
    begun, cpu = time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))
    return Figure(len(events) / (time.perf_counter() - begun), (time.process_time() - cpu) / len(events))


async def serve() -> None:
    """The receiver: reads a body, answers 204, after as many milliseconds as the query says."""

    async def take(request: web.BaseRequest) -> web.Response:
        await request.read()
        if request.query_string:
            await asyncio.sleep(int(request.query_string) / 1000)
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(take, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f'{{"url": "http://127.0.0.1:{runner.addresses[0][1]}/hook"}}', flush=True)
    await asyncio.Event().wait()


async def measure(url: str, directory: Path, count: int, pairs: int, *, signed: Sequence[bool]) -> list[list[Figure]]:
    """All turns of each way: the bare loop, then the poller, with its signatures and without."""
    events = [sample_event("completed", run_id=str(7_000_000 + number)) for number in range(count)]
    ways: list[list[Figure]] = [[], *([] for _ in signed)]
    await bare(url, events[: count // 10])  # the receiver's first requests cost more than all others
    for _ in range(pairs):
        ways[0].append(await bare(url, events))
        for way, signs in zip(ways[1:], signed, strict=True):
            way.append(await dispatched(directory, url, events, signed=signs))
    return ways


def row_of(name: str, turns: Sequence[Figure], bares: Sequence[Figure], *, goal: bool) -> list[str]:
    """One way as a row of the table."""
    ratio = statistics.median(one.per_second / other.per_second for one, other in zip(turns, bares, strict=True))
    return [
        name,
        f"{statistics.median(one.per_second for one in turns):,.0f}",
        " ".join(f"{one.per_second:,.0f}" for one in turns),
        times(ratio),
        f"{statistics.median(one.cpu for one in turns) * 1e6:,.0f} us",
        f">= {GOAL}: {'met' if ratio >= GOAL else 'MISSED'}" if goal else "",
    ]


def report(*, quick: bool) -> None:
    """Measure and print."""
    library_logging()
    count, pairs = (1000, 2) if quick else (3000, 3)
    with tempfile.TemporaryDirectory() as place, serving("benchmarks.delivery", "receiver") as url:
        directory = Path(place)
        fast = asyncio.run(measure(url, directory, count, pairs, signed=(False, True)))
        slow = asyncio.run(measure(f"{url}?{SLOW_MILLISECONDS}", directory, count // 3, pairs, signed=(True,)))
    show(
        f"Durable deliveries: {count:,} events of as many runs, {CONCURRENCY} at a time, file with synchronous FULL",
        ["", "per second", "turns", "ratio", "sender's CPU each", "goal"],
        [
            row_of("bare aiohttp loop", fast[0], fast[0], goal=False),
            row_of("poller, unsigned", fast[1], fast[0], goal=True),
            row_of("poller, signed", fast[2], fast[0], goal=True),
            row_of(f"bare, receiver takes {SLOW_MILLISECONDS} ms", slow[0], slow[0], goal=False),
            row_of(f"poller, signed, receiver takes {SLOW_MILLISECONDS} ms", slow[1], slow[0], goal=True),
        ],
    )


if __name__ == "__main__" and sys.argv[1:] == ["receiver"]:
    asyncio.run(serve())
