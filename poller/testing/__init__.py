"""For programs that are tested against HealthOmics, and for those who write sinks: fixtures, suites, samples."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poller.testing.emulator import RunningEmulator, running_emulator
    from poller.testing.rigs import PAUSE, Answer, FarEnd, HttpFarEnd, Rig, opened_toolbox
    from poller.testing.samples import sample_event
    from poller.testing.sinks import SinkConformance

__all__ = [
    "PAUSE",
    "Answer",
    "FarEnd",
    "HttpFarEnd",
    "Rig",
    "RunningEmulator",
    "SinkConformance",
    "opened_toolbox",
    "running_emulator",
    "sample_event",
]

_HOMES = {
    "poller.testing.emulator": ("RunningEmulator", "running_emulator"),
    "poller.testing.rigs": ("PAUSE", "Answer", "FarEnd", "HttpFarEnd", "Rig", "opened_toolbox"),
    "poller.testing.samples": ("sample_event",),
    "poller.testing.sinks": ("SinkConformance",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
