"""One run: what it was asked to be, and what it is at any moment. No clock: every question brings its instant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypedDict

from poller.emulator.instants import SECOND
from poller.emulator.lives import ENDS, GONE, Life, Step


class RunOptions(TypedDict, total=False):
    """What `start_run` takes beside the life; the meaning of each is told at `RunSpec`."""

    starts_in: float
    name: str | None
    run_id: str | None
    uuid: str | None
    tags: Mapping[str, str]
    run_group_id: str | None
    batch_id: str | None
    workflow_id: str
    workflow_name: str | None
    workflow_version_name: str | None
    retention_mode: str
    visible_after: Mapping[str, float]
    request: Mapping[str, Any]
    fields: Mapping[str, object]
    item_fields: Mapping[str, object]
    failed_tasks: Sequence[FailedTask]


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task that fails. `reason` and `message` are what GetRunTask says; None leaves it to the emulator."""

    name: str = "ALIGN"
    reason: str | None = None
    message: str | None = None


USUAL_WORKFLOW: Final = "4074992"
NOTHING: Final[Mapping[str, Any]] = {}  # one for all runs that say nothing, since there may be very many


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A run as it was asked for.

    `starts_in`: seconds (before speed) until the run is created; negative: it is already that old.
    `run_id`, `uuid`: None lets the emulator choose. A run that starts later takes its id over from a run that still
    holds it. `visible_after`: per operation, the seconds (real ones) after creation during which that operation does
    not know the run. `request`: further members of the StartRun request, by their names on the wire (`outputUri`,
    `parameters`, ...). `fields`: members of the GetRun answer, over all else, in all statuses; None leaves a member
    out. Those that a list item also has show there too. `item_fields`: the same for the ListRuns item only.
    `failed_tasks`: tasks that fail one after the other while the run is RUNNING, all but the last as if they were
    repeated; the run's message names the last one where it failed for a task. All other tasks complete.
    """

    life: Life
    starts_in: float = 0.0
    name: str | None = None
    run_id: str | None = None
    uuid: str | None = None
    tags: Mapping[str, str] = field(default_factory=_nothing)
    run_group_id: str | None = None
    batch_id: str | None = None
    workflow_id: str = USUAL_WORKFLOW
    workflow_name: str | None = "emulated"
    workflow_version_name: str | None = None
    retention_mode: str = "RETAIN"
    visible_after: Mapping[str, float] = field(default_factory=_nothing)
    request: Mapping[str, Any] = field(default_factory=_nothing)
    fields: Mapping[str, object] = field(default_factory=_nothing)
    item_fields: Mapping[str, object] = field(default_factory=_nothing)
    failed_tasks: Sequence[FailedTask] = ()


class Moment(NamedTuple):
    """When a run entered a status, and the fields that its script has given it up to then."""

    at: int
    status: str
    fields: Mapping[str, object]


Watcher = Callable[[str | None, str, int], None]  # told the old status (None: new), the new one, and the instant


@dataclass(slots=True, eq=False)
class Run:
    """One incarnation: a script laid out in time, and how far it has come (`index`; -1: not created yet)."""

    spec: RunSpec
    id: str
    uuid: str
    scope: str  # what the ARNs of its account and region begin with
    key: int  # its place in every list
    moments: list[Moment]
    planned: Sequence[Moment] | None = None  # as scripted when RUNNING began, where `moments` no longer say so
    index: int = -1
    version: int = 0  # grows when the rest of the script is replaced, so that what was due of the old one is dropped
    rendered: bytes | None = None  # its item in lists, in the present status
    watcher: Watcher | None = None

    @property
    def arn(self) -> str:
        return f"{self.scope}:run/{self.id}"

    @property
    def created(self) -> int:
        return self.moments[0].at

    @property
    def status(self) -> str:
        return self.moments[self.index].status

    def index_at(self, instant: int) -> int:
        """Which moment was the present one at `instant`; -1 before its creation. Never later than it has come."""
        return min(bisect_right(self.moments, instant, key=lambda moment: moment.at) - 1, self.index)

    def exists_at(self, index: int) -> bool:
        return index >= 0 and self.moments[index].status != GONE

    def entered(self, statuses: frozenset[str], index: int) -> int | None:
        """When the run first entered one of `statuses`, as known at moment `index`."""
        return next((moment.at for moment in self.moments[: index + 1] if moment.status in statuses), None)

    def started(self, index: int) -> int | None:
        return self.entered(frozenset({"RUNNING"}), index)

    def stopped(self, index: int) -> int | None:
        return self.entered(ENDS, index)

    def visible(self, operation: str, instant: int) -> bool:
        """Whether `operation` knows the run yet, `instant` being now."""
        delay = self.spec.visible_after.get(operation, 0.0) if self.spec.visible_after else 0.0
        return instant >= self.created + delay * SECOND


def lay_out(steps: Sequence[Step], begin: int, speed: float, given: Mapping[str, object]) -> list[Moment]:
    """The moments of `steps` from `begin` on, `given` being the fields from before.

    What follows the first moment is cut to whole milliseconds, as the service's own start times are; never to before
    what precedes it.
    """
    moments: list[Moment] = []
    offset, fields = 0.0, given
    for step in steps:
        at = begin
        if offset:
            exact = begin + round(offset * SECOND / speed)
            at = max(moments[-1].at, exact - exact % 1000)
        if step.fields:
            fields = {**fields, **step.fields}
        moments.append(Moment(at, step.status, fields))
        offset += step.seconds
    return moments
