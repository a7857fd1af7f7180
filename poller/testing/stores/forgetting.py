"""What is erased when somebody asks, and what when it is old."""

from poller.core.deliveries import DeliveryState
from poller.core.event_data import CloudEvent
from poller.core.routing import Route
from poller.core.runs import Verdict
from poller.ports import Round
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import (
    AT,
    DAY,
    MINUTE,
    SCOPE,
    dead,
    done,
    sample_draft,
    sample_run,
    source_of,
    steps_claimed,
    tell,
)


class ForgettingPromises(Opened):
    """The promises about `forget` and `prune`."""

    # --- forgetting ---

    async def test_forgetting_a_run_erases_its_data_and_keeps_its_identity(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            round_ = Round(
                AT,
                SCOPE,
                [sample_run("1")],
                {"1": {"name": "secret"}},
                [sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1)],
            )
            await store.commit_round(round_)
            (first, other) = await store.claim("hook", now=AT, limit=10)
            assert await store.forget(SCOPE, "1", AT + MINUTE)
            forgotten = await store.events(run_id="1")
            assert [(event.id, event.sequence, event.position) for event in forgotten] == [
                ("1/life/1", 1, 1),
                ("1/life/2", 2, 2),
            ]
            for event in forgotten:
                assert b"secret" not in event.body
                assert b"P-1" not in event.body
                assert "sample" not in event.to_json()
                assert (event.run_id, event.status, event.source) == ("1", "RUNNING", source_of("1"))
                assert {"name", "tags", "status_message"} <= set(event.data["redacted"])
                CloudEvent.model_validate_json(event.body)
            assert await store.snapshots(SCOPE, ["1"]) == {}
            assert await store.known_runs(SCOPE, ["1"]) == {"1": sample_run("1")}
            rows = await store.deliveries(run_id="1")
            assert [(row.state, row.error) for row in rows] == [(DeliveryState.DEAD, "forgotten")] * 2
            await store.settle([done(first), done(other)])
            assert {row.state for row in await store.deliveries(run_id="1")} == {DeliveryState.DEAD}
            assert [row.state for row in await store.deliveries(run_id="2")] == [DeliveryState.ACKNOWLEDGED]
            assert b"secret" in (await store.events(run_id="2"))[0].body
            assert await tell(store, sample_draft("1", 2), sample_draft("1", 3)) == [4]
            assert (await store.events(after=3))[0].sequence == 3
            assert await steps_claimed(store, "hook") == ["1/life/3"]

    async def test_forgetting_holds_nobody_up(self) -> None:
        """What else is in the lane, here of another scope that shows the same run, comes first from then on."""
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1", 1))
            await store.commit_round(Round(AT, "other", drafts=[sample_draft("1", 2), sample_draft("1", 3)]))
            assert await store.forget(SCOPE, "1", AT + MINUTE)
            assert await store.next_due("hook") == AT + MINUTE
            assert await steps_claimed(store, "hook", now=AT + MINUTE) == ["1/life/2"]

    async def test_forgetting_what_is_not_known_changes_nothing(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1"), runs=[sample_run("1")])
            assert not await store.forget(SCOPE, "2", AT)
            assert not await store.forget("other", "1", AT)
            assert [event.body for event in await store.events()] == [sample_draft("1").to_json(1)]

    # --- retention ---

    async def test_pruning_drops_old_settled_things_only(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            ended = sample_run("1", verdict=Verdict.ENDED)
            snapshots = {"1": {"name": "1"}, "2": {"name": "2"}}
            drafts = [sample_draft("1"), sample_draft("2"), sample_draft("3"), sample_draft("4")]
            await store.commit_round(Round(AT, SCOPE, [ended, sample_run("2")], snapshots, drafts))
            await tell(store, sample_draft("5"), at=AT + 2 * DAY)
            claimed = {one.event.subject: one for one in await store.claim("hook", now=AT + 3 * DAY, limit=10)}
            await store.settle([done(claimed["1"]), done(claimed["2"]), dead(claimed["4"]), done(claimed["5"])])
            await store.release([claimed["3"].id])
            assert await store.prune(before=AT + DAY, now=AT + 3 * DAY, keep={}) == 2
            # 1 and 4 went; 2 lives, 3 is owed, 5 is recent
            assert [event.subject for event in await store.events()] == ["2", "3", "5"]
            assert {row.run_id for row in await store.deliveries()} == {"2", "3", "5"}
            assert await store.snapshots(SCOPE, ["1", "2"]) == {"2": {"name": "2"}}
            assert await store.live_runs(SCOPE) == [sample_run("2")]
            assert await store.known_runs(SCOPE, ["1"]) == {"1": ended}
            assert await steps_claimed(store, "hook", now=AT + 3 * DAY) == ["3/life/1"]
            assert await store.prune(before=AT + DAY, now=AT + 3 * DAY, keep={}) == 0

    async def test_a_tombstone_stays_a_year_and_longer_while_it_is_kept(self) -> None:
        async with self.open_store() as store:
            runs = [sample_run(run_id, verdict=Verdict.ENDED) for run_id in ("1", "2")]
            await tell(store, sample_draft("1"), sample_draft("2"), runs=runs)
            await tell(store, sample_draft("3"), runs=[sample_run("3")])
            await store.prune(before=AT + DAY, now=AT + 364 * DAY, keep={})
            assert set(await store.known_runs(SCOPE, ["1", "2", "3"])) == {"1", "2", "3"}
            await store.prune(before=AT + DAY, now=AT + 366 * DAY, keep={SCOPE: ["2"], "other": ["1"]})
            assert set(await store.known_runs(SCOPE, ["1", "2", "3"])) == {"2", "3"}
            await tell(store, sample_draft("1", 2), sample_draft("2", 2), sample_draft("3", 2), at=AT + 367 * DAY)
            numbers = {event.subject: event.sequence for event in await store.events(since=AT + DAY)}
            assert numbers == {"1": 1, "2": 2, "3": 2}

    async def test_what_a_sink_long_gone_was_owed_goes_with_it(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("gone"), Route("stays")], AT)
            await tell(store, sample_draft("1"))
            await store.use_routes([Route("stays")], AT + DAY)
            (one,) = await store.claim("stays", now=AT + DAY, limit=1)
            await store.settle([done(one)])
            assert await store.prune(before=AT + DAY, now=AT + 2 * DAY, keep={}) == 0
            assert [row.sink for row in await store.deliveries()] == ["stays", "gone"]
            assert await store.prune(before=AT + DAY + MINUTE, now=AT + 2 * DAY, keep={}) == 1
            assert await store.deliveries() == []
            assert [sink.name for sink in await store.sinks()] == ["stays"]
