"""A sink without a fault over a service in memory, and the same sink with one fault each, which the suite must find."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pydantic import Field, SecretStr

from poller.core.errors import Partial, Rejected, Retry
from poller.core.events import EVENT_TYPES, Event, bytes_of
from poller.core.values import SinkSettings
from poller.ports.sinks import Preview
from poller.testing.rigs import PAUSE, Answer
from tests.conformance import faults


class Busy(ConnectionError):
    """The service asks for a pause."""


class Service:
    """A service in memory: it takes batches, and says of each event whether it has it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._answer: Answer = "taken"
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def put(self, bodies: Sequence[bytes], key: str) -> list[bool]:
        """Of each body whether it was taken; what was not never will be. Raises: ConnectionError, with the key."""
        await asyncio.sleep(0)
        taken = {"taken": len(bodies), "partial": 1, "poison": 0}.get(self._answer)
        if self._answer == "hang":
            self._reached.set()
            await self._released.wait()
        if taken is None:
            kinds = {"busy": Busy, "reset": ConnectionResetError}
            raise kinds.get(self._answer, ConnectionError)(f"{self._answer}, you who have the key {key}")
        self.bodies += bodies[:taken]
        return [number < taken for number in range(len(bodies))]

    async def received(self) -> Sequence[bytes]:
        return self.bodies

    def answers(self, answer: Answer) -> None:
        self._answer = answer
        self._released.set()
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    async def reached(self) -> None:
        await self._reached.wait()


class HonestSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "memory"`."""

    key: SecretStr = Field(description="Key of the service.")


class Honest:
    """No fault. What the others do wrong they do by overriding a part of it."""

    settings_model: type[SinkSettings] = HonestSettings
    batch_size = 3

    def __init__(self, settings: Any, service: Service) -> None:
        self.settings, self.service = settings, service

    async def send(self, events: Sequence[Event]) -> None:
        try:
            taken = await self.put([self.body(event) for event in events])
        except Busy:
            raise self.busy() from None
        except ConnectionResetError as error:
            raise self.broken(error) from None
        except ConnectionError as error:
            raise self.down(error) from None
        refused = {event.id: Rejected("refused") for event, has in zip(events, taken, strict=True) if not has}
        if refused:
            raise self.refusal(events, refused)

    async def put(self, bodies: Sequence[bytes]) -> list[bool]:
        return await self.service.put(bodies, self.key)

    @property
    def key(self) -> str:
        key: SecretStr | str = self.settings.key
        return key if isinstance(key, str) else key.get_secret_value()

    def body(self, event: Event) -> bytes:
        return event.body

    def busy(self) -> Exception:
        return Retry("busy", after=PAUSE)

    def down(self, error: Exception) -> Exception:
        return Retry("down")

    def broken(self, error: Exception) -> Exception:
        return Retry("broken off")

    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        return Partial(refused) if len(events) > 1 else refused[events[0].id]

    async def probe(self) -> None:
        await self.service.put([], self.key)

    def preview(self, event: Event) -> Preview:
        return Preview("memory", {"key": "[hidden]"}, event.body)

    async def close(self) -> None:
        """There is nothing to close."""


# faults: each does one thing wrong


def honest_but_for(fault: type) -> type[Honest]:
    """The honest sink with a fault that any sink can have."""
    made: type[Honest] = type(fault.__name__, (fault, Honest), {})
    return made


class LosesTheFirst(Honest):
    lost = False

    async def send(self, events: Sequence[Event]) -> None:
        if self.lost:
            await super().send(events)
        self.lost = True


class TakesSilenceForAnAnswer(Honest):
    """Looks away after a moment."""

    async def send(self, events: Sequence[Event]) -> None:
        sent = asyncio.ensure_future(super().send(events))
        try:
            for _ in range(50):
                await asyncio.sleep(0)
            if sent.done():
                await sent
        finally:
            sent.cancel()


class MakesItSafeForScripts(Honest):
    def body(self, event: Event) -> bytes:
        return event.body.replace("\u2028".encode(), b"\\u2028")


class KnowsNoCohorts(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        await super().send([event for event in events if not event.kind.startswith("cohort.")])


class TakesOnlyWhatItKnows(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        if any(event.type not in EVENT_TYPES for event in events):
            raise Rejected("no such type")
        await super().send(events)


class TidiesUp(Honest):
    def body(self, event: Event) -> bytes:
        if "redacted" not in event.data:
            return event.body
        data = {name: value for name, value in event.data.items() if name != "redacted"}
        return bytes_of({**event.attributes, "data": data})


class CutsWhatIsBig(Honest):
    def body(self, event: Event) -> bytes:
        return event.body[: 256 * 1024]


class RetriesWhatIsBig(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        if any(len(event.body) > 256 * 1024 for event in events):
            raise Retry("too big")
        await super().send(events)


SharesState = honest_but_for(faults.SharesState)


class RejectsOutages(Honest):
    def down(self, error: Exception) -> Exception:
        return Rejected("down")


class SwallowsOutages(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        with suppress(Retry):
            await super().send(events)


class WaitsForEver(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        try:
            await super().send(events)
        except Retry:
            await asyncio.Event().wait()


class CancelsItself(Honest):
    def down(self, error: Exception) -> Exception:
        raise asyncio.CancelledError


class RejectsWhatBreaksOff(Honest):
    def broken(self, error: Exception) -> Exception:
        return Rejected("broken off")


class ForgetsThePause(Honest):
    def busy(self) -> Exception:
        return Retry("busy", crowded=True)


class TakesMinutesForSeconds(Honest):
    def busy(self) -> Exception:
        return Retry("busy", after=timedelta(minutes=7))


class ProtestsWhenBusy(Honest):
    def busy(self) -> Exception:
        return RuntimeError("429")


class NeverRejects(Honest):
    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        return super().refusal(events, refused) if len(events) > 1 else Retry("refused")


class RejectsWithoutAReason(Honest):
    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        return super().refusal(events, refused) if len(events) > 1 else Rejected(" ")


class CountsAttempts(Honest):
    def __init__(self, settings: Any, service: Service) -> None:
        super().__init__(settings, service)
        self.seen: set[str] = set()

    def body(self, event: Event) -> bytes:
        again = event.id in self.seen
        self.seen.add(event.id)
        return event.body[:-1] + b',"again":true}' if again else event.body


class SendsBackwards(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        await super().send(events[::-1])


SendsHalfABatch = honest_but_for(faults.SendsHalfABatch)


class CountsNothing(Honest):
    batch_size = 0


class SwallowsPartialFailures(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        with suppress(Partial):
            await super().send(events)


class NamesOneFailure(Honest):
    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        return super().refusal(events, dict([*refused.items()][:1]))


class NamesRuns(Honest):
    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        if len(events) == 1:
            return super().refusal(events, refused)
        return Partial({str(event.run_id): refused[event.id] for event in events if event.id in refused})


class RetriesTheBatch(Honest):
    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        return Retry("some of it") if len(events) > 1 else super().refusal(events, refused)


class RetriesTheRefused(Honest):
    def refusal(self, events: Sequence[Event], refused: Mapping[str, Retry | Rejected]) -> Exception:
        return super().refusal(events, dict.fromkeys(refused, Retry("refused")) if len(events) > 1 else refused)


class SwallowsCancellation(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        with suppress(asyncio.CancelledError):
            await super().send(events)


class GoesOnWhenCancelled(Honest):
    async def send(self, events: Sequence[Event]) -> None:
        try:
            await super().send(events)
        except asyncio.CancelledError:
            await asyncio.Event().wait()
            raise


BreaksWhenCancelled = honest_but_for(faults.BreaksWhenCancelled)


LeavesTasks = honest_but_for(faults.LeavesTasks)


class LeavesHalfAnEvent(Honest):
    async def put(self, bodies: Sequence[bytes]) -> list[bool]:
        try:
            return await super().put(bodies)
        except asyncio.CancelledError:
            self.service.bodies.append(bodies[0][:20])
            raise


class LosesWhatFollowsACancellation(Honest):
    cancelled = False

    async def send(self, events: Sequence[Event]) -> None:
        if self.cancelled:
            return
        try:
            await super().send(events)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class TakesUnknownKeys(Honest):
    class Settings(HonestSettings, extra="allow"):
        """Whatever."""

    settings_model = Settings


class ExplainsNothing(Honest):
    class Settings(HonestSettings):
        """Silent."""

        retries: int = 3

    settings_model = Settings


class ShowsItsKeyInItsRepr(Honest):
    def __repr__(self) -> str:
        return f"<sink {self.key}>"


class KeepsItsKeyAsText(Honest):
    class Settings(SinkSettings, hide_input_in_errors=True):
        """With a plain key."""

        key: str = Field(description="Key of the service.")

    settings_model = Settings


class ShowsWhatIsWrongWithItsKey(Honest):
    class Settings(HonestSettings, hide_input_in_errors=False):
        """As pydantic does by itself."""

    settings_model = Settings


class SaysWhatTheServiceSays(Honest):
    def down(self, error: Exception) -> Exception:
        return Retry(str(error))


class KeepsTheCause(Honest):
    def broken(self, error: Exception) -> Exception:
        problem = Retry("broken off")
        problem.__cause__ = RuntimeError(str(error))
        raise problem


class LogsItsKey(Honest):
    async def put(self, bodies: Sequence[bytes]) -> list[bool]:
        logging.getLogger("memory").debug("PUT %d with %s", len(bodies), self.key)
        return await super().put(bodies)


class PreviewsItsKey(Honest):
    def preview(self, event: Event) -> Preview:
        return Preview("memory", {"key": self.key}, event.body)


ProbesBySending = honest_but_for(faults.ProbesBySending)


class PreviewsText(Honest):
    def preview(self, event: Event) -> Any:
        return event.to_json()


class PreviewsRunsOnly(Honest):
    def preview(self, event: Event) -> Preview:
        return Preview("memory", {"run": event.data["run_id"]}, event.body)


ClosesOnce = honest_but_for(faults.ClosesOnce)


class ClosesWhatItNeverOpened(Honest):
    connection: Any = None

    async def send(self, events: Sequence[Event]) -> None:
        self.connection = self.service
        await super().send(events)

    async def close(self) -> None:
        assert self.connection is not None, "there is no connection"
