"""The last rung of the verdict ladder, on virtual time: how a run ended that only CloudWatch Logs still know."""

from dataclasses import replace
from datetime import datetime, timedelta

import anyio
import pytest

from poller.bell import Bell
from poller.core.drafts import Place
from poller.core.errors import Blind, Denied, RunGone, ServiceError, Throttled, Transient
from poller.core.events import Event
from poller.core.runs import KnownRun, Verdict
from poller.foundation import Foundation
from poller.polling.access import Access
from poller.polling.manifests import MOST_AT_ONCE, Manifests
from poller.polling.rules import Rule
from tests.unit.polling.simulation import (
    ACCOUNT,
    BRISK,
    NO_CREDENTIALS,
    REGION,
    START,
    Simulation,
    failing,
    refused,
    simulated,
    virtually,
)

LIFE, OTHER = "96c57683-74bf-9d6d-ae7e-f09b097db14a", "0ad2c1f0-1111-4222-8333-444455556666"
LOGS = ("GetLogEvents", "DescribeLogStreams")
NAMED = Rule()


def asked_for(simulation: Simulation, run_id: str | None = None) -> list[float]:
    """When manifests were asked for."""
    return [at for at, operation, run in simulation.service.times if operation in LOGS and run_id in (None, run)]


def second(event: Event, field: str = "observed_at") -> float:
    moment: float = (datetime.fromisoformat(event.data[field]) - START).total_seconds()
    return moment


async def told_within(simulation: Simulation, run: str, seconds: float, rule: Rule = NAMED) -> list[Event]:
    async with simulation.polling(rule, (run,)):
        await anyio.sleep(seconds)
    return [event for event in await simulation.events() if event.run_id == run]


async def with_successor(simulation: Simulation, run: str) -> KnownRun:
    """The run as the record has it, once an answer that shows the next one waits for the manifest."""
    while True:
        known = (await simulation.store.known_runs("us-east-1", [run])).get(run)
        if known is not None and known.successor is not None:
            return known
        await anyio.sleep(0.1)


def test_a_run_that_is_gone_is_told_with_the_end_that_its_manifest_shows() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(
                ("PENDING", 2), ("RUNNING", 20), "GONE", uuid=LIFE, name="sample-42", tags={"a": "b"}
            )
            simulation.leave_manifest(
                run, LIFE, "FAILED", 21.5, failureReason="RUN_TASK_FAILED", statusMessage="it failed",
                workflow="arn:aws:omics:us-east-1:123456789012:workflow/4074992", outputUri="s3://out/runs",
            )  # fmt: skip
            *_, running, failed = await told_within(simulation, run, 60)
            assert (running.kind, failed.kind) == ("running", "failed")
            assert failed.data["recovered_from"] == "manifest"
            assert [said.split(":")[0] for said in failed.data["evidence"]] == [
                "GetRun", "GetRun", "ListRuns", "manifest",
            ]  # fmt: skip
            assert failed.data["evidence"][-1] == f"manifest: FAILED in manifest/run/{run}/{LIFE}"
            assert failed.time == START + timedelta(seconds=21.5)
            assert failed.data["occurred_at_source"] == "stopTime"
            assert failed.terminal
            assert (failed.data["failure_reason"], failed.data["status_message"]) == ("RUN_TASK_FAILED", "it failed")
            assert (failed.data["workflow_id"], failed.data["output_uri"]) == ("4074992", "s3://out/runs")
            assert (failed.data["name"], failed.data["tags"]) == ("sample-42", {"a": "b"}), (
                "what GetRun had shown stays"
            )
            assert failed.data["run_uuid"] == running.data["run_uuid"] == LIFE
            assert "reappeared" not in failed.data
            assert second(failed) < 20 + 2 + BRISK.max_interval.total_seconds() + BRISK.vanish_deadline.total_seconds()
            (row,) = await simulation.store.runs(run_id=run)
            assert (row.snapshot["name"], row.snapshot["failureReason"]) == ("sample-42", "RUN_TASK_FAILED")
            assert row.known.verdict is Verdict.ENDED
            assert len(asked_for(simulation)) == 1

    virtually(body)


@pytest.mark.parametrize("killed", [False, True], ids=["went on", "killed and started again"])
def test_a_manifest_that_comes_after_vanished_still_tells_the_end_once(killed: bool) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            simulation.leave_manifest(run, LIFE, "COMPLETED", 200)
            events = await told_within(simulation, run, 100 if killed else 600)
            if killed:
                assert [event.kind for event in events] == ["running", "vanished"]
                await anyio.sleep(20)
                events = await told_within(simulation, run, 500, Rule(discover=True))
            assert [event.kind for event in events] == ["running", "vanished", "completed"]
            vanished, completed = events[1:]
            assert completed.data["recovered_from"] == "manifest"
            assert completed.data["evidence"][:-1] == vanished.data["evidence"][:-1]
            assert completed.data["previous_status"] == "RUNNING"
            assert [event.sequence for event in events] == [1, 2, 3]
            assert 200 <= second(completed) < 231, "it is asked for every half a minute at least"
            assert "reappeared" not in completed.data, "it does not go on: it is known how it ended"
            known = (await simulation.store.known_runs("us-east-1", [run]))[run]
            assert (known.verdict, known.status) == (Verdict.ENDED, "COMPLETED")

    virtually(body)


@pytest.mark.parametrize("left_at", [None, 400.0], ids=["never", "too late"])
def test_a_manifest_that_does_not_come_is_asked_for_five_minutes_and_no_longer(left_at: float | None) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            if left_at is not None:
                simulation.leave_manifest(run, LIFE, "COMPLETED", left_at)
            *_, vanished = await told_within(simulation, run, 3600)
            assert vanished.kind == "vanished"
            assert vanished.data["evidence"][-1].startswith("manifest: not there at 2026-11-23T08:00:")
            asked = asked_for(simulation)
            assert 265 < asked[-1] - second(vanished) < 300
            assert len(asked) < 25

    virtually(body)


def test_a_run_evicted_before_its_first_look_is_told_with_its_end() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            simulation.leave_manifest("404404", LIFE, "CANCELLED", 1, name="early", creationTime="2026-11-23T07:59:00Z")
            (cancelled,) = await told_within(simulation, "404404", 60)
            assert (cancelled.kind, cancelled.data["recovered_from"]) == ("cancelled", "manifest")
            assert (cancelled.data["run_uuid"], cancelled.data["name"]) == (LIFE, "early")
            assert cancelled.data["first_observation"]
            assert cancelled.data["creation_time"] == "2026-11-23T07:59:00Z"
            assert simulation.service.calls["DescribeLogStreams"] == 1
            (row,) = await simulation.store.runs(run_id="404404")
            assert row.snapshot["name"] == "early"

    virtually(body)


def test_the_manifest_of_an_earlier_life_of_the_id_says_nothing_of_this_one() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            simulation.leave_manifest(run, OTHER, "COMPLETED", 0)
            events = await told_within(simulation, run, 900)
            assert [event.kind for event in events] == ["running", "vanished"]

    virtually(body)


def test_where_manifests_are_denied_the_verdict_does_not_wait_and_they_are_not_asked_for_each_run() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = [simulation.start_run(("RUNNING", 20), "GONE") for _ in range(20)]

            def fails(operation: str, _: str | None) -> None:
                if operation in LOGS:
                    raise Denied("AccessDeniedException", "no", operation=operation)

            simulation.service.fails = fails
            async with simulation.polling(Rule(), tuple(runs)):
                await anyio.sleep(250)
            vanished = await simulation.events("vanished")
            assert len(vanished) == 20
            for event in vanished:
                assert event.data["evidence"][-1] == "manifest: GetLogEvents: AccessDeniedException: no"
            assert len(asked_for(simulation)) <= 8, "those that were under way when the first was denied"

    virtually(body)


@pytest.mark.parametrize("failure", [Throttled, Transient, Blind])
def test_a_manifest_that_cannot_be_read_for_a_moment_is_asked_for_again(failure: type[ServiceError]) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            simulation.leave_manifest(run, LIFE, "COMPLETED", 20)
            times = iter(range(2))

            def fails(operation: str, _: str | None) -> None:
                if operation in LOGS and next(times, None) is not None:
                    raise failure("as the test wants it", "no", operation=operation)

            simulation.service.fails = fails
            events = await told_within(simulation, run, 60)
            assert [event.kind for event in events] == ["running", "completed"], "within the deadline"
            assert len(asked_for(simulation)) == 3
            assert simulation.tally.count("throttles", operation="GetLogEvents") == 2 * (failure is Throttled)

    virtually(body)


def test_hundreds_of_runs_that_vanish_at_once_do_not_storm_cloudwatch_and_each_is_told_with_its_end() -> None:
    async def body() -> None:
        pace = replace(BRISK, ceiling=3)
        async with simulated(pace=pace) as simulation:
            runs = [simulation.start_run(("RUNNING", 100), "GONE", uuid=f"life-{number}") for number in range(150)]
            for number, run in enumerate(runs):
                simulation.leave_manifest(run, f"life-{number}", "COMPLETED", 100, creationTime=START.isoformat())
            async with simulation.polling():
                await anyio.sleep(250)
            assert len(await simulation.events("completed")) == 150
            asked = asked_for(simulation)
            assert len(asked) == 150, "each has its turn before any is asked for again"
            busiest = max(sum(at <= other < at + 10 for other in asked) for at in asked[::10])
            assert busiest <= 10 * pace.ceiling * 1.2
            state = await simulation.store.scope("us-east-1")
            assert state is not None
            assert set(LOGS) < set(state.rates), "what was learned of the quota is remembered"

    virtually(body)


def test_no_manifest_is_asked_for_twice_before_each_had_its_turn() -> None:
    async def body() -> None:
        pace = replace(BRISK, ceiling=3)
        async with simulated(pace=pace) as simulation:
            clock, chance = simulation.clock, simulation.rng.random
            foundation = Foundation(simulation.store, simulation.gate, Bell(), clock, chance, simulation.tally)
            access = Access(Place(REGION, REGION, ACCOUNT), pace, clock, chance, "test")
            manifests = Manifests(simulation.service, foundation, access, pace, {})
            for number in range(100):
                manifests.want(KnownRun(str(number), uuid=LIFE))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(manifests.run, lambda: True, lambda: None)
                await anyio.sleep(60)
                tasks.cancel_scope.cancel()
            asked = [run for _, _, run in simulation.service.times]
            assert len(asked) > 150
            assert len(set(asked[:100])) > 100 - MOST_AT_ONCE, "but for who waits for the budget side by side"

    virtually(body)


def test_another_account_gives_no_verdict_though_there_is_a_manifest() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            simulation.leave_manifest(run, LIFE, "COMPLETED", 20)
            async with simulation.polling(run_ids=(run,)):
                await anyio.sleep(15)
                simulation.service.account_id = "999999999999"
                await anyio.sleep(900)
            assert await simulation.kinds(run) == ["running"]
            (blind,) = await simulation.events("blind")
            assert blind.data["cause"] == "wrong_account"

    virtually(body)


@pytest.mark.parametrize(
    ("arn", "why"),
    [
        ("arn:aws:omics:us-east-1:999999999999:run/{}", "the answers are of account 999999999999"),
        ("arn:aws:omics:eu-west-1:123456789012:run/{}", "it is of region eu-west-1"),
    ],
    ids=["account", "region"],
)
def test_a_manifest_of_another_account_or_region_tells_no_end(arn: str, why: str) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            simulation.leave_manifest(run, LIFE, "COMPLETED", 20, arn=arn.format(run))
            events = await told_within(simulation, run, 600)
            assert [event.kind for event in events] == ["running", "vanished"]
            assert events[-1].data["evidence"][-1].startswith(f"manifest: not ours: {why}")

    virtually(body)


def test_an_unknown_account_is_told_by_the_manifest_as_by_any_first_arn() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            simulation.service.account_id = None
            simulation.leave_manifest("404404", LIFE, "COMPLETED", 0)
            (completed,) = await told_within(simulation, "404404", 60)
            assert completed.source == "arn:aws:omics:us-east-1:123456789012:run/404404"
            state = await simulation.store.scope("us-east-1")
            assert state is not None
            assert state.account_id == "123456789012"

    virtually(body)


@pytest.mark.parametrize("manifest", ["COMPLETED", None], ids=["with a manifest", "without"])
def test_a_deleted_that_get_run_shows_climbs_the_ladder_once(manifest: str | None) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "DELETED", uuid=LIFE)
            if manifest is not None:
                simulation.leave_manifest(run, LIFE, manifest, 20)
            events = await told_within(simulation, run, 900)
            last = "deleted" if manifest is None else "completed"
            assert [event.kind for event in events] == ["running", last]
            assert events[-1].terminal
            assert events[-1].data.get("recovered_from") == (None if manifest is None else "manifest")
            assert second(events[-1]) < 20 + 10 + 6 + 1
            if manifest is None:
                asked = asked_for(simulation)
                assert asked[-1] <= second(events[-1]), "an end was told: nothing more is asked"

    virtually(body)


@pytest.mark.parametrize("discover", [True, False])
@pytest.mark.parametrize("left_at", [30.0, None], ids=["with a manifest", "without"])
def test_the_run_before_is_closed_by_its_manifest_when_its_id_belongs_to_another(
    left_at: float | None, discover: bool
) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 30), "GONE", uuid=LIFE)
            simulation.start_run(("PENDING", 20), ("RUNNING", 60), "FAILED", run_id=run, uuid=OTHER, starts_in=30.2)
            if left_at is not None:
                simulation.leave_manifest(run, LIFE, "COMPLETED", left_at)
            events = await told_within(simulation, run, 400, Rule(discover=discover))
            last = "completed" if left_at is not None else "replaced"
            assert [event.kind for event in events] == ["running", last, "pending", "running", "failed"]
            assert [event.data["run_uuid"] for event in events] == [LIFE] * 2 + [OTHER] * 3
            assert [event.sequence for event in events] == [1, 2, 1, 2, 3]
            if left_at is not None:
                assert events[1].data["recovered_from"] == "manifest"
            else:
                assert events[1].data["replaced_by"] == OTHER
                assert events[1].data["evidence"][0].startswith("manifest: not there")
            assert events[2].data["first_observation"]
            assert len(asked_for(simulation)) == 1
            assert second(events[2]) < 30.2 + BRISK.max_interval.total_seconds() + 2, "the new one hardly waits"

    virtually(body)


def test_what_was_shown_of_the_new_run_before_a_crash_is_told_though_its_manifest_was_still_asked_for() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 30), "GONE", uuid=LIFE)
            simulation.start_run(("PENDING", 20), ("RUNNING", 60), "FAILED", run_id=run, uuid=OTHER, starts_in=30.2)
            simulation.service.fails = failing(Transient, "InternalServerException", *LOGS)
            async with simulation.polling(Rule(), (run,)):
                known = await with_successor(simulation, run)
                assert known.uuid == LIFE
            await anyio.sleep(30)
            simulation.service.fails = lambda _, __: None
            simulation.leave_manifest(run, LIFE, "CANCELLED", 30)
            events = await told_within(simulation, run, 300)
            assert [event.kind for event in events] == ["running", "cancelled", "pending", "running", "failed"]
            pending = events[2]
            assert pending.data["run_uuid"] == OTHER
            assert second(pending) < 45, "when the answer came, before the crash"

    virtually(body)


def test_a_new_run_that_is_gone_too_after_the_crash_leaves_nothing_untold() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 30), "GONE", uuid=LIFE)
            simulation.start_run(("PENDING", 60), "GONE", run_id=run, uuid=OTHER, starts_in=30.2)
            simulation.service.fails = failing(Transient, "InternalServerException", *LOGS)
            async with simulation.polling(Rule(), (run,)):
                await with_successor(simulation, run)
            await anyio.sleep(90)
            events = await told_within(simulation, run, 60)
            assert [event.kind for event in events] == ["running", "replaced", "pending", "vanished"]
            assert [event.data["run_uuid"] for event in events] == [LIFE, LIFE, OTHER, OTHER]

    virtually(body)


def test_a_run_that_shows_itself_again_is_not_ended_by_a_manifest_that_comes_later() -> None:
    """However that can be: what GetRun shows counts, and nobody waits for the manifest any more."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 300), "FAILED", uuid=LIFE)
            hidden = refused(RunGone, "ResourceNotFoundException")

            def fails(operation: str, _: str | None) -> None:
                if operation == "GetRun" and 20 < simulation.clock.monotonic() < 60:
                    raise hidden

            simulation.service.fails = fails
            simulation.leave_manifest(run, LIFE, "COMPLETED", 150)
            async with simulation.polling(Rule(discover=True), (run,)) as scope:
                await anyio.sleep(30)
                assert scope.rounds is not None
                scope.rounds.knowledge.ask_soon(run)  # lists show it, so that nobody would ask by himself
                scope.wake()
                await anyio.sleep(570)
            events = [event for event in await simulation.events() if event.run_id == run]
            assert [event.kind for event in events] == ["running", "vanished", "failed"]
            assert events[-1].data["reappeared"]
            assert asked_for(simulation)[-1] < 75, "once it shows itself nobody asks any more"

    virtually(body)


def test_a_manifest_that_shows_no_end_yet_is_asked_for_again() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE", uuid=LIFE)
            simulation.leave_manifest(run, LIFE, "STOPPING", 20)
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(60)
                (vanished,) = await simulation.events("vanished")
                assert vanished.data["evidence"][-1].startswith("manifest: shows STOPPING, which is no end")
                simulation.leave_manifest(run, LIFE, "COMPLETED", 60)
                await anyio.sleep(60)
            assert (await simulation.kinds(run))[-1] == "completed"

    virtually(body)


def test_while_nothing_can_be_seen_no_manifest_is_asked_for_and_afterwards_it_is() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = tuple(simulation.start_run(("RUNNING", 20), "GONE", uuid=life) for life in (LIFE, OTHER))
            keeps = simulation.start_run(("RUNNING", 5000), "COMPLETED")
            async with simulation.polling(Rule(), (*runs, keeps)):
                await anyio.sleep(60)
                assert len(await simulation.events("vanished")) == 2
                simulation.service.fails = lambda _, __: _raise(NO_CREDENTIALS)
                await anyio.sleep(60)
                asked = len(asked_for(simulation))
                simulation.leave_manifest(runs[0], LIFE, "COMPLETED", 60)
                await anyio.sleep(60)
                assert len(asked_for(simulation)) == asked
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(60)
            assert (await simulation.kinds(runs[0]))[-1] == "completed"

    virtually(body)


def _raise(error: ServiceError) -> None:
    raise error
