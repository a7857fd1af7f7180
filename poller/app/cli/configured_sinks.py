"""Sinks of the configuration, made for one command."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from poller.clock import SystemClock
from poller.core.values import SinkSettings
from poller.ports.sinks import Sink
from poller.settings.load import Loaded
from poller.sinks.registry import opened_sink
from poller.sinks.toolbox import Tools


@asynccontextmanager
async def configured_sinks(
    loaded: Loaded,
) -> AsyncIterator[Callable[[SinkSettings], AbstractAsyncContextManager[Sink]]]:
    """What opens a sink for as long as it is used; all share their tools. It raises: ConfigError for one that cannot be
    made.
    """
    tools = Tools(SystemClock(), loaded.directory)

    @asynccontextmanager
    async def opened(settings: SinkSettings) -> AsyncIterator[Sink]:
        with loaded.placing_sinks():
            async with opened_sink(settings, tools) as sink:
                yield sink

    try:
        yield opened
    finally:
        await tools.close()
