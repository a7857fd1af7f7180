"""A `KnownRun` as the text that the record keeps: JSON by the names of its fields, times exact to the microsecond.

Keys that a newer version wrote are ignored, and fields that an older one did not know take their defaults.
"""

from typing import Final

from pydantic import TypeAdapter

from poller.core.runs import KnownRun

_ADAPTER: Final = TypeAdapter(KnownRun)


def encode(known: KnownRun) -> str:
    """The text of a run. Raises: pydantic's errors where a field holds what its type does not allow."""
    return _ADAPTER.dump_json(known).decode()


def decode(text: str) -> KnownRun:
    """The run of a text that `encode` made, in this version or another one."""
    return _ADAPTER.validate_json(text)
