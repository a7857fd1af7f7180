"""The library: a poller inside somebody's asyncio program.

    async with Poller(region="us-east-1") as poller:
        outcome = await poller.wait("1234567", timeout=7200)

No file and no server: an in-memory record unless `store=` names one. It starts no thread of its own; asyncio's default
executor may (its resolver), and with a file each transaction runs whole in a worker thread.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio.abc import TaskGroup

from poller.app.build import Parts, open_parts
from poller.app.daemon import ANSWERS_SECONDS, holder_name
from poller.clock import SystemClock
from poller.core.errors import ConfigError, PollerError
from poller.core.events import Event, short_type
from poller.core.runs import KnownRun
from poller.core.sight import Sight
from poller.core.values import SinkSettings, parse_duration
from poller.delivery.listeners import Listener, follow_events
from poller.delivery.outlet import Outlet
from poller.polling.scope import Scope
from poller.ports.clock import Clock
from poller.ports.sinks import Callback
from poller.settings.event_names import misspelt_event
from poller.settings.load import settings_from
from poller.settings.model import Settings
from poller.settings.texts import run_name
from poller.supervision import start_running, start_side_by_side
from poller.telemetry import library_logging

GRACE_SECONDS: Final = 5.0
"""What callbacks and sinks get to finish when the context is left."""


class OutcomeVerdict(StrEnum):
    """How waiting for a run ended."""

    ENDED = "ended"
    VANISHED = "vanished"
    UNREACHABLE = "unreachable"
    REPLACED = "replaced"
    TIMED_OUT = "timed_out"


_LAST_WORDS: Final = {
    "vanished": OutcomeVerdict.VANISHED,
    "unreachable": OutcomeVerdict.UNREACHABLE,
    "replaced": OutcomeVerdict.REPLACED,
}
"""Events that are the last of an incarnation without being an end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, or how waiting for it did.

    `status` is the last one known (COMPLETED, FAILED, CANCELLED, DELETED when the verdict is `ended`); `run` the run's
    id; `events` what was told of its incarnation, in order. A timeout is an outcome, not an error.
    """

    verdict: OutcomeVerdict
    status: str | None
    run: str
    events: tuple[Event, ...] = ()


class Poller:
    """Follows runs while its context is open.

    Args:
        region, profile, endpoint_url: as every AWS tool means them; what is None is found as every AWS tool finds it.
        store: a file's path or `sqlite:///…`; None keeps the record in memory.
        sinks: what is owed every event until it acknowledged: async callables, tables as in the configuration file,
            or settings objects.
        discover: follow every run that is active, and every new one.
        polling: keys of `[polling]`, such as `min_interval="1s"`.
        settings: a whole configuration instead of all of the above.
    Raises: ConfigError for what cannot be used.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        store: str | Path | None = None,
        sinks: Sequence[Callable[[Event], Awaitable[object]] | Mapping[str, Any] | SinkSettings] = (),
        discover: bool = False,
        polling: Mapping[str, Any] | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        library_logging()
        for sink in sinks:
            if not (callable(sink) or isinstance(sink, Mapping | SinkSettings)):
                raise ConfigError(f"sinks: {sink!r} is neither a callable nor a table of settings")
        tables = [sink for sink in sinks if not callable(sink)]
        self._callables = [sink for sink in sinks if callable(sink)]
        self.settings = settings or settings_from(
            {
                "aws": {
                    key: value
                    for key, value in (("region", region), ("profile", profile), ("endpoint_url", endpoint_url))
                    if value is not None
                },
                "watch": {"discover": discover},
                "polling": dict(polling or {}),
                "store": {"url": _store_url(store)},
                "http": {"listen": ""},
                "sinks": tables,
            }
        )
        self._clock = clock or SystemClock()
        self._registered: list[tuple[tuple[str, ...], Callback]] = []
        self._listeners: list[Listener] = []
        self._parts: Parts | None = None
        self._tasks: TaskGroup | None = None
        self._opened = AsyncExitStack()
        self._start = 0
        self._leaving = False
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise PollerError("a Poller is entered once; make another one")
        self._entered = True
        try:
            self._parts = parts = await self._opened.enter_async_context(
                open_parts(
                    self.settings,
                    Path.cwd(),
                    holder=holder_name(),
                    clock=self._clock,
                    more_outlets=_callback_outlets(self._callables, self.settings.sinks),
                )
            )
            self._start = await parts.foundation.store.last_position()
            self._tasks = await anyio.create_task_group().__aenter__()
        except BaseException:
            await self._opened.aclose()
            raise
        try:
            await self._tasks.start(start_running, "deliver", parts.dispatcher.run, parts.foundation)
            await start_side_by_side(self._tasks, parts.polling, parts.foundation)
        except BaseException:
            await self._end()
            raise
        for types, callback in self._registered:
            self._listen(types, callback)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything that was started; what the body raised passes as it is."""
        self._leaving = error is not None
        try:
            with anyio.move_on_after(GRACE_SECONDS, shield=True):
                await self._finish()
        finally:
            await self._end()

    def on(self, *types: str) -> Callable[[Callback], Callback]:
        """Decorate a callable, async or plain, to be called with each event of these types ("failed", or a glob).

        No types: of all. Raises: ConfigError for a name that no event has.
        """

        def register(callback: Callback) -> Callback:
            self._register(types, callback)
            return callback

        return register

    def on_event(self, callback: Callback) -> Callback:
        """Have a callable called with every event."""
        self._register((), callback)
        return callback

    async def watch(self, *run_ids: str) -> None:
        """Follow runs, named by id, `scope:id` or ARN, from now on. Raises: ConfigError if a name is none."""
        named = [self._find(text) for text in run_ids]
        for scope, run_id in named:
            await scope.follow([run_id], afresh=True)

    async def wait(self, run_id: str, *, timeout: float | str | timedelta | None = None) -> Outcome:  # noqa: ASYNC109 - a caller's own time limit would raise; this one is an Outcome with what was seen until then
        """Wait for the end of the incarnation that the service shows from now on; watches the run if nobody does.

        A run that failed or vanished, and a timeout (in seconds, or "2h"), are outcomes: nothing is raised for them.
        Raises: ConfigError if the name is none.
        """
        scope, bare = self._find(run_id)
        seconds = None if timeout is None else parse_duration(timeout).total_seconds()
        found: KnownRun | None = None
        with anyio.move_on_after(seconds):
            found = await scope.find(bare)
            return await self._until_last(scope, found)
        events = await self._told(scope, found) if found is not None else []
        return _outcome(OutcomeVerdict.TIMED_OUT, bare, events, status=found.status if found is not None else None)

    async def events(self) -> AsyncIterator[Event]:
        """Each event from the first one of this context on, in the order of the record; for ever."""
        parts = self._running()
        async for event in follow_events(parts.foundation, self._start):
            yield event

    @property
    def regions(self) -> list[str]:
        """The regions that are asked, scope by scope."""
        return [scope.place.region for scope in self._running().scopes]

    @property
    def sight(self) -> Sight:
        """How well the service is seen: when it last answered, and what is wrong if it does not.

        Of several scopes it is that of the one that is seen worst: never yet, or failing for longest.
        """
        return min((scope.sight for scope in self._running().scopes), key=_how_well)

    @property
    def crashes(self) -> int:
        """How often a part of it crashed and was started again; the log says why."""
        return int(self._running().foundation.tally.count("crashes"))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _running(self) -> Parts:
        if self._parts is None or self._tasks is None:
            raise PollerError("the Poller is not running: use it inside `async with Poller(…) as poller:`")
        return self._parts

    def _find(self, text: str) -> tuple[Scope, str]:
        parts = self._running()
        try:
            name = run_name(text)
        except ValueError as error:
            raise ConfigError(f"{text!r}: {error}") from error
        return parts.scope_of(name), name.run_id

    def _register(self, types: tuple[str, ...], callback: Callback) -> None:
        if not callable(callback):
            raise ConfigError(f"{callback!r} cannot be called")
        for one in types:
            if said := misspelt_event(short_type(one)):
                raise ConfigError(said)
        self._registered.append((types, callback))
        if self._tasks is not None:
            self._listen(types, callback)

    def _listen(self, types: tuple[str, ...], callback: Callback) -> None:
        parts = self._running()
        assert self._tasks is not None
        listener = Listener(callback, types, parts.foundation)
        self._listeners.append(listener)
        self._tasks.start_soon(listener.run, self._start, name=f"listen {listener.name}")

    async def _until_last(self, scope: Scope, found: KnownRun) -> Outcome:
        """Read the record until the last event of an incarnation is there."""
        parts = self._running()
        while True:
            rung = parts.foundation.bell.listen()
            events = await self._told(scope, found)
            for number, event in enumerate(events, start=1):
                verdict = OutcomeVerdict.ENDED if event.terminal else _LAST_WORDS.get(event.kind)
                if verdict is not None and (verdict is not OutcomeVerdict.VANISHED or number == len(events)):
                    return _outcome(verdict, found.run_id, events[:number])
            if found.verdict is not None:
                return _outcome(OutcomeVerdict(found.verdict), found.run_id, events, status=found.status)
            await rung.wait()

    async def _told(self, scope: Scope, found: KnownRun) -> list[Event]:
        """What was told of an incarnation, in order."""
        parts = self._running()
        name = scope.acting.name if found.uuid is None else None  # a uuid says it all, and scopes may become one
        events = await parts.foundation.gate.insist(
            lambda: parts.foundation.store.events(run_id=found.run_id, scope=name)
        )
        return [event for event in events if event.data.get("run_uuid") == found.uuid]

    async def _finish(self) -> None:
        """Before the end: offer what is recorded and send what is due; after an error only what is under way ends."""
        if self._parts is None:
            return
        if self._leaving:
            async with anyio.create_task_group() as finishing:
                for listener in self._listeners:
                    finishing.start_soon(listener.leave)
            return
        with anyio.move_on_after(ANSWERS_SECONDS):  # an answer that does not come must not take the callbacks' time
            await self._parts.finish_looks()
        position = await self._parts.foundation.store.last_position()
        async with anyio.create_task_group() as finishing:
            finishing.start_soon(self._parts.dispatcher.drained)
            for listener in self._listeners:
                finishing.start_soon(listener.caught_up, position)

    async def _end(self) -> None:
        """Cancel all tasks, close all that was opened. Raises: what a part ended with, as it is."""
        tasks, self._tasks = self._tasks, None
        try:
            if tasks is not None:
                tasks.cancel_scope.cancel()
                await tasks.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._opened.aclose()


def _how_well(sight: Sight) -> tuple[bool, float]:
    """Sorts what is seen worst first."""
    failing = sight.failing_since.timestamp() if sight.failing_since is not None else float("inf")
    return sight.last_success_at is not None, failing


def _outcome(verdict: OutcomeVerdict, run_id: str, events: Sequence[Event], *, status: str | None = None) -> Outcome:
    last = next((event.status for event in reversed(events) if event.status), status)
    return Outcome(verdict, last, run_id, tuple(events))


def _store_url(store: str | Path | None) -> str:
    if store is None:
        return "sqlite://"
    text = str(store)
    return text if "://" in text else f"sqlite:///{text}"


def _callback_outlets(callables: Sequence[Callback], others: Sequence[SinkSettings]) -> list[Outlet]:
    """A sink for each callable; those whose name is taken are told apart by a number."""
    from poller.sinks.callback import CallbackSink

    outlets: list[Outlet] = []
    taken = {one.name for one in others}
    for callback in callables:
        sink = CallbackSink.wrapping(callback)
        plain, number = sink.settings.name, 1
        while sink.settings.name in taken:
            number += 1
            sink = CallbackSink.wrapping(callback, name=f"{plain}-{number}")
        taken.add(sink.settings.name)
        outlets.append(Outlet(sink, sink.settings))
    return outlets
