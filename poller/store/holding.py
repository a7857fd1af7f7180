"""The daemon's lock on a record's file: the operating system's, so that it ends with the process, however that ends.

The lock is on `<file>.lock`, which tells people who has it; the file stays, since removing it would let two in.
"""

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from poller.core.errors import StoreRefused


class HeldLock:
    """A lock that is held until `free`, or until the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def free(self) -> None:
        os.close(self._descriptor)


def lock(record: Path, holder: str) -> HeldLock:
    """Take the lock of a record, at once or not at all.

    Args: `holder` is what the holder calls itself.
    Raises: StoreRefused(exit_code=1), naming the other holder's host and pid; OSError.
    """
    descriptor = os.open(f"{record}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = {
            "holder": holder,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode(), 0)
    except BlockingIOError as error:
        message = f"{record} is held by another process, {_told_by(descriptor)}: stop it first, or give another record"
        os.close(descriptor)
        raise StoreRefused(message, exit_code=1) from error
    except BaseException:
        os.close(descriptor)
        raise
    return HeldLock(descriptor)


def _told_by(descriptor: int) -> str:
    """The holder in words, from what it wrote into the lock file."""
    try:
        about = json.loads(os.pread(descriptor, 4096, 0))
        return f"{about['holder']} on host {about['host']}, pid {about['pid']}, since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "which has not said who it is"
