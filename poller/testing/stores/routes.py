"""What a sink is owed that is new, gone, or back again; and how deliveries are listed."""

from poller.core.deliveries import DeliveryState
from poller.core.matching import Match
from poller.core.routing import Route
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import (
    AT,
    DAY,
    MINUTE,
    SCOPE,
    dead,
    done,
    later,
    sample_draft,
    source_of,
    steps_claimed,
    tell,
)


class RoutePromises(Opened):
    """The promises about the life of a sink."""

    async def test_a_new_sink_gets_nothing_of_the_past(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("old")], AT)
            await tell(store, sample_draft("1", 1))
            await store.use_routes([Route("old"), Route("new")], AT + MINUTE)
            await tell(store, sample_draft("1", 2))
            assert await steps_claimed(store, "new") == ["1/life/2"]
            old, new = sorted(await store.sinks(), key=lambda sink: sink.first_seen_at)
            assert (old.name, old.in_force, old.first_seen_at, old.owed) == ("old", True, AT, 2)
            assert (new.name, new.in_force, new.first_seen_at, new.owed) == ("new", True, AT + MINUTE, 1)

    async def test_a_match_decides_by_what_is_recorded_and_a_new_one_for_what_comes_after(self) -> None:
        def about(patient: str) -> Route:
            return Route("hook", match=(Match.model_validate({"tags": {"patient": patient}}),))

        async with self.open_store() as store:
            await store.use_routes([about("P-1"), Route("other")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("2", 1))
            await store.use_routes([about("P-2"), Route("other")], AT + MINUTE)
            await tell(store, sample_draft("1", 2), sample_draft("2", 2))
            assert {row.event_id for row in await store.deliveries(sink="hook")} == {"1/life/1", "2/life/2"}
            assert len(await store.deliveries(sink="other")) == 4

    async def test_a_sink_that_is_gone_keeps_what_it_is_owed_and_goes_on_when_it_returns(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook"), Route("other")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2))
            await store.use_routes([Route("other")], AT + MINUTE)
            await tell(store, sample_draft("1", 3))
            assert [row.parked for row in await store.deliveries(sink="hook")] == [True, True]
            assert not any(row.parked for row in await store.deliveries(sink="other"))
            assert [(sink.name, sink.in_force, sink.owed) for sink in await store.sinks()] == [
                ("hook", False, 2),
                ("other", True, 3),
            ]
            await store.use_routes([Route("hook")], AT + 2 * MINUTE)
            await tell(store, sample_draft("1", 4))
            came = []
            while claimed := await store.claim("hook", now=AT + DAY, limit=10):
                came += [one.event.id for one in claimed]
                await store.settle([done(one) for one in claimed])
            assert came == ["1/life/1", "1/life/2", "1/life/4"]
            assert (await store.sinks())[0].first_seen_at == AT

    async def test_deliveries_are_listed_newest_first_and_counted(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook"), Route("other")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1), sample_draft("3", 1))
            first, second, third = await store.claim("hook", now=AT, limit=10)
            await store.settle([done(first), dead(second), later(third, AT + MINUTE)])
            listed = await store.deliveries(sink="hook")
            assert [(row.position, row.state) for row in listed] == [
                (4, DeliveryState.PENDING),
                (3, DeliveryState.DEAD),
                (2, DeliveryState.PENDING),
                (1, DeliveryState.ACKNOWLEDGED),
            ]
            assert [row.due for row in listed] == [AT + MINUTE, None, AT, None]
            assert (listed[0].event_id, listed[0].event_type, listed[0].source, listed[0].run_id) == (
                "3/life/1",
                "healthomics.run.running",
                source_of("3"),
                "3",
            )
            assert [row.due for row in await store.deliveries(sink="other", run_id="1")] == [None, AT]
            assert [row.position for row in await store.deliveries(limit=3)] == [4, 4, 3]
            assert [row.position for row in await store.deliveries(sink="hook", scope=SCOPE)] == [4, 3, 2, 1]
            assert await store.deliveries(scope="elsewhere") == []
            pending = await store.deliveries(state=DeliveryState.PENDING, run_id="1")
            assert {(row.sink, row.position) for row in pending} == {("hook", 2), ("other", 1), ("other", 2)}
            hook = (await store.sinks())[0]
            assert (hook.owed, hook.dead, hook.acknowledged) == (2, 1, 1)
