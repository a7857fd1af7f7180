"""What the poller says of its own work: log lines without secrets, and counters.

Whoever has something to say takes `structlog.get_logger("poller.<part>")` and logs a constant dotted name with facts as
keys (the names are in docs/logging.md). `configure_logging` is for our commands, whose process is ours: everything that
is logged, by us or by anyone else, warned of or left uncaught, leaves through one handler. `library_logging` is for the
library, whose process is not: it only sees to it that nothing is printed unasked.

The last thing done to a line is `redact` (`redaction.py`).
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from poller.redaction import redact

NOISY: Final = (
    "aiobotocore", "aiohttp.access", "alembic", "asyncio", "boto3", "botocore", "markdown_it", "requests",
    "s3transfer", "sqlalchemy", "urllib3",
)  # fmt: skip
"""Loggers that are heard from WARNING on, whatever our level: botocore's DEBUG prints signed requests whole."""


# --- lines ------------------------------------------------------------------------------------------------------------


def configure_logging(level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Send everything that this process says through one handler on `stream` (stderr by default), without secrets.

    Args:
        level: debug, info, warning, error: the least that is written of ours; others are heard from WARNING on.
        format: console for people, json for programs (one object a line); auto: console if `stream` is a terminal.
    Raises: ValueError if one of them is none of these.
    """
    stream = stream if stream is not None else sys.stderr
    if format not in ("auto", "console", "json"):
        raise ValueError(f"no such log format: {format}; expected auto, console or json")
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no such log level: {level}; expected debug, info, warning or error")
    for_people = format == "console" or (format == "auto" and stream.isatty())
    ours: list[Processor] = [structlog.contextvars.merge_contextvars, *_FACTS]
    structlog.configure(
        processors=[*ours, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # tests capture logs, and the level may change
    )
    handler = _Handler(stream)
    handler.setFormatter(
        _RedactingFormatter(
            foreign_pre_chain=[*_FACTS, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_console(stream) if for_people else _JSON),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]  # the process is ours: no second way out that would not redact
    root.setLevel(number)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    apprise = logging.getLogger("apprise")
    apprise.setLevel(logging.WARNING)  # its sink reads these lines, whatever our level
    apprise.propagate = False  # they are the error of the delivery, and would come again at each attempt
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def library_logging() -> None:
    """Without a configuration of its own structlog prints to stdout: let our events go to stdlib logging instead.

    For programs that import us: a program that has configured structlog keeps its configuration.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _redact_values,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("poller").addHandler(logging.NullHandler())


def _redact_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """When, how bad, what; then the facts in the order in which they were said."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A run's name must not move the cursor of a terminal, nor begin a line that looks like ours."""
    return {
        key: value.translate(_UNPRINTABLE) if isinstance(value, str) and key not in ("exception", "stack") else value
        for key, value in event.items()
    }


def _console(stream: TextIO) -> list[Processor]:
    colors = stream.isatty() and not os.environ.get("NO_COLOR")
    return [
        structlog.processors.format_exc_info,  # plain: never the rich one, which shows local variables
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=colors, sort_keys=False, pad_event_to=22, exception_formatter=structlog.dev.plain_traceback
        ),
    ]


_UNPRINTABLE: Final = {number: chr(0x2400 + number) for number in range(32)} | {
    number: "\ufffd" for number in (*range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Control signs become pictures of themselves; what would turn the direction of a text becomes a question mark."""
_FACTS: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    _in_order,
)
_JSON: Final[tuple[Processor, ...]] = (
    structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
    structlog.processors.JSONRenderer(default=str),
)


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes a line whatever its characters and the stream's encoding; says little when it cannot."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if line.isascii():
            return line
        try:
            line.encode(
                getattr(self.stream, "encoding", None) or "utf-8", getattr(self.stream, "errors", None) or "strict"
            )
        except UnicodeEncodeError:
            return line.encode("ascii", "backslashreplace").decode("ascii")
        return line

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging.Handler calls it by this name
        """Like the standard one without the arguments, which may hold a secret."""
        failure = sys.exc_info()[0]
        if self.stream.closed or (failure is not None and issubclass(failure, OSError)):
            return  # nobody reads the stream any more
        name = failure.__name__ if failure else "an error"
        with suppress(OSError, ValueError):  # the stream was closed by now: there is nowhere left to say it
            self.stream.write(f"a line of {record.name} could not be written ({name})\n")


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger("poller").critical("process.crashed", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is not None:
        facts = (args.exc_type, args.exc_value, args.exc_traceback)
        structlog.get_logger("poller").error("process.unraisable", where=args.err_msg, exc_info=facts)


# --- counters ---------------------------------------------------------------------------------------------------------


class Tally:
    """Counters with names and labels, in memory: how often what happened since the start.

    A name has at most `most` sets of labels; what comes after them is counted together, all its labels "other", so
    that no stream of odd values fills the memory.
    """

    def __init__(self, most: int = 200) -> None:
        self.most = most
        self._counts: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, amount: float = 1, /, **labels: object) -> None:
        """Count `amount` more of `name`; labels are taken as text, None as empty."""
        key = tuple(sorted((label, "" if value is None else str(value)) for label, value in labels.items()))
        with self._lock:
            counts = self._counts.setdefault(name, {})
            if key not in counts and len(counts) >= self.most:
                key = tuple((label, "other") for label, _ in key)
            counts[key] = counts.get(key, 0) + amount

    def count(self, name: str, /, **labels: object) -> float:
        """The sum over all label sets of `name` that have these labels."""
        wanted = {(label, str(value)) for label, value in labels.items()}
        with self._lock:
            return sum(amount for key, amount in self._counts.get(name, {}).items() if wanted <= set(key))

    def snapshot(self) -> Mapping[str, float]:
        """All counts as they are now: `looks.failed{error="Throttled",scope="lab"}` -> 3."""
        with self._lock:
            return {
                name + _in_braces(key): amount
                for name, counts in sorted(self._counts.items())
                for key, amount in sorted(counts.items())
            }


def _in_braces(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in labels) + "}" if labels else ""
