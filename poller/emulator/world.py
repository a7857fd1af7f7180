"""The runs of one account and region: which exist at an instant, in which status, and what was true when.

Pure apart from its own state: no clock, no input or output; every call brings the present instant, which never goes
back. Each step of each life is applied once, in order of time, and moves the run between lists that are kept sorted, so
that a page costs the same among ten runs and among ten thousand.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Final, Literal
from uuid import UUID

from poller.emulator.errors import Refused, not_found
from poller.emulator.instants import SECOND, datetime_of
from poller.emulator.lives import ENDS, GONE, Step
from poller.emulator.runs import Run, RunSpec, lay_out

Order = Literal["newest", "oldest", "arbitrary"]
Shown = Callable[[Run], bool]
ORDERS: Final = ("newest", "oldest", "arbitrary")
SCRAMBLE: Final = 0x9E3779B97F4A7C15F39CD  # odd, so that multiplying by it modulo a power of two keeps keys apart
KEY_BITS: Final = 84


@dataclass(frozen=True, slots=True)
class Transition:
    """What truly happened: this incarnation entered `status` at `at`. GONE: from then on the API does not know it."""

    run_id: str
    uuid: str
    name: str | None
    status: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of ListRuns; None: not filtered by it. `name` is compared whole, as the model does not speak of
    prefixes.
    """

    status: str | None = None
    run_group_id: str | None = None
    batch_id: str | None = None
    name: str | None = None

    def match(self, run: Run, status: str) -> bool:
        spec = run.spec
        return (
            (self.status == status if self.status is not None else status != "DELETED")
            and (self.run_group_id is None or self.run_group_id == spec.run_group_id)
            and (self.batch_id is None or self.batch_id == spec.batch_id)
            and (self.name is None or self.name == spec.name)
        )

    def lists(self) -> list[tuple[str, str]]:
        """The sorted lists that each hold all matching runs. A DELETED run is in none but that of its status."""
        if self.status == "DELETED":
            return [("status", "DELETED")]
        named = (
            ("status", self.status),
            ("group", self.run_group_id),
            ("batch", self.batch_id),
            ("name", self.name),
        )
        return [(kind, value) for kind, value in named if value is not None] or [("all", "")]


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
        self.transitions: list[Transition] = []
        self._rng, self._order, self._max_runs, self._reuse_ids = rng, order, max_runs, reuse_ids
        self._cancelling, self._deleting, self._visible_after = cancelling, deleting, visible_after
        self._now = 0
        self._numbers = count()
        self._due: list[tuple[int, int, Run, int]] = []
        self._incarnations: dict[str, list[Run]] = {}
        self._present: dict[str, Run] = {}
        self._by_key: dict[int, Run] = {}
        self._lists: dict[tuple[str, str], list[int]] = {}
        self._removable: list[tuple[int, int]] = []  # (created, key) of runs whose retention mode is REMOVE
        self._freed: list[str] = []
        self._requests: dict[str, Run] = {}

    # Time

    def advance(self, now: int) -> None:
        """Apply everything that is due at `now`."""
        self._now = max(self._now, now)
        while self._due and self._due[0][0] <= self._now:
            _, _, run, version = heapq.heappop(self._due)
            if version == run.version:
                self._step(run)

    def _step(self, run: Run) -> None:
        """Take the run one moment further. What is scheduled and finds no room is never created, as if refused."""
        if run.index < 0 and not self._come_into_being(run):
            return
        old = run.status if run.index >= 0 else None
        run.index += 1
        run.rendered.clear()
        moment = run.moments[run.index]
        self.transitions.append(Transition(run.id, run.uuid, run.spec.name, moment.status, datetime_of(moment.at)))
        self._move(run, old, moment.status)
        self._expect(run)

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
        self._by_key[run.key] = run
        self._incarnations.setdefault(run.id, []).append(run)
        if run.spec.retention_mode == "REMOVE":
            insort(self._removable, (run.created, run.key))
        return True

    def _move(self, run: Run, old: str | None, new: str) -> None:
        """Take the run from the lists of its old status to those of its new one."""
        if old is not None:
            self._take(("status", old), run)
        was_listed = old is not None and old != "DELETED"
        is_listed = new not in {"DELETED", GONE}
        if is_listed != was_listed:
            for name in self._standing_lists(run):
                (self._put if is_listed else self._take)(name, run)
        if new != GONE:
            self._put(("status", new), run)
            return
        del self._present[run.id]
        del self._by_key[run.key]
        if run.spec.retention_mode == "REMOVE":
            self._removable.remove((run.created, run.key))
        if self._reuse_ids:
            self._freed.append(run.id)

    def _standing_lists(self, run: Run) -> Iterable[tuple[str, str]]:
        yield "all", ""
        for kind, value in (("group", run.spec.run_group_id), ("batch", run.spec.batch_id), ("name", run.spec.name)):
            if value is not None:
                yield kind, value

    def _put(self, name: tuple[str, str], run: Run) -> None:
        insort(self._lists.setdefault(name, []), run.key)

    def _take(self, name: tuple[str, str], run: Run) -> None:
        keys = self._lists[name]
        del keys[bisect_left(keys, run.key)]
        if not keys:
            del self._lists[name]

    # Changes

    def start(self, spec: RunSpec, now: int, *, request_id: str | None = None) -> Run:
        """Create a run, now or when `spec.starts_in` has passed; `request_id` is remembered for `started_by`.

        Raises: Refused, ConflictException for an id in use, ServiceQuotaExceededException where there is no room.
        """
        self.advance(now)
        created = now + round(spec.starts_in * SECOND / self.speed)
        if created <= now:
            if spec.run_id is not None and spec.run_id in self._present:
                raise Refused("ConflictException", f"Run {spec.run_id} already exists")
            self._make_room(spec)
        if self._visible_after and not spec.visible_after:
            spec = replace(spec, visible_after=self._visible_after)
        run_id = spec.run_id or self._free_id()
        moments = lay_out(spec.life.steps, created, self.speed, {})
        run = Run(
            spec=spec,
            id=run_id,
            uuid=spec.uuid or str(UUID(int=self._rng.getrandbits(128), version=4)),
            arn=f"arn:aws:omics:{self.region}:{self.account_id}:run/{run_id}",
            key=self._key(created),
            moments=moments,
            planned=tuple(moments),
        )
        # Known from now on, so that no other run is given the id of one that is scheduled.
        self._incarnations.setdefault(run_id, [])
        if request_id is not None:
            self._requests[request_id] = run
        self._expect(run)
        self.advance(now)
        return run

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
        """From now on the run lives these steps instead of the rest of its script."""
        begin = max(now, run.moments[run.index].at)
        rest = lay_out(steps, begin, self.speed, run.moments[run.index].fields)
        run.moments[run.index + 1 :] = rest
        if run.started(run.index) is None:
            run.planned = tuple(run.moments)
        run.version += 1
        while run.index + 1 < len(run.moments) and run.moments[run.index + 1].at <= self._now:
            self._step(run)
        run.version += 1  # what the steps just taken have pushed is due under the old number
        self._expect(run)

    def _make_room(self, spec: RunSpec) -> None:
        """At the limit a REMOVE run takes the place of the oldest one, and a RETAIN run is refused."""
        if self._max_runs is None or len(self._present) < self._max_runs:
            return
        if spec.retention_mode != "REMOVE" or not self._removable:
            raise Refused("ServiceQuotaExceededException", f"The maximum number of runs ({self._max_runs}) is reached")
        self.redirect(self._by_key[self._removable[0][1]], [Step(GONE)], self._now)

    def _free_id(self) -> str:
        if self._freed:
            return self._freed.pop()
        while True:
            run_id = str(self._rng.randrange(1_000_000, 10_000_000))
            if run_id not in self._incarnations:
                return run_id

    def _key(self, created: int) -> int:
        """A number by which ascending lists are in the wanted order."""
        rising = ((created + (1 << 58)) << 24) | (next(self._numbers) & 0xFFFFFF)
        if self._order == "oldest":
            return rising
        return (1 << KEY_BITS) - rising if self._order == "newest" else rising * SCRAMBLE % (1 << KEY_BITS)

    # Questions

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
            raise not_found(run_id)
        return run

    def get_at(self, run_id: str, instant: int) -> Run:
        """The run that held the id at an earlier instant. Raises: Refused (ResourceNotFoundException)."""
        for run in self._incarnations.get(run_id, ()):
            if run.exists_at(run.index_at(instant)):
                return run
        raise not_found(run_id)

    def page(self, filters: Filters, limit: int, after: int | None, shown: Shown) -> tuple[list[Run], bool]:
        """Up to `limit` runs behind the key `after`, and whether more follow."""
        keys: Sequence[int] = min((self._lists.get(name, []) for name in filters.lists()), key=len)
        page: list[Run] = []
        for place in range(0 if after is None else bisect_right(keys, after), len(keys)):
            run = self._by_key[keys[place]]
            if filters.match(run, run.status) and shown(run):
                if len(page) == limit:
                    return page, True
                page.append(run)
        return page, False

    def page_at(
        self, filters: Filters, limit: int, after: int | None, shown: Shown, instant_of: Callable[[Run], int]
    ) -> tuple[list[tuple[Run, int]], bool]:
        """As `page`, with each run as it was at `instant_of(run)`; looks at every run there ever was."""
        found = []
        for run in (run for runs in self._incarnations.values() for run in runs):
            index = run.index_at(instant_of(run))
            if (
                (after is None or run.key > after)
                and run.exists_at(index)
                and filters.match(run, run.moments[index].status)
                and shown(run)
            ):
                found.append((run, index))
        found.sort(key=lambda pair: pair[0].key)
        return found[:limit], len(found) > limit

    def census(self) -> Mapping[str, int]:
        """How many runs are in each status now."""
        return {value: len(keys) for (kind, value), keys in sorted(self._lists.items()) if kind == "status"}
