"""A daemon's parts over an emulator in the same loop, from a configuration file that a test may change."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from poller.app.build import Parts, open_parts
from poller.app.daemon import run_parts
from poller.emulator import Emulator
from poller.settings.load import load_settings

POLLING = """
[polling]
min_interval = "50ms"
max_interval = "200ms"
max_calls_per_second = 200
vanish_deadline = "300ms"
[http]
listen = "{listen}"
[store]
url = "sqlite:///record.db"
"""


@dataclass
class Stage:
    """A configuration file, and parts that run by it until `stop`."""

    emulator: Emulator
    directory: Path
    listen: str = ""
    stop: anyio.Event = field(default_factory=anyio.Event)

    @property
    def path(self) -> Path:
        return self.directory / "config.toml"

    def configure(self, text: str = "", *, watch: str = "", region: str = "us-east-1") -> Path:
        aws = f'[aws]\nregion = "{region}"\nendpoint_url = "{self.emulator.url}"\n'
        self.path.write_text(f"{aws}[watch]\n{watch}\n{POLLING.format(listen=self.listen)}\n{text}")
        return self.path

    @asynccontextmanager
    async def parts(self) -> AsyncIterator[Parts]:
        """The parts, not running."""
        loaded = load_settings(self.path)
        async with open_parts(loaded.settings, loaded.directory, holder="test") as parts:
            yield parts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Parts]:
        """The parts, running; left once they have stopped."""
        async with self.parts() as parts, anyio.create_task_group() as tasks:
            ready = anyio.Event()
            tasks.start_soon(run_parts, parts, self.stop, ready.set)
            await ready.wait()
            try:
                yield parts
            finally:
                self.stop.set()

    def sent(self, name: str) -> list[str]:
        """The lines that a file sink has written."""
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []


def file_sink(name: str, **keys: str) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f'[[sinks]]\nname = "{name}"\ntype = "file"\npath = "{name}.jsonl"\n{more}'


def send_signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
