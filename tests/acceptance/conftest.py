"""The installed command as a process of its own, and in this one where a process is not the point."""

import asyncio
import os
import pty
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseServer
from typing import IO

import pytest

from poller.app.cli.commands import deliveries, sinks
from poller.app.cli.main import main
from poller.emulator import GONE
from poller.testing.emulator import RunningEmulator, running_emulator

COMMAND = Path(sys.executable).with_name("omics-poller")
PATIENCE = 20.0
"""Seconds after which a line that is waited for counts as missing; nothing waits so long where all is well."""


@contextmanager
def answering(server: BaseServer) -> Iterator[None]:
    """Have a server answer in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Process:
    """A command that runs: its lines as they come, its signals, its end."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], directory: Path) -> None:
        self.arguments = arguments
        self.popen = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(environment),
            cwd=directory,
        )
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self.data: list[str] = []
        self.talk: list[str] = []
        self._news: queue.Queue[None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.popen.stdout, self.data), (self.popen.stderr, self.talk))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        try:
            for line in stream:
                lines.append(line.rstrip("\n"))
                self._news.put(None)
        except ValueError:  # closed under us, as `| head` does
            pass
        self._news.put(None)

    def wait_for(self, what: str, *, talk: bool = False) -> str:
        """The first line that holds this text; fails if the process ends without it."""
        lines = self.talk if talk else self.data
        while True:
            for line in list(lines):
                if what in line:
                    return line
            if self.popen.poll() is not None and not any(reader.is_alive() for reader in self._readers):
                break
            try:
                self._news.get(timeout=PATIENCE)
            except queue.Empty:
                break
        raise AssertionError(f"{self.arguments} did not say {what!r}\nstdout: {self.data}\nstderr: {self.talk}")

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true that lines of this process bring about."""
        while not true():
            try:
                self._news.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"{self.arguments}\nstdout: {self.data}\nstderr: {self.talk}") from None

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        code = self.popen.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for reader in self._readers:
            reader.join(1)
        for stream in (self.popen.stdout, self.popen.stderr):
            if stream is not None and not stream.closed:
                stream.close()


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def emulators() -> Iterator[RunningEmulator]:
    """One emulator for a module: each test starts runs of its own in it."""
    with running_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(emulators: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEmulator]:
    """An emulated account, to which the environment leads: this process, and those that it starts."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "OMICS_"))]:
        monkeypatch.delenv(name)
    for name, value in emulators.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    yield emulators
    emulators.clear_faults()
    for run_id in {transition.run_id for transition in emulators.history()}:
        if emulators.status_of(run_id) not in (None, GONE):
            emulators.evict(run_id)  # else the daemons of all tests to come would follow it


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the installed command; what still runs at the end is killed."""
    started: list[Process] = []

    def begin(*arguments: str, **environment: str) -> Process:
        process = Process(arguments, {**os.environ, "COLUMNS": "200", **environment}, tmp_path)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def at_a_terminal(
    *arguments: str, typed: str = "", once: str | None = None, then: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run the installed command at a terminal to its end: the exit code, and all that was drawn.

    `then` is done once `once`, a regular expression, is found in what was drawn.
    """
    terminal, far_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(
        [COMMAND, *arguments],
        stdin=far_end,
        stdout=far_end,
        stderr=far_end,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(far_end)
        os.write(terminal, typed.encode())
        drawn = b""
        try:
            while piece := os.read(terminal, 65536):
                drawn += piece
                if once is not None and re.search(once, drawn.decode(errors="replace")):
                    once = None
                    then()
        except OSError:  # the far end is gone
            pass
        finally:
            os.close(terminal)
    return process.returncode, drawn.decode()


def into_a_reader_that_leaves(
    directory: Path, *arguments: str, then: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run the installed command into `head -1`: its own exit code, and what it said on stderr.

    `then` is done once the reader is gone.
    """
    reading, writing = os.pipe()
    with subprocess.Popen(
        [COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=directory
    ) as process:
        os.close(writing)
        with os.fdopen(reading) as reader:
            assert reader.readline()
        then()
        assert process.stderr is not None
        talk = process.stderr.read()
    return process.returncode, talk


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and what it wrote."""

    code: int
    data: str
    talk: str

    @property
    def lines(self) -> list[str]:
        return self.data.splitlines()


Run = Callable[..., Ended]


@contextmanager
def _event_loop_kept() -> Iterator[None]:
    """asyncio.run leaves its thread without a loop; the plugin looptime has put one there, and closes it later."""
    try:
        loop = asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        loop = None
    yield
    asyncio.set_event_loop(loop)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in this process, in an empty directory, to its end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        for app in (deliveries.deliveries, sinks.sinks):
            app.help = None  # a command line before this one, in this process, has given it its summary
        with _event_loop_kept():
            code = main(list(arguments))
        written = capsys.readouterr()
        return Ended(code, written.out, written.err)

    return call


CONFIGURATION = """\
[aws]
region = "us-east-1"

[watch]
discover = true

[polling]
min_interval = "100ms"
max_interval = "500ms"
vanish_deadline = "1s"
max_calls_per_second = 50
discover_ended = "1s"  # a run that lives for less than a walk through the lists is found among the ended ones

[http]
listen = "127.0.0.1:0"

[[sinks]]
name = "console"
type = "stdout"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that follows every run quickly, and prints its events."""
    path = tmp_path / "config.toml"
    path.write_text(CONFIGURATION)
    return path
