"""Deliveries a second, recorded durably, against a program that just sends the same bytes.

The receiver is a process of its own that reads the body and answers. One way is what the daemon does: claim from a file
(WAL, synchronous FULL), send through a sink, settle. The other is a bare loop of as many workers, which remembers
nothing: over one aiohttp session for webhooks, over one aiobotocore client for SNS in batches of ten. They take turns,
A B A B, and what counts is the median of the pairs' ratios: the machine's other load then falls on both. Webhooks once
more with a receiver that takes 10 ms to answer: there it shows whether sends wait for anything but the receiver.

And ten sinks at once, of which one hangs: the other nine beside it against the same nine without it.
"""

import asyncio
import base64
import gc
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
from aiobotocore.session import get_session
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
from poller.ports.records import Round
from poller.ports.sinks import Toolbox
from poller.sinks.aws_messages import attributes_of
from poller.sinks.formats import CLOUDEVENTS_TYPE
from poller.sinks.sns import SnsSettings, SnsSink
from poller.sinks.toolbox import Tools
from poller.sinks.webhook import WebhookSettings, WebhookSink
from poller.store.store import SqliteStore
from poller.telemetry import configure_logging

GOAL: Final = 0.55
GOAL_BESIDE: Final = 0.9
CONCURRENCY: Final = 16
SINK: Final = "hook"
SLOW_MILLISECONDS: Final = 10
HANGS_MILLISECONDS: Final = 3_600_000
SECRET: Final = SecretStr("whsec_" + base64.b64encode(bytes(range(32))).decode())
TOPIC: Final = "arn:aws:sns:us-east-1:123456789012:runs"
BATCH: Final = SnsSink.batch_size
ANSWER: Final = (
    b"<PublishBatchResponse><PublishBatchResult><Successful>%b</Successful><Failed/></PublishBatchResult>"
    b"</PublishBatchResponse>"
)


@dataclass(frozen=True, slots=True)
class Figure:
    """How one turn went: deliveries a second of the clock, and CPU seconds of the sender for each."""

    per_second: float
    cpu: float


MakeSink = Callable[[Toolbox], WebhookSink | SnsSink]
Bare = Callable[[str, Sequence[Event]], Awaitable[Figure]]


def drafts_of(events: Sequence[Event]) -> list[Draft]:
    """Events as the asking side hands them to the record."""
    return [
        Draft(one.id, one.source, one.type, one.subject, one.time, one.data, one.data["run_uuid"], one.run_id)
        for one in events
    ]


async def prefill(store: SqliteStore, events: Sequence[Event], sinks: Sequence[str]) -> None:
    """Record events that are owed to each of the sinks."""
    now = datetime.now(UTC)
    await store.use_routes([Route(name) for name in sinks], now)
    drafts = drafts_of(events)
    for begin in range(0, len(drafts), 500):
        await store.commit_round(Round(at=now, scope="bench", drafts=drafts[begin : begin + 500]))


def webhook(url: str, name: str = SINK, *, signed: bool = True) -> MakeSink:
    """A webhook sink to this address."""
    settings = WebhookSettings(
        name=name, type="webhook", url=url, secret=SECRET if signed else None, concurrency=CONCURRENCY
    )
    return lambda tools: WebhookSink(settings, tools)


def topic(url: str) -> MakeSink:
    """An SNS sink to this address."""
    settings = SnsSettings(name=SINK, type="sns", topic_arn=TOPIC, endpoint_url=url, concurrency=CONCURRENCY)
    return lambda tools: SnsSink(settings, tools)


async def dispatched(directory: Path, events: Sequence[Event], makers: Sequence[MakeSink], hangs: str = "") -> Figure:
    """Deliver all through dispatcher, sinks and a file; for the sink that `hangs` nobody waits."""
    clock = SystemClock()
    store = SqliteStore(directory / f"{time.monotonic_ns()}.db")
    await store.open()
    tools = Tools(clock, directory)
    try:
        sinks = [make(tools) for make in makers]
        await prefill(store, events, [sink.settings.name for sink in sinks])
        foundation = foundation_of(store, clock, random.random)
        tally = foundation.tally
        dispatcher = Dispatcher([Outlet(sink, sink.settings) for sink in sinks], foundation, instance="bench")
        owed = len(events) * sum(sink.settings.name != hangs for sink in sinks)
        gc.collect()  # what recording left behind is no cost of telling; before the bare loop likewise
        begun, cpu = time.perf_counter(), time.process_time()
        async with anyio.create_task_group() as tasks:
            await tasks.start(dispatcher.run)
            while tally.count("deliveries", outcome="acknowledged") < owed:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            if not hangs:
                await dispatcher.drained()
            figure = Figure(owed / (time.perf_counter() - begun), (time.process_time() - cpu) / owed)
            tasks.cancel_scope.cancel()
        return figure
    finally:
        await tools.close()
        await store.close()


async def bare_posts(url: str, events: Sequence[Event]) -> Figure:
    """POST all by some workers, and forget them."""
    headers = {"content-type": CLOUDEVENTS_TYPE}
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


async def bare_batches(url: str, events: Sequence[Event]) -> Figure:
    """Publish all in batches by some workers, and forget them; what they publish is made before the clock starts."""
    entries_of_all = [
        {"Id": event.id, "Message": event.to_json(), "MessageAttributes": attributes_of(event)} for event in events
    ]
    batches = deque(entries_of_all[begin : begin + BATCH] for begin in range(0, len(events), BATCH))

    async def work(sns: Any) -> None:
        while batches:
            entries = batches.popleft()
            answer = await sns.publish_batch(TopicArn=TOPIC, PublishBatchRequestEntries=entries)
            assert len(answer["Successful"]) == len(entries)

    gc.collect()
    begun, cpu = time.perf_counter(), time.process_time()
    async with get_session().create_client("sns", "us-east-1", endpoint_url=url) as sns:
        await asyncio.gather(*(work(sns) for _ in range(CONCURRENCY)))
    return Figure(len(events) / (time.perf_counter() - begun), (time.process_time() - cpu) / len(events))


async def serve() -> None:
    """The receiver: reads a body and answers, after as many milliseconds as the query says; SNS is at /sns."""

    async def take(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if request.path == "/sns":
            ids = re.findall(rb"member\.\d+\.Id=([^&]*)", body)
            taken = b"".join(b"<member><Id>%b</Id><MessageId>m</MessageId></member>" % one for one in ids)
            return web.Response(body=ANSWER % taken, content_type="text/xml")
        if request.query_string:
            await asyncio.sleep(int(request.query_string) / 1000)
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(take, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f'{{"url": "http://127.0.0.1:{runner.addresses[0][1]}"}}', flush=True)
    await asyncio.Event().wait()


def events_of(count: int) -> list[Event]:
    """As many events of as many runs."""
    return [sample_event("completed", run_id=str(7_000_000 + number)) for number in range(count)]


async def measure(
    bare: Bare, url: str, directory: Path, count: int, pairs: int, *makers: MakeSink
) -> list[list[Figure]]:
    """All turns of each way: the bare loop, then the poller with each of these sinks."""
    events = events_of(count)
    ways: list[list[Figure]] = [[], *([] for _ in makers)]
    await bare(url, events[: count // 10])  # the receiver's first requests cost more than all others
    for _ in range(pairs):
        ways[0].append(await bare(url, events))
        for way, make in zip(ways[1:], makers, strict=True):
            way.append(await dispatched(directory, events, [make]))
    return ways


async def beside_one_that_hangs(url: str, directory: Path, count: int, pairs: int) -> list[list[Figure]]:
    """All turns of nine sinks by themselves, and of the same nine beside one whose receiver never answers."""
    events = events_of(count)
    nine = [webhook(f"{url}/hook", f"hook-{number}") for number in range(1, 10)]
    hanging = webhook(f"{url}/hook?{HANGS_MILLISECONDS}", "hanging")
    ways: list[list[Figure]] = [[], []]
    for _ in range(pairs):
        ways[0].append(await dispatched(directory, events, nine))
        ways[1].append(await dispatched(directory, events, [*nine, hanging], hangs="hanging"))
    return ways


def row_of(name: str, turns: Sequence[Figure], bares: Sequence[Figure], *, goal: float | None) -> list[str]:
    """One way as a row of the table."""
    ratio = statistics.median(one.per_second / other.per_second for one, other in zip(turns, bares, strict=True))
    return [
        name,
        f"{statistics.median(one.per_second for one in turns):,.0f}",
        " ".join(f"{one.per_second:,.0f}" for one in turns),
        times(ratio),
        f"{statistics.median(one.cpu for one in turns) * 1e6:,.0f} us",
        f">= {goal}: {'met' if ratio >= goal else 'MISSED'}" if goal is not None else "",
    ]


def report(*, quick: bool) -> None:
    """Measure and print."""
    configure_logging()
    count, pairs = (1000, 2) if quick else (10_000, 3)
    os.environ.update(AWS_ACCESS_KEY_ID="emulated", AWS_SECRET_ACCESS_KEY="emulated")  # noqa: S106 - any word does
    with tempfile.TemporaryDirectory() as place, serving("benchmarks.delivery", "receiver") as url:
        directory, hook, late = Path(place), f"{url}/hook", f"{url}/hook?{SLOW_MILLISECONDS}"
        plain = webhook(hook, signed=False)
        fast = asyncio.run(measure(bare_posts, hook, directory, count, pairs, plain, webhook(hook)))
        slow = asyncio.run(measure(bare_posts, late, directory, count // 3, pairs, webhook(late)))
        batches = asyncio.run(measure(bare_batches, f"{url}/sns", directory, count, pairs, topic(f"{url}/sns")))
        nine = asyncio.run(beside_one_that_hangs(url, directory, count // 6, pairs))
    show(
        f"Durable deliveries: {count:,} events of as many runs, {CONCURRENCY} at a time, file with synchronous FULL",
        ["", "per second", "turns", "ratio", "sender's CPU each", "goal"],
        [
            row_of("bare aiohttp loop", fast[0], fast[0], goal=None),
            row_of("poller, unsigned", fast[1], fast[0], goal=GOAL),
            row_of("poller, signed", fast[2], fast[0], goal=GOAL),
            row_of(f"bare, receiver takes {SLOW_MILLISECONDS} ms", slow[0], slow[0], goal=None),
            row_of(f"poller, signed, receiver takes {SLOW_MILLISECONDS} ms", slow[1], slow[0], goal=GOAL),
            row_of(f"bare aiobotocore loop, SNS by {BATCH}", batches[0], batches[0], goal=None),
            row_of(f"poller, SNS by {BATCH}", batches[1], batches[0], goal=GOAL),
            row_of("poller, nine webhooks", nine[0], nine[0], goal=None),
            row_of("the same beside a tenth that hangs", nine[1], nine[0], goal=GOAL_BESIDE),
        ],
    )


if __name__ == "__main__" and sys.argv[1:] == ["receiver"]:
    asyncio.run(serve())
