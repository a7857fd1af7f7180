"""What a round writes is there whole, once, and numbered."""

import pytest

from poller.core.drafts import Draft
from poller.core.routing import Route
from poller.core.runs import Verdict
from poller.ports import Round, RunRow, ScopeState
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, DAY, MINUTE, SCOPE, sample_draft, sample_run, source_of, tell


class RoundPromises(Opened):
    """The promises about `commit_round`."""

    async def test_a_round_is_written_whole(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            state = ScopeState(SCOPE, "us-east-1", "123456789012", AT, {"GetRun": 2.5})
            run = sample_run()
            events = await store.commit_round(
                Round(AT, SCOPE, [run], {"1": {"name": "é", "tags": {}}}, [sample_draft()], state)
            )
            assert [(event.position, event.sequence, event.recorded_at) for event in events] == [(1, 1, AT)]
            assert events[0].body == sample_draft().to_json(1)
            assert [event.body for event in await store.events()] == [events[0].body]
            assert await store.live_runs(SCOPE) == [run]
            assert await store.known_runs(SCOPE, ["1", "2"]) == {"1": run}
            assert await store.snapshots(SCOPE, ["1", "2"]) == {"1": {"name": "é", "tags": {}}}
            assert await store.scope(SCOPE) == state
            assert await store.scopes() == [state]
            assert await store.runs() == [RunRow(SCOPE, run, {"name": "é", "tags": {}}, AT)]
            (delivery,) = await store.claim("hook", now=AT, limit=10)
            assert (delivery.sink, delivery.lane, delivery.event.body) == ("hook", source_of("1"), events[0].body)
            assert (delivery.event.position, delivery.event.recorded_at) == (1, AT)

    async def test_a_bad_draft_in_the_middle_leaves_nothing_of_the_round(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            bad = sample_draft("2", data={"not": object()})
            round_ = Round(
                AT,
                SCOPE,
                [sample_run()],
                {"1": {"name": "x"}},
                [sample_draft("1"), bad, sample_draft("3")],
                ScopeState(SCOPE, "us-east-1"),
            )
            with pytest.raises(TypeError):
                await store.commit_round(round_)
            assert await store.events() == []
            assert await store.runs() == []
            assert await store.snapshots(SCOPE, ["1"]) == {}
            assert await store.scopes() == []
            assert await store.deliveries() == []
            assert await store.next_due("hook") is None
            assert await tell(store, sample_draft("1")) == [1]
            assert [event.sequence for event in await store.events()] == [1]

    async def test_a_draft_that_is_there_is_skipped_whole(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft(step=1), sample_draft(step=2))
            again = sample_draft(step=2, data={"other": "data"})
            assert await tell(store, again, sample_draft(step=3), sample_draft(step=3), at=AT + MINUTE) == [3]
            assert [event.sequence for event in await store.events()] == [1, 2, 3]
            assert (await store.events())[1].data["run_id"] == "1"
            assert len(await store.deliveries()) == 3

    async def test_each_incarnation_counts_for_itself_without_gaps(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1"), sample_draft("2"), sample_draft("1", 2))
            await tell(store, sample_draft("1", 3), sample_draft("1", 1, incarnation="next"), sample_draft("1", 4))
            of_first = [event.sequence for event in await store.events(run_id="1") if event.data["run_uuid"] == "life"]
            assert of_first == [1, 2, 3, 4]
            assert [event.sequence for event in await store.events() if event.data["run_uuid"] == "next"] == [1]
            assert [event.sequence for event in await store.events(run_id="2")] == [1]

    async def test_what_is_not_about_a_run_gets_no_sequence(self) -> None:
        async with self.open_store() as store:
            own = Draft(
                "b", "healthomics-poller/one", "healthomics.poller.blind", SCOPE, AT, {"instance": "one", "since": None}
            )
            (event,) = await store.commit_round(Round(AT, drafts=[own]))
            assert event.sequence is None
            assert "sequence" not in event.attributes

    async def test_positions_only_grow(self) -> None:
        async with self.open_store() as store:
            assert await store.last_position() == 0
            assert await tell(store, *(sample_draft(str(run)) for run in range(5))) == [1, 2, 3, 4, 5]
            assert await tell(store, sample_draft("1")) == []
            assert await tell(store, sample_draft("1", 2)) == [6]
            assert await store.last_position() == 6
            assert await store.prune(before=AT + DAY, now=AT + DAY, keep={}) == 6
            assert await store.last_position() == 6
            assert await tell(store, sample_draft("1", 3)) == [7]
            assert [event.sequence for event in await store.events()] == [3]

    async def test_a_run_that_is_written_again_replaces_what_was_known(self) -> None:
        async with self.open_store() as store:
            await tell(store, runs=[sample_run("1"), sample_run("2")])
            ended = sample_run("1", status="FAILED", verdict=Verdict.ENDED)
            await tell(store, runs=[ended], at=AT + MINUTE)
            assert await store.live_runs(SCOPE) == [sample_run("2")]
            assert await store.known_runs(SCOPE, ["1"]) == {"1": ended}
            assert [row.known.run_id for row in await store.runs()] == ["1", "2"]
            assert [row.known.run_id for row in await store.runs(live_only=True)] == ["2"]
            assert await store.live_runs("elsewhere") == []
            assert await store.known_runs("elsewhere", ["1"]) == {}

    async def test_very_many_ids_are_asked_for_at_once(self) -> None:
        async with self.open_store() as store:
            await tell(store, runs=[sample_run(str(run)) for run in range(1200)])
            assert len(await store.known_runs(SCOPE, (str(run) for run in range(2000)))) == 1200
