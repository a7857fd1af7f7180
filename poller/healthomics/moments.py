"""The times of the service: ISO 8601 with or without a zone, or seconds since 1970. Pure."""

from datetime import UTC, datetime
from typing import Final

from poller.core.runs import Json

TIMES_OF_A_RUN: Final = ("creationTime", "startTime", "stopTime")
"""The members of a run that are times."""


def moment_of(value: Json) -> datetime:
    """A time of the service as aware UTC; one without a zone is UTC. Raises: ValueError if it is no time."""
    try:
        if isinstance(value, bool):
            raise TypeError("true and false are no times")
        moment = datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"no time: {str(value)[:80]!r}") from error
