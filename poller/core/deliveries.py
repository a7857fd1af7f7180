"""What is owed: one event to one sink, and how an attempt to send it went."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from poller.core.events import Event

UNTIL_RESUMED: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Of a sink that is paused: no moment ends it, `sinks resume` does."""


class DeliveryState(StrEnum):
    """Where a delivery stands in the record."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"
    SUPERSEDED = "superseded"
    """Another delivery took its place: a dead letter that was replayed, or one that was moved to where it was owed."""


class AttemptOutcome(StrEnum):
    """How an attempt ended that did not go well, as it is listed with its delivery."""

    FAILED = "failed"
    REJECTED = "rejected"


class Delivery(NamedTuple):
    """One event owed to one sink, claimed for sending.

    Within (sink, `lane`), see `lane_of`, the order of `event.position` is kept. `attempts` are those that
    failed so far; `counted` those of them that tell against the event, since others of the sink succeeded meanwhile.
    `owed_since` is given where the sink came to be owed it later than it was recorded.
    """

    id: int
    sink: str
    lane: str
    event: Event
    attempts: int = 0
    counted: int = 0
    last_attempt_at: datetime | None = None
    owed_since: datetime | None = None


class Settlement(NamedTuple):
    """How an attempt ended: acknowledged, pending again with `due`, or dead with the `error` that tells why.

    `outcome` is of an attempt that did not go well; None where it did, or nothing was sent.
    """

    delivery_id: int
    state: DeliveryState
    at: datetime
    due: datetime | None = None
    attempts: int = 0
    counted: int = 0
    error: str | None = None
    outcome: AttemptOutcome | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of a delivery, as it is listed: `number` counts from 1, `error` is what the far end said."""

    number: int
    at: datetime
    outcome: AttemptOutcome
    error: str | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as it is listed: everything but the event's body.

    `parked` is True while no sink of that name is in force: it stays owed, and goes on when the name returns.
    """

    id: int
    sink: str
    state: DeliveryState
    parked: bool
    event_id: str
    event_type: str
    source: str
    run_id: str | None
    position: int
    attempts: int
    due: datetime | None
    recorded_at: datetime
    settled_at: datetime | None
    error: str | None
    replay_id: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are meant, to be read or to be sent again; whatever is given narrows it.

    `sink` is who was owed them; `types` are whole event types; `since` and `until` compare with when they were
    recorded; with `dead` only what is a dead letter.
    """

    run_id: str | None = None
    scope: str | None = None
    sink: str | None = None
    types: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    event_ids: Sequence[str] | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Replayable:
    """How many events of a type would be sent again to a sink."""

    sink: str
    event_type: str
    events: int


def lane_of(source: str, replay_id: str | None = None) -> str:
    """Within what order is kept: the events of one run; those of a replay among themselves."""
    return source if replay_id is None else f"{source}#{replay_id}"


def source_of(lane: str) -> str:
    """The run, or the part of the poller, that a lane is about."""
    return lane.partition("#")[0]
