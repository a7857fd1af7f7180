"""Tables of a scenario file, key by key: what is wrong is told with its place, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

T = TypeVar("T")


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message names where it stands and what to do."""


def seconds_of(value: object, where: str, *, negative: bool = False) -> float:
    """Seconds from a number or from text with a unit: `30`, `"1.5s"`, `"5m"`, `"2h"`, `"200ms"`."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        unit = next((unit for unit in UNITS if value.endswith(unit)), "")
        try:
            seconds = float(value.removesuffix(unit)) * UNITS.get(unit, 1.0)
        except ValueError:
            seconds = None
    if seconds is None or (seconds < 0 and not negative) or abs(seconds) >= 1e10 or seconds != seconds:
        raise ScenarioError(f'{where}: {value!r} is not a duration; write seconds, or "200ms", "30s", "5m", "2h"')
    return seconds


def made(make: Callable[[], T], where: str) -> T:
    """What `make` makes; what it refuses is told with its place."""
    try:
        return make()
    except ScenarioError:
        raise
    except ValueError as error:
        raise ScenarioError(f"{where}: {error}") from error


def known(table: Mapping[str, Any], keys: set[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise ScenarioError(f"{where}: {key}: no such key{nearest(key, keys)}")


def nearest(word: str, words: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(words), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(words))}"


def typed(value: object, kind: type[T], where: str) -> T:
    if not isinstance(value, kind):
        written = {str: "text", dict: "a table", list: "a list", bool: "true or false"}[kind]
        raise ScenarioError(f"{where}: {value!r} is not {written}")
    return value


def number_of(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0 or value != value:
        raise ScenarioError(f"{where}: {value!r} is not a number from 0 on")
    return float(value)


def count(value: object, where: str, *, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ScenarioError(f"{where}: {value!r} is not a whole number {'above 0' if least else 'from 0 on'}")
    return value


def table_in(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    return typed(table.get(key, {}), dict, f"{where}: {key}")


def tables_in(table: Mapping[str, Any], key: str, where: str) -> list[object]:
    return typed(table.get(key, []), list, f"{where}: {key}")
