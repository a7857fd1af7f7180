"""A scenario: what an emulator starts with. From Python values, or from a TOML file (syntax: docs/emulator.md).

What is wrong in a file is told with the file, the key, and what would be right.
"""

from __future__ import annotations

import dataclasses
import difflib
import random
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from poller.emulator.faults import KINDS, OPERATIONS, Fault
from poller.emulator.lives import GONE, Life, Step
from poller.emulator.quota import SERVICE_QUOTAS, Quota
from poller.emulator.runs import RunSpec
from poller.emulator.world import ORDERS, Order

UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
RANDOM: Final = "random"  # in place of a life: drawn from the emulator's seed

T = TypeVar("T")


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message names where it stands and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What an emulator starts with.

    `lives`: by name, for runs started with the tag `emulator:life`; `default_life`: of runs started without one (None:
    random). `quota_per_second`: as for `Emulator`. `order`: of ListRuns. `max_runs`: how many runs the service
    remembers. `reuse_ids`: StartRun gives out the ids of deleted runs first. `visible_after`: of runs that do not say
    their own. `cancel_seconds`, `deleted_seconds`: in STOPPING after CancelRun, in DELETED after DeleteRun (before
    speed).
    """

    runs: tuple[RunSpec, ...] = ()
    lives: Mapping[str, Life] = field(default_factory=dict)
    default_life: Life | None = None
    faults: tuple[Fault, ...] = ()
    quota_per_second: Mapping[str, float] | float | None = None
    order: Order = "newest"
    max_runs: int | None = None
    reuse_ids: bool = False
    visible_after: Mapping[str, float] = field(default_factory=dict)
    cancel_seconds: float = 5.0
    deleted_seconds: float = 0.0

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
    rng = random.Random(seed)  # noqa: S311  # plausible lives, not secrets
    _known(table, {member.name for member in dataclasses.fields(Scenario)} | {"random_runs"}, where)
    lives = {
        name: life_of(value, f"{where}: lives.{name}", {}, rng) for name, value in _table(table, "lives", where).items()
    }
    runs = [
        run
        for number, entry in enumerate(_tables(table, "runs", where), 1)
        for run in runs_of(entry, f"{where}: runs[{number}]", lives, rng)
    ]
    if "random_runs" in table:
        runs += _random_runs(_count(table["random_runs"], f"{where}: random_runs"), rng)
    values: dict[str, Any] = {"runs": tuple(runs), "lives": lives}
    if table.get("default_life", RANDOM) != RANDOM:
        values["default_life"] = life_of(table["default_life"], f"{where}: default_life", lives, rng)
    values["faults"] = tuple(
        fault_of(entry, f"{where}: faults[{number}]") for number, entry in enumerate(_tables(table, "faults", where), 1)
    )
    if "quota_per_second" in table:
        values["quota_per_second"] = _quota(table["quota_per_second"], f"{where}: quota_per_second")
    if "order" in table:
        if table["order"] not in ORDERS:
            raise ScenarioError(f"{where}: order: {table['order']!r} is not one of {', '.join(ORDERS)}")
        values["order"] = table["order"]
    if "max_runs" in table:
        values["max_runs"] = _count(table["max_runs"], f"{where}: max_runs")
    if "reuse_ids" in table:
        values["reuse_ids"] = _typed(table["reuse_ids"], bool, f"{where}: reuse_ids")
    if "visible_after" in table:
        values["visible_after"] = _lags(table["visible_after"], f"{where}: visible_after")
    for key in ("cancel_seconds", "deleted_seconds"):
        if key in table:
            values[key] = seconds_of(table[key], f"{where}: {key}")
    return Scenario(**values)


def seconds_of(value: object, where: str, *, negative: bool = False) -> float:
    """Seconds from a number or from text with a unit: `30`, `"1.5s"`, `"5m"`, `"2h"`, `"200ms"`."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        unit = next((unit for unit in UNITS if value.endswith(unit)), "")
        try:
            seconds = float(value.removesuffix(unit)) * UNITS.get(unit, 1.0)
        except ValueError:
            seconds = None
    if seconds is None or (seconds < 0 and not negative) or abs(seconds) >= 1e10 or seconds != seconds:
        raise ScenarioError(f'{where}: {value!r} is not a duration; write seconds, or "200ms", "30s", "5m", "2h"')
    return seconds


def life_of(value: object, where: str, lives: Mapping[str, Life], rng: random.Random) -> Life:
    """A life from a list of steps, from the name of one in `lives`, or from "random"."""
    if value == RANDOM:
        return Life.random(rng)
    if isinstance(value, str):
        if value not in lives:
            raise ScenarioError(f"{where}: no life is called {value!r}{_nearest(value, {*lives, RANDOM})}")
        return lives[value]
    if not isinstance(value, list):
        raise ScenarioError(f"{where}: a life is a list of steps or the name of a life, not {value!r}")
    steps = tuple(_step(step, f"{where}[{number}]") for number, step in enumerate(value, 1))
    return _made(lambda: Life(steps), where)


def runs_of(table: object, where: str, lives: Mapping[str, Life], rng: random.Random) -> list[RunSpec]:
    """The runs of one `[[runs]]` table; with `count` and `every` there are several."""
    entry = _typed(table, dict, where)
    members = {member.name for member in dataclasses.fields(RunSpec)}
    _known(entry, members | {"count", "every"}, where)
    number = _count(entry.get("count", 1), f"{where}.count")
    every = seconds_of(entry.get("every", 0), f"{where}.every")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        place = f"{where}.{key}"
        if key in {"tags", "request", "fields", "item_fields"}:
            values[key] = _typed(value, dict, place)
        elif key == "visible_after":
            values[key] = _lags(value, place)
        elif key not in {"life", "starts_in", "count", "every"}:
            values[key] = _typed(value, str, place)
    if number > 1 and ("run_id" in values or "uuid" in values):
        raise ScenarioError(f"{where}.count: {number} runs cannot share one run_id or uuid; leave those out")
    starts_in = seconds_of(entry.get("starts_in", 0), f"{where}.starts_in", negative=True)
    runs = []
    for turn in range(number):
        name = f"{values['name']}-{turn + 1}" if number > 1 and "name" in values else values.get("name")
        life = life_of(entry.get("life", RANDOM), f"{where}.life", lives, rng)
        runs.append(RunSpec(**{**values, "name": name, "life": life, "starts_in": starts_in + turn * every}))
    return runs


def fault_of(table: object, where: str) -> Fault:
    """A fault from its table."""
    entry = _typed(table, dict, where)
    _known(entry, {member.name for member in dataclasses.fields(Fault)}, where)
    if entry.get("kind") not in KINDS:
        raise ScenarioError(f"{where}.kind: {entry.get('kind')!r} is not one of {', '.join(KINDS)}")
    values = dict(entry)
    for key in ("start", "end", "seconds", "retry_after"):
        if key in values:
            values[key] = seconds_of(values[key], f"{where}.{key}")
    for key, kind in (
        ("operation", str),
        ("run_id", str),
        ("status", str),
        ("paged", bool),
        ("code", str),
        ("message", str),
        ("fields", dict),
    ):
        if key in values:
            _typed(values[key], kind, f"{where}.{key}")
    for key in ("skip", "count", "http_status"):
        if key in values:
            _count(values[key], f"{where}.{key}")
    if "probability" in values and not isinstance(values["probability"], int | float):
        raise ScenarioError(f"{where}.probability: {values['probability']!r} is not a number")
    return _made(lambda: Fault(**values), where)


def random_scenario(runs: int, seed: int = 0) -> Scenario:
    """`runs` runs that live as the service's do, started over the first ten minutes; the service's default quotas."""
    rng = random.Random(seed)  # noqa: S311  # plausible lives, not secrets
    return Scenario(runs=tuple(_random_runs(runs, rng)), quota_per_second=SERVICE_QUOTAS)


def demo_scenario() -> Scenario:
    """Fourteen runs that live every kind of life, the last one ended after some 18 seconds at speed 1."""

    def run(name: str, starts_in: float, life: Life, **more: Any) -> RunSpec:
        return RunSpec(
            life=life, name=name, starts_in=starts_in, tags={"project": "demo"}, workflow_name="rnaseq", **more
        )

    def failing(reason: str, starting: float, running: float, stopping: float | None = 1) -> Life:
        return Life.failed(reason, pending=1, starting=starting, running=running, stopping=stopping)

    steps = (("PENDING", 1.0), ("STARTING", 1.0), ("RUNNING", 4.0), ("STOPPING", 1.5))
    quick = (("PENDING", 3.0), ("STARTING", 0.1), ("RUNNING", 0.2), ("STOPPING", 0.1))
    deleted = Life.completed(0.5, 0.5, 2, 0.5, then=[Step("DELETED", 0.5), Step(GONE)])
    return Scenario(
        quota_per_second=SERVICE_QUOTAS,
        runs=(
            run("sample-01", 0.0, Life.completed(1, 1.5, 6, 1), run_group_id="9938959"),
            run("sample-02", 0.4, Life.completed(1, 2, 8, 1.5), run_group_id="9938959"),
            run("sample-03", 0.8, failing("RUN_TASK_FAILED", 1, 5)),
            run("sample-04-without-stopping", 1.2, failing("OUT_OF_MEMORY_ERROR", 1, 4, None)),
            run("sample-05-cancelled-pending", 1.6, Life.of(("PENDING", 4), "CANCELLED")),
            run("sample-06-cancelled-running", 2.0, Life.of(*steps, "CANCELLED")),
            run("sample-07-vanished", 2.4, Life.vanished(pending=1, starting=1, running=4)),
            run("sample-08-first-of-its-id", 0.2, deleted, run_id="7830534"),
            run("sample-08-second-of-its-id", 10.0, failing("IMPORT_FAILED", 1, 2), run_id="7830534"),
            run("sample-09-quick", 3.0, Life.of(*quick, "COMPLETED")),
            run("sample-10-import", 3.5, failing("IMPORT_FAILED", 2, 1)),
            run("sample-11-queued", 4.0, Life.completed(6, 1, 3, 1), retention_mode="REMOVE"),
            run("sample-12-late", 8.0, Life.completed(1, 1, 6, 1)),
            run("sample-13-service-error", 9.0, failing("SERVICE_ERROR", 1, 4)),
        ),
    )


def _random_runs(number: int, rng: random.Random) -> list[RunSpec]:
    runs = []
    for place in range(number):
        project, workflow = rng.choice(("atlas", "panel", "pilot")), rng.choice(("rnaseq", "sarek", "viralrecon"))
        runs.append(
            RunSpec(
                life=Life.random(rng),
                starts_in=rng.uniform(0, 600) if place else 0.0,
                name=f"{project}-{place + 1:05d}",
                tags={"project": project},
                run_group_id=rng.choice((None, "9938959", "9938960")),
                workflow_id=str(4_074_992 + len(workflow)),
                workflow_name=workflow,
                workflow_version_name="1.2.1",
                retention_mode=rng.choice(("RETAIN", "REMOVE")),
                request={
                    "storageType": rng.choice(("DYNAMIC", "STATIC")),
                    "priority": 100,
                    "parameters": {"input": f"s3://emulated-inputs/{project}-{place + 1:05d}.csv"},
                },
                fields={"engineVersion": "24.10.8"} if workflow == "sarek" else {},
            )
        )
    return runs


def _step(value: object, where: str) -> Step:
    """`"RUNNING 30"`, `"RUNNING 5m"`, `"COMPLETED"`, or a table with status, seconds and fields."""
    if isinstance(value, str):
        status, _, length = value.strip().partition(" ")
        return _made(lambda: Step(status, seconds_of(length.strip(), where) if length else 0.0), where)
    if not isinstance(value, dict):
        raise ScenarioError(f'{where}: a step is "STATUS SECONDS" or {{ status, seconds, fields }}, not {value!r}')
    _known(value, {"status", "seconds", "fields"}, where)
    status = _typed(value.get("status"), str, f"{where}.status")
    seconds = seconds_of(value.get("seconds", 0), f"{where}.seconds")
    fields = _typed(value.get("fields", {}), dict, f"{where}.fields")
    return _made(lambda: Step(status, seconds, fields), where)


def _quota(value: object, where: str) -> Mapping[str, float] | float | None:
    """Calls per second as a number, a table by operation, or "service" for the service's defaults."""
    if value == "service":
        return SERVICE_QUOTAS
    if isinstance(value, dict):
        _known(value, set(OPERATIONS), where)
    numbers = value.values() if isinstance(value, dict) else (value,)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ScenarioError(f'{where}: {value!r} is neither a number, nor numbers by operation, nor "service"')
    quota: Any = value
    _made(lambda: Quota(quota), where)
    return {name: float(number) for name, number in value.items()} if isinstance(value, dict) else float(quota)


def _lags(value: object, where: str) -> dict[str, float]:
    """Seconds by operation."""
    table = _typed(value, dict, where)
    _known(table, set(OPERATIONS), where)
    return {operation: seconds_of(lag, f"{where}.{operation}") for operation, lag in table.items()}


def _made(make: Callable[[], T], where: str) -> T:
    """What `make` makes; what it refuses is told with its place."""
    try:
        return make()
    except ScenarioError:
        raise
    except ValueError as error:
        raise ScenarioError(f"{where}: {error}") from error


def _known(table: Mapping[str, Any], keys: set[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise ScenarioError(f"{where}: {key}: no such key{_nearest(key, keys)}")


def _nearest(word: str, words: set[str]) -> str:
    near = difflib.get_close_matches(word, sorted(words), n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(words))}"


def _typed(value: object, kind: type[T], where: str) -> T:
    if not isinstance(value, kind):
        written = {str: "text", dict: "a table", list: "a list", bool: "true or false"}[kind]
        raise ScenarioError(f"{where}: {value!r} is not {written}")
    return value


def _count(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ScenarioError(f"{where}: {value!r} is not a whole number above 0")
    return value


def _table(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    return _typed(table.get(key, {}), dict, f"{where}: {key}")


def _tables(table: Mapping[str, Any], key: str, where: str) -> list[object]:
    return _typed(table.get(key, []), list, f"{where}: {key}")
