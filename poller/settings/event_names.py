"""Which names of events, and globs over them, mean something."""

import difflib
from fnmatch import fnmatchcase
from typing import Final

from poller.core.events import EVENT_TYPES, short_type
from poller.core.routing import unmatched

LATER_EVENTS: Final = ("diagnosed",)
"""Events of the contract that this version does not send yet. Naming them is no mistake."""


def misspelt_event(pattern: str) -> str | None:
    """What is wrong with the name of an event, or a glob, that matches nothing; None if it matches something."""
    if not unmatched([pattern]) or _of_a_later_version(pattern):
        return None
    return f'"{pattern}" matches no event; {_nearest_event(pattern)}'


def _of_a_later_version(pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in LATER_EVENTS)


def _nearest_event(name: str) -> str:
    known = [short_type(event_type) for event_type in EVENT_TYPES] + [*LATER_EVENTS]
    bare = name.lower().removeprefix("healthomics.").removeprefix("run.").removeprefix("poller.")
    if near := difflib.get_close_matches(bare, known, n=1):
        return f'did you mean "{near[0]}"?'
    return f"there are {', '.join(one for one in known if not one.startswith('batch.'))}, and batch.*"
