"""How transactions run: all that differs between a SQLite file, SQLite in memory and, later, PostgreSQL.

A transaction is one synchronous function that runs whole: on a file in a worker thread that no cancellation abandons,
in memory inline. A file has one writer, which takes the write lock when it begins (otherwise two processes that read
and then write lose updates), and readers apart that cannot write. Measurements: docs/record.md.
"""

import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from anyio import CancelScope, CapacityLimiter, to_thread
from anyio.lowlevel import checkpoint
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

from poller.core.errors import StoreRefused, StoreUnavailable
from poller.store import migrating
from poller.store.failures import explained
from poller.store.holding import HeldLock, lock

T = TypeVar("T")
Transaction = Callable[[Connection], T]

READERS: Final = 4
MOST_IN_THE_WAY: Final = 100
"""Writers of other processes that a new record is waited for, one after the other."""


class Database(Protocol):
    """What a store needs of its engine."""

    location: str

    async def open(self) -> None: ...

    async def hold(self, holder: str) -> None:
        """Be the only holder until `close`. Raises: StoreRefused(exit_code=1)."""
        ...

    async def close(self) -> None: ...

    async def write(self, transaction: Transaction[T]) -> T:
        """Run one transaction that writes: all of it or nothing, also if the caller is cancelled."""
        ...

    async def read(self, transaction: Transaction[T]) -> T:
        """Run one transaction that reads one state of the record."""
        ...

    async def scrub(self) -> None:
        """Leave no copy of what was erased behind, as far as that can be done now."""
        ...


class SqliteMemory:
    """A record that lives as long as it is open; transactions run inline, so that no thread is started."""

    location = "memory"

    def __init__(self) -> None:
        self._connection: Connection | None = None

    async def open(self) -> None:
        engine = create_engine("sqlite://", creator=_connector(":memory:"), poolclass=StaticPool)
        event.listen(engine, "connect", _pragmas("foreign_keys=on"))
        event.listen(engine, "begin", _begin("BEGIN"))
        connection = engine.connect()
        with connection.begin():
            migrating.create(connection)
        self._connection = connection

    async def hold(self, holder: str) -> None:
        await checkpoint()

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection.engine.dispose()
            self._connection = None

    async def write(self, transaction: Transaction[T]) -> T:
        await checkpoint()
        if self._connection is None:
            raise RuntimeError("the record is not open")
        with explained(self.location), self._connection.begin():
            return transaction(self._connection)

    async def read(self, transaction: Transaction[T]) -> T:
        return await self.write(transaction)

    async def scrub(self) -> None:
        await checkpoint()


class SqliteFile:
    """A record in a file, which other processes may use at the same time.

    Args: `patience` is how long a transaction waits for another process's write.
    """

    def __init__(self, path: Path, *, patience: timedelta) -> None:
        self.path = path
        self.location = str(path)
        self._patience = patience
        self._held: HeldLock | None = None
        self._opened: _Opened | None = None

    async def open(self) -> None:
        self._opened = await to_thread.run_sync(self._open)

    async def hold(self, holder: str) -> None:
        if self._held is None:
            self._held = await to_thread.run_sync(self._lock, holder)

    async def close(self) -> None:
        with CancelScope(shield=True):  # a lock that is left behind would outlive its owner
            await to_thread.run_sync(self._close)

    async def write(self, transaction: Transaction[T]) -> T:
        opened = self._running()
        return await to_thread.run_sync(self._run, opened.writer, transaction, limiter=opened.writing)

    async def read(self, transaction: Transaction[T]) -> T:
        opened = self._running()
        return await to_thread.run_sync(self._run, opened.reader, transaction, limiter=opened.reading)

    async def scrub(self) -> None:
        """Empty the write-ahead log, which holds old pages; a reader that is busy puts it off to a later checkpoint."""
        opened = self._running()
        await to_thread.run_sync(self._checkpoint, opened.writer, limiter=opened.writing)

    def _running(self) -> "_Opened":
        if self._opened is None:
            raise RuntimeError(f"{self.location}: the record is not open")
        return self._opened

    def _run(self, engine: Engine, transaction: Transaction[T]) -> T:
        try:
            with explained(self.location):
                self._check_place()
                with engine.begin() as connection:
                    return transaction(connection)
        except StoreUnavailable:
            # A connection that saw the file system fail may keep that in mind; the next one starts afresh.
            engine.dispose()
            raise

    def _open(self) -> "_Opened":
        with explained(self.location):
            if (problem := obstacle(self.path)) is not None:
                raise StoreUnavailable(problem)
            if not self.path.exists():
                # SQLite gives -wal and -shm the mode of the main file.
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._bring_forward()
            writer = self._engine(
                "BEGIN IMMEDIATE", "journal_mode=wal", "synchronous=full", "foreign_keys=on", "secure_delete=on"
            )
            try:
                with writer.begin() as connection:
                    if migrating.found(connection, self.location) is None:
                        migrating.create(connection)
                status = self.path.stat()
            except BaseException:
                writer.dispose()
                raise
            reader = self._engine("BEGIN", "query_only=on", size=READERS)
        return _Opened(writer, reader, (status.st_dev, status.st_ino))

    def _bring_forward(self) -> None:
        """Look at the file before anything is changed in it: refuse what is not ours, migrate what is older."""
        looker = self._engine("BEGIN")
        try:
            with looker.begin() as connection:
                at = migrating.found(connection, self.location)
        finally:
            looker.dispose()
        if at is not None and migrating.must_migrate(at, self.location):
            self._migrate()

    def _migrate(self) -> None:
        """Migrate while no daemon works on the record, from a copy's safety, in one transaction."""
        held = lock(self.path, "a migration")
        migrator = self._engine("BEGIN IMMEDIATE", "synchronous=full", "foreign_keys=off")
        try:
            with migrator.begin() as connection:
                at = migrating.found(connection, self.location)
                if at is None or not migrating.must_migrate(at, self.location):
                    return  # another process was faster
                migrating.back_up(self.path, at.version)
                migrating.migrate(connection, at)
                if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                    raise StoreRefused(
                        f"{self.location}: the migration would lose {len(broken)} references; nothing was done"
                    )
        finally:
            migrator.dispose()
            held.free()

    def _check_place(self) -> None:
        """See that the file is still the one that was opened: SQLite goes on writing to one that was removed."""
        opened = self._running()
        try:
            status = self.path.stat()
        except FileNotFoundError:
            message = f"{self.location} is gone: put the file back, or stop and start again with a new record"
            raise StoreUnavailable(message) from None
        if (status.st_dev, status.st_ino) != opened.identity:
            raise StoreRefused(f"{self.location} was replaced by another file while it was in use: start again")

    def _checkpoint(self, engine: Engine) -> None:
        with explained(self.location):
            self._check_place()
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()

    def _lock(self, holder: str) -> HeldLock:
        with explained(self.location):
            return lock(self.path, holder)

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.reader.dispose()
            self._opened.writer.dispose()  # last: it moves the write-ahead log into the file
            self._opened = None
        if self._held is not None:
            self._held.free()
            self._held = None

    def _engine(self, begin: str, *pragmas: str, size: int = 1) -> Engine:
        # mode=rw: a file that is gone is not made anew, which would tell everything again from the start.
        connector = _connector(f"file:{quote(self.location)}?mode=rw", timeout=self._patience.total_seconds())
        engine = create_engine("sqlite://", creator=connector, poolclass=QueuePool, pool_size=size, max_overflow=0)
        event.listen(engine, "connect", _pragmas(*pragmas))
        event.listen(engine, "begin", _begin(begin))
        return engine


class _Opened:
    """What a file has while it is open: a writer, readers, and which file it is."""

    def __init__(self, writer: Engine, reader: Engine, identity: tuple[int, int]) -> None:
        self.writer = writer
        self.reader = reader
        self.identity = identity
        self.writing = CapacityLimiter(1)
        self.reading = CapacityLimiter(READERS)


def _connector(database: str, *, timeout: float = 0) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        # isolation_level None: transactions begin where we say, not where the driver guesses.
        return sqlite3.connect(
            database, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    return connect


def obstacle(path: Path) -> str | None:
    """Why no record can be at a path, as far as a look shows; None if one can."""
    if path.is_dir():
        return f"{path} is a directory, and a record is a file"
    return None if path.parent.is_dir() else f"{path} cannot be made: there is no directory {path.parent}"


def _pragmas(*pragmas: str) -> Callable[[sqlite3.Connection, Any], None]:
    def set_pragmas(connection: sqlite3.Connection, record: Any) -> None:
        for pragma in pragmas:
            _set(connection, pragma)

    return set_pragmas


def _set(connection: sqlite3.Connection, pragma: str) -> None:
    """Set one. The journal's mode cannot be changed while another process writes, and SQLite does not wait for that.

    It does wait to begin a transaction of our own, after which it goes, unless yet another one was faster.
    """
    for _ in range(MOST_IN_THE_WAY):
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        connection.execute("BEGIN IMMEDIATE").execute("COMMIT")
    connection.execute(f"PRAGMA {pragma}")


def _begin(statement: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        connection.connection.cursor().execute(statement)  # by the driver: SQLAlchemy's way costs as much as a query

    return begin
