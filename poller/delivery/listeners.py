"""Listeners of a library: they read the record, each at its own pace, each event once. Nothing is owed to them."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import structlog

from poller.bell import Bell
from poller.core.events import Event, short_type
from poller.core.routing import Route
from poller.delivery.attempts import never_cancelling
from poller.foundation import Foundation
from poller.ports import Callback

log = structlog.get_logger("poller.delivery")

PAGE: Final = 200


async def follow_events(foundation: Foundation, after: int) -> AsyncIterator[Event]:
    """The events after a position, and then each one as it is recorded; a record that cannot be read is waited for."""
    while True:
        rung = foundation.bell.listen()
        events = await foundation.gate.insist(partial(foundation.store.events, after=after, limit=PAGE))
        for event in events:
            after = event.position
            yield event
        if len(events) < PAGE:
            await rung.wait()


class Listener:
    """One callback and how far it has read. `types` are event types, short or whole, or globs; none means all."""

    def __init__(self, callback: Callback, types: Sequence[str], foundation: Foundation) -> None:
        self.callback = callback
        self.wanted = Route("", tuple(short_type(one) for one in types) or ("*", "heartbeat"))
        self.foundation = foundation
        self.name = str(getattr(callback, "__qualname__", type(callback).__name__))
        self.position = 0
        self.calling = False
        self.leaving = False
        self._moved = Bell()

    async def run(self, after: int) -> None:
        """Call with each event after a position, one after the other, until cancelled or told to leave."""
        self.position = after
        async for event in follow_events(self.foundation, after):
            if self.leaving:
                return
            if self.wanted.takes_type(event.type):
                await self._call(event)
            self.position = event.position
            self._moved.ring()

    async def caught_up(self, position: int) -> None:
        """Return once everything up to a position was offered. The caller sets the deadline."""
        while self.position < position:
            await self._moved.wait()

    async def leave(self) -> None:
        """Call no more; return once the call that is under way, if one is, has ended. The caller sets the deadline."""
        self.leaving = True
        while self.calling:
            await self._moved.wait()

    async def _call(self, event: Event) -> None:
        """Offer one event; what the callback raises is logged and counted, and is its own affair."""
        self.calling = True
        try:
            await never_cancelling(self.callback, event)
        except Exception:
            self.foundation.tally.add("listener_failures", listener=self.name)
            log.exception("listener.failed", listener=self.name, event_id=event.id, run=event.run_id)
        finally:
            self.calling = False
            self._moved.ring()
