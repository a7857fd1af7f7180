"""What goes wrong, when, and for whom: rules that the server asks before and after it answers.

Pure apart from the rules' own counters: time and chance come in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from poller.emulator.errors import HTTP_STATUS
from poller.emulator.instants import SECOND

Kind = Literal[
    "error",  # an error answer: `code`, or with code "" one that names nothing
    "reset",  # the connection is reset instead of an answer
    "hang",  # no answer, ever
    "slow",  # the answer comes `seconds` later; other faults still apply to it
    "truncated",  # status 200, JSON cut in the middle, lengths right
    "cut_off",  # the connection dies in the middle of the body
    "html",  # an HTML page, with `http_status` or 200
    "empty",  # no body, with `http_status` or 200
    "array",  # a JSON array where an object belongs
    "bad_timestamp",  # a creationTime that is none
    "altered",  # members of the answer replaced by `fields` (None: left out)
    "stale",  # the answer of `seconds` ago
    "hidden",  # the run is not found; in ListRuns it is missing (without run_id: all of them)
]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
NAMED_IN: Final = ("header", "body")
OPERATIONS: Final = (
    "GetRun",
    "ListRuns",
    "ListRunTasks",
    "GetRunTask",
    "StartRun",
    "CancelRun",
    "DeleteRun",
    "GetCallerIdentity",
)
# Kinds that, in ListRuns with a run_id, concern that run's item and not the call.
OF_ITEMS: Final = frozenset({"stale", "hidden"})
LISTS: Final = frozenset({"ListRuns"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule. What is None does not narrow it.

    Which calls: `operation` (such as "GetRun"), `run_id`, `status` (the filter of ListRuns), `paged` (True: only calls
    with a startingToken, False: only without), from `start` to `end` in real seconds since the rule was added, each
    with `probability`; after the first `skip` of them the next `count` (None: all).

    What happens: `kind`. `seconds` belongs to slow and stale; `code`, `message`, `http_status`, `named_in` ("header":
    by x-amzn-ErrorType, "body": by __type) and `retry_after` to errors; `http_status` also to html and empty; `fields`
    to altered.
    """

    kind: Kind
    operation: str | None = None
    run_id: str | None = None
    status: str | None = None
    paged: bool | None = None
    start: float = 0.0
    end: float | None = None
    probability: float = 1.0
    skip: int = 0
    count: int | None = None
    seconds: float = 0.0
    code: str = "InternalServerException"
    message: str | None = None
    http_status: int | None = None
    named_in: Literal["header", "body"] = "header"
    retry_after: float | None = None
    fields: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind}; there are {', '.join(KINDS)}")
        if self.operation is not None and self.operation not in OPERATIONS:
            raise ValueError(f"no operation is called {self.operation}; there are {', '.join(OPERATIONS)}")
        if self.named_in not in NAMED_IN:
            raise ValueError(f"named_in is one of {', '.join(NAMED_IN)}, not {self.named_in}")
        if self.kind == "error" and self.http_status is None and self.code not in HTTP_STATUS:
            raise ValueError(
                f"{self.code or 'an error without code'} needs an http_status, as it is not an error of the model"
            )
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability is from 0 to 1, not {self.probability}")
        if self.seconds < 0 or self.skip < 0 or (self.count is not None and self.count < 0):
            raise ValueError("seconds, skip and count are not negative")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as the faults and the log of calls see it."""

    operation: str
    run_id: str | None = None
    status: str | None = None
    token: str | None = None


@dataclass(slots=True, eq=False)
class _Rule:
    fault: Fault
    added: int
    met: int = 0


class FaultRules:
    """The rules in force, in the order in which they were added."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rules: list[_Rule] = []

    def add(self, fault: Fault, now: int) -> None:
        self._rules.append(_Rule(fault, now))

    def remove(self, fault: Fault) -> None:
        self._rules = [rule for rule in self._rules if rule.fault != fault]

    def clear(self) -> None:
        self._rules.clear()

    @property
    def all(self) -> list[Fault]:
        return [rule.fault for rule in self._rules]

    def strike(self, asked: Asked, now: int) -> list[Fault]:
        """What befalls this call, the slow ones first: delays add up, of all other kinds at most the first applies."""
        slow: list[Fault] = []
        other: list[Fault] = []
        for rule in self._rules:
            fault = rule.fault
            if fault.kind != "slow" and other:
                continue
            if fault.kind == "hidden" and asked.run_id is None and asked.operation not in LISTS:
                continue
            if (
                fault.operation in {None, asked.operation}
                and fault.run_id in {None, asked.run_id}
                and fault.status in {None, asked.status}
                and fault.paged in {None, asked.token is not None}
                and self._meets(rule, now)
            ):
                (slow if fault.kind == "slow" else other).append(fault)
        return slow + other

    def items(self, asked: Asked, now: int) -> dict[str, Fault]:
        """What befalls single runs in this list, by run id."""
        if asked.operation not in LISTS or not self._rules:
            return {}
        found: dict[str, Fault] = {}
        for rule in self._rules:
            fault = rule.fault
            if (
                fault.kind in OF_ITEMS
                and fault.run_id is not None
                and fault.run_id not in found
                and fault.operation in {None, asked.operation}
                and fault.status in {None, asked.status}
                and fault.paged in {None, asked.token is not None}
                and self._meets(rule, now)
            ):
                found[fault.run_id] = fault
        return found

    def _meets(self, rule: _Rule, now: int) -> bool:
        """Window, chance and count, in this order: only a call that is met counts."""
        fault = rule.fault
        age = (now - rule.added) / SECOND
        if age < fault.start or (fault.end is not None and age >= fault.end):
            return False
        if fault.count is not None and rule.met >= fault.skip + fault.count:
            return False
        if fault.probability < 1 and self._rng.random() >= fault.probability:
            return False
        rule.met += 1
        return rule.met > fault.skip


def spoiled(fault: Fault, body: bytes) -> bytes:
    """The body of a good answer after a fault that alters it; bodies of other faults pass unchanged."""
    if fault.kind in {"truncated", "cut_off"}:
        return body[: len(body) // 2]
    if fault.kind == "array":
        return b"[" + body + b"]"
    if fault.kind == "empty":
        return b""
    if fault.kind == "hidden":
        return b'{"items":[]}'
    if fault.kind not in {"altered", "bad_timestamp"}:
        return body
    answer: dict[str, Any] = json.loads(body or b"{}")
    if fault.kind == "altered":
        answer |= fault.fields
        answer = {member: value for member, value in answer.items() if value is not None}
    else:
        for item in answer.get("items", [answer])[:1]:
            item["creationTime"] = "yesterday at noon"
    return json.dumps(answer, separators=(",", ":")).encode()
