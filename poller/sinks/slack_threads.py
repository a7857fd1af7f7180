"""Which thread of Slack an event belongs to, and the first messages of threads, kept in a small file.

The file is for threads to go on after a restart. It is no record: without it a thread begins anew, and nothing is lost.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog

from poller.core.events import Event
from poller.core.runs import Json

log = structlog.get_logger("poller.sinks")

MOST_THREADS: Final = 500
"""Threads that are kept; the oldest go first."""
COHORT: Final = "cohort"
"""Threads by what is waited for as one: the `[[cohort]]` of a run, else its batch."""
_TITLES: Final = {"batch_id": "Batch", "run_group_id": "Run group", "workflow_id": "Workflow", "run_id": "Run"}
TAGS: Final = "tags."
_PLACE: Final = re.compile(r"arn:[^:]+:omics:(?P<region>[^:]+):(?P<account>\d{12}):")
"""Where a run or batch is, by its ARN: what all events of a thread have in common, whatever else they say."""


def thread_of(event: Event, thread_by: str) -> str | None:
    """What an event shares with the others of its thread, as words: "Batch 7123456 of 123456789012, us-east-1".

    Args: `thread_by` is a field of the data of events, tags.NAME, or cohort. None where the event does not have it.
    """
    data = event.data
    if thread_by == COHORT:
        if (name := _cohort_of(data)) is not None:
            return f"Cohort {name}"
        thread_by = "batch_id"
    tag = thread_by.removeprefix(TAGS) if thread_by.startswith(TAGS) else None
    value = data.get(thread_by) if tag is None else (data.get("tags") or {}).get(tag)
    if value in (None, ""):
        return None
    place = _PLACE.match(event.source)
    where = (
        f" of {place['account']}, {place['region']}" if place else f" of {data['region']}" if "region" in data else ""
    )
    return f"{_TITLES.get(thread_by, tag)} {value}{where}"


def _cohort_of(data: Mapping[str, Json]) -> str | None:
    """The first [[cohort]] that the run fits, or the one that has finished; a batch is none here."""
    if names := data.get("cohorts"):
        return str(names[0])
    return str(data["cohort"]) if data.get("cohort") and not data.get("batch_id") else None


class Threads:
    """The first message of each thread in a channel: its words -> Slack's timestamp of it, which names it."""

    def __init__(self, path: Path, channel: str) -> None:
        self._path = path
        self._channel = channel
        self._known: dict[str, str] | None = None
        self.one_at_a_time = anyio.Lock()
        """Held by who looks for a thread and may begin it, so that nobody begins it twice."""

    async def root(self, words: str) -> str | None:
        """The first message of a thread; None if there is none yet."""
        if self._known is None:
            self._known = await anyio.to_thread.run_sync(self._read)
        return self._known.get(self._key(words))

    async def begun(self, words: str, timestamp: str) -> None:
        """A thread has begun. If that cannot be written it is known until the process ends, and a line of the log."""
        self._known = _newest_last(self._known or {}, {self._key(words): timestamp})
        await anyio.to_thread.run_sync(self._write, {self._key(words): timestamp})

    def forget(self, words: str, timestamp: str) -> None:
        """This first message is gone; another one may have taken its place meanwhile, and stays."""
        gone = (self._key(words), timestamp)
        self._known = dict(one for one in (self._known or {}).items() if one != gone)

    def _key(self, words: str) -> str:
        return f"{self._channel}: {words}"

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("slack.threads_unreadable", file=str(self._path), error=str(error))
            return {}
        return {str(key): str(root) for key, root in found.items()} if isinstance(found, dict) else {}

    def _write(self, new: dict[str, str]) -> None:
        """Add to what the file has by now: the sink of before a reload may have written, too."""
        kept = _newest_last(self._read(), new)
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
                json.dump(kept, file, indent=0)
            beside.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            log.warning("slack.threads_unwritable", file=str(self._path), error=str(error))


def _newest_last(known: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Those that are kept, in the order in which they began."""
    older = {key: root for key, root in known.items() if key not in new}
    return dict(list({**older, **new}.items())[-MOST_THREADS:])
