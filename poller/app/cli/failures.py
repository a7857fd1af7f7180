"""Why a run failed, as people read it: in one line for those who watch, line by line for those who look it up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from poller.core.diagnosis import DIAGNOSED, in_words
from poller.core.events import Event
from poller.core.reasons import reason_of
from poller.core.runs import Json

_RETRY = {True: "may go well", False: "will most likely fail again", None: "unclear"}


def in_words_by_code(code: str) -> str:
    """What the table says of a run's own code: without any question to the service."""
    reason = reason_of(code)
    return in_words({"reason_code": code, "meaning": reason.meaning, "owner": reason.owner, "action": reason.action})


def diagnosis_in(events: Iterable[Event], uuid: str | None) -> Mapping[str, Json] | None:
    """The diagnosis of this incarnation among its events; None if none was told, or it was erased."""
    told = [event for event in events if event.type == DIAGNOSED and event.data.get("run_uuid") == uuid]
    return told[-1].data.get("diagnosis") if told else None


def facts_of(diagnosis: Mapping[str, Json]) -> list[tuple[str, object]]:
    """A diagnosis as names and values, the most telling first."""
    owners = [diagnosis.get("owner"), *(diagnosis.get("other_owners") or ())]
    count, tasks = diagnosis.get("failed_task_count"), diagnosis.get("tasks") or ()
    facts: list[tuple[str, object]] = [
        ("failed by", diagnosis.get("reason_code")),
        ("which means", diagnosis.get("meaning")),
        ("whose it is", ", or ".join(str(owner).replace("_", " ") for owner in owners if owner) or None),
        ("what to do", diagnosis.get("action")),
        ("retry as it is", None if diagnosis.get("meaning") is None else _RETRY[diagnosis.get("retry_safe")]),
        *((f"task {task['task_id']}", _task(task)) for task in tasks),
    ]
    if count is not None and count > len(tasks):
        facts.append(("more tasks", f"{count - len(tasks)} failed too"))
    facts += [("log", tasks[0]["log_url"])] if tasks and tasks[0].get("log_url") else []
    facts += [("not read", said) for said in diagnosis.get("incomplete") or ()]
    return facts


def lines_of(diagnosis: Mapping[str, Json]) -> Sequence[str]:
    """The last lines of the log, if there are some."""
    excerpt = diagnosis.get("log_excerpt")
    return excerpt["lines"] if excerpt else ()


def _task(task: Mapping[str, Json]) -> str:
    return ": ".join(_said(task))


def _said(task: Mapping[str, Json]) -> Iterator[str]:
    for name in ("name", "failure_reason", "status_message"):
        if task.get(name):
            yield str(task[name])
