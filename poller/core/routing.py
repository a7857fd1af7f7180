"""Which sinks are owed which event.

A sink's `events` are short type names ("failed", "blind", "batch.failed") or globs; without them a sink gets all that
is told of runs, batches, cohorts and of the poller's and its sinks' troubles; `heartbeat` must be named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from poller.core.events import EVENT_TYPES, short_type

NAMED_ONLY = frozenset({"heartbeat"})
OWN_OUTAGE = frozenset({"sink_failing", "sink_recovered"})


@dataclass(frozen=True, slots=True)
class Route:
    """What one sink in force is owed. `events` is None for the default; what it gives up `fallback` is owed."""

    sink: str
    events: tuple[str, ...] | None = None
    fallback: str | None = None

    def takes(self, event_type: str) -> bool:
        """Whether the sink is owed events of this type."""
        name = short_type(event_type)
        if self.events is None:
            return name not in NAMED_ONLY
        return any(
            pattern == name or (name not in NAMED_ONLY and fnmatchcase(name, pattern)) for pattern in self.events
        )


def owed_to(routes: Iterable[Route], event_type: str, subject: str = "") -> list[str]:
    """The names of the sinks that an event of this type is owed to, in the order of the configuration.

    A sink is not told of its own outage: `subject` is what the event is about.
    """
    own = subject if short_type(event_type) in OWN_OUTAGE else None
    return [route.sink for route in routes if route.takes(event_type) and route.sink != own]


def unmatched(events: Sequence[str]) -> list[str]:
    """Those of a sink's `events` that match nothing that this version tells: most likely misspelt."""
    names = [short_type(event_type) for event_type in EVENT_TYPES]
    return [pattern for pattern in events if not any(fnmatchcase(name, pattern) for name in names)]
