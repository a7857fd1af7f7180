"""How the demo shows what the receiver gets: a live table on a terminal, a line for each event elsewhere."""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from poller.app.cli.boards import STYLES, word_of
from poller.app.cli.output import Output, empty_table
from poller.app.demo.inbox import Received

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(slots=True)
class _Row:
    name: str
    run_id: str
    steps: list[str]
    delay: float | None = None


class Show(AbstractContextManager["Show", None]):
    """A line for each event. Args: `started` is when the demo did, in monotonic seconds."""

    def __init__(self, out: Output, started: float) -> None:
        self.out = out
        self.started = started

    def take(self, received: Received) -> None:
        """An event was acknowledged."""
        event = received.event
        delay = delay_of(received)
        after = "" if delay is None else f"  acknowledged {delay:.2f} s after it happened"
        diagnosis = event.data.get("diagnosis")
        after = after if diagnosis is None else f"  {diagnosis['meaning']}"
        skipped = event.data.get("skipped_statuses") or []
        unseen = f" (not seen: {', '.join(skipped)})" if skipped else ""
        name = event.data.get("name") or event.subject
        self.out.line(
            f"{time.monotonic() - self.started:5.1f} s  {name:<28} {word_of(event):<10}{unseen}{after}".rstrip()
        )

    def refresh(self) -> None:
        """Time has passed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class LiveShow(Show):
    """A table of the runs and of what was told of each."""

    def __init__(self, out: Output, started: float) -> None:
        super().__init__(out, started)
        self._rows: dict[str, _Row] = {}
        self._live = out.live()

    def take(self, received: Received) -> None:
        event = received.event
        key = str(event.data.get("run_uuid") or event.subject)
        row = self._rows.setdefault(key, _Row(event.data.get("name") or event.subject, event.subject, []))
        row.steps += [word.lower() for word in event.data.get("skipped_statuses") or []]
        row.steps.append(word_of(event))
        row.delay = delay_of(received)

    def refresh(self) -> None:
        self._live.update(self._drawn(), refresh=True)

    def __enter__(self) -> "LiveShow":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.refresh()
        finally:
            self._live.stop()

    def _drawn(self) -> "Table":
        from rich.text import Text

        table = empty_table(f"what the webhook receiver was told, {time.monotonic() - self.started:.0f} s")
        for column in ("Run", "Name", "Told", "Delay"):
            table.add_column(column, no_wrap=column in ("Run", "Delay"))
        for row in self._rows.values():
            told = Text(" ").join(
                Text(step, style=STYLES.get(step, "red" if step.isupper() else "dim")) for step in row.steps
            )
            table.add_row(row.run_id, row.name, told, "" if row.delay is None else f"{row.delay:.2f} s")
        return table


def show_on(out: Output, started: float) -> Show:
    """The show for where the output goes."""
    return LiveShow(out, started) if out.on_terminal else Show(out, started)


def delay_of(received: Received) -> float | None:
    """Seconds from the service's own stamp to the acknowledgement; None where it gave none."""
    if received.event.data.get("occurred_at_source") in (None, "observed_at"):
        return None
    return (received.at - received.event.time).total_seconds()
