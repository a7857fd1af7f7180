"""The nouns: what a run is to us, and what one API answer said of it.

A `Snapshot` is one answer about one run. A `KnownRun` is all that must be remembered of a run between two answers;
it is small, since a daemon holds one for each watched run (the answer's other fields stay in the record).
Facts: HealthOmics API 2022-11-28, GetRun and ListRuns (RunListItem has no uuid, tags, group or failure reason).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

RUN_ID: Final = re.compile(r"[0-9]{1,18}")
"""What the service takes as a run id (the API's pattern, cut to the 18 digits that it documents)."""

RUN_ARN: Final = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):omics:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):run/(?P<id>\d{1,18})"
)

Json = Any
"""A value as `json.loads` gives it."""

EmitFirst = Literal["always", "terminal", "never"]
"""Whether the first thing seen of a run is told: a rule may find runs that are older than the watch."""

SinceBy = Literal["stamp", "step", "look"]
"""How it is known since when a run is in its status: a stamp of the service, a step that was seen, or a first look."""


class RunName(NamedTuple):
    """What a configured or typed name of a run says: its id, and the scope or ARN it was named with."""

    run_id: str
    scope: str | None = None
    region: str | None = None
    account_id: str | None = None


class Verdict(StrEnum):
    """Why an incarnation is looked at no more."""

    ENDED = "ended"
    """COMPLETED, FAILED or CANCELLED was told, or DELETED without a known end."""
    VANISHED = "vanished"
    """The service does not know it any more, and nothing tells how it ended."""
    UNREACHABLE = "unreachable"
    """The service refuses to answer about this one id."""


class Question(StrEnum):
    """What a GetRun is needed for, most urgent first."""

    IDENTITY = "identity"
    """A list shows a newer creationTime under this id: is it another incarnation?"""
    END = "end"
    """A list shows an end, or misses the run: how did it end?"""
    GONE = "gone"
    """GetRun did not find it once: ask again after a pause."""
    NEW = "new"
    """It was created after discovery's mark, and never looked at: all its events wait for that."""
    PROOF = "proof"
    """Lists showed it move on before the uuid is known."""
    FIRST = "first"
    """It was never looked at, and was there before; nothing of it has changed since."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one API answer said of one run at one moment.

    `fields` are the answer's members by the service's own names, as JSON values, without what privacy leaves out.
    `full` is True for GetRun, False for a ListRuns item. All times are aware UTC.
    """

    run_id: str
    status: str
    full: bool
    asked_at: datetime
    answered_at: datetime
    uuid: str | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    stop_time: datetime | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)

    @property
    def created(self) -> datetime | None:
        """The creationTime as it tells incarnations apart: cut to milliseconds."""
        return None if self.creation_time is None else cut_to_milliseconds(self.creation_time)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A status that a list showed of a run whose uuid is not known yet, or an end that only a GetRun may tell."""

    status: str
    asked_at: datetime
    answered_at: datetime
    start_time: datetime | None = None
    stop_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Successor:
    """A newer incarnation that a GetRun has shown, while the manifest of the one before is asked how that ended."""

    uuid: str | None
    creation_time: datetime | None
    seen: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What a run group allows, as GetRunGroup says; None where it sets no limit. `max_duration` is in minutes."""

    max_runs: int | None = None
    max_cpus: int | None = None
    max_gpus: int | None = None
    max_duration: int | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What is known of the run group of a run that waits: facts, of which people draw the conclusion.

    `active_seen` is how many runs of the group were known, at `seen_at`, to be in STARTING, RUNNING or STOPPING, of
    those that are followed. `limits` are None where the service did not tell; `unknown_because` says why.
    """

    group_id: str
    limits: GroupLimits | None
    active_seen: int
    seen_at: datetime
    unknown_because: str | None = None


@dataclass(frozen=True, slots=True)
class Overdue:
    """The figures of a run that stays in one status for longer than it may.

    `seconds` is how long it has been there at least: up to the request that showed it. `limit_seconds` is the shorter
    one of the watch's deadline and `factor` times what is usual; `basis` says which that was. `usual_seconds` is the
    median of the `known_runs` last runs of its workflow; None while too few are known, or nobody asked.
    """

    status: str
    since: datetime
    since_source: str
    seconds: float
    limit_seconds: float
    basis: Literal["deadline", "usual"]
    usual_seconds: float | None = None
    known_runs: int | None = None
    factor: float | None = None
    group: GroupFacts | None = None


@dataclass(frozen=True, slots=True)
class KnownRun:
    """All that is remembered of a run's newest incarnation.

    `by_rule` is True where discovery found it, False where somebody named its id. `status` is the last one that we
    understood, told or not; None before the first. `since` is when the run entered it, as well as we know, and
    `since_by` how well that is; `seen_at` when the request was sent that last showed it. `incarnation` is the identity
    in event ids, fixed with the first event. `batch_id` is the batch that named the run and its uuid: its list items
    are this incarnation, without a GetRun. `refused` is True from an `unreachable` on until a GetRun answers.
    `successor` is there only until the last event of this incarnation is told. `question` is what a GetRun is needed
    for now, None where the cadence decides. `overdue_in` is the status in which it was last told to be overdue. Of its
    workflow and group the ids are kept: what is usual for it depends on them.
    """

    run_id: str
    emit_first: EmitFirst = "always"
    by_rule: bool = False
    uuid: str | None = None
    batch_id: str | None = None
    creation_time: datetime | None = None
    incarnation: str | None = None
    status: str | None = None
    since: datetime | None = None
    since_by: SinceBy = "look"
    seen_at: datetime | None = None
    looked: bool = False
    told: bool = False
    verdict: Verdict | None = None
    question: Question | None = Question.FIRST
    missing_since: datetime | None = None
    shown_deleted: bool = False
    end_seen: Evidence | None = None
    evidence: tuple[Evidence, ...] = ()
    unknown_statuses: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    reappeared: bool = False
    refused: bool = False
    successor: Successor | None = None
    workflow_id: str | None = None
    workflow_version: str | None = None
    run_group_id: str | None = None
    overdue_in: str | None = None

    @property
    def live(self) -> bool:
        """Whether it is still looked at."""
        return self.verdict is None

    @property
    def identity(self) -> str:
        """The identity in event ids: as the first event fixed it, before that as it is known now."""
        return self.incarnation if self.incarnation is not None else incarnation_of(self.uuid, self.creation_time)

    def is_proven_by(self, item: Snapshot) -> bool:
        """Whether the uuid is known to belong to what a list item shows: a GetRun, or its batch, has joined them."""
        return self.looked or (
            self.uuid is not None and self.batch_id is not None and item.fields.get("batchId") == self.batch_id
        )


def cut_to_milliseconds(moment: datetime) -> datetime:
    """Cut, not rounded, since lists and GetRun differ in the digits of a creationTime."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def created_together(one: datetime | None, other: datetime | None) -> bool:
    """Whether two creationTimes are one; a millisecond apart is no difference, since one may cut and one round."""
    if one is None or other is None:
        return False
    return abs(cut_to_milliseconds(one) - cut_to_milliseconds(other)) <= timedelta(milliseconds=1)


def incarnation_of(uuid: str | None, creation_time: datetime | None) -> str:
    """The identity of one life of a run id: its uuid, else `created:` and its creationTime in ms, else empty."""
    if uuid:
        return uuid
    if creation_time is not None:
        milliseconds = (creation_time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        return f"created:{milliseconds}"
    return ""
