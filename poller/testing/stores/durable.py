"""What is there after a restart, and for others who share the record."""

from poller.core.routing import Route
from poller.core.stays import Stays
from poller.ports import Round, ScopeState, WatchRow
from poller.testing.stores.samples import AT, MINUTE, SCOPE, dead, later, sample_draft, sample_run, steps_claimed, tell
from poller.testing.stores.suite import StoreConformance


class DurableStoreConformance(StoreConformance):
    """The promises of a record that outlives its process."""

    async def test_everything_is_there_after_a_restart(self) -> None:
        state = ScopeState(SCOPE, "us-east-1", None, AT, {"GetRun": 1.25})
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            drafts = [sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1)]
            stays = [Stays("7", "1.0", "RUNNING", (0.125, 3600.0))]
            snapshots, failed = {"1": {"a": [1]}}, {drafts[1].id}
            round_ = Round(AT, SCOPE, [sample_run()], snapshots, drafts, state, stays=stays, to_diagnose=failed)
            await store.commit_round(round_)
            await store.put_watch(WatchRow(SCOPE, "9", "mute", AT))
            first, second = await store.claim("hook", now=AT, limit=10)
            await store.settle([later(first, AT + MINUTE), dead(second)])
            bodies = [event.body for event in await store.events()]
            deliveries, sinks, runs = await store.deliveries(), await store.sinks(), await store.runs()
        async with self.open_store() as store:
            assert [event.body for event in await store.events()] == bodies
            assert [event.recorded_at for event in await store.events()] == [AT] * 3
            assert (await store.deliveries(), await store.sinks(), await store.runs()) == (deliveries, sinks, runs)
            assert await store.scopes() == [state]
            assert await store.watches() == [WatchRow(SCOPE, "9", "mute", AT)]
            assert await store.live_runs(SCOPE) == [sample_run()]
            assert await store.stays(SCOPE) == stays
            assert await store.owed_diagnoses(SCOPE) == {2: "1"}
            await store.use_routes([Route("hook")], AT + MINUTE)
            assert await tell(store, sample_draft("1", 2), sample_draft("1", 3)) == [4]
            assert (await store.events(after=3))[0].sequence == 3
            assert await steps_claimed(store, "hook", now=AT + MINUTE) == ["1/life/1"]

    async def test_claims_of_a_daemon_that_died_are_released_by_the_next_one(self) -> None:
        async with self.open_store() as store:
            await store.hold("first")
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2))
            assert await steps_claimed(store, "hook") == ["1/life/1"]
        async with self.open_store() as store:
            assert await store.claim("hook", now=AT, limit=10) == []
            await store.hold("second")
            assert await steps_claimed(store, "hook") == ["1/life/1"]
            await store.hold("second")
            assert await store.claim("hook", now=AT, limit=10) == []

    async def test_two_that_share_a_record_see_each_other(self) -> None:
        async with self.open_store() as daemon, self.open_store() as command:
            await daemon.hold("daemon")
            await command.put_watch(WatchRow(SCOPE, "1", "follow", AT))
            assert await daemon.watches() == [WatchRow(SCOPE, "1", "follow", AT)]
            await tell(daemon, sample_draft("1"))
            await tell(command, sample_draft("1", 2))
            await tell(daemon, sample_draft("1", 3))
            assert [event.sequence for event in await command.events()] == [1, 2, 3]

    def test_any_order_of_calls_agrees_with_a_simple_model(self) -> None:
        """As for every record, and with restarts in between."""
        self._run_model(reopens=True)
