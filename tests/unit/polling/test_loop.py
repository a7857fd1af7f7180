"""What a scope promises, held over hours of virtual time."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import anyio
import pytest

from poller.core.cadence import Pace
from poller.core.errors import BadRequest, Denied, RunGone, StoreUnavailable, Transient
from poller.core.events import Event
from poller.core.runs import Verdict
from poller.core.statuses import ENDS, RANK
from poller.emulator.instants import instant_of
from poller.emulator.lives import Life, Step
from poller.polling.rules import Rule
from tests.unit.polling.simulation import (
    BRISK,
    NO_CREDENTIALS,
    START,
    Simulation,
    failing,
    refused,
    simulated,
    virtually,
)

ORDINARY = (("PENDING", 30), ("STARTING", 60), ("RUNNING", 600), ("STOPPING", 30), "COMPLETED")


async def check_told(simulation: Simulation) -> None:
    """Every end that happened was told once; the rest in order, with what lay between, in true windows."""
    by_life: dict[tuple[str, str], list[Event]] = {}
    for event in await simulation.events():
        if event.run_id is not None:
            by_life.setdefault((event.run_id, event.data["run_uuid"]), []).append(event)
    truth = simulation.truth()
    for life, history in truth.items():
        events = by_life.get(life, [])
        statuses = [event.status for event in events if event.status is not None]
        ranks = [RANK[status] for status in statuses]
        assert ranks == sorted(set(ranks)), (life, statuses)
        true_ends = [status for status, _ in history if status in ENDS]
        assert [status for status in statuses if status in ENDS] == true_ends, (life, statuses, history)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        when = dict(history)
        for event in events:
            if event.data["occurred_at_source"] == "observed_at" or event.status is None:
                continue
            assert abs((event.time - when[event.status]).total_seconds()) < 0.001
        for before, after in pairwise(events):
            if after.status is not None:
                assert after.data["previous_status"] == before.status
    ids = Counter(event.id for event in await simulation.events())
    assert max(ids.values(), default=1) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("discover", [True, False], ids=["discovered", "named"])
def test_every_end_of_random_lives_is_told_once_and_in_order(seed: int, discover: bool) -> None:
    async def body() -> None:
        async with simulated(seed=seed, pace=BRISK, speed=20) as simulation:
            runs = tuple(
                simulation.start_life(Life.random(simulation.rng), starts_in=simulation.rng.uniform(0.1, 6000))
                if discover
                else simulation.start_life(Life.random(simulation.rng))
                for _ in range(60)
            )
            async with simulation.polling(Rule(discover=discover), () if discover else runs):
                await anyio.sleep(1200)
            await check_told(simulation)

    virtually(body)


@pytest.mark.parametrize("seed", range(4))
def test_no_crash_loses_an_end_or_tells_one_twice(seed: int) -> None:
    async def body() -> None:
        async with simulated(seed=seed, pace=BRISK, speed=20) as simulation:
            for _ in range(40):
                simulation.start_life(Life.random(simulation.rng), starts_in=simulation.rng.uniform(1, 12000))
            for _ in range(25):
                async with simulation.polling():
                    await anyio.sleep(simulation.rng.uniform(0.01, 40))
                await anyio.sleep(simulation.rng.uniform(0, 20))
            async with simulation.polling():
                await anyio.sleep(900)
            await check_told(simulation)

    virtually(body)


def test_a_quarter_of_the_answers_failing_loses_nothing() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, speed=20) as simulation:

            def fails(operation: str, _: str | None) -> None:
                if simulation.rng.random() < 0.25 and operation != "GetCallerIdentity":
                    raise refused(Transient, simulation.rng.choice(["500", "reset", "unreadable"]))

            simulation.service.fails = fails
            for _ in range(60):
                simulation.start_life(Life.random(simulation.rng), starts_in=simulation.rng.uniform(1, 6000))
            async with simulation.polling():
                await anyio.sleep(1200)
            await check_told(simulation)

    virtually(body)


def test_answers_that_never_come_hold_up_nothing_else() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, speed=20) as simulation:
            simulation.service.hangs = lambda: simulation.rng.random() < 0.1
            for _ in range(30):
                simulation.start_life(Life.random(simulation.rng), starts_in=simulation.rng.uniform(1, 6000))
            async with simulation.polling():
                await anyio.sleep(1800)
            await check_told(simulation)
            lags = [
                (datetime.fromisoformat(event.data["observed_at"]) - event.time).total_seconds()
                for event in await simulation.events("completed")
            ]
            assert sum(lags) / len(lags) < 15  # virtual seconds; a whole read timeout each would be far more

    virtually(body)


def test_a_quota_that_is_hidden_is_learned_and_loses_nothing() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, quota=3) as simulation:
            for _ in range(60):
                simulation.start_life(Life.of(*ORDINARY), starts_in=simulation.rng.uniform(1, 300))
            async with simulation.polling():
                await anyio.sleep(1200)
            await check_told(simulation)
            calls = sum(simulation.service.calls.values())
            assert simulation.service.throttled / calls < 0.05

    virtually(body)


def test_ten_runs_long_in_running_cost_under_a_thousand_calls_an_hour_discovery_included() -> None:
    async def body() -> None:
        async with simulated(pace=Pace()) as simulation:
            for _ in range(10):
                simulation.start_run(
                    ("PENDING", 5), ("STARTING", 5), ("RUNNING", 100_000), "COMPLETED", starts_in=-1200
                )
            async with simulation.polling():
                await anyio.sleep(900)
                before = sum(simulation.service.calls.values())
                await anyio.sleep(3600)
                assert sum(simulation.service.calls.values()) - before < 1000

    virtually(body)


def test_nothing_is_asked_twice_within_min_interval() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            for _ in range(20):
                simulation.start_life(Life.random(simulation.rng), starts_in=simulation.rng.uniform(1, 300))
            async with simulation.polling():
                await anyio.sleep(1800)
            by_run: dict[str, list[float]] = {}
            for at, operation, run_id in simulation.service.times:
                if operation == "GetRun" and run_id is not None:
                    by_run.setdefault(run_id, []).append(at)
            assert by_run
            for times in by_run.values():
                assert all(after - before >= 0.5 for before, after in pairwise(times))

    virtually(body)


def test_an_outage_of_an_hour_is_one_blindness_and_no_storm_and_its_backlog_is_told_in_order() -> None:
    async def body() -> None:
        async with simulated(pace=Pace()) as simulation:
            for _ in range(50):
                simulation.start_run(*ORDINARY, starts_in=simulation.rng.uniform(0, 1500))

            async with simulation.polling():
                await anyio.sleep(300)
                down_at = simulation.clock.now()
                simulation.service.fails = failing(Transient, "EndpointConnectionError")
                calls = sum(simulation.service.calls.values())
                await anyio.sleep(3600)
                assert sum(simulation.service.calls.values()) - calls < 150
                simulation.service.fails = lambda _, __: None
                up_at = simulation.clock.now()
                await anyio.sleep(3600)
            assert len(await simulation.events("blind")) == 1
            (recovered,) = await simulation.events("recovered")
            assert recovered.data["duration_seconds"] == pytest.approx(3600, abs=120)
            await check_told(simulation)
            for event in await simulation.events("completed"):
                not_before = event.data["not_before"]
                if not_before is not None and down_at < event.time < up_at:
                    assert not_before <= down_at.isoformat().replace("+00:00", "Z")

    virtually(body)


def test_refused_credentials_are_blindness_at_once_and_mended_without_a_restart() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 300), "COMPLETED")

            def fails(_: str, __: str | None) -> None:
                raise NO_CREDENTIALS

            simulation.service.fails = fails
            async with simulation.polling(run_ids=(run,)):
                await anyio.sleep(60)
                (blind,) = await simulation.events("blind")
                assert blind.data["cause"] == "credentials"
                assert simulation.service.renewed > 2
                assert len(simulation.service.times) == 0
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(30)
                assert len(await simulation.events("recovered")) == 1
                assert await simulation.kinds(run) == ["running"]

    virtually(body)


def test_another_account_is_blindness_and_gives_no_verdict() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 1000), "COMPLETED")
            async with simulation.polling(run_ids=(run,)):
                await anyio.sleep(10)
            simulation.service.account_id = "999999999999"
            simulation.world.redirect(simulation.world.get(run), (Step("GONE"),), instant_of(simulation.clock.now()))
            async with simulation.polling(run_ids=(run,)):
                await anyio.sleep(600)
            (blind,) = await simulation.events("blind")
            assert blind.data["cause"] == "wrong_account"
            assert await simulation.kinds(run) == ["running"]

    virtually(body)


def test_a_change_of_account_between_not_found_and_verdict_gives_no_verdict() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE")
            async with simulation.polling(run_ids=(run,)):
                await anyio.sleep(15)
                simulation.service.account_id = "999999999999"
                await anyio.sleep(600)
            assert await simulation.kinds(run) == ["running"]
            assert len(await simulation.events("blind")) == 1

    virtually(body)


@pytest.mark.parametrize("discover", [True, False])
def test_a_run_that_vanishes_is_told_within_its_deadline_with_the_evidence(discover: bool) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("PENDING", 5), ("RUNNING", 60), "GONE")
            async with simulation.polling(Rule(discover=discover), (run,)):
                await anyio.sleep(90)
            assert (await simulation.kinds(run))[-1] == "vanished"
            (vanished,) = await simulation.events("vanished")
            assert vanished.data["previous_status"] == "RUNNING"
            assert [said.split(":")[0] for said in vanished.data["evidence"]] == [
                "GetRun",
                "GetRun",
                "ListRuns",
                "manifest",
            ]
            missing = START + timedelta(seconds=65)
            assert vanished.time - missing < BRISK.max_interval + BRISK.vanish_deadline + timedelta(seconds=1)

    virtually(body)


def test_one_not_found_is_no_verdict() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 120), "COMPLETED")
            left = iter([True])

            def fails(operation: str, _: str | None) -> None:
                if operation == "GetRun" and simulation.clock.monotonic() > 20 and next(left, False):
                    raise refused(RunGone, "ResourceNotFoundException")

            simulation.service.fails = fails
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(300)
            assert await simulation.kinds(run) == ["running", "completed"]

    virtually(body)


def test_a_new_run_may_be_invisible_for_a_moment() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(*ORDINARY, visible_after={"GetRun": 3.0, "ListRuns": 3.0})
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(1000)
            kinds = await simulation.kinds(run)
            assert "vanished" not in kinds
            assert kinds[-1] == "completed"

    virtually(body)


def test_an_id_that_never_existed_vanishes_once_and_is_asked_about_no_more() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            async with simulation.polling(Rule(), ("404404",)):
                await anyio.sleep(60)
                asked = simulation.service.calls["GetRun"]
                await anyio.sleep(3600)
                assert simulation.service.calls["GetRun"] == asked == 2
            assert await simulation.kinds("404404") == ["vanished"]

    virtually(body)


def test_an_id_reused_while_it_runs_is_told_as_replaced_and_then_anew() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 60), "GONE")
            simulation.start_run(("PENDING", 20), ("RUNNING", 60), "COMPLETED", run_id=run, starts_in=60.2)
            async with simulation.polling():
                await anyio.sleep(400)
            told = [(event.kind, event.data["run_uuid"]) for event in await simulation.events()]
            first, second = dict.fromkeys(uuid for _, uuid in told)
            assert [kind for kind, uuid in told if uuid == first][-1] in ("replaced", "vanished")
            assert [kind for kind, uuid in told if uuid == second][-1] == "completed"

    virtually(body)


def test_what_was_created_and_ended_while_nobody_looked_is_told_at_the_next_start() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            old = simulation.start_run(("RUNNING", 10), "COMPLETED", starts_in=-3600)
            async with simulation.polling():
                await anyio.sleep(30)
            missed = simulation.start_run(("RUNNING", 60), "FAILED")
            await anyio.sleep(3 * 3600)
            async with simulation.polling():
                await anyio.sleep(60)
            assert await simulation.kinds(old) == []
            assert await simulation.kinds(missed) == ["failed"]

    virtually(body)


@pytest.mark.parametrize("killed", [False, True], ids=["went on", "killed and started again"])
def test_a_run_that_lived_between_the_start_and_the_first_answer_is_told(killed: bool) -> None:
    """The mark is the start itself, not the first answer: that one may come long after."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            simulation.service.latency = 20
            simulation.service.account_id = None  # nothing is known that would be written before the answer
            async with simulation.polling():
                await anyio.sleep(1)
                brief = simulation.start_run(("RUNNING", 2), "FAILED")
                await anyio.sleep(5 if killed else 120)
            simulation.service.latency = 0.06
            async with simulation.polling():
                await anyio.sleep(30)
            assert await simulation.kinds(brief) == ["failed"]

    virtually(body)


@pytest.mark.parametrize(
    ("emit_first", "told"),
    [("always", ["running", "completed"]), ("terminal", ["completed"]), ("never", ["completed"])],
)
def test_the_first_event_of_runs_older_than_the_watch_is_told_as_configured(emit_first: str, told: list[str]) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            old = simulation.start_run(("RUNNING", 4000), "COMPLETED", starts_in=-3600)
            async with simulation.polling(Rule(discover=True, emit_first=emit_first)):  # type: ignore[arg-type]
                await anyio.sleep(5)
                young = simulation.start_run(("PENDING", 60), ("RUNNING", 60), "COMPLETED")
                await anyio.sleep(600)
            assert await simulation.kinds(old) == told
            assert (await simulation.kinds(young))[0] == "pending"

    virtually(body)


def test_names_and_groups_narrow_discovery() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            ours = simulation.start_run(("RUNNING", 60), "COMPLETED", name="lab-1", run_group_id="77")
            simulation.start_run(("RUNNING", 60), "COMPLETED", name="lab-2", run_group_id="88")
            simulation.start_run(("RUNNING", 60), "COMPLETED", name="else", run_group_id="77")
            named = simulation.start_run(("RUNNING", 60), "COMPLETED", name="named", run_group_id="99")
            rule = Rule(discover=True, groups=("77",), name_prefix="lab")
            async with simulation.polling(rule, (named,)):
                await anyio.sleep(200)
            assert {event.run_id for event in await simulation.events()} == {ours, named}
            await_kinds = await simulation.kinds(ours)
            assert await_kinds == ["running", "completed"]
            assert await simulation.kinds(named) == ["running", "completed"]

    virtually(body)


def test_a_denied_run_is_unreachable_while_others_answer() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = [simulation.start_run(("RUNNING", 300), "COMPLETED") for _ in range(3)]
            simulation.service.fails = failing(Denied, "AccessDeniedException", "GetRun", run=runs[0])
            async with simulation.polling(Rule(), tuple(runs)):
                await anyio.sleep(600)
            told = await simulation.kinds(runs[0])
            assert told in (["unreachable"], ["running", "unreachable"])  # a list may have shown it before
            assert await simulation.kinds(runs[1]) == ["running", "completed"]
            assert await simulation.events("blind") == []

    virtually(body)


def test_getrun_denied_for_every_run_is_blindness() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = [simulation.start_run(("RUNNING", 300), "COMPLETED") for _ in range(3)]
            simulation.service.fails = failing(Denied, "AccessDeniedException", "GetRun")
            async with simulation.polling(run_ids=tuple(runs)):
                await anyio.sleep(120)
                (blind,) = await simulation.events("blind")
                assert blind.data["cause"] == "denied"
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(600)
            assert await simulation.events("unreachable") == []
            assert len(await simulation.events("recovered")) == 1
            for run in runs:
                assert (await simulation.kinds(run))[-1] == "completed"

    virtually(body)


def test_listruns_denied_leaves_getrun() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = [simulation.start_run(*ORDINARY) for _ in range(10)]
            simulation.service.fails = failing(Denied, "AccessDeniedException", "ListRuns")
            async with simulation.polling(run_ids=tuple(runs)):
                await anyio.sleep(1500)
            await check_told(simulation)
            assert simulation.service.calls["ListRuns"] < 5

    virtually(body)


def test_an_id_that_the_service_calls_wrong_is_unreachable_once() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            simulation.service.fails = failing(BadRequest, "ValidationException", run="123")
            async with simulation.polling(Rule(), ("123",)):
                await anyio.sleep(600)
            assert await simulation.kinds("123") == ["unreachable"]
            assert simulation.service.calls["GetRun"] == 1

    virtually(body)


def test_while_the_record_cannot_be_written_nothing_is_asked_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            for _ in range(20):
                simulation.start_run(*ORDINARY, starts_in=simulation.rng.uniform(0, 600))
            commit = simulation.store.commit_round

            async def unavailable(_: object) -> list[Event]:
                raise StoreUnavailable("database or disk is full")

            async with simulation.polling():
                await anyio.sleep(300)
                monkeypatch.setattr(simulation.store, "commit_round", unavailable)
                await anyio.sleep(60)
                assert simulation.gate.closed_since is not None
                asked = len(simulation.service.times)
                await anyio.sleep(600)
                assert len(simulation.service.times) == asked
                monkeypatch.setattr(simulation.store, "commit_round", commit)
                await anyio.sleep(1200)
                assert simulation.gate.closed_since is None
            await check_told(simulation)

    virtually(body)


def test_a_stop_commits_the_answers_that_are_in_flight() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 100), "COMPLETED")
            async with simulation.polling(Rule(), (run,)) as scope:
                await anyio.sleep(0.03)  # asked, and not answered yet
                assert simulation.service.calls["GetRun"] == 1
                await scope.finish_looks()
                assert await simulation.kinds(run) == ["running"]
                await anyio.sleep(60)
                assert simulation.service.calls["GetRun"] == 1

    virtually(body)


def test_two_get_runs_suffice_for_a_life_among_many() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            for _ in range(100):
                simulation.start_run(*ORDINARY, starts_in=simulation.rng.uniform(1, 60))
            async with simulation.polling():
                await anyio.sleep(1000)
            await check_told(simulation)
            assert simulation.service.calls["GetRun"] <= 2.2 * 100

    virtually(body)


def test_what_is_known_of_a_run_whose_end_was_told_is_small_and_final() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 10), "CANCELLED")
            async with simulation.polling() as scope:
                await anyio.sleep(60)
                assert scope.rounds is not None
                assert scope.rounds.runs == {}
            known = (await simulation.store.known_runs("us-east-1", [run]))[run]
            assert known.verdict is Verdict.ENDED

    virtually(body)


@pytest.mark.parametrize("discover", [True, False])
def test_a_run_that_only_lists_still_show_is_told_at_the_deadline_and_then_left_in_peace(discover: bool) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 100_000), "COMPLETED")
            others = tuple(simulation.start_run(("RUNNING", 100_000), "COMPLETED") for _ in range(5))

            def fails(operation: str, run_id: str | None) -> None:
                if operation == "GetRun" and run_id == run and simulation.clock.monotonic() > 20:
                    raise refused(RunGone, "ResourceNotFoundException")

            simulation.service.fails = fails
            async with simulation.polling(Rule(discover=discover), (run, *others)) as scope:
                await anyio.sleep(60)
                assert scope.rounds is not None
                scope.rounds.knowledge.ask_soon(run)
                scope.wake()
                await anyio.sleep(300)
                assert (await simulation.kinds(run))[-1] == "vanished"
                (vanished,) = await simulation.events("vanished")
                assert any("still shows RUNNING" in said for said in vanished.data["evidence"])
                asked = [at for at, _, run_id in simulation.service.times if run_id == run and at > 100]
                assert len(asked) < 60
                simulation.service.fails = lambda _, __: None
                await anyio.sleep(60)
                if discover:
                    assert run in scope.rounds.runs, "it shows itself again, and is followed again"

    virtually(body)


def test_a_denial_that_is_lifted_lets_the_run_go_on() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = [simulation.start_run(("RUNNING", 300), "COMPLETED") for _ in range(3)]

            def fails(operation: str, run_id: str | None) -> None:
                if operation == "GetRun" and run_id == runs[0] and simulation.clock.monotonic() < 100:
                    raise refused(Denied, "AccessDeniedException")

            simulation.service.fails = fails
            async with simulation.polling(Rule(), tuple(runs)):
                await anyio.sleep(600)
            kinds = await simulation.kinds(runs[0])
            assert kinds.count("unreachable") == 1
            assert kinds[-1] == "completed"
            asked = [at for at, _, run_id in simulation.service.times if run_id == runs[0] and at < 100]
            assert len(asked) < 40

    virtually(body)


def test_a_run_vanishes_at_its_deadline_though_the_lists_fail() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run = simulation.start_run(("RUNNING", 20), "GONE")
            simulation.service.fails = failing(Transient, "InternalServerException", "ListRuns")
            async with simulation.polling(Rule(), (run,)):
                await anyio.sleep(60)
            assert await simulation.kinds(run) == ["running", "vanished"]
            (vanished,) = await simulation.events("vanished")
            assert vanished.data["evidence"][-2] == "ListRuns: not read whole in time"
            assert vanished.data["evidence"][-1].startswith("manifest: not there")

    virtually(body)
