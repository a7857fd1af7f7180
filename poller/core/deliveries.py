"""What is owed: one event to one sink, and how an attempt to send it went."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from poller.core.events import Event

UNTIL_RESUMED: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Of a sink that is paused: no moment ends it, `sinks resume` does."""


class DeliveryState(StrEnum):
    """Where a delivery stands in the record."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"


class AttemptOutcome(StrEnum):
    """How one attempt ended, as it is listed with its delivery."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event owed to one sink, claimed for sending.

    `lane` is the event's source: within (sink, lane) the order of `event.position` is kept. `attempts` are those that
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


@dataclass(frozen=True, slots=True)
class Settlement:
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
