"""The operations: a request as it came, and the present instant, to the answer. No HTTP server, no clock, no faults.

What is refused carries the names of the service's model (`errors.py`); what is checked is what its shapes constrain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from poller.emulator import wire
from poller.emulator.errors import Refused, not_found, not_valid
from poller.emulator.faults import Asked, Fault
from poller.emulator.instants import SECOND
from poller.emulator.lives import STATUSES, Life
from poller.emulator.runs import Run, RunSpec
from poller.emulator.tasks import tasks_of
from poller.emulator.world import Filters, World

TASK_STATUSES: Final = STATUSES - {"DELETED"}
DIGITS: Final = re.compile(r"[0-9]{1,18}")
PAGE: Final = 100
LIFE_TAG: Final = "emulator:life"  # a StartRun with this tag lives the scenario's life of that name

ROUTES: Final[Sequence[tuple[str, re.Pattern[str], str]]] = (
    ("GET", re.compile(r"/run"), "ListRuns"),
    ("POST", re.compile(r"/run"), "StartRun"),
    ("GET", re.compile(r"/run/(?P<id>[^/]+)"), "GetRun"),
    ("DELETE", re.compile(r"/run/(?P<id>[^/]+)"), "DeleteRun"),
    ("POST", re.compile(r"/run/(?P<id>[^/]+)/cancel"), "CancelRun"),
    ("GET", re.compile(r"/run/(?P<id>[^/]+)/task"), "ListRunTasks"),
    ("GET", re.compile(r"/run/(?P<id>[^/]+)/task/(?P<taskId>[^/]+)"), "GetRunTask"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its path taken apart; `query` holds the values of each parameter."""

    operation: str
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes = b""

    def asked(self) -> Asked:
        return Asked(self.operation, self.ids.get("id"), self.one("status"), self.one("startingToken"))

    def one(self, parameter: str) -> str | None:
        values = self.query.get(parameter)
        return values[-1] if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; `code` is the error's name, or None."""

    status: int
    body: bytes
    code: str | None = None


def routed(method: str, path: str, query: Mapping[str, Sequence[str]], body: bytes) -> Request | None:
    """Which operation is asked; None if there is no such. `path` is still percent-encoded, so that an id may hold a
    slash.
    """
    for verb, pattern, operation in ROUTES:
        if verb == method and (found := pattern.fullmatch(path)):
            return Request(operation, {name: unquote(value) for name, value in found.groupdict().items()}, query, body)
    return None


class Service:
    """The operations over one world. `new_life` gives the life of a run that is started by StartRun: by its name, or
    any.
    """

    def __init__(self, world: World, new_life: Callable[[str | None], Life]) -> None:
        self.world, self._new_life = world, new_life
        self._operations: Mapping[str, Callable[[Request, int, Mapping[str, Fault], float], Answer]] = {
            "GetRun": self._get_run,
            "ListRuns": self._list_runs,
            "ListRunTasks": self._list_run_tasks,
            "GetRunTask": self._get_run_task,
            "StartRun": self._start_run,
            "CancelRun": self._cancel_run,
            "DeleteRun": self._delete_run,
        }

    def answer(
        self, request: Request, now: int, *, items: Mapping[str, Fault] | None = None, stale: float = 0.0
    ) -> Answer:
        """The answer at `now`, or of `stale` seconds ago; `items`: faults of single runs in a list.

        Raises: Refused, with the error that the service would send.
        """
        self.world.advance(now)
        return self._operations[request.operation](request, now, items or {}, stale)

    def _get_run(self, request: Request, now: int, _: Mapping[str, Fault], stale: float) -> Answer:
        exports = request.query.get("export", ())
        for export in exports:
            if export != "DEFINITION":
                raise not_valid("export", export, "Member must satisfy enum value set: [DEFINITION]")
        run, index = self._run(request, now, stale)
        if exports or index != run.index:
            return Answer(200, wire.encode(wire.run_answer(run, index, definition=bool(exports))))
        body = run.rendered.get("run")
        if body is None:
            body = run.rendered["run"] = wire.encode(wire.run_answer(run, index))
        return Answer(200, body)

    def _list_runs(self, request: Request, now: int, items: Mapping[str, Fault], stale: float) -> Answer:
        filters = Filters(
            _enum(request, "status", STATUSES),
            _digits(request, "runGroupId"),
            _digits(request, "batchId"),
            _text(request, "name", 128),
        )
        limit, after = _page(request, (filters,))
        hidden = {run_id for run_id, fault in items.items() if fault.kind == "hidden"}

        def shown(run: Run) -> bool:
            return run.id not in hidden and run.visible("ListRuns", now)

        if stale or len(hidden) < len(items):

            def instant_of(run: Run) -> int:
                fault = items.get(run.id)
                return now - round((fault.seconds if fault is not None else stale) * SECOND)

            pairs, more = self.world.page_at(filters, limit, after, shown, instant_of)
            bodies = [wire.encode(wire.item_answer(run, index)) for run, index in pairs]
            last = pairs[-1][0].key if pairs else 0
        else:
            runs, more = self.world.page(filters, limit, after, shown)
            bodies = [_item(run) for run in runs]
            last = runs[-1].key if runs else 0
        return _listed(bodies, _token((filters,), last) if more else None)

    def _list_run_tasks(self, request: Request, now: int, _: Mapping[str, Fault], stale: float) -> Answer:
        run, _index = self._run(request, now, stale)
        status = _enum(request, "status", TASK_STATUSES)
        limit, after = _page(request, (run.uuid, status))
        instant = now - round(stale * SECOND)
        found = []
        for place, task in enumerate(tasks_of(run)):
            index = task.index_at(instant)
            if (
                index >= 0
                and (status is None or task.moments[index].status == status)
                and (after is None or place > after)
            ):
                found.append((place, wire.encode(wire.task_item(run, task, index))))
        more = len(found) > limit
        return _listed(
            [body for _, body in found[:limit]], _token((run.uuid, status), found[limit - 1][0]) if more else None
        )

    def _get_run_task(self, request: Request, now: int, _: Mapping[str, Fault], stale: float) -> Answer:
        task_id = request.ids["taskId"]
        if not DIGITS.fullmatch(task_id):
            raise not_valid("taskId", task_id, "Member must satisfy regular expression pattern: [0-9]+")
        run, _index = self._run(request, now, stale)
        for task in tasks_of(run):
            index = task.index_at(now - round(stale * SECOND))
            if task.id == task_id and index >= 0:
                return Answer(200, wire.encode(wire.task_answer(run, task, index)))
        raise Refused("ResourceNotFoundException", f"Task {task_id} of run {run.id} not found")

    def _start_run(self, request: Request, now: int, _: Mapping[str, Fault], stale: float) -> Answer:
        asked = _checked(request.body)
        known = self.world.started_by(asked["requestId"])
        if known is not None:
            return Answer(201, wire.encode(wire.started_answer(known)))
        if (template := asked.get("runId")) is not None:
            original = self.world.get(template)
            asked = {**_request_of(original.spec), **asked}
        if asked.get("workflowId") is None:
            raise Refused("ValidationException", "Either workflowId or runId is required")
        run = self.world.start(self._spec(asked), now, request_id=asked["requestId"])
        return Answer(201, wire.encode(wire.started_answer(run)))

    def _cancel_run(self, request: Request, now: int, _: Mapping[str, Fault], stale: float) -> Answer:
        self.world.cancel(self._run(request, now, 0)[0], now)
        return Answer(202, b"")

    def _delete_run(self, request: Request, now: int, _: Mapping[str, Fault], stale: float) -> Answer:
        self.world.delete(self._run(request, now, 0)[0], now)
        return Answer(202, b"")

    def _run(self, request: Request, now: int, stale: float) -> tuple[Run, int]:
        """The run that the path names, and which of its moments to show."""
        run_id = request.ids["id"]
        if not DIGITS.fullmatch(run_id):
            raise not_valid("id", run_id, "Member must satisfy regular expression pattern: [0-9]+")
        then = now - round(stale * SECOND)
        run = self.world.get_at(run_id, then) if stale else self.world.get(run_id)
        if not run.visible(request.operation, now):
            raise not_found(run_id)
        return run, run.index_at(then) if stale else run.index

    def _spec(self, asked: Mapping[str, Any]) -> RunSpec:
        tags = asked.get("tags") or {}
        return RunSpec(
            life=self._new_life(tags.get(LIFE_TAG)),
            name=asked.get("name"),
            tags=tags,
            run_group_id=asked.get("runGroupId"),
            workflow_id=asked["workflowId"],
            workflow_version_name=asked.get("workflowVersionName"),
            retention_mode=asked.get("retentionMode", "RETAIN"),
            request={name: value for name, value in asked.items() if name in KEPT and value is not None},
        )


def _item(run: Run) -> bytes:
    body = run.rendered.get("item")
    if body is None:
        body = run.rendered["item"] = wire.encode(wire.item_answer(run, run.index))
    return body


def _listed(bodies: list[bytes], token: str | None) -> Answer:
    end = b"]}" if token is None else b'],"nextToken":"%b"}' % token.encode()
    return Answer(200, b'{"items":[' + b",".join(bodies) + end)


# Parameters of the query


def _digits(request: Request, parameter: str) -> str | None:
    value = request.one(parameter)
    if value is not None and not DIGITS.fullmatch(value):
        raise not_valid(parameter, value, "Member must satisfy regular expression pattern: [0-9]+")
    return value


def _enum(request: Request, parameter: str, values: frozenset[str]) -> str | None:
    value = request.one(parameter)
    if value is not None and value not in values:
        raise not_valid(parameter, value, f"Member must satisfy enum value set: [{', '.join(sorted(values))}]")
    return value


def _text(request: Request, parameter: str, longest: int) -> str | None:
    value = request.one(parameter)
    if value is not None and not 1 <= len(value) <= longest:
        raise not_valid(parameter, value, f"Member must have length between 1 and {longest}")
    return value


def _page(request: Request, belonging: tuple[object, ...]) -> tuple[int, int | None]:
    """The size of the page, and the key that the last page ended with."""
    size = request.one("maxResults")
    if size is not None and not (size.isdecimal() and len(size) < 5 and 1 <= int(size) <= 100):
        raise not_valid("maxResults", size, "Member must have value between 1 and 100")
    token = request.one("startingToken")
    return PAGE if size is None else int(size), None if token is None else _opened(token, belonging)


def _token(belonging: tuple[object, ...], key: int) -> str:
    """A token for the page behind `key`; it is good only for the same list with the same filters."""
    seal = hashlib.sha256(repr(belonging).encode()).hexdigest()[:12]
    return base64.urlsafe_b64encode(f"{seal}:{key:x}".encode()).decode().rstrip("=")


def _opened(token: str, belonging: tuple[object, ...]) -> int:
    try:
        _, _, key = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(":")
        after = int(key, 16)
    except (ValueError, binascii.Error):
        after = None
    if after is None or _token(belonging, after) != token:
        raise Refused("ValidationException", "The startingToken is not valid for this request")
    return after


# The body of StartRun


def _is(kind: type, check: Callable[[Any], bool] = lambda _: True) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind) and not (kind is int and isinstance(value, bool)) and check(value)


_ID: Final = _is(str, lambda text: DIGITS.fullmatch(text) is not None)
_ARN: Final = _is(str, lambda text: text.startswith("arn:") and 5 <= len(text) <= 128)
_ANY: Final = _is(dict)
_NUMBER: Final = _is(int, lambda number: 0 <= number <= 100_000)


def _one_of(*values: str) -> Callable[[object], bool]:
    return lambda value: value in values


def _up_to(longest: int) -> Callable[[object], bool]:
    return _is(str, lambda text: 1 <= len(text) <= longest)


START_RUN: Final[Mapping[str, Callable[[object], bool]]] = {
    "roleArn": _ARN,
    "outputUri": _up_to(750),
    "requestId": _up_to(128),
    "workflowId": _ID,
    "runId": _ID,
    "runGroupId": _ID,
    "cacheId": _ID,
    "workflowType": _one_of("PRIVATE", "READY2RUN"),
    "workflowOwnerId": _is(str, lambda text: re.fullmatch(r"[0-9]{12}", text) is not None),
    "workflowVersionName": _is(str, lambda text: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-._]{0,63}", text) is not None),
    "name": _up_to(128),
    "cacheBehavior": _one_of("CACHE_ON_FAILURE", "CACHE_ALWAYS"),
    "priority": _NUMBER,
    "parameters": _ANY,
    "storageCapacity": _NUMBER,
    "storageType": _one_of("STATIC", "DYNAMIC"),
    "logLevel": _one_of("OFF", "FATAL", "ERROR", "ALL"),
    "tags": _is(dict, lambda tags: len(tags) <= 50 and all(isinstance(value, str) for value in tags.values())),
    "retentionMode": _one_of("RETAIN", "REMOVE"),
    "networkingMode": _one_of("RESTRICTED", "VPC"),
    "scratchStorageMode": _one_of("LOCAL", "SHARED"),
    "configurationName": _is(str, lambda text: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-._]{0,127}", text) is not None),
    "sessionPolicy": _up_to(2048),
    "engineSettings": _ANY,
}
REQUIRED: Final = ("roleArn", "outputUri", "requestId")
# What the run keeps of its request beside the members that RunSpec names itself.
KEPT: Final = frozenset({*wire.ECHOED, "storageCapacity", "configurationName"})


def _checked(body: bytes) -> dict[str, Any]:
    """The StartRun request as an object. Raises: Refused (ValidationException)."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Refused("ValidationException", "The request body is not a JSON object")
    for member in REQUIRED:
        if asked.get(member) is None:
            raise not_valid(member, None, "Member must not be null")
    for member, holds in START_RUN.items():
        if asked.get(member) is not None and not holds(asked[member]):
            raise not_valid(member, asked[member], f"Member must satisfy the constraints of {member}")
    return asked


def _request_of(spec: RunSpec) -> dict[str, Any]:
    """The request that would start the same run again."""
    named = {
        "name": spec.name,
        "tags": dict(spec.tags),
        "runGroupId": spec.run_group_id,
        "workflowId": spec.workflow_id,
        "workflowVersionName": spec.workflow_version_name,
        "retentionMode": spec.retention_mode,
    }
    return {**spec.request, **{member: value for member, value in named.items() if value is not None}}
