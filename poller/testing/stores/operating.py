"""What operators do to deliveries: pauses, fallbacks, attempts that are kept, replays and moves."""

from datetime import timedelta

from poller.core.deliveries import (
    AttemptOutcome,
    Delivery,
    DeliveryState,
    Replayable,
    Selection,
    Settlement,
    source_of,
)
from poller.core.routing import Route
from poller.ports.records import Round, SinkState
from poller.ports.store import Store
from poller.testing.stores.opened import Opened
from poller.testing.stores.samples import AT, MINUTE, SCOPE, dead, done, later, sample_draft, steps_claimed, tell


async def settle_all(store: Store, sink: str) -> list[Delivery]:
    """Acknowledge what a sink is owed, one lane after the other; what that was, in order."""
    found: list[Delivery] = []
    while claimed := await store.claim(sink, now=AT + MINUTE, limit=100):
        await store.settle([done(one) for one in claimed])
        found += claimed
    return found


class OperatingPromises(Opened):
    """The promises about what is sent again, elsewhere, or not for a while."""

    async def test_a_pause_and_an_outage_are_remembered_with_their_sink(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            assert await store.sink_state("hook") == SinkState()
            assert await store.pause("hook", AT + MINUTE)
            await store.commit_round(Round(AT, failing={"hook": AT}))
            assert await store.sink_state("hook") == SinkState(AT + MINUTE, AT)
            (row,) = await store.sinks()
            assert (row.paused_until, row.failing_since) == (AT + MINUTE, AT)
            assert await store.pause("hook", None)
            await store.commit_round(Round(AT, failing={"hook": None}))
            assert await store.sink_state("hook") == SinkState()
            assert not await store.pause("nobody", AT)
            assert await store.sink_state("nobody") == SinkState()

    async def test_failed_attempts_are_kept_with_their_delivery_once_each(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft())
            (claimed,) = await store.claim("hook", now=AT, limit=1)
            failed = Settlement(
                claimed.id,
                DeliveryState.PENDING,
                AT,
                due=AT,
                attempts=1,
                error="503",
                outcome=AttemptOutcome.FAILED,
            )
            await store.settle([failed])
            await store.settle([failed])
            (kept,) = await store.attempts(claimed.id)
            assert (kept.number, kept.at, kept.outcome, kept.error) == (1, AT, AttemptOutcome.FAILED, "503")
            row = await store.delivery(claimed.id)
            assert row is not None
            assert (row.id, row.attempts) == (claimed.id, 1)
            assert await store.delivery(claimed.id + 1) is None

    async def test_what_a_sink_gives_up_its_fallback_is_owed_once(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook", fallback="other"), Route("other", ("failed",))], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2, kind="failed"))
            for _ in range(2):
                (claimed,) = await store.claim("hook", now=AT + MINUTE, limit=10)
                await store.settle([dead(claimed, AT + MINUTE)])
                await store.settle([dead(claimed, AT + MINUTE)])
            told = await settle_all(store, "other")
            assert sorted(one.event.id for one in told) == ["1/life/1", "1/life/2"]
            late = next(one for one in told if one.event.id == "1/life/1")
            assert late.owed_since == AT + MINUTE

    async def test_a_replay_has_lanes_of_its_own_in_order_and_is_marked(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, *(sample_draft(run, step) for run in "12" for step in (1, 2, 3)))
            await settle_all(store, "hook")
            await tell(store, sample_draft("1", 4))
            (live,) = await store.claim("hook", now=AT, limit=10)
            wanted = Selection(run_id="1")
            assert await store.replayable(wanted) == [Replayable("hook", "healthomics.run.running", 3)]
            after: int | None = 0
            while after is not None:
                after = await store.replay(wanted, replay_id="again", at=AT + MINUTE, after=after, limit=2)
            told = await settle_all(store, "hook")
            assert [one.event.id for one in told] == [f"1/life/{step}" for step in (1, 2, 3)]
            assert {one.event.replay for one in told} == {"again"}
            assert {one.owed_since for one in told} == {AT + MINUTE}
            assert {source_of(one.lane) for one in told} == {live.lane}
            assert live.event.replay is None
            rows = await store.deliveries(replay_id="again")
            assert [row.state for row in rows] == [DeliveryState.ACKNOWLEDGED] * 3
            assert {row.source for row in rows} == {live.lane}

    async def test_a_dead_letter_that_is_replayed_is_one_no_more(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft())
            (claimed,) = await store.claim("hook", now=AT, limit=1)
            await store.settle([dead(claimed)])
            await store.replay(Selection(dead=True, sink="hook"), replay_id="again", at=AT)
            assert await store.deliveries(state=DeliveryState.DEAD) == []
            superseded, again = sorted(await store.deliveries(), key=lambda row: row.id)
            assert (superseded.state, again.state) == (DeliveryState.SUPERSEDED, DeliveryState.PENDING)
            (claimed,) = await store.claim("hook", now=AT, limit=1)
            await store.settle([dead(claimed)])
            (row,) = await store.deliveries(state=DeliveryState.DEAD)
            assert row.replay_id == "again"
            assert await store.replay(Selection(dead=True), replay_id="once more", at=AT) is not None
            assert [one.event.replay for one in await store.claim("hook", now=AT, limit=9)] == ["once more"]

    async def test_a_sink_gets_by_name_what_it_was_never_owed(self) -> None:
        async with self.open_store() as store:
            await tell(store, sample_draft("1"), sample_draft("2"))
            await store.use_routes([Route("new")], AT)
            assert await store.replayable(Selection(since=AT), to="new") == [
                Replayable("new", "healthomics.run.running", 2)
            ]
            assert await store.replayable(Selection(since=AT + timedelta(seconds=1)), to="new") == []
            await store.replay(Selection(event_ids=("2/life/1",)), to="new", replay_id="again", at=AT)
            assert await steps_claimed(store, "new") == ["2/life/1"]

    async def test_what_is_moved_keeps_its_order_among_what_the_other_sink_is_owed(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("old")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1))
            (first, _) = await store.claim("old", now=AT, limit=10)
            await store.settle([later(first, AT)])
            await store.use_routes([Route("new")], AT)
            await tell(store, sample_draft("1", 3))
            moved = [await store.move("old", "new", AT, limit=1) for _ in range(3)]
            assert moved == [2, 0, 0]  # of the other run something is claimed
            assert [one.event.id for one in await settle_all(store, "new")] == [f"1/life/{step}" for step in (1, 2, 3)]

    async def test_a_move_that_is_interrupted_leaves_each_run_whole_with_one_sink(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("old"), Route("new", ("nothing",))], AT)
            runs = ("1", "2", "3")
            await tell(store, *(sample_draft(run, step) for step in (1, 2, 3) for run in runs))
            assert await store.move("old", "new", AT, limit=1) == 3
            await tell(store, *(sample_draft(run, 4) for run in runs))
            sent = [one.event.id for sink in ("new", "old") for one in await settle_all(store, sink)]
            for run in runs:
                steps = [f"{run}/life/{step}" for step in (1, 2, 3, 4)]
                assert [one for one in sent if one in steps] == steps

    async def test_what_waits_behind_a_claimed_delivery_is_not_moved_past_it(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("old"), Route("new", ("nothing",))], AT)
            await tell(store, *(sample_draft("1", step) for step in (1, 2, 3)))
            (head,) = await store.claim("old", now=AT, limit=1)
            assert await store.move("old", "new", AT) == 0
            await store.release([head.id])
            assert await store.move("old", "new", AT) == 3
            assert [one.event.id for one in await settle_all(store, "new")] == [f"1/life/{step}" for step in (1, 2, 3)]

    async def test_what_is_moved_has_failed_nobody_yet(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("old"), Route("new", ("nothing",))], AT)
            await tell(store, sample_draft("1"))
            (tried,) = await store.claim("old", now=AT, limit=1)
            await store.settle([later(tried, AT)._replace(counted=11, attempts=11, error="503")])
            assert await store.move("old", "new", AT) == 1
            (moved,) = await store.claim("new", now=AT, limit=1)
            assert moved.counted == 0

    async def test_what_the_other_sink_was_owed_anyway_is_not_owed_twice(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("old"), Route("new")], AT)
            await tell(store, sample_draft("1", 1), sample_draft("1", 2))
            await settle_all(store, "new")
            assert await store.move("old", "new", AT) == 2
            assert await store.move("old", "new", AT) == 0
            assert await settle_all(store, "new") == []
            assert {row.state for row in await store.deliveries(sink="old")} == {DeliveryState.SUPERSEDED}

    async def test_a_forgotten_run_leaves_no_words_of_its_attempts(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            await tell(store, sample_draft("1"))
            (claimed,) = await store.claim("hook", now=AT, limit=1)
            refused = Settlement(
                claimed.id,
                DeliveryState.DEAD,
                AT,
                attempts=1,
                error="422: no P-1 here",
                outcome=AttemptOutcome.REJECTED,
            )
            await store.settle([refused])
            assert await store.forget(SCOPE, "1", AT)
            assert await store.attempts(claimed.id) == []
            (row,) = await store.deliveries()
            assert (row.state, row.error) == (DeliveryState.DEAD, "forgotten")

    async def test_what_was_being_sent_while_it_was_forgotten_leaves_no_words_and_is_handed_to_nobody(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook", fallback="spare"), Route("spare", ("nothing",))], AT)
            await tell(store, sample_draft("1"), sample_draft("2"))
            mine, other = await store.claim("hook", now=AT, limit=2)
            assert await store.still_claimed([mine.id, other.id]) == {mine.id, other.id}
            assert await store.forget(SCOPE, "1", AT)
            assert await store.still_claimed([mine.id, other.id]) == {other.id}
            refused = dead(mine)._replace(attempts=1, error="422: no P-1 here", outcome=AttemptOutcome.REJECTED)
            await store.settle([refused, refused._replace(delivery_id=other.id)])
            assert await store.attempts(mine.id) == []
            assert len(await store.attempts(other.id)) == 1
            assert [row.run_id for row in await store.deliveries(sink="spare")] == ["2"]
            assert [row.error for row in await store.deliveries(run_id="1")] == ["forgotten"]
