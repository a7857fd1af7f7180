"""A cohort: runs that somebody waits for as one, and what is told once the last of them has ended.

Pure. A cohort is what a `[[cohort]]` table describes, or a batch that is followed. Its members are the lives of runs
that events tell of: the record follows the events (`store/cohorts.py`), and this says who belongs to it, what an event
means for a member, and when the cohort has finished.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from poller.core.events import RUN_PREFIX, bytes_of
from poller.core.runs import Json, RunName
from poller.core.statuses import ENDS

LIVE: Final = "live"
LOST: Final = frozenset({"vanished", "unreachable", "replaced"})
"""Ends that are no status: nobody knows how the run ended."""
ENDED: Final = frozenset({status.lower() for status in ENDS} | {"deleted"} | LOST)
MOST_NAMED: Final = 100
"""Runs that did not complete and are named in the event; all are counted."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """What one cohort is made of: the runs that are `named`, and those that fit everything else that is given.

    `described` is how the named ones were written, `named` what that means: where each is, as far as that is known.
    `expected` is how many runs it has in all; without it one that is not only of named runs has finished once none came
    and none ended for `quiet`. A batch has no other members than its own runs, and says itself how many.
    """

    name: str
    named: frozenset[RunName] = frozenset()
    described: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    name_glob: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    batch_id: str | None = None
    scope: str | None = None
    expected: int | None = None
    quiet: timedelta = timedelta(minutes=10)

    @property
    def by_rule(self) -> bool:
        """Whether runs belong to it that it does not name."""
        return bool(self.groups or self.name_glob is not None or self.tags or self.batch_id is not None)

    @property
    def key(self) -> str:
        """Which set of runs it is: a cohort that is described otherwise is another one."""
        if self.batch_id is not None:
            return bytes_of(["batch", self.scope, self.batch_id]).decode()
        rule = [sorted(self.groups), self.name_glob, sorted(self.tags), self.expected]
        return bytes_of([self.name, sorted(self.described), *rule]).decode()

    def names(self, data: Mapping[str, Json], scope: str | None) -> bool:
        """Whether the run of an event is named: by its id alone, or with where it is."""
        run_id, region, account_id = str(data.get("run_id")), data.get("region"), data.get("account_id")
        ways = (RunName(run_id), RunName(run_id, scope=scope), RunName(run_id, region=region, account_id=account_id))
        return not self.named.isdisjoint(ways)

    def is_batch(self, data: Mapping[str, Json], scope: str | None) -> bool:
        """Whether an event is about the batch that the cohort is, or about a run of it."""
        return data.get("batch_id") == self.batch_id and scope == self.scope

    def takes(self, data: Mapping[str, Json], scope: str | None) -> bool:
        """Whether the run of an event fits, named or not."""
        if self.batch_id is not None:
            return self.is_batch(data, scope)
        if self.names(data, scope):
            return True
        tags = data.get("tags") or {}
        return (
            self.by_rule
            and (not self.groups or data.get("run_group_id") in self.groups)
            and (self.name_glob is None or fnmatchcase(str(data.get("name") or ""), self.name_glob))
            and all(tags.get(name) == value for name, value in self.tags)
        )


def names_of(cohorts: Sequence[Cohort], data: Mapping[str, Json], scope: str | None) -> list[str]:
    """The names of those that the run of an event fits, in their order."""
    return [cohort.name for cohort in cohorts if cohort.takes(data, scope)]


def state_after(event_type: str) -> str | None:
    """What an event of a run says of its member: `live`, or how it ended; None if it says nothing of that."""
    kind = event_type.removeprefix(RUN_PREFIX)
    if kind == event_type or kind in ("contradicted", "overdue", "diagnosed", "unknown_status"):
        return None
    return kind if kind in ENDED else LIVE


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a cohort is: members by state, how many named runs are among them, and when one last came or ended.

    Of a batch: `closed` once the service submits no more runs and all are known by name, `submitted` how many it did.
    """

    counts: Mapping[str, int]
    named: int = 0
    changed_at: datetime | None = None
    closed: bool = False
    submitted: int = 0

    @property
    def known(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Followed:
    """What the next events on record did: the keys of the cohorts to which members came or in which members changed
    their state, and whether there may be more events.
    """

    changed: frozenset[str] = frozenset()
    more: bool = False


def has_finished(cohort: Cohort, progress: Progress, now: datetime) -> bool:
    """Whether the last of a cohort's runs has ended. `now` is the wall clock."""
    if progress.known == 0 or progress.counts.get(LIVE, 0) or progress.named < len(cohort.named):
        return False
    quiet = progress.changed_at is not None and now - progress.changed_at >= cohort.quiet
    if cohort.batch_id is not None:
        return progress.closed and (progress.known >= progress.submitted or quiet)
    if not cohort.by_rule:
        return True
    return progress.known >= cohort.expected if cohort.expected is not None else quiet


@dataclass(frozen=True, slots=True)
class Ended:
    """A member that did not complete, as the event names it."""

    run_id: str
    source: str
    run_uuid: str | None
    name: str | None
    state: str
    failure_reason: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What is told of a cohort that has finished. `source` and `incarnation` are those of its batch, if it is one."""

    cohort: Cohort
    counts: Mapping[str, int]
    others: Sequence[Ended]
    first_at: datetime
    last_at: datetime
    observed_at: datetime
    source: str | None = None
    incarnation: str = ""
