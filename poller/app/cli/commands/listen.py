"""`omics-poller listen`: a webhook receiver, for people who write one, or want to see what a sink sends."""

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, parse_count, parse_span
from poller.app.cli.output import Out
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio import CancelScope
    from anyio.streams.memory import MemoryObjectReceiveStream

    from poller.app.receiver.receiving import Answers, Receipt

SECRETS_VARIABLE: Final = "OMICS_POLLER_WEBHOOK_SECRET"
LARGEST_FILE: Final = 64 * 1024
BACKLOG: Final = 16
"""Receipts that wait to be printed; further requests wait for their answer."""


async def listen(
    *,
    port: Annotated[int, Parameter(show_default=True, help="Port to listen on; 0: any free one.")] = 8787,
    host: Annotated[str, Parameter(show_default=True, help="Address to listen on.")] = "127.0.0.1",
    secret_file: Annotated[
        tuple[Path, ...],
        Parameter(help="A file of signing secrets (whsec_…), one a line; may be repeated. Any of them will do."),
    ] = (),
    tolerance: Annotated[str, Parameter(show_default=True, help="How far a timestamp may be off.")] = "5m",
    answer: Annotated[int | None, Parameter(help="The status that says yes: 200 to 299; default: 204.")] = None,
    fail: Annotated[int | None, Parameter(help="Answer with this status instead, such as 503 or 429.")] = None,
    fail_first: Annotated[
        int | None, Parameter(help="Only the first so many requests fail, with --fail or 503.")
    ] = None,
    retry_after: Annotated[str | None, Parameter(help="Retry-After of those that fail, such as 30s.")] = None,
    delay: Annotated[str | None, Parameter(help="Wait so long before each answer, such as 2s.")] = None,
    count: Annotated[int | None, Parameter(help="End once so many different webhooks were accepted.")] = None,
    body: Annotated[bool, Parameter(help="Show the content of each, too.")] = False,
    json: AsJson = False,
    out: Out,
) -> ExitCode:
    """Receive webhooks on a port, verify them, and show each, until SIGINT or SIGTERM.

    Takes POSTs at every path. With a secret it checks signature and timestamp as Standard Webhooks say, and says why
    one is refused. Secrets come from files, or from `OMICS_POLLER_WEBHOOK_SECRET` (several with spaces between), never
    from the command line, which other users of the machine can read. CloudEvents are understood in structured and
    binary mode, everything else is shown as it is. A webhook that was accepted before, by its `webhook-id`, is marked
    as repeated.

    With `--fail`, `--fail-first` and `--delay` it is a receiver that is down, recovers, or is slow.

    **Examples**

    `omics-poller listen --secret-file lims-secret`

    `omics-poller listen --fail-first 3 --retry-after 5s`

    `omics-poller listen --count 1 --json | jq .event.data`
    """
    import anyio

    from poller.app.receiver.receiving import Receiver
    from poller.app.receiver.serving import STOP_SECONDS, listening
    from poller.app.receiver.words import summary_of
    from poller.redaction import hide

    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: must be from 0 to 65535")
    most = None if count is None else parse_count("--count", count)
    secrets = _secrets(secret_file)
    for secret in secrets:
        hide(secret)
    answers = _answers(answer, fail, fail_first, retry_after, delay)
    if answers.failing is not None and answers.fail_first is None:
        for option, given in (("--answer", answer), ("--count", count)):
            if given is not None:
                raise ConfigError(f"{option}: with --fail alone nothing is ever accepted; add --fail-first")
    span = parse_span("--tolerance", tolerance)
    sending, receiving = anyio.create_memory_object_stream["Receipt"](BACKLOG)
    receiver = Receiver(secrets, sending.send, answers=answers, tolerance=span)
    patience = STOP_SECONDS + (0.0 if most is None else answers.delay.total_seconds())  # the last one is answered, too
    with sending, receiving:
        try:
            async with listening(receiver, host, port, patience=patience) as url, anyio.create_task_group() as tasks:
                with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    tasks.start_soon(_end_on, signals, tasks.cancel_scope)
                    out.say(f"listening at {url}/, for any path; Ctrl-C ends it")
                    out.say(_said_of(secrets))
                    await _show(receiving, out, most, body=body, json=json)
                    tasks.cancel_scope.cancel()
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
    for line in summary_of(receiver.tally):
        out.say(line)
    return ExitCode.OK


async def _show(
    receipts: "MemoryObjectReceiveStream[Receipt]", out: Out, most: int | None, *, body: bool, json: bool
) -> None:
    """Show what comes; returns once `most` were accepted."""
    from poller.app.cli.output import printable
    from poller.app.receiver.words import document_of, line_of

    accepted = 0
    async for receipt in receipts:
        if json:
            out.document(document_of(receipt))
        else:
            out.line(line_of(receipt))
            if body and receipt.message is not None:
                for line in receipt.message.text.splitlines():
                    out.line(f"    {printable(line)}")
        accepted += receipt.verdict == "accepted"
        if most is not None and accepted >= most:
            return


async def _end_on(signals: "AsyncIterator[signal.Signals]", scope: "CancelScope") -> None:
    async for _ in signals:
        scope.cancel()


def _answers(
    accepted: int | None, fail: int | None, fail_first: int | None, retry_after: str | None, delay: str | None
) -> "Answers":
    from poller.app.receiver.receiving import Answers

    if accepted is not None and not 200 <= accepted <= 299:
        raise ConfigError(f"--answer {accepted}: must be from 200 to 299; --fail is for the others")
    if fail is not None and not 300 <= fail <= 599:
        raise ConfigError(f"--fail {fail}: must be from 300 to 599")
    first = None if fail_first is None else parse_count("--fail-first", fail_first)
    failing = 503 if fail is None and first is not None else fail
    if retry_after is not None and failing is None:
        raise ConfigError("--retry-after: goes with --fail or --fail-first")
    return Answers(
        accepted=204 if accepted is None else accepted,
        failing=failing,
        fail_first=first,
        retry_after=None if retry_after is None else parse_span("--retry-after", retry_after),
        delay=timedelta(0) if delay is None else parse_span("--delay", delay),
    )


def _secrets(files: Sequence[Path]) -> list[str]:
    """The secrets of the files and of the environment. Raises: ConfigError, which shows none of them."""
    found = [
        (f"--secret-file {path}, line {number}", line.strip())
        for path in files
        for number, line in enumerate(_lines(path), start=1)
        if line.strip() and not line.startswith("#")
    ]
    found += [(SECRETS_VARIABLE, word) for word in os.environ.get(SECRETS_VARIABLE, "").split()]
    for path in files:
        if not any(place.startswith(f"--secret-file {path},") for place, _ in found):
            raise ConfigError(f"--secret-file {path}: holds no secret")
    return [_checked(place, secret) for place, secret in found]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise ConfigError(f"--secret-file {path}: is larger than {LARGEST_FILE // 1024} KiB, which is no secret")
        return text.decode().splitlines()
    except OSError as error:
        raise ConfigError(f"--secret-file {path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"--secret-file {path}: is no text") from None


def _checked(place: str, secret: str) -> str:
    from poller.sinks.signing import signing_key

    try:
        signing_key(secret)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    return secret


def _said_of(secrets: Sequence[str]) -> str:
    if not secrets:
        return f"no secret: signatures are not checked; give --secret-file, or set {SECRETS_VARIABLE}"
    return f"signatures are checked with {'1 secret' if len(secrets) == 1 else f'{len(secrets)} secrets'}"
