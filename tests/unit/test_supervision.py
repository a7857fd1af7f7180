"""Parts that run for ever: who waits for their start, and whom a crash concerns."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint

from poller.core.errors import StoreRefused
from poller.foundation import Foundation, foundation_of
from poller.store.opening import open_store
from poller.supervision import start_running, start_side_by_side


class EagerClock:
    """No wait takes any time."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> Any:
        raise NotImplementedError

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await checkpoint()


@pytest.fixture
def clock() -> EagerClock:
    return EagerClock()


@pytest.fixture
def foundation(clock: EagerClock) -> Foundation:
    return foundation_of(open_store("sqlite://", directory=Path.cwd()), clock, lambda: 0.5)


class Part:
    """A part that crashes so often before it is ready, and then runs for ever."""

    def __init__(self, *, crashes: int = 0, error: Exception | None = None) -> None:
        self.crashes = crashes
        self.error = error or ZeroDivisionError("a bug of ours")
        self.starts = 0
        self.ready = False

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        self.starts += 1
        if self.starts <= self.crashes:
            raise self.error
        self.ready = True
        task_status.started()
        await anyio.sleep_forever()


async def test_who_waits_for_a_part_waits_through_its_crashes(foundation: Foundation, clock: EagerClock) -> None:
    """The telling side has to be ready before anything is recorded: a crash at its start must not let the others go."""
    part = Part(crashes=3)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await tasks.start(start_running, "deliver", part.run, foundation)
            assert (part.ready, part.starts) == (True, 4)
            tasks.cancel_scope.cancel()
    assert len(clock.waits) == 3


async def test_a_part_that_does_not_come_up_keeps_no_other_waiting_and_is_tried_on(foundation: Foundation) -> None:
    sick, well = Part(crashes=50), Part()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await start_side_by_side(tasks, {"sick": sick.run, "well": well.run}, foundation)
            assert (well.ready, sick.ready) == (True, False)
            while not sick.ready:
                await checkpoint()
            tasks.cancel_scope.cancel()
    assert foundation.tally.count("crashes", part="sick") == 50


async def test_a_slow_start_is_waited_for_beside_the_others(foundation: Foundation) -> None:
    order: list[str] = []
    go = anyio.Event()

    async def slow(*, task_status: TaskStatus[None]) -> None:
        await go.wait()
        order.append("slow")
        task_status.started()

    async def quick(*, task_status: TaskStatus[None]) -> None:
        order.append("quick")
        go.set()
        task_status.started()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await start_side_by_side(tasks, {"slow": slow, "quick": quick}, foundation)
    assert order == ["quick", "slow"]


async def test_a_record_that_a_person_must_mend_is_raised_as_it_is(foundation: Foundation) -> None:
    parts = {name: Part(crashes=1, error=StoreRefused("replaced")).run for name in ("one", "two")}
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 - of the group around it
        async with anyio.create_task_group() as tasks:
            with pytest.raises(StoreRefused, match="replaced"):
                await start_side_by_side(tasks, parts, foundation)
            raise StoreRefused("seen")
    assert caught.value.subgroup(StoreRefused) is not None
