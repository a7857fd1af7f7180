"""On which line of a TOML file each key, table and list item stands.

tomllib says what is in a file, not where; this says where, of a text that tomllib has accepted, and only once a message
needs it. It skims, and judges nothing: what it cannot follow has no line.
"""

import contextlib
import re
import tomllib
from typing import Final

Step = str | int
KeyPath = tuple[Step, ...]
"""How to get to a value: `("sinks", 0, "url")`."""

_GAP: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS: Final = re.compile(r"[ \t]*=[ \t]*")
_SCALAR: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|[^,\[\]{}#\r\n]+",
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every key, table header and list item of valid TOML."""
    skimmer = _Skimmer(text)
    with contextlib.suppress(
        _LostError, tomllib.TOMLDecodeError, RecursionError
    ):  # what was found up to there is right
        skimmer.document()
    return skimmer.lines


class _LostError(Exception):
    """The text is not what tomllib took it for."""


class _Skimmer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.counted_to = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.counts: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        while not self.at_end():
            if self.ahead("["):
                table = self.header()
            else:
                self.pair(table)

    def header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`: the path that the keys below it belong to."""
        line = self.line_here()
        many = self.skip("[[")
        if not many:
            self.skip("[")
        self.gap()
        path: KeyPath = ()
        names = self.key()
        self.gap()
        self.demand("]]" if many else "]")
        for name in names[:-1]:
            self.lines.setdefault((*path, name), line)
            path = self.last((*path, name))
        path += (names[-1],)
        self.lines.setdefault(path, line)
        if many:
            self.counts[path] = self.counts.get(path, 0) + 1
            path = self.last(path)
            self.lines.setdefault(path, line)
        return path

    def last(self, path: KeyPath) -> KeyPath:
        """The newest item where `path` is a list of tables, else `path`."""
        return (*path, self.counts[path] - 1) if path in self.counts else path

    def pair(self, table: KeyPath) -> None:
        line = self.line_here()
        path = table
        for name in self.key():
            path += (name,)
            self.lines.setdefault(path, line)
        self.demand_match(_EQUALS)
        self.value(path)

    def key(self) -> list[str]:
        names = [self.name()]
        while found := _DOT.match(self.text, self.position):
            self.position = found.end()
            names.append(self.name())
        return names

    def name(self) -> str:
        word = self.demand_match(_KEY)
        return str(tomllib.loads(f"x = {word}")["x"]) if word[0] in "\"'" else word

    def value(self, path: KeyPath) -> None:
        if self.skip("["):
            index = 0
            while not self.closes("]"):
                self.lines.setdefault((*path, index), self.line_here())
                self.value((*path, index))
                self.gap()
                self.skip(",")
                index += 1
        elif self.skip("{"):
            while not self.closes("}"):
                self.pair(path)
                self.gap()
                self.skip(",")
        else:
            self.demand_match(_SCALAR)

    # the text, and where we are in it
    def gap(self) -> None:
        found = _GAP.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def at_end(self) -> bool:
        self.gap()
        return self.position >= len(self.text)

    def ahead(self, mark: str) -> bool:
        return self.text.startswith(mark, self.position)

    def skip(self, mark: str) -> bool:
        found = self.ahead(mark)
        self.position += len(mark) if found else 0
        return found

    def closes(self, mark: str) -> bool:
        if self.at_end():
            raise _LostError
        return self.skip(mark)

    def demand(self, mark: str) -> None:
        if not self.skip(mark):
            raise _LostError

    def demand_match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.position)
        if found is None:
            raise _LostError
        self.position = found.end()
        return found[0]

    def line_here(self) -> int:
        self.line += self.text.count("\n", self.counted_to, self.position)
        self.counted_to = self.position
        return self.line
