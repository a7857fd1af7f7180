"""`omics-poller route`, and routing by `match` in a daemon that really runs."""

import io
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from poller.core.samples import sample_event
from poller.emulator import Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import CONFIGURATION, Process, Run, Start
from tests.acceptance.test_cli_daemon import begun

GOOD = Life.completed(pending=0.2, starting=0.3, running=1.0, stopping=0.2)
SINKS = """
[[sinks]]
name = "lab"
type = "file"
path = "lab.jsonl"
match = { name = "lab-*", tags = { project = "x" } }

[[sinks]]
name = "ends"
type = "file"
path = "ends.jsonl"
events = ["completed", "failed"]
"""


@pytest.fixture
def daemon(emulator: RunningEmulator, start: Start, config: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    """A daemon with three sinks: `console` gets all, `lab` by its match, `ends` by its events."""
    config.write_text(CONFIGURATION + SINKS)
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    return begun(start, config)


@pytest.fixture
def configured(config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same sinks, and no daemon."""
    config.write_text(CONFIGURATION + SINKS)
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    return config


def kinds_of(daemon: Process, run_id: str) -> list[str]:
    """The kinds of a run's events, once it has completed."""

    def told() -> list[str]:
        events = [json.loads(line) for line in daemon.data]
        return [one["type"].rpartition(".")[2] for one in events if one["subject"] == run_id]

    daemon.wait_until(lambda: "completed" in told())
    return told()


def answers(run: Run, *arguments: str) -> dict[tuple[str, str], Any]:
    """What `route` says, by event and sink."""
    ended = run("route", *arguments, "--json")
    assert ended.code == 0, ended
    found = [json.loads(line) for line in ended.lines]
    return {(one["event_type"].rpartition(".")[2], one["sink"]): SimpleNamespace(**one) for one in found}


def test_events_go_where_match_says_and_route_says_why(
    emulator: RunningEmulator, daemon: Process, run: Run, tmp_path: Path, config: Path
) -> None:
    ours = emulator.start_run(GOOD, name="lab-1", tags={"project": "x"})
    theirs = emulator.start_run(GOOD, name="lab-2", tags={"project": "y"})
    told = {run_id: kinds_of(daemon, run_id) for run_id in (ours, theirs)}
    said = answers(run, "--run", theirs)
    assert set(said) == {(kind, sink) for kind in told[theirs] for sink in ("console", "lab", "ends")}
    assert said["completed", "lab"].why_not == 'match: tags.project is "y", not "x"'
    assert (said["completed", "lab"].gets, said["completed", "lab"].on_record) == (False, None)
    assert said["completed", "ends"].gets
    early = told[theirs][0]
    assert said[early, "ends"].why_not == f"events (completed, failed) do not take {early}"
    assert all(answers(run, "--run", ours)[kind, "lab"].gets for kind in told[ours])

    config.write_text(CONFIGURATION + SINKS.replace('"lab-*"', '"lab-2"').replace('"x"', '"y"'))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("config.reloaded", talk=True)
    later = emulator.start_run(GOOD, name="lab-2", tags={"project": "y"})
    told[later] = kinds_of(daemon, later)
    daemon.send(signal.SIGTERM)
    assert daemon.end() == 0

    def got(name: str) -> list[tuple[str, str]]:
        events = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        return sorted((one["subject"], one["type"].rpartition(".")[2]) for one in events)

    assert got("lab.jsonl") == sorted((one, kind) for one in (ours, later) for kind in told[one])
    assert got("ends.jsonl") == sorted((one, "completed") for one in told)
    was = answers(run, "--run", ours, "--type", "completed")["completed", "lab"]
    assert (was.gets, was.on_record) == (False, "acknowledged"), "the record tells what was, the verdict what would be"


def test_an_event_on_record_is_named_by_id_or_position(emulator: RunningEmulator, daemon: Process, run: Run) -> None:
    run_id = emulator.start_run(GOOD, name="lab-1", tags={"project": "x"})
    kinds_of(daemon, run_id)
    event = json.loads(next(line for line in daemon.data if "run.completed" in line))
    row = json.loads(run("deliveries", "--event", event["id"], "--json").lines[0])
    by_id = answers(run, "--event", event["id"].upper())
    assert {one.sink for one in by_id.values() if one.gets} == {"console", "lab", "ends"}
    assert {one.event_id for one in answers(run, "--event", str(row["position"])).values()} == {event["id"]}
    shown = run("route", "--event", event["id"])
    assert shown.lines[0].split() == ["Event", "Sink", "Gets", "it", "On", "record", "Why", "not"]


def test_a_made_up_event_says_only_what_is_said_of_it(configured: Path, run: Run) -> None:
    said = answers(run, "--type", "failed", "--name", "lab-7", "--tag", "project=x")
    assert {sink: one.gets for (_, sink), one in said.items()} == {"console": True, "lab": True, "ends": True}
    unsaid = answers(run, "--name", "lab-7")
    assert unsaid["failed", "lab"].why_not == 'match: tags.project is not known, not "x"'
    blind = answers(run, "--type", "blind", "--type", "heartbeat")
    assert blind["blind", "lab"].gets
    assert blind["heartbeat", "lab"].why_not == "heartbeat must be named in events"
    slip = run("route", "--type", "failed", "--status", "FIALED").talk
    assert '--status: this version knows no status "FIALED"; did you mean "FAILED"?' in slip


def test_people_get_a_table_and_hear_when_nobody_is_told(configured: Path, run: Run) -> None:
    configured.write_text(CONFIGURATION.partition("[[sinks]]")[0] + SINKS)
    ended = run("route", "--type", "running", "--name", "other")
    assert ended.code == 0
    assert ended.lines[0].split() == ["Event", "Sink", "Gets", "it", "Why", "not"]
    assert ended.lines[1].split()[:3] == ["running", "lab", "no"]
    assert ended.lines[1].endswith('match: name is "other", not "lab-*", and tags.project is not known, not "x"')
    assert ended.talk == "no sink gets running\n"
    configured.write_text(CONFIGURATION.partition("[[sinks]]")[0])
    assert run("route", "--type", "failed").talk == "no sink gets failed\nthere are no [[sinks]]: nobody is told\n"


def test_events_come_from_a_file_and_from_standard_input(
    configured: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sample_event("failed", run_id="1", name="lab-1", tags={"project": "x"})
    second = sample_event("running", run_id="2")
    (tmp_path / "one.json").write_text(json.dumps(first.attributes, indent=2))
    assert answers(run, "--event", "one.json")["failed", "lab"].event_id == first.id
    lines = first.body + b"\n\n" + second.body + b"\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    said = answers(run, "--event", "-")
    assert {key: one.gets for key, one in said.items()} == {
        ("failed", "console"): True,
        ("failed", "lab"): True,
        ("failed", "ends"): True,
        ("running", "console"): True,
        ("running", "lab"): False,
        ("running", "ends"): False,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{}", "line 1: is no event: it has no type and no data"),
        ('{"type": "failed"}', "line 1: is no event: it has no data"),
        ('{"type": "failed", "data": []}', "line 1: is no event"),
        ('{"type": "failed", "data": {"a": 1}}\nno', "line 2: is no JSON"),
        ('{"type": "faild", "data": {"a": 1}}', "line 1: type 'faild': no such event; did you mean failed?"),
        ("[1]", "line 1: is no event, which is a JSON object"),
    ],
)
def test_what_is_no_event_is_said_with_its_line(
    configured: Path, run: Run, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "event.json").write_text(text)
    ended = run("route", "--event", "event.json")
    assert (ended.code, ended.data) == (2, "")
    assert said in ended.talk
    assert ended.talk.count("\n") == 1
