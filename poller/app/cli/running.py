"""One command, run to its end: its event loop, its logs, and the signals that end it."""

import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from poller.app.cli.exits import ExitCode

Call = Callable[[], Coroutine[Any, Any, ExitCode]]

OBEYING: Final = frozenset({"run", "emulator", "listen"})
"""Commands that take SIGINT and SIGTERM themselves, as a request to end well."""


def run_command(call: Call, *, name: str, debug: bool) -> ExitCode:
    """Run a command; what it raises passes. SIGINT and SIGTERM cancel it, which is exit code 130."""
    from poller.telemetry import configure_logging, library_logging

    if debug:
        configure_logging("debug", "console")
    elif name != "run":
        library_logging()
        if not logging.getLogger().handlers:  # else Python itself prints warnings and errors, with their tracebacks
            logging.getLogger().addHandler(logging.NullHandler())
    return anyio.run(call if name in OBEYING else _interruptible, *(() if name in OBEYING else (call,)))


async def _interruptible(call: Call) -> ExitCode:
    code = ExitCode.INTERRUPTED
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope)
        code = await call()
        tasks.cancel_scope.cancel()
    return code


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        async for _ in received:
            scope.cancel()
