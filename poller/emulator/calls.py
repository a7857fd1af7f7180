"""The log of calls: what was asked, when, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from poller.emulator.faults import Asked
from poller.emulator.instants import datetime_of

# An emulator may run for days: of the log of calls the younger part is kept.
CALLS_KEPT: Final = 100_000


@dataclass(slots=True)
class Call:
    """One call as it was asked and answered. `status`: the filter of a list. `outcome`: "200", an error's name, a
    fault's kind; "" while it is unanswered.
    """

    at: datetime
    operation: str
    run_id: str | None
    status: str | None
    token: str | None
    batch_id: str | None = None
    outcome: str = ""
    answered_at: datetime | None = None


class CallLog:
    """All calls since the beginning, counted; the younger ones kept."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.counts: Counter[str] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def opened(self, asked: Asked, now: int) -> Call:
        call = Call(datetime_of(now), asked.operation, asked.run_id, asked.status, asked.token, asked.batch_id)
        if len(self.calls) >= 2 * CALLS_KEPT:
            del self.calls[:CALLS_KEPT]
        self.calls.append(call)
        self.counts[call.operation] += 1
        return call

    def closed(self, call: Call, outcome: str, now: int) -> None:
        call.outcome, call.answered_at = outcome, datetime_of(now)
        self.outcomes[call.operation, outcome] += 1
