"""What other processes may do to the emulator, under `/_emulator/`: read the truth, start runs, let things go wrong.

Answers only callers on this machine. Bodies are JSON, with the keys of the scenario file. Endpoints: docs/emulator.md.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from poller.emulator.chance import chance
from poller.emulator.entries import (
    batch_of,
    choice_of,
    fault_of,
    group_of,
    life_of,
    outage_of,
    quota_of,
    rates_of,
    runs_of,
)
from poller.emulator.errors import HTTP_STATUS, Refused
from poller.emulator.paging import MODES
from poller.emulator.tables import ScenarioError, known, seconds_of

if TYPE_CHECKING:
    from poller.emulator.server import Emulator

PREFIX: Final = "/_emulator/"


async def answer(emulator: Emulator, request: web.BaseRequest, path: str, body: bytes) -> web.Response:
    """The answer to a request below the prefix; what is wrong with it is said in `message`."""
    if not is_local(request.remote):
        return _json({"message": "the emulator is controlled from its own machine only"}, 403)
    try:
        return _json(_done(emulator, request, path.removeprefix(PREFIX).strip("/").split("/"), body))
    except ScenarioError as error:
        return _json({"message": str(error)}, 400)
    except Refused as refused:
        return _json({"message": refused.message, "code": refused.code}, HTTP_STATUS.get(refused.code, 400))


def _done(emulator: Emulator, request: web.BaseRequest, parts: list[str], body: bytes) -> object:
    match (request.method, *parts):
        case ("GET", ""):
            return {
                "url": emulator.url,
                "runs": emulator.census(),
                "batches": emulator.batch_census(),
                "calls": emulator.call_counts,
                "foreign_calls": {name: dataclasses.asdict(calls) for name, calls in emulator.foreign_calls().items()},
            }
        case ("GET", "history"):
            return {"transitions": [transition._asdict() for transition in emulator.history()]}
        case ("GET", "batches"):
            return {"transitions": [transition._asdict() for transition in emulator.batch_history()]}
        case ("POST", "batches"):
            scenario = emulator.scenario
            spec = batch_of(_object(body), "batch", scenario.lives, chance(), scenario.batch_pace)
            return {"id": emulator.start_batch_as(spec)}
        case ("GET", "batches", batch_id):
            return {"status": emulator.batch_status(batch_id), "runs": emulator.batch_runs(batch_id)}
        case ("POST", "groups"):
            emulator.declare(group_of(_object(body), "group"))
            return {}
        case ("GET", "settings"):
            return {key: getattr(emulator, key) for key in SETTINGS}
        case ("POST", "settings"):
            _set(emulator, _object(body))
            return {}
        case ("GET", "calls"):
            return {
                "counts": emulator.call_counts,
                "outcomes": [[*key, number] for key, number in sorted(emulator.outcome_counts.items())],
                "calls": [dataclasses.asdict(call) for call in emulator.calls],
            }
        case ("GET", "faults"):
            return {"faults": [_told(dataclasses.asdict(fault)) for fault in emulator.faults]}
        case ("POST", "faults"):
            table = _object(body)
            emulator.add_fault(fault_of(table, "fault"))
            return {}
        case ("DELETE", "faults"):
            emulator.clear_faults()
            return {}
        case ("GET", "outages"):
            return {"outages": [dataclasses.asdict(outage) for outage in emulator.outages]}
        case ("POST", "outages"):
            emulator.add_outage(outage_of(_object(body), "outage"))
            return {}
        case ("DELETE", "outages"):
            emulator.clear_outages()
            return {}
        case ("POST", "runs"):
            return {"ids": _start(emulator, _object(body))}
        case ("POST", "runs", run_id):
            life = life_of(_object(body).get("life"), "life", emulator.scenario.lives, chance())
            emulator.move_run(run_id, *life.steps)
            return {}
        case ("DELETE", "runs", run_id):
            emulator.evict(run_id)
            return {}
        case _:
            raise Refused("UnknownOperationException", f"nothing is at {request.method} {PREFIX}{'/'.join(parts)}")


def _start(emulator: Emulator, table: Mapping[str, Any]) -> list[str]:
    specs = runs_of(table, "run", emulator.scenario.lives, chance())
    if "life" in table:
        return [emulator.start_run_as(spec) for spec in specs]
    return [emulator.start_run_as(dataclasses.replace(spec, life=emulator.usual_life())) for spec in specs]


def _set(emulator: Emulator, table: Mapping[str, Any]) -> None:
    """Change settings while the emulator runs: all of them, or none if one of them cannot be used."""
    known(table, set(SETTINGS), "settings")
    values = {key: SETTINGS[key](value, f"settings.{key}") for key, value in table.items()}
    for key, value in values.items():
        setattr(emulator, key, value)


def _or_none(read: Callable[[object, str], object]) -> Callable[[object, str], object]:
    return lambda value, where: None if value is None else read(value, where)


# What can be changed while the emulator runs, and how its value is read.
SETTINGS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "quota_per_second": _or_none(quota_of),
    "foreign_calls_per_second": rates_of,
    "counters_lag_seconds": seconds_of,
    "paging": lambda value, where: choice_of(value, MODES, where),
    "token_seconds": _or_none(seconds_of),
}


def _object(body: bytes) -> dict[str, Any]:
    try:
        table = json.loads(body)
    except ValueError as error:
        raise ScenarioError(f"the body is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise ScenarioError("the body is not a JSON object")
    return table


def is_local(remote: str | None) -> bool:
    try:
        return remote is not None and ipaddress.ip_address(remote).is_loopback
    except ValueError:
        return False


def _told(fault: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fault.items() if value is not None}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(value, default=_written).encode(), content_type="application/json"
    )


def _written(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} has no place in JSON")
