"""Follows AWS HealthOmics runs and tells people and programs, surely and in order, what happens to them.

The public names; each is loaded when it is first used, so that `import poller` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from poller.version import __version__

if TYPE_CHECKING:
    from poller.app.library import Outcome, OutcomeVerdict, Poller
    from poller.core.errors import ConfigError, Partial, PollerError, Rejected, Retry, StoreError
    from poller.core.events import Event
    from poller.core.values import SinkSettings
    from poller.ports.sinks import Sink, Toolbox

__all__ = [
    "ConfigError",
    "Event",
    "Outcome",
    "OutcomeVerdict",
    "Partial",
    "Poller",
    "PollerError",
    "Rejected",
    "Retry",
    "Sink",
    "SinkSettings",
    "StoreError",
    "Toolbox",
    "__version__",
]

_HOMES = {
    "poller.app.library": ("Outcome", "OutcomeVerdict", "Poller"),
    "poller.core.errors": ("ConfigError", "Partial", "PollerError", "Rejected", "Retry", "StoreError"),
    "poller.core.events": ("Event",),
    "poller.core.values": ("SinkSettings",),
    "poller.ports.sinks": ("Sink", "Toolbox"),
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
