"""`omics-poller render`, and formats through a daemon that really runs."""

import json
import signal
from pathlib import Path

import pytest

from poller.core.samples import sample_event
from poller.emulator import Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import CONFIGURATION, Run, Start
from tests.acceptance.test_cli_daemon import begun

GOOD = Life.completed(pending=0.2, starting=0.2, running=0.3, stopping=0.2)
SINKS = """
[[sinks]]
name = "lims"
type = "webhook"
url = "https://lims.example.org/hooks?key=planted-query"
secret = "whsec_cGxhbnRlZC1zZWNyZXQtcGxhbnRlZC1zZWNyZXQ="
headers = { Authorization = "Bearer planted-token" }
mode = "binary"
omit = ["name"]

[[sinks]]
name = "pager"
type = "webhook"
url = "https://pager.example.org/enqueue"
events = ["failed", "cancelled"]
format = "template"
template = '''
{"routing_key": "${PAGER_KEY}", "dedup_key": {{ data.run_uuid | tojson }},
 "summary": {{ data.tags.project | tojson }}}'''

[[sinks]]
name = "aws"
type = "sns"
topic_arn = "arn:aws:sns:us-east-1:123456789012:runs.fifo"
format = "eventbridge"
"""


@pytest.fixture
def configured(config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config.write_text(CONFIGURATION + SINKS)
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    monkeypatch.setenv("PAGER_KEY", "planted-key")
    return config


def test_it_shows_headers_and_body_and_no_secret(configured: Path, run: Run) -> None:
    ended = run("render", "lims")
    assert ended.code == 0
    assert ended.lines[0] == "POST https://lims.example.org/hooks?[hidden]"
    shown = dict(line.split(": ", 1) for line in ended.lines[1 : ended.lines.index("")])
    assert shown["Authorization"] == "[hidden]"
    assert shown["content-type"] == "application/json"
    assert shown["ce-type"] == "healthomics.run.failed"
    assert shown["webhook-signature"] == "v1,<made at each attempt>"
    body = json.loads(ended.lines[-1])
    assert (body["run_id"], body["name"], body["redacted"]) == ("1234567", None, ["name"])
    assert ended.talk == "a sample; --type shows others, --event one that is on record\n"
    pager = json.loads(run("render", "pager", "--json").data)
    assert json.loads(pager["body"]) == {
        "routing_key": "[hidden]",
        "dedup_key": sample_event("failed").data["run_uuid"],
        "summary": "example",
    }
    assert (pager["sink"], pager["event_type"], pager["to"]) == (
        *("pager", "healthomics.run.failed"),
        "POST https://pager.example.org/enqueue",
    )
    assert "planted" not in ended.data + run("render", "pager").data


def test_each_type_that_is_asked_for_is_shown_and_it_says_what_the_sink_does_not_take(
    configured: Path, run: Run
) -> None:
    shown = [json.loads(line) for line in run("render", "aws", "--type", "completed", "--type", "bl*", "--json").lines]
    assert [json.loads(one["body"])["detail-type"] for one in shown] == [
        "Run Status Change",
        "healthomics.poller.blind",
    ]
    assert shown[0]["fields"]["MessageGroupId"] == "1234567"
    ended = run("render", "pager", "--type", "completed")
    assert ended.code == 0
    assert ended.talk == "pager does not take this: events (failed, cancelled) do not take completed\n"
    assert run("render", "console").data.startswith("write to standard output\n\n{")


def test_an_event_from_a_file_is_shown_and_what_a_template_fails_with(
    configured: Path, run: Run, tmp_path: Path
) -> None:
    event = sample_event("failed", run_id="77", tags=None)
    (tmp_path / "event.json").write_text(event.to_json())
    ended = run("render", "pager", "--event", "event.json")
    assert (ended.code, ended.data) == (1, "")
    assert ended.talk == 'failed: would be a dead letter of pager: template: line 2: null has no "project"\n'
    ended = run("render", "pager", "--event", "event.json", "--json")
    assert json.loads(ended.data)["rejected"] == 'template: line 2: null has no "project"'
    assert json.loads(run("render", "lims", "--event", "event.json", "--json").data)["event_id"] == event.id
    (tmp_path / "event.json").write_text('{"type": "failed", "data": {"run_id": "1"}}')
    ended = run("render", "pager", "--event", "event.json")
    assert ended.code == 2
    assert "is no event: it has no id and no source and no subject and no time" in ended.talk


def test_a_template_of_a_daemon_rejects_with_its_reason_and_a_reload_reads_the_file_again(
    emulator: RunningEmulator, start: Start, config: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = '\n[[sinks]]\nname = "page"\ntype = "file"\npath = "page.txt"\nevents = ["completed"]\n'
    config.write_text(f'{CONFIGURATION}{page}format = "template"\ntemplate_file = "page.j2"\n')
    (tmp_path / "page.j2").write_text("{{ data.name }} {{ data.tags.project }}")
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(config))
    daemon = begun(start, config)
    assert any("config.doubtful" in line and "null has no" in line for line in daemon.talk)
    ours = emulator.start_run(GOOD, name="lab-1", tags={"project": "x"})
    bare = emulator.start_run(GOOD, name="lab-2")
    dead = daemon.wait_for("delivery.dead", talk=True)
    assert 'template_file: page.j2:1: there is no \\"project\\" here' in dead
    daemon.wait_until(lambda: sum("run.completed" in line for line in daemon.data) == 2)
    rows = [json.loads(line) for line in run("deliveries", "--dead", "--json").lines]
    assert [(row["run_id"], row["error"]) for row in rows] == [
        (bare, 'template_file: page.j2:1: there is no "project" here')
    ]

    (tmp_path / "page.j2").write_text("{{ data.nam }}")
    daemon.send(signal.SIGHUP)
    assert "page.j2:1: there is no" in daemon.wait_for("config.refused", talk=True)
    (tmp_path / "page.j2").write_text("again: {{ data.name }}")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("config.reloaded", talk=True)
    sent = json.loads(run("replay", "--dead", "--yes", "--json").data)
    assert sent["sent"]
    emulator.start_run(GOOD, name="lab-3")
    daemon.wait_until(lambda: sum("run.completed" in line for line in daemon.data) == 3)
    daemon.send(signal.SIGTERM)
    assert daemon.end() == 0
    assert set((tmp_path / "page.txt").read_text().splitlines()) == {"lab-1 x", "again: lab-2", "again: lab-3"}
    assert ours != bare
    event = next(json.loads(line) for line in daemon.data if "run.completed" in line)
    recorded = run("render", "page", "--event", event["id"])
    assert recorded.lines[-1] == f"again: {event['data']['name']}"
