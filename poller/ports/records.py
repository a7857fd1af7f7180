"""What the record takes and gives, row by row: what a round writes, what people and workers read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from poller.core.batches import KnownBatch
from poller.core.drafts import Draft
from poller.core.events import Event
from poller.core.runs import Json, KnownRun
from poller.core.stays import Stays


@dataclass(frozen=True, slots=True)
class ScopeState:
    """What the record remembers of a scope, beside its runs.

    `account_id` pins the scope: another account is never given a verdict. `discovered_through` is a creationTime by
    the service's clock: every run created after it is told. `rates` are the learned calls per second by operation.
    `plan` is how the scope was asked lately (`core.plan.Plan` as JSON, with `at`), empty before the first.
    """

    name: str
    region: str
    account_id: str | None = None
    discovered_through: datetime | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    plan: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A run that a command or the library asked to follow (`mode` "follow"), or not to ("mute")."""

    scope: str
    run_id: str
    mode: Literal["follow", "mute"]
    added_at: datetime


@dataclass(frozen=True, slots=True)
class OwedDiagnosis:
    """A run that is owed a diagnosis: its `failed` event as recorded, and the incarnation in that event's id."""

    failed: Event
    incarnation: str


@dataclass(frozen=True, slots=True)
class MadeDiagnosis:
    """A diagnosis that was made: of the `failed` event at `position`. Without `draft` nothing is told of that run."""

    position: int
    draft: Draft | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What one transaction writes: the runs as they are known now, and the events that this took.

    `snapshots` are the fields of GetRun answers to keep, by run id. `stays` are the whole of what is to be known from
    now on of a workflow's stays in a status. Everything belongs to `scope`; events that the poller makes of itself come
    with no runs and no scope. `failing` is since when a sink has been in an outage that is told, None once it is over.
    `cohorts_finished` are the keys of cohorts that the drafts tell to have finished, and when that was clear.
    `to_diagnose` are the ids of those drafts whose runs are owed a diagnosis once they are recorded; `diagnoses` are
    recorded only while they are owed, and then are so no more.
    """

    at: datetime
    scope: str | None = None
    runs: Sequence[KnownRun] = ()
    snapshots: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    drafts: Sequence[Draft] = ()
    state: ScopeState | None = None
    batches: Sequence[KnownBatch] = ()
    stays: Sequence[Stays] = ()
    failing: Mapping[str, datetime | None] = field(default_factory=dict)
    cohorts_finished: Mapping[str, datetime] = field(default_factory=dict)
    to_diagnose: Collection[str] = ()
    diagnoses: Sequence[MadeDiagnosis] = ()


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is listed and shown: what is known, the last stored GetRun fields, and when it last changed."""

    scope: str
    known: KnownRun
    snapshot: Mapping[str, Json]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SinkRow:
    """What the record knows of a sink: `in_force` is False for one that the configuration no longer names."""

    name: str
    in_force: bool
    first_seen_at: datetime
    owed: int
    dead: int
    acknowledged: int
    paused_until: datetime | None = None
    failing_since: datetime | None = None

    def paused(self, now: datetime) -> bool:
        """Whether nothing is sent to it now, since somebody wants that."""
        return self.paused_until is not None and now < self.paused_until


class SinkState(NamedTuple):
    """What a sink's worker has to know: nothing is sent before `paused_until`; `failing_since` is as it was told."""

    paused_until: datetime | None = None
    failing_since: datetime | None = None
