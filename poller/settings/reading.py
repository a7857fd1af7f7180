"""Tables as TOML gives them become Settings, or one message for each thing that is wrong with them.

The way: `${…}` -> each key by itself (`model.py`) -> keys against each other (`checks.py`). What is wrong at one stage
is set aside, so that the later ones still see the rest. No message shows a secret, nor any value that came from the
environment or from another file.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from poller.core.errors import ConfigError
from poller.redaction import hide
from poller.settings.checks import problems
from poller.settings.keys import Keys, item_at, overlap
from poller.settings.lines import KeyPath
from poller.settings.model import MANY, Settings
from poller.settings.problems import Problem
from poller.settings.sentences import Sentences
from poller.settings.sinks import RememberedCatalogue, SinkCatalogue, installed_sinks, stand_in
from poller.settings.substitute import substitute


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
        self.catalogue = RememberedCatalogue(catalogue or installed_sinks())
        self.context = {"catalogue": self.catalogue, "directory": directory}
        """What validators may ask for: the sink types there are, and what relative paths are relative to."""
        self.keys = Keys(self.data, self.catalogue)
        self.sentences = Sentences(data, self.keys, self.from_elsewhere)

    def read(self) -> Settings:
        self.secrets += self.keys.find_secrets(self.data, ())
        for secret in self.secrets:
            hide(secret)
        settings = self.validated()
        if settings is not None:
            wrong = [problem.path for problem in self.problems]
            for problem in problems(settings):
                about = [self.keys.as_written(path) for path in (problem.path, *problem.others)]
                if not any(overlap(path, bad) for path in about for bad in wrong):
                    given_here = not any(overlap(path, other) for path in about for other in self.from_elsewhere)
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
                    and not (attempt and any(overlap(problem.path, path) for path in known))
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
            if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
                continue  # of its entries some are wrong, which is said by itself
            path = self.keys.as_written(error["loc"])
            sentence = self.sentences.of(error, path)
            if sentence not in by_path.setdefault(path, []):
                by_path[path].append(sentence)
        return [Problem(path, ", or ".join(sentences)) for path, sentences in by_path.items()]

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
        where = self.sentences.where(problem.path)
        return where + (" " if sentence.startswith("(") else ": ") + sentence

    def never_shown(self) -> list[str]:
        """Longest first; shorter ones would blank out ordinary words, and no sentence holds a value of theirs."""
        values = {value for values in self.from_elsewhere.values() for value in values} | set(self.secrets)
        return sorted((value for value in values if len(value) > 3), key=len, reverse=True)


def _blurred(sentence: str) -> str:
    """The sentence of a check without the values in it, which stand in quotes or brackets."""
    return re.sub(r'"[^"]*"', '"…"', re.sub(r"\([^)]*\)", "(…)", sentence))


def _without(data: Mapping[str, Any], bad: Iterable[KeyPath]) -> dict[str, Any]:
    """The data without the keys that are wrong. Of several tables each keeps its place, even if all of it is wrong."""
    kept = cast(dict[str, Any], _copy(data))
    whole: list[KeyPath] = []
    for path in bad:
        table, rest = kept.get(str(path[0])) if path else None, path[1:]
        if path and path[0] in MANY and rest and isinstance(rest[0], int):
            table, rest = item_at(table, rest[0]), rest[1:]
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
            if name == "sinks":
                tables[index] = stand_in(tables[index], index)
            else:
                tables[index] = {"name": f"number-{index + 1}", "run_name": "*"} if name == "cohort" else {}
    return kept


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value
