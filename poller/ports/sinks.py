"""A sink, as the dispatcher needs it, and what a sink may use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from poller.core.events import Event
from poller.core.values import SinkSettings
from poller.ports.clock import Clock


class Sink(Protocol):
    """Where events go. A class with one coroutine; the dispatcher owns order, retries, timeouts and dead letters.

    `settings_model` is what its table in the configuration may say. `batch_size` (1 if it has none) is how many events,
    each of another run, one `send` takes at most. Optional: `async def probe(self)` raises if nothing could be sent,
    and sends nothing; `async def close(self)` frees what it opened; `def preview(self, event)` gives the `Preview` of a
    send.
    """

    @property
    def settings_model(self) -> type[SinkSettings]: ...

    async def send(self, events: Sequence[Event]) -> None:
        """Deliver, and return only once the far end has acknowledged.

        Raises: Retry, Rejected, Partial (core.errors); any other exception means: try again later.
        """
        ...


Callback = Callable[[Event], Awaitable[object] | object]
"""A callable of the user's program, async or plain, that is called with an event."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sink would send of an event, without secrets: where to, what goes beside the body, and the body."""

    to: str
    fields: Mapping[str, str]
    body: bytes


class Toolbox(Protocol):
    """What a sink may use: shared, long-lived, closed by the application.

    `directory` is what relative paths in a sink's settings are relative to: the configuration file's.
    """

    clock: Clock
    directory: Path

    async def http(self, *, allow_private: bool = True, proxies: bool = True) -> Any:
        """The `aiohttp.ClientSession` of this process: no cookies, TLS verified, environment proxies honoured.

        Every connection that it makes is to an address that something may be sent to: never link-local, a cloud's
        metadata, multicast; without `allow_private` neither this machine nor a private network. Without `proxies` it
        goes through none but the one that a request names.
        """
        ...

    async def aws_client(
        self,
        service: str,
        *,
        region: str | None = None,
        profile: str | None = None,
        role_arn: str | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        """A long-lived aiobotocore client, made once for each set of arguments; its own retries are off."""
        ...
