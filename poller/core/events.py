"""The event: a thing told once and for ever, as a CloudEvents 1.0 record; its types, its identity, its bytes.

An `Event` is one as it was recorded. What its fields say: `core.event_data`; how it comes about: `core.drafts`.
Sources: CloudEvents 1.0.2, GetRun, docs/events.md.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, Literal, get_args
from uuid import UUID, uuid5

from poller.core.batches import BATCH_TYPES
from poller.core.diagnosis_data import diagnosis_without
from poller.core.runs import Json

NAMESPACE: Final = UUID("5d6a1f5e-6b0b-5c1b-9a55-0f6d1c8b7e42")
"""Of all event ids; never to be changed: receivers deduplicate by them."""

RUN_PREFIX: Final = "healthomics.run."
POLLER_PREFIX: Final = "healthomics.poller."
STATUS_TYPES: Final = tuple(
    RUN_PREFIX + word
    for word in ("pending", "starting", "running", "stopping", "completed", "failed", "cancelled", "deleted")
)
RUN_TYPES: Final = (
    *STATUS_TYPES,
    *(
        RUN_PREFIX + word
        for word in ("vanished", "unreachable", "replaced", "contradicted", "unknown_status", "overdue", "diagnosed")
    ),
)
PollerKind = Literal["blind", "recovered", "sink_failing", "sink_recovered", "heartbeat"]
POLLER_KINDS: Final[tuple[PollerKind, ...]] = get_args(PollerKind)
POLLER_TYPES: Final = tuple(POLLER_PREFIX + kind for kind in POLLER_KINDS)
COHORT_FINISHED: Final = "healthomics.cohort.finished"
EVENT_TYPES: Final = (*RUN_TYPES, *BATCH_TYPES, COHORT_FINISHED, *POLLER_TYPES)
"""Every type of event that is told."""
PrivateField = Literal["parameters", "definition", "engineSettings", "sessionPolicy"]
PRIVATE_FIELDS: Final[tuple[PrivateField, ...]] = get_args(PrivateField)
"""GetRun members that are neither stored nor sent unless `[privacy] include` names them."""


class Event:
    """An event as it was recorded. Its bytes are its identity: everything else is read from them.

    Args: `body` as stored; `position` in the record (0: not recorded, a sample); `recorded_at` aware UTC; `id` where it
    is known without reading the body; `replay` is the id of the replay that sends it again: a mark beside the bytes,
    never in them.
    """

    def __init__(
        self,
        body: bytes,
        *,
        position: int = 0,
        recorded_at: datetime | None = None,
        id: str | None = None,
        replay: str | None = None,
    ) -> None:
        self.body = body
        self._id = id
        self.position = position
        self.recorded_at = recorded_at
        self.replay = replay

    @cached_property
    def attributes(self) -> dict[str, Json]:
        """The whole record as JSON values."""
        parsed: dict[str, Json] = json.loads(self.body)
        return parsed

    @property
    def id(self) -> str:
        return self._id if self._id is not None else str(self.attributes["id"])

    @property
    def source(self) -> str:
        return str(self.attributes["source"])

    @property
    def type(self) -> str:
        return str(self.attributes["type"])

    @property
    def subject(self) -> str:
        return str(self.attributes["subject"])

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(str(self.attributes["time"]))

    @property
    def sequence(self) -> int | None:
        """Place among the events of this incarnation, from 1; None for events that are not about a run."""
        number = self.attributes.get("sequence")
        return None if number is None else int(number)

    @property
    def data(self) -> dict[str, Json]:
        data: dict[str, Json] = self.attributes["data"]
        return data

    @property
    def kind(self) -> str:
        """The type without its prefix: "failed", "blind", "batch.failed"."""
        return short_type(self.type)

    @property
    def run_id(self) -> str | None:
        run_id: str | None = self.data.get("run_id")
        return run_id

    @property
    def status(self) -> str | None:
        status: str | None = self.data.get("status")
        return status

    @property
    def terminal(self) -> bool:
        return bool(self.data.get("terminal"))

    def to_json(self) -> str:
        """The stored bytes as text: what every sink sends unless a format of its own says otherwise."""
        return self.body.decode()

    def without(self, omitted: Sequence[str]) -> "Event":
        """The event with fields of `data` set to null and named in `data.redacted`; itself if none of them is there.

        What says the same in `data.diagnosis`, and of the runs of a cohort, goes with them.
        """
        if not omitted:
            return self  # without reading it: what is sent is mostly the bytes as they are stored
        others = self.data.get("not_completed") or ()
        present = [name for name in omitted if name in self.data or any(name in one for one in others)]
        if not present:
            return self
        redacted = sorted({*self.data.get("redacted", ()), *present})
        data = {**self.data, **{name: None for name in present if name in self.data}, "redacted": redacted}
        if others:
            data["not_completed"] = [{**one, **{name: None for name in present if name in one}} for one in others]
        if data.get("diagnosis") is not None:
            data["diagnosis"] = diagnosis_without(data["diagnosis"], present)
        body = bytes_of({**self.attributes, "data": data})
        return Event(body, position=self.position, recorded_at=self.recorded_at, replay=self.replay)

    def __repr__(self) -> str:
        return f"<Event {self.kind} {self.subject} {self.id}>"


def event_id(source: str, incarnation: str, event_type: str, key: str) -> str:
    """The UUIDv5 of what happened: of the JSON array [source, incarnation, type, key]."""
    return str(uuid5(NAMESPACE, bytes_of([source, incarnation, event_type, key]).decode()))


def short_type(event_type: str) -> str:
    """How configuration and people name an event type: without the prefix of runs and of the poller."""
    for prefix in (RUN_PREFIX, POLLER_PREFIX, "healthomics."):
        if event_type.startswith(prefix):
            return event_type.removeprefix(prefix)
    return event_type


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with a Z; a fraction only where there is one, in milliseconds or microseconds."""
    moment = moment.astimezone(UTC)
    precision = "seconds" if not moment.microsecond else "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def bytes_of(value: Json) -> bytes:
    """Compact UTF-8 JSON. Half a surrogate pair, which JSON can spell and UTF-8 cannot, becomes a question mark."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
