"""Who is owed what, and which delivery comes next: order within a lane, and lanes that do not wait for each other."""

from datetime import timedelta

from poller.core.deliveries import DeliveryState
from poller.core.routing import Route
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, DAY, MINUTE, dead, done, later, sample_draft, steps_claimed, tell


class ClaimPromises(Opened):
    """The promises about claims and settlements."""

    async def test_each_sink_is_owed_what_it_takes(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("all"), Route("ends", ("failed",))], AT)
            await tell(store, sample_draft("1"), sample_draft("2", kind="failed"))
            assert await steps_claimed(store, "all") == ["1/life/1", "2/life/1"]
            assert await steps_claimed(store, "ends") == ["2/life/1"]

    async def test_of_a_lane_only_the_first_is_claimed_and_other_lanes_do_not_wait(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1), sample_draft("3", 1))
            assert await steps_claimed(store, "hook", limit=2) == ["1/life/1", "2/life/1"]
            assert await steps_claimed(store, "hook") == ["3/life/1"]
            assert await steps_claimed(store, "hook") == []
            await tell(store, sample_draft("1", 3), sample_draft("4", 1))
            assert await steps_claimed(store, "hook") == ["4/life/1"]

    async def test_a_lane_keeps_its_order_over_incarnations(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 1, incarnation="next"), sample_draft("1", 2))
            came = []
            while claimed := await store.claim("hook", now=AT, limit=10):
                assert len(claimed) == 1
                came.append(claimed[0].event.position)
                await store.settle([done(claimed[0])])
            assert came == [1, 2, 3]

    async def test_claims_come_by_due_time_then_position(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, *(sample_draft(str(run)) for run in range(4)))
            first, second, _, fourth = await store.claim("hook", now=AT, limit=10)
            await store.settle([later(first, AT + 3 * MINUTE), later(second, AT + MINUTE), later(fourth, AT + MINUTE)])
            assert await store.next_due("hook") == AT + MINUTE
            assert await steps_claimed(store, "hook", now=AT + 59 * timedelta(seconds=1)) == []
            assert await steps_claimed(store, "hook", now=AT + DAY) == ["1/life/1", "3/life/1", "0/life/1"]

    async def test_released_claims_are_as_they_were(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2))
            (first,) = await store.claim("hook", now=AT, limit=10)
            await store.settle([later(first, AT + MINUTE)])
            (again,) = await store.claim("hook", now=AT + MINUTE, limit=10)
            assert await store.next_due("hook") is None
            assert (again.attempts, again.last_attempt_at) == (1, AT)
            await store.release([again.id])
            assert await store.next_due("hook") == AT + MINUTE
            assert await store.claim("hook", now=AT, limit=10) == []
            (once_more,) = await store.claim("hook", now=AT + MINUTE, limit=10)
            assert (once_more.id, once_more.attempts, once_more.last_attempt_at) == (again.id, 1, AT)

    async def test_a_retry_holds_up_its_own_lane_only(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook"), Route("other")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1), sample_draft("2", 2))
            first, second = await store.claim("hook", now=AT, limit=10)
            await store.settle([later(first, AT + DAY), done(second)])
            assert await steps_claimed(store, "hook", now=AT + MINUTE) == ["2/life/2"]
            assert await steps_claimed(store, "other", now=AT + MINUTE) == ["1/life/1", "2/life/1"]
            (retried,) = await store.claim("hook", now=AT + DAY, limit=10)
            assert (retried.event.id, retried.attempts, retried.last_attempt_at) == ("1/life/1", 1, AT)

    async def test_a_dead_letter_frees_its_lane_at_once(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2))
            (first,) = await store.claim("hook", now=AT, limit=10)
            await store.settle([dead(first, AT + MINUTE)])
            assert await store.next_due("hook") == AT + MINUTE
            assert await steps_claimed(store, "hook", now=AT + MINUTE) == ["1/life/2"]
            (row,) = await store.deliveries(state=DeliveryState.DEAD)
            assert (row.event_id, row.error, row.attempts, row.due) == ("1/life/1", "rejected: 422", 1, None)
            assert row.settled_at == AT + MINUTE

    async def test_counts_of_attempts_are_kept(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft())
            (first,) = await store.claim("hook", now=AT, limit=1)
            await store.settle([later(first, AT)._replace(attempts=7, counted=4)])
            (again,) = await store.claim("hook", now=AT, limit=1)
            assert (again.attempts, again.counted) == (7, 4)

    async def test_settling_twice_is_settling_once(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, *(sample_draft("1", step) for step in (1, 2, 3)))
            (first,) = await store.claim("hook", now=AT, limit=10)
            await store.settle([done(first)])
            await store.settle([done(first)])
            assert await steps_claimed(store, "hook") == ["1/life/2"]
            await store.settle([dead(first)])
            assert await steps_claimed(store, "hook") == []
            (row,) = await store.deliveries(state=DeliveryState.ACKNOWLEDGED)
            assert row.event_id == "1/life/1"

    async def test_make_due_ends_all_waits_of_one_sink(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook"), Route("other")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("2", 1), sample_draft("2", 2))
            for sink in ("hook", "other"):
                claimed = await store.claim(sink, now=AT, limit=10)
                await store.settle([later(one, AT + DAY - one.event.position * MINUTE) for one in claimed])
            await store.make_due("hook", AT + MINUTE)
            assert await store.next_due("hook") == AT + MINUTE
            assert await steps_claimed(store, "hook", now=AT + MINUTE) == ["1/life/1", "2/life/1"]
            assert await store.next_due("other") == AT + DAY - 2 * MINUTE

    async def test_probes_go_round_the_lanes(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            assert await store.probe("hook") == []
            await tell(store, *(sample_draft(str(run)) for run in range(3)), sample_draft("0", 2))
            probed = []
            for minute in range(6):
                (one,) = await store.probe("hook")
                probed.append(one.event.id)
                await store.settle([later(one, AT + DAY, AT + minute * MINUTE)])
            assert probed == ["0/life/1", "1/life/1", "2/life/1"] * 2
            (one,) = await store.probe("hook")
            assert await steps_claimed(store, "hook", now=AT + 2 * DAY) == ["1/life/1", "2/life/1"]
            assert await store.probe("hook") == []
            await store.release([one.id])
            assert [again.id for again in await store.probe("hook")] == [one.id]

    async def test_nothing_owed_is_never_due(self) -> None:
        async with self.open_store() as store:
            assert await store.next_due("hook") is None
            assert await store.claim("hook", now=AT, limit=10) == []
            await store.settle([])
            await store.release([])
            assert await tell(store) == []
