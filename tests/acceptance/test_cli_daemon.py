"""The daemon as a process, and the commands that work beside it on the same record."""

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from poller.emulator import Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import Process, Run, Start, into_a_reader_that_leaves

GOOD = Life.completed(pending=0.2, starting=0.2, running=0.3, stopping=0.2)
ENDLESS = Life.of("RUNNING")


def begun(start: Start, config: Path) -> Process:
    """A daemon that runs."""
    process = start("run", "-c", str(config))
    process.wait_for("daemon.started", talk=True)
    return process


def discovering(start: Start, config: Path, emulator: RunningEmulator) -> Process:
    """A daemon that has looked once: what begins from now on is told, however soon it ends."""
    canary = emulator.start_run(ENDLESS)
    process = begun(start, config)
    process.wait_until(lambda: told_of(process, canary) == ["running"])
    return process


def told_of(process: Process, run_id: str) -> list[str]:
    """The types of the events of a run that its stdout sink printed, in order."""
    events = [json.loads(line) for line in process.data]
    return [event["type"].rpartition(".")[2] for event in events if event["subject"] == run_id]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_it_is_told_to_stop(
    emulator: RunningEmulator, start: Start, config: Path, number: signal.Signals
) -> None:
    daemon = discovering(start, config, emulator)
    run_id = emulator.start_run(GOOD)
    daemon.wait_until(lambda: "completed" in told_of(daemon, run_id))
    facts = json.loads(daemon.wait_for("daemon.started", talk=True))
    with urllib.request.urlopen(f"{facts['http']}/readyz", timeout=5) as answer:  # noqa: S310  # ours
        assert json.load(answer)["ready"] is True
    assert facts["record"] == str(config.with_name("omics-poller.db"))
    daemon.send(number)
    assert daemon.end() == 0
    assert json.loads(daemon.talk[-1])["event"] == "daemon.stopped"


def test_a_second_daemon_on_one_record_is_told_who_holds_it(
    emulator: RunningEmulator, start: Start, config: Path
) -> None:
    first = begun(start, config)
    second = start("run", "-c", str(config))
    assert second.end() == 1
    assert f"pid {first.popen.pid}" in second.talk[-1]
    assert "Traceback" not in "".join(second.talk)


def test_a_killed_daemon_leaves_the_record_free_and_nothing_is_told_twice(
    emulator: RunningEmulator, start: Start, config: Path
) -> None:
    run_id = emulator.start_run(ENDLESS)
    first = begun(start, config)
    first.wait_until(lambda: told_of(first, run_id) == ["running"])
    first.kill()
    emulator.move_run(run_id, "COMPLETED")
    second = begun(start, config)
    second.wait_until(lambda: "completed" in told_of(second, run_id))
    assert told_of(second, run_id)[-1:] == ["completed"]
    assert [told_of(first, run_id) + told_of(second, run_id)][0].count("completed") == 1


def test_doubts_about_the_configuration_are_logged(emulator: RunningEmulator, start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[http]\nlisten = ""\n')
    daemon = begun(start, config)
    daemon.wait_for("nothing to watch", talk=True)
    daemon.wait_for("nobody is told", talk=True)


def test_runs_are_added_and_removed_while_it_runs(
    emulator: RunningEmulator, start: Start, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    fast = '[polling]\nmin_interval = "100ms"\nmax_interval = "300ms"\n'
    config.write_text(f'{fast}[http]\nlisten = ""\n[[sinks]]\nname = "console"\ntype = "stdout"\n')
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    run_id = emulator.start_run(ENDLESS)
    daemon = begun(start, config)
    assert run("add", run_id).code == 0
    daemon.wait_until(lambda: told_of(daemon, run_id) == ["running"])
    ended = run("forget", run_id, "--yes")
    assert (ended.code, "omics-poller remove" in ended.talk) == (2, True)
    assert run("remove", run_id).code == 0
    assert run("remove", run_id).code == 2
    assert run("forget", run_id, "--yes").code == 0
    assert json.loads(run("show", run_id, "--json").data)["snapshot"] == {}


def test_a_muted_run_stays_muted_until_it_is_added(
    emulator: RunningEmulator, start: Start, run: Run, config: Path
) -> None:
    run_id = emulator.start_run(ENDLESS)
    first = begun(start, config)
    first.wait_until(lambda: told_of(first, run_id) == ["running"])
    assert "muted" in run("remove", run_id, "-c", str(config)).talk
    first.send(signal.SIGTERM)
    assert first.end() == 0
    second = discovering(start, config, emulator)
    other = emulator.start_run(GOOD)
    emulator.move_run(run_id, "COMPLETED")
    second.wait_until(lambda: "completed" in told_of(second, other))
    assert told_of(second, run_id) == []
    assert "muted" in run("runs", "-c", str(config)).data
    assert run("add", run_id, "-c", str(config)).code == 0
    second.wait_until(lambda: told_of(second, run_id) == ["completed"])


def test_what_is_on_record_can_be_read(
    emulator: RunningEmulator, start: Start, run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    assert run("runs").code == 1
    daemon = discovering(start, config, emulator)
    good = emulator.start_run(GOOD, name="sample-42")
    bad = emulator.start_run(Life.failed("RUN_TASK_FAILED", pending=0.3, starting=0.3, running=0.3), name="evil\x1b[2J")
    daemon.wait_until(lambda: "completed" in told_of(daemon, good) and "diagnosed" in told_of(daemon, bad))

    rows = {row["run_id"]: row for row in map(json.loads, run("runs", "--json").lines)}
    assert rows[good]["status"] == "COMPLETED"
    assert rows[good]["live"] is False
    assert good not in run("runs", "--live").data
    listed = run("runs").data
    assert "sample-42" in listed
    assert "\x1b" not in listed

    shown = json.loads(run("show", good, "--json").data)
    assert shown["snapshot"]["name"] == "sample-42"
    assert [one["event"]["data"]["status"] for one in shown["events"]][-1] == "COMPLETED"
    assert "COMPLETED" in run("show", good).data
    assert shown["diagnosis"] is None

    why = " ".join(run("show", bad).data.split())
    assert "which means The image holds programs for another kind of processor" in why
    assert "retry as it is will most likely fail again" in why
    assert "RUN_TASK_FAILED: exec /bin/bash: exec format error" in why
    assert "\x1b" not in why
    assert json.loads(run("show", bad, "--json").data)["diagnosis"]["owner"] == "workflow"

    told = [line for line in daemon.data if json.loads(line)["subject"] == good]
    assert run("events", "--run", good, "--json").lines == told
    assert [json.loads(line)["subject"] for line in run("events", "--type", "fail*", "--json").lines] == [bad]
    assert run("events", "--run", good, "--limit", "1", "--json").lines == told[-1:]
    assert run("events", "--run", good, "--after", "0", "--limit", "1", "--json").lines == told[:1]
    assert run("events", "--since", "1h", "--json").lines == run("events", "--json").lines
    assert run("events", "--since", "2100-01-01", "--json").lines == []
    assert "RUN_TASK_FAILED" in run("events").data

    daemon.wait_until(lambda: not run("deliveries", "--pending", "--json").lines)
    delivered = [json.loads(line) for line in run("deliveries", "--run", good, "--json").lines]
    assert {(one["sink"], one["state"]) for one in delivered} == {("console", "acknowledged")}
    assert len(delivered) == len(told)
    assert run("deliveries", "--dead", "--json").data == ""

    (plan,) = (json.loads(line) for line in run("explain", "--json").lines)
    assert plan["plan"]["runs"] >= 0
    assert "followed" in run("explain").data


def test_events_are_followed_as_they_come(emulator: RunningEmulator, start: Start, config: Path) -> None:
    daemon = begun(start, config)
    run_id = emulator.start_run(Life.of("PENDING"))
    daemon.wait_until(lambda: told_of(daemon, run_id) == ["pending"])
    reader = start("events", "--follow", "--run", run_id, "-c", str(config))
    reader.wait_for("PENDING")
    emulator.move_run(run_id, "RUNNING")
    reader.wait_for("PENDING -> RUNNING")
    reader.send(signal.SIGINT)
    assert reader.end() == 130
    assert reader.talk == []


def test_a_reader_that_leaves_makes_no_noise(
    emulator: RunningEmulator, start: Start, config: Path, tmp_path: Path
) -> None:
    daemon = begun(start, config)
    run_id = emulator.start_run(Life.of("PENDING"))
    daemon.wait_until(lambda: told_of(daemon, run_id) == ["pending"])
    line = ["events", "--follow", "--run", run_id, "-c", str(config)]
    assert into_a_reader_that_leaves(tmp_path, *line, then=lambda: emulator.move_run(run_id, "COMPLETED")) == (141, "")
