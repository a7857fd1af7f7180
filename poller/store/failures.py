"""What an error of SQLite or of the file system means for who waits: one table, by the library's own error codes.

What is in neither table (a constraint, a misspelt statement) is a mistake of ours and passes as it is.
"""

import errno
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError

from poller.core.errors import StoreError, StoreRefused, StoreUnavailable

UNAVAILABLE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "is locked by another process; it is free when that one ends its write (`fuser` names it)",
    sqlite3.SQLITE_LOCKED: "is locked by another transaction of this process",
    sqlite3.SQLITE_FULL: "cannot grow, the disk or its quota is full: free some space",
    sqlite3.SQLITE_READONLY: "cannot be written: make the file, its directory and its file system writable",
    sqlite3.SQLITE_PERM: "may not be used: give this user read and write access to the file and its directory",
    sqlite3.SQLITE_AUTH: "may not be used: give this user read and write access to the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its directory exists and that this user may write there",
    sqlite3.SQLITE_IOERR: "cannot be read or written, the file system reports an error: check the disk and its space",
    sqlite3.SQLITE_NOLFS: "is too large for its file system: move it to another one",
    sqlite3.SQLITE_NOMEM: "cannot be read or written, memory is short",
    sqlite3.SQLITE_PROTOCOL: "cannot be locked, others are opening it all the time",
    sqlite3.SQLITE_INTERRUPT: "was interrupted",
}
"""Waiting, or mending something around the record, makes it work again."""

OF_THE_SYSTEM: Final[Mapping[int, str]] = {
    errno.EACCES: UNAVAILABLE[sqlite3.SQLITE_PERM],
    errno.EPERM: UNAVAILABLE[sqlite3.SQLITE_PERM],
    errno.EROFS: UNAVAILABLE[sqlite3.SQLITE_READONLY],
    errno.ENOSPC: UNAVAILABLE[sqlite3.SQLITE_FULL],
    errno.EDQUOT: UNAVAILABLE[sqlite3.SQLITE_FULL],
}
"""The same, where the operating system says it of the file, its lock or its copy."""

REFUSED: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_NOTADB: "is not a record, nor any SQLite database: give another path, or move the file away",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup, or save what `sqlite3 FILE .recover` finds",
    sqlite3.SQLITE_FORMAT: "is not a record that this SQLite can read: give another path, or move the file away",
}
"""A person must decide."""


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Within: errors of the database and of the system become StoreUnavailable or StoreRefused, naming the record."""
    try:
        yield
    except StoreError:
        raise
    except (DBAPIError, sqlite3.Error) as error:
        meaning = _meaning(error.orig if isinstance(error, DBAPIError) else error, location)
        if meaning is None:
            raise
        raise meaning from error
    except OSError as error:
        meaning_of_number = OF_THE_SYSTEM.get(error.errno or 0, "cannot be used")
        raise StoreUnavailable(
            f"{error.filename or location} {meaning_of_number} ({error.strerror or error})"
        ) from error


def _meaning(error: BaseException | None, location: str) -> StoreError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    name = getattr(error, "sqlite_errorname", "")
    primary = code & 0xFF  # the other bits only say more precisely where
    if primary in UNAVAILABLE:
        return StoreUnavailable(f"{location} {UNAVAILABLE[primary]} ({name})")
    if primary in REFUSED:
        return StoreRefused(f"{location} {REFUSED[primary]} ({name})")
    return None
