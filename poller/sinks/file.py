"""A file of JSON lines: one event a line, written whole and on the disk before it is acknowledged.

Meant for people and log shippers. Rotation by renaming is noticed before each write, by truncation it does no harm.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import anyio
import anyio.to_thread
from pydantic import AfterValidator, Field

from poller.core.events import Event
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.formats import FormattedSettings, formatter

FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""Reading too, to look for a torn last line; O_NONBLOCK, so that a pipe under this name is refused, not waited for."""


def _named(path: Path) -> Path:
    if not path.name:
        raise ValueError("expected the name of a file")
    return path


class FileSettings(FormattedSettings):
    """`type = "file"`."""

    path: Annotated[Path, AfterValidator(_named)] = Field(
        description="File to append to, relative to the configuration file; made with mode 0600 if there is none."
    )


class FileSink:
    """Appends each event and a newline. Whatever the disk has against it (full, gone, read-only): try again."""

    settings_model = FileSettings
    batch_size = 100

    def __init__(self, settings: FileSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._format = formatter(settings)
        self.path = tools.directory / settings.path.expanduser()
        self._fd: int | None = None
        self._one_at_a_time = anyio.Lock()

    async def send(self, events: Sequence[Event]) -> None:
        """Append the events, and return once they are on the disk. Raises: OSError."""
        lines = b"".join(self._format.body(event).body + b"\n" for event in events)
        async with self._one_at_a_time:
            await anyio.to_thread.run_sync(self._append, lines)  # not cancelled half way: a thread ends its work

    def preview(self, event: Event) -> Preview:
        """What would be appended, but for the newline."""
        return Preview(f"append to {self.path}", {}, self._format.body(event).body)

    async def probe(self) -> None:
        """Whether the file can be written, or made. Raises: OSError."""
        await anyio.to_thread.run_sync(self._check)

    async def close(self) -> None:
        """Close the file."""
        async with self._one_at_a_time:
            self._close()

    def _append(self, lines: bytes) -> None:
        fd = self._current()
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # a line that a crash or a full disk tore: what is ours begins a new one
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)

    def _current(self) -> int:
        """The open file, opened anew if the path is another file by now, or none."""
        if self._fd is not None:
            mine = os.fstat(self._fd)
            try:
                there: os.stat_result | None = self.path.stat()
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return self._fd
            self._close()
        fd = os.open(self.path, FLAGS, 0o600)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(f"{self.path} is not a regular file")
        self._fd = fd
        _sync_directory(self.path.parent)
        return fd

    def _check(self) -> None:
        if self.path.exists():
            os.close(os.open(self.path, FLAGS & ~os.O_CREAT))
        elif not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise OSError(f"{self.path.parent} is no directory that can be written to")

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _sync_directory(directory: Path) -> None:
    """Make the name of a new file as durable as its content."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
