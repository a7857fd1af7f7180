"""What `watch` knows of the runs that it follows, from their events alone, and the exit code that this comes to.

Pure. A run is followed for one incarnation: the one that its first event tells of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from poller.app.cli.exits import ExitCode
from poller.app.cli.failures import in_words_by_code
from poller.core.diagnosis import DIAGNOSED, in_words
from poller.core.events import Event
from poller.core.statuses import ENDS, RANK

_LOST = frozenset({"vanished", "unreachable", "replaced"})
_CODES = {
    "COMPLETED": ExitCode.OK,
    "FAILED": ExitCode.FAILED,
    "CANCELLED": ExitCode.CANCELLED,
    "DELETED": ExitCode.CANCELLED,
}
_BY_ITSELF = frozenset({"PENDING", "STARTING", "RUNNING"})
"""Statuses that a run reaches only by way of all those before them."""


@dataclass(slots=True)
class Followed:
    """One run: the status told last, and how following it ended, once it has.

    `region` only where there are several; `diagnosis` says in a line why it failed, once that was told.
    """

    run_id: str
    until: str | None = None
    name: str | None = None
    uuid: str | None = None
    status: str | None = None
    since: datetime | None = None
    note: str | None = None
    code: ExitCode | None = None
    seen: bool = False
    region: str | None = None
    diagnosis: str | None = None

    def take(self, event: Event) -> None:
        """Learn from an event; one of another incarnation, or of another run, says nothing."""
        uuid = event.data.get("run_uuid")
        if event.run_id != self.run_id or (self.seen and self.uuid and uuid != self.uuid):
            return
        if event.type == DIAGNOSED:
            self.diagnosis = in_words(event.data.get("diagnosis") or {})
            return
        if self.code is not None:
            return
        self.seen = True
        self.uuid = self.uuid or uuid
        self.name = event.data.get("name") or self.name
        if event.kind in _LOST:
            self.note, self.code = event.kind, ExitCode.LOST
            return
        if not is_step(event):
            self.note = event.kind  # contradicted, unknown_status: no step of its life
            return
        self.status, self.since, self.note = event.status, event.time, event.data.get("failure_reason")
        self.code = self._ending(event)

    @property
    def why(self) -> str | None:
        """Why it failed: as it was found out, else what its code means; None if it did not, or gave no code."""
        if self.status != "FAILED":
            return None
        return self.diagnosis or (in_words_by_code(self.note) if self.note else None)

    @property
    def unexplained(self) -> bool:
        """Whether it failed, and why may still be told."""
        return self.status == "FAILED" and self.code is ExitCode.FAILED and self.diagnosis is None

    def _ending(self, event: Event) -> ExitCode | None:
        if self.until is not None and passed(self.until, event):
            return ExitCode.OK
        return _CODES[event.status or ""] if event.terminal else None


def is_step(event: Event) -> bool:
    """Whether it says that its run entered `status`; what else is told of a run is no step of its life."""
    return event.status is not None and event.kind == event.status.lower()


def passed(until: str, event: Event) -> bool:
    """Whether a run has reached `until` with this event: it was told, or was passed on the way to COMPLETED.

    What a run in STOPPING, or one that ended otherwise, has passed is not known: it may have been cancelled before.
    """
    status = event.status or ""
    if status == until:
        return True
    if until in ENDS or until == "DELETED" or status not in RANK or RANK[status] <= RANK[until]:
        return False
    if status == "STOPPING":
        return until != "RUNNING" or event.data.get("start_time") is not None
    return status in _BY_ITSELF or status == "COMPLETED"


def exit_code(runs: Iterable[Followed], *, otherwise: ExitCode) -> ExitCode:
    """The one code for all; `otherwise` stands for runs that have not ended."""
    return ExitCode.first_of(otherwise if run.code is None else run.code for run in runs)


def summary(runs: Sequence[Followed]) -> str:
    """How they stand, in a few words: `2 COMPLETED, 1 FAILED`."""
    counts: dict[str, int] = {}
    for run in runs:
        word = run.note if run.code is ExitCode.LOST and run.note else run.status or "not seen"
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{number} {word}" for word, number in counts.items())
