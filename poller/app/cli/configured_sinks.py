"""A sink of the configuration, made for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from poller.clock import SystemClock
from poller.core.values import SinkSettings
from poller.ports.sinks import Sink
from poller.settings.load import Loaded
from poller.sinks.registry import opened_sink
from poller.sinks.toolbox import Tools


@asynccontextmanager
async def configured_sink(loaded: Loaded, settings: SinkSettings) -> AsyncIterator[Sink]:
    """The sink with tools of its own, both closed at the end. Raises: ConfigError if it cannot be made."""
    tools = Tools(SystemClock(), loaded.directory)
    try:
        with loaded.placing_sinks():
            async with opened_sink(settings, tools) as sink:
                yield sink
    finally:
        await tools.close()
