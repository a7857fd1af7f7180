"""The HealthOmics emulator for tests, also for those that know nothing of asyncio.

`healthomics_emulator` is a pytest fixture, `running_emulator` the same as a context manager with all options. Both run
the emulator in a thread and an event loop of its own, so that a blocking boto3 client in the test can talk to it. How
to use: docs/emulator.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypedDict, TypeVar, Unpack

import pytest

from poller.emulator import (
    Call,
    Emulator,
    ForeignCalls,
    Scenario,
)
from poller.emulator.account import AccountOptions
from poller.emulator.paging import Mode

# An in-process call is microseconds of work for each run that it starts; longer than this, and the thread is gone.
CALL_TIMEOUT_SECONDS: Final = 60.0

P = ParamSpec("P")
T = TypeVar("T")


class EmulatorOptions(AccountOptions, total=False):
    """The options of `Emulator`."""

    host: str
    port: int


class Settings(TypedDict, total=False):
    """What can be changed while an emulator runs."""

    quota_per_second: Mapping[str, float] | float | None
    foreign_calls_per_second: Mapping[str, float]
    counters_lag_seconds: float
    paging: Mode
    token_seconds: float | None


def _in_its_thread(method: Callable[Concatenate[Emulator, P], T]) -> Callable[Concatenate[RunningEmulator, P], T]:
    """A method of `Emulator`, done in the emulator's own thread."""

    @wraps(method)
    def call(running: RunningEmulator, /, *arguments: P.args, **options: P.kwargs) -> T:
        return running._do(lambda: method(running._emulator, *arguments, **options))

    return call


class RunningEmulator:
    """An emulator in another thread; each method is the one of `Emulator`, and may be called from any thread."""

    def __init__(self, emulator: Emulator, loop: asyncio.AbstractEventLoop) -> None:
        self._emulator, self._loop = emulator, loop

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._emulator.url

    def client_options(self) -> dict[str, Any]:
        """What a boto3 client needs to talk to it: `boto3.client("omics", **emulator.client_options())`."""
        from botocore.config import Config

        return {
            "endpoint_url": self.url,
            "region_name": self._emulator.region,
            "aws_access_key_id": "emulated",
            "aws_secret_access_key": "emulated",
            "config": Config(inject_host_prefix=False),
        }

    environment = _in_its_thread(Emulator.environment)

    start_run = _in_its_thread(Emulator.start_run)
    start_runs = _in_its_thread(Emulator.start_runs)
    cancel_run = _in_its_thread(Emulator.cancel_run)
    delete_run = _in_its_thread(Emulator.delete_run)
    evict = _in_its_thread(Emulator.evict)
    move_run = _in_its_thread(Emulator.move_run)
    status_of = _in_its_thread(Emulator.status_of)
    history = _in_its_thread(Emulator.history)
    census = _in_its_thread(Emulator.census)

    start_batch = _in_its_thread(Emulator.start_batch)
    cancel_batch = _in_its_thread(Emulator.cancel_batch)
    delete_batch_runs = _in_its_thread(Emulator.delete_batch_runs)
    delete_batch = _in_its_thread(Emulator.delete_batch)
    batch_status = _in_its_thread(Emulator.batch_status)
    batch_runs = _in_its_thread(Emulator.batch_runs)
    batch_history = _in_its_thread(Emulator.batch_history)
    add_group = _in_its_thread(Emulator.add_group)

    add_fault = _in_its_thread(Emulator.add_fault)
    remove_fault = _in_its_thread(Emulator.remove_fault)
    clear_faults = _in_its_thread(Emulator.clear_faults)
    add_outage = _in_its_thread(Emulator.add_outage)
    clear_outages = _in_its_thread(Emulator.clear_outages)
    down = _in_its_thread(Emulator.down)
    up = _in_its_thread(Emulator.up)

    def configure(self, **settings: Unpack[Settings]) -> None:
        """Change settings of the running emulator; they are the properties of `Emulator` of the same names."""

        def change() -> None:
            for name, value in settings.items():
                setattr(self._emulator, name, value)

        self._do(change)

    def foreign_calls(self) -> Mapping[str, ForeignCalls]:
        """How many calls others have made up to now, and how many of them were refused; by operation."""
        return self._do(lambda: {name: replace(calls) for name, calls in self._emulator.foreign_calls().items()})

    @property
    def calls(self) -> list[Call]:
        """The log of calls up to now."""
        return self._do(lambda: list(self._emulator.calls))

    @property
    def call_counts(self) -> Counter[str]:
        """Calls by operation up to now."""
        return self._do(lambda: Counter(self._emulator.call_counts))

    @property
    def outcome_counts(self) -> Counter[tuple[str, str]]:
        """Calls by operation and outcome up to now."""
        return self._do(lambda: Counter(self._emulator.outcome_counts))

    def _do(self, work: Callable[[], T]) -> T:
        """Do this in the emulator's own thread; what it raises is raised here."""

        async def done() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(CALL_TIMEOUT_SECONDS)


@contextmanager
def running_emulator(scenario: Scenario | None = None, **options: Unpack[EmulatorOptions]) -> Iterator[RunningEmulator]:
    """An emulator in its own thread, stopped when the context is left. Options are those of `Emulator`."""
    started: Future[tuple[RunningEmulator, asyncio.Event]] = Future()

    async def serve() -> None:
        try:
            async with Emulator(scenario, **options) as emulator:
                stop = asyncio.Event()
                started.set_result((RunningEmulator(emulator, asyncio.get_running_loop()), stop))
                await stop.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="healthomics emulator", daemon=True)
    thread.start()
    running, stop = started.result()
    try:
        yield running
    finally:
        running._loop.call_soon_threadsafe(stop.set)
        thread.join(CALL_TIMEOUT_SECONDS)


@pytest.fixture
def healthomics_emulator() -> Iterator[RunningEmulator]:
    """An emulator without runs, quotas and faults: start runs with `start_run`, talk to it with `client_options()`."""
    with running_emulator() as emulator:
        yield emulator
