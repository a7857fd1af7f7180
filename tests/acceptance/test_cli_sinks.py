"""`omics-poller sinks` beside a daemon: what there is, a pause and its end, and what cannot be."""

import json
from pathlib import Path

import pytest

from poller.emulator import Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import Run, Start
from tests.acceptance.test_cli_daemon import discovering, told_of

GOOD = Life.completed(pending=0.2, starting=0.2, running=0.3, stopping=0.2)


@pytest.fixture(autouse=True)
def known_by_all(emulator: RunningEmulator, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))


def test_a_sink_is_paused_and_goes_on_beside_a_daemon(
    emulator: RunningEmulator, start: Start, run: Run, config: Path
) -> None:
    daemon = discovering(start, config, emulator)
    paused = run("sinks", "pause", "console", "--for", "2h")
    assert (paused.code, paused.data) == (0, "")
    assert "console is paused until 20" in paused.talk
    daemon.wait_for("sink.paused", talk=True)
    run_id = emulator.start_run(GOOD)
    daemon.wait_until(lambda: len(run("deliveries", "--pending", "--run", run_id, "--json").lines) >= 3)
    assert told_of(daemon, run_id) == []
    (row,) = [json.loads(line) for line in run("sinks", "--json").lines]
    assert row["name"] == "console"
    assert row["owed"] >= 3
    assert row["paused_until"] is not None
    assert "paused until" in run("sinks").data
    assert run("sinks", "resume", "console").talk.strip() == "console goes on"
    daemon.wait_until(lambda: "completed" in told_of(daemon, run_id))
    assert "is not paused; what it is owed is tried at once" in run("sinks", "resume", "console").talk


def test_what_cannot_be_is_said_in_one_line(emulator: RunningEmulator, start: Start, run: Run, config: Path) -> None:
    discovering(start, config, emulator)
    for line, said in {
        "pause nobody": 'there is no sink "nobody"; there are console',
        "resume consoel": 'there is no sink "consoel"; did you mean "console"?',
        "pause console --for soon": "--for 'soon'",
        "pause console --for 0s": "must be longer than 0",
        "pause": "SINK",
        "resum console": "unexpected resum, console; did you mean `omics-poller sinks resume`?",
    }.items():
        ended = run("sinks", *line.split())
        assert ended.code == 2, line
        assert said in ended.talk, line
        assert len(ended.talk.splitlines()) == 1, line
