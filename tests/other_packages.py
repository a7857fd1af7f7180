"""Packages of others, as if they were installed: the example, and the one that docs/writing-a-sink.md builds."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples" / "poller-sink-opensearch"
PAGE: Final = ROOT / "docs" / "writing-a-sink.md"
_FILE: Final = re.compile(r"^<!-- file: (?P<name>\S+) -->\n```[a-z]+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def documented_files() -> Mapping[str, str]:
    """The files that the page writes, by name."""
    return {found["name"]: found["text"] for found in _FILE.finditer(PAGE.read_text())}


def install(pyproject: Path, into: Path) -> None:
    """Write what an installer would of a project that has this `pyproject.toml`: its name, and its entry points.

    Its modules stay where they are; whoever imports them has their directory on the path, and `into`, too.
    """
    project = tomllib.loads(pyproject.read_text())["project"]
    metadata = into / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    named = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(named)
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""])
        for group, points in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))
