"""A configuration file becomes Settings, or one ConfigError that names all that is wrong with it, line by line."""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from poller.core.errors import ConfigError
from poller.core.values import SinkSettings
from poller.settings.checks import warnings
from poller.settings.lines import KeyPath, Step, key_lines
from poller.settings.model import MANY, Settings
from poller.settings.reading import Reading
from poller.settings.scopes import watches_of
from poller.settings.sinks import SinkCatalogue, no_such_sink, sink_warnings
from poller.settings.texts import run_name

LARGEST: Final = 1024 * 1024
"""Bytes of a configuration: ten thousand run ids fit well, and a device or a record given by mistake does not."""

_PLACE: Final = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


@dataclass(frozen=True)
class Loaded:
    """A configuration that was read, and where it says what. Relative paths in it are relative to `directory`."""

    settings: Settings
    path: Path
    directory: Path
    text: str = field(repr=False)

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return key_lines(self.text)

    def line_of(self, key_path: Iterable[Step]) -> int | None:
        """The line of a key, such as `("watch", 0, "run_ids", 2)`; of the nearest thing around it, if it has none.

        An index may be given or not where a table is written once: `("watch", "run_ids")` means the same.
        """
        return _line_of(tuple(key_path), self._lines)

    def sink(self, name: str) -> SinkSettings:
        """The settings of a sink. Raises: ConfigError if none has this name."""
        for one in self.settings.sinks:
            if one.name == name:
                return one
        raise ConfigError(f"{self.path}: {no_such_sink(name, (one.name for one in self.settings.sinks))}")

    def doubts(self, now: datetime) -> list[str]:
        """What works as it is written, and is most likely not what was meant; with its line where it has one."""
        found = [*warnings(self.settings), *sink_warnings(self.settings.sinks, self.directory, now)]
        lines = [self.line_of(doubt.path) if doubt.path else None for doubt in found]
        return [
            f"{self.path}:{line} {doubt.sentence}" if line else doubt.sentence
            for doubt, line in zip(found, lines, strict=True)
        ]

    @contextmanager
    def placing_sinks(self) -> Iterator[None]:
        """Say where a sink is that cannot be made. Raises: ConfigError in place of UnmadeSink."""
        from poller.sinks.registry import UnmadeSink  # here: it looks for what is installed

        try:
            yield
        except UnmadeSink as error:
            names = [one.name for one in self.settings.sinks]
            line = self.line_of(("sinks", names.index(error.sink)))
            raise ConfigError(f'{self.path}:{line} [[sinks]] "{error.sink}"{error.problem}') from error

    def line_of_run(self, run_id: str, scope: int = 0) -> int | None:
        """The line that names this run (a bare id) in a `[watch] run_ids`; None if the file does not name it.

        Args: `scope` is the place of its `[[aws]]` table.
        """
        for index in watches_of(self.settings, scope):
            for place, text in enumerate(self.settings.watch[index].run_ids):
                if run_name(text).run_id == run_id:
                    return self.line_of(("watch", index, "run_ids", place))
        return None


def load_settings(
    path: Path, environ: Mapping[str, str] | None = None, *, catalogue: SinkCatalogue | None = None
) -> Loaded:
    """Read a configuration file.

    Args: `environ` is where `${VAR}` looks (the process's own by default); `catalogue` the sink types there are.
    Raises: ConfigError with one line for each thing that is wrong.
    """
    path = Path(path)
    text = _read(path)
    data = _parse(text, path)
    directory = path.absolute().parent
    lines: dict[KeyPath, int] = {}

    def place(key_path: KeyPath) -> str:
        if not lines:
            lines.update(key_lines(text))
        line = _line_of(key_path, lines)
        return f"{path}:{line} " if line else f"{path} "

    settings = Reading(data, environ if environ is not None else os.environ, directory, catalogue, place).read()
    return Loaded(settings, path, directory, text)


def settings_from(mapping: Mapping[str, Any], *, catalogue: SinkCatalogue | None = None) -> Settings:
    """Settings of tables given as a mapping, by the same rules as a file; `${…}` in it stands for itself.

    Raises: ConfigError with one line for each thing that is wrong.
    """
    return Reading(dict(mapping), None, Path.cwd(), catalogue, lambda _: "").read()


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `omics-poller init` writes one") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a directory; give the file in it") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not a path'}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{path}: is larger than 1 MiB, which is no configuration")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text; save it as UTF-8") from None


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _PLACE.search(message)
        reason = _PLACE.sub("", message)
        hint = (
            "; texts and durations stand in quotes" if reason.startswith(("Invalid value", "Expected newline")) else ""
        )
        if found is None or found["line"] is None:
            last = len(text.splitlines()) or 1
            raise ConfigError(f"{path}:{last}: is not valid TOML: {reason} (at the end of the file)") from None
        line, column = found["line"], found["column"]
        raise ConfigError(f"{path}:{line}: is not valid TOML: {reason} (column {column}){hint}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: is not valid TOML: a number is too long, or lists are nested too deeply") from None


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    while path:
        if path in lines:
            return lines[path]
        if len(path) > 1 and path[1] == 0 and (once := (path[0], *path[2:])) in lines:
            return lines[once]
        if (
            len(path) > 1
            and path[0] in MANY
            and isinstance(path[1], str)
            and (many := (path[0], 0, *path[1:])) in lines
        ):
            return lines[many]
        path = path[:-1]
    return None
