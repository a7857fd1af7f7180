"""Sinks of other packages at the command line: taken where they are installed, refused clearly where they are not."""

import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from poller.core.events import Event
from poller.core.samples import SAMPLE_TYPES
from tests.acceptance.conftest import Run, answering
from tests.other_packages import EXAMPLE, documented_files, install

(TABLE,) = re.findall(r"^```toml\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SEARCH = f"""\
[aws]
region = "us-east-1"

[watch]
discover = true

{TABLE}"""
"""A configuration with the table that the package's README shows."""
Install = Callable[[], None]


@pytest.fixture
def install_example(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Install:
    def done() -> None:
        installed = tmp_path_factory.mktemp("installed")
        install(EXAMPLE / "pyproject.toml", installed)
        monkeypatch.syspath_prepend(str(installed))
        monkeypatch.syspath_prepend(str(EXAMPLE / "src"))

    return done


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(SEARCH)
    monkeypatch.setenv("SEARCH_PASSWORD", "planted-5f0c9a77")
    monkeypatch.setenv("OMICS_POLLER_CONFIG", str(path))
    return path


def test_without_its_package_a_type_is_refused_with_its_line_and_what_would_be_right(config: Path, run: Run) -> None:
    for command in (["check"], ["render", "search"]):
        ended = run(*command)
        assert ended.code == 2
        assert 'config.toml:9 [[sinks]] "search" type: no such type of sink "opensearch"; there are ' in ended.talk
        assert "webhook; a package that adds one must be installed here" in ended.talk
        assert "planted" not in ended.talk


def test_with_it_the_configuration_is_right_and_its_mistakes_have_lines(
    config: Path, run: Run, install_example: Install
) -> None:
    install_example()
    ended = run("check")
    assert ended.code == 0, ended.talk
    for key, line, said in (
        ("password", 'password = "${SEARCH_PASSWORD}"', "user: needs a password; set that too, or take this out"),
        ("url", 'url = "https://search.example.org:9200"', "url: is missing"),
    ):
        config.write_text(SEARCH.replace(line, ""))
        ended = run("check")
        assert ended.code == 2, key
        assert said in ended.talk
    config.write_text(SEARCH.replace("user =", "usr ="))
    assert 'config.toml:11 [[sinks]] "search" usr: no such key; did you mean user?' in run("check").talk


def test_render_and_schema_show_it(config: Path, run: Run, install_example: Install) -> None:
    install_example()
    ended = run("render", "search")
    assert ended.code == 0, ended.talk
    assert ended.lines[:3] == [
        "POST https://search.example.org:9200/healthomics-events/_bulk",
        "Content-Type: application/x-ndjson",
        "Authorization: [hidden]",
    ]
    action, event = (json.loads(line) for line in ended.lines[4:6])
    assert action == {"create": {"_id": event["id"]}}
    schema = json.loads(run("schema", "config").data)
    described = schema["$defs"]["sink-opensearch"]["properties"]["index"]
    assert described["description"] == "Index that the events are kept in, or an alias of it."
    assert described["default"] == "healthomics-events"


class Archive(ThreadingHTTPServer):
    """Keeps what is PUT, by its path."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        super().__init__(("127.0.0.1", 0), _Put)


class _Put(BaseHTTPRequestHandler):
    server: Archive

    def do_PUT(self) -> None:
        assert self.headers["Authorization"] == "Bearer planted-token"
        self.server.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: what is on stderr is the command's."""


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive() as server, answering(server):
        yield server


def test_the_commands_of_the_page_take_its_configuration(
    tmp_path: Path, run: Run, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in documented_files().items():
        (tmp_path / name).write_text(text)
    install(tmp_path / "pyproject.toml", tmp_path / "installed")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    monkeypatch.setenv("ARCHIVE_TOKEN", "planted-token")
    assert run("check", "-c", "config.toml").code == 0
    ended = run("render", "archive", "-c", "config.toml")
    assert ended.code == 0
    assert ended.lines[0] == "as the sink does it: this is the event that it is given"
    assert json.loads(ended.lines[2])["type"] == "healthomics.run.failed"
    path = tmp_path / "config.toml"
    path.write_text(path.read_text().replace("https://dav.example.org", f"http://127.0.0.1:{archive.server_port}"))
    assert run("send-test", "archive", "-c", "config.toml").code == 0
    kept = {path: Event(body) for path, body in archive.kept.items()}
    assert kept.keys() == {f"/runs/{event.id}.json" for event in kept.values()}
    assert {event.type for event in kept.values()} == {*SAMPLE_TYPES} - {"healthomics.poller.heartbeat"}
