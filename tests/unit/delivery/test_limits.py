"""One timer for the sends of many tasks ends each of them at its own moment, and nothing else."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from poller.delivery.limits import Limit, Limits
from tests.unit.delivery.rig import rigged
from tests.unit.polling.simulation import virtually


async def ended_after(seconds: float, limit: Limit) -> tuple[float, bool]:
    """How long a send of so many seconds took, and whether it was cancelled."""
    begun = anyio.current_time()
    with limit as scope:
        await anyio.sleep(seconds)
    return round(anyio.current_time() - begun, 6), scope.cancelled_caught


def watched(body: Callable[[Limits], Awaitable[None]]) -> None:
    """Run it in virtual time, with limits of ten seconds that are watched."""

    async def inner() -> None:
        async with rigged() as rig, anyio.create_task_group() as tasks:
            limits = Limits(10, rig.clock)
            tasks.start_soon(limits.watch)
            await body(limits)
            tasks.cancel_scope.cancel()

    virtually(inner)


def test_each_send_has_the_whole_time_and_not_more() -> None:
    async def body(limits: Limits) -> None:
        with limits.of_this_task() as limit:
            took = [await ended_after(seconds, limit) for seconds in (9, 9, 60, 9.5, 60, 60, 1)]
        assert took == [(9, False), (9, False), (10, True), (9.5, False), (10, True), (10, True), (1, False)]

    watched(body)


def test_sends_side_by_side_end_each_at_its_own_moment() -> None:
    ended: dict[int, tuple[float, bool]] = {}

    async def body(limits: Limits) -> None:
        async def send(number: int, seconds: float) -> None:
            await anyio.sleep(number)
            with limits.of_this_task() as limit:
                ended[number] = await ended_after(seconds, limit)

        async with anyio.create_task_group() as tasks:
            for number, seconds in enumerate((60, 5, 60, 9.75, 60)):
                tasks.start_soon(send, number, seconds)

    watched(body)
    assert ended == {0: (10, True), 1: (5, False), 2: (10, True), 3: (9.75, False), 4: (10, True)}


def test_what_is_not_a_send_is_never_cancelled() -> None:
    async def body(limits: Limits) -> None:
        reached = []
        with limits.of_this_task() as limit:
            await ended_after(1, limit)
            await anyio.sleep(100)
            took = await ended_after(60, limit)
            await anyio.sleep(100)
            reached.append(took)
        assert reached == [(10, True)]

    watched(body)


def test_a_failure_goes_through_and_what_ends_the_task_ends_it() -> None:
    async def body(limits: Limits) -> None:
        reached: list[object] = []
        with limits.of_this_task() as limit:
            with pytest.raises(ValueError, match="of a sink"), limit:
                raise ValueError("of a sink")
            reached.append(await ended_after(9, limit))
        with anyio.move_on_after(3) as outer, limits.of_this_task() as limit:
            await ended_after(60, limit)
            reached.append("the next send")
        assert outer.cancelled_caught
        assert reached == [(9, False)]

    watched(body)


def test_a_send_that_will_not_be_cancelled_takes_the_time_of_no_other() -> None:
    """It swallows the cancellation and answers all the same; the next one has its whole time."""

    async def body(limits: Limits) -> None:
        with limits.of_this_task() as limit:
            with limit as scope:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(25)
            assert scope.cancel_called
            took = await ended_after(9, limit)
        assert took == (9, False)

    watched(body)
