"""Faults that any sink can have: each does one thing wrong, and leaves the rest to the sink that it is mixed into."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event

LEFT: list["asyncio.Task[Any]"] = []
"""Tasks that a sink has left behind; whoever had it do so ends them."""

if TYPE_CHECKING:

    class _Sink:
        """The sink that a fault is mixed into."""

        async def send(self, events: Sequence[Event]) -> None: ...

else:
    _Sink = object


async def end_what_is_left() -> None:
    """End the tasks that sinks have left behind."""
    left = list(LEFT)
    LEFT.clear()
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)


class SwallowsErrors(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        with suppress(Exception):
            await super().send(events)


class ChangesBytes(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        await super().send([Event(event.body.replace(b":", b": ", 1)) for event in events])


class EscapesLetters(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        bodies = [json.dumps(event.attributes, separators=(",", ":")).encode() for event in events]
        await super().send([Event(body) for body in bodies])


class CountsAttempts(_Sink):
    attempts = 0

    async def send(self, events: Sequence[Event]) -> None:
        self.attempts += 1
        bodies = [event.body[:-1] + b',"attempt":%d}' % self.attempts for event in events]
        await super().send([Event(body) for body in bodies])


class AcknowledgesFirst(_Sink):
    """Keeps what it is given, and sends it with what comes next."""

    kept: Sequence[Event] = ()

    async def send(self, events: Sequence[Event]) -> None:
        before, self.kept = self.kept, events
        await super().send(before)


class DoesNotWait(_Sink):
    """Looks away after a moment, and takes silence for an answer."""

    async def send(self, events: Sequence[Event]) -> None:
        sending = asyncio.ensure_future(super().send(events))
        await asyncio.wait([sending], timeout=0.05)
        if not sending.done():
            LEFT.append(sending)
            return
        await sending


class RejectsOutages(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        try:
            await super().send(events)
        except Exception as error:
            raise Rejected(str(error)) from error


class NeverRejects(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        try:
            await super().send(events)
        except Rejected as error:
            raise Retry(error.reason) from error


class ShowsItsSecret(_Sink):
    planted: ClassVar[str] = ""

    def __repr__(self) -> str:
        return f"<sink {self.planted}>"


class SharesState(_Sink):
    current: Sequence[Event] = ()

    async def send(self, events: Sequence[Event]) -> None:
        self.current = events
        await asyncio.sleep(0)
        await super().send(self.current)


class BreaksWhenCancelled(_Sink):
    broken_off = False

    async def send(self, events: Sequence[Event]) -> None:
        if self.broken_off:
            raise RuntimeError("the connection is in an unknown state")
        try:
            await super().send(events)
        except asyncio.CancelledError:
            self.broken_off = True
            raise


class LeavesTasks(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        LEFT.append(asyncio.ensure_future(asyncio.Event().wait()))
        await super().send(events)


class SendsHalfABatch(_Sink):
    async def send(self, events: Sequence[Event]) -> None:
        await super().send(events[: (len(events) + 1) // 2])


class ProbesBySending(_Sink):
    async def probe(self) -> None:
        await super().send([sample_event()])


class ClosesOnce(_Sink):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
