"""Parts of a process that must run for ever: a crash is told, counted and mended, and never stops the others."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

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
    awaited: bool = True,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """`keep_running` for a `body` that tells by `task_status` when it is ready: its first start tells the caller.

    Who waits for that waits through its crashes, unless it is not `awaited`: then a crash lets the caller go on, too.
    """
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            task_status.started()

    async def once() -> None:
        try:
            await body(task_status=_Telling(tell))
        except Exception as error:
            if not awaited and _refusal(error) is None:
                tell()
            raise

    await keep_running(part, once, foundation)


async def start_side_by_side(
    tasks: TaskGroup, bodies: Mapping[str, Callable[..., Awaitable[None]]], foundation: Foundation
) -> None:
    """Start parts in `tasks` that have nothing to do with each other; return once each is ready, or crashed.

    None waits for another's start, and one that does not come up is tried again while the others work.
    Raises: StoreRefused.
    """
    begin = partial(start_running, awaited=False)
    try:
        async with anyio.create_task_group() as starting:
            for part, body in bodies.items():
                starting.start_soon(tasks.start, begin, part, body, foundation)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # the record is one: each of them says the same


class _Telling(TaskStatus[None]):
    """Tells that a part is ready, as often as it starts."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def started(self, value: None = None) -> None:
        self._tell()


def _refusal(error: Exception) -> StoreRefused | None:
    """The StoreRefused that this is, or that a task group has wrapped."""
    while isinstance(error, ExceptionGroup):
        found = error.subgroup(StoreRefused)
        if found is None:
            return None
        error = found.exceptions[0]
    return error if isinstance(error, StoreRefused) else None
