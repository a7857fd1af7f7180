"""What goes wrong, when, and for whom: rules that the server asks before and after it answers.

Pure apart from the rules' own counters: time and chance come in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping
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
    "hidden",  # the run or batch is not found; in lists of runs it is missing (without run_id: all items are)
    "short_page",  # a list ends after `items` items, none by default, with a token although nothing may follow
]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
NamedIn = Literal["header", "body"]
NAMED_IN: Final[tuple[str, ...]] = get_args(NamedIn)
OPERATIONS: Final = (
    "GetRun",
    "ListRuns",
    "ListRunTasks",
    "GetRunTask",
    "StartRun",
    "CancelRun",
    "DeleteRun",
    "StartRunBatch",
    "GetBatch",
    "ListBatch",
    "ListRunsInBatch",
    "CancelRunBatch",
    "DeleteRunBatch",
    "DeleteBatch",
    "GetRunGroup",
    "GetCallerIdentity",
)
# Of these the past can be shown. A batch has no past but the lag of its counters.
WITH_A_PAST: Final = frozenset({"GetRun", "ListRuns", "ListRunTasks", "GetRunTask"})
# The lists of runs, in which a fault may concern one run's item and not the call: by kind of fault.
OF_ITEMS: Final[Mapping[str, frozenset[str]]] = {
    "stale": frozenset({"ListRuns"}),
    "hidden": frozenset({"ListRuns", "ListRunsInBatch"}),
}
LISTS: Final = frozenset({"ListRuns", "ListRunTasks", "ListBatch", "ListRunsInBatch"})
# What is asked about may be hidden: a run or a batch, or all items of a list.
HIDING: Final = LISTS | {"GetRun", "GetRunTask", "CancelRun", "DeleteRun", "GetBatch"}
# Which operations a kind of fault can befall; all, if it is not named here.
ABLE: Final[Mapping[str, Collection[str]]] = {
    "stale": WITH_A_PAST,
    "hidden": HIDING,
    "short_page": LISTS,
    "bad_timestamp": WITH_A_PAST | {"GetBatch", "ListBatch", "GetRunGroup"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule. What is None does not narrow it.

    Which calls: `operation` (such as "GetRun"), `run_id`, `batch_id`, `status` (the filter of a list), `paged` (True:
    only calls with a startingToken, False: only without), from `start` to `end` in real seconds since the rule was
    added, each with `probability`; after the first `skip` of them the next `count` (None: all).

    What happens: `kind`. `seconds` belongs to slow and stale; `code`, `message`, `http_status`, `named_in` ("header":
    by x-amzn-ErrorType, "body": by __type) and `retry_after` to errors; `http_status` also to html and empty; `fields`
    to altered; `items` to short_page.
    """

    kind: Kind
    operation: str | None = None
    run_id: str | None = None
    batch_id: str | None = None
    status: str | None = None
    paged: bool | None = None
    start: float = 0.0
    end: float | None = None
    probability: float = 1.0
    skip: int = 0
    count: int | None = None
    seconds: float = 0.0
    items: int = 0
    code: str = "InternalServerException"
    message: str | None = None
    http_status: int | None = None
    named_in: NamedIn = "header"
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
        able = ABLE.get(self.kind, OPERATIONS)
        if self.operation is not None and self.operation not in able:
            raise ValueError(f"no {self.kind} befalls {self.operation}, only {', '.join(sorted(able))}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability is from 0 to 1, not {self.probability}")
        if self.seconds < 0 or self.skip < 0 or self.items < 0 or (self.count is not None and self.count < 0):
            raise ValueError("seconds, skip, count and items are not negative")


OutageKind = Literal["unavailable", "hang", "reset"]
OUTAGES: Final[tuple[str, ...]] = get_args(OutageKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """From `start` on, for `seconds`, both real ones since it was added, each call of `operations` (none named: of all)
    comes to nothing: `kind` "unavailable" answers 503, "hang" never, "reset" breaks the connection. It comes before
    quotas and faults: nothing is spent and nothing is counted down meanwhile.
    """

    seconds: float
    start: float = 0.0
    kind: OutageKind = "unavailable"
    operations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in OUTAGES:
            raise ValueError(f"no outage is called {self.kind}; there are {', '.join(OUTAGES)}")
        if not self.seconds > 0 or self.start < 0:
            raise ValueError(
                f"an outage lasts more than 0 seconds, from now on or later, not {self.seconds} from {self.start}"
            )
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ValueError(f"no operation is called {operation}; there are {', '.join(OPERATIONS)}")

    def fault(self) -> Fault:
        """What befalls a call meanwhile."""
        if self.kind == "unavailable":
            return Fault(kind="error", code="ServiceUnavailableException")
        return Fault(kind=self.kind)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as the faults and the log of calls see it."""

    operation: str
    run_id: str | None = None
    status: str | None = None
    token: str | None = None
    batch_id: str | None = None


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
        self._outages: list[tuple[Outage, int]] = []

    def add(self, fault: Fault, now: int) -> None:
        self._rules.append(_Rule(fault, now))

    def remove(self, fault: Fault) -> None:
        self._rules = [rule for rule in self._rules if rule.fault != fault]

    def clear(self) -> None:
        self._rules.clear()

    def add_outage(self, outage: Outage, now: int) -> None:
        self._outages.append((outage, now))

    def clear_outages(self) -> None:
        self._outages.clear()

    @property
    def outages(self) -> list[Outage]:
        return [outage for outage, _ in self._outages]

    def outage(self, operation: str, now: int) -> Fault | None:
        """What befalls each call of the operation now, before all else."""
        for outage, added in self._outages:
            begin = added + outage.start * SECOND
            if begin <= now < begin + outage.seconds * SECOND and (
                not outage.operations or operation in outage.operations
            ):
                return outage.fault()
        return None

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
            if asked.operation not in ABLE.get(fault.kind, OPERATIONS):
                continue
            if fault.run_id in {None, asked.run_id} and _concerns(fault, asked) and self._meets(rule, now):
                (slow if fault.kind == "slow" else other).append(fault)
        return slow + other

    def items(self, asked: Asked, now: int) -> dict[str, Fault]:
        """What befalls single runs in this list, by run id."""
        found: dict[str, Fault] = {}
        for rule in self._rules:
            fault = rule.fault
            if (
                asked.operation in OF_ITEMS.get(fault.kind, ())
                and fault.run_id is not None
                and fault.run_id not in found
                and _concerns(fault, asked)
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


def _concerns(fault: Fault, asked: Asked) -> bool:
    return (
        fault.operation in {None, asked.operation}
        and fault.batch_id in {None, asked.batch_id}
        and fault.status in {None, asked.status}
        and fault.paged in {None, asked.token is not None}
    )


def spoiled(fault: Fault, body: bytes) -> bytes:
    """The body of a good answer after a fault that alters it; bodies of other faults pass unchanged."""
    if fault.kind in {"truncated", "cut_off"}:
        return body[: len(body) // 2]
    if fault.kind == "array":
        return b"[" + body + b"]"
    if fault.kind == "empty":
        return b""
    if fault.kind == "hidden":
        return b'{"runs":[]}' if body.startswith(b'{"runs":') else b'{"items":[]}'
    if fault.kind not in {"altered", "bad_timestamp"}:
        return body
    answer: dict[str, Any] = json.loads(body or b"{}")
    if fault.kind == "altered":
        answer |= fault.fields
        answer = {member: value for member, value in answer.items() if value is not None}
    else:
        for item in answer.get("items", [answer])[:1]:
            item["createdAt" if "createdAt" in item else "creationTime"] = "yesterday at noon"
    return json.dumps(answer, separators=(",", ":")).encode()
