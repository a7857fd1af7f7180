"""The core is pure: what it imports, and what importing it brings in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import poller.core

MODULES = sorted(Path(poller.core.__path__[0]).glob("*.py"))
ALLOWED = {
    "ast", "collections", "dataclasses", "datetime", "enum", "fnmatch", "functools", "heapq", "itertools", "json",
    "math", "operator", "poller", "pydantic", "re", "statistics", "string", "types", "typing", "uuid",
}  # fmt: skip
"""Nothing here reads a clock, draws a number, waits, logs or touches the world."""
CHANCE_AND_CLOCKS = {"now", "utcnow", "today", "uuid1", "uuid4"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_core_imports_only_what_is_pure(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "no relative imports"
            assert node.module.split(".")[0] in ALLOWED
            assert not node.module.startswith("poller") or node.module.startswith("poller.core")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CHANCE_AND_CLOCKS, f"line {node.lineno}"


def test_importing_the_core_brings_in_nothing_that_acts() -> None:
    """pydantic itself imports `random` and `tempfile`; beyond what it brings there is nothing."""
    names = ", ".join(f"poller.core.{path.stem}" for path in MODULES if path.stem != "__init__")
    script = f"""
import sys, fnmatch, json, uuid, pydantic, pydantic.json_schema
class Model(pydantic.BaseModel): secret: pydantic.SecretStr
before = set(sys.modules)
import {names}
print(*sorted({{name.split(".")[0] for name in set(sys.modules) - before}} - {{"poller"}}))
acts = ["asyncio", "anyio", "structlog", "logging", "sqlalchemy", "aiohttp", "botocore", "aiobotocore", "rich"]
print(*[name for name in acts if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    brought, acting = done.stdout.split("\n")[:2]
    assert set(brought.split()) & {"random", "time", "socket", "threading", "secrets", "tempfile"} == set()
    assert acting == ""
