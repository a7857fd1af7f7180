"""What is wrong at a place of the configuration, as a sentence: what is expected there, and where a key belongs."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

from poller.core.matching import Match
from poller.core.values import SinkSettings
from poller.settings.explain import explain, nearest, quoted
from poller.settings.keys import Keys, item_at, model_in, overlap
from poller.settings.lines import KeyPath
from poller.settings.matches import meant_by
from poller.settings.model import LISTED, MANY, Settings
from poller.settings.sinks import sink_model

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    table: tuple(model.model_fields) if (model := model_in(described.annotation)) else ()
    for table, described in Settings.model_fields.items()
    if table != "sinks"
} | {"sinks": tuple(SinkSettings.model_fields)}


class Sentences:
    """The sentences of one reading.

    Args: `written` is the data before references were replaced; `from_elsewhere` are the values that were put in, by
    their places: they are never shown.
    """

    def __init__(self, written: Mapping[str, Any], keys: Keys, from_elsewhere: Mapping[KeyPath, list[str]]) -> None:
        self.written = written
        self.keys = keys
        self.data = keys.data
        self.from_elsewhere = from_elsewhere

    def of(self, error: ErrorDetails, path: KeyPath) -> str:
        """What is wrong at `path`, by what pydantic found there."""
        kind, context = error["type"], error.get("ctx") or {}
        if kind == "extra_forbidden":
            return self.unknown_key(path)
        if path and path[-1] == "type" and kind == "sink_type":
            near = nearest(str(error["input"]), str(context["expected"]).split(", "))
            shown = self.shown(path, error["input"])
            return f"no such type of sink{shown}; " + (
                f'did you mean "{near}"?'
                if near and shown
                else f"there are {context['expected']}; a package that adds one must be installed here"
            )
        if (shape := self.wrong_shape(path, kind)) is not None:
            return shape
        described = self.keys.field_at(path)
        sentence = explain(kind, context, error["msg"], described.description if described else None)
        if kind == "missing":
            return sentence
        shown = self.shown(path, error["input"])
        if kind == "string_pattern_mismatch":
            return f"{shown} {sentence}".strip()
        said_already = isinstance(error["input"], str) and shown.strip() in sentence
        return sentence + (f", and not{shown}" if shown and not said_already else "")

    def wrong_shape(self, path: KeyPath, kind: str) -> str | None:
        """What to write where a whole table is not one: `sinks = 5`, `[sinks]`, `[[polling]]`."""
        table = path[0] if path else None
        written = self.data.get(str(table))
        if len(path) == 1 and table in MANY:
            if table == "sinks" and isinstance(written, Mapping):
                return "a sink is written [[sinks]], with two brackets, and its name and type inside"
            brackets = f"[[{table}]]" if table in LISTED else f"[{table}]"
            return f"expected a table: write {brackets} on a line of its own, and its keys below"
        if len(path) == 1 and table in Settings.model_fields:
            if isinstance(written, list):
                return f"is written once: [{table}], with one bracket"
            return f"expected a table: write [{table}] on a line of its own, and its keys below"
        if len(path) == 2 and table in MANY and isinstance(path[1], int) and kind in ("model_type", "dict_type"):
            return f"expected a table: write [[{table}]] on a line of its own, and its keys below"
        return None

    def unknown_key(self, path: KeyPath) -> str:
        """What was meant by a key that nobody knows, as far as one can tell."""
        word = str(path[-1])
        if len(path) == 1:
            homes = _homes(word)
            if homes and not isinstance(self.data.get(word), Mapping | list):
                return f"stands before the first table; it belongs in {homes}"
            near = nearest(word, Settings.model_fields)
            double = near in LISTED
            known = ", ".join(f"[{name}]" for name in Settings.model_fields)
            return "no such table; " + (
                f"did you mean {'[[' if double else '['}{near}{']]' if double else ']'}?"
                if near
                else f"there are {known}"
            )
        model = self.keys.model_at(path[:-1])
        if model is Match:
            meant = meant_by(word)
            return (
                f"no such key; did you mean {meant}?"
                if meant
                else f"no such key; there are {', '.join(Match.model_fields)}"
            )
        known_here = [name for name in model.model_fields] if model else []
        if near := nearest(word, known_here, cutoff=0.8):
            return f"no such key; did you mean {near}?"
        if homes := _homes(word, but=str(path[0])):
            return f"no such key; it belongs in {homes}"
        if len(path) == 3 and path[0] == "sinks" and (types := self.types_with(word, path)):
            return f"no such key; sinks of type {types} have it"
        if near := nearest(word, known_here):
            return f"no such key; did you mean {near}?"
        if near_home := nearest(word, [key for keys in _KEYS.values() for key in keys], cutoff=0.8):
            return f"no such key; did you mean {near_home} in {_homes(near_home)}?"
        return "no such key; there are " + ", ".join(known_here) if known_here else "no such key"

    def types_with(self, word: str, path: KeyPath) -> str:
        """The types of sinks that have a key of this name, but for the one that `path` is in."""
        found = []
        for kind in self.keys.catalogue.sink_types():
            try:
                model = sink_model(kind, self.keys.catalogue)
            except (LookupError, ImportError):
                continue
            if word in model.model_fields and model is not self.keys.model_at(path[:-1]):
                found.append(kind)
        return " and ".join(found)

    def where(self, path: KeyPath) -> str:
        """`[polling] min_interval`, `[[sinks]] "lims" url`, `[watch] run_ids[2]`."""
        if not path:
            return "the configuration"
        table, rest = path[0], path[1:]
        if table not in Settings.model_fields and not isinstance(self.written.get(str(table)), Mapping | list):
            return str(table)
        label = f"[{table}]"
        if isinstance(self.written.get(str(table)), list):
            label = f"[[{table}]]"
            if rest and isinstance(rest[0], int):
                label += self.called(str(table), rest[0])
                rest = rest[1:]
        key = ""
        for step in rest:
            key += f"[{step}]" if isinstance(step, int) else f".{step}" if key else step
        return f"{label} {key}" if key else label

    def called(self, table: str, index: int) -> str:
        """The name of one of several tables, or its number if it has none that may be shown."""
        name = item_at(item_at(self.data.get(table), index), "name")
        path = (table, index, "name")
        if isinstance(name, str) and name and self.shown(path, name):
            return f' "{name}"'
        return f" number {index + 1}" if len(self.data.get(table, ())) > 1 else ""

    def shown(self, path: KeyPath, value: object) -> str:
        """The value as it is written, after a blank; empty if it must not, or need not, be shown."""
        if self.keys.is_secret(path) or any(overlap(path, other) for other in self.from_elsewhere):
            return ""
        text = quoted(value)
        return f" {text}" if text is not None else ""


def _homes(word: str, *, but: str = "") -> str:
    """The tables that have a key of this name, as they are written."""
    tables = [table for table, keys in _KEYS.items() if word in keys and table != but]
    return " or ".join(f"[[{table}]]" if table in LISTED else f"[{table}]" for table in tables)
