"""Cohorts follow the record: told once, with the truth, whatever stops in between."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.batches import KnownBatch
from poller.core.cohorts import Cohort, Progress
from poller.core.drafts import Draft
from poller.core.events import Event
from poller.core.runs import RunName
from poller.delivery.cohorts import Cohorts
from poller.foundation import Foundation
from poller.ports.records import Round
from poller.testing.stores.samples import sample_draft
from tests.unit.delivery.rig import SCOPE, Rig, rigged
from tests.unit.polling.simulation import virtually

MINUTE = 60.0


def step(run_id: str, number: int, kind: str, life: str = "life", **data: object) -> Draft:
    draft = sample_draft(run_id, number, incarnation=life, kind=kind)
    return replace(draft, data={**draft.data, "name": f"plate-{run_id}", "failure_reason": None, **data})


def follower(rig: Rig, *cohorts: Cohort) -> Cohorts:
    foundation = Foundation(rig.store, rig.gate, rig.bell, rig.clock, rig.chance, rig.tally)
    return Cohorts(lambda: cohorts, foundation)


async def told(rig: Rig) -> list[Event]:
    return await rig.store.events(types=["healthomics.cohort.finished"])


NAMED = Cohort("pair", named=frozenset({RunName("1"), RunName("2")}))


async def test_the_last_end_is_told_with_how_all_ended() -> None:
    async with rigged() as rig:
        cohorts = follower(rig, NAMED)
        await rig.tell([step("1", 1, "running"), step("2", 1, "running"), step("3", 1, "failed")])
        await cohorts.look()
        await rig.tell([step("1", 2, "completed")])
        await cohorts.look()
        assert await told(rig) == []
        await rig.tell([step("2", 2, "failed", failure_reason="RUN_TASK_FAILED")])
        await cohorts.look()
        (event,) = await told(rig)
        assert (event.subject, event.source) == ("pair", "urn:healthomics:cohort/pair")
        assert event.data["counts"] == {"completed": 1, "failed": 1}
        assert (event.data["total_runs"], event.data["all_completed"], event.data["not_completed_runs"]) == (
            2,
            False,
            1,
        )
        (other,) = event.data["not_completed"]
        assert (other["run_id"], other["end"], other["failure_reason"]) == ("2", "failed", "RUN_TASK_FAILED")
        await cohorts.look()
        assert len(await told(rig)) == 1


async def test_a_cohort_that_comes_once_all_is_on_record_is_told() -> None:
    """As a batch does that a reload brings back."""
    async with rigged() as rig:
        which: list[Cohort] = [Cohort("other", named=frozenset({RunName("9")}))]
        cohorts = Cohorts(lambda: which, follower(rig).foundation)
        await rig.tell([step("1", 1, "completed"), step("2", 1, "failed")])
        await cohorts.look()
        which.append(NAMED)
        await cohorts.look()
        assert [event.subject for event in await told(rig)] == ["pair"]


async def test_a_restart_tells_nothing_twice_also_once_the_event_was_dropped() -> None:
    async with rigged() as rig:
        await rig.tell([step("1", 1, "completed"), step("2", 1, "completed")])
        await follower(rig, NAMED).look()
        assert len(await told(rig)) == 1
        later = rig.clock.now() + timedelta(days=60)
        assert await rig.store.prune(before=later, now=later, keep={}) == 3
        await rig.tell([step("1", 2, "completed", "another life")])
        await follower(rig, NAMED).look()
        assert await told(rig) == []


async def test_who_takes_over_the_id_of_a_run_that_ended_is_none_of_them() -> None:
    async with rigged() as rig:
        cohorts = follower(rig, NAMED)
        await rig.tell([step("1", 1, "completed"), step("1", 2, "running", "another life"), step("2", 1, "running")])
        await cohorts.look()
        await rig.tell([step("2", 2, "completed")])
        await cohorts.look()
        (event,) = await told(rig)
        assert event.data["counts"] == {"completed": 2}


async def test_a_run_that_vanished_and_shows_itself_again_is_waited_for() -> None:
    async with rigged() as rig:
        cohorts = follower(rig, NAMED)
        await rig.tell([step("1", 1, "vanished"), step("2", 1, "running")])
        await cohorts.look()
        await rig.tell([step("1", 2, "running"), step("2", 2, "completed")])
        await cohorts.look()
        assert await told(rig) == []
        await rig.tell([step("1", 3, "vanished")])
        await cohorts.look()
        (event,) = await told(rig)
        assert event.data["counts"] == {"completed": 1, "vanished": 1}


async def test_members_are_counted_again_only_in_cohorts_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged() as rig:
        other = Cohort("other", named=frozenset({RunName("3"), RunName("4")}))
        cohorts, counted = follower(rig, NAMED, other), list[str]()
        read = rig.store.cohort_progress

        async def noted(which: Sequence[Cohort]) -> dict[str, Progress]:
            counted.extend(cohort.name for cohort in which)
            return await read(which)

        monkeypatch.setattr(rig.store, "cohort_progress", noted)
        await rig.tell([step("1", 1, "running"), step("3", 1, "completed")])
        await cohorts.look()
        assert counted == ["pair", "other"]
        await rig.tell([step("1", 2, "completed"), step("2", 1, "completed")])
        await cohorts.look()
        await cohorts.look()
        assert counted == ["pair", "other", "pair"]
        await rig.tell([step("4", 1, "failed")])
        await cohorts.look()
        assert counted == ["pair", "other", "pair", "other"]
        assert [event.subject for event in await told(rig)] == ["pair", "other"]


def test_runs_that_nobody_counted_are_waited_for_until_none_comes_any_more() -> None:
    async def body() -> None:
        async with rigged() as rig, anyio.create_task_group() as tasks:
            tasks.start_soon(follower(rig, Cohort("plates", name_glob="plate-*", quiet=timedelta(minutes=10))).run)
            await rig.tell([await_told(rig, step("1", 1, "completed"))])
            await anyio.sleep(9 * MINUTE)
            await rig.tell([await_told(rig, step("2", 1, "completed"))])
            await anyio.sleep(9 * MINUTE)
            assert await told(rig) == []
            await anyio.sleep(MINUTE + 5)
            (event,) = await told(rig)
            assert event.data["counts"] == {"completed": 2}
            await rig.tell([await_told(rig, step("3", 1, "completed"))])
            await anyio.sleep(20 * MINUTE)
            assert len(await told(rig)) == 1
            tasks.cancel_scope.cancel()

    virtually(body)


def await_told(rig: Rig, draft: Draft) -> Draft:
    """The draft as observed now."""
    return replace(draft, data={**draft.data, "observed_at": rig.clock.now().isoformat()})


async def test_a_cohort_that_is_described_late_counts_what_is_on_record() -> None:
    async with rigged() as rig:
        await rig.tell([step("1", 1, "completed"), step("2", 1, "cancelled")])
        await follower(rig, NAMED).look()
        (event,) = await told(rig)
        assert event.data["counts"] == {"cancelled": 1, "completed": 1}


async def test_a_batch_has_finished_with_the_last_of_the_runs_that_it_submitted() -> None:
    async with rigged() as rig:
        cohort = Cohort("7", batch_id="7", scope=SCOPE)
        cohorts = follower(rig, cohort)
        arn = "arn:aws:omics:us-east-1:123456789012:runBatch/7"
        batch = Draft(
            "b", arn, "healthomics.batch.processed", "7", rig.clock.now(), {"batch_id": "7", "batch_uuid": "u"}
        )
        await rig.tell([batch, step("1", 1, "completed", batch_id="7"), step("2", 1, "completed", batch_id="7")])
        await cohorts.look()
        assert await told(rig) == []
        known = KnownBatch("7", uuid="u", status="PROCESSED", submitted=2, listed=2)
        await rig.store.commit_round(Round(rig.clock.now(), SCOPE, batches=[known]))
        await cohorts.look()
        (event,) = await told(rig)
        assert (event.source, event.subject) == (arn, "7")
        assert (event.data["batch_arn"], event.data["counts"]) == (arn, {"completed": 2})


async def test_names_are_left_out_for_a_sink_that_omits_them_and_gone_once_forgotten() -> None:
    async with rigged() as rig:
        cohorts = follower(rig, NAMED)
        await rig.tell([step("1", 1, "failed"), step("2", 1, "running")])
        await cohorts.look()
        await rig.store.forget(SCOPE, "1", rig.clock.now())
        await rig.tell([step("2", 2, "failed")])
        await cohorts.look()
        (event,) = await told(rig)
        assert [one["name"] for one in event.data["not_completed"]] == [None, "plate-2"]
        omitted = event.without(["name"])
        assert [one["name"] for one in omitted.data["not_completed"]] == [None, None]
        assert omitted.data["cohort"] == "pair"
        assert "name" in omitted.data["redacted"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("123"), st.sampled_from(["running", "completed", "failed", "vanished", "look", "crash"])
        ),
        max_size=25,
    )
)
def test_whenever_it_stops_a_cohort_is_told_once_and_counts_each_run_once(story: Sequence[tuple[str, str]]) -> None:
    async def body() -> None:
        async with rigged() as rig:
            whole = Cohort("three", named=frozenset(map(RunName, "123")))
            cohorts, ended = follower(rig, whole), dict[str, str]()
            for number, (run_id, what) in enumerate(story):
                match what:
                    case "look":
                        await cohorts.look()
                    case "crash":
                        await rig.store.follow_cohorts([whole], limit=1)
                        cohorts = follower(rig, whole)
                    case _ if ended.get(run_id) not in ("completed", "failed"):
                        ended[run_id] = what
                        await rig.tell([step(run_id, number, what)])
            await cohorts.look()
            events = await told(rig)
            assert len(events) <= 1
            if len(ended) == 3 and all(end != "running" for end in ended.values()):
                assert len(events) == 1
            for event in events:
                assert event.data["total_runs"] == 3

    virtually(body)


@pytest.mark.parametrize("many", [1200])
async def test_more_runs_than_one_transaction_reads_are_all_counted(many: int) -> None:
    async with rigged() as rig:
        await rig.tell([step(str(number), 1, "failed", batch_id="7") for number in range(many)])
        known = KnownBatch("7", uuid="u", status="PROCESSED", submitted=many, listed=many)
        await rig.store.commit_round(Round(rig.clock.now(), SCOPE, batches=[known]))
        await follower(rig, Cohort("7", batch_id="7", scope=SCOPE)).look()
        (event,) = await told(rig)
        assert event.data["counts"] == {"failed": many}
        assert (len(event.data["not_completed"]), event.data["not_completed_runs"]) == (100, many)
