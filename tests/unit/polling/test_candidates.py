"""Runs of which only their tags tell whether they are ours: one GetRun each, and nothing told or kept of others."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import anyio

from poller.core.errors import Denied, RunGone, Transient
from poller.core.lists import ListName
from poller.core.planner import Planner
from poller.core.runs import Snapshot
from poller.core.statuses import ENDS
from poller.emulator.lives import Life
from poller.polling.candidates import JUST_BEFORE, Candidates
from poller.polling.discovery import Discovery
from poller.polling.rules import Rule, Rules
from poller.ports.service import Page
from tests.unit.polling.simulation import BRISK, START, Simulation, failing, refused, simulated, virtually
from tests.unit.polling.test_watches import ORDINARY, WHOLE_LIFE, check_told_once

OURS = {"project": "x"}
TAGGED = Rule(discover=True, tags=frozenset(OURS.items()))
STEADY = Life.of("RUNNING")


def get_runs(simulation: Simulation) -> Counter[str | None]:
    return Counter(run_id for _, operation, run_id in simulation.service.times if operation == "GetRun")


async def on_record(simulation: Simulation) -> set[str]:
    return {row.known.run_id for row in await simulation.store.runs()}


# --- over virtual hours -----------------------------------------------------------------------------------------------


def test_runs_with_the_tags_are_told_whole_and_of_others_nothing_is_told_kept_or_asked_twice() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            old = simulation.start_life(ORDINARY, tags=OURS)
            strangers = [simulation.start_life(STEADY, tags={"project": "y"}) for _ in range(150)]
            async with simulation.polling((TAGGED, Rule(run_ids=frozenset({"404404"})))) as scope:
                await anyio.sleep(60)
                new = simulation.start_life(ORDINARY, tags={**OURS, "site": "z"})
                strangers.append(simulation.start_life(ORDINARY))
                await anyio.sleep(1200)
                assert scope.rounds is not None
                assert len(scope.rounds.runs) == len(scope.rounds.knowledge.planner.claims) == 0
                assert len(scope.rounds.knowledge.planner) == 0
            assert await simulation.kinds(old) == await simulation.kinds(new) == WHOLE_LIFE
            assert await on_record(simulation) == {old, new, "404404"}
            assert {event.run_id for event in await simulation.events()} == {old, new, "404404"}
            asked = get_runs(simulation)
            assert {asked[run_id] for run_id in strangers} == {1}
            await check_told_once(simulation)

    virtually(body)


def test_what_lists_show_while_a_get_run_is_waited_for_is_told_of_ours() -> None:
    """GetRun does not answer for a minute: the run was meanwhile in PENDING and STARTING, and both are told."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            asked: list[str] = []

            def fails(operation: str, run_id: str | None) -> None:
                if operation == "GetRun" and simulation.clock.monotonic() < 60 and run_id in asked:
                    raise refused(Transient, "InternalServerException")

            simulation.service.fails = fails
            async with simulation.polling(TAGGED):
                await anyio.sleep(5)
                life = Life.of(("PENDING", 20), ("STARTING", 20), "RUNNING")
                ours, theirs = simulation.start_life(life, tags=OURS), simulation.start_life(life)
                asked.append(ours)
                await anyio.sleep(200)
            assert await simulation.kinds(ours) == ["pending", "starting", "running"]
            assert await on_record(simulation) == {ours}
            assert theirs not in {event.run_id for event in await simulation.events()}

    virtually(body)


def test_short_lives_and_restarts_lose_nothing_of_ours() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK, speed=60) as simulation:
            ours, theirs = set(), set()
            for seconds in (10, 20, 40):
                async with simulation.polling(TAGGED):
                    await anyio.sleep(1)
                    for _ in range(10):
                        life = Life.random(simulation.rng)
                        ours.add(simulation.start_life(life, tags=OURS))
                        theirs.add(simulation.start_life(life))
                    await anyio.sleep(seconds)
                await anyio.sleep(20)
            async with simulation.polling(TAGGED):
                await anyio.sleep(600)
            ended = {run_id for (run_id, _), path in simulation.truth().items() if path[-1][0] in ENDS}
            assert {event.run_id for event in await simulation.events() if event.data.get("terminal")} == ended & ours
            assert not {event.run_id for event in await simulation.events()} & theirs
            await check_told_once(simulation)

    virtually(body)


def test_a_run_that_another_watch_takes_needs_no_tags_and_its_watch_may_change_by_them() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            first = simulation.start_life(STEADY, name="lab-1")
            both = simulation.start_life(STEADY, name="lab-2", tags=OURS)
            theirs = simulation.start_life(STEADY, name="else", workflow_id="5", tags=OURS)
            await anyio.sleep(60)
            quiet = Rule(discover=True, name_prefix="lab", emit_first="never")
            async with simulation.polling((quiet, replace(TAGGED, workflows=("4074992",)))):
                await anyio.sleep(60)
            assert await on_record(simulation) == {first, both}
            assert await simulation.kinds(first) == []
            assert await simulation.kinds(both) == ["running"]
            assert theirs not in get_runs(simulation), "what lists do show is compared first"

    virtually(body)


def test_workflows_narrow_discovery_at_no_cost() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            rules = (Rule(discover=True, workflows=("3", "4")), Rule(discover=True, workflows=("5",), name_prefix="b"))
            ours = [
                simulation.start_life(ORDINARY, workflow_id=workflow, name=name)
                for workflow, name in (("3", "a"), ("4", "b"), ("5", "b"))
            ]
            theirs = [simulation.start_life(ORDINARY, workflow_id=workflow, name="a") for workflow in ("5", "6", "33")]
            async with simulation.polling(rules):
                await anyio.sleep(300)
            for run_id in ours:
                assert await simulation.kinds(run_id) == WHOLE_LIFE
            assert await on_record(simulation) == set(ours)
            assert not set(get_runs(simulation)) & set(theirs)

    virtually(body)


def test_a_candidate_that_is_gone_before_its_tags_were_seen_is_forgotten() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            gone = simulation.start_life(ORDINARY)
            simulation.service.fails = failing(RunGone, "ResourceNotFoundException", "GetRun", run=gone)
            async with simulation.polling(TAGGED) as scope:
                await anyio.sleep(600)
                asked = get_runs(simulation)[gone]
                assert scope.rounds is not None
                assert not scope.rounds.knowledge.candidates.waiting
                await anyio.sleep(1200)
                assert get_runs(simulation)[gone] == asked
            assert await on_record(simulation) == set()

    virtually(body)


def test_an_id_that_belonged_to_another_run_may_be_ours_later() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(STEADY)
            simulation.start_life(ORDINARY, run_id=run_id, starts_in=300, tags=OURS)
            async with simulation.polling(TAGGED):
                await anyio.sleep(200)
                assert get_runs(simulation)[run_id] == 1
                await anyio.sleep(400)
            assert await simulation.kinds(run_id) == WHOLE_LIFE

    virtually(body)


def test_a_candidate_that_alone_is_denied_is_not_ours_and_one_that_is_named_meanwhile_is() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            ours = simulation.start_life(STEADY, tags=OURS)
            denied, named = simulation.start_life(STEADY), simulation.start_life(STEADY)
            slow = False

            def fails(operation: str, run_id: str | None) -> None:
                if operation == "GetRun" and (run_id == denied or (run_id == named and not slow)):
                    kind = Denied if run_id == denied else Transient
                    raise refused(kind, "AccessDeniedException" if run_id == denied else "InternalServerException")

            simulation.service.fails = fails
            async with simulation.polling(TAGGED) as scope:
                await anyio.sleep(300)
                asked = get_runs(simulation)[denied]
                assert not scope.sight.blind
                slow = True
                assert (await scope.find(named)).status == "RUNNING"
                await anyio.sleep(600)
                assert get_runs(simulation)[denied] == asked
            assert await on_record(simulation) == {ours, named}
            assert await simulation.kinds(named) == ["running"]
            assert await simulation.kinds(denied) == []

    virtually(body)


# --- one by one -------------------------------------------------------------------------------------------------------


def item(run_id: str, seconds: float = 0, status: str = "RUNNING") -> Snapshot:
    created = START + timedelta(seconds=seconds)
    return Snapshot(run_id, status, False, created, created, creation_time=created)


def candidates(discovery: Discovery, **options: int) -> Candidates:
    planner = Planner(low=1, high=10)
    second = timedelta(seconds=1)
    return Candidates(planner, discovery, pause=second, patience=5 * second, monotonic=lambda: 0.0, **options)


def test_the_memory_of_others_is_bounded_and_who_still_shows_stays_in_it() -> None:
    discovery = Discovery(Rules([TAGGED]), START)
    one = candidates(discovery, remembers=2)
    for run_id in ("1", "2"):
        known = discovery.adopt(item(run_id), ListName("RUNNING"))
        assert known is not None
        one.ask(known, item(run_id))
        assert one.judge(replace(item(run_id), full=True, uuid="u")) is None
    assert one.shown(item("1"))
    known = discovery.adopt(item("3"), ListName("RUNNING"))
    assert known is not None
    one.ask(known, item("3"))
    one.let_go("3")
    assert [one.shown(item(run_id)) for run_id in ("1", "2", "3")] == [True, False, True]
    assert not one.shown(item("3", seconds=9)), "another run has this id now"


def test_discovery_has_not_come_past_a_new_run_of_which_nobody_knows_yet_whose_it_is() -> None:
    """Else a run that ends while the process is down, before its GetRun came, would never be told."""
    discovery = Discovery(Rules([TAGGED]), START)
    one = candidates(discovery)
    for run_id, seconds in (("1", -60), ("2", 30), ("3", 20)):
        known = discovery.adopt(item(run_id, seconds), ListName("RUNNING"))
        assert known is not None
        one.ask(known, item(run_id, seconds))
    late = START + timedelta(hours=1)
    for status in ("PENDING", "STARTING", "RUNNING", "STOPPING"):
        discovery.began(ListName(status), Page((), None, late, late, late))
        at_most = one.before_all(discovery.discovered_through)
        discovery.finished(ListName(status), ended_lists_are_read=False, at_most=at_most)
    assert discovery.discovered_through == START + timedelta(seconds=20) - JUST_BEFORE
    assert discovery.is_young(item("3", 20))
