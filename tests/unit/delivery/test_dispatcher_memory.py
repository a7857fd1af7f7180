"""What is owed lives in the record: memory does not grow with it."""

import asyncio
import tracemalloc
from pathlib import Path

import anyio
import pytest

from poller.core.errors import Retry
from poller.delivery.outlet import AHEAD
from poller.ports import Round, Store
from poller.store.opening import open_store
from poller.testing.stores.samples import sample_draft
from tests.unit.delivery.rig import SCOPE, Rig, ScriptedSink, outlet, until
from tests.unit.polling.simulation import START


async def owe(store: Store, count: int) -> None:
    """Owe so many events, two to a run."""
    for first in range(0, count, 2000):
        numbers = range(first, min(first + 2000, count))
        drafts = [sample_draft(str(number // 2), number) for number in numbers]
        await store.commit_round(Round(START, SCOPE, drafts=drafts))


@pytest.mark.parametrize("down", [False, True], ids=["slow", "down"])
def test_the_dispatcher_holds_no_more_of_20_000_owed_events_than_of_2_000(tmp_path: Path, down: bool) -> None:
    """A file, so that what the record itself holds is on disk; peaks of Python's own memory while it sends."""

    async def answer(_: object) -> None:
        await anyio.sleep(0.01)
        if down:
            raise Retry("503")

    async def peak(owed: int) -> int:
        store = open_store(f"sqlite:///{tmp_path / f'{owed}.db'}", directory=tmp_path)
        await store.open()
        try:
            rig = Rig(store)
            sink = ScriptedSink(answer)
            await store.use_routes([], START)
            async with rig.telling(outlet(sink)):
                pass
            await owe(store, owed)
            tracemalloc.start()
            async with rig.telling(outlet(sink)) as dispatcher:
                await until(lambda: len(sink.tried) >= 16, seconds=60)
                worker = dispatcher.workers["hook"]
                held = len(worker._queue) + len(worker._under_way)
                assert held <= AHEAD + 16
                _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most
        finally:
            await store.close()

    async def body() -> None:
        await peak(100)  # caches that are filled once
        few, many = await peak(2_000), await peak(20_000)
        assert many <= 1.2 * few, (few, many)

    asyncio.run(body())  # real time: virtual time runs away from the threads of a file
