"""A command of the operator's: a process for each event, with the event on its standard input and in its environment.

No shell: the command is a list. Its exit code says whether it has the event; the numbers are those of sysexits.h. Time
is the dispatcher's: when it is up the send is cancelled, and the process ends with all that it started.
"""

import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from subprocess import DEVNULL
from typing import Annotated, Final

import anyio
from anyio.abc import Process
from pydantic import AfterValidator, Field

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.excerpts import MASK
from poller.core.values import LEFT_OUT_FOR_MANY, OmittableField, Secret
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.formats import FormattedSettings, formatter
from poller.sinks.shown import EXCERPT, hidden_texts, one_line

ACKNOWLEDGED: Final = 0
REJECTED: Final = 65
"""EX_DATAERR of sysexits.h: the command has read this event, and will never take it."""
INHERITED: Final = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"})
"""What of the daemon's environment a command gets, beside LC_*: no credentials, which it can be given by name."""
TERM_SECONDS: Final = 1.0
"""How long a command may take to end after SIGTERM, before SIGKILL."""
STDERR_BYTES: Final = 4096
"""Bytes of the end of standard error that are looked at."""
HIDDEN: Final = b"\0"
"""Stands for each byte of a secret until the end is cut off: shorter or longer, other bytes would come into it."""
PIECE: Final = 65_536

_OURS: Final = "OMICS_"
_FIELDS: Final[Mapping[str, str]] = {
    "OMICS_RUN_ID": "run_id",
    "OMICS_RUN_ARN": "run_arn",
    "OMICS_RUN_UUID": "run_uuid",
    "OMICS_RUN_NAME": "name",
    "OMICS_STATUS": "status",
    "OMICS_PREVIOUS_STATUS": "previous_status",
    "OMICS_FAILURE_REASON": "failure_reason",
    "OMICS_WORKFLOW_ID": "workflow_id",
    "OMICS_RUN_GROUP_ID": "run_group_id",
    "OMICS_BATCH_ID": "batch_id",
    "OMICS_RUN_OUTPUT_URI": "run_output_uri",
    "OMICS_REGION": "region",
    "OMICS_ACCOUNT_ID": "account_id",
}


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in word for word in command) or not command[0].strip():
        raise ValueError('expected a program and its arguments, such as ["./notify.sh", "--quiet"]')
    return command


def _environment(environment: dict[str, Secret]) -> dict[str, Secret]:
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("the name of a variable holds letters, digits and underscores")
        if name.startswith(_OURS):
            raise ValueError(f"{name}: names that begin with {_OURS} are set by the sink itself")
        if "\0" in value.get_secret_value():
            raise ValueError(f"the value of {name} holds a zero byte, which no environment can")
    return environment


class ExecSettings(FormattedSettings, hide_input_in_errors=True):
    """`type = "exec"`."""

    omit: tuple[OmittableField, ...] = Field(
        LEFT_OUT_FOR_MANY, description="Fields that are null in what the command gets."
    )
    concurrency: int = Field(4, ge=1, le=1000, description="Most commands that run at once, each for another run.")
    command: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_command)] = Field(
        description="Program and arguments, without a shell; one with a / in it is relative to this file."
    )
    environment: Annotated[dict[str, Secret], AfterValidator(_environment)] = Field(
        {}, description="Variables for the command, beside those of the event; their values are secrets."
    )

    def warnings(self, directory: Path, now: datetime) -> Iterator[str]:
        """What of the command cannot be started here and now, beside what all formats may say."""
        yield from FormattedSettings.warnings(self, directory, now)
        given = {name: value.get_secret_value() for name, value in self.environment.items()}
        if not _is_there(self.command[0], directory, _surroundings(given)):
            yield f"command: {self.command[0]} is no program that can be started"


def _surroundings(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command, but for what it says of the event."""
    kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}
    return {**kept, **given}


def _is_there(program: str, directory: Path, surroundings: Mapping[str, str]) -> bool:
    """Whether a program can be found as it is looked for when it is started."""
    path = os.path.join(directory, program) if "/" in program else program
    return shutil.which(path, path=surroundings.get("PATH")) is not None


class ExecSink:
    """Starts the command, with the event on standard input; 0 acknowledges, 65 rejects, all else is tried again."""

    settings_model = ExecSettings

    def __init__(self, settings: ExecSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._directory = tools.directory
        self._format = formatter(settings)
        self._given = {name: value.get_secret_value() for name, value in settings.environment.items()}
        self._hidden = [text.encode() for text in hidden_texts(self._given.values())]
        self._keeps = STDERR_BYTES + max(map(len, self._hidden), default=0)

    async def send(self, events: Sequence[Event]) -> None:
        """Run the command for each event.

        Raises: Rejected and Retry by its exit code, with the end of what it said on stderr; OSError if it cannot start.
        """
        for event in events:
            code, said = await self._run(event)
            if code != ACKNOWLEDGED:
                raise self._failure(code, said)

    async def probe(self) -> str | None:
        """Whether there is such a program. Raises: FileNotFoundError."""
        program = self.settings.command[0]
        if not _is_there(program, self._directory, _surroundings(self._given)):
            raise FileNotFoundError(f"{program} is no program that can be started")
        return None

    def preview(self, event: Event) -> Preview:
        """The command, what it is told of the event in its environment, and its standard input."""
        given = dict.fromkeys(self._given, MASK)
        return Preview(shlex.join(self.settings.command), variables_of(event) | given, self._format.body(event).body)

    async def _run(self, event: Event) -> tuple[int, bytes]:
        """Run the command to its end: its exit code, below 0 for a signal, and the end of its standard error."""
        body = self._format.body(event).body
        with _pipe() as (stdin, feeding), _pipe() as (listening, stderr):
            with anyio.CancelScope(shield=True):  # from its first moment on it is ended in order
                process = await anyio.open_process(
                    self.settings.command,
                    stdin=stdin,
                    stdout=DEVNULL,
                    stderr=stderr,
                    cwd=self._directory,
                    env=_surroundings(self._given) | variables_of(event),
                    start_new_session=True,
                )
            stdin.close()
            stderr.close()
            return await _finished(process, body, feeding, listening, self._keeps)

    def _failure(self, code: int, said: bytes) -> Retry | Rejected:
        for secret in self._hidden:
            said = said.replace(secret, HIDDEN * len(secret))
        # what comes before the last STDERR_BYTES may begin within a secret, and is there to find one that they begin in
        line = one_line(re.sub(rb"%b+" % HIDDEN, MASK.encode(), said[-STDERR_BYTES:]).decode(errors="replace"))
        end = line if len(line) <= EXCERPT else f"…{line[-EXCERPT:]}"
        how = f"was ended by {_signal(-code)}" if code < 0 else f"ended with {code}"
        text = f"{os.path.basename(self.settings.command[0])} {how}: {end}".rstrip(": ")
        return Rejected(text) if code == REJECTED else Retry(text)


def variables_of(event: Event) -> dict[str, str]:
    """What a command can read of an event without reading JSON; what is not known is not there."""
    known = {
        "OMICS_EVENT_ID": event.id,
        "OMICS_EVENT_TYPE": event.type,
        "OMICS_EVENT_TIME": event.attributes["time"],
        "OMICS_SUBJECT": event.subject,
        "OMICS_SEQUENCE": event.attributes.get("sequence"),
        "OMICS_REPLAY_ID": event.replay,
        **{name: event.data.get(field) for name, field in _FIELDS.items()},
    }
    return {name: str(value).replace("\0", "") for name, value in known.items() if value not in (None, "")}


@contextmanager
def _pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """A pipe: the end to read from, and the end to write to.

    Not asyncio's: it takes a process for running until whatever that left behind has closed its pipes, too.
    """
    reading, writing = os.pipe()
    with FileIO(reading, "rb") as out, FileIO(writing, "wb") as into:
        yield out, into


async def _finished(process: Process, body: bytes, feeding: FileIO, listening: FileIO, keeps: int) -> tuple[int, bytes]:
    """Feed a process and wait for its end. Whoever is cancelled here ends it, and all that it started."""
    said = bytearray()
    try:
        async with anyio.create_task_group() as beside:
            beside.start_soon(_feed, feeding, body)
            beside.start_soon(_listen, listening, said, keeps)
            code = await process.wait()
            beside.cancel_scope.cancel()
        _take(listening, said, keeps)
        return code, bytes(said)
    finally:
        if process.returncode is None:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def _feed(feeding: FileIO, body: bytes) -> None:
    """The event, and then the end of input. A command that does not want to read it has its exit code to say so."""
    os.set_blocking(feeding.fileno(), False)
    rest = memoryview(body)
    with suppress(BrokenPipeError):
        while rest:
            await anyio.wait_writable(feeding)
            rest = rest[feeding.write(rest[:PIECE]) or 0 :]
    feeding.close()


async def _listen(listening: FileIO, said: bytearray, keeps: int) -> None:
    os.set_blocking(listening.fileno(), False)
    while _take(listening, said, keeps):
        await anyio.wait_readable(listening)


def _take(listening: FileIO, said: bytearray, keeps: int) -> bool:
    """Read what is there, and keep so many bytes of its end. False once nobody can write any more."""
    while piece := listening.read(PIECE):
        said += piece
        del said[:-keeps]
    return piece is None


async def _end(process: Process) -> None:
    """End the process with its whole group: SIGTERM, and SIGKILL for what is left after a moment."""
    _signal_group(process.pid, signal.SIGTERM)
    with anyio.move_on_after(TERM_SECONDS):
        await process.wait()
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all gone; or none left that is ours
        os.killpg(group, number)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
