"""The gate before the record: closed exactly while somebody's operation cannot be done."""

import anyio
import anyio.lowlevel
import pytest

from poller.core.errors import StoreRefused, StoreUnavailable
from poller.gate import RecordGate
from tests.unit.polling.simulation import VirtualClock, virtually


class Record:
    """An operation that cannot be done until `mended`."""

    def __init__(self, then: Exception | None = None) -> None:
        self.mended = False
        self.tries: list[float] = []
        self.then = then

    async def write(self) -> str:
        self.tries.append(VirtualClock().monotonic())
        await anyio.lowlevel.checkpoint()
        if self.mended:
            return "written"
        if self.then is not None and len(self.tries) > 1:
            raise self.then
        raise StoreUnavailable("the disk is full")


def gate(jitter: float = 0.999) -> RecordGate:
    return RecordGate(VirtualClock(), lambda: jitter)


async def is_open(one: RecordGate) -> bool:
    with anyio.move_on_after(0.001) as limit:
        await one.open()
    return not limit.cancelled_caught


def test_an_operation_is_tried_until_it_is_done_at_growing_intervals_of_5_seconds_at_most() -> None:
    async def body() -> None:
        record, one = Record(), gate()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.insist, record.write)
            await anyio.sleep(60)
            waits = [round(later - sooner, 6) for sooner, later in zip(record.tries, record.tries[1:], strict=False)]
            assert waits[0] == pytest.approx(0.2, rel=0.01)
            assert waits == sorted(waits)
            assert max(waits) == pytest.approx(5, rel=0.01)
            record.mended = True
        assert VirtualClock().monotonic() < 66

    virtually(body)


def test_while_an_operation_fails_the_gate_is_closed_and_says_since_when_and_why() -> None:
    async def body() -> None:
        record, one = Record(), gate()
        assert await is_open(one)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.insist, record.write)
            await anyio.sleep(1)
            assert not await is_open(one)
            assert one.reason == "the disk is full"
            assert one.closed_since is not None
            record.mended = True
            await one.open()
        assert (one.reason, one.closed_since) == (None, None)

    virtually(body)


def test_one_operation_that_succeeds_again_does_not_open_the_gate_for_another_that_still_fails() -> None:
    async def body() -> None:
        small, large, one = Record(), Record(), gate()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.insist, small.write)
            tasks.start_soon(one.insist, large.write)
            await anyio.sleep(1)
            small.mended = True
            for _ in range(1000):
                await anyio.sleep(0.01)
                assert one.closed_since is not None
            large.mended = True
            await anyio.sleep(10)
            assert await is_open(one)

    virtually(body)


def test_who_gives_up_a_failing_operation_does_not_leave_the_gate_closed_for_ever() -> None:
    """A sink that is taken away while it insists on its claim was the only one who would have opened the gate."""

    async def body() -> None:
        one = gate()
        with anyio.move_on_after(3):
            await one.insist(Record().write)
        assert await is_open(one)
        assert one.closed_since is None

    virtually(body)


@pytest.mark.parametrize("then", [StoreRefused("it was replaced"), RuntimeError("a bug")])
def test_an_operation_that_ends_in_another_error_raises_it_and_opens_the_gate(then: Exception) -> None:
    async def body() -> None:
        one = gate()
        with pytest.raises(type(then)):
            await one.insist(Record(then).write)
        assert await is_open(one)

    virtually(body)


def test_what_succeeds_at_once_opens_nothing_that_others_closed() -> None:
    async def body() -> None:
        failing, fine, one = Record(), Record(), gate()
        fine.mended = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.insist, failing.write)
            await anyio.sleep(1)
            assert await one.insist(fine.write) == "written"
            assert not await is_open(one)
            failing.mended = True

    virtually(body)
