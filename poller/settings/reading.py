"""Tables as TOML gives them become Settings, or one message for each thing that is wrong with them.

The way: `${…}` -> each key by itself (`model.py`) -> keys against each other (`checks.py`). What is wrong at one stage
is set aside, so that the later ones still see the rest. No message shows a secret, nor any value that came from the
environment or from another file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from poller.core.errors import ConfigError
from poller.core.values import SinkSettings
from poller.settings.checks import Problem, problems
from poller.settings.explain import explain, nearest, quoted
from poller.settings.lines import KeyPath, Step
from poller.settings.model import MANY, Settings, SinkCatalogue, installed_sinks, sink_model
from poller.settings.substitute import looks_secret, substitute
from poller.telemetry import hide


class Reading:
    """One reading: the data as written and as substituted, and what was found wrong so far.

    Args: without `environ` nothing is substituted; `place` says where a key stands, as the beginning of a message.
    """

    def __init__(
        self,
        data: dict[str, Any],
        environ: Mapping[str, str] | None,
        directory: Path,
        catalogue: SinkCatalogue | None,
        place: Callable[[KeyPath], str],
    ) -> None:
        self.written = data
        self.place = place
        self.problems: list[Problem] = []
        self.from_elsewhere: dict[KeyPath, list[str]] = {}
        self.secrets: list[str] = []
        self.data: dict[str, Any] = data
        if environ is not None:
            substituted = substitute(data, environ, directory)
            self.data = substituted.data
            self.problems += substituted.problems
            self.from_elsewhere = substituted.values
            self.secrets += substituted.secrets
        self.catalogue = _Remembered(catalogue or installed_sinks())
        self.context = {"catalogue": self.catalogue, "directory": directory}
        """What validators may ask for: the sink types there are, and what relative paths are relative to."""

    def read(self) -> Settings:
        self.secrets += self.find_secrets(self.data, ())
        for secret in self.secrets:
            hide(secret)
        settings = self.validated()
        if settings is not None:
            wrong = [problem.path for problem in self.problems]
            for problem in problems(settings):
                about = [self.as_written(path) for path in (problem.path, *problem.others)]
                if not any(_overlap(path, bad) for path in about for bad in wrong):
                    given_here = not any(_overlap(path, other) for path in about for other in self.from_elsewhere)
                    self.problems.append(
                        Problem(about[0], problem.sentence if given_here else _blurred(problem.sentence))
                    )
        if self.problems or settings is None:
            raise ConfigError("\n".join(self.report()))
        return settings

    # each key by itself
    def validated(self) -> Settings | None:
        """The settings without what is wrong; None if nothing sensible is left."""
        data: Any = _without(self.data, [problem.path for problem in self.problems])
        for attempt in range(20):
            try:
                return Settings.model_validate(data, context=self.context)
            except ValidationError as failed:
                found = self.problems_of(failed)
                known = [problem.path for problem in self.problems]
                new = [
                    problem
                    for problem in found
                    if problem.path not in known
                    and not (attempt and any(_overlap(problem.path, path) for path in known))
                ]
                self.problems += new
                bad = [problem.path for problem in found] + [problem.path for problem in self.problems]
                if (left := _without(data, bad)) == data:
                    return None
                data = left
        return None

    def problems_of(self, failed: ValidationError) -> list[Problem]:
        by_path: dict[KeyPath, list[str]] = {}
        for error in failed.errors(include_url=False):
            path = self.as_written(error["loc"])
            sentence = self.sentence(error, path)
            if sentence not in by_path.setdefault(path, []):
                by_path[path].append(sentence)
        return [Problem(path, ", or ".join(sentences)) for path, sentences in by_path.items()]

    def sentence(self, error: ErrorDetails, path: KeyPath) -> str:
        kind, context = error["type"], error.get("ctx") or {}
        if kind == "extra_forbidden":
            return self.unknown_key(path)
        if path and path[-1] == "type" and kind == "sink_type":
            near = nearest(str(error["input"]), str(context["expected"]).split(", "))
            shown = self.shown(path, error["input"])
            return f"no such type of sink{shown}; " + (
                f'did you mean "{near}"?' if near and shown else f"there are {context['expected']}"
            )
        if (shape := self.wrong_shape(path, kind)) is not None:
            return shape
        described = self.field_at(path)
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
            brackets = "[[sinks]]" if table == "sinks" else f"[{table}]"
            return f"expected a table: write {brackets} on a line of its own, and its keys below"
        if len(path) == 1 and table in Settings.model_fields:
            if isinstance(written, list):
                return f"is written once: [{table}], with one bracket"
            return f"expected a table: write [{table}] on a line of its own, and its keys below"
        if len(path) == 2 and table in MANY and isinstance(path[1], int) and kind in ("model_type", "dict_type"):
            return f"expected a table: write [[{table}]] on a line of its own, and its keys below"
        return None

    def unknown_key(self, path: KeyPath) -> str:
        word = str(path[-1])
        if len(path) == 1:
            homes = _homes(word)
            if homes and not isinstance(self.data.get(word), Mapping | list):
                return f"stands before the first table; it belongs in {homes}"
            near = nearest(word, Settings.model_fields)
            double = near == "sinks"
            known = ", ".join(f"[{name}]" for name in Settings.model_fields)
            return "no such table; " + (
                f"did you mean {'[[' if double else '['}{near}{']]' if double else ']'}?"
                if near
                else f"there are {known}"
            )
        model = self.model_at(path[:-1])
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
        found = []
        for kind in self.catalogue.sink_types():
            try:
                model = sink_model(kind, self.catalogue)
            except (LookupError, ImportError):
                continue
            if word in model.model_fields and model is not self.model_at(path[:-1]):
                found.append(kind)
        return " and ".join(found)

    # places
    def as_written(self, loc: Iterable[Step]) -> KeyPath:
        """The path in the data as it is written, of a place in the settings: `[aws]` needs no index."""
        path: KeyPath = ()
        value: Any = self.data
        for step in loc:
            if isinstance(value, Mapping):
                if isinstance(step, int):
                    continue
                path += (step,)
                if step not in value:
                    break
                value = value[step]
            elif isinstance(value, list | tuple):
                if not isinstance(step, int) or not 0 <= step < len(value):
                    break
                path += (step,)
                value = value[step]
            elif isinstance(value, BaseModel) and isinstance(step, str):
                path += (step,)
                value = getattr(value, step, None)
            else:
                break  # a union's branch, or the like: part of the same value
        return path

    def model_at(self, path: KeyPath) -> type[BaseModel] | None:
        """The model of the table that `path` leads to."""
        model: type[BaseModel] = Settings
        value: Any = self.data
        for step in path:
            value = _item(value, step)
            if isinstance(value, SinkSettings):
                model = type(value)
            elif model is Settings and step == "sinks":
                model = SinkSettings
            elif isinstance(step, int):
                if path[0] == "sinks" and model is SinkSettings:
                    model = self.sink_model_of(value)
            else:
                described = model.model_fields.get(step)
                inner = _model_in(described.annotation) if described else None
                if inner is None:
                    return None
                model = inner
        return model

    def sink_model_of(self, table: Any) -> type[SinkSettings]:
        kind = _item(table, "type")
        try:
            return sink_model(kind, self.catalogue) if isinstance(kind, str) else SinkSettings
        except (LookupError, ImportError):
            return SinkSettings

    def field_at(self, path: KeyPath) -> FieldInfo | None:
        """The field that `path` leads to; for what is inside a list or a free table, the field around it."""
        while path:
            if isinstance(path[-1], str) and (model := self.model_at(path[:-1])) and path[-1] in model.model_fields:
                return model.model_fields[path[-1]]
            path = path[:-1]
        return None

    # secrets
    def find_secrets(self, value: Any, path: KeyPath) -> list[str]:
        """The values of all keys that are secrets by their type, or, where nobody knows the key, by their name."""
        if isinstance(value, SinkSettings):
            return [found for item in vars(value).values() for found in _secrets_in(item)]
        if isinstance(value, Mapping):
            return [found for key, item in value.items() for found in self.find_secrets(item, (*path, str(key)))]
        if isinstance(value, list | tuple):
            return [found for index, item in enumerate(value) for found in self.find_secrets(item, (*path, index))]
        if isinstance(value, SecretStr):
            return [value.get_secret_value()]
        return [value] if isinstance(value, str) and self.is_secret(path) else []

    def is_secret(self, path: KeyPath) -> bool:
        for end in range(len(path), 0, -1):
            model, key, inside = self.model_at(path[: end - 1]), path[end - 1], path[end:]
            if isinstance(key, str) and model is not None and key in model.model_fields:
                described = model.model_fields[key]
                if _model_in(described.annotation) is not None and any(isinstance(step, str) for step in inside):
                    break  # a table that has no such key
                return any(map(_mentions_secret, (described.annotation, *described.metadata)))
        return any(isinstance(step, str) and looks_secret(step) for step in path)

    def shown(self, path: KeyPath, value: object) -> str:
        """The value as it is written, after a blank; empty if it must not, or need not, be shown."""
        if self.is_secret(path) or any(_overlap(path, other) for other in self.from_elsewhere):
            return ""
        text = quoted(value)
        return f" {text}" if text is not None else ""

    # the report
    def report(self) -> list[str]:
        def by_line(entry: tuple[str, str]) -> tuple[int, str]:
            found = re.search(r":(\d+) $", entry[0])
            return (int(found[1]) if found else 0, "")

        entries = [(self.place(problem.path), self.said(problem)) for problem in self.problems]
        return [place + said for place, said in sorted(entries, key=by_line)]

    def said(self, problem: Problem) -> str:
        sentence = problem.sentence
        for value in self.never_shown():
            sentence = sentence.replace(value, "…")
        where = self.where(problem.path)
        return where + (" " if sentence.startswith("(") else ": ") + sentence

    def never_shown(self) -> list[str]:
        """Longest first; shorter ones would blank out ordinary words, and no sentence holds a value of theirs."""
        values = {value for values in self.from_elsewhere.values() for value in values} | set(self.secrets)
        return sorted((value for value in values if len(value) > 3), key=len, reverse=True)

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
        name = _item(_item(self.data.get(table), index), "name")
        path = (table, index, "name")
        if isinstance(name, str) and name and self.shown(path, name):
            return f' "{name}"'
        return f" number {index + 1}" if len(self.data.get(table, ())) > 1 else ""


class _Remembered:
    """A catalogue that is asked once: looking through what is installed takes milliseconds, and there are many keys."""

    def __init__(self, catalogue: SinkCatalogue) -> None:
        self.catalogue = catalogue
        self.loaded: dict[str, Any] = {}

    @cached_property
    def types(self) -> tuple[str, ...]:
        return tuple(self.catalogue.sink_types())

    def sink_types(self) -> tuple[str, ...]:
        return self.types

    def load_sink(self, name: str, /) -> Any:
        if name not in self.loaded:
            self.loaded[name] = self.catalogue.load_sink(name)
        return self.loaded[name]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The one model in an annotation such as `tuple[AwsSettings, ...]` or `Auth | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def _mentions_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(_mentions_secret(inner) for inner in get_args(annotation))


def _secrets_in(value: Any) -> Iterator[str]:
    """The secrets in a value of settings, which knows by itself what is one."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        yield from _secrets_in(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_in(item)


_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    table: tuple(model.model_fields) if (model := _model_in(described.annotation)) else ()
    for table, described in Settings.model_fields.items()
    if table != "sinks"
} | {"sinks": tuple(SinkSettings.model_fields)}


def _homes(word: str, *, but: str = "") -> str:
    """The tables that have a key of this name, as they are written."""
    tables = [table for table, keys in _KEYS.items() if word in keys and table != but]
    return " or ".join("[[sinks]]" if table == "sinks" else f"[{table}]" for table in tables)


def _item(value: Any, step: Step) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list | tuple) and isinstance(step, int) and 0 <= step < len(value):
        return value[step]
    return getattr(value, step, None) if isinstance(step, str) and isinstance(value, BaseModel) else None


def _blurred(sentence: str) -> str:
    """The sentence of a check without the values in it, which stand in quotes or brackets."""
    return re.sub(r'"[^"]*"', '"…"', re.sub(r"\([^)]*\)", "(…)", sentence))


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    """Whether one place is inside the other."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _without(data: Mapping[str, Any], bad: Iterable[KeyPath]) -> dict[str, Any]:
    """The data without the keys that are wrong. Of several tables each keeps its place, even if all of it is wrong."""
    kept = cast(dict[str, Any], _copy(data))
    whole: list[KeyPath] = []
    for path in bad:
        table, rest = kept.get(str(path[0])) if path else None, path[1:]
        if path and path[0] in MANY and rest and isinstance(rest[0], int):
            table, rest = _item(table, rest[0]), rest[1:]
        if rest and isinstance(table, dict) and rest[0] in table:
            del table[str(rest[0])]
            whole += [path[:2]] if path[0] == "sinks" and rest[0] in ("name", "type") else []
        elif len(path) > 1 and path[0] in MANY and isinstance(path[1], int):
            whole.append(path[:2])
        elif len(path) == 1:
            kept.pop(str(path[0]), None)
    for name, index in whole:
        tables = kept.get(str(name))
        if isinstance(tables, list) and isinstance(index, int) and index < len(tables):
            tables[index] = _stand_in(tables[index], index) if name == "sinks" else {}
    return kept


def _stand_in(item: Any, index: int) -> SinkSettings:
    """For a sink that misses something: what all sinks can be told, as far as it is right."""
    if isinstance(item, SinkSettings):
        return item
    common = {key: item[key] for key in SinkSettings.model_fields if key in item} if isinstance(item, Mapping) else {}
    try:
        return SinkSettings.model_validate(common)
    except ValidationError:
        return SinkSettings.model_construct(name=f"number {index + 1}", type="")


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value
