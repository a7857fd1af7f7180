"""One look: take it from the budget, call, and say what came of it. Every retry is the planner's, none hides here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, assert_never, get_args

import anyio
import structlog

from poller.core import budget
from poller.core.batches import BatchSnapshot
from poller.core.budget import Budget
from poller.core.errors import BadRequest, Denied, RunGone, ServiceError, Throttled, Transient
from poller.core.patience import Patience, answered, limit_seconds, waited_in_vain
from poller.core.planner import GetRunLook, ListLook
from poller.core.runs import GroupLimits, Snapshot
from poller.ports.clock import Clock
from poller.ports.service import BatchPage, Page, RunService
from poller.telemetry import Tally

log = structlog.get_logger("poller.polling")

Operation = Literal["GetRun", "ListRuns", "GetBatch", "ListRunsInBatch", "GetRunGroup"]
OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)
FAILING_OVER: Final = 50
"""Calls over which the share of those that fail is reckoned."""
MOST_IN_FLIGHT: Final = 32
"""Calls of one operation under way at once: beyond it a slow service gets no faster."""


@dataclass(frozen=True, slots=True)
class BatchLook:
    """Ask about one batch."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class BatchRunsLook:
    """Read one page of the runs that a batch has submitted."""

    batch_id: str
    token: str | None


@dataclass(frozen=True, slots=True)
class GroupLook:
    """Ask what a run group allows."""

    group_id: str


Look = GetRunLook | ListLook | BatchLook | BatchRunsLook | GroupLook


def operation_of(look: Look) -> Operation:
    """The API operation that a look calls."""
    match look:
        case GetRunLook():
            return "GetRun"
        case ListLook():
            return "ListRuns"
        case BatchLook():
            return "GetBatch"
        case BatchRunsLook():
            return "ListRunsInBatch"
        case GroupLook():
            return "GetRunGroup"
        case never:
            assert_never(never)


@dataclass(frozen=True, slots=True)
class RunShown:
    """GetRun answered."""

    look: GetRunLook
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class RunMissing:
    """GetRun did not find the run."""

    look: GetRunLook
    answered_at: datetime
    error: RunGone


@dataclass(frozen=True, slots=True)
class RunRefused:
    """The service will not answer about this run: the id is wrong, or access to it is denied."""

    look: GetRunLook
    answered_at: datetime
    error: BadRequest | Denied


@dataclass(frozen=True, slots=True)
class PageShown:
    """ListRuns answered."""

    look: ListLook
    page: Page


@dataclass(frozen=True, slots=True)
class BatchShown:
    """GetBatch answered."""

    look: BatchLook
    snapshot: BatchSnapshot


@dataclass(frozen=True, slots=True)
class BatchRunsShown:
    """ListRunsInBatch answered."""

    look: BatchRunsLook
    page: BatchPage


@dataclass(frozen=True, slots=True)
class GroupShown:
    """GetRunGroup answered."""

    look: GroupLook
    limits: GroupLimits


@dataclass(frozen=True, slots=True)
class LookFailed:
    """No answer that says anything about a run."""

    look: Look
    answered_at: datetime
    error: ServiceError


Answer = RunShown | RunMissing | RunRefused | PageShown | BatchShown | BatchRunsShown | GroupShown | LookFailed


class Looks:
    """The calls of one scope and what they may cost. `failing` is the share of them that brought no answer lately.

    Args: `ceiling` in calls per second and operation; `rates` as the record remembers them.
    """

    def __init__(
        self, service: RunService, clock: Clock, tally: Tally, *, ceiling: float, rates: Mapping[str, float]
    ) -> None:
        self.service = service
        self.clock = clock
        self.tally = tally
        now = clock.monotonic()
        self.budgets: dict[Operation, Budget] = {
            operation: budget.open_budget(ceiling, now, remembered=rates.get(operation)) for operation in OPERATIONS
        }
        self.in_flight: dict[Operation, int] = dict.fromkeys(OPERATIONS, 0)
        self.failing = 0.0
        self._patience: dict[Operation, Patience] = dict.fromkeys(OPERATIONS, Patience())

    @property
    def rates(self) -> dict[str, float]:
        """The learned calls per second, as the record keeps them."""
        return {operation: round(one.rate, 3) for operation, one in self.budgets.items()}

    def wait_seconds(self, operation: Operation) -> float:
        """How long until one more call may be made; infinite while too many are under way."""
        if self.in_flight[operation] >= MOST_IN_FLIGHT:
            return float("inf")
        return budget.wait_seconds(self.budgets[operation], self.clock.monotonic())

    def held_back(self, operation: Operation, *, waiting: bool) -> None:
        """Note whether calls wait for this budget: it grows only while they do."""
        waiting = waiting and self.in_flight[operation] < MOST_IN_FLIGHT
        self.budgets[operation] = budget.held_back(self.budgets[operation], self.clock.monotonic(), waiting=waiting)

    def take(self, operation: Operation) -> None:
        """Spend a call; every one is then made by `look`."""
        self.budgets[operation] = budget.take(self.budgets[operation], self.clock.monotonic())
        self.in_flight[operation] += 1
        self.tally.add("calls", operation=operation)

    async def look(self, look: Look) -> Answer:
        """Make one call that was taken from the budget; failures come back as answers."""
        answer = await self._answer(look)
        self.failing += (isinstance(answer, LookFailed) - self.failing) / FAILING_OVER
        return answer

    async def _answer(self, look: Look) -> Answer:
        operation = operation_of(look)
        sent = self.clock.monotonic()
        seconds = limit_seconds(self._patience[operation])
        try:
            with anyio.move_on_after(seconds):
                answer = await self._ask(look)
                self._patience[operation] = answered(self._patience[operation], self.clock.monotonic() - sent)
                return answer
            self._patience[operation] = waited_in_vain(self._patience[operation])
            late = Transient("timeout", f"no answer within {seconds:.1f} s", operation=operation)
            return LookFailed(look, self.clock.now(), late)
        except RunGone as error:
            if isinstance(look, GetRunLook):
                return RunMissing(look, self.clock.now(), error)
            return LookFailed(look, self.clock.now(), error)
        except (BadRequest, Denied) as error:
            if isinstance(look, GetRunLook):
                return RunRefused(look, self.clock.now(), error)
            return LookFailed(look, self.clock.now(), error)
        except ServiceError as error:
            if isinstance(error, Throttled):
                self.budgets[operation] = budget.throttled(self.budgets[operation], self.clock.monotonic(), sent)
                self.tally.add("throttles", operation=operation)
                log.debug("look.throttled", operation=operation, rate=round(self.budgets[operation].rate, 2))
            return LookFailed(look, self.clock.now(), error)
        finally:
            self.in_flight[operation] -= 1

    async def _ask(self, look: Look) -> Answer:
        match look:
            case GetRunLook():
                return RunShown(look, await self.service.get_run(look.run_id))
            case ListLook(name=(status, group, batch)):
                page = await self.service.list_runs(status=status, group=group, batch=batch, token=look.token)
                return PageShown(look, page)
            case BatchLook():
                return BatchShown(look, await self.service.get_batch(look.batch_id))
            case BatchRunsLook():
                return BatchRunsShown(look, await self.service.list_runs_in_batch(look.batch_id, token=look.token))
            case GroupLook():
                return GroupShown(look, await self.service.get_run_group(look.group_id))
            case never:
                assert_never(never)
