"""Several watches of one scope, over virtual hours: each follows its own, and a run that two take is followed once."""

from collections import Counter
from datetime import timedelta

import anyio
import pytest

from poller.core.cadence import Pace
from poller.core.errors import Denied
from poller.emulator.instants import instant_of
from poller.emulator.lives import Life
from poller.polling.rules import Rule
from tests.unit.polling.simulation import BRISK, Simulation, refused, simulated, virtually

ORDINARY = Life.of(("PENDING", 20), ("STARTING", 20), ("RUNNING", 120), ("STOPPING", 10), "COMPLETED")
WHOLE_LIFE = ["pending", "starting", "running", "stopping", "completed"]


def ordinary(*_: object) -> Life:
    return ORDINARY


async def check_told_once(simulation: Simulation) -> None:
    ids = Counter(event.id for event in await simulation.events())
    assert max(ids.values()) == 1


def test_each_watch_follows_its_own_and_nobody_elses_runs_are_told() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            rules = (
                Rule(discover=True, name_prefix="lab-"),
                Rule(discover=True, name_prefix="clinic-", groups=("7", "8")),
                Rule(batches=(batch := simulation.start_batch(10, ordinary),)),
                Rule(run_ids=frozenset({named := simulation.start_life(ORDINARY, name="named")})),
            )
            async with simulation.polling(rules) as scope:
                await anyio.sleep(30)
                ours = [
                    simulation.start_life(ORDINARY, name="lab-1"),
                    simulation.start_life(ORDINARY, name="lab-2", run_group_id="9"),
                    simulation.start_life(ORDINARY, name="clinic-1", run_group_id="8"),
                ]
                theirs = [
                    simulation.start_life(ORDINARY, name="clinic-2"),
                    simulation.start_life(ORDINARY, name="clinic-3", run_group_id="9"),
                    simulation.start_life(ORDINARY, name="else", run_group_id="7"),
                ]
                await anyio.sleep(300)
                assert scope.rounds is not None
                assert len(scope.rounds.runs) == len(scope.rounds.knowledge.planner.claims) == 0, (
                    "nothing is kept of what ended"
                )
            for run_id in (*ours, named):
                assert await simulation.kinds(run_id) == WHOLE_LIFE
            for run_id in theirs:
                assert await simulation.kinds(run_id) == []
            ended = [event for event in await simulation.events("completed") if event.data["batch_id"] == batch]
            assert len(ended) == 10
            await check_told_once(simulation)

    virtually(body)


def test_a_run_that_several_watches_take_is_asked_about_and_told_once() -> None:
    """The same looks as by one watch: what a second one takes, too, costs nothing."""

    async def looks(*more: Rule) -> Counter[str]:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(ORDINARY, name="lab-1")
            rules = (Rule(discover=True), *more, *([Rule(run_ids=frozenset({run_id}))] if more else []))
            async with simulation.polling(rules):
                await anyio.sleep(300)
            assert await simulation.kinds(run_id) == WHOLE_LIFE
            await check_told_once(simulation)
            return simulation.service.calls

    alone = virtually(lambda: looks())
    shared = virtually(lambda: looks(Rule(discover=True, name_prefix="lab"), Rule(discover=True, groups=("7",))))
    assert alone["GetRun"] <= 4
    assert shared["GetRun"] <= alone["GetRun"] + 1
    assert shared["ListRuns"] <= 1.1 * alone["ListRuns"] + 4


@pytest.mark.parametrize(("second", "told"), [("never", []), ("terminal", []), ("always", ["running"])])
def test_of_an_older_run_that_two_watches_take_the_more_talkative_one_says_what_is_told(
    second: str, told: list[str]
) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(Life.of(("RUNNING", 600), "COMPLETED"), name="lab-1", run_group_id="7")
            alone = simulation.start_life(Life.of(("RUNNING", 600), "COMPLETED"), name="lab-2")
            await anyio.sleep(60)
            quiet = Rule(discover=True, name_prefix="lab", emit_first="never")
            async with simulation.polling((quiet, Rule(discover=True, groups=("7",), emit_first=second))):  # type: ignore[arg-type]
                await anyio.sleep(60)
                assert await simulation.kinds(run_id) == told
                await anyio.sleep(600)
            assert await simulation.kinds(run_id) == [*told, "completed"]
            assert await simulation.kinds(alone) == ["completed"]

    virtually(body)


def test_what_was_found_is_followed_to_its_end_under_other_watches_and_no_more_if_none_discovers() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            first, second = (simulation.start_life(ORDINARY, name=name) for name in ("a-1", "b-1"))
            async with simulation.polling((Rule(discover=True, name_prefix="a"), Rule(discover=True, name_prefix="b"))):
                await anyio.sleep(10)
            async with simulation.polling((Rule(discover=True, name_prefix="c"), Rule(discover=True, name_prefix="b"))):
                late = simulation.start_life(ORDINARY, name="a-2")
                found = simulation.start_life(ORDINARY, name="c-1")
                await anyio.sleep(300)
            assert await simulation.kinds(first) == await simulation.kinds(second) == WHOLE_LIFE
            assert await simulation.kinds(found) == WHOLE_LIFE
            assert await simulation.kinds(late) == []
            last = simulation.start_life(ORDINARY, name="c-2")
            async with simulation.polling((Rule(discover=True, name_prefix="c"),)):
                await anyio.sleep(10)
            async with simulation.polling((Rule(run_ids=frozenset({late})),)):
                await anyio.sleep(300)
            assert await simulation.kinds(last) == ["pending"]
            assert (await simulation.kinds(late))[-1] == "completed"
            await check_told_once(simulation)

    virtually(body)


# --- how often --------------------------------------------------------------------------------------------------------


QUICK, SLOW = timedelta(seconds=1), timedelta(minutes=5)


def looks_at(simulation: Simulation, run_id: str, since: float = 0) -> list[float]:
    return [at for at, _, asked in simulation.service.times if asked == run_id and at >= since]


def tagged(name: str, interval: timedelta) -> Rule:
    return Rule(discover=True, tags=frozenset({("pace", name)}), min_interval=interval, max_interval=interval)


def test_each_watch_has_its_runs_asked_about_at_its_own_pace() -> None:
    """One run in each status, so that none is answered for by a list."""

    async def body() -> None:
        async with simulated(pace=Pace()) as simulation:
            quick, ordinary, slow, both = (
                simulation.start_life(Life.of((status, 100_000), "COMPLETED"))
                for status in ("PENDING", "STARTING", "RUNNING", "STOPPING")
            )
            rules = (
                Rule(run_ids=frozenset({quick, both}), min_interval=QUICK, max_interval=QUICK),
                Rule(run_ids=frozenset({ordinary})),
                Rule(run_ids=frozenset({slow, both}), min_interval=SLOW, max_interval=SLOW),
            )
            async with simulation.polling(rules):
                await anyio.sleep(1800)
                simulation.world.advance(instant_of(simulation.clock.now()))
            assert 1500 < len(looks_at(simulation, quick)) < 1800
            assert 1500 < len(looks_at(simulation, both)) < 1800
            assert 50 <= len(looks_at(simulation, ordinary)) < 70
            assert 6 <= len(looks_at(simulation, slow)) < 8

    virtually(body)


def test_the_pace_is_that_of_the_watch_after_a_restart_too_and_of_another_one_once_the_configuration_changed() -> None:
    async def body() -> None:
        async with simulated(pace=Pace()) as simulation:
            quick = simulation.start_life(Life.of(("RUNNING", 100_000), "COMPLETED"), tags={"pace": "quick"})
            slow = simulation.start_life(Life.of(("PENDING", 100_000), "COMPLETED"), tags={"pace": "slow"})
            simulation.service.fails = only_get_run
            await simulation_of_discovery(simulation)
            for rules, often in (
                ((tagged("quick", QUICK), tagged("slow", SLOW)), quick),
                ((tagged("slow", SLOW), tagged("quick", QUICK)), quick),
                ((tagged("quick", SLOW), tagged("slow", QUICK)), slow),
            ):
                since = simulation.clock.monotonic()
                async with simulation.polling(rules):
                    await anyio.sleep(600)
                seldom = slow if often == quick else quick
                assert len(looks_at(simulation, often, since)) > 500
                assert len(looks_at(simulation, seldom, since)) < 4

    virtually(body)


async def simulation_of_discovery(simulation: Simulation) -> None:
    """Let both be found, while lists are allowed."""
    fails, simulation.service.fails = simulation.service.fails, lambda _operation, _run_id: None
    async with simulation.polling((tagged("quick", SLOW), tagged("slow", SLOW))):
        await anyio.sleep(10)
    simulation.service.fails = fails


def only_get_run(operation: str, _run_id: str | None) -> None:
    """Without lists each run is asked about by itself, and its pace shows."""
    if operation == "ListRuns":
        raise refused(Denied, "AccessDeniedException")


def test_new_runs_are_looked_for_as_often_as_the_quickest_watch_that_discovers_wants_it() -> None:
    async def calls(*rules: Rule) -> int:
        async with simulated(pace=Pace(discover_ended=timedelta(0))) as simulation:
            async with simulation.polling(rules):
                await anyio.sleep(3600)
            return simulation.service.calls["ListRuns"]

    slow = Rule(discover=True, min_interval=SLOW, max_interval=SLOW)
    quick = Rule(discover=True, name_prefix="a", max_interval=timedelta(seconds=10))
    named = Rule(run_ids=frozenset({"1"}), min_interval=QUICK, max_interval=QUICK)
    seldom, often = virtually(lambda: calls(slow, named)), virtually(lambda: calls(slow, quick))
    assert seldom < 100
    assert often > 350


# --- whose turn it is -------------------------------------------------------------------------------------------------


def test_a_watch_with_ten_runs_is_not_kept_waiting_by_one_with_hundreds() -> None:
    """800 first looks, and as many ends, at two a second: the runs of the other watch do not queue up behind them."""

    async def body() -> None:
        async with simulated(pace=Pace(ceiling=2)) as simulation:
            for number in range(800):
                simulation.start_life(Life.of(("RUNNING", 90), "COMPLETED"), name=f"lab-{number}")
            rules = (Rule(discover=True, name_prefix="lab-"), Rule(discover=True, name_prefix="clinic-"))
            async with simulation.polling(rules):
                await anyio.sleep(60)
                life = Life.of(("PENDING", 60), ("RUNNING", 60), "FAILED")
                ours = {simulation.start_life(life, name=f"clinic-{number}") for number in range(10)}
                told: list[int] = []
                for seconds, kind in ((40, "pending"), (110, "failed")):
                    await anyio.sleep(seconds)
                    told.append(sum(event.run_id in ours for event in await simulation.events(kind)))
                assert simulation.service.calls["GetRun"] < 450, "the others are far from done"
            assert told == [10, 10]

    virtually(body)
