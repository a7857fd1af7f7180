"""`omics-poller listen` as somebody who writes a receiver uses it: beside `send-test`, and beside any other sender."""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from poller.core.samples import sample_event
from tests.acceptance.conftest import COMMAND, PATIENCE, Process, Run, Start

OLD = "whsec_" + base64.b64encode(b"the-old-secret-of-ours").decode()
NEW = "whsec_" + base64.b64encode(b"the-new-secret-of-ours").decode()
VARIABLE = "OMICS_POLLER_WEBHOOK_SECRET"


def address(process: Process) -> str:
    """Where it listens."""
    return process.wait_for("listening at", talk=True).split()[2].rstrip(",")


def post(url: str, body: bytes, **headers: str) -> tuple[int, str]:
    """What it answers."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        connection.request("POST", "/hooks", body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def signed(body: bytes, identity: str, secret: str, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign(identity, at, body.decode())
    return {
        "webhook_id": identity,
        "webhook_timestamp": str(int(at.timestamp())),
        "webhook_signature": signature,
        "content_type": "application/cloudevents+json",
    }


def sink(tmp_path: Path, url: str, secret: str) -> str:
    """A configuration with one sink that sends there, with the secrets of the environment."""
    path = tmp_path / "config.toml"
    path.write_text(
        f'[[sinks]]\nname = "lims"\ntype = "webhook"\nurl = "{url}hooks"\n'
        f'events = ["failed", "completed"]\nsecret = {secret}\n'
    )
    return str(path)


def test_what_a_sink_sends_is_verified_while_its_secret_changes(
    start: Start, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD", OLD)
    monkeypatch.setenv("NEW", NEW)
    (tmp_path / "secret").write_text(f"# of the lims\n{OLD}\n")
    listening = start("listen", "--port", "0", "--secret-file", "secret")
    url = address(listening)
    for secret in ('"${OLD}"', '["${NEW}", "${OLD}"]'):
        sent = run("send-test", "lims", "-c", sink(tmp_path, url, secret))
        assert sent.code == 0, sent
    sent = run("send-test", "lims", "-c", sink(tmp_path, url, '"${NEW}"'))
    assert sent.code == 1
    assert "answered 401: the signature does not fit the secret" in sent.data
    listening.send(signal.SIGINT)
    assert listening.end() == 0
    assert [line.split()[1] for line in listening.data] == ["accepted"] * 4 + ["refused"] * 2
    assert "failed            1234567  sample-42  sequence 4" in "\n".join(listening.data)
    assert listening.talk[1:] == [
        "signatures are checked with 1 secret",
        "6 requests: 4 accepted, 2 refused",
        "refused: 2 no signature fits",
        "accepted: 2 completed, 2 failed",
    ]
    assert OLD not in "".join(listening.data + listening.talk)


def test_each_request_is_a_json_document_of_its_own(start: Start) -> None:
    listening = start("listen", "--port", "0", "--json", "--count", "2", **{VARIABLE: f"{NEW} {OLD}"})
    url = address(listening)
    event = sample_event("failed")
    assert post(url, event.body, **signed(event.body, event.id, OLD)) == (204, "")
    assert post(url, event.body, **signed(event.body, event.id, NEW), replay_id="r-1") == (204, "")
    old = datetime.fromtimestamp(0, UTC)
    status, said = post(url, event.body, **signed(event.body, "other", NEW, at=old))
    assert (status, "webhook-timestamp is" in said) == (401, True)
    raw = b'{"detail-type": "Run Status Change"}'
    post(url, raw, **signed(raw, "raw", NEW) | {"content_type": "application/json"})
    assert listening.end() == 0
    first, again, late, last = map(json.loads, listening.data)
    assert (first["verdict"], first["secret"], first["mode"], first["event"]) == (
        "accepted", 2, "structured", event.attributes,
    )  # fmt: skip
    assert (again["verdict"], again["attempt"], again["replay_id"], again["secret"]) == ("repeated", 2, "r-1", 1)
    assert (late["verdict"], late["status"], late["attempt"]) == ("refused", 401, 1)
    assert (last["mode"], last["event"], last["body"]) == ("raw", None, json.loads(raw))


def test_the_content_is_shown_to_those_who_ask(start: Start) -> None:
    listening = start("listen", "--port", "0", "--body", "--count", "1")
    assert (
        post(address(listening), b"one\ntwo\x1b[31m", ce_specversion="1.0", ce_id="7", ce_source="s", ce_type="t.u")[0]
        == 204
    )
    assert listening.end() == 0
    assert "t.u" in listening.data[0]
    assert "(binary mode)" in listening.data[0]
    assert listening.data[1:] == ["    one", "    two�[31m"]
    assert (
        "no secret: signatures are not checked; give --secret-file, or set OMICS_POLLER_WEBHOOK_SECRET"
        in listening.talk
    )


def test_it_plays_a_receiver_that_recovers(start: Start) -> None:
    listening = start("listen", "--port", "0", "--fail-first", "2", "--answer", "200", "--count", "1", "--delay", "1ms")
    url = address(listening)
    assert [post(url, b"{}", webhook_id="1")[0] for _ in range(3)] == [503, 503, 200]
    assert listening.end() == 0
    assert listening.talk[-2:] == ["3 requests: 1 accepted, 2 failed", "accepted: 1 raw"]
    assert "(attempt 3)" in listening.data[2]


def test_nothing_came_and_sigterm(start: Start) -> None:
    listening = start("listen", "--port", "0")
    address(listening)
    listening.send(signal.SIGTERM)
    assert listening.end() == 0
    assert listening.talk[-1] == "nothing came"


def test_a_reader_that_leaves_ends_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        [COMMAND, "listen", "--port", "0"], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        os.close(writing)
        assert process.stderr is not None
        url = process.stderr.readline().split()[2].rstrip(",")
        os.close(reading)
        with suppress(OSError):  # it may be gone before it answers
            post(url, b"{}")
        talk = process.stderr.read()
    assert process.returncode == 141
    assert "Traceback" not in talk


WRONG: list[tuple[str, Callable[[Path], object], str]] = [
    ("listen --secret-file none", lambda _: None, "--secret-file none: cannot be read: No such file"),
    ("listen --secret-file .", lambda _: None, "--secret-file .: cannot be read: Is a directory"),
    (
        "listen --secret-file empty",
        lambda d: (d / "empty").write_text("# no\n\n"),
        "--secret-file empty: holds no secret",
    ),
    ("listen --secret-file bin", lambda d: (d / "bin").write_bytes(b"\xff"), "--secret-file bin: is no text"),
    ("listen --secret-file big", lambda d: (d / "big").write_text("x" * 70_000), "is larger than 64 KiB"),
    (
        "listen --secret-file bad",
        lambda d: (d / "bad").write_text(f"{OLD}\nplanted-5f0c\n"),
        "--secret-file bad, line 2: a signing secret begins with whsec_",
    ),
]


@pytest.mark.parametrize(("line", "prepare", "said"), WRONG, ids=[line for line, _, _ in WRONG])
def test_secrets_that_cannot_be_used(
    run: Run, tmp_path: Path, line: str, prepare: Callable[[Path], object], said: str
) -> None:
    prepare(tmp_path)
    ended = run(*line.split())
    assert (ended.code, ended.data) == (2, "")
    assert said in ended.talk
    assert ended.talk.count("\n") == 1
    assert "5f0c" not in ended.talk


def test_a_wrong_secret_of_the_environment_is_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "planted-5f0c")
    ended = run("listen", "--port", "0")
    assert (ended.code, ended.data) == (2, "")
    assert ended.talk == f"omics-poller: {VARIABLE}: a signing secret begins with whsec_, and this one does not\n"


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(run: Run) -> None:
    ended = run("listen", "--secret", OLD)
    assert ended.code == 2
    assert "--secret-file" in ended.talk
    assert OLD not in ended.talk


def test_a_port_that_is_taken_is_said(start: Start, run: Run) -> None:
    port = address(start("listen", "--port", "0")).rstrip("/").rpartition(":")[2]
    ended = run("listen", "--port", port)
    assert ended.code == 2
    assert f"127.0.0.1:{port} cannot be listened on" in ended.talk
    assert os.sep not in ended.talk
