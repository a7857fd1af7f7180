"""Pollers over an emulator in the same loop, with intervals so small that a run lives a second."""

import asyncio
from collections.abc import Callable
from typing import Any

from poller import Poller
from poller.emulator import Emulator, Life
from tests.waiting import becomes

BRISK: dict[str, Any] = {
    "min_interval": "50ms",
    "max_interval": "200ms",
    "max_calls_per_second": 200,
    "vanish_deadline": "300ms",
    "discover_ended": "1s",
    "blind_after": "5m",
}
PATIENCE = 15.0
"""Seconds after which something counts as not happening; nothing takes so long where all is well."""


def brisk_poller(emulator: Emulator, **options: Any) -> Poller:
    polling = {**BRISK, **options.pop("polling", {})}
    return Poller(region="us-east-1", endpoint_url=emulator.url, polling=polling, **options)


def quick_life(end: str = "COMPLETED", seconds: float = 0.1) -> Life:
    return Life.of(("PENDING", seconds), ("RUNNING", seconds), end)


async def until(true: Callable[[], object]) -> None:
    """Let other tasks work until something is true."""
    await becomes(true, pause_seconds=0.005, patience_seconds=PATIENCE)


async def asked_again(emulator: Emulator, operation: str, run_id: str | None = None, *, times: int = 3) -> None:
    """Wait until this was asked so many times more: what comes as often has come by then."""

    def asked() -> int:
        return sum((call.operation, call.run_id) == (operation, run_id) for call in emulator.calls)

    before = asked()
    await until(lambda: asked() >= before + times)


async def ended(task: str) -> None:
    """Wait until no task of this name runs any more."""
    await until(lambda: all(one.get_name() != task for one in asyncio.all_tasks()))
