"""`omics-poller deliveries show`, `deliveries move` and `replay`, beside a daemon with a webhook that rejects."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from poller.app.cli.commands import replay
from poller.emulator import Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import CONFIGURATION, PATIENCE, Process, Run, Start, answering, at_a_terminal
from tests.acceptance.test_cli_daemon import begun

GOOD = Life.completed(pending=0.2, starting=0.2, running=0.3, stopping=0.2)


class Receiver(ThreadingHTTPServer):
    """A far end that answers `status`, and keeps what it took."""

    def __init__(self) -> None:
        self.status = 204
        self.took: list[tuple[dict[str, str], bytes]] = []
        self.news = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.took]

    def wait_for(self, count: int) -> None:
        """Return once it took so many; fails if it does not."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.took) >= count, PATIENCE), f"took {self.ids}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.status == 204:
            with self.server.news:
                self.server.took.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.server.news.notify_all()
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the tests ask."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server, answering(server):
        yield server


@pytest.fixture
def daemon(
    emulator: RunningEmulator, receiver: Receiver, start: Start, config: Path, monkeypatch: pytest.MonkeyPatch
) -> Process:
    """A daemon with two sinks: `console`, and `hook`, whose far end is the receiver."""
    config.write_text(f'{CONFIGURATION}\n[[sinks]]\nname = "hook"\ntype = "webhook"\nurl = "{receiver.url}"\n')
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    return begun(start, config)


def told_to_the_end(daemon: Process, run_id: str) -> list[str]:
    """The ids of a run's events, once it has ended."""

    def ids() -> list[str]:
        events = [json.loads(line) for line in daemon.data]
        return [one["id"] for one in events if one["subject"] == run_id and one["data"]["terminal"]]

    daemon.wait_until(lambda: bool(ids()))
    return [one["id"] for one in map(json.loads, daemon.data) if one["subject"] == run_id]


def test_dead_letters_are_found_read_and_replayed_until_none_is_missing(
    emulator: RunningEmulator, daemon: Process, receiver: Receiver, run: Run
) -> None:
    receiver.status = 422
    run_id = emulator.start_run(GOOD)
    ids = told_to_the_end(daemon, run_id)
    for event_id in ids:
        daemon.wait_until(lambda: any("delivery.dead" in line and event_id in line for line in daemon.talk))  # noqa: B023
    dead = [json.loads(line) for line in run("deliveries", "--dead", "--sink", "hook", "--json").lines]
    assert len(dead) == len(ids)
    shown = run("deliveries", "show", str(dead[0]["id"]))
    assert shown.code == 0
    assert "rejected" in shown.data
    assert "answered 422" in shown.data
    whole = json.loads(run("deliveries", "show", str(dead[0]["id"]), "--json").data)
    assert whole["event"]["id"] == dead[0]["event_id"]
    assert [one["outcome"] for one in whole["failed_attempts"]] == ["rejected"]

    receiver.status = 204
    asked = run("replay", "--dead", "--sink", "hook")
    assert asked.code == 0
    assert "dry run; --yes sends" in asked.talk
    assert receiver.took == []
    sent = json.loads(run("replay", "--dead", "--sink", "hook", "--yes", "--json").data)
    assert sent["sent"] is True
    assert len(run("deliveries", "--replay", sent["replay_id"], "--json").lines) == len(ids)
    receiver.wait_for(len(ids))
    assert receiver.ids == ids
    assert {headers["replay-id"] for headers, _ in receiver.took} == {sent["replay_id"]}
    assert [json.loads(body)["id"] for _, body in receiver.took] == ids
    assert run("deliveries", "--dead", "--json").data == ""


def test_a_person_is_asked_first(
    emulator: RunningEmulator, daemon: Process, receiver: Receiver, run: Run, config: Path
) -> None:
    run_id = emulator.start_run(GOOD)
    ids = told_to_the_end(daemon, run_id)
    receiver.wait_for(len(ids))
    code, drawn = at_a_terminal("replay", "--run", run_id, "--to", "hook", "-c", str(config), typed="n\n")
    assert code == 0
    assert "Send them again? [y/N]" in drawn
    code, drawn = at_a_terminal("replay", "--run", run_id, "--to", "hook", "-c", str(config), typed="y\n")
    assert "owed again as replay" in drawn
    receiver.wait_for(2 * len(ids))
    assert receiver.ids == [*ids, *ids]


def test_what_is_recorded_while_somebody_decides_is_not_sent_again(
    emulator: RunningEmulator, daemon: Process, receiver: Receiver, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = emulator.start_run(GOOD)
    told_to_the_end(daemon, first)

    def decides(*_: object, **__: object) -> bool:
        told_to_the_end(daemon, emulator.start_run(GOOD))
        return True

    monkeypatch.setattr(replay, "_agreed", decides)
    assert run("replay", "--type", "completed", "--to", "hook").code == 0
    replayed = [json.loads(line) for line in run("deliveries", "--sink", "hook", "--json").lines]
    assert [row["run_id"] for row in replayed if row["replay_id"] is not None] == [first]


def test_what_a_paused_sink_is_owed_is_moved(
    emulator: RunningEmulator, daemon: Process, receiver: Receiver, run: Run
) -> None:
    run("sinks", "pause", "hook")
    daemon.wait_for("sink.paused", talk=True)
    run_id = emulator.start_run(GOOD)
    ids = told_to_the_end(daemon, run_id)
    refused = run("deliveries", "move", "console", "hook")
    assert refused.code == 2
    assert "console is in force, and may be sending" in refused.talk
    moved = run("deliveries", "move", "hook", "console")
    assert moved.code == 0
    assert f"{len(ids)} deliveries moved from hook to console" in moved.talk
    rows = [json.loads(line) for line in run("deliveries", "--sink", "hook", "--json").lines]
    assert {row["state"] for row in rows} == {"superseded"}  # the console was owed them anyway


def test_what_cannot_be_is_said_in_one_line(daemon: Process, run: Run) -> None:
    for line, said in {
        "replay": "which events? Give --run, --sink, --dead, --type, --event, --since or --until",
        "replay --sink nobody": '--sink: there is no sink "nobody"; there are console, hook',
        "replay --dead --to nobody": '--to: there is no sink "nobody"; there are console, hook',
        "replay --type faild": "did you mean failed?",
        "replay --since 1h --until 2h": "--since '1h' is not before --until '2h'",
        "replay --since yesterday": "--since 'yesterday': expected a time",
        "deliveries show 99999": "there is no delivery 99999",
        "deliveries show 99999999999999999999": "there is no delivery 99999999999999999999",
        "deliveries show all": "all",
        "deliveries --limit 99999999999999999999": "is too large",
        "deliveries --event nope": "--event 'nope': not on record",
        "deliveries --replay nope": "--replay 'nope': no such replay is on record",
        "replay --event nope": "--event 'nope': not on record",
        "replay --since 2999-01-01": "--since '2999-01-01': is in the future",
        "deliveries move hook": "TO",
        "deliveries move hook hook": "hook is owed them already",
        "deliveries move nobody hook": 'FROM: there is no sink "nobody"; there are console, hook',
    }.items():
        ended = run(*line.split())
        assert ended.code == 2, line
        assert said in ended.talk, line
        assert len(ended.talk.splitlines()) == 1, line
