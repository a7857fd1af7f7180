"""How an attempt ended: what a sink raised, and what that means for each delivery of the batch."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

from poller.core.deliveries import Delivery
from poller.core.errors import Partial, Rejected, Retry
from poller.core.events import Event
from poller.delivery.limits import Limit
from poller.ports.sinks import Sink
from poller.redaction import redact

T = TypeVar("T")

LONGEST_ERROR: Final = 500
"""Characters of an error that are kept with a delivery."""


class Outcome(NamedTuple):
    """Of one delivery: acknowledged if there is no `error`; never to be tried again if `rejected` or `expired`.

    What expired was not sent, and says nothing of the far end. `crowded` failed because it was too much at once.
    `beside` failed in one send with another one before it: of the far end that says nothing more.
    """

    delivery: Delivery
    error: str | None = None
    rejected: bool = False
    after: timedelta | None = None
    expired: bool = False
    crowded: bool = False
    beside: bool = False


async def attempt(sink: Sink, batch: Sequence[Delivery], events: Sequence[Event], limit: Limit) -> list[Outcome]:
    """Send a batch once, within the limit, and say of each delivery how it went; only cancellation is raised.

    A batch that is rejected whole is sent again one by one, so that one bad event takes no other with it.
    """
    outcomes = await _attempted(sink, batch, events, limit)
    failed = [place for place, outcome in enumerate(outcomes) if outcome.error is not None and not outcome.rejected]
    for place in failed[1:]:
        outcomes[place] = outcomes[place]._replace(beside=True)
    return outcomes


async def _attempted(sink: Sink, batch: Sequence[Delivery], events: Sequence[Event], limit: Limit) -> list[Outcome]:
    try:
        with limit as scope:
            await _send(sink, events)
    except Rejected as error:
        if len(batch) == 1:
            return [Outcome(batch[0], _said(error), rejected=True)]
        singly = zip(batch, events, strict=True)
        return [outcome for one, event in singly for outcome in await attempt(sink, [one], [event], limit)]
    except Partial as partial:
        return [_of_failure(delivery, partial.failures.get(delivery.event.id)) for delivery in batch]
    except Retry as error:
        return [_of_failure(delivery, error) for delivery in batch]
    except TimeoutError as error:
        late = scope.cancel_called
        return [Outcome(delivery, _late(limit.seconds) if late else _said(error), crowded=late) for delivery in batch]
    if scope.cancelled_caught:
        return [Outcome(delivery, _late(limit.seconds), crowded=True) for delivery in batch]
    return [Outcome(delivery) for delivery in batch]


async def _send(sink: Sink, events: Sequence[Event]) -> None:
    """Send; whatever a sink raises that is none of its own words means "later".

    Raises: Retry, Rejected, Partial; TimeoutError, of which the caller knows whose it is.
    """
    try:
        await never_cancelling(sink.send, events)
    except (Retry, Rejected, Partial, TimeoutError):
        raise
    except Exception as error:
        raise Retry(_said(error)) from error


async def never_cancelling(call: Callable[[T], Awaitable[object] | object], argument: T) -> None:
    """Call somebody else's code and await it; a cancellation that it raises itself, unasked, is a mere failure."""
    try:
        result = call(argument)
        if inspect.isawaitable(result):
            await result
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Retry("it cancelled itself") from error


def _of_failure(delivery: Delivery, failure: Retry | Rejected | None) -> Outcome:
    if failure is None:
        return Outcome(delivery)
    if isinstance(failure, Rejected):
        return Outcome(delivery, _said(failure), rejected=True)
    return Outcome(delivery, _said(failure), after=failure.after, crowded=failure.crowded)


def _late(seconds: float) -> str:
    return f"no acknowledgement within {seconds:g} s"


def _said(error: BaseException) -> str:
    """What went wrong, in words that may be kept and told to others."""
    text, kind = str(error), type(error).__name__
    if not isinstance(error, Retry | Rejected):
        text = f"{kind}: {text}" if text else kind
    return redact(text or kind)[:LONGEST_ERROR]
