"""Which names of events, and globs over them, mean something."""

import difflib

from poller.core.events import EVENT_TYPES, short_type
from poller.core.routing import unmatched


def misspelt_event(pattern: str) -> str | None:
    """What is wrong with the name of an event, or a glob, that matches nothing; None if it matches something."""
    if not unmatched([pattern]):
        return None
    return f'"{pattern}" matches no event; {_nearest_event(pattern)}'


def _nearest_event(name: str) -> str:
    known = [short_type(event_type) for event_type in EVENT_TYPES]
    bare = name.lower().removeprefix("healthomics.").removeprefix("run.").removeprefix("poller.")
    if near := difflib.get_close_matches(bare, known, n=1):
        return f'did you mean "{near[0]}"?'
    return f"there are {', '.join(one for one in known if not one.startswith('batch.'))}, and batch.*"
