"""The emulated account, as a test in the same process sees it: start what lives in it, change it, let things go wrong,
and read the truth. No HTTP; the present instant is that of the clock that was handed in.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack

from poller.emulator.batch_specs import BatchOptions, BatchSpec, LifeOf, Numbered
from poller.emulator.batches import Batches, BatchTransition
from poller.emulator.calls import Call, CallLog
from poller.emulator.chance import chance
from poller.emulator.errors import Refused
from poller.emulator.faults import Fault, FaultRules, Outage
from poller.emulator.groups import GroupOptions, RunGroup
from poller.emulator.instants import instant_of
from poller.emulator.lives import GONE, RANDOM, Life, Step, steps_of
from poller.emulator.paging import MODES, Mode, Paging
from poller.emulator.quota import ForeignCalls, Quota
from poller.emulator.runs import Run, RunOptions, RunSpec
from poller.emulator.scenario import Scenario
from poller.emulator.service import Service
from poller.emulator.starting import LIFE_TAG, usual_setting
from poller.emulator.world import Transition, World

Lives = Life | str | None | Callable[[int], Life]


class AccountOptions(TypedDict, total=False):
    """What an emulator takes beside its scenario; the meaning of each is told at `Emulator`."""

    speed: float
    seed: int
    account_id: str
    region: str
    quota_per_second: Mapping[str, float] | float | None
    now: Callable[[], datetime]


def wall_clock() -> datetime:
    return datetime.now(UTC)


class Account:
    """A HealthOmics of one account and region. Its options are told at `Emulator`."""

    def __init__(
        self,
        scenario: Scenario | None = None,
        *,
        speed: float = 1.0,
        seed: int = 0,
        account_id: str = "123456789012",
        region: str = "us-east-1",
        quota_per_second: Mapping[str, float] | float | None = None,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"a speed is above 0, not {speed}")
        self.scenario = scenario or Scenario()
        self.caller_account_id = account_id  # what GetCallerIdentity says; may be changed at any time
        self._now = now
        self._rng = chance(seed)
        self._world = World(
            account_id=account_id,
            region=region,
            rng=self._rng,
            speed=speed,
            order=self.scenario.order,
            max_runs=self.scenario.max_runs,
            reuse_ids=self.scenario.reuse_ids,
            cancelling=self.scenario.cancel_seconds,
            deleting=self.scenario.deleted_seconds,
            visible_after=self.scenario.visible_after,
        )
        self._batches = Batches(self._world, self._rng, self.scenario.counters_lag_seconds)
        self._paging = Paging(self.scenario.paging, self.scenario.token_seconds)
        self._service = Service(
            self._world, self._new_life, batches=self._batches, paging=self._paging, pace=self.scenario.batch_pace
        )
        quota = quota_per_second if quota_per_second is not None else self.scenario.quota_per_second
        self._quota = Quota(quota, rng=chance(seed))
        self._faults = FaultRules(self._rng)
        self._log = CallLog()

    def _begin(self) -> None:
        """Let the scenario begin now."""
        now = self._instant()
        for group in self.scenario.groups:
            self._world.declare(group, now)
        for fault in self.scenario.faults:
            self._faults.add(fault, now)
        for outage in self.scenario.outages:
            self._faults.add_outage(outage, now)
        self._quota.call_foreign(self.scenario.foreign_calls_per_second, now)
        for spec in self.scenario.runs:
            self.start_run_as(spec)
        for batch in self.scenario.batches:
            self.start_batch_as(batch)

    @property
    def region(self) -> str:
        """Whose ARNs it gives."""
        return self._world.region

    # Runs

    def start_run(self, life: Life | str | None = None, **options: Unpack[RunOptions]) -> str:
        """Start a run and return its id; `life`: a life, the name of one of the scenario's, "random", or None for its
        default.

        Options are those of `RunSpec`. Raises: Refused for an id in use or no room; KeyError for an unknown life's
        name.
        """
        made = life if isinstance(life, Life) else self._life_named(life, self._rng)
        return self.start_run_as(RunSpec(life=made, **options))

    def start_run_as(self, spec: RunSpec) -> str:
        """As `start_run`, of a run that is written down already, as those of a scenario are."""
        return self._world.start(spec, self._instant()).id

    def usual_life(self) -> Life:
        """The life of a run that is started without one: the scenario's default, or one drawn by chance."""
        return self._life_named(None, self._rng)

    def start_runs(
        self, number: int, life: Life | str | None = None, *, every: float = 0.0, **options: Unpack[RunOptions]
    ) -> list[str]:
        """Start many runs alike, `every` so many seconds (before speed) one, and return their ids; a name is numbered:
        `name-1`, `name-2`, ...

        Life and options as for `start_run`, with the same errors. Meant for runs by the thousand that nobody watches.
        """
        first, name = options.get("starts_in", 0.0), options.get("name")
        ids = []
        for turn in range(number):
            options["starts_in"] = first + turn * every
            options["name"] = None if name is None else f"{name}-{turn + 1}"
            ids.append(self.start_run(life, **options))
        return ids

    def cancel_run(self, run_id: str) -> None:
        """What CancelRun does. Raises: Refused."""
        self._world.cancel(self._run(run_id), self._instant())

    def delete_run(self, run_id: str) -> None:
        """What DeleteRun does. Raises: Refused."""
        self._world.delete(self._run(run_id), self._instant())

    def evict(self, run_id: str) -> None:
        """Forget the run at once, in whatever status it is. Raises: Refused."""
        self.move_run(run_id, Step(GONE))

    def move_run(self, run_id: str, *steps: Step | str | tuple[str, float]) -> None:
        """From now on the run lives these steps instead of the rest of its life. Raises: Refused."""
        run = self._run(run_id)
        self._world.redirect(run, steps_of(*steps), self._instant())

    def status_of(self, run_id: str) -> str | None:
        """The true status of the run that holds the id now; None if there is none."""
        self._advance()
        run = self._world.find(run_id)
        return None if run is None else run.status

    def history(self) -> list[Transition]:
        """What truly happened so far, in the order in which it did."""
        self._advance()
        return self._world.transitions

    def census(self) -> Mapping[str, int]:
        """How many runs are in each status now."""
        self._advance()
        return self._world.census()

    # Batches and groups

    def start_batch(
        self,
        runs: int | Sequence[Mapping[str, Any]],
        life: Lives = None,
        *,
        default_run_setting: Mapping[str, Any] | None = None,
        **options: Unpack[BatchOptions],
    ) -> str:
        """Start a batch and return its id. `runs`: how many, up to 100,000, named after the batch (`name-1`, ...); or
        their settings, as inlineSettings on the wire.

        `life`: of each run, as for `start_run`, or a function that gives the life of the run at a place (from 0).
        `default_run_setting`: members over the usual ones. Other options are those of `BatchSpec`. A run costs nothing
        before it is submitted. Raises: Refused for an id in use; ValueError for options that make no sense; KeyError
        for an unknown life's name.
        """
        given: Any = {**self.scenario.batch_pace, **options}
        return self.start_batch_as(
            BatchSpec(
                settings=Numbered(given.get("name") or "run", runs) if isinstance(runs, int) else runs,
                default=default_run_setting or {},
                life_of=self._lives(life),
                **given,
            )
        )

    def start_batch_as(self, spec: BatchSpec) -> str:
        """As `start_batch`, of a batch that is written down already, as those of a scenario are."""
        default = {**usual_setting(self._world.account_id), **spec.default}
        made = dataclasses.replace(spec, default=default, life_of=spec.life_of or self._lives(None))
        return self._batches.start(made, self._instant()).id

    def cancel_batch(self, batch_id: str) -> None:
        """What CancelRunBatch does. Raises: Refused."""
        self._advance()
        self._batches.cancel(self._batches.get(batch_id), self._instant())

    def delete_batch_runs(self, batch_id: str) -> None:
        """What DeleteRunBatch does. Raises: Refused."""
        self._advance()
        self._batches.delete_runs(self._batches.get(batch_id), self._instant())

    def delete_batch(self, batch_id: str) -> None:
        """What DeleteBatch does. Raises: Refused."""
        self._advance()
        self._batches.delete(self._batches.get(batch_id), self._instant())

    def batch_status(self, batch_id: str) -> str | None:
        """The true status of the batch now; None if there is none."""
        self._advance()
        batch = self._batches.find(batch_id)
        return None if batch is None else batch.status

    def batch_runs(self, batch_id: str) -> list[str]:
        """The ids of the runs that were submitted so far, in order of submission. Raises: Refused."""
        self._advance()
        return [run.id for run in self._batches.get(batch_id).runs if run is not None]

    def batch_history(self) -> list[BatchTransition]:
        """What truly happened to batches so far; GONE: from then on no operation finds the batch."""
        self._advance()
        return list(self._batches.transitions)

    def batch_census(self) -> Mapping[str, int]:
        """How many batches are in each status now."""
        self._advance()
        return Counter(batch.status for batch in self._batches.all())

    def add_group(self, group_id: str, **options: Unpack[GroupOptions]) -> None:
        """Make a run group known, or change its limits. Options are those of `RunGroup`. Raises: ValueError."""
        self.declare(RunGroup(group_id=group_id, **options))

    def declare(self, group: RunGroup) -> None:
        """As `add_group`, of a group that is written down already."""
        self._world.declare(group, self._instant())

    @property
    def counters_lag_seconds(self) -> float:
        """How far the runSummary of GetBatch is behind the truth, in seconds before speed; may be set at any time."""
        return self._batches.lag_seconds

    @counters_lag_seconds.setter
    def counters_lag_seconds(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"counters cannot be {seconds} seconds behind")
        self._batches.lag_seconds = seconds

    # Pages and quotas

    @property
    def paging(self) -> Mode:
        """How lists are cut into pages: "cursor" or "offset"; may be set at any time, for tokens given out later."""
        return self._paging.mode

    @paging.setter
    def paging(self, mode: Mode) -> None:
        if mode not in MODES:
            raise ValueError(f"no paging is called {mode}; there are {', '.join(MODES)}")
        self._paging.mode = mode

    @property
    def token_seconds(self) -> float | None:
        """How long a token is good, in real seconds; None: for ever. May be set at any time, also for older tokens."""
        return self._paging.token_seconds

    @token_seconds.setter
    def token_seconds(self, seconds: float | None) -> None:
        self._paging.token_seconds = seconds

    @property
    def quota_per_second(self) -> Mapping[str, float] | float | None:
        """Calls per second of each operation, or by operation; None: no limit. May be set at any time."""
        return self._quota.per_second

    @quota_per_second.setter
    def quota_per_second(self, per_second: Mapping[str, float] | float | None) -> None:
        self._quota.change(per_second, self._instant())

    @property
    def foreign_calls_per_second(self) -> Mapping[str, float]:
        """What others in the account ask, by operation, on the clock and without sending anything; they spend from the
        same quotas. May be set at any time.
        """
        return {name: calls.per_second for name, calls in self.foreign_calls().items() if calls.per_second}

    @foreign_calls_per_second.setter
    def foreign_calls_per_second(self, per_second: Mapping[str, float]) -> None:
        self._quota.call_foreign(per_second, self._instant())

    def foreign_calls(self) -> Mapping[str, ForeignCalls]:
        """How many calls others have made so far, and how many of them were refused; by operation."""
        return self._quota.foreign_calls(self._instant())

    # Faults and outages

    def add_fault(self, fault: Fault) -> None:
        """Let this go wrong from now on; faults added earlier come first."""
        self._faults.add(fault, self._instant())

    def remove_fault(self, fault: Fault) -> None:
        """Take back a fault that was added; nothing happens if there is none like it."""
        self._faults.remove(fault)

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def faults(self) -> list[Fault]:
        """The faults in force, used up or not."""
        return self._faults.all

    def add_outage(self, outage: Outage) -> None:
        """Let the service be out from `outage.start` seconds from now on."""
        self._faults.add_outage(outage, self._instant())

    def clear_outages(self) -> None:
        self._faults.clear_outages()

    @property
    def outages(self) -> list[Outage]:
        """All outages that were added, also those to come and those gone by."""
        return self._faults.outages

    # The log

    @property
    def calls(self) -> list[Call]:
        """The log of calls, of the last 100,000 at least."""
        return self._log.calls

    @property
    def call_counts(self) -> Counter[str]:
        """Calls by operation."""
        return self._log.counts

    @property
    def outcome_counts(self) -> Counter[tuple[str, str]]:
        """Calls by operation and outcome."""
        return self._log.outcomes

    # Parts

    def _instant(self) -> int:
        return instant_of(self._now())

    def _advance(self) -> None:
        self._world.advance(self._instant())

    def _run(self, run_id: str) -> Run:
        self._advance()
        return self._world.get(run_id)

    def _life_named(self, name: str | None, rng: random.Random) -> Life:
        if name is None and self.scenario.default_life is not None:
            return self.scenario.default_life
        return Life.random(rng) if name in {None, RANDOM} else self.scenario.lives[str(name)]

    def _new_life(self, name: str | None) -> Life:
        """The life of a run that StartRun or StartRunBatch starts."""
        try:
            return self._life_named(name, self._rng)
        except KeyError:
            raise Refused("ValidationException", f"The scenario has no life called {name}") from None

    def _lives(self, life: Lives) -> LifeOf:
        """The lives of a batch's runs. Where none is given, the tag of a run may name it."""
        if isinstance(life, Life):
            return lambda _tags, _place, _rng: life
        if life is None:
            return lambda tags, _place, rng: self._life_named(tags.get(LIFE_TAG), rng)
        if isinstance(life, str):
            if life != RANDOM and life not in self.scenario.lives:
                raise KeyError(life)
            return lambda _tags, _place, rng: self._life_named(life, rng)
        return lambda _tags, place, _rng: life(place)
