"""Where a command writes: data to stdout, talk to stderr. Nothing else in this package prints."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from poller.core.runs import Json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table


class Output:
    """Two streams. Raises, from each method that writes data: BrokenPipeError once nobody reads it."""

    def __init__(self) -> None:
        self._data: TextIO = sys.stdout
        self._talk: TextIO = sys.stderr

    @property
    def on_terminal(self) -> bool:
        """Whether the data is read by a person, now."""
        return self._data.isatty()

    def line(self, text: str = "") -> None:
        """A line of data, at once."""
        self._write(self._data, text)

    def document(self, value: Json) -> None:
        """A JSON document on one line."""
        self._write(self._data, json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))

    def say(self, text: str, *, as_it_is: bool = False) -> None:
        """A line for the person who waits. Args: `as_it_is` for what looks like a secret and is none."""
        redaction = sys.modules.get("poller.redaction")  # where it is not loaded, no secret is either
        with suppress(OSError):  # talk that nobody hears ends no work
            self._write(self._talk, text if redaction is None or as_it_is else redaction.redact(text))

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return sys.stdin.isatty() and self._talk.isatty()

    def ask(self, question: str) -> bool:
        """Whether the person agrees; only a clear yes is one."""
        self._talk.write(f"{question} [y/N] ")
        self._talk.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Rows for people: drawn on a terminal, and elsewhere whole, whatever their width."""
        cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
        if self.on_terminal:
            from rich.text import Text

            table = empty_table()
            for column in columns:
                table.add_column(column, overflow="fold")
            for row in cells:
                table.add_row(*map(Text, row))
            self.console().print(table)
            return
        widths = [max([len(column), *(len(row[place]) for row in cells)]) for place, column in enumerate(columns)]
        for row in [list(columns), *cells]:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def facts(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values, one a line; what is unknown is left out."""
        known = [(name, str(value)) for name, value in pairs if value is not None]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            self.line(f"{name.ljust(width)}  {printable(value)}")

    def console(self) -> "Console":
        """The terminal, for what is drawn."""
        from rich.console import Console

        return Console(file=self._data, highlight=False, markup=False, emoji=False)

    def live(self) -> "Live":
        """A place on the terminal that is drawn again and again, when it is told to."""
        from rich.live import Live

        return Live(
            console=self.console(), auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=False
        )

    def quiet(self) -> None:
        """Write no more: what the buffers hold has no reader."""
        for stream in (self._data, self._talk):
            try:
                stream.flush()
            except (OSError, ValueError):
                _discard(stream)

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text + "\n")
        except UnicodeEncodeError:  # a stream that speaks only ASCII
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii") + "\n")
        stream.flush()


Out = Annotated[Output, Parameter(parse=False)]
"""How a command asks for the output: it is no option."""


def empty_table(title: str | None = None) -> "Table":
    """A table to draw, as all of them look here."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, title=title, title_justify="left")


def printable(text: str) -> str:
    """A run's name must not move the cursor of a terminal, nor end a line."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _discard(stream: TextIO) -> None:
    """Let the interpreter's last flush go nowhere, instead of complaining."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
