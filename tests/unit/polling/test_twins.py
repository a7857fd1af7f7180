"""Several scopes over one record: none delays another, and those that prove to be one account and region become one."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest

from poller.bell import Bell
from poller.core.drafts import Place
from poller.core.errors import Denied
from poller.emulator.instants import instant_of
from poller.emulator.lives import GONE, Life, Step
from poller.emulator.world import World
from poller.foundation import Foundation
from poller.polling.rules import Rule
from poller.polling.scope import Scope
from poller.polling.twins import Twins
from poller.ports import WatchRow
from poller.supervision import start_side_by_side
from tests.unit.polling.simulation import (
    ACCOUNT,
    BRISK,
    NO_CREDENTIALS,
    REGION,
    START,
    SimulatedService,
    Simulation,
    refused,
    simulated,
    virtually,
)

OTHER = "210987654321"
NOTHING = Rule()
ORDINARY = Life.of(("PENDING", 30), ("STARTING", 60), ("RUNNING", 600), ("STOPPING", 30), "COMPLETED")


@dataclass
class Table:
    """One `[[aws]]` of a test: whom it asks, and what it watches."""

    name: str
    service: SimulatedService
    rule: Rule = NOTHING
    run_ids: tuple[str, ...] = ()
    region: str = REGION
    scope: Scope = field(init=False)


@asynccontextmanager
async def followed(simulation: Simulation, *tables: Table) -> AsyncIterator[Twins]:
    """All tables at work while the context is open; leaving it is a crash."""
    foundation = Foundation(simulation.store, simulation.gate, Bell(), simulation.clock, lambda: 0.5, simulation.tally)
    for table in tables:
        table.scope = Scope(
            foundation,
            place=Place(table.name, table.region, None),
            service=table.service,
            instance="test",
            pace=simulation.pace,
            rules=[replace(table.rule, run_ids=frozenset(table.run_ids))],
        )
    twins = Twins([table.scope for table in tables])
    for table in tables:
        table.scope.twins = twins
    async with anyio.create_task_group() as tasks:
        await start_side_by_side(tasks, {table.name: table.scope.run for table in tables}, foundation)
        yield twins
        tasks.cancel_scope.cancel()


def same_world(simulation: Simulation, *, account_id: str | None = ACCOUNT) -> SimulatedService:
    """Another client of the world that the simulation asks."""
    return SimulatedService(simulation.world, simulation.clock, account_id=account_id)


def other_world(simulation: Simulation) -> SimulatedService:
    world = World(account_id=OTHER, region=REGION, rng=random.Random(7), order="newest", speed=1.0)
    return SimulatedService(world, simulation.clock, account_id=OTHER)


def keepers(*tables: Table) -> list[str | None]:
    return [table.scope.keeper.name if table.scope.keeper is not None else None for table in tables]


# --- isolation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["silent", "silent account", "no credentials", "denied", "crashing"])
def test_a_scope_in_trouble_changes_no_look_of_another(trouble: str) -> None:
    """The looks of the well one come at the same moments as without the other, from its start on."""

    async def looks(beside: bool) -> list[tuple[float, str, str | None]]:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(ORDINARY)
            sick = other_world(simulation)

            async def never() -> str | None:
                await anyio.sleep_forever()
                raise AssertionError

            async def crash() -> str | None:
                raise ZeroDivisionError("a bug of ours")

            def fails(_operation: str, _run_id: str | None) -> None:
                if trouble == "no credentials":
                    raise NO_CREDENTIALS
                if trouble == "denied":
                    raise refused(Denied, "AccessDeniedException")

            sick.fails, sick.hangs = fails, lambda: trouble == "silent"
            if trouble in ("silent account", "crashing"):
                sick.account = never if trouble == "silent account" else crash  # type: ignore[method-assign]
            well = Table("well", same_world(simulation), Rule(discover=True), (run_id,))
            tables = [Table("sick", sick, Rule(discover=True), ("77",)), well] if beside else [well]
            async with followed(simulation, *tables):
                await anyio.sleep(1200)
            assert [event.kind for event in await simulation.events() if event.run_id == run_id][-1] == "completed"
            return well.service.times

    alone, beside = virtually(lambda: looks(False)), virtually(lambda: looks(True))
    assert len(alone) > 100
    assert [what[1:] for what in beside] == [what[1:] for what in alone]
    assert max(abs(one[0] - other[0]) for one, other in zip(alone, beside, strict=True)) < 0.1


def test_a_scope_whose_record_of_itself_is_broken_keeps_no_other_from_starting() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(ORDINARY)
            read = simulation.store.live_runs

            async def live_runs(scope: str) -> object:
                if scope == "sick":
                    raise ZeroDivisionError("a bug of ours")
                return await read(scope)

            simulation.store.live_runs = live_runs  # type: ignore[method-assign, assignment]
            sick = Table("sick", other_world(simulation), run_ids=("5",))
            with anyio.fail_after(1):
                async with followed(simulation, sick, Table("well", same_world(simulation), run_ids=(run_id,))):
                    await anyio.sleep(0.9)
                    assert await simulation.kinds(run_id) == ["pending"]

    virtually(body)


# --- one account, one scope -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_arn", [False, True], ids=["by identity", "by ARN"])
def test_two_tables_of_one_account_spend_one_budget_and_tell_all_once(by_arn: bool) -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            account_id = None if by_arn else ACCOUNT
            named, added = simulation.start_life(ORDINARY), simulation.start_life(ORDINARY)
            one = Table("one", same_world(simulation, account_id=account_id), run_ids=(named,))
            two = Table("two", same_world(simulation, account_id=account_id), Rule(discover=True))
            await simulation.store.put_watch(WatchRow("two", added, "follow", START))
            async with followed(simulation, one, two):
                await anyio.sleep(20)
                assert keepers(one, two) == [None, "one"]
                before = len(two.service.times)
                found = simulation.start_life(ORDINARY)
                await anyio.sleep(1200)
                assert len(two.service.times) == before, "who rests asks nothing"
                assert by_arn or before == 0
            for run_id in (named, added, found):
                assert await simulation.kinds(run_id) == ["pending", "starting", "running", "stopping", "completed"]
            assert {row.scope for row in await simulation.store.runs()} == {"one"}
            assert len(await simulation.store.events(scope="two")) == 0

    virtually(body)


def test_accounts_or_regions_that_differ_stay_apart() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            abroad = same_world(simulation)
            tables = (
                Table("one", same_world(simulation), Rule(discover=True)),
                Table("two", other_world(simulation), Rule(discover=True)),
                Table("three", abroad, Rule(discover=True), region="eu-west-1"),
            )
            async with followed(simulation, *tables):
                await anyio.sleep(60)
                assert keepers(*tables) == [None, None, None]
                assert all(table.service.times for table in tables)

    virtually(body)


def test_whichever_shows_its_account_first_the_first_table_keeps() -> None:
    """Three tables, the first of which has no credentials for a while: the second follows for the third until then."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            runs = [simulation.start_life(Life.of("RUNNING")) for _ in range(3)]
            late = same_world(simulation)

            def fails(_operation: str, _run_id: str | None) -> None:
                if simulation.clock.monotonic() < 60:
                    raise NO_CREDENTIALS

            late.fails = fails
            tables = [
                Table(name, service, run_ids=(run_id,))
                for name, service, run_id in zip(
                    ("one", "two", "three"), (late, same_world(simulation), same_world(simulation)), runs, strict=True
                )
            ]
            async with followed(simulation, *tables):
                await anyio.sleep(30)
                assert keepers(*tables) == [None, None, "two"]
                assert await simulation.kinds(runs[2]) == ["running"]
                assert await simulation.kinds(runs[0]) == []
                await anyio.sleep(60)
                assert keepers(*tables) == [None, "one", "one"]
                assert {row.scope for row in await simulation.store.runs()} == {"one"}
                for run_id in runs:
                    assert await simulation.kinds(run_id) == ["running"]
            told = [event.kind for event in await simulation.events() if event.subject == "one"]
            assert told == ["blind", "recovered"]

    virtually(body)


def test_while_the_credentials_of_the_first_are_refused_those_of_the_other_see() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(ORDINARY)
            first = same_world(simulation)

            def fails(_operation: str, _run_id: str | None) -> None:
                if simulation.clock.monotonic() > 60:
                    raise NO_CREDENTIALS

            first.fails = fails
            one = Table("one", first, run_ids=(run_id,))
            two = Table("two", same_world(simulation))
            async with followed(simulation, one, two):
                await anyio.sleep(1200)
                assert keepers(one, two) == [None, "one"]
                assert not one.scope.sight.blind
            assert await simulation.kinds(run_id) == ["pending", "starting", "running", "stopping", "completed"]

    virtually(body)


def test_a_blindness_that_was_told_of_a_scope_is_over_when_another_follows_for_it() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            late = same_world(simulation)

            def fails(_operation: str, _run_id: str | None) -> None:
                if simulation.clock.monotonic() < 60:
                    raise NO_CREDENTIALS

            late.fails = fails
            one = Table("one", same_world(simulation), Rule(discover=True))
            two = Table("two", late, Rule(discover=True))
            async with followed(simulation, one, two):
                await anyio.sleep(120)
                assert keepers(one, two) == [None, "one"]
            about = [event.kind for event in await simulation.events() if event.subject == "two"]
            assert about == ["blind", "recovered"]

    virtually(body)


def test_a_restart_tells_nothing_twice_and_loses_nothing_that_ended_meanwhile() -> None:
    """Both discover; one has followed alone for long, the other is new and before it: the older mark counts on."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            one = Table("one", same_world(simulation), Rule(discover=True))
            two = Table("two", same_world(simulation), Rule(discover=True))
            seen = simulation.start_life(Life.of(("RUNNING", 100), "COMPLETED"))
            async with followed(simulation, two):
                await anyio.sleep(3600)
            missed = simulation.start_life(Life.of(("RUNNING", 100), "FAILED"))
            await anyio.sleep(3600)
            async with followed(simulation, one, two):
                await anyio.sleep(600)
                assert keepers(one, two) == [None, "one"]
            async with followed(simulation, one, two):
                await anyio.sleep(600)
            assert await simulation.kinds(seen) == ["running", "completed"]
            assert await simulation.kinds(missed) == ["failed"]
            assert {row.scope for row in await simulation.store.runs()} == {"one"}

    virtually(body)


@pytest.mark.parametrize("alone_before", [False, True], ids=["new", "long alone"])
def test_the_mark_of_discovery_is_kept_over_restarts_by_a_scope_that_discovers_only_for_its_guest(
    alone_before: bool,
) -> None:
    """`one` has followed a named run for a day, and its own mark is of no use: what ended since is never told."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            one = Table("one", same_world(simulation))
            two = Table("two", same_world(simulation), Rule(discover=True))
            async with followed(simulation, one):
                await anyio.sleep(60)
            never = simulation.start_life(Life.of(("RUNNING", 100), "COMPLETED"))
            await anyio.sleep(86400)
            lived: list[str] = []
            if alone_before:
                async with followed(simulation, two):
                    await anyio.sleep(3600)
                lived.append(simulation.start_life(Life.of(("RUNNING", 100), "COMPLETED")))
                await anyio.sleep(3600)
            for _ in range(3):
                async with followed(simulation, one, two):
                    await anyio.sleep(1800)
                    assert keepers(one, two) == [None, "one"]
                lived.append(simulation.start_life(Life.of(("RUNNING", 100), "COMPLETED")))
                await anyio.sleep(3600)
            async with followed(simulation, one, two):
                await anyio.sleep(600)
            for run_id in lived:
                assert await simulation.kinds(run_id) == ["completed"]
            assert await simulation.kinds(never) == []

    virtually(body)


def test_a_run_that_was_told_under_the_other_name_does_not_vanish() -> None:
    """What `two` names ended, was told, and is gone from the service: after a restart nobody asks about it again."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(Life.of(("RUNNING", 10), "COMPLETED"))
            one = Table("one", same_world(simulation))
            two = Table("two", same_world(simulation), run_ids=(run_id,))
            async with followed(simulation, one, two):
                await anyio.sleep(60)
            gone = simulation.world.get(run_id)
            simulation.world.redirect(gone, [Step(GONE)], instant_of(simulation.clock.now()))
            async with followed(simulation, one, two):
                await anyio.sleep(60)
            assert await simulation.kinds(run_id) == ["running", "completed"]

    virtually(body)


def test_who_waits_in_a_scope_that_comes_to_rest_is_answered() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(Life.of("RUNNING"))
            one = Table("one", same_world(simulation, account_id=None))
            two = Table("two", same_world(simulation, account_id=None))
            async with followed(simulation, one, two):
                with anyio.fail_after(30):
                    async with anyio.create_task_group() as waiting:
                        for table in (two, one, two):
                            waiting.start_soon(table.scope.find, run_id)
                assert keepers(one, two) == [None, "one"]
                with anyio.fail_after(30):
                    assert (await two.scope.find(run_id)).status == "RUNNING"

    virtually(body)


def test_mutes_and_watches_under_either_name_count_and_the_newest_wins() -> None:
    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(Life.of("RUNNING"))
            one = Table("one", same_world(simulation), Rule(discover=True))
            two = Table("two", same_world(simulation))
            async with followed(simulation, one, two):
                for minutes, (scope, mode) in enumerate([("two", "mute"), ("one", "follow"), ("two", "mute")], 1):
                    at = START + timedelta(minutes=minutes)
                    await anyio.sleep((at - simulation.clock.now()).total_seconds())
                    await simulation.store.put_watch(WatchRow(scope, run_id, mode, at))  # type: ignore[arg-type]
                    await anyio.sleep(10)
                    assert one.scope.rounds is not None
                    assert (run_id in one.scope.rounds.runs) == (mode == "follow")

    virtually(body)


def test_a_reload_of_either_changes_what_the_first_follows_for_both() -> None:
    """Two tables with prefixes of their own stay one scope, and each run is asked about by it alone."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            first, second = (simulation.start_life(Life.of("RUNNING"), name=name) for name in ("a-1", "b-1"))
            one = Table("one", same_world(simulation), run_ids=(first,))
            two = Table("two", same_world(simulation))
            async with followed(simulation, one, two):
                await anyio.sleep(10)
                assert await simulation.kinds(second) == []
                two.scope.watch_anew([Rule(run_ids=frozenset({second}))])
                await anyio.sleep(10)
                assert keepers(one, two) == [None, "one"]
                assert await simulation.kinds(second) == ["running"]
                one.scope.watch_anew([Rule(discover=True, name_prefix="a")])
                two.scope.watch_anew([Rule(discover=True, name_prefix="b")])
                await anyio.sleep(10)
                third, stranger = (simulation.start_life(Life.of("RUNNING"), name=name) for name in ("b-2", "c-1"))
                await anyio.sleep(20)
                assert keepers(one, two) == [None, "one"]
                assert await simulation.kinds(third) == ["running"]
                assert await simulation.kinds(stranger) == []
            assert await simulation.kinds(first) == ["running"]
            assert third not in [run_id for _, _, run_id in two.service.times]

    virtually(body)


def test_no_look_of_a_scope_that_keeps_comes_sooner_than_its_pace() -> None:
    """Taking over begins the keeper's turn anew; that must not become a way around min_interval."""

    async def body() -> None:
        async with simulated(pace=BRISK) as simulation:
            run_id = simulation.start_life(Life.of("RUNNING"))
            tables = [
                Table(name, same_world(simulation, account_id=None), run_ids=(run_id,)) for name in ("one", "two")
            ]
            async with followed(simulation, *tables):
                await anyio.sleep(120)
            moments = [moment for moment, _, asked in tables[0].service.times if asked == run_id]
            assert len([1 for one, two in pairwise(moments) if two - one < 0.5]) <= 1

    virtually(body)
