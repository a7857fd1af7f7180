"""What those who write sinks copy is true: the example package passes its tests, and what the page builds does too."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from poller.core.values import SinkSettings
from poller.testing.sinks import SinkConformance
from tests.other_packages import EXAMPLE, PAGE, ROOT, documented_files, install

SUITE = [name for name in vars(SinkConformance) if name.startswith("test_")]


def run_tests(project: Path, sources: Path, installed: Path) -> dict[str, str]:
    """Run the tests of a project as its author does, in its directory, and with what it is installed with.

    Gives the outcome of each by its name.
    """
    install(project / "pyproject.toml", installed)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "AWS_"))}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no"],
        cwd=project,
        env=environment | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, installed, sources)))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return dict(re.findall(r"::(test_\w+)\S* (PASSED|SKIPPED)", ended.stdout))


@pytest.mark.service
def test_the_example_package_passes_its_own_tests(tmp_path: Path) -> None:
    outcomes = run_tests(EXAMPLE, EXAMPLE / "src", tmp_path)
    assert outcomes.keys() > set(SUITE)
    skipped = {name for name, outcome in outcomes.items() if outcome == "SKIPPED"}
    assert skipped == {
        "test_closing_is_possible_at_any_time_and_twice",
        "test_a_sink_that_has_sent_nothing_can_be_closed",
    }, "it has all that a sink can have, but nothing to close"


@pytest.mark.service
def test_what_the_page_builds_passes_the_tests_of_the_page(tmp_path: Path) -> None:
    for name, text in documented_files().items():
        (tmp_path / name).write_text(text)
    assert run_tests(tmp_path, tmp_path, tmp_path / "installed").keys() == set(SUITE)


def test_the_page_s_sink_is_as_short_as_it_is_said_to_be() -> None:
    assert len(documented_files()["poller_sink_put.py"].splitlines()) < 40


def test_the_page_explains_each_test_of_the_suite_and_no_other() -> None:
    explained = re.findall(r"^\| `(\w+)` \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    assert [f"test_{name}" for name in explained] == [
        name for name in vars(SinkConformance) if name.startswith("test_")
    ]


def test_each_block_of_the_page_is_a_file_that_is_tested_or_commands_that_there_are() -> None:
    page = PAGE.read_text()
    commands = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert page.count("```") == 2 * (len(documented_files()) + len(commands))
    ours = {line.split()[1] for text in commands for line in text.splitlines() if line.startswith("omics-poller ")}
    assert ours == {"check", "render", "send-test"}, "tests/acceptance/test_cli_other_packages.py runs these"


def test_the_example_s_readme_explains_each_of_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    settings = importlib.import_module("poller_sink_opensearch.sink").OpenSearchSettings
    rows = "".join(re.findall(r"^\| `.*$", (EXAMPLE / "README.md").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) >= settings.model_fields.keys() - SinkSettings.model_fields.keys()


@pytest.mark.parametrize("pyproject", ["example", "page"])
def test_both_packages_say_what_they_need(pyproject: str) -> None:
    """What the tests of each import is in its extra, and what it imports itself among its dependencies."""
    text = (EXAMPLE / "pyproject.toml").read_text() if pyproject == "example" else documented_files()["pyproject.toml"]
    project = tomllib.loads(text)["project"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["test"] == [f"{ours['name']}[testing]"]
    assert project["requires-python"] == ours["requires-python"]
    needed = {re.split(r"[><=\[]", one)[0] for one in project["dependencies"]}
    source = "\n".join(path.read_text() for path in (EXAMPLE / "src").rglob("*.py"))
    source = source if pyproject == "example" else documented_files()["poller_sink_put.py"]
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)) - set(sys.stdlib_module_names)
    assert {name.replace("healthomics-", "") for name in needed} == imported
