"""Small budgets that whoever asks waits for: of what explains, and follows no run. No other calls are held back."""

from collections.abc import Iterable, Mapping

from poller.core import budget
from poller.core.budget import Budget
from poller.foundation import Foundation


class Spending:
    """A budget for each of some operations.

    Args: `ceiling` in calls per second; `rates` as the record remembers them.
    """

    def __init__(
        self, operations: Iterable[str], foundation: Foundation, *, ceiling: float, rates: Mapping[str, float]
    ) -> None:
        self.clock = foundation.clock
        self.tally = foundation.tally
        now = self.clock.monotonic()
        self.budgets: dict[str, Budget] = {
            operation: budget.open_budget(ceiling, now, remembered=rates.get(operation)) for operation in operations
        }

    @property
    def rates(self) -> dict[str, float]:
        """The learned calls per second, as the record keeps them."""
        return {operation: round(one.rate, 3) for operation, one in self.budgets.items()}

    async def spend(self, operation: str) -> None:
        """Wait until one call of this operation may be made, and take it from its budget."""
        while (seconds := budget.wait_seconds(self.budgets[operation], self.clock.monotonic())) > 0:
            self._note(operation, waiting=True)
            await self.clock.sleep(seconds)
        self._note(operation, waiting=False)
        self.budgets[operation] = budget.take(self.budgets[operation], self.clock.monotonic())
        self.tally.add("calls", operation=operation)

    def throttled(self, operation: str, sent: float) -> None:
        """The service refused a call that was sent at this moment (monotonic): the rate is cut."""
        if operation in self.budgets:
            cut = budget.throttled(self.budgets[operation], self.clock.monotonic(), sent)
            self.budgets[operation] = cut
            self.tally.add("throttles", operation=operation)

    def _note(self, operation: str, *, waiting: bool) -> None:
        """A budget grows only while calls wait for it."""
        self.budgets[operation] = budget.held_back(self.budgets[operation], self.clock.monotonic(), waiting=waiting)
