"""Which sinks are owed which event.

A sink's `events` are short type names ("failed", "blind", "batch.failed") or globs; without them a sink gets all that
is told of runs, batches, cohorts and of the poller's and its sinks' troubles; `heartbeat` must be named. Of these its
`match`, where it has one, takes those that are about the right runs (`core/matching.py`); what the poller says of
itself is about no run, and `events` alone decide.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from poller.core.events import EVENT_TYPES, short_type
from poller.core.matching import Match, is_matched
from poller.core.runs import Json
from poller.core.values import SinkSettings

NAMED_ONLY = frozenset({"heartbeat"})
OWN_OUTAGE = frozenset({"sink_failing", "sink_recovered"})


@dataclass(frozen=True, slots=True)
class Route:
    """What one sink in force is owed: the types of `events` (None: the default), of runs that fit one `match` at least.

    What it gives up `fallback` is owed, whatever that one takes otherwise.
    """

    sink: str
    events: tuple[str, ...] | None = None
    fallback: str | None = None
    match: tuple[Match, ...] = ()

    @classmethod
    def of(cls, settings: SinkSettings) -> "Route":
        """The route of a sink as it is configured."""
        return cls(settings.name, settings.events, settings.fallback, settings.match)

    def takes_type(self, event_type: str) -> bool:
        """Whether the sink's `events` take this type, of whatever run."""
        name = short_type(event_type)
        if self.events is None:
            return name not in NAMED_ONLY
        return any(
            pattern == name or (name not in NAMED_ONLY and fnmatchcase(name, pattern)) for pattern in self.events
        )

    def takes(self, event_type: str, data: Mapping[str, Json]) -> bool:
        """Whether the sink is owed an event of this type with this data, as it is recorded."""
        return self.why_not(event_type, data) is None

    def why_not(self, event_type: str, data: Mapping[str, Json]) -> str | None:
        """Why the sink is not owed such an event, as a sentence; None if it is."""
        if not self.takes_type(event_type):
            return self._not_by_type(short_type(event_type))
        if short_type(event_type) in OWN_OUTAGE and data.get("subject") == self.sink:
            return "a sink is not told of its own outage"
        if not self.match or not is_matched(event_type):
            return None
        misfits = [table.why_not(data) for table in self.match]
        if None in misfits:
            return None
        if len(misfits) == 1:
            return f"match: {misfits[0]}"
        return f"none of its {len(misfits)} match fits: {'; or '.join(map(str, misfits))}"

    def never(self, event_type: str) -> str | None:
        """Why the sink never gets events of this type, whatever the run; None if it can."""
        if not self.takes_type(event_type):
            return self._not_by_type(short_type(event_type))
        if not self.match or not is_matched(event_type):
            return None
        reasons = [table.never(event_type) for table in self.match]
        return None if None in reasons else f"match: {'; '.join(map(str, dict.fromkeys(reasons)))}"

    def _not_by_type(self, name: str) -> str:
        if self.events is None:
            return f"{name} must be named in events"
        listed = ", ".join(self.events)
        return f"events ({listed}) must name {name}" if name in NAMED_ONLY else f"events ({listed}) do not take {name}"


def owed_to(routes: Iterable[Route], event_type: str, data: Mapping[str, Json]) -> list[str]:
    """The names of the sinks that an event is owed to, in the order of the configuration."""
    return [route.sink for route in routes if route.takes(event_type, data)]


def unmatched(events: Sequence[str]) -> list[str]:
    """Those of a sink's `events` that match nothing that this version tells: most likely misspelt."""
    names = [short_type(event_type) for event_type in EVENT_TYPES]
    return [pattern for pattern in events if not any(fnmatchcase(name, pattern) for name in names)]
