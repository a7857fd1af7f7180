"""Parts of a process that must run for ever: a crash is told, counted and mended, and never stops the others."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import anyio
import structlog
from anyio.abc import TaskStatus

from poller.core.errors import StoreRefused
from poller.core.retries import full_jitter
from poller.foundation import Foundation

log = structlog.get_logger("poller")

FIRST_WAIT: Final = timedelta(seconds=1)
LONGEST_WAIT: Final = timedelta(minutes=1)
FORGIVEN_AFTER: Final = 600.0
"""Seconds without a crash after which the earlier ones count no more."""


async def keep_running(part: str, body: Callable[[], Awaitable[None]], foundation: Foundation) -> None:
    """Run `body` until it returns; after a crash again, with backoff. Cancellation passes, and so does StoreRefused:
    a record that a person must mend stops the process.
    """
    clock, failures = foundation.clock, 0
    while True:
        started = clock.monotonic()
        try:
            return await body()
        except Exception as error:
            if (refused := _refusal(error)) is not None:
                raise refused from None
            failures = 1 if clock.monotonic() - started > FORGIVEN_AFTER else failures + 1
            foundation.tally.add("crashes", part=part)
            log.exception("part.crashed", part=part, failures=failures)
            wait = FIRST_WAIT / 2 + full_jitter(failures, FIRST_WAIT, LONGEST_WAIT, foundation.chance())
            await clock.sleep(wait.total_seconds())


async def start_running(
    part: str,
    body: Callable[..., Awaitable[None]],
    foundation: Foundation,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """`keep_running` for a `body` that tells by `task_status` when it is ready: its first start tells the caller."""
    status: TaskStatus[None] = task_status

    async def once() -> None:
        nonlocal status
        this, status = status, anyio.TASK_STATUS_IGNORED
        await body(task_status=this)

    await keep_running(part, once, foundation)


def _refusal(error: Exception) -> StoreRefused | None:
    """The StoreRefused that this is, or that a task group has wrapped."""
    while isinstance(error, ExceptionGroup):
        found = error.subgroup(StoreRefused)
        if found is None:
            return None
        error = found.exceptions[0]
    return error if isinstance(error, StoreRefused) else None
