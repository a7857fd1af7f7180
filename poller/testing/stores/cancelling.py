"""A caller that is cancelled leaves whole transactions."""

import anyio

from poller.core.deliveries import Delivery, DeliveryState
from poller.core.routing import Route
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, SCOPE, done, sample_draft, sample_run, tell


class CancellingPromises(Opened):
    """The promises to callers that are cancelled."""

    async def test_a_cancelled_caller_leaves_whole_transactions_only(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook"), Route("other")], AT)
            returned: set[str] = set()

            async def commit(run_id: str, seconds: float) -> None:
                drafts = [sample_draft(run_id, step) for step in (1, 2, 3)]
                with anyio.move_on_after(seconds):
                    await tell(store, *drafts, runs=[sample_run(run_id)])
                    returned.add(run_id)

            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(commit, str(number), number % 20 / 2000)
            events = await store.events()
            assert [event.position for event in events] == list(range(1, len(events) + 1))
            by_run: dict[str, list[int | None]] = {}
            for event in events:
                by_run.setdefault(event.subject, []).append(event.sequence)
            assert all(sequences == [1, 2, 3] for sequences in by_run.values())
            assert {run.run_id for run in await store.live_runs(SCOPE)} == set(by_run)
            assert returned <= set(by_run)
            assert len(await store.deliveries()) == 2 * len(events)
            await tell(store, sample_draft("after"))

    async def test_a_cancelled_claim_or_settlement_is_done_or_not(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, *(sample_draft(str(run), step) for run in range(30) for step in (1, 2)))
            settled: list[int] = []

            async def deliver(seconds: float) -> None:
                claimed: list[Delivery] = []
                with anyio.move_on_after(seconds):
                    claimed = await store.claim("hook", now=AT, limit=3)
                    await store.settle([done(one) for one in claimed])
                    settled.extend(one.id for one in claimed)
                with anyio.CancelScope(shield=True):
                    await store.release([one.id for one in claimed])

            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(deliver, number % 10 / 1000)
            acknowledged = {row.id for row in await store.deliveries(state=DeliveryState.ACKNOWLEDGED)}
            assert set(settled) <= acknowledged
            while claimed := await store.claim("hook", now=AT, limit=100):
                await store.settle([done(one) for one in claimed])
            assert {row.state for row in await store.deliveries()} == {DeliveryState.ACKNOWLEDGED}
