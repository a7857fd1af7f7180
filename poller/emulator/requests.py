"""A request as it came and an answer as it goes: which operation a path names, and what its parameters may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from poller.emulator.errors import Refused, not_valid
from poller.emulator.faults import Asked, Fault
from poller.emulator.instants import SECOND

DIGITS: Final = re.compile(r"[0-9]{1,18}")
DIGITS_WANTED: Final = "Member must satisfy regular expression pattern: [0-9]+"

ROUTES: Final[Sequence[tuple[str, re.Pattern[str], str]]] = (
    ("GET", re.compile(r"/run"), "ListRuns"),
    ("POST", re.compile(r"/run"), "StartRun"),
    ("GET", re.compile(r"/run/(?P<id>[^/]+)"), "GetRun"),
    ("DELETE", re.compile(r"/run/(?P<id>[^/]+)"), "DeleteRun"),
    ("POST", re.compile(r"/run/(?P<id>[^/]+)/cancel"), "CancelRun"),
    ("GET", re.compile(r"/run/(?P<id>[^/]+)/task"), "ListRunTasks"),
    ("GET", re.compile(r"/run/(?P<id>[^/]+)/task/(?P<taskId>[^/]+)"), "GetRunTask"),
    ("GET", re.compile(r"/runBatch"), "ListBatch"),
    ("POST", re.compile(r"/runBatch"), "StartRunBatch"),
    ("POST", re.compile(r"/runBatch/cancel"), "CancelRunBatch"),
    ("POST", re.compile(r"/runBatch/delete"), "DeleteRunBatch"),
    ("GET", re.compile(r"/runBatch/(?P<batchId>[^/]+)"), "GetBatch"),
    ("DELETE", re.compile(r"/runBatch/(?P<batchId>[^/]+)"), "DeleteBatch"),
    ("GET", re.compile(r"/runBatch/(?P<batchId>[^/]+)/run"), "ListRunsInBatch"),
    ("GET", re.compile(r"/runGroup/(?P<id>[^/]+)"), "GetRunGroup"),
)
# Operations whose body, and not their path, names the batch.
NAMED_IN_BODY: Final = frozenset({"CancelRunBatch", "DeleteRunBatch"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its path taken apart; `query` holds the values of each parameter."""

    operation: str
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes = b""

    def asked(self) -> Asked:
        return Asked(
            self.operation,
            None if self.operation == "GetRunGroup" else self.ids.get("id"),
            self.one("status") or self.one("submissionStatus"),
            self.one("startingToken"),
            self._batch_id(),
        )

    def one(self, parameter: str) -> str | None:
        values = self.query.get(parameter)
        return values[-1] if values else None

    def _batch_id(self) -> str | None:
        if self.operation in NAMED_IN_BODY:
            try:
                named = json.loads(self.body).get("batchId")
            except (ValueError, AttributeError):
                return None
            return named if isinstance(named, str) else None
        return self.ids.get("batchId") or self.one("batchId")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which a request is answered: at `now`; with the state of `stale` seconds ago; with faults of single runs in
    a list; with a page of no more than `short` items, whatever follows.
    """

    now: int
    stale: float = 0.0
    items: Mapping[str, Fault] = field(default_factory=dict)
    short: int | None = None

    @property
    def instant(self) -> int:
        """The instant that the answer is about."""
        return self.now - round(self.stale * SECOND)

    def hides(self, run_id: str) -> bool:
        fault = self.items.get(run_id)
        return fault is not None and fault.kind == "hidden"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes


def routed(method: str, path: str, query: Mapping[str, Sequence[str]], body: bytes) -> Request | None:
    """Which operation is asked; None if there is no such. `path` is still percent-encoded, so that an id may hold a
    slash.
    """
    for verb, pattern, operation in ROUTES:
        if verb == method and (found := pattern.fullmatch(path)):
            return Request(operation, {name: unquote(value) for name, value in found.groupdict().items()}, query, body)
    return None


def object_in(body: bytes) -> dict[str, Any]:
    """The request's body. Raises: Refused (ValidationException)."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Refused("ValidationException", "The request body is not a JSON object")
    return asked


def id_in_path(request: Request, member: str = "id") -> str:
    value = request.ids[member]
    if not DIGITS.fullmatch(value):
        raise not_valid(member, value, DIGITS_WANTED)
    return value


def digits(request: Request, parameter: str) -> str | None:
    value = request.one(parameter)
    if value is not None and not DIGITS.fullmatch(value):
        raise not_valid(parameter, value, DIGITS_WANTED)
    return value


def one_of(request: Request, parameter: str, values: frozenset[str]) -> str | None:
    value = request.one(parameter)
    if value is not None and value not in values:
        raise not_valid(parameter, value, f"Member must satisfy enum value set: [{', '.join(sorted(values))}]")
    return value


def text(request: Request, parameter: str, longest: int) -> str | None:
    value = request.one(parameter)
    if value is not None and not 1 <= len(value) <= longest:
        raise not_valid(parameter, value, f"Member must have length between 1 and {longest}")
    return value


def one_filter(request: Request, *parameters: str) -> None:
    """The lists about batches take one filter per call. Raises: Refused (ValidationException)."""
    given = [parameter for parameter in parameters if request.one(parameter) is not None]
    if len(given) > 1:
        raise Refused("ValidationException", f"Only one filter per call is supported, not {' and '.join(given)}")
