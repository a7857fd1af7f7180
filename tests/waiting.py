"""Waiting for what nobody tells a test: it looks again and again, and fails with words where it does not come about."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def becomes(
    true: Callable[[], object | Awaitable[object]],
    or_else: Callable[[], str] = lambda: "waited in vain",
    *,
    pause_seconds: float = 0.02,
    patience_seconds: float = 120.0,
) -> None:
    """Return once something is true. Nothing takes as long as the patience lasts where all is well."""
    deadline = time.monotonic() + patience_seconds
    while True:
        found = true()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, or_else()
        await asyncio.sleep(pause_seconds)
