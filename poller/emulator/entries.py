"""Entries of a scenario file: a life, runs, a batch, a run group, a fault, an outage, each from its table."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from poller.emulator.batch_specs import BatchSpec, LifeOf, Numbered, Pace, any_life
from poller.emulator.faults import KINDS, OPERATIONS, OUTAGES, Fault, Outage
from poller.emulator.groups import RunGroup
from poller.emulator.lives import RANDOM, Life, Step
from poller.emulator.quota import SERVICE_QUOTAS, Quota
from poller.emulator.runs import FailedTask, RunSpec
from poller.emulator.starting import DEFAULT_RUN_SETTING, INLINE_SETTING
from poller.emulator.tables import ScenarioError, count, known, made, nearest, number_of, seconds_of, typed

PACE: Final = tuple(Pace.__annotations__)


def life_of(value: object, where: str, lives: Mapping[str, Life], rng: random.Random) -> Life:
    """A life from a list of steps, from the name of one in `lives`, or from "random"."""
    if value == RANDOM:
        return Life.random(rng)
    if isinstance(value, str):
        if value not in lives:
            raise ScenarioError(f"{where}: no life is called {value!r}{nearest(value, {*lives, RANDOM})}")
        return lives[value]
    if not isinstance(value, list):
        raise ScenarioError(f"{where}: a life is a list of steps or the name of a life, not {value!r}")
    steps = tuple(_step(step, f"{where}[{number}]") for number, step in enumerate(value, 1))
    return made(lambda: Life(steps), where)


def runs_of(table: object, where: str, lives: Mapping[str, Life], rng: random.Random) -> list[RunSpec]:
    """The runs of one `[[runs]]` table; with `count` and `every` there are several."""
    entry = typed(table, dict, where)
    members = {member.name for member in dataclasses.fields(RunSpec)}
    known(entry, members | {"count", "every"}, where)
    number = count(entry.get("count", 1), f"{where}.count")
    every = seconds_of(entry.get("every", 0), f"{where}.every")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        place = f"{where}.{key}"
        if key in {"tags", "request", "fields", "item_fields"}:
            values[key] = typed(value, dict, place)
        elif key == "visible_after":
            values[key] = lags_of(value, place)
        elif key == "failed_tasks":
            tasks = enumerate(typed(value, list, place), 1)
            values[key] = tuple(_failed_task(task, f"{place}[{number}]") for number, task in tasks)
        elif key not in {"life", "starts_in", "count", "every"}:
            values[key] = typed(value, str, place)
    if number > 1 and ("run_id" in values or "uuid" in values):
        raise ScenarioError(f"{where}.count: {number} runs cannot share one run_id or uuid; leave those out")
    starts_in = seconds_of(entry.get("starts_in", 0), f"{where}.starts_in", negative=True)
    given = entry.get("life", RANDOM)
    life = life_of(given, f"{where}.life", lives, rng)
    runs = []
    for turn in range(number):
        name = f"{values['name']}-{turn + 1}" if number > 1 and "name" in values else values.get("name")
        if turn and given == RANDOM:
            life = Life.random(rng)
        runs.append(RunSpec(**{**values, "name": name, "life": life, "starts_in": starts_in + turn * every}))
    return runs


def fault_of(table: object, where: str) -> Fault:
    """A fault from its table."""
    entry = typed(table, dict, where)
    known(entry, {member.name for member in dataclasses.fields(Fault)}, where)
    if entry.get("kind") not in KINDS:
        raise ScenarioError(f"{where}.kind: {entry.get('kind')!r} is not one of {', '.join(KINDS)}")
    values = dict(entry)
    for key in ("start", "end", "seconds", "retry_after"):
        if key in values:
            values[key] = seconds_of(values[key], f"{where}.{key}")
    for key, kind in (
        ("operation", str),
        ("run_id", str),
        ("batch_id", str),
        ("status", str),
        ("paged", bool),
        ("code", str),
        ("message", str),
        ("fields", dict),
    ):
        if key in values:
            typed(values[key], kind, f"{where}.{key}")
    for key, least in (("skip", 0), ("count", 1), ("http_status", 1), ("items", 0)):
        if key in values:
            count(values[key], f"{where}.{key}", least=least)
    if "probability" in values and not isinstance(values["probability"], int | float):
        raise ScenarioError(f"{where}.probability: {values['probability']!r} is not a number")
    return made(lambda: Fault(**values), where)


def _failed_task(table: object, where: str) -> FailedTask:
    """A task that fails, from its table."""
    entry = typed(table, dict, where)
    known(entry, {member.name for member in dataclasses.fields(FailedTask)}, where)
    return FailedTask(**{key: typed(value, str, f"{where}.{key}") for key, value in entry.items()})


def _step(value: object, where: str) -> Step:
    """`"RUNNING 30"`, `"RUNNING 5m"`, `"COMPLETED"`, or a table with status, seconds and fields."""
    if isinstance(value, str):
        status, _, length = value.strip().partition(" ")
        return made(lambda: Step(status, seconds_of(length.strip(), where) if length else 0.0), where)
    if not isinstance(value, dict):
        raise ScenarioError(f'{where}: a step is "STATUS SECONDS" or {{ status, seconds, fields }}, not {value!r}')
    known(value, {"status", "seconds", "fields"}, where)
    status = typed(value.get("status"), str, f"{where}.status")
    seconds = seconds_of(value.get("seconds", 0), f"{where}.seconds")
    fields = typed(value.get("fields", {}), dict, f"{where}.fields")
    return made(lambda: Step(status, seconds, fields), where)


def quota_of(value: object, where: str) -> Mapping[str, float] | float | None:
    """Calls per second as a number, a table by operation, or "service" for the service's defaults."""
    if value == "service":
        return SERVICE_QUOTAS
    if isinstance(value, dict):
        known(value, set(OPERATIONS), where)
    numbers = value.values() if isinstance(value, dict) else (value,)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ScenarioError(f'{where}: {value!r} is neither a number, nor numbers by operation, nor "service"')
    quota: Any = value
    made(lambda: Quota(quota), where)
    return {name: float(number) for name, number in value.items()} if isinstance(value, dict) else float(quota)


def lags_of(value: object, where: str) -> dict[str, float]:
    """Seconds by operation."""
    return _by_operation(value, where, seconds_of)


def batch_of(table: object, where: str, lives: Mapping[str, Life], rng: random.Random, pace: Pace) -> BatchSpec:
    """A batch from its table; `runs`: how many, or a list of their settings. `pace`: where the table names none."""
    entry = typed(table, dict, where)
    members = {member.name for member in dataclasses.fields(BatchSpec)} - {"settings", "default", "life_of"}
    known(entry, members | {"runs", "life", "default_run_setting"}, where)
    name = typed(entry.get("name", "run"), str, f"{where}.name")
    runs = entry.get("runs")
    if isinstance(runs, list):
        for number, setting in enumerate(runs, 1):
            place = f"{where}.runs[{number}]"
            known(typed(setting, dict, place), set(INLINE_SETTING), place)
            typed(setting.get("runSettingId"), str, f"{place}.runSettingId")
    default = typed(entry.get("default_run_setting", {}), dict, f"{where}.default_run_setting")
    known(default, set(DEFAULT_RUN_SETTING), f"{where}.default_run_setting")
    values: dict[str, Any] = {
        "settings": runs if isinstance(runs, list) else Numbered(name, count(runs, f"{where}.runs")),
        "default": default,
        **pace,
        **pace_of({key: entry[key] for key in PACE if key in entry}, where),
    }
    if "life" in entry:
        values["life_of"] = _lives_of(entry["life"], f"{where}.life", lives, rng)
    for key in ("name", "batch_id", "submission_failure", "failure_reason"):
        if key in entry:
            values[key] = typed(entry[key], str, f"{where}.{key}")
    if "tags" in entry:
        values["tags"] = typed(entry["tags"], dict, f"{where}.tags")
    if "failed_submissions" in entry:
        values["failed_submissions"] = count(entry["failed_submissions"], f"{where}.failed_submissions", least=0)
    if "starts_in" in entry:
        values["starts_in"] = seconds_of(entry["starts_in"], f"{where}.starts_in", negative=True)
    return made(lambda: BatchSpec(**values), where)


def _lives_of(value: object, where: str, lives: Mapping[str, Life], rng: random.Random) -> LifeOf:
    """The lives of a batch's runs: one for all, or for each its own at random."""
    if value == RANDOM:
        return any_life
    life = life_of(value, where, lives, rng)
    return lambda _tags, _place, _rng: life


def pace_of(table: object, where: str) -> Pace:
    """How fast batches go."""
    entry = typed(table, dict, where)
    known(entry, set(PACE), where)
    pace = Pace()
    if "creating" in entry:
        pace["creating"] = seconds_of(entry["creating"], f"{where}.creating")
    if "pending" in entry:
        pace["pending"] = seconds_of(entry["pending"], f"{where}.pending")
    if "runs_per_second" in entry:
        pace["runs_per_second"] = number_of(entry["runs_per_second"], f"{where}.runs_per_second")
        if not pace["runs_per_second"] > 0:
            raise ScenarioError(f"{where}.runs_per_second: {entry['runs_per_second']!r} is not above 0")
    return pace


def group_of(table: object, where: str) -> RunGroup:
    """A run group from its table."""
    entry = typed(table, dict, where)
    known(entry, {member.name for member in dataclasses.fields(RunGroup)}, where)
    typed(entry.get("group_id"), str, f"{where}.group_id")
    for key, kind in (("name", str), ("tags", dict)):
        if key in entry:
            typed(entry[key], kind, f"{where}.{key}")
    for key in ("max_runs", "max_cpus", "max_gpus", "max_duration"):
        if key in entry:
            count(entry[key], f"{where}.{key}")
    return made(lambda: RunGroup(**entry), where)


def outage_of(table: object, where: str) -> Outage:
    """An outage from its table."""
    entry = typed(table, dict, where)
    known(entry, {member.name for member in dataclasses.fields(Outage)}, where)
    values: dict[str, Any] = {"seconds": seconds_of(entry.get("seconds"), f"{where}.seconds")}
    if "start" in entry:
        values["start"] = seconds_of(entry["start"], f"{where}.start")
    if "kind" in entry:
        values["kind"] = choice_of(entry["kind"], OUTAGES, f"{where}.kind")
    if "operations" in entry:
        values["operations"] = tuple(typed(entry["operations"], list, f"{where}.operations"))
    return made(lambda: Outage(**values), where)


def rates_of(value: object, where: str) -> dict[str, float]:
    """Calls per second by operation."""
    return _by_operation(value, where, number_of)


def _by_operation(value: object, where: str, read: Callable[[object, str], float]) -> dict[str, float]:
    table = typed(value, dict, where)
    known(table, set(OPERATIONS), where)
    return {operation: read(number, f"{where}.{operation}") for operation, number in table.items()}


def choice_of(value: object, choices: Collection[str], where: str) -> str:
    if value not in choices:
        raise ScenarioError(f"{where}: {value!r} is not one of {', '.join(choices)}")
    return str(value)
