"""Two accounts, one daemon: the commands beside it know which run is meant."""

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.emulator import Life
from poller.testing.emulator import RunningEmulator, running_emulator
from tests.acceptance.conftest import Process, Run, Start

ONE, TWO = "123456789012", "210987654321"
ENDLESS = Life.of("RUNNING")
FAST = ("--min-interval", "100ms")
CONFIGURATION = """\
[[aws]]
name = "lab"
region = "us-east-1"
endpoint_url = "{one}"

[[aws]]
region = "eu-west-1"
endpoint_url = "{two}"

[[watch]]
aws = "eu-west-1"
discover = true

[[watch]]
aws = "lab"
run_ids = ["4711"]

[polling]
min_interval = "100ms"
max_interval = "500ms"
vanish_deadline = "1s"
max_calls_per_second = 50

[http]
listen = "127.0.0.1:0"

[[sinks]]
name = "console"
type = "stdout"
"""


@pytest.fixture(scope="module")
def abroad() -> Iterator[RunningEmulator]:
    """Another account, in another region."""
    with running_emulator(account_id=TWO, region="eu-west-1", seed=7) as emulator:
        yield emulator


@pytest.fixture
def config(emulator: RunningEmulator, abroad: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")  # it would say of both that they are the first account
    path = tmp_path / "config.toml"
    path.write_text(CONFIGURATION.format(one=emulator.url, two=abroad.url))
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(path))
    return path


def told_of(process: Process, run_id: str) -> list[tuple[str, str]]:
    """Type and account of the events of a run that were printed, in order."""
    events = [json.loads(line) for line in process.data]
    return [
        (event["type"].rpartition(".")[2], event["data"]["account_id"])
        for event in events
        if event["subject"] == run_id
    ]


def test_runs_are_added_removed_shown_and_forgotten_in_the_scope_that_is_meant(
    emulator: RunningEmulator, abroad: RunningEmulator, config: Path, start: Start, run: Run
) -> None:
    here, there = emulator.start_run(ENDLESS), abroad.start_run(ENDLESS)
    daemon = start("run")
    facts = json.loads(daemon.wait_for("daemon.started", talk=True))
    assert facts["scopes"] == ["lab", "eu-west-1"]
    daemon.wait_until(lambda: told_of(daemon, there) == [("running", TWO)])

    ended = run("add", here)
    assert (ended.code, f"name it lab:{here} or eu-west-1:{here}" in ended.talk) == (2, True)
    assert run("add", f"lab:{here}").code == 0
    daemon.wait_until(lambda: told_of(daemon, here) == [("running", ONE)])
    with urllib.request.urlopen(f"{facts['http']}/readyz", timeout=5) as answer:  # noqa: S310  # ours
        scopes = json.load(answer)["scopes"]
    assert [(one["name"], one["account_id"], one["merged_into"]) for one in scopes] == [
        ("lab", ONE, None),
        ("eu-west-1", TWO, None),
    ]

    rows = {row["run_id"]: row for row in map(json.loads, run("runs", "--json").lines)}
    assert {run_id: (rows[run_id]["scope"], rows[run_id]["followed"]) for run_id in (here, there)} == {
        here: ("lab", True),
        there: ("eu-west-1", True),
    }
    listed = run("runs").data
    assert listed.startswith("Scope")
    assert "eu-west-1" in listed

    by_arn = f"arn:aws:omics:eu-west-1:{TWO}:run/{there}"
    shown = json.loads(run("show", by_arn, "--json").data)
    assert shown["run"]["scope"] == "eu-west-1"
    assert run("show", f"eu-west-1:{there}", "--json").data == run("show", by_arn, "--json").data
    assert f"run {there} is not on record in lab" in run("show", f"lab:{there}").talk
    assert "where no scope is" in run("show", f"arn:aws:omics:ap-south-1:{ONE}:run/{here}").talk
    assert f"run {here} is of account {ONE}" not in run("show", f"arn:aws:omics:us-east-1:{ONE}:run/{here}").talk
    wrong = run("show", f"arn:aws:omics:us-east-1:{TWO}:run/{here}")
    assert (wrong.code, f"is of account {TWO}, which no scope is" in wrong.talk) == (2, True)

    assert [json.loads(line)["subject"] for line in run("events", "--run", f"lab:{here}", "--json").lines] == [here]
    assert run("events", "--run", f"eu-west-1:{here}", "--json").lines == []
    assert run("events", "--run", here).code == 2
    daemon.wait_until(lambda: bool(run("deliveries", "--run", f"lab:{here}", "--json").lines))
    assert run("deliveries", "--run", f"eu-west-1:{here}", "--json").lines == []

    named = run("remove", "lab:4711")
    assert (named.code, "config.toml:16 names run 4711" in named.talk) == (2, True)
    assert run("remove", "eu-west-1:4711").code == 0, "of the scope that discovers it is a mute"
    assert f"omics-poller add eu-west-1:{there}" in run("remove", by_arn).talk
    assert run("forget", f"eu-west-1:{there}", "--yes").code == 0
    still = run("forget", f"lab:{here}", "--yes")
    assert (still.code, f"omics-poller remove lab:{here}" in still.talk) == (2, True)
    assert run("remove", f"lab:{here}").code == 0
    assert run("forget", f"lab:{here}", "--yes").code == 0
    daemon.send(signal.SIGTERM)
    assert daemon.end() == 0
    lines = [line for line in map(json.loads, daemon.talk) if line["event"] in ("run.transition", "account.pinned")]
    assert {line["scope"] for line in lines} == {"lab", "eu-west-1"}, "each line says which scope it is about"


def test_check_asks_each_scope_and_says_which_are_one(
    emulator: RunningEmulator, abroad: RunningEmulator, config: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run("check", "--probe", "--json")
    found = {one["what"]: one for one in map(json.loads, ended.lines)}
    assert found["GetRun of lab"]["verdict"] == found["ListRuns of eu-west-1"]["verdict"] == "ok"
    assert not [what for what in found if what.startswith("scope ")]
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", emulator.url)
    config.write_text(config.read_text().replace('region = "eu-west-1"', 'name = "eu-west-1"\nregion = "us-east-1"'))
    found = {one["what"]: one for one in map(json.loads, run("check", "--probe", "--json").lines)}
    assert found["scope eu-west-1"] == {
        "what": "scope eu-west-1",
        "verdict": "warning",
        "detail": f"is account {ONE}, us-east-1, as lab is: the daemon follows both as lab",
    }


@pytest.mark.parametrize("command", ["run", "check", "add lab:1"])
def test_options_that_stand_for_one_table_are_refused_for_several(run: Run, config: Path, command: str) -> None:
    ended = run(*command.split(), "--region", "us-east-1")
    assert (ended.code, ended.talk) == (
        2,
        "omics-poller: --region us-east-1: for which of the 2 [[aws]] tables? Write it into the file\n",
    )


def test_watch_follows_runs_in_several_regions(emulator: RunningEmulator, run: Run) -> None:
    """One emulator stands for both regions: what is shown is that each run is asked for, and told, in its own."""
    runs = [emulator.start_run(Life.of("RUNNING", "COMPLETED")) for _ in range(2)]
    arns = [
        f"arn:aws:omics:{region}:{ONE}:run/{run_id}"
        for region, run_id in zip(("us-east-1", "eu-west-1"), runs, strict=True)
    ]
    ended = run("watch", *arns, *FAST, "--json")
    assert (ended.code, ended.talk) == (0, "2 COMPLETED\n")
    told = {(event["subject"], event["data"]["region"]) for event in map(json.loads, ended.lines)}
    assert told == set(zip(runs, ("us-east-1", "eu-west-1"), strict=True))
