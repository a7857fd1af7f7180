"""A scenario: what an emulator starts with. From Python values, or from a TOML file (syntax: docs/emulator.md).

What is wrong in a file is told with the file, the key, and what would be right.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from poller.emulator.batch_specs import BatchSpec, Pace
from poller.emulator.chance import chance
from poller.emulator.entries import (
    batch_of,
    choice_of,
    fault_of,
    group_of,
    lags_of,
    life_of,
    outage_of,
    pace_of,
    quota_of,
    rates_of,
    runs_of,
)
from poller.emulator.faults import Fault, Outage
from poller.emulator.groups import RunGroup
from poller.emulator.lists import ORDERS, Order
from poller.emulator.lives import RANDOM, Life
from poller.emulator.paging import MODES, Mode
from poller.emulator.quota import SERVICE_QUOTAS
from poller.emulator.runs import RunSpec
from poller.emulator.samples import demo_runs, random_runs
from poller.emulator.tables import ScenarioError, count, known, seconds_of, table_in, tables_in, typed

SECONDS: Final = ("cancel_seconds", "deleted_seconds", "counters_lag_seconds", "token_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What an emulator starts with.

    `lives`: by name, for runs started with the tag `emulator:life`; `default_life`: of runs started without one (None:
    random). `quota_per_second`: as for `Emulator`. `order`: of ListRuns. `max_runs`: how many runs the service
    remembers. `reuse_ids`: StartRun gives out the ids of deleted runs first. `visible_after`: of runs that do not say
    their own. `cancel_seconds`, `deleted_seconds`: in STOPPING after CancelRun, in DELETED after DeleteRun (before
    speed). `batch_pace`: of batches that do not say their own, the members of `BatchSpec` that say how fast they go.
    `counters_lag_seconds` (before speed): how far the counters of GetBatch are behind the truth. `paging`: what tokens
    hold; `token_seconds`: how long they are good (None: for ever). `foreign_calls_per_second`: by operation, what
    others in the account ask.
    """

    runs: tuple[RunSpec, ...] = ()
    lives: Mapping[str, Life] = field(default_factory=dict)
    default_life: Life | None = None
    batches: tuple[BatchSpec, ...] = ()
    groups: tuple[RunGroup, ...] = ()
    faults: tuple[Fault, ...] = ()
    outages: tuple[Outage, ...] = ()
    quota_per_second: Mapping[str, float] | float | None = None
    order: Order = "newest"
    max_runs: int | None = None
    reuse_ids: bool = False
    visible_after: Mapping[str, float] = field(default_factory=dict)
    cancel_seconds: float = 5.0
    deleted_seconds: float = 0.0
    batch_pace: Pace = field(default_factory=Pace)
    counters_lag_seconds: float = 0.0
    paging: Mode = "cursor"
    token_seconds: float | None = None
    foreign_calls_per_second: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path, *, seed: int = 0) -> Scenario:
        """Read a TOML file; `seed` is for its random lives. Raises: ScenarioError, OSError."""
        text = Path(path).read_bytes()
        try:
            table = tomllib.loads(text.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: not TOML: {error}") from error
        return scenario_of(table, str(path), seed=seed)


def scenario_of(table: Mapping[str, Any], where: str, *, seed: int = 0) -> Scenario:
    """A scenario from the table of its file. Raises: ScenarioError."""
    rng = chance(seed)
    known(table, {member.name for member in dataclasses.fields(Scenario)} | {"random_runs"}, where)
    lives = {
        name: life_of(value, f"{where}: lives.{name}", {}, rng)
        for name, value in table_in(table, "lives", where).items()
    }
    runs = [
        run
        for number, entry in enumerate(tables_in(table, "runs", where), 1)
        for run in runs_of(entry, f"{where}: runs[{number}]", lives, rng)
    ]
    if "random_runs" in table:
        runs += random_runs(count(table["random_runs"], f"{where}: random_runs"), rng)
    values: dict[str, Any] = {"runs": tuple(runs), "lives": lives}
    if table.get("default_life", RANDOM) != RANDOM:
        values["default_life"] = life_of(table["default_life"], f"{where}: default_life", lives, rng)
    pace = values["batch_pace"] = pace_of(table.get("batch_pace", {}), f"{where}: batch_pace")
    readers: tuple[tuple[str, Callable[[object, str], object]], ...] = (
        ("batches", lambda entry, place: batch_of(entry, place, lives, rng, pace)),
        ("groups", group_of),
        ("faults", fault_of),
        ("outages", outage_of),
    )
    for key, read in readers:
        entries = enumerate(tables_in(table, key, where), 1)
        values[key] = tuple(read(entry, f"{where}: {key}[{number}]") for number, entry in entries)
    if "quota_per_second" in table:
        values["quota_per_second"] = quota_of(table["quota_per_second"], f"{where}: quota_per_second")
    for key, choices in (("order", ORDERS), ("paging", MODES)):
        if key in table:
            values[key] = choice_of(table[key], choices, f"{where}: {key}")
    if "max_runs" in table:
        values["max_runs"] = count(table["max_runs"], f"{where}: max_runs")
    if "reuse_ids" in table:
        values["reuse_ids"] = typed(table["reuse_ids"], bool, f"{where}: reuse_ids")
    if "visible_after" in table:
        values["visible_after"] = lags_of(table["visible_after"], f"{where}: visible_after")
    if "foreign_calls_per_second" in table:
        key = "foreign_calls_per_second"
        values[key] = rates_of(table[key], f"{where}: {key}")
    for key in SECONDS:
        if key in table:
            values[key] = seconds_of(table[key], f"{where}: {key}")
    return Scenario(**values)


def random_scenario(runs: int, seed: int = 0) -> Scenario:
    """`runs` runs that live as the service's do, started over the first ten minutes; the service's default quotas."""
    rng = chance(seed)
    return Scenario(runs=tuple(random_runs(runs, rng)), quota_per_second=SERVICE_QUOTAS)


def demo_scenario() -> Scenario:
    """Fourteen runs that live every kind of life, the last one ended after some 18 seconds at speed 1."""
    return Scenario(runs=demo_runs(), quota_per_second=SERVICE_QUOTAS)
