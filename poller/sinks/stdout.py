"""Standard output, as JSON lines: one event a line, each line whole.

No thread waits here: where a reader is slow (a pipe to `less`), the sink waits in the event loop, so that its timeout
can end that and the process can stop. A line that a timeout cut is ended before anything else is written.
"""

import os
import select
import stat
import sys
from collections.abc import Sequence
from io import UnsupportedOperation
from typing import ClassVar, Final

import anyio

from poller.core.events import Event
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.formats import FormattedSettings, formatter

PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe which is ready takes without making the writer wait (POSIX, write)."""


class StdoutSettings(FormattedSettings):
    """`type = "stdout"`."""


class StdoutSink:
    """Writes each event and a newline. A reader that is gone is an error (BrokenPipeError), and tried again."""

    settings_model = StdoutSettings
    batch_size = 100
    _one_at_a_time = anyio.Lock()
    _torn: ClassVar = bytearray()
    """The rest of a line that was begun. Of the class, like the lock, as standard output is of the process."""

    def __init__(self, settings: StdoutSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._format = formatter(settings)

    def preview(self, event: Event) -> Preview:
        """What would be written, but for the newline."""
        return Preview("write to standard output", {}, self._format.body(event).body)

    async def send(self, events: Sequence[Event]) -> None:
        """Write the events, and return once the operating system has them all. Raises: OSError."""
        lines = [self._format.body(event).body + b"\n" for event in events]
        async with self._one_at_a_time:
            try:
                fd = sys.stdout.fileno()
            except (UnsupportedOperation, AttributeError):  # a notebook, or a program that replaced it
                sys.stdout.write(b"".join(lines).decode())
                sys.stdout.flush()
                return
            sys.stdout.flush()
            can_wait = not _is_file(fd)
            for line in (bytes(self._torn), *lines):
                rest = line
                while rest:
                    if can_wait:
                        await anyio.wait_writable(fd)
                    try:
                        rest = rest[os.write(fd, rest[:PIECE]) :]
                    except BrokenPipeError:
                        self._torn.clear()  # whoever reads next has not read the beginning
                        raise
                    self._torn[:] = rest


def _is_file(fd: int) -> bool:
    """Files and /dev/null are always ready, and refuse to be waited for."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd))
