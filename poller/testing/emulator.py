"""The HealthOmics emulator for tests, also for those that know nothing of asyncio.

`healthomics_emulator` is a pytest fixture, `running_emulator` the same as a context manager with all options. Both run
the emulator in a thread and an event loop of its own, so that a blocking boto3 client in the test can talk to it. How
to use: docs/emulator.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypedDict, TypeVar, Unpack

import pytest

from poller.emulator import (
    BatchTransition,
    Call,
    Emulator,
    Fault,
    ForeignCalls,
    Life,
    Outage,
    Scenario,
    Step,
    Transition,
)
from poller.emulator.account import Lives
from poller.emulator.batch_specs import BatchOptions
from poller.emulator.groups import GroupOptions
from poller.emulator.paging import Mode
from poller.emulator.runs import RunOptions

# An in-process call is microseconds of work for each run that it starts; longer than this, and the thread is gone.
CALL_TIMEOUT_SECONDS: Final = 60.0

T = TypeVar("T")


class EmulatorOptions(TypedDict, total=False):
    """The options of `Emulator`."""

    host: str
    port: int
    speed: float
    seed: int
    account_id: str
    region: str
    quota_per_second: Mapping[str, float] | float | None
    now: Callable[[], datetime]


class Settings(TypedDict, total=False):
    """What can be changed while an emulator runs."""

    quota_per_second: Mapping[str, float] | float | None
    foreign_calls_per_second: Mapping[str, float]
    counters_lag_seconds: float
    paging: Mode
    token_seconds: float | None


class RunningEmulator:
    """An emulator in another thread; each method is the one of `Emulator`, and may be called from any thread."""

    def __init__(self, emulator: Emulator, loop: asyncio.AbstractEventLoop, region: str) -> None:
        self._emulator, self._loop, self._region = emulator, loop, region

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._emulator.url

    def client_options(self) -> dict[str, Any]:
        """What a boto3 client needs to talk to it: `boto3.client("omics", **emulator.client_options())`."""
        from botocore.config import Config

        return {
            "endpoint_url": self.url,
            "region_name": self._region,
            "aws_access_key_id": "emulated",
            "aws_secret_access_key": "emulated",
            "config": Config(inject_host_prefix=False),
        }

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment, so that boto3 or the AWS CLI in it talk to the emulator."""
        return {
            "AWS_ENDPOINT_URL_OMICS": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
        }

    def start_run(self, life: Life | str | None = None, **options: Unpack[RunOptions]) -> str:
        return self._do(lambda: self._emulator.start_run(life, **options))

    def start_runs(
        self, number: int, life: Life | str | None = None, *, every: float = 0.0, **options: Unpack[RunOptions]
    ) -> list[str]:
        return self._do(lambda: self._emulator.start_runs(number, life, every=every, **options))

    def start_batch(
        self,
        runs: int | Sequence[Mapping[str, Any]],
        life: Lives = None,
        *,
        default_run_setting: Mapping[str, Any] | None = None,
        **options: Unpack[BatchOptions],
    ) -> str:
        return self._do(
            lambda: self._emulator.start_batch(runs, life, default_run_setting=default_run_setting, **options)
        )

    def cancel_batch(self, batch_id: str) -> None:
        self._do(lambda: self._emulator.cancel_batch(batch_id))

    def delete_batch_runs(self, batch_id: str) -> None:
        self._do(lambda: self._emulator.delete_batch_runs(batch_id))

    def delete_batch(self, batch_id: str) -> None:
        self._do(lambda: self._emulator.delete_batch(batch_id))

    def batch_status(self, batch_id: str) -> str | None:
        return self._do(lambda: self._emulator.batch_status(batch_id))

    def batch_runs(self, batch_id: str) -> list[str]:
        return self._do(lambda: self._emulator.batch_runs(batch_id))

    def batch_history(self) -> list[BatchTransition]:
        return self._do(self._emulator.batch_history)

    def add_group(self, group_id: str, **options: Unpack[GroupOptions]) -> None:
        self._do(lambda: self._emulator.add_group(group_id, **options))

    def cancel_run(self, run_id: str) -> None:
        self._do(lambda: self._emulator.cancel_run(run_id))

    def delete_run(self, run_id: str) -> None:
        self._do(lambda: self._emulator.delete_run(run_id))

    def evict(self, run_id: str) -> None:
        self._do(lambda: self._emulator.evict(run_id))

    def move_run(self, run_id: str, *steps: Step | str | tuple[str, float]) -> None:
        self._do(lambda: self._emulator.move_run(run_id, *steps))

    def status_of(self, run_id: str) -> str | None:
        return self._do(lambda: self._emulator.status_of(run_id))

    def history(self) -> list[Transition]:
        return self._do(self._emulator.history)

    def add_fault(self, fault: Fault) -> None:
        self._do(lambda: self._emulator.add_fault(fault))

    def remove_fault(self, fault: Fault) -> None:
        self._do(lambda: self._emulator.remove_fault(fault))

    def clear_faults(self) -> None:
        self._do(self._emulator.clear_faults)

    def add_outage(self, outage: Outage) -> None:
        self._do(lambda: self._emulator.add_outage(outage))

    def clear_outages(self) -> None:
        self._do(self._emulator.clear_outages)

    def configure(self, **settings: Unpack[Settings]) -> None:
        """Change settings of the running emulator; they are the properties of `Emulator` of the same names."""

        def change() -> None:
            for name, value in settings.items():
                setattr(self._emulator, name, value)

        self._do(change)

    def foreign_calls(self) -> Mapping[str, ForeignCalls]:
        return self._do(lambda: {name: replace(calls) for name, calls in self._emulator.foreign_calls().items()})

    def census(self) -> Mapping[str, int]:
        return self._do(self._emulator.census)

    def down(self) -> None:
        self._do(self._emulator.down)

    def up(self) -> None:
        self._do(self._emulator.up)

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
                loop = asyncio.get_running_loop()
                started.set_result((RunningEmulator(emulator, loop, options.get("region", "us-east-1")), stop))
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
