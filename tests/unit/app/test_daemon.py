"""Reload whole or not at all, stop in time, and keep the rest alive."""

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from poller.app import daemon
from poller.app.build import Parts
from poller.app.cli.options import AwsOptions, load_configuration
from poller.app.daemon import reload, run_daemon
from poller.core.errors import ConfigError, StoreRefused, StoreUnavailable
from poller.delivery.outlet import Outlet
from poller.emulator import Emulator, Fault, Life
from poller.polling.rules import Rule
from poller.settings.load import Loaded, load_settings
from poller.sinks.file import FileSink
from tests.unit.app.daemon_rig import Stage, file_sink, send_signal
from tests.unit.app.library_rig import PATIENCE, asked_again, ended, quick_life, until

pytestmark = pytest.mark.usefixtures("aws_credentials")


@pytest.fixture
def stage(emulator: Emulator, tmp_path: Path) -> Stage:
    return Stage(emulator, tmp_path)


def sink_names(parts: Parts) -> list[str]:
    return [outlet.name for outlet in parts.dispatcher.outlets]


def explode(*_: object) -> None:
    raise ZeroDivisionError("a bug of somebody else's")


def kinds(lines: list[str]) -> list[str]:
    return [json.loads(line)["type"].rpartition(".")[2] for line in lines]


# --- reload -----------------------------------------------------------------------------------------------------------


async def test_a_reload_applies_watches_and_sinks(stage: Stage) -> None:
    first, second = (stage.emulator.start_run(Life.of("RUNNING")) for _ in range(2))
    stage.configure(file_sink("one"), watch=f'run_ids = ["{first}"]')
    async with stage.running() as parts:
        current = parts.settings
        await until(lambda: len(stage.sent("one.jsonl")) == 1)
        stage.configure(file_sink("one") + file_sink("two"), watch=f'run_ids = ["{first}", "{second}"]')
        current = await reload(parts, stage.path, current)
        await until(lambda: len(stage.sent("two.jsonl")) == 1)
        await until(lambda: len(stage.sent("one.jsonl")) == 2)
        assert sink_names(parts) == ["one", "two"]
        stage.configure(file_sink("two"), watch=f'run_ids = ["{second}"]')
        current = await reload(parts, stage.path, current)
        assert sink_names(parts) == ["two"]
        stage.emulator.move_run(first, "COMPLETED")
        await asked_again(stage.emulator, "GetRun", second)  # and so was the first, if it is looked at
        stage.emulator.move_run(second, "COMPLETED")
        await until(lambda: kinds(stage.sent("two.jsonl")) == ["running", "completed"])
        assert len(stage.sent("two.jsonl")) == 2
    assert kinds(stage.sent("one.jsonl")) == ["running", "running"]


async def test_the_end_of_a_batch_that_came_with_a_reload_is_told(stage: Stage) -> None:
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        batch_id = stage.emulator.start_batch(2, quick_life())
        stage.configure(file_sink("one"), watch=f'batch_ids = ["{batch_id}"]')
        await reload(parts, stage.path, parts.settings)
        await until(lambda: "finished" in kinds(stage.sent("one.jsonl")))
        assert [cohort.batch_id for cohort in parts.cohorts()] == [batch_id]
    (event,) = [event for line in stage.sent("one.jsonl") if "cohort" in (event := json.loads(line))["data"]]
    assert (event["subject"], event["data"]["counts"]) == (batch_id, {"completed": 2})


async def test_a_reload_applies_a_deadline_and_a_run_that_waits_is_explained(stage: Stage) -> None:
    stage.emulator.add_group("77", max_runs=1)
    first, second = (
        stage.emulator.start_run(Life.of(("PENDING", 0.05), "RUNNING"), run_group_id="77") for _ in range(2)
    )
    stage.configure(file_sink("one"), watch=f'run_ids = ["{first}", "{second}"]')
    async with stage.running() as parts:
        await until(lambda: sorted(set(kinds(stage.sent("one.jsonl")))) == ["pending", "running"])
        watch = f'run_ids = ["{first}", "{second}"]\ndeadline = {{ PENDING = "100ms" }}'
        stage.configure(file_sink("one"), watch=watch)
        await reload(parts, stage.path, parts.settings)
        await until(lambda: kinds(stage.sent("one.jsonl"))[-1] == "overdue")
    told = [json.loads(line) for line in stage.sent("one.jsonl")]
    (overdue,) = [event for event in told if event["type"] == "healthomics.run.overdue"]
    assert overdue["subject"] == second
    reason = overdue["data"]["overdue"]["pending_reason"]
    assert (reason["max_runs"], reason["active_runs_seen"], reason["limits_unknown"]) == (1, 1, None)


async def test_a_reload_adds_and_takes_out_one_of_several_watches(stage: Stage) -> None:
    def configure(*prefixes: str) -> None:
        tables = "".join(f'[[watch]]\ndiscover = true\nname_prefix = "{prefix}"\n' for prefix in prefixes)
        text = stage.configure(file_sink("one")).read_text()
        stage.path.write_text(text.replace("[watch]\n", tables))

    names = ("a-1", "b-1", "c-1")
    first, second, third = (stage.emulator.start_run(Life.of("RUNNING"), name=name) for name in names)
    configure("a-", "c-")
    async with stage.running() as parts:
        current = parts.settings
        await until(lambda: {json.loads(line)["subject"] for line in stage.sent("one.jsonl")} == {first, third})
        configure("a-", "b-")
        current = await reload(parts, stage.path, current)
        assert [rule.name_prefix for rule in parts.scopes[0].rules] == ["a-", "b-"]
        await until(lambda: len(stage.sent("one.jsonl")) == 3)
        new, stranger = (stage.emulator.start_run(Life.of("RUNNING"), name=name) for name in ("b-2", "c-2"))
        await until(lambda: len(stage.sent("one.jsonl")) == 4)
        stage.emulator.move_run(third, "COMPLETED")  # found before, and followed to its end
        await until(lambda: len(stage.sent("one.jsonl")) == 5)
        await asked_again(stage.emulator, "ListRuns", times=8)  # the list that shows the stranger among them
    told = [json.loads(line) for line in stage.sent("one.jsonl")]
    assert [event["subject"] for event in told[2:]] == [second, new, third]
    assert stranger not in {event["subject"] for event in told}


@pytest.mark.parametrize(
    "wrong",
    [
        '[[sinks]]\nname = "bad"\ntype = "no-such-type"\n',
        file_sink("bad", timeout='"soon"'),
        "[watch",
        "[wach]\nx = 1\n",
        file_sink("bad") + file_sink("bad"),
    ],
)
async def test_a_file_with_a_mistake_changes_nothing_at_all(
    stage: Stage, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = stage.emulator.start_run(Life.of("RUNNING"))
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        outlets, before, rules = list(parts.dispatcher.outlets), parts.settings, parts.scopes[0].rules
        stage.configure(file_sink("two") + wrong, watch=f'run_ids = ["{run_id}"]\ndiscover = true')
        assert await reload(parts, stage.path, before) is before
        assert parts.dispatcher.outlets == outlets
        assert parts.scopes[0].rules == rules == (Rule(),)
    assert "config.refused" in [record.message for record in caplog.records]


async def test_a_reload_says_what_is_doubtful_as_a_start_does(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        stage.configure(file_sink("one", match="{ group = 'oncology' }"))
        await reload(parts, stage.path, parts.settings)
    doubts = [vars(record)["warning"] for record in caplog.records if record.message == "config.doubtful"]
    (about_the_match,) = (doubt for doubt in doubts if "oncology" in doubt)
    line = stage.path.read_text().splitlines().index("match = { group = 'oncology' }") + 1
    assert about_the_match.startswith(f'{stage.path}:{line} [[sinks]] "one" match group: "oncology" fits none')


async def test_a_file_that_is_gone_changes_nothing(stage: Stage) -> None:
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        stage.path.unlink()
        assert await reload(parts, stage.path, parts.settings) is parts.settings
        assert sink_names(parts) == ["one"]


async def test_a_sink_that_fails_to_be_made_changes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sinks of other packages may raise anything: a daemon must survive its configuration being read again."""
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        monkeypatch.setattr(FileSink, "__init__", explode)
        stage.configure(file_sink("one") + file_sink("two"))
        assert await reload(parts, stage.path, parts.settings) is parts.settings
        assert sink_names(parts) == ["one"]
    (refused,) = (record for record in caplog.records if record.message == "config.refused")
    line = stage.path.read_text().splitlines().index('name = "two"')  # that of its [[sinks]], counted from one
    said = f'{stage.path}:{line} [[sinks]] "two" cannot be made: ZeroDivisionError: a bug of somebody else\'s'
    assert vars(refused)["error"] == said


async def test_a_sink_that_fails_to_be_made_is_named_at_the_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileSink, "__init__", explode)
    stage.configure(file_sink("one"))
    with pytest.raises(ConfigError, match=r'sink "one" cannot be made: ZeroDivisionError: a bug'):
        async with stage.parts():
            raise AssertionError("it has opened")


async def test_what_else_changed_is_told_as_needing_a_restart_each_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(daemon.log, "info", lambda event, **facts: said.append({"event": event, **facts}))
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        stage.configure(file_sink("two") + '[daemon]\nheartbeat = "1m"\n', region="eu-west-1")
        current = parts.settings
        for _ in range(2):
            current = await reload(parts, stage.path, current)
        assert parts.scopes[0].place.region == "us-east-1"
    reloads = [one for one in said if one["event"] == "config.reloaded"]
    assert [one["needs_restart"] for one in reloads] == [["aws", "daemon"]] * 2
    assert [one["changed"] for one in reloads] == [["sinks"], []]


async def test_a_sink_whose_table_did_not_change_stays_and_one_that_left_is_closed(stage: Stage) -> None:
    run_id = stage.emulator.start_run(Life.of("RUNNING"))
    stage.configure(file_sink("stays") + file_sink("leaves"), watch=f'run_ids = ["{run_id}"]')
    async with stage.running() as parts:
        await until(lambda: stage.sent("stays.jsonl") and stage.sent("leaves.jsonl"))
        stays, leaves = (outlet.sink for outlet in parts.dispatcher.outlets)
        assert isinstance(stays, FileSink)
        assert isinstance(leaves, FileSink)
        stage.configure(file_sink("stays") + file_sink("comes"), watch=f'run_ids = ["{run_id}"]')
        await reload(parts, stage.path, parts.settings)
        assert parts.dispatcher.outlets[0].sink is stays
        assert stays._fd is not None
        assert leaves._fd is None


async def test_a_sink_that_fails_to_close_keeps_nothing_else_open(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.configure(file_sink("one") + file_sink("two"))
    async with stage.parts() as parts:
        first, second = (outlet.sink for outlet in parts.dispatcher.outlets)
        closed: list[object] = []

        async def fails() -> None:
            raise OSError("disk gone")

        async def closes() -> None:
            closed.append(second)

        monkeypatch.setattr(first, "close", fails)
        monkeypatch.setattr(second, "close", closes)
    assert closed == [second]
    async with stage.parts():
        pass  # the record's lock is free
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["sink.close_failed"]


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what the daemon logs, in order."""
    said: list[str] = []
    monkeypatch.setattr(daemon.log, "info", lambda event, **_: said.append(event))
    return said


async def test_sighup_reloads_and_sigterm_stops_the_daemon(stage: Stage, said: list[str]) -> None:
    run_id = stage.emulator.start_run(quick_life())
    stage.configure(file_sink("one"))
    begun: list[Parts] = []
    running = asyncio.create_task(run_daemon(load_settings(stage.path), announce=lambda parts, _: begun.append(parts)))
    await until(lambda: begun)
    stage.configure(file_sink("one"), watch=f'run_ids = ["{run_id}"]')
    send_signal(signal.SIGHUP)
    await until(lambda: kinds(stage.sent("one.jsonl"))[-1:] == ["completed"])
    assert begun[0].scopes[0].rules == (Rule(run_ids=frozenset({run_id})),)
    assert said == ["daemon.started", "config.reloaded"]
    send_signal(signal.SIGTERM)
    await asyncio.wait_for(running, PATIENCE)
    assert said == ["daemon.started", "config.reloaded", "daemon.stopping", "daemon.stopped"]


async def test_a_reload_reads_the_file_as_the_start_did(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--region` and the like over it: what they say has not changed."""
    reloaded: list[dict[str, Any]] = []
    monkeypatch.setattr(daemon.log, "info", lambda event, **facts: reloaded.append(facts | {"event": event}))
    stage.configure(file_sink("one"))

    def load(path: Path) -> Loaded:
        return load_configuration(path, AwsOptions(region="eu-west-1"))

    begun: list[Parts] = []
    start = run_daemon(load(stage.path), load=load, announce=lambda parts, _: begun.append(parts))
    running = asyncio.create_task(start)
    await until(lambda: begun)
    send_signal(signal.SIGHUP)
    await until(lambda: [one for one in reloaded if one["event"] == "config.reloaded"])
    send_signal(signal.SIGTERM)
    await asyncio.wait_for(running, PATIENCE)
    (facts,) = (one for one in reloaded if one["event"] == "config.reloaded")
    assert (facts["changed"], facts["needs_restart"]) == ([], [])


async def test_a_reload_that_waits_for_the_record_does_not_keep_the_daemon_from_stopping(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    stage.configure('[daemon]\nshutdown_grace = "500ms"\n' + file_sink("one"))
    begun: list[Parts] = []
    running = asyncio.create_task(run_daemon(load_settings(stage.path), announce=lambda parts, _: begun.append(parts)))
    await until(lambda: begun)
    tried: list[int] = []

    async def locked(*_: object) -> None:
        tried.append(1)
        raise StoreUnavailable("locked")

    monkeypatch.setattr(begun[0].foundation.store, "use_routes", locked)
    stage.configure('[daemon]\nshutdown_grace = "500ms"\n' + file_sink("two"))
    send_signal(signal.SIGHUP)
    await until(lambda: tried)
    send_signal(signal.SIGTERM)
    await asyncio.wait_for(running, PATIENCE)
    assert said == ["daemon.started", "daemon.stopping", "daemon.stopped"]


# --- stopping ---------------------------------------------------------------------------------------------------------


class SlowSink:
    """Takes events once it is let."""

    batch_size = 1

    def __init__(self, like: Outlet) -> None:
        self.settings_model = like.sink.settings_model
        self.let = anyio.Event()
        self.took: list[str] = []
        self.under_way = 0

    async def send(self, events: Any) -> None:
        self.under_way += 1
        await self.let.wait()
        self.took += [event.kind for event in events]


async def with_slow_sink(parts: Parts) -> SlowSink:
    (outlet,) = parts.dispatcher.outlets
    slow = SlowSink(outlet)
    await parts.dispatcher.exchange([Outlet(slow, outlet.settings)])
    return slow


async def test_a_stop_commits_the_answer_in_flight_and_delivers_what_is_due(stage: Stage) -> None:
    run_id = stage.emulator.start_run(Life.of("RUNNING"))
    stage.emulator.add_fault(Fault(kind="slow", seconds=0.4, operation="GetRun"))
    stage.configure(file_sink("one"), watch=f'run_ids = ["{run_id}"]')
    async with stage.running() as parts:
        slow = await with_slow_sink(parts)
        await until(lambda: stage.emulator.calls)
        assert await parts.foundation.store.events() == []
        stage.stop.set()
        await until(lambda: slow.under_way)
        slow.let.set()
    assert slow.took == ["running"]


async def test_a_stop_starts_no_look(stage: Stage) -> None:
    run_id = stage.emulator.start_run(Life.of("RUNNING"))
    stage.configure(file_sink("one"), watch=f'run_ids = ["{run_id}"]')
    async with stage.running() as parts:
        slow = await with_slow_sink(parts)
        await until(lambda: slow.under_way)
        stage.stop.set()
        await ended("watches")  # all that asks ends, while the sink still takes its time
        asked = len(stage.emulator.calls)
        assert slow.took == []
        slow.let.set()
    assert len(stage.emulator.calls) == asked


async def test_a_stop_takes_no_longer_than_its_grace_whatever_hangs(stage: Stage) -> None:
    run_id = stage.emulator.start_run(Life.of("RUNNING"))
    stage.configure('[daemon]\nshutdown_grace = "800ms"\n' + file_sink("one"), watch=f'run_ids = ["{run_id}"]')
    async with stage.running() as parts:
        slow = await with_slow_sink(parts)
        await until(lambda: slow.under_way)
        stage.emulator.add_fault(Fault(kind="hang"))
        asked = len(stage.emulator.calls)
        await until(lambda: len(stage.emulator.calls) > asked)
        began = time.monotonic()
        stage.stop.set()
    assert 0.4 < time.monotonic() - began < 2
    async with stage.parts() as parts:  # what was not taken is owed, and is nobody's
        await parts.foundation.store.use_routes(parts.dispatcher.routes, parts.foundation.clock.now())
        assert len(await parts.foundation.store.claim("one", now=parts.foundation.clock.now(), limit=10)) == 1


# --- what runs beside -------------------------------------------------------------------------------------------------


async def test_a_heartbeat_goes_to_the_sinks_that_name_it_and_to_no_other(stage: Stage) -> None:
    named, plain = file_sink("named", events='["heartbeat"]'), file_sink("plain")
    stage.configure('[daemon]\nheartbeat = "100ms"\ninstance = "lab-1"\n' + named + plain, watch="discover = true")
    async with stage.running():
        await until(lambda: len(stage.sent("named.jsonl")) >= 2)
        await until(lambda: json.loads(stage.sent("named.jsonl")[-1])["data"]["last_success_at"])
    first, second = (json.loads(line) for line in stage.sent("named.jsonl")[:2])
    assert first["type"] == "healthomics.poller.heartbeat"
    assert first["source"] == "healthomics-poller/lab-1"
    assert first["id"] != second["id"]
    assert stage.sent("plain.jsonl") == []


async def test_without_a_heartbeat_there_is_none(stage: Stage) -> None:
    stage.configure(file_sink("named", events='["heartbeat"]'))
    async with stage.running() as parts:
        await ended("heartbeat")
        assert await parts.foundation.store.events() == []


async def test_housekeeping_that_crashes_does_not_end_the_daemon(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = stage.emulator.start_run(Life.of("RUNNING"))
    monkeypatch.setattr(daemon, "PRUNE_EVERY", 0.01)
    stage.configure(file_sink("one"), watch=f'run_ids = ["{run_id}"]')
    async with stage.running() as parts:

        async def explode(**_: object) -> int:
            raise RuntimeError("a bug of ours")

        monkeypatch.setattr(parts.foundation.store, "prune", explode)
        await until(lambda: stage.sent("one.jsonl") and parts.foundation.tally.count("crashes", part="tidy"))
        stage.emulator.move_run(run_id, "COMPLETED")
        await until(lambda: len(stage.sent("one.jsonl")) > 1)
        assert not stage.stop.is_set()
    assert kinds(stage.sent("one.jsonl")) == ["running", "completed"]


async def test_a_record_that_a_person_must_mend_ends_the_daemon(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.configure(watch='run_ids = ["1"]')

    async def refuse(*_: object) -> None:
        raise StoreRefused("replaced")

    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 - what ends it comes while it runs
        async with stage.running() as parts:
            monkeypatch.setattr(parts.foundation.store, "commit_round", refuse)
            await anyio.sleep(PATIENCE)
    assert caught.value.subgroup(StoreRefused) is not None
