"""What a command tells its caller by its exit code: a contract, since scripts and CI jobs branch on it."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """Done; of `watch`: all COMPLETED, or reached `--until`."""
    ERROR = 1
    """An error of ours, or no access."""
    USAGE = 2
    """What the user wrote cannot be used."""
    FAILED = 10
    """Some run FAILED."""
    CANCELLED = 11
    """Some run was CANCELLED or DELETED, and none failed."""
    LOST = 12
    """Some run vanished, is unreachable, or was replaced by another one under its id."""
    TIMED_OUT = 124
    """As of timeout(1)."""
    INTERRUPTED = 130
    """128 + SIGINT."""
    NO_READER = 141
    """128 + SIGPIPE: whoever read our output is gone."""

    @classmethod
    def first_of(cls, codes: Iterable["ExitCode"]) -> "ExitCode":
        """The one code for several endings: the most urgent of them, OK of none."""
        return min(codes, key=_URGENCY.index, default=cls.OK)


_URGENCY: Final = [
    ExitCode.INTERRUPTED,
    ExitCode.NO_READER,
    ExitCode.USAGE,
    ExitCode.TIMED_OUT,
    ExitCode.ERROR,
    ExitCode.FAILED,
    ExitCode.LOST,
    ExitCode.CANCELLED,
    ExitCode.OK,
]
