"""Of two scopes that prove to be one all is held under one name."""

from poller.core.batches import KnownBatch
from poller.core.routing import Route
from poller.core.runs import KnownRun
from poller.ports import Round, ScopeState, WatchRow
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, MINUTE, SCOPE, sample_draft, sample_run, steps_claimed, tell


class ScopePromises(Opened):
    """The promises about `merge_scopes`."""

    async def test_of_two_scopes_that_are_one_all_is_held_under_one_name(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1), runs=[sample_run("1")])
            theirs = Round(
                AT,
                "other",
                runs=[sample_run("2")],
                snapshots={"2": {"name": "two"}},
                drafts=[sample_draft("2", 1)],
                state=ScopeState("other", "us-east-1", "123456789012", AT, {"GetRun": 2.5}),
            )
            await store.commit_round(theirs)
            await store.commit_round(Round(AT, SCOPE, state=ScopeState(SCOPE, "us-east-1", "123456789012", AT)))
            await store.put_watch(WatchRow("other", "2", "follow", AT))
            for _ in range(2):  # twice is once
                await store.merge_scopes("other", SCOPE, discovered_through=AT - MINUTE)
                assert {run.run_id for run in await store.live_runs(SCOPE)} == {"1", "2"}
                assert await store.live_runs("other") == []
                assert (await store.snapshots(SCOPE, ["2"]))["2"] == {"name": "two"}
                assert [event.id for event in await store.events(scope=SCOPE)] == ["1/life/1", "2/life/1"]
                assert await store.events(scope="other") == []
                assert {row.run_id for row in await store.deliveries(scope=SCOPE)} == {"1", "2"}
            ours, gone = await store.scope(SCOPE), await store.scope("other")
            assert ours is not None
            assert ours.discovered_through == AT - MINUTE
            assert gone == ScopeState("other", "us-east-1", "123456789012", None, {"GetRun": 2.5})
            assert [watch.scope for watch in await store.watches()] == ["other"], "people know it by the name they gave"
            await tell(store, sample_draft("2", 2))
            assert [event.sequence for event in await store.events(run_id="2")] == [1, 2]
            assert await steps_claimed(store, "hook") == ["1/life/1", "2/life/1"]

    async def test_of_a_run_under_two_names_that_one_stays_which_changed_last(self) -> None:
        async with self.open_store() as store:
            old, new = AT, AT + MINUTE
            named = KnownRun("3")  # somebody named it just now; nobody has looked yet
            ours = {"1": (sample_run("1", status="RUNNING"), old), "2": (sample_run("2", status="FAILED"), new)}
            theirs = {"1": (sample_run("1", status="FAILED"), new), "2": (sample_run("2", status="RUNNING"), old)}
            ours["3"], theirs["3"] = (sample_run("3", status="FAILED"), old), (named, new)
            ours["4"], theirs["4"] = (KnownRun("4"), new), (sample_run("4", status="FAILED"), old)
            for scope, runs in ((SCOPE, ours), ("other", theirs)):
                for run, at in runs.values():
                    fields = {run.run_id: {"of": scope}}
                    await store.commit_round(Round(at, scope, runs=[run], snapshots=fields))
            await store.merge_scopes("other", SCOPE, discovered_through=None)
            rows = {row.known.run_id: row for row in await store.runs()}
            assert {row.scope for row in rows.values()} == {SCOPE}
            assert {run_id: row.known.status for run_id, row in rows.items()} == dict.fromkeys("1234", "FAILED")
            kept = {run_id: row.snapshot["of"] for run_id, row in rows.items()}
            assert kept == {"1": "other", "2": SCOPE, "3": SCOPE, "4": "other"}

    async def test_a_batch_is_remembered_as_it_was_last_and_held_once_where_two_scopes_are_one(self) -> None:
        async with self.open_store() as store:
            first, ours = KnownBatch("1", status="PENDING"), KnownBatch("1", "uuid", "INPROGRESS", AT, counts={"A": 1})
            theirs = KnownBatch("2", status="PROCESSED", submitted=3, gone=True)
            for scope, batches in ((SCOPE, [first]), (SCOPE, [ours]), ("other", [first, theirs])):
                await store.commit_round(Round(AT, scope, batches=batches))
            assert await store.batches(SCOPE) == [ours]
            for _ in range(2):  # twice is once
                await store.merge_scopes("other", SCOPE, discovered_through=None)
                assert sorted(await store.batches(SCOPE), key=lambda batch: batch.batch_id) == [ours, theirs]
                assert await store.batches("other") == []

    async def test_scopes_of_which_nothing_is_known_are_merged_without_a_trace(self) -> None:
        async with self.open_store() as store:
            await store.merge_scopes("nobody", SCOPE, discovered_through=AT)
            assert await store.scopes() == []
            assert await store.runs() == []
