"""Those who wait for what a GetRun says of a run: `Poller.wait`, and commands that must not answer from memory."""

from dataclasses import dataclass, field
from datetime import datetime

import anyio

from poller.core.runs import KnownRun


@dataclass(slots=True, eq=False)
class _Waiter:
    since: datetime
    event: anyio.Event = field(default_factory=anyio.Event)
    known: KnownRun | None = None


class Waiters:
    """Who waits for which run; they outlive a crash of the loop that is to answer them."""

    def __init__(self) -> None:
        self._waiters: dict[str, list[_Waiter]] = {}

    @property
    def run_ids(self) -> list[str]:
        """The runs that somebody still waits for."""
        return [run_id for run_id, waiting in self._waiters.items() if any(one.known is None for one in waiting)]

    async def wait(self, run_id: str, since: datetime) -> KnownRun:
        """What is known of a run once a GetRun that was sent after `since` has spoken, or a verdict is given."""
        waiter = _Waiter(since)
        self._waiters.setdefault(run_id, []).append(waiter)
        try:
            await waiter.event.wait()
        finally:
            self._leave(run_id, waiter)
        assert waiter.known is not None
        return waiter.known

    def answer(self, known: KnownRun, asked_at: datetime) -> None:
        """Wake those whom an answer to a request of `asked_at` is news to."""
        for waiter in self._waiters.get(known.run_id, ()):
            if asked_at >= waiter.since and waiter.known is None:
                waiter.known = known
                waiter.event.set()

    def join(self, others: "Waiters") -> None:
        """From now on those who wait there wait here, too: one answer wakes both."""
        if others._waiters is not self._waiters:
            for run_id, waiting in others._waiters.items():
                self._waiters.setdefault(run_id, []).extend(waiting)
            others._waiters = self._waiters

    def _leave(self, run_id: str, waiter: _Waiter) -> None:
        self._waiters[run_id].remove(waiter)
        if not self._waiters[run_id]:
            del self._waiters[run_id]
