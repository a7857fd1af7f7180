"""The documentation speaks of the code as it is: links, files, tests and examples exist, and the examples run."""

import ast
import json
import re
import textwrap
from functools import cache
from pathlib import Path

import pytest

from poller.core.diagnosis_data import DiagnosisData, FailedTaskData, LogExcerptData
from poller.core.event_data import (
    BatchData,
    CohortData,
    NotCompleted,
    OverdueData,
    PendingReason,
    PollerData,
    RunData,
)
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.testing import running_emulator

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)\s]*)\)")
FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)`")
PROOF = re.compile(r"`((?:poller/testing|acceptance|conformance|unit)/[a-z_0-9/]+\.py)(?:::([a-z_0-9]+))?`")


def read(name: str) -> str:
    return (ROOT / name).read_text()


def prose(text: str) -> str:
    """A page without its examples."""
    return FENCE.sub("", text)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", prose(page.read_text()), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found)


def blocks(text: str, language: str) -> list[str]:
    return [found["text"] for found in FENCE.finditer(text) if found["language"] == language]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in LINK.findall(prose(page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: there is no {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name}: {link} has no such heading"


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_python_compile(name: str) -> None:
    examples = blocks(read(name), "python")
    assert len(examples) == read(name).count("```python"), "each is found"
    for text in examples:
        tree = compile(textwrap.dedent(text), name, "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert tree.body, f"{name}: an example without a statement"


@pytest.mark.parametrize("name", NAMES)
def test_examples_in_json_are_json(name: str) -> None:
    examples = blocks(read(name), "json")
    assert len(examples) == read(name).count("```json"), "each is found"
    for text in examples:
        for document in [text] if text.startswith("{\n") else re.split(r"\n(?=\{)", text):
            assert isinstance(json.loads(document), dict), f"{name}: {document} is no object"


def test_architecture_names_every_module_and_only_what_there_is() -> None:
    named = set(MODULE.findall(read("docs/architecture.md")))
    package = ROOT / "poller"
    modules = {str(path.relative_to(package)) for path in package.rglob("*.py") if path.name != "__init__.py"}
    modules = {name for name in modules if not name.startswith("store/migrations/")}
    assert named >= modules, f"not in docs/architecture.md: {sorted(modules - named)}"
    strangers = {name for name in named - modules if not (ROOT / name).is_file()}
    assert not strangers, f"docs/architecture.md names what is not there: {sorted(strangers)}"


def test_architecture_names_functions_that_exist() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "poller").rglob("*.py"))
    for name in re.findall(r"`(?:[A-Z]\w+\.)?(\w+)\([a-z]*\)`", read("docs/architecture.md")):
        assert re.search(rf"def {name}\b", source), f"docs/architecture.md names {name}(), which is nowhere"


def test_every_guarantee_names_tests_that_exist() -> None:
    proofs = PROOF.findall(read("docs/guarantees.md"))
    assert len(proofs) > 40
    for path, test in proofs:
        file = ROOT / path if path.startswith("poller/") else ROOT / "tests" / path
        assert file.is_file(), f"docs/guarantees.md: there is no {path}"
        assert not test or f"def {test}(" in file.read_text(), f"docs/guarantees.md: {path} has no {test}"


def test_the_events_page_shows_a_true_event() -> None:
    page = read("docs/events.md")
    marked = re.search(r"<!-- sample: (\w+) -->\n```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert marked is not None
    assert marked[2].strip() == json.dumps(sample_event(marked[1]).attributes, indent=2, ensure_ascii=False), (
        "docs/events.md shows another event than the code makes: put what is expected here into it"
    )


def test_the_events_page_has_every_type_and_every_field() -> None:
    page = prose(read("docs/events.md"))
    for kind in SAMPLE_TYPES:
        assert f"| `{kind}` |" in page, f"docs/events.md does not explain {kind}"
    named = {name for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    of_a_diagnosis = (DiagnosisData, FailedTaskData, LogExcerptData)
    of_a_cohort = (CohortData, NotCompleted)
    models = (RunData, OverdueData, PendingReason, *of_a_diagnosis, BatchData, *of_a_cohort, PollerData)
    for field in (*(name for model in models for name in model.model_fields), *sample_event().attributes):
        assert field in named or field == "data", f"docs/events.md does not explain {field}"


def test_the_changelog_has_a_place_for_what_is_next() -> None:
    assert re.search(r"^## \[Unreleased\]", read("CHANGELOG.md"), re.MULTILINE)


def test_the_licence_is_whole() -> None:
    text = read("LICENSE")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_library_example_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is printed, against the emulator: it waits for run 1234567 and says how it ended."""
    examples = [text for text in blocks(read("README.md"), "python") if "asyncio.run(" in text]
    if not examples:
        pytest.skip("the README has no whole program")
    with running_emulator() as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        for example in examples:
            from poller.emulator import Life

            emulator.start_run(Life.completed(0.1, 0.1, 0.1, 0.1), run_id="1234567")
            exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own README
            emulator.delete_run("1234567")
    assert "COMPLETED" in capsys.readouterr().out
