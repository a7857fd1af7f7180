"""`KnownRun` and `KnownBatch` as the text that the record keeps: JSON by the names of their fields, times exact to the
microsecond.

Keys that a newer version wrote are ignored, and fields that an older one did not know take their defaults.
"""

from datetime import UTC
from typing import Final

from pydantic import TypeAdapter

from poller.core.batches import KnownBatch
from poller.core.runs import KnownRun

_RUN: Final = TypeAdapter(KnownRun)
_BATCH: Final = TypeAdapter(KnownBatch)
_LASTING_TIMES: Final = ("creation_time", "since", "seen_at")


def encode_run(known: KnownRun) -> str:
    """The text of a run. Raises: pydantic's errors where a field holds what its type does not allow."""
    return _RUN.dump_json(known).decode()


def decode_run(text: str) -> KnownRun:
    """The run of a text that `encode_run` made, in this version or another one."""
    known = _RUN.validate_json(text)
    for name in _LASTING_TIMES:
        at = getattr(known, name)
        if at is not None:
            # pydantic gives each time a zone of its own, 40 bytes that stay with each run; nobody has seen this one yet
            object.__setattr__(known, name, at.replace(tzinfo=UTC))
    return known


def encode_batch(known: KnownBatch) -> str:
    """The text of a batch."""
    return _BATCH.dump_json(known).decode()


def decode_batch(text: str) -> KnownBatch:
    """The batch of a text that `encode_batch` made."""
    return _BATCH.validate_json(text)
