"""What the outcomes of one sink's attempts mean: for each delivery, and for the sink, whose breaker is kept here."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from poller.core.deliveries import AttemptOutcome, Delivery, DeliveryState, Settlement
from poller.core.retries import LONGEST_PROBE, OPENS_AFTER, WAITS, Breaker, failed, next_attempt, probed, succeeded
from poller.core.values import SinkSettings
from poller.delivery.attempts import Outcome
from poller.telemetry import Tally

log = structlog.get_logger("poller.delivery")

MOST_REMEMBERED: Final = 10_000


class Judge:
    """Judges the outcomes of one sink in the order in which they came.

    Args: `chance` gives numbers in [0, 1).
    """

    def __init__(self, settings: SinkSettings, chance: Callable[[], float], tally: Tally) -> None:
        self.sink = settings.name
        self.max_attempts = settings.max_attempts
        self.waits = settings.retry_waits or WAITS
        self.fallback = settings.fallback
        self.chance = chance
        self.tally = tally
        self.breaker = Breaker()
        self.last_error: str | None = None
        self.last_acknowledged_at: datetime | None = None
        self._successes_at: dict[int, int] = {}
        self._failing_lanes: set[str] = set()

    def probe_now(self, now: datetime) -> None:
        """In an outage, try the sink at once and not at the next probe's time."""
        if self.breaker.open:
            self.breaker = replace(self.breaker, probe_at=now)

    def probe_sent(self) -> None:
        """One delivery goes out to see whether the outage is over."""
        self.breaker = probed(self.breaker)

    def settlements_of(self, outcomes: Sequence[Outcome], now: datetime) -> list[Settlement]:
        """What outcomes mean for their deliveries; what they mean for the sink is kept."""
        settlements = [self._settlement_of(outcome, now) for outcome in outcomes]
        if acknowledged := [outcome.delivery for outcome in outcomes if outcome.error is None]:
            self.last_acknowledged_at = now
            self.tally.add("deliveries", len(acknowledged), sink=self.sink, outcome="acknowledged")
            tell = log.bind(sink=self.sink)  # once: that is most of what a line costs which is not written
            for delivery in acknowledged:
                tell.debug("delivery.acknowledged", event_id=delivery.event.id, attempts=delivery.attempts + 1)
        return settlements

    def _settlement_of(self, outcome: Outcome, now: datetime) -> Settlement:
        delivery = outcome.delivery
        if outcome.error is None:
            self._far_end_answers()
            self._successes_at.pop(delivery.id, None)
            return Settlement(delivery.id, DeliveryState.ACKNOWLEDGED, now, attempts=delivery.attempts)
        facts = {"sink": self.sink, "run": delivery.event.run_id, "event_id": delivery.event.id}
        if not outcome.expired:
            self.last_error = outcome.error
        attempts = delivery.attempts + (not outcome.expired)
        counts = self._tells_against_the_event(delivery)
        counted = delivery.counted + counts
        if outcome.rejected or outcome.expired or counted >= self.max_attempts:
            if outcome.rejected:
                self._far_end_answers()
            self._successes_at.pop(delivery.id, None)
            self.tally.add("deliveries", sink=self.sink, outcome="dead")
            log.error("delivery.dead", attempts=attempts, error=outcome.error, fallback=self.fallback, **facts)
            ending = AttemptOutcome.REJECTED if outcome.rejected else AttemptOutcome.FAILED
            return Settlement(
                delivery.id,
                DeliveryState.DEAD,
                now,
                attempts=attempts,
                counted=counted,
                error=outcome.error,
                outcome=None if outcome.expired else ending,
            )
        self._failing_lanes.add(delivery.lane)
        alone = len(self._failing_lanes) == 1 and self.breaker.failures >= OPENS_AFTER - 1  # one run may be poison
        if not outcome.beside and not alone:
            self.breaker = failed(self.breaker, now, self.chance(), after=outcome.after)
        if delivery.id in self._successes_at or len(self._successes_at) < MOST_REMEMBERED:
            self._successes_at[delivery.id] = self.breaker.successes
        # what was tried in vain during an outage must not make the twelve failures of a poison event last for days
        failures = counted if counts else attempts
        due = next_attempt(failures, now, self.chance(), after=outcome.after, waits=self.waits)
        if not counts:
            due = min(due, now + max(LONGEST_PROBE, outcome.after or LONGEST_PROBE))
        self.tally.add("deliveries", sink=self.sink, outcome="failed")
        tell = log.warning if attempts == 1 else log.debug
        tell("delivery.failed", attempts=attempts, error=outcome.error, due=due.isoformat(), **facts)
        return Settlement(
            delivery.id,
            DeliveryState.PENDING,
            now,
            due=due,
            attempts=attempts,
            counted=counted,
            error=outcome.error,
            outcome=AttemptOutcome.FAILED,
        )

    def _far_end_answers(self) -> None:
        """An acknowledgement, or a rejection: it is no outage."""
        self.breaker = succeeded(self.breaker)
        self._failing_lanes.clear()

    def _tells_against_the_event(self, delivery: Delivery) -> bool:
        """Whether others of this sink succeeded since this delivery was tried last, so that it is no outage."""
        before = self._successes_at.get(delivery.id)
        if before is None:  # tried first, or before a restart: then only what this worker has seen counts
            return self.breaker.successes > 0 and self.breaker.failures == 0
        return self.breaker.successes > before
