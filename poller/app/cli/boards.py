"""How `watch` shows what happens: a live table on a terminal, plain lines elsewhere, or the events themselves."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from poller.app.cli.exits import ExitCode
from poller.app.cli.following import Followed, is_step
from poller.app.cli.output import Output, empty_table, printable
from poller.core.diagnosis import DIAGNOSED, in_words
from poller.core.events import POLLER_PREFIX, Event, stamp

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES: Final = {
    "PENDING": "dim",
    "STARTING": "cyan",
    "RUNNING": "blue",
    "STOPPING": "magenta",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "CANCELLED": "yellow",
    "DELETED": "yellow",
}


class Board(Protocol):
    """What shows it."""

    def event(self, event: Event) -> None:
        """Show what was told."""
        ...

    def say(self, text: str) -> None:
        """Show what else a person should know."""
        ...

    def refresh(self) -> None:
        """Time has passed."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class JsonBoard(AbstractContextManager["JsonBoard", None]):
    """Each event as it was recorded, a line each."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def event(self, event: Event) -> None:
        self._out.line(event.to_json())

    def say(self, text: str) -> None:
        self._out.say(text)

    def refresh(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class LineBoard(JsonBoard):
    """A line for each step of a run; what the poller says of itself is talk."""

    def event(self, event: Event) -> None:
        if event.type.startswith(POLLER_PREFIX):
            self._out.say(words_of(event))
        else:
            self._out.line(words_of(event))


class LiveBoard:
    """A table of the runs, drawn again and again. Args: `tasks` says how far the tasks of a run are."""

    def __init__(
        self,
        out: Output,
        runs: Sequence[Followed],
        tasks: Callable[[Followed], object | None],
        now: Callable[[], datetime],
    ) -> None:
        self._runs, self._tasks, self._now = runs, tasks, now
        self._said = ""
        self._live = out.live()

    def event(self, event: Event) -> None:
        if event.type.startswith(POLLER_PREFIX):
            self._said = words_of(event) if event.kind == "blind" else ""
        self.refresh()

    def say(self, text: str) -> None:
        self._said = text
        self.refresh()

    def refresh(self) -> None:
        self._live.update(self._drawn(), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        self.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.refresh()
        finally:
            self._live.stop()

    def _drawn(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        room = max(self._live.console.height - 6, 3)
        shown = sorted(self._runs, key=lambda run: run.code is not None)[:room]
        kept = {id(run) for run in shown}
        now = self._now()
        table = empty_table()
        for column in ("Run", "Name", "Status", "For", "Tasks", ""):
            table.add_column(column, no_wrap=column in ("Run", "Status", "For", "Tasks"))
        for run in self._runs:
            if id(run) not in kept:
                continue
            status = (run.note or "lost").upper() if run.code is ExitCode.LOST else run.status
            count = self._tasks(run) if run.code is None else None
            table.add_row(
                Text(run.run_id),
                Text(run.name or ""),
                Text(status or "…", style=STYLES.get(status or "", "red" if run.code is ExitCode.LOST else "dim")),
                Text(spell_span(now - run.since) if run.since is not None and run.code is None else ""),
                Text("" if count is None else str(count)),
                Text("" if run.code is ExitCode.LOST else run.diagnosis or run.note or ""),
            )
        below = [f"… and {len(self._runs) - room} more"] if len(self._runs) > room else []
        below += [self._said] if self._said else []
        return Group(table, *(Text(line, style="dim") for line in below))


def word_of(event: Event) -> str:
    """The status that a run entered, or in capitals what else was told."""
    return event.status or "" if is_step(event) else event.kind.upper()


def words_of(event: Event) -> str:
    """An event in one line: when, which run, what, and why if that is known."""
    data = event.data
    if event.type.startswith(POLLER_PREFIX):
        parts = [stamp(event.time), event.kind, event.subject, data.get("detail")]
    else:
        previous = data.get("previous_status")
        diagnosis = data.get("diagnosis")
        what = word_of(event)
        step = f"{previous} -> {what}" if previous and previous != what and event.type != DIAGNOSED else what
        reason = in_words(diagnosis) if diagnosis else data.get("failure_reason") or data.get("status_message")
        parts = [stamp(event.time), event.subject, step, data.get("name"), reason]
    return "  ".join(printable(" ".join(str(part).split())) for part in parts if part)


def listed(event: Event) -> str:
    """An event of the record in one line: its position, then its words."""
    return f"{event.position:>8}  {words_of(event)}"


def spell_span(span: timedelta) -> str:
    """A span as people say it: 59s, 12m 05s, 3h 04m, 2d 03h."""
    seconds = max(int(span.total_seconds()), 0)
    for size, unit, lesser_size, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // lesser_size:02d}{lesser}"
    return f"{seconds}s"
