"""Batches of runs: their lives, their counters, and what became of each submission.

CREATING -> PENDING -> SUBMITTING -> INPROGRESS -> PROCESSED, or FAILED before any run; STOPPING -> CANCELLED;
RUNS_DELETING -> RUNS_DELETED or RUNS_DELETE_FAILED. Runs are submitted, cancelled and deleted one after the other, and
made only then, so that a batch of a hundred thousand costs nothing before. Pure apart from its own state: a batch moves
between the runs on the clock of the world.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from poller.emulator.batch_specs import BatchSpec, any_life
from poller.emulator.chance import chance, id_by, uuid_by
from poller.emulator.errors import Refused, not_found
from poller.emulator.instants import datetime_of
from poller.emulator.lists import KeyMaker
from poller.emulator.lives import ENDS, GONE
from poller.emulator.runs import Run, Watcher
from poller.emulator.starting import kept, spec_in_batch
from poller.emulator.world import World

STATUSES: Final = frozenset(
    {
        "CREATING", "PENDING", "SUBMITTING", "INPROGRESS", "STOPPING", "CANCELLED", "FAILED", "PROCESSED",
        "RUNS_DELETING", "RUNS_DELETE_FAILED", "RUNS_DELETED",
    }
)  # fmt: skip
SUBMISSIONS: Final = frozenset(
    {"SUCCESS", "FAILED", "CANCEL_SUCCESS", "CANCEL_FAILED", "DELETE_SUCCESS", "DELETE_FAILED"}
)
CANCELLABLE: Final = frozenset({"PENDING", "SUBMITTING", "INPROGRESS"})
DELETABLE: Final = frozenset({"PROCESSED", "CANCELLED"})
TERMINAL: Final = frozenset({"PROCESSED", "FAILED", "CANCELLED", "RUNS_DELETE_FAILED", "RUNS_DELETED"})
OVER: Final = frozenset({*ENDS, "DELETED", GONE})


class BatchTransition(NamedTuple):
    """What truly happened: the batch entered `status` at `at`."""

    batch_id: str
    uuid: str
    name: str | None
    status: str
    at: datetime


class Failure(NamedTuple):
    """Why something was refused to a batch: a submission, a cancel or a delete."""

    reason: str
    message: str


@dataclass(slots=True, eq=False)
class Batch:
    """One batch, and how far it has come. `runs`: by place, as far as submitted; None where the submission failed."""

    spec: BatchSpec
    id: str
    uuid: str
    scope: str
    key: int
    created: int
    rng: random.Random
    request: Mapping[str, Any]
    status: str = "CREATING"
    submitted: int | None = None
    processed: int | None = None
    failed: int | None = None
    runs: list[Run | None] = field(default_factory=list)
    failures: dict[int, Failure] = field(default_factory=dict)
    outcomes: dict[int, str] = field(default_factory=dict)  # submission statuses other than those of the start
    shown: Counter[str] = field(default_factory=Counter)  # runs by status, as GetBatch counts them
    unseen: deque[tuple[int, str | None, str]] = field(default_factory=deque)  # what they did that is not counted yet
    submissions: Counter[str] = field(default_factory=Counter)  # by submission status
    live: int = 0
    busy: bool = False  # runs are being submitted, cancelled or deleted
    turn: int = 0  # grows when what is under way is to stop
    watcher: Watcher | None = None  # told what its runs do

    @property
    def arn(self) -> str:
        return f"{self.scope}:runBatch/{self.id}"

    def submission(self, place: int) -> str:
        return self.outcomes.get(place) or ("FAILED" if self.runs[place] is None else "SUCCESS")


class Batches:
    """The batches of one account. `lag_seconds` (before speed): how far runSummary is behind the truth until the batch
    has ended; it may be changed at any time.
    """

    def __init__(self, world: World, rng: random.Random, lag_seconds: float = 0.0) -> None:
        self.world, self.lag_seconds = world, lag_seconds
        self.transitions: list[BatchTransition] = []
        self._rng, self._keys = rng, KeyMaker("newest")
        self._present: dict[str, Batch] = {}
        self._requests: dict[str, Batch] = {}
        self._ids: set[str] = set()

    def start(self, spec: BatchSpec, now: int, *, request_id: str | None = None) -> Batch:
        """Create a batch, now or when `spec.starts_in` has passed. Raises: Refused (ConflictException): id in use."""
        self.world.advance(now)
        batch_id = spec.batch_id or self._free_id()
        if batch_id in self._present:
            raise Refused("ConflictException", f"Batch {batch_id} already exists")
        created = now + self.world.seconds(spec.starts_in)
        rng = chance(self._rng.getrandbits(64))
        batch = Batch(
            spec=spec,
            id=batch_id,
            uuid=uuid_by(rng),
            scope=self.world.scope,
            key=self._keys.key(created),
            created=created,
            rng=rng,
            request=kept(spec.default),
        )
        batch.watcher = lambda old, new, at: self._moved(batch, old, new, at)
        if request_id is not None:
            self._requests[request_id] = batch
        self._ids.add(batch_id)
        self.world.at(created, lambda at: self._begin(batch, at))
        self.world.advance(now)
        return batch

    def started_by(self, request_id: str) -> Batch | None:
        """The batch that a StartRunBatch with this requestId has started, whatever became of it."""
        return self._requests.get(request_id)

    def get(self, batch_id: str) -> Batch:
        """Raises: Refused (ResourceNotFoundException)."""
        batch = self._present.get(batch_id)
        if batch is None:
            raise not_found(f"Batch {batch_id}")
        return batch

    def find(self, batch_id: str) -> Batch | None:
        """The batch that has the id now."""
        return self._present.get(batch_id)

    def all(self) -> list[Batch]:
        """Those that exist, the newest first."""
        return sorted(self._present.values(), key=lambda batch: batch.key)

    def cancel(self, batch: Batch, now: int) -> None:
        """What CancelRunBatch does. Raises: Refused (ConflictException) in a status that does not allow it."""
        self._demand(batch, CANCELLABLE, "cancelled")
        self._enter(batch, "STOPPING", now)
        self._each(batch, len(batch.runs), self._cancel_run, now)

    def delete_runs(self, batch: Batch, now: int) -> None:
        """What DeleteRunBatch does. Raises: Refused (ConflictException) in a status that does not allow it."""
        self._demand(batch, DELETABLE, "deleted from")
        self._enter(batch, "RUNS_DELETING", now)
        self._each(batch, len(batch.runs), self._delete_run, now)

    def delete(self, batch: Batch, now: int) -> None:
        """What DeleteBatch does. Raises: Refused (ConflictException) for a batch that has not ended."""
        self._demand(batch, TERMINAL, "deleted")
        del self._present[batch.id]
        self._told(batch, GONE, now)

    def counted(self, batch: Batch, now: int) -> Mapping[str, int]:
        """The runs by status as GetBatch counts them at `now`."""
        exact = batch.status in TERMINAL
        self._show(batch, now if exact else now - self.world.seconds(self.lag_seconds))
        return batch.shown

    # Its life

    def _begin(self, batch: Batch, at: int) -> None:
        self._present[batch.id] = batch
        self._enter(batch, "CREATING", at)
        turn = batch.turn
        validated = at + self.world.seconds(batch.spec.creating)
        self.world.at(validated, lambda at: self._enter(batch, "PENDING", at, turn))
        self.world.at(validated + self.world.seconds(batch.spec.pending), lambda at: self._submit(batch, turn, at))

    def _submit(self, batch: Batch, turn: int, at: int) -> None:
        if batch.turn != turn:
            return
        if batch.spec.failure_reason is not None:
            batch.failed = at
            self._enter(batch, "FAILED", at)
            return
        self._enter(batch, "SUBMITTING", at)
        self._each(batch, len(batch.spec.settings), self._submit_run, at)

    def _each(self, batch: Batch, number: int, do: Callable[[Batch, int, int], None], at: int) -> None:
        """Do something with each of the first `number` places, at the batch's pace, unless something else comes up."""
        batch.turn += 1
        batch.busy = True
        turn, begin = batch.turn, at
        interval = self.world.seconds(1.0) / batch.spec.runs_per_second

        def go_on(place: int, at: int) -> None:
            if batch.turn != turn:
                return
            while place < number:
                do(batch, place, at)
                place += 1
                following = begin + round(place * interval)
                if following > at and place < number:
                    self.world.at(following, partial(go_on, place))
                    return
            batch.busy = False
            self._done(batch, at)

        go_on(0, at)

    def _done(self, batch: Batch, at: int) -> None:
        """All runs were submitted, or asked to be cancelled or deleted."""
        if batch.status == "SUBMITTING":
            batch.submitted = at
            self._enter(batch, "INPROGRESS", at)
        elif batch.status == "RUNS_DELETING":
            failed = batch.submissions["DELETE_FAILED"]
            self._enter(batch, "RUNS_DELETE_FAILED" if failed else "RUNS_DELETED", at)
        self._perhaps_end(batch, at)

    def _perhaps_end(self, batch: Batch, at: int) -> None:
        """No run of the batch is left that has not ended, however."""
        if batch.live or batch.busy:
            return
        if batch.status == "INPROGRESS":
            batch.processed = at
            self._enter(batch, "PROCESSED", at)
        elif batch.status == "STOPPING":
            self._enter(batch, "CANCELLED", at)

    def _submit_run(self, batch: Batch, place: int, at: int) -> None:
        spec = batch.spec
        try:
            if spec.fails(place):
                raise Refused(spec.submission_failure, "The submission failed, as the scenario says")
            made = spec_in_batch(
                spec.default,
                batch.request,
                spec.settings[place],
                batch.id,
                lambda tags: (spec.life_of or any_life)(tags, place, batch.rng),
            )
            batch.runs.append(self.world.submit(made, at, batch.rng, batch.watcher))
            batch.submissions["SUCCESS"] += 1
        except Refused as refused:
            batch.runs.append(None)
            batch.failures[place] = Failure(refused.code, refused.message)
            batch.submissions["FAILED"] += 1

    def _cancel_run(self, batch: Batch, place: int, at: int) -> None:
        self._attempt(batch, place, "CANCEL", lambda run: self.world.cancel(self._present_run(run), at))

    def _delete_run(self, batch: Batch, place: int, at: int) -> None:
        self._attempt(batch, place, "DELETE", lambda run: self.world.delete(self._present_run(run), at))

    def _attempt(self, batch: Batch, place: int, kind: str, do: Callable[[Run], None]) -> None:
        run = batch.runs[place]
        if run is None:
            return
        try:
            do(run)
            outcome = f"{kind}_SUCCESS"
            batch.failures.pop(place, None)
        except Refused as refused:
            outcome = f"{kind}_FAILED"
            batch.failures[place] = Failure(refused.code, refused.message)
        batch.outcomes[place] = outcome
        batch.submissions[outcome] += 1

    def _present_run(self, run: Run) -> Run:
        if self.world.find(run.id) is not run:
            raise not_found(f"Run {run.id}")
        return run

    # Its counters

    def _moved(self, batch: Batch, old: str | None, new: str, at: int) -> None:
        batch.unseen.append((at, old, new))
        self._show(batch, at - self.world.seconds(self.lag_seconds))
        batch.live += (new not in OVER) - (old is not None and old not in OVER)
        self._perhaps_end(batch, at)

    def _show(self, batch: Batch, until: int) -> None:
        """Let GetBatch count what happened up to then. An evicted run counts as deleted."""
        while batch.unseen and batch.unseen[0][0] <= until:
            _, old, new = batch.unseen.popleft()
            if old is not None:
                batch.shown[_counter(old)] -= 1
            batch.shown[_counter(new)] += 1

    # Parts

    def _enter(self, batch: Batch, status: str, at: int, turn: int | None = None) -> None:
        if turn is not None and batch.turn != turn:
            return
        batch.status = status
        if status in TERMINAL:
            self._show(batch, at)
        self._told(batch, status, at)

    def _told(self, batch: Batch, status: str, at: int) -> None:
        self.transitions.append(BatchTransition(batch.id, batch.uuid, batch.spec.name, status, datetime_of(at)))

    def _demand(self, batch: Batch, allowed: frozenset[str], what: str) -> None:
        if batch.status not in allowed:
            raise Refused("ConflictException", f"Batch {batch.id} is {batch.status} and cannot be {what}")

    def _free_id(self) -> str:
        while True:
            batch_id = id_by(self._rng)
            if batch_id not in self._ids:
                return batch_id


def _counter(status: str) -> str:
    return "DELETED" if status == GONE else status
