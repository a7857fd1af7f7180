"""How long a send may take: a limit is entered for one send after another, and gives the cancel scope of each."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

import anyio

from poller.ports.clock import Clock


class Limit:
    """Each send may take `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.scope = anyio.CancelScope()

    def __enter__(self) -> anyio.CancelScope:
        self.scope = anyio.move_on_after(self.seconds)
        return self.scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self.scope.__exit__(kind, error, trace)


class Limits:
    """The limits of tasks that send side by side, with one timer for all of them.

    A scope and a timer for each send would be a twelfth of what a webhook costs that is answered at once.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self.clock = clock
        self._of_tasks: set[_WatchedLimit] = set()

    @contextmanager
    def of_this_task(self) -> Iterator[Limit]:
        """The limit of all sends that this task makes one after the other. Of use while `watch` runs."""
        limit = _WatchedLimit(self.seconds, self.clock)
        with ExitStack() as stack:
            limit.scope.__enter__()
            stack.push(lambda *raised: limit.scope.__exit__(*raised))  # of the scope that it has by then
            self._of_tasks.add(limit)
            stack.callback(self._of_tasks.discard, limit)
            yield limit

    async def watch(self) -> None:
        """Cancel what takes too long, until cancelled."""
        while True:
            now = self.clock.monotonic()
            soonest = now + self.seconds  # nothing that begins from now on ends sooner
            for limit in self._of_tasks:
                if limit.ends_at <= now:
                    limit.scope.cancel()
                else:
                    soonest = min(soonest, limit.ends_at)
            await self.clock.sleep(soonest - now)


class _WatchedLimit(Limit):
    """Keeps its scope from send to send, until a send was cancelled in it."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        super().__init__(seconds)
        self.clock = clock
        self.ends_at = math.inf

    def __enter__(self) -> anyio.CancelScope:
        self.ends_at = self.clock.monotonic() + self.seconds
        return self.scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.ends_at = math.inf
        if not self.scope.cancel_called:
            return False
        try:
            return self.scope.__exit__(kind, error, trace)
        finally:
            self.scope = anyio.CancelScope()
            self.scope.__enter__()
