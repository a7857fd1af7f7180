"""How far the tasks of a run are, for those who watch one: asked gently, and gone without where it is denied.

ListRunTasks has a quota of its own, which belongs to the people who work with the account: at most one call a second,
and each run at most every 15 seconds.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from poller.aws import AwsSessions
from poller.core import budget
from poller.core.errors import Denied, ServiceError, Throttled
from poller.healthomics.parse import error_of
from poller.ports.clock import Clock

EVERY: Final = 15.0
"""Seconds between two questions about one run."""
CALLS_PER_SECOND: Final = 1.0
MOST_PAGES: Final = 20
"""Of 100 tasks each: a run with more is told by its first two thousand."""
PAGE: Final = 100
IDLE_SECONDS: Final = 0.5
OPERATION: Final = "ListRunTasks"


@dataclass(frozen=True, slots=True)
class TaskCount:
    """Tasks of a run that have completed, of those that there are so far."""

    completed: int
    total: int

    def __str__(self) -> str:
        return f"{self.completed}/{self.total}"


class Progress:
    """Counts the tasks of running runs. Args: `running` names the runs that are RUNNING now."""

    def __init__(
        self,
        running: Callable[[], Collection[str]],
        clock: Clock,
        *,
        region: str,
        profile: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        self.counts: dict[str, TaskCount] = {}
        self._running = running
        self._clock = clock
        self._where = {"region": region, "profile": profile, "endpoint_url": endpoint_url}
        self._budget = budget.open_budget(CALLS_PER_SECOND, clock.monotonic())
        self._asked: dict[str, float] = {}

    async def run(self) -> None:
        """Count until cancelled, or until it is denied."""
        sessions = AwsSessions()
        try:
            while True:
                run_id = self._next()
                if run_id is None:
                    await self._clock.sleep(IDLE_SECONDS)
                    continue
                try:
                    self.counts[run_id] = await self._count(sessions, run_id)
                except Denied:
                    return
                except ServiceError:
                    pass  # the next turn tries again; whether the account can be seen is told elsewhere
                self._asked[run_id] = self._clock.monotonic()
        finally:
            await sessions.close()

    def _next(self) -> str | None:
        """The run whose count is oldest, if it is old enough."""
        now = self._clock.monotonic()
        due = [run for run in self._running() if now - self._asked.get(run, float("-inf")) >= EVERY]
        return min(due, key=lambda run: self._asked.get(run, float("-inf")), default=None)

    async def _count(self, sessions: AwsSessions, run_id: str) -> TaskCount:
        completed = total = 0
        token: str | None = None
        for _ in range(MOST_PAGES):
            answer = await self._page(sessions, run_id, token)
            items = answer.get("items") or []
            total += len(items)
            completed += sum(item.get("status") == "COMPLETED" for item in items)
            token = answer.get("nextToken")
            if not token:
                break
        return TaskCount(completed, total)

    async def _page(self, sessions: AwsSessions, run_id: str, token: str | None) -> dict[str, Any]:
        while (wait := budget.wait_seconds(self._budget, self._clock.monotonic())) > 0:
            await self._clock.sleep(wait)
        sent = self._clock.monotonic()
        self._budget = budget.take(self._budget, sent)
        more = {"startingToken": token} if token else {}
        try:
            client = await sessions.client("omics", **self._where)
            answer: dict[str, Any] = await client.list_run_tasks(id=run_id, maxResults=PAGE, **more)
        except Exception as failure:  # the border to botocore: error_of knows what each one means
            error = error_of(failure, OPERATION)
            if isinstance(error, Throttled):
                self._budget = budget.throttled(self._budget, self._clock.monotonic(), sent)
            raise error from failure
        return answer
