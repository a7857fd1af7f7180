"""Events, runs and watches are read as they were written, as narrowly as somebody asks."""

from poller.ports import Round, WatchRow
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, MINUTE, SCOPE, sample_draft, sample_run, tell


class ReadingPromises(Opened):
    """The promises about what people and commands read."""

    # --- reading events and runs ---

    async def test_events_are_narrowed_and_read_on(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1"), sample_draft("2", kind="failed"))
            await store.commit_round(Round(AT + MINUTE, "other", drafts=[sample_draft("3"), sample_draft("1", 2)]))
            assert [event.position for event in await store.events(after=1, limit=2)] == [2, 3]
            assert [event.position for event in await store.events(run_id="1")] == [1, 4]
            assert [event.position for event in await store.events(run_id="1", scope="other")] == [4]
            assert [event.position for event in await store.events(types=["healthomics.run.failed"])] == [2]
            assert await store.events(types=[]) == []
            assert [event.position for event in await store.events(since=AT + MINUTE)] == [3, 4]
            assert [event.position for event in await store.events(after=4)] == []
            (second,) = await store.events(event_id=sample_draft("2", kind="failed").id)
            assert (second.position, second.kind) == (2, "failed")
            assert await store.events(event_id="of no event") == []

    async def test_runs_are_narrowed_last_changed_first(self) -> None:
        async with self.open_store() as store:
            for minute, run_id in enumerate(["1", "2", "3"]):
                await tell(store, runs=[sample_run(run_id)], at=AT + minute * MINUTE)
            await store.commit_round(Round(AT, "other", runs=[sample_run("1")]))
            assert [(row.scope, row.known.run_id) for row in await store.runs(limit=2)] == [(SCOPE, "3"), (SCOPE, "2")]
            assert {row.scope for row in await store.runs(run_id="1")} == {SCOPE, "other"}
            assert [row.known.run_id for row in await store.runs(scope="other")] == ["1"]

    # --- watches ---

    async def test_a_watch_is_kept_replaced_and_dropped(self) -> None:
        async with self.open_store() as store:
            await store.put_watch(WatchRow(SCOPE, "1", "follow", AT))
            await store.put_watch(WatchRow("other", "1", "follow", AT + MINUTE))
            await store.put_watch(WatchRow(SCOPE, "1", "mute", AT + 2 * MINUTE))
            assert await store.watches() == [
                WatchRow("other", "1", "follow", AT + MINUTE),
                WatchRow(SCOPE, "1", "mute", AT + 2 * MINUTE),
            ]
            assert await store.drop_watch(SCOPE, "1")
            assert not await store.drop_watch(SCOPE, "1")
            assert [watch.scope for watch in await store.watches()] == ["other"]
