"""What the sink suite does to a sink: send, wait, cancel, listen; and what it says of a sink that does not come back.

Nothing here waits for ever, not even for a sink that keeps the event loop for itself.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import zip_longest
from types import FrameType
from typing import Any, Final, TypeVar

import pytest

from poller.core.events import Event
from poller.ports.sinks import Sink
from poller.testing.rigs import Rig

T = TypeVar("T")

PATIENCE: Final = 20.0
"""Seconds that anything here may take; a sink that needs them all has failed."""
BLOCKED: Final = 5.0
"""Seconds without a turn of the event loop, after which a sink has blocked it."""
EXCERPT: Final = 60
"""Bytes of a body that a failure shows."""

_under_test: ContextVar[set["asyncio.Task[Any]"] | None] = ContextVar("_under_test", default=None)


async def send(sink: Sink, *events: Event) -> None:
    """Send, and wait for the end. Raises: what the sink raises."""
    await within(sink.send(events))


async def outcome(sink: Sink, *events: Event) -> Exception | None:
    """What a send raises; None if it returns."""
    __tracebackhide__ = True
    sending = asyncio.ensure_future(sink.send(events))
    await _ended(sending)
    assert not sending.cancelled(), "send cancelled itself; raise Retry, or let the error through"
    error = sending.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


async def failure(sink: Sink, *events: Event) -> Exception:
    """What a send raises that cannot succeed; if it returns, it has lied."""
    __tracebackhide__ = True
    error = await outcome(sink, *events)
    assert error is not None, "send returned, which acknowledges the event, and the far end has not taken it"
    return error


async def within(doing: Awaitable[T]) -> T:
    """Wait for something that must end by itself. Raises: what it raises."""
    task = asyncio.ensure_future(doing)
    await _ended(task)
    return await task


async def hanging(rig: Rig, sending: "asyncio.Task[None]") -> None:
    """Return once a send hangs at the far end; fails if it ends instead."""
    reached = asyncio.ensure_future(rig.far_end.reached())
    try:
        with _watching_the_loop():
            await asyncio.wait([reached, sending], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():
            assert sending.done(), f"send did not reach the far end in {PATIENCE:g} seconds"
            assert sending.cancelled() or sending.exception(), "send returned before it had reached the far end"
            await sending
    finally:
        await stop(reached)


async def stop(task: "asyncio.Future[Any]") -> None:
    """Cancel, and wait for the end, whatever it is."""
    task.cancel()
    with _watching_the_loop():
        await asyncio.wait([task], timeout=PATIENCE)
    assert task.done(), "it goes on though it was cancelled; a time limit and the stop of the daemon are cancellations"
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not tell it later


async def _ended(task: "asyncio.Future[Any]") -> None:
    try:
        with _watching_the_loop():
            await asyncio.wait([task], timeout=PATIENCE)
        assert task.done(), f"nothing happened in {PATIENCE:g} seconds; what waits for ever holds up the order of a run"
    finally:
        await stop(task)


def difference(expected: Sequence[bytes], received: Sequence[bytes]) -> str:
    """How what arrived differs from what was to arrive: how many, and the first that is not the same."""
    counts = f"{len(expected)} to arrive, {len(received)} arrived"
    for number, (one, other) in enumerate(zip_longest(expected, received), 1):
        if one is None:
            return f"{counts}; number {number} too many: {other[:EXCERPT]!r}"
        if other is None:
            return f"{counts}; number {number} is missing: {one[:EXCERPT]!r}"
        if one != other:
            at = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), -1)
            at = at if at >= 0 else min(len(one), len(other))
            ours, theirs = one[at : at + EXCERPT], other[at : at + EXCERPT]
            return f"{counts}; number {number} differs from byte {at} on: {ours!r} is to arrive, {theirs!r} arrived"
    return counts


@contextmanager
def noting_tasks() -> Iterator[set["asyncio.Task[Any]"]]:
    """The tasks that are started meanwhile, by whatever is called here."""
    noted: set[asyncio.Task[Any]] = set()
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    token = _under_test.set(noted)
    loop.set_task_factory(_noting_task)
    try:
        yield noted
    finally:
        loop.set_task_factory(before)
        _under_test.reset(token)


def _noting_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    """A task factory that notes the tasks that the sink starts: they inherit the context that it was called in."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if (noted := _under_test.get()) is not None:
        noted.add(task)
    return task


@contextmanager
def listening() -> Iterator[list[str]]:
    """Everything that is logged meanwhile, at every level."""
    listener, level = _Listener(logging.DEBUG), logging.root.level
    logging.root.addHandler(listener)
    logging.root.setLevel(logging.DEBUG)
    try:
        yield listener.said
    finally:
        logging.root.removeHandler(listener)
        logging.root.setLevel(level)


class _Listener(logging.Handler):
    """Keeps every line as it would be written."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@contextmanager
def _watching_the_loop() -> Iterator[None]:
    """Fail what keeps the event loop for itself: nothing in the loop could.

    A thread asks for a turn of the loop again and again. If none comes it interrupts the main thread, so that the
    failure is raised where that is: in the sink. Outside of the main thread, where no signal is handled, nothing is
    watched.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _Watch(asyncio.get_running_loop().call_soon_threadsafe)
    before = signal.signal(signal.SIGUSR2, _fail_as_blocked)
    watch.start()
    try:
        yield
    finally:
        watch.end()
        signal.signal(signal.SIGUSR2, before)


class _Watch(threading.Thread):
    def __init__(self, ask_for_a_turn: Callable[[Callable[[], None]], object]) -> None:
        super().__init__(name="watches the event loop", daemon=True)
        self.ask_for_a_turn = ask_for_a_turn
        self.turned, self.ended = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(BLOCKED / 2):
            self.turned.clear()
            self.ask_for_a_turn(self.turned.set)
            if not self.turned.wait(BLOCKED) and not self.ended.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    def end(self) -> None:
        self.ended.set()
        self.turned.set()
        self.join()


def _fail_as_blocked(number: int, frame: FrameType | None) -> None:
    pytest.fail(
        f"the event loop had no turn for {BLOCKED:g} seconds: the sink blocks it, and with it the whole daemon; use a "
        "client made for asyncio, or anyio.to_thread.run_sync"
    )
