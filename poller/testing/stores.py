"""What every record promises, as tests: subclass `StoreConformance`, say how yours is opened, and run it with pytest.

    class TestMyStore(DurableStoreConformance):
        @asynccontextmanager
        async def open_store(self, record: str = "record") -> AsyncIterator[Store]:
            ...

Needs pytest with pytest-asyncio in auto mode, and hypothesis. No test waits: all times are arguments.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from poller.core.deliveries import Delivery, DeliveryState, Settlement
from poller.core.events import CloudEvent, Draft
from poller.core.overdue import Stays
from poller.core.routing import Route
from poller.core.runs import Evidence, KnownRun, Verdict
from poller.ports import MadeDiagnosis, Round, RunRow, ScopeState, Store, WatchRow

AT: Final = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
SCOPE: Final = "research"
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


def sample_draft(run_id: str = "1", step: int = 1, *, incarnation: str | None = "life", **changes: Any) -> Draft:
    """The draft of one step of one life of a run; the same arguments make the same id."""
    kind = changes.pop("kind", "running")
    data: dict[str, Any] = {
        "run_id": run_id,
        "run_arn": source_of(run_id),
        "run_uuid": incarnation,
        "name": f"sample of run {run_id}",
        "previous_status": None,
        "status": kind.upper(),
        "skipped_statuses": [],
        "terminal": False,
        "first_observation": True,
        "occurred_at": "2026-11-23T08:00:00Z",
        "occurred_at_source": "observed_at",
        "observed_at": "2026-11-23T08:00:00Z",
        "not_before": None,
        "status_message": f"a secret of run {run_id}, é",
        "tags": {"patient": f"P-{run_id}"},
        "region": "us-east-1",
        "account_id": "123456789012",
        "console_url": f"https://us-east-1.console.aws.amazon.com/omics/home?region=us-east-1#/runs/{run_id}",
    }
    draft = Draft(
        id=f"{run_id}/{incarnation}/{step}",
        source=source_of(run_id),
        type=f"healthomics.run.{kind}",
        subject=run_id,
        time=AT,
        data=data,
        incarnation=incarnation,
        run_id=run_id,
    )
    return replace(draft, **changes)


def source_of(run_id: str) -> str:
    """The lane of a run's events."""
    return f"arn:aws:omics:us-east-1:123456789012:run/{run_id}"


def sample_run(run_id: str = "1", **changes: Any) -> KnownRun:
    """A run in its middle, with something in every kind of field."""
    seen = Evidence("COMPLETED", AT, AT + MINUTE, start_time=AT)
    run = KnownRun(
        run_id,
        by_rule=True,
        uuid="life",
        creation_time=AT - DAY,
        incarnation="life",
        status="RUNNING",
        since=AT,
        since_by="stamp",
        seen_at=AT,
        looked=True,
        told=True,
        question=None,
        evidence=(seen,),
        unknown_statuses=("PAUSED",),
        workflow_id="7",
        workflow_version="1.0",
        run_group_id="9",
        overdue_in="STARTING",
    )
    return replace(run, **changes)


def done(delivery: Delivery, at: datetime = AT) -> Settlement:
    """The settlement of a delivery that the far end acknowledged."""
    return Settlement(delivery.id, DeliveryState.ACKNOWLEDGED, at, attempts=delivery.attempts)


def later(delivery: Delivery, due: datetime, at: datetime = AT) -> Settlement:
    """The settlement of a delivery that is tried again."""
    return Settlement(delivery.id, DeliveryState.PENDING, at, due=due, attempts=delivery.attempts + 1, error="503")


def dead(delivery: Delivery, at: datetime = AT) -> Settlement:
    """The settlement of a delivery that is given up."""
    return Settlement(delivery.id, DeliveryState.DEAD, at, attempts=delivery.attempts + 1, error="rejected: 422")


async def tell(store: Store, *drafts: Draft, runs: Sequence[KnownRun] = (), at: datetime = AT) -> list[int]:
    """Commit drafts, and runs if any; the positions of those that were new."""
    events = await store.commit_round(Round(at, SCOPE, runs=runs, drafts=drafts))
    return [event.position for event in events]


async def steps_claimed(store: Store, sink: str, *, now: datetime = AT, limit: int = 100) -> list[str]:
    """Claim, and say which event ids came, in their order."""
    return [delivery.event.id for delivery in await store.claim(sink, now=now, limit=limit)]


class StoreConformance:
    """The promises of a record while it is open."""

    def open_store(self, record: str = "record") -> AbstractAsyncContextManager[Store]:
        """Open a store that is closed again on leaving; within one test the same name means the same record."""
        raise NotImplementedError

    # --- committing a round ---

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

    # --- how long runs stay ---

    async def test_stays_are_kept_for_each_workflow_version_and_status(self) -> None:
        async with self.open_store() as store:
            running = Stays("7", "1.0", "RUNNING", (10.5, 0.125, 3600.0))
            others = [Stays("7", None, "RUNNING", (1.0,)), Stays("7", "1.0", "PENDING", (2.0,)), Stays("8", "1.0", "x")]
            await store.commit_round(Round(AT, SCOPE, stays=[running, *others]))
            await store.commit_round(Round(AT, "other", stays=[Stays("7", "1.0", "RUNNING", (99.0,))]))
            assert set(await store.stays(SCOPE)) == {running, *others}
            await store.commit_round(Round(AT, SCOPE, stays=[running.with_one_more(4)]))
            await store.commit_round(Round(AT, SCOPE, stays=[running.with_one_more(4)]))  # twice is once
            assert set(await store.stays(SCOPE)) == {running.with_one_more(4), *others}
            assert await store.stays("nobody") == []

    async def test_stays_are_written_with_their_round_or_not_at_all(self) -> None:
        async with self.open_store() as store:
            bad = Round(AT, SCOPE, drafts=[sample_draft("2", data={"not": object()})], stays=[Stays("7", None, "x")])
            with pytest.raises(TypeError):
                await store.commit_round(bad)
            assert await store.stays(SCOPE) == []
            with pytest.raises(ValueError, match="scope"):
                await store.commit_round(Round(AT, stays=[Stays("7", None, "x")]))

    async def test_of_two_scopes_that_are_one_the_stays_are_held_under_one_name(self) -> None:
        async with self.open_store() as store:
            ours, theirs = Stays("7", "1.0", "RUNNING", (1.0,)), Stays("7", None, "RUNNING", (3.0,))
            await store.commit_round(Round(AT, SCOPE, stays=[ours]))
            await store.commit_round(Round(AT, "other", stays=[replace(ours, seconds=(2.0,)), theirs]))
            for _ in range(2):  # twice is once
                await store.merge_scopes("other", SCOPE, discovered_through=None)
                assert set(await store.stays(SCOPE)) == {ours, theirs}
                assert await store.stays("other") == []

    async def test_stays_to_which_none_was_added_for_long_are_dropped(self) -> None:
        async with self.open_store() as store:
            old, new = Stays("7", None, "RUNNING", (1.0,)), Stays("8", None, "RUNNING", (1.0,))
            await store.commit_round(Round(AT, SCOPE, stays=[old]))
            await store.commit_round(Round(AT + DAY, SCOPE, stays=[new]))
            assert await store.prune(before=AT + DAY, now=AT + 2 * DAY, keep={}) == 0
            assert await store.stays(SCOPE) == [new]

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

    async def test_runs_are_narrowed_last_changed_first(self) -> None:
        async with self.open_store() as store:
            for minute, run_id in enumerate(["1", "2", "3"]):
                await tell(store, runs=[sample_run(run_id)], at=AT + minute * MINUTE)
            await store.commit_round(Round(AT, "other", runs=[sample_run("1")]))
            assert [(row.scope, row.known.run_id) for row in await store.runs(limit=2)] == [(SCOPE, "3"), (SCOPE, "2")]
            assert {row.scope for row in await store.runs(run_id="1")} == {SCOPE, "other"}
            assert [row.known.run_id for row in await store.runs(scope="other")] == ["1"]

    # --- scopes that prove to be one ---

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

    async def test_scopes_of_which_nothing_is_known_are_merged_without_a_trace(self) -> None:
        async with self.open_store() as store:
            await store.merge_scopes("nobody", SCOPE, discovered_through=AT)
            assert await store.scopes() == []
            assert await store.runs() == []

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

    # --- owing and claiming ---

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
            await store.settle([replace(later(first, AT), attempts=7, counted=4)])
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

    # --- the life of a sink ---

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

    # --- diagnoses ---

    async def test_a_run_is_owed_a_diagnosis_from_its_event_on_until_one_is_made(self) -> None:
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            failed, other = sample_draft("1", 2, kind="failed"), sample_draft("2", 2, kind="failed")
            round_ = Round(AT, SCOPE, drafts=[sample_draft("1", 1), failed, other], to_diagnose={failed.id, other.id})
            await store.commit_round(round_)
            assert await store.owed_diagnoses(SCOPE) == {2: "1", 3: "2"}
            assert await store.owed_diagnoses("other") == {}
            owed = await store.owed_diagnosis(2)
            assert owed is not None
            assert (owed.failed.body, owed.failed.position, owed.incarnation) == (failed.to_json(2), 2, "life")
            assert await store.owed_diagnosis(1) is None
            made = [MadeDiagnosis(2, sample_draft("1", 3, kind="diagnosed")), MadeDiagnosis(3)]
            events = await store.commit_round(Round(AT + MINUTE, SCOPE, diagnoses=made))
            assert [(event.position, event.sequence, event.kind) for event in events] == [(4, 3, "diagnosed")]
            assert await store.owed_diagnoses(SCOPE) == {}
            assert await store.owed_diagnosis(2) is None
            assert [row.event_id for row in await store.deliveries(run_id="1")] == ["1/life/3", "1/life/2", "1/life/1"]

    async def test_a_diagnosis_that_is_not_owed_is_not_recorded(self) -> None:
        async with self.open_store() as store:
            failed = sample_draft("1", 1, kind="failed")
            await store.commit_round(Round(AT, SCOPE, drafts=[failed], to_diagnose={failed.id}))
            made = [MadeDiagnosis(1, sample_draft("1", 2, kind="diagnosed"))]
            assert len(await store.commit_round(Round(AT, SCOPE, diagnoses=made))) == 1
            again = [MadeDiagnosis(1, sample_draft("1", 3, kind="diagnosed"))]
            assert await store.commit_round(Round(AT, SCOPE, diagnoses=again)) == []
            await store.commit_round(Round(AT, SCOPE, drafts=[failed], to_diagnose={failed.id}))
            assert await store.owed_diagnoses(SCOPE) == {}, "the event was told, and diagnosed, before"
            assert await store.last_position() == 2

    async def test_a_round_that_fails_owes_no_diagnosis_and_takes_none(self) -> None:
        async with self.open_store() as store:
            failed, bad = sample_draft("1", 1, kind="failed"), sample_draft("2", data={"not": object()})
            with pytest.raises(TypeError):
                await store.commit_round(Round(AT, SCOPE, drafts=[failed, bad], to_diagnose={failed.id}))
            assert await store.owed_diagnoses(SCOPE) == {}
            await store.commit_round(Round(AT, SCOPE, drafts=[failed], to_diagnose={failed.id}))
            with pytest.raises(TypeError):
                await store.commit_round(Round(AT, SCOPE, diagnoses=[MadeDiagnosis(1, bad)]))
            assert await store.owed_diagnoses(SCOPE) == {1: "1"}

    async def test_a_run_that_is_forgotten_is_owed_no_diagnosis(self) -> None:
        async with self.open_store() as store:
            drafts = [sample_draft("1", 1, kind="failed"), sample_draft("2", 1, kind="failed")]
            await store.commit_round(Round(AT, SCOPE, drafts=drafts, to_diagnose={draft.id for draft in drafts}))
            assert await store.forget(SCOPE, "1", AT)
            assert await store.owed_diagnoses(SCOPE) == {2: "2"}
            made = [MadeDiagnosis(1, sample_draft("1", 2, kind="diagnosed"))]
            assert await store.commit_round(Round(AT, SCOPE, diagnoses=made)) == []
            assert [event.id for event in await store.events()] == ["1/life/1", "2/life/1"]

    async def test_an_event_whose_run_is_owed_a_diagnosis_is_not_pruned(self) -> None:
        async with self.open_store() as store:
            drafts = [sample_draft("1", 1), sample_draft("1", 2, kind="failed")]
            await store.commit_round(Round(AT, SCOPE, drafts=drafts, to_diagnose={drafts[1].id}))
            assert await store.prune(before=AT + DAY, now=AT + DAY, keep={}) == 1
            assert await store.owed_diagnosis(2) is not None
            made = [MadeDiagnosis(2, sample_draft("1", 3, kind="diagnosed"))]
            await store.commit_round(Round(AT + 2 * DAY, SCOPE, diagnoses=made))
            assert await store.prune(before=AT + DAY, now=AT + 3 * DAY, keep={}) == 1

    async def test_of_two_scopes_that_are_one_the_owed_diagnoses_are_held_under_one_name(self) -> None:
        async with self.open_store() as store:
            failed = sample_draft("1", 1, kind="failed")
            await store.commit_round(Round(AT, "gone", drafts=[failed], to_diagnose={failed.id}))
            await store.merge_scopes("gone", SCOPE, discovered_through=None)
            assert (await store.owed_diagnoses(SCOPE), await store.owed_diagnoses("gone")) == ({1: "1"}, {})

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

    # --- cancelled callers ---

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

    # --- against a model ---

    def test_any_order_of_calls_agrees_with_a_simple_model(self) -> None:
        self._run_model(reopens=False)

    def _run_model(self, *, reopens: bool) -> None:
        numbers = iter(range(1_000_000))

        class Machine(StoreMachine):
            opened = staticmethod(self.open_store)
            name = property(lambda machine: f"model-{machine.number}")
            closes = reopens

            def __init__(self) -> None:
                self.number = next(numbers)
                super().__init__()

        run_state_machine_as_test(
            Machine,
            settings=settings(
                deadline=None,
                max_examples=20,
                stateful_step_count=30,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
                database=None,
            ),
        )


class DurableStoreConformance(StoreConformance):
    """The promises of a record that outlives its process."""

    async def test_everything_is_there_after_a_restart(self) -> None:
        state = ScopeState(SCOPE, "us-east-1", None, AT, {"GetRun": 1.25})
        async with self.open_store() as store:
            await store.use_routes([Route("hook")], AT)
            drafts = [sample_draft("1", 1), sample_draft("1", 2), sample_draft("2", 1)]
            stays = [Stays("7", "1.0", "RUNNING", (0.125, 3600.0))]
            await store.commit_round(
                Round(
                    AT,
                    SCOPE,
                    [sample_run()],
                    {"1": {"a": [1]}},
                    drafts,
                    state,
                    stays=stays,
                    to_diagnose={drafts[1].id},
                )
            )
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


@dataclass
class _Owed:
    """One delivery of the model."""

    sink: str
    lane: str
    position: int
    event_id: str
    due: datetime
    state: DeliveryState = DeliveryState.PENDING
    claimed: bool = False
    attempts: int = 0
    tried: datetime | None = None
    number: int = 0


@dataclass
class _Model:
    """The record as plain lists, searched through from the start each time."""

    told: dict[str, int] = field(default_factory=dict)
    sequences: list[tuple[str, int]] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    owed: list[_Owed] = field(default_factory=list)
    routes: tuple[str, ...] = ()

    def commit(self, drafts: Iterable[Draft], at: datetime) -> list[int]:
        positions = []
        for draft in drafts:
            if draft.id in self.told:
                continue
            position = self.told[draft.id] = len(self.told) + 1
            life = (draft.source, draft.incarnation or "")
            self.numbers[life] = self.numbers.get(life, 0) + 1
            self.sequences.append((draft.id, self.numbers[life]))
            for sink in self.routes:
                self.owed.append(_Owed(sink, draft.source, position, draft.id, at))
            positions.append(position)
        return positions

    def lane(self, sink: str, lane: str) -> list[_Owed]:
        return [
            one for one in self.owed if one.sink == sink and one.lane == lane and one.state is DeliveryState.PENDING
        ]

    def heads(self, sink: str) -> list[_Owed]:
        lanes = dict.fromkeys(one.lane for one in self.owed if one.sink == sink)
        return [pending[0] for lane in lanes if (pending := self.lane(sink, lane))]

    def settle(self, one: _Owed, state: DeliveryState, at: datetime, due: datetime) -> None:
        one.state, one.due, one.tried, one.claimed = state, due, at, False
        if state is not DeliveryState.PENDING and (rest := self.lane(one.sink, one.lane)):
            rest[0].due = at

    def ready(self, sink: str) -> list[_Owed]:
        return [one for one in self.heads(sink) if not one.claimed]


SINKS = st.sampled_from(["hook", "topic", "file"])
DRAFTS = st.builds(
    sample_draft,
    st.sampled_from(["1", "2", "3"]),
    st.integers(1, 6),
    incarnation=st.sampled_from(["life", "next"]),
)


class StoreMachine(RuleBasedStateMachine):
    """Random calls on a store and on the model; `opened`, `name` and `closes` come from the conformance class."""

    opened: Any
    name: Any
    closes = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = _Model()
        self.now = AT
        self.stack = AsyncExitStack()
        self.store: Store = self.runner.run(self._open())

    async def _open(self) -> Store:
        self.stack = AsyncExitStack()
        store: Store = await self.stack.enter_async_context(self.opened(self.name))
        await store.hold("machine")
        await store.use_routes([Route(name) for name in self.model.routes], self.now)
        return store

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    @rule(drafts=st.lists(DRAFTS, max_size=6))
    def commit(self, drafts: list[Draft]) -> None:
        positions = self.runner.run(tell(self.store, *drafts, at=self.now))
        assert positions == self.model.commit(drafts, self.now)

    @rule(names=st.lists(SINKS, unique=True))
    def use_routes(self, names: list[str]) -> None:
        self.runner.run(self.store.use_routes([Route(name) for name in names], self.now))
        self.model.routes = tuple(names)

    @rule(sink=SINKS, limit=st.integers(1, 3))
    def claim(self, sink: str, limit: int) -> None:
        due = [one for one in self.model.ready(sink) if one.due <= self.now]
        expected = sorted(due, key=lambda one: (one.due, one.position))[:limit]
        self._claimed(expected, self.runner.run(self.store.claim(sink, now=self.now, limit=limit)))

    @rule(sink=SINKS)
    def probe(self, sink: str) -> None:
        ready = self.model.ready(sink)
        longest = min(ready, key=lambda one: (one.tried or AT - DAY, one.position), default=None)
        self._claimed([longest] if longest is not None else [], self.runner.run(self.store.probe(sink)))

    @rule(data=st.data(), state=st.sampled_from(DeliveryState), wait=st.integers(0, 5))
    def settle(self, data: st.DataObject, state: DeliveryState, wait: int) -> None:
        chosen = self._some_claimed(data)
        due = self.now + wait * MINUTE
        self.runner.run(
            self.store.settle([Settlement(one.number, state, self.now, due, one.attempts + 1) for one in chosen])
        )
        for one in chosen:
            one.attempts += 1
            self.model.settle(one, state, self.now, due)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        chosen = self._some_claimed(data)
        self.runner.run(self.store.release([one.number for one in chosen]))
        for one in chosen:
            one.claimed = False

    @rule(sink=SINKS)
    def make_due(self, sink: str) -> None:
        self.runner.run(self.store.make_due(sink, self.now))
        for one in self.model.heads(sink):
            one.due = self.now

    @rule(minutes=st.integers(1, 4))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @precondition(lambda self: self.closes)
    @rule()
    def restart(self) -> None:
        self.runner.run(self.stack.aclose())
        self.store = self.runner.run(self._open())
        for one in self.model.owed:
            one.claimed = False

    @invariant()
    def what_is_told_agrees(self) -> None:
        events = self.runner.run(self.store.events())
        assert [(event.id, event.sequence) for event in events] == self.model.sequences
        assert self.runner.run(self.store.last_position()) == len(self.model.told)

    @invariant()
    def what_is_owed_agrees(self) -> None:
        rows = self.runner.run(self.store.deliveries())
        listed = {(row.sink, row.event_id): (row.state, row.attempts, row.parked) for row in rows}
        assert len(rows) == len(listed)
        assert listed == {
            (one.sink, one.event_id): (one.state, one.attempts, one.sink not in self.model.routes)
            for one in self.model.owed
        }
        for sink in ("hook", "topic", "file"):
            due = min((one.due for one in self.model.ready(sink)), default=None)
            assert self.runner.run(self.store.next_due(sink)) == due

    def _some_claimed(self, data: st.DataObject) -> list[_Owed]:
        claimed = [one for one in self.model.owed if one.claimed]
        return data.draw(st.lists(st.sampled_from(claimed), unique_by=id)) if claimed else []

    def _claimed(self, expected: list[_Owed], came: Sequence[Delivery]) -> None:
        assert [(one.sink, one.event.position, one.attempts, one.last_attempt_at) for one in came] == [
            (one.sink, one.position, one.attempts, one.tried) for one in expected
        ]
        for one, delivery in zip(expected, came, strict=True):
            one.claimed, one.number = True, delivery.id
