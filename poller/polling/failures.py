"""Looks that brought nothing: how often in a row, what is logged of that, and when they are made again."""

from datetime import timedelta
from typing import Final

import structlog

from poller.core.cadence import Pace
from poller.core.errors import ServiceError, Throttled
from poller.core.planner import GetRunLook
from poller.core.retries import full_jitter
from poller.foundation import Foundation
from poller.polling.groups import Groups
from poller.polling.looks import BatchLook, BatchRunsLook, GroupLook, Look, operation_of

log = structlog.get_logger("poller.polling")

FIRST_RETRY: Final = timedelta(seconds=0.5)
_UNREAD_AFTER: Final = 3
"""Pages in a row that did not come, after which the ended lists are read as soon as one does."""


class Failures:
    """The failed looks of one scope. Args: `groups` knows how often each run group was asked about."""

    def __init__(self, foundation: Foundation, pace: Pace, groups: Groups) -> None:
        self.clock = foundation.clock
        self.chance = foundation.chance
        self.tally = foundation.tally
        self.pace = pace
        self.groups = groups
        self._of_run: dict[str, int] = {}
        self._of_batch: dict[str, int] = {}
        self.of_lists = 0
        """Pages in a row that did not come."""
        self._retry_at: dict[str, float] = {}

    def count(self, look: Look, error: ServiceError) -> None:
        """Count and log a look that brought nothing, and note how often it did."""
        operation = operation_of(look)
        self.tally.add("looks_failed", operation=operation, error=error.code)
        if isinstance(look, GetRunLook):
            failures = self._of_run[look.run_id] = self._of_run.get(look.run_id, 0) + 1
            facts = {"run": look.run_id}
        elif isinstance(look, BatchLook | BatchRunsLook):
            failures = self._of_batch[look.batch_id] = self._of_batch.get(look.batch_id, 0) + 1
            facts = {"batch": look.batch_id}
        elif isinstance(look, GroupLook):
            failures, facts = self.groups.attempts(look.group_id), {"group": look.group_id}
        else:
            self.of_lists += 1
            failures, facts = self.of_lists, {"list": look.name.status or "newest"}
        tell = log.debug if isinstance(error, Throttled) or failures > 1 else log.warning
        tell("look.failed", operation=operation, error=error.code, detail=error.message, failures=failures, **facts)

    def backoff(self, failures: int) -> float:
        """Seconds until a look is made again that failed so often in a row."""
        return full_jitter(failures, FIRST_RETRY, self.pace.max_interval, self.chance()).total_seconds()

    # --- runs ------------------------------------------------------------------------------------------------------

    def put_off(self, run_id: str) -> float:
        """A GetRun brought nothing: when it is sent again, in monotonic seconds, whoever wants it sooner."""
        self._retry_at[run_id] = self.clock.monotonic() + self.backoff(self._of_run.get(run_id, 1))
        return self._retry_at[run_id]

    def retry_at(self, run_id: str) -> float:
        """When a GetRun that was put off may be sent; 0.0 if none was."""
        return self._retry_at.get(run_id, 0.0)

    def run_answered(self, run_id: str) -> None:
        """A GetRun was answered: the next one need not wait."""
        self._retry_at.pop(run_id, None)

    def run_shown(self, run_id: str) -> None:
        """A GetRun showed the run: its failures are over."""
        self._of_run.pop(run_id, None)

    def forget(self, run_id: str) -> None:
        """The run is followed no more."""
        self._of_run.pop(run_id, None)
        self._retry_at.pop(run_id, None)

    # --- batches ---------------------------------------------------------------------------------------------------

    def of_batch(self, batch_id: str) -> int:
        """How often in a row nothing came about a batch."""
        return self._of_batch.get(batch_id, 0)

    def batch_answered(self, batch_id: str) -> None:
        """GetBatch or ListRunsInBatch was answered."""
        self._of_batch.pop(batch_id, None)

    # --- lists -----------------------------------------------------------------------------------------------------

    @property
    def lists_are_lost(self) -> bool:
        """Whether so many pages did not come that a run may have come and ended without any list showing it."""
        return self.of_lists >= _UNREAD_AFTER

    def page_answered(self) -> None:
        """ListRuns was answered."""
        self.of_lists = 0
