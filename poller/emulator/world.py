"""The runs of one account and region: which exist at an instant, in which status, and what was true when.

Pure apart from its own state: no clock, no input or output; every call brings the present instant, which never goes
back. Each step of each life is applied once, in order of time; what else happens at an instant, such as the next
submission of a batch, waits in the same queue.
"""

from __future__ import annotations

import heapq
import random
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import NamedTuple

from poller.emulator.chance import id_by, uuid_by
from poller.emulator.errors import Refused, not_found
from poller.emulator.groups import Groups, RunGroup, overruns
from poller.emulator.instants import SECOND, datetime_of
from poller.emulator.lists import Filters, KeyMaker, Lists, Order, Shown
from poller.emulator.lives import ENDS, GONE, Step
from poller.emulator.runs import Moment, Run, RunSpec, Watcher, lay_out

Action = Callable[[int], None]  # done at the instant that it is given


class Transition(NamedTuple):
    """What truly happened: this incarnation entered `status` at `at`. GONE: from then on the API does not know it."""

    run_id: str
    uuid: str
    name: str | None
    status: str
    at: datetime


class World:
    """All runs, past, present and scheduled.

    `speed` divides the durations of lives. `max_runs` is the number of runs that the service remembers (None: no
    limit). `visible_after`: of runs that do not say their own. `cancelling`, `deleting`: seconds (before speed) in
    STOPPING after a CancelRun, and in DELETED after a DeleteRun.
    """

    def __init__(
        self,
        *,
        account_id: str,
        region: str,
        rng: random.Random,
        speed: float = 1.0,
        order: Order = "newest",
        max_runs: int | None = None,
        reuse_ids: bool = False,
        cancelling: float = 5.0,
        deleting: float = 0.0,
        visible_after: Mapping[str, float] | None = None,
    ) -> None:
        self.account_id, self.region, self.speed = account_id, region, speed
        self.groups = Groups()
        self.some_are_late = False  # some run there ever was is seen later by one operation than by another
        self._steps: list[tuple[Run, int]] = []  # what truly happened: the run, and which of its moments
        self._rng, self._max_runs, self._reuse_ids = rng, max_runs, reuse_ids
        self._cancelling, self._deleting, self._visible_after = cancelling, deleting, visible_after
        self._now = 0
        self._numbers = count()
        self._due: list[tuple[int, int, Run | Action, int]] = []
        self._incarnations: dict[str, list[Run]] = {}
        self._present: dict[str, Run] = {}
        self._lists = Lists()
        self._keys = KeyMaker(order)
        self._removable: list[tuple[int, int]] = []  # (created, key) of runs whose retention mode is REMOVE
        self._freed: list[str] = []
        self._requests: dict[str, Run] = {}

    # Time

    def advance(self, now: int) -> None:
        """Apply everything that is due at `now`, each thing at its own instant."""
        while self._due and self._due[0][0] <= now:
            at, _, due, version = heapq.heappop(self._due)
            self._now = max(self._now, at)
            if not isinstance(due, Run):
                due(at)
            elif version == due.version:
                self._step(due)
        self._now = max(self._now, now)

    def at(self, instant: int, action: Action) -> None:
        """Do something at an instant, between what befalls the runs then."""
        heapq.heappush(self._due, (instant, next(self._numbers), action, 0))

    def seconds(self, number: float) -> int:
        """So many seconds of a life, as long as they last here."""
        return round(number * SECOND / self.speed)

    def _step(self, run: Run, *, forced: bool = False) -> None:
        """Take the run one moment further, unless its group makes it wait.

        What is scheduled and finds no room is never created, as if refused.
        """
        if run.index < 0 and not self._come_into_being(run):
            return
        moment = run.moments[run.index + 1]
        if not forced and self.groups.must_wait(run, moment.status):
            self.groups.wait(run)
            return
        old = run.status if run.index >= 0 else None
        run.index += 1
        run.rendered = None
        self._steps.append((run, run.index))
        self._lists.move(run, old, moment.status)
        if moment.status == GONE:
            self._leave(run)
        if moment.status == "RUNNING":
            self._limit(run)
        self._expect(run)
        if run.watcher is not None:
            run.watcher(old, moment.status, moment.at)
        if self.groups.moved(run, old, moment.status):
            self._admit(run.spec.run_group_id, moment.at)

    def _admit(self, group_id: str | None, at: int) -> None:
        """Let those go on that waited for room in their group; what their scripts say then follows that much later."""
        while (waiting := self.groups.next_in(group_id)) is not None:
            delay = at - waiting.moments[waiting.index + 1].at
            rest = waiting.moments[waiting.index + 1 :]
            waiting.moments[waiting.index + 1 :] = [
                Moment(moment.at + delay, moment.status, moment.fields) for moment in rest
            ]
            waiting.planned = None
            waiting.version += 1
            self._step(waiting, forced=True)

    def _limit(self, run: Run) -> None:
        """Where the run has begun to run longer than its group allows, it fails at the limit."""
        timeout = self.groups.timeout_of(run, self._cancelling) if run.started(run.index - 1) is None else None
        if timeout is None:
            return
        limit = run.moments[run.index].at + self.seconds(timeout[0])
        if overruns(run, limit):
            run.planned = tuple(run.moments)
            kept = [moment for moment in run.moments if moment.at <= limit]
            run.moments = [*kept, *lay_out(timeout[1], limit, self.speed, kept[-1].fields)]

    def _expect(self, run: Run) -> None:
        if run.index + 1 < len(run.moments):
            heapq.heappush(self._due, (run.moments[run.index + 1].at, next(self._numbers), run, run.version))

    def _come_into_being(self, run: Run) -> bool:
        holder = self._present.get(run.id)
        if holder is not None:
            self.redirect(holder, [Step(GONE)], run.created)
        try:
            self._make_room(run.spec)
        except Refused:
            return False
        self._present[run.id] = run
        self._incarnations.setdefault(run.id, []).append(run)
        if run.spec.retention_mode == "REMOVE":
            insort(self._removable, (run.created, run.key))
        return True

    def _leave(self, run: Run) -> None:
        """The run is GONE: its id and its place are free."""
        del self._present[run.id]
        if run.spec.retention_mode == "REMOVE":
            self._removable.remove((run.created, run.key))
        if self._reuse_ids:
            self._freed.append(run.id)

    # Changes

    def start(self, spec: RunSpec, now: int, *, request_id: str | None = None) -> Run:
        """Create a run, now or when `spec.starts_in` has passed; `request_id` is remembered for `started_by`.

        Raises: Refused, ConflictException for an id in use, ServiceQuotaExceededException where there is no room.
        """
        self.advance(now)
        run = self._laid_out(spec, now, self._rng, None)
        if request_id is not None:
            self._requests[request_id] = run
        self._expect(run)
        self.advance(now)
        return run

    def submit(self, spec: RunSpec, at: int, rng: random.Random, watcher: Watcher | None) -> Run:
        """Create a run of a batch at the instant of an action; `watcher` is told of each of its transitions.

        Raises: Refused, as `start`.
        """
        run = self._laid_out(spec, at, rng, watcher)
        self._step(run)
        return run

    def _laid_out(self, spec: RunSpec, now: int, rng: random.Random, watcher: Watcher | None) -> Run:
        created = now + self.seconds(spec.starts_in)
        if created <= now:
            if spec.run_id is not None and spec.run_id in self._present:
                raise Refused("ConflictException", f"Run {spec.run_id} already exists")
            self._make_room(spec)
        if self._visible_after and not spec.visible_after:
            spec = replace(spec, visible_after=self._visible_after)
        self.some_are_late = self.some_are_late or bool(spec.visible_after)
        run_id = spec.run_id or self._free_id(rng)
        # Known from now on, so that no other run is given the id of one that is scheduled.
        self._incarnations.setdefault(run_id, [])
        return Run(
            spec=spec,
            id=run_id,
            uuid=spec.uuid or uuid_by(rng),
            scope=self.scope,
            key=self._keys.key(created),
            moments=lay_out(spec.life.steps, created, self.speed, {}),
            watcher=watcher,
        )

    def declare(self, group: RunGroup, now: int) -> None:
        """Make a run group known, or change its limits: who waited for more room goes on."""
        self.advance(now)
        self.groups.declare(group, now)
        self._admit(group.group_id, now)

    def cancel(self, run: Run, now: int) -> None:
        """What CancelRun does. Raises: Refused (ConflictException) for a run that has ended."""
        if run.status in ENDS or run.status == "DELETED":
            raise Refused("ConflictException", f"Run {run.id} is {run.status} and cannot be cancelled")
        if run.status == "STOPPING":
            return
        if run.status == "PENDING":
            self.redirect(run, [Step("CANCELLED")], now)
        else:
            self.redirect(run, [Step("STOPPING", self._cancelling), Step("CANCELLED")], now)

    def delete(self, run: Run, now: int) -> None:
        """What DeleteRun does. Raises: Refused (ConflictException) for a run that has not ended."""
        if run.status not in ENDS:
            raise Refused("ConflictException", f"Run {run.id} is {run.status} and cannot be deleted")
        self.redirect(run, [Step("DELETED", self._deleting), Step(GONE)], now)

    def redirect(self, run: Run, steps: Sequence[Step], now: int) -> None:
        """From now on the run lives these steps instead of the rest of its script, whatever its group says."""
        if run.started(run.index) is None:
            run.planned = None
        elif run.planned is None:
            run.planned = tuple(run.moments)
        begin = max(now, run.moments[run.index].at)
        rest = lay_out(steps, begin, self.speed, run.moments[run.index].fields)
        run.moments[run.index + 1 :] = rest
        run.version += 1
        while run.index + 1 < len(run.moments) and run.moments[run.index + 1].at <= self._now:
            self._step(run, forced=True)
        run.version += 1  # what the steps just taken have pushed is due under the old number
        self._expect(run)

    def _make_room(self, spec: RunSpec) -> None:
        """At the limit a REMOVE run takes the place of the oldest one, and a RETAIN run is refused."""
        if self._max_runs is None or len(self._present) < self._max_runs:
            return
        if spec.retention_mode != "REMOVE" or not self._removable:
            raise Refused("ServiceQuotaExceededException", f"The maximum number of runs ({self._max_runs}) is reached")
        self.redirect(self._lists.by_key[self._removable[0][1]], [Step(GONE)], self._now)

    def _free_id(self, rng: random.Random) -> str:
        if self._freed:
            return self._freed.pop()
        while True:
            run_id = id_by(rng)
            if run_id not in self._incarnations:
                return run_id

    # Questions

    @property
    def scope(self) -> str:
        """What the ARNs of this account and region begin with."""
        return f"arn:aws:omics:{self.region}:{self.account_id}"

    @property
    def transitions(self) -> list[Transition]:
        """What truly happened, in the order in which it did."""
        return [_told(run, run.moments[index]) for run, index in self._steps]

    def started_by(self, request_id: str) -> Run | None:
        """The run that a StartRun with this requestId has started, whatever became of it."""
        return self._requests.get(request_id)

    def find(self, run_id: str) -> Run | None:
        """The run that holds the id now."""
        return self._present.get(run_id)

    def get(self, run_id: str) -> Run:
        """The run that holds the id now. Raises: Refused (ResourceNotFoundException)."""
        run = self._present.get(run_id)
        if run is None:
            raise not_found(f"Run {run_id}")
        return run

    def get_at(self, run_id: str, instant: int) -> Run:
        """The run that held the id at an earlier instant. Raises: Refused (ResourceNotFoundException)."""
        for run in self._incarnations.get(run_id, ()):
            if run.exists_at(run.index_at(instant)):
                return run
        raise not_found(f"Run {run_id}")

    def page(
        self, filters: Filters, limit: int, after: int | None, shown: Shown | None = None, *, skip: int = 0
    ) -> tuple[list[Run], bool]:
        """Up to `limit` runs behind the key `after`, or behind the first `skip`; and whether more follow."""
        return self._lists.page(filters, limit, after, shown, skip=skip)

    def page_at(
        self,
        filters: Filters,
        limit: int,
        after: int | None,
        shown: Shown | None,
        instant_of: Callable[[Run], int],
        *,
        skip: int = 0,
    ) -> tuple[list[tuple[Run, int]], bool]:
        """As `page`, with each run as it was at `instant_of(run)`; looks at every run there ever was."""
        found = []
        for run in (run for runs in self._incarnations.values() for run in runs):
            index = run.index_at(instant_of(run))
            if (
                (after is None or run.key > after)
                and run.exists_at(index)
                and filters.match(run, run.moments[index].status)
                and (shown is None or shown(run))
            ):
                found.append((run, index))
        found.sort(key=lambda pair: pair[0].key)
        return found[skip : skip + limit], len(found) > skip + limit

    def census(self) -> Mapping[str, int]:
        """How many runs are in each status now."""
        return self._lists.census()


def _told(run: Run, moment: Moment) -> Transition:
    return Transition(run.id, run.uuid, run.spec.name, moment.status, datetime_of(moment.at))
