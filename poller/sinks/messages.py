"""An event in words, for people in a chat or a mailbox: what happened to which run, when, how long, why, where to look.

Pure. It says what the event says and no more: what was left out of the event (`omit`) is in no message. How a chat
draws it is the chat's sink's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from poller.core.events import Event
from poller.core.runs import Json
from poller.sinks.shown import one_line

Mood = Literal["good", "bad", "news"]
"""What a reader should feel before reading: well ended, wants somebody, or for your information."""

_RUN: Final[Mapping[str, str]] = {
    "pending": "is queued",
    "starting": "is starting",
    "running": "is running",
    "stopping": "is stopping",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "was cancelled",
    "deleted": "was deleted, and how it ended nobody knows",
    "vanished": "has vanished: HealthOmics does not know it any more",
    "unreachable": "cannot be read",
    "replaced": "is gone: another run has its id",
    "contradicted": "is shown as {status}, and had ended otherwise",
    "unknown_status": "has a status that is not known: {status}",
    "overdue": "is {status} for too long",
    "diagnosed": "failed: {why}",
}
_BATCH: Final[Mapping[str, str]] = {
    "creating": "is being made",
    "pending": "waits to be submitted",
    "submitting": "is being submitted",
    "inprogress": "is submitted",
    "stopping": "is being cancelled",
    "processed": "is done: each of its runs has ended",
    "cancelled": "was cancelled",
    "failed": "failed",
    "runs_deleting": "is having its runs deleted",
    "runs_delete_failed": "could not have all its runs deleted",
    "runs_deleted": "had its runs deleted",
}
_POLLER: Final[Mapping[str, str]] = {
    "blind": "Nothing can be seen in {subject}",
    "recovered": "{subject} can be seen again",
    "sink_failing": "The sink {subject} fails for all that it is sent",
    "sink_recovered": "The sink {subject} works again",
    "heartbeat": "The poller {instance} is alive",
}
MOST_NAMED: Final = 5
"""Runs of a cohort that a message names; how many there are it says too."""
_GOOD: Final = frozenset({"completed", "recovered", "sink_recovered", "batch.processed"})
_BAD: Final = frozenset(
    {
        "failed", "vanished", "unreachable", "contradicted", "overdue", "diagnosed", "deleted", "blind", "sink_failing",
        "batch.failed", "batch.runs_delete_failed",
    }
)  # fmt: skip


class Fact(NamedTuple):
    """One line of a message: what it is about, and the fact."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """An event in words: single lines without control characters. `link` is the run in the AWS console."""

    title: str
    facts: tuple[Fact, ...]
    link: str | None
    mood: Mood

    @property
    def body(self) -> str:
        """The facts as lines of plain text, the link last."""
        lines = [f"{fact.label}: {fact.text}" for fact in self.facts]
        return "\n".join([*lines, *([self.link] if self.link is not None else ())])


def message_of(event: Event) -> Message:
    """The event in words; of a type that is not known here, its type and what all events have."""
    family, _, kind = event.type.removeprefix("healthomics.").partition(".")
    data = event.data
    title = _title(family, kind, event)
    facts = _FACTS.get(family, _batch_facts)(data)
    shown = tuple(Fact(label, text) for label, value in facts if (text := one_line(str(value or ""))))
    shown = shown or (Fact("When", _moment(event.attributes["time"])),)  # a mailbox takes no message without a body
    mood: Mood = "good" if event.kind in _GOOD else "bad" if event.kind in _BAD else "news"
    if event.kind == "batch.processed" and (data.get("run_counts") or {}).get("FAILED"):
        mood = "bad"
    if event.kind == "cohort.finished":
        mood = "good" if data.get("all_completed") else "bad"
    link = data.get("console_url")
    return Message(one_line(title), shown, link if isinstance(link, str) else None, mood)


def _title(family: str, kind: str, event: Event) -> str:
    data = event.data
    if family == "run" and kind in _RUN:
        why = (data.get("diagnosis") or {}).get("meaning") or "what can be said of it"
        return f"Run {_named(data.get('name'), event.subject)} {_RUN[kind].format(status=data.get('status'), why=why)}"
    if family == "batch" and kind in _BATCH:
        return f"Batch {_named(data.get('name'), event.subject)} {_BATCH[kind]}"
    if family == "cohort" and kind == "finished":
        return f"All runs of {'the batch' if data.get('batch_id') else 'the cohort'} {event.subject} have ended"
    if family == "poller" and kind in _POLLER:
        return _POLLER[kind].format(subject=event.subject, instance=data.get("instance"))
    return f"{event.type} of {event.subject}"


def _named(name: Json, subject: str) -> str:
    return f"{name} ({subject})" if name and name != subject else subject


Facts = Iterator[tuple[str, Json]]


def _run_facts(data: Mapping[str, Json]) -> Facts:
    seen_only = data.get("occurred_at_source") == "observed_at"
    yield "Seen" if seen_only else "When", _moment(data.get("occurred_at"))
    if data.get("previous_status") != data.get("status"):
        yield "Before", data.get("previous_status")
    if data.get("status") == "RUNNING" and not data.get("overdue"):
        yield "Waited", _between(data.get("creation_time"), data.get("start_time"))
    yield "Ran for", _span(data.get("duration_seconds"))
    yield from _overdue_facts(data.get("overdue") or {})
    yield "Reason", data.get("failure_reason")
    yield from _diagnosis_facts(data.get("diagnosis") or {})
    yield "Message", data.get("status_message")
    yield "Known by", data.get("recovered_from")
    yield "Evidence", ", ".join(data.get("evidence") or ())
    yield "Workflow", _workflow(data)
    yield "Run group", data.get("run_group_id")
    yield "Batch", data.get("batch_id")
    yield "Cohort", ", ".join(data.get("cohorts") or ())
    yield from _place_and_tags(data)


def _overdue_facts(overdue: Mapping[str, Json]) -> Facts:
    yield "For", _span(overdue.get("seconds"))
    usual = _span(overdue.get("usual_seconds"))
    if overdue.get("basis") == "usual" and usual:
        yield "Usual", f"{usual}, of {overdue.get('known_runs')} runs of this workflow"
    else:
        yield "Deadline", _span(overdue.get("limit_seconds"))


def _diagnosis_facts(diagnosis: Mapping[str, Json]) -> Facts:
    tasks = diagnosis.get("tasks") or [{}]
    yield "Task", tasks[0].get("name") or tasks[0].get("task_id")
    yield "Whose", diagnosis.get("owner")
    yield "What to do", diagnosis.get("action")
    if diagnosis:
        safe = diagnosis.get("retry_safe")
        yield "Started again unchanged", "unclear" if safe is None else "may go well" if safe else "will fail again"


def _batch_facts(data: Mapping[str, Json]) -> Facts:
    yield "When", _moment(data.get("occurred_at") or data.get("observed_at"))
    yield "Runs", _counts(data.get("run_counts"))
    yield "Of", data.get("total_runs")
    yield "Reason", data.get("failure_reason")
    yield from _place_and_tags(data)


def _cohort_facts(data: Mapping[str, Json]) -> Facts:
    yield "When", _moment(data.get("occurred_at"))
    yield "Took", _between(data.get("first_at"), data.get("occurred_at"))
    yield "Runs", _counts(data.get("counts"))
    yield "Of", data.get("total_runs")
    others = list(data.get("not_completed") or ())
    named = [
        " ".join(str(part) for part in (_named(run.get("name"), run["run_id"]), run.get("failure_reason")) if part)
        for run in others[:MOST_NAMED]
    ]
    more = (data.get("not_completed_runs") or 0) - len(named)
    yield "Not completed", ", ".join([*named, *([f"and {more} more"] if more > 0 else ())])


def _poller_facts(data: Mapping[str, Json]) -> Facts:
    yield "Since", _moment(data.get("since"))
    yield "Lasted", _span(data.get("duration_seconds"))
    yield "Cause", data.get("cause")
    yield "Last error", data.get("detail")
    yield "Last success", _moment(data.get("last_success_at"))
    yield "Poller", data.get("instance")


def _counts(counts: Mapping[str, int] | None) -> str:
    return ", ".join(f"{count} {status.lower()}" for status, count in (counts or {}).items() if count)


def _place_and_tags(data: Mapping[str, Json]) -> Facts:
    yield "Account", ", ".join(part for part in (data.get("account_id"), data.get("region")) if part)
    yield "Tags", ", ".join(f"{name}={value}" for name, value in (data.get("tags") or {}).items())


_FACTS: Final[Mapping[str, Callable[[Mapping[str, Json]], Facts]]] = {
    "run": _run_facts,
    "cohort": _cohort_facts,
    "poller": _poller_facts,
}


def _workflow(data: Mapping[str, Json]) -> str:
    name, version, number = (data.get(f"workflow_{part}") for part in ("name", "version_name", "id"))
    named = " ".join(str(part) for part in (name, version) if part)
    return f"{named} ({number})" if named and number else named or str(number or "")


def _moment(value: Json) -> str:
    """A time as people read it: 2026-11-23 08:15:03 UTC."""
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else ""


def _between(begin: Json, end: Json) -> str:
    if not begin or not end:
        return ""
    return _span((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())


def _span(seconds: Json) -> str:
    """A span as people say it, by its two largest units: 1 h 30 min, 2 d 4 h, 45 s."""
    if seconds is None:
        return ""
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
