"""All outlets of a process: one worker each, so that no sink waits for another; and their exchange while they run."""

from collections import defaultdict
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller.core.routing import Route
from poller.delivery.outlet import Outlet, OutletWorker
from poller.foundation import Foundation
from poller.supervision import keep_running

FINISH_SECONDS = 2.0
"""How long a sink that leaves may take to end what it is sending."""


class Dispatcher:
    """Serves every outlet in force. Args: `instance` is the daemon that tells of a sink's outage."""

    def __init__(self, outlets: Sequence[Outlet], foundation: Foundation, *, instance: str) -> None:
        self.outlets = list(outlets)
        self.foundation = foundation
        self.instance = instance
        self.workers: dict[str, OutletWorker] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._left: defaultdict[str, set[int]] = defaultdict(set)
        self._tasks: TaskGroup | None = None

    @property
    def routes(self) -> list[Route]:
        """What each outlet in force is owed."""
        return [Route.of(outlet.settings) for outlet in self.outlets]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; ready once every event recorded from now on is routed to the outlets."""
        await self._use_routes()
        try:
            async with anyio.create_task_group() as self._tasks:
                for outlet in self.outlets:
                    self._start(self._tasks, outlet)
                task_status.started()
                while True:
                    await self.foundation.bell.wait()
                    for worker in self.workers.values():
                        worker.wake()
        finally:
            self._tasks = None
            self.workers.clear()

    async def exchange(self, outlets: Sequence[Outlet]) -> None:
        """Serve these from now on. An outlet that is the same object goes on; one that leaves ends its sends first."""
        stay = {outlet.name: outlet for outlet in outlets if outlet in self.outlets}
        leave = [outlet for outlet in self.outlets if outlet.name not in stay]
        self.outlets = list(outlets)
        await self._use_routes()
        async with anyio.create_task_group() as finishing:
            for outlet in leave:
                finishing.start_soon(self._stop, outlet)
        if self._tasks is not None:
            for outlet in outlets:
                if outlet.name not in stay:
                    self._start(self._tasks, outlet)

    async def drained(self) -> None:
        """Return once nothing is in flight and nothing is due now. The caller sets the deadline."""
        async with anyio.create_task_group() as draining:
            for worker in self.workers.values():
                draining.start_soon(worker.drained)

    async def _use_routes(self) -> None:
        on = self.foundation
        await on.gate.insist(lambda: on.store.use_routes(self.routes, on.clock.now()))

    def _start(self, tasks: TaskGroup, outlet: Outlet) -> None:
        scope = self._scopes[outlet.name] = anyio.CancelScope()
        tasks.start_soon(self._keep_serving, outlet, scope, name=f"deliver {outlet.name}")

    async def _stop(self, outlet: Outlet) -> None:
        worker, scope = self.workers.pop(outlet.name, None), self._scopes.pop(outlet.name, None)
        if worker is not None:
            with anyio.move_on_after(FINISH_SECONDS):
                await worker.finished()
        if scope is not None:
            scope.cancel()

    async def _keep_serving(self, outlet: Outlet, scope: anyio.CancelScope) -> None:
        """One outlet for ever; after a crash a new worker takes its place."""

        async def serve() -> None:
            left = self._left[outlet.name]
            worker = OutletWorker(outlet, self.foundation, self.instance, left)
            self.workers[outlet.name] = worker
            await worker.run()

        with scope:
            part = f"deliver {outlet.name}"
            await keep_running(part, serve, self.foundation)
