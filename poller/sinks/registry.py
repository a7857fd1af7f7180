"""Which sinks there are: the entry points of the group `poller.sinks`, ours and those of other packages.

Nothing is imported until its type is named, so that a package that is broken hurts nobody who does not use it.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from poller.core.errors import ConfigError
from poller.core.values import SinkSettings
from poller.ports.sinks import Sink, Toolbox

GROUP: Final = "poller.sinks"


class UnmadeSink(ConfigError):
    """A sink that cannot be made as it is configured: which, and what follows its name in a sentence."""

    def __init__(self, sink: str, problem: str) -> None:
        super().__init__(f'sink "{sink}"{problem}')
        self.sink = sink
        self.problem = problem


def sink_types() -> dict[str, EntryPoint]:
    """Every type of sink that is installed, by name; of one that several packages claim, the first claim."""
    return {name: claims[0] for name, claims in sorted(_claims().items())}


def load_sink(name: str, /) -> type[Any]:
    """The class of a type of sink.

    Raises: ConfigError, if there is no such type (naming the nearest), if two packages claim it (naming both), if its
    package does not load, or if what it names is no sink.
    """
    installed = _claims()
    claims = installed.get(name, [])
    if not claims:
        near = get_close_matches(name, installed, 1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise ConfigError(f'there is no sink type "{name}"{meant} (installed: {", ".join(sorted(installed))})')
    if len({claim.value for claim in claims}) > 1:
        packages = " and ".join(f"{_package(claim)} ({claim.value})" for claim in claims)
        raise ConfigError(f'two packages claim the sink type "{name}": {packages}; uninstall one of them')
    claim = claims[0]
    try:
        found: Any = claim.load()
    except Exception as error:  # whatever a package of somebody else's raises while it loads
        raise ConfigError(
            f'the sink type "{name}" of {_package(claim)} does not load: {claim.value}: {type(error).__name__}: {error}'
        ) from error
    if problem := _what_it_lacks(found):
        raise ConfigError(f'the sink type "{name}" of {_package(claim)} is no sink: {claim.value} {problem}')
    sink: type[Any] = found
    return sink


def make_sink(settings: SinkSettings, tools: Toolbox) -> Sink:
    """A sink of the type that its settings name.

    Raises: ConfigError as `load_sink` does; UnmadeSink for whatever its constructor raises.
    """
    kind = load_sink(settings.type)
    try:
        made: Sink = kind(settings, tools)
    except ConfigError as error:
        raise UnmadeSink(settings.name, f": {error}") from error
    except Exception as error:  # whatever a sink of somebody else's raises while it is made
        raise UnmadeSink(settings.name, f" cannot be made: {type(error).__name__}: {error}") from error
    return made


@asynccontextmanager
async def opened_sink(settings: SinkSettings, tools: Toolbox) -> AsyncIterator[Sink]:
    """A sink as it is configured, closed at the end. Raises: ConfigError as `make_sink` does."""
    sink = make_sink(settings, tools)
    try:
        yield sink
    finally:
        await close_sink(sink)


async def close_sink(sink: Sink) -> None:
    """Free what a sink has opened, where it says how. Raises: what the sink raises."""
    close = getattr(sink, "close", None)
    if close is not None:
        await close()


def _claims() -> dict[str, list[EntryPoint]]:
    """Every type, with the entry points that claim it; read anew each time, since a program may add to `sys.path`."""
    found: defaultdict[str, list[EntryPoint]] = defaultdict(list)
    for claim in entry_points(group=GROUP):
        found[claim.name].append(claim)
    return found


def _package(claim: EntryPoint) -> str:
    return claim.dist.name if claim.dist is not None else "an unknown package"


def _what_it_lacks(found: Any) -> str | None:
    """Why something cannot be a sink; None if it can."""
    if not isinstance(found, type):
        return "is no class"
    model = getattr(found, "settings_model", None)
    if not (isinstance(model, type) and issubclass(model, SinkSettings)):
        return "has no settings_model that derives from poller.SinkSettings"
    if not callable(getattr(found, "send", None)):
        return "has no coroutine `send`"
    return None
