"""Moments of the service's clock as whole microseconds since 1970, and how the service writes them.

Whole numbers, since a float of today's size no longer tells every microsecond from the next.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

SECOND: Final = 1_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def instant_of(moment: datetime) -> int:
    """The instant of an aware datetime. Raises: ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return (moment - EPOCH) // MICROSECOND


def datetime_of(instant: int) -> datetime:
    """The instant as an aware datetime in UTC."""
    return EPOCH + instant * MICROSECOND


def micro_stamp(instant: int) -> str:
    """As the service writes creation times: `2022-11-30T23:13:00.718651Z`."""
    return f"{EPOCH + instant * MICROSECOND:%Y-%m-%dT%H:%M:%S.%f}Z"


def milli_stamp(instant: int) -> str:
    """As the service writes start times, `2022-11-30T23:17:47.016Z`; microseconds only where there are some."""
    written = micro_stamp(instant)
    return f"{written[:-4]}Z" if instant % 1000 == 0 else written
