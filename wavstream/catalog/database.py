"""The database file: reads beside each other on a few threads, writes one group after the other on one thread.

1. A read or a write is a plain function of a connection, and runs whole on a thread. To hand its statements to a thread
   one by one, and their rows back, takes several times as long as to run them.
2. Writes that are asked for at the same time share one transaction, and so one flush of the disk. A write is answered
   after the commit that holds it.
3. A write seldom fails, and a savepoint costs two more statements. So a group is run without savepoints first. If one
   of its writes fails, all of it is rolled back and run again with a savepoint around each, and only the callers of
   those that fail again get an error.
4. What is deleted is overwritten in the file (``secure_delete``), but the log goes on having what was there before. So
   after an erasure the log is emptied, by a connection and a thread of their own: writers wait for milliseconds.
5. A failure of the machine (disk full, database locked for longer than the busy timeout) fails the whole group, at
   once: SQLite may have rolled everything back by itself then, and to run it again would wait for the lock again.
6. Nobody waits for a lock for longer than the busy timeout. What was asked for before a wait for it ran out, and was
   queued behind that, fails with it; only what is asked for later tries again.

Statements that every call runs are made by SQLAlchemy once and then run by SQLite's driver (``Prepared``). SQLAlchemy
takes 60 to 100 us around each execution of a statement that it has compiled before, SQLite itself 5 to 20. A stop with
its two webhooks runs twelve of them, on the one thread that writes. Transactions are the driver's too
(``write_thread``).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog
from sqlalchemy import Connection, Insert, Select, Update, create_engine, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from wavstream.catalog.failures import CatalogFile
from wavstream.catalog.schema import prepare_for_reading, truncate_log, upgrade
from wavstream.catalog.write_thread import FAILURES, LockWaits, Write, WriteThread
from wavstream.errors import DependencyError

_SCRUB_BUSY_S = 0.05
"""For so long at a time writers wait for readers, while the log is emptied."""
_FIRST_SCRUB_WAIT_S = 0.02
_LAST_SCRUB_WAIT_S = 5.0
_SCRUB_TRIES_UNSAID = 6
"""Tries, over about a second, of which the last is in the log."""
MAX_CONCURRENT_READS = 4
"""Connections, and threads: a read that waits for the disk does not hold up the others."""

log = structlog.get_logger(__name__)

T = TypeVar("T")
Read = Callable[[Connection], T]
"""Runs on a thread; each of its statements sees what was committed before it."""


class Database:
    """One open file. It belongs to the event loop that opens it; its methods raise DependencyError if it fails."""

    def __init__(self, path: Path) -> None:
        """Open a file whose schema is up to date."""
        url = URL.create("sqlite", database=str(path))
        self._file = CatalogFile(path)
        self._waits = LockWaits()
        self._reader = create_engine(url, pool_size=MAX_CONCURRENT_READS, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(self._reader, "connect", prepare_for_reading)
        self._read_threads = ThreadPoolExecutor(MAX_CONCURRENT_READS, thread_name_prefix="catalog-read")
        self._writes = WriteThread(url, self._waits, explain=self._why_not_written)
        self._path = path
        self._scrub_thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-scrub")
        self._scrub_wanted = 0
        self._scrubbed = 0
        """The wish that was fulfilled last."""
        self._is_closed = threading.Event()
        self._scrub_thread.submit(self._file.open)
        self._closing = False

    @classmethod
    async def open(cls, path: Path, *, is_lost: bool = False) -> Self:
        """Open the file, made or migrated first if need be; raise OperatorError or DiskFull if it cannot be used.

        ``is_lost``: see ``upgrade``.
        """
        await asyncio.to_thread(upgrade, path, is_lost=is_lost)
        return cls(path)

    async def read(self, read: Read[T]) -> T:
        """Return what ``read`` returns; raise what it raises, or DependencyError."""
        loop, asked_s = asyncio.get_running_loop(), time.monotonic()
        return await loop.run_in_executor(self._read_threads, self._run_read, read, asked_s)  # rule 1

    async def write(self, write: Write[T]) -> T:
        """Return what ``write`` returns, once it is committed; raise what it raised, or DependencyError.

        A caller that is cancelled stops waiting; its write is done all the same.
        """
        if self._closing:
            raise DependencyError("the catalog is closed")
        return await self._writes.write(write)

    async def scrub(self) -> None:
        """Return once nothing that was deleted before this call is in the file or its log, however long that takes.

        A caller that is cancelled stops waiting; it is done all the same, until the database is closed.
        """
        if self._is_closed.is_set():
            return  # the next start empties it
        self._scrub_wanted += 1
        await asyncio.get_running_loop().run_in_executor(self._scrub_thread, self._run_scrub, self._scrub_wanted)

    async def ping(self) -> None:
        """Return if the file is the one that was opened, can be read, and its write lock be had."""

        def read(connection: Connection) -> None:
            self._file.look()
            connection.execute(text("SELECT id FROM recordings LIMIT 1")).all()

        await self.read(read)
        await self.write(lambda connection: None)

    async def close(self) -> None:
        """Commit what is queued and close the file; writes that come later raise DependencyError."""
        self._closing = True
        await self._writes.close()
        self._is_closed.set()
        await asyncio.to_thread(self._scrub_thread.shutdown)
        await asyncio.to_thread(self._read_threads.shutdown)
        self._reader.dispose()
        await asyncio.to_thread(self._file.close)

    def look(self) -> None:
        """Raise CatalogDamaged if the file is not the one that was opened, or OSError. Blocks: not for the loop."""
        self._file.look()

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, for a person who has to mend it; None: nothing that is known of."""
        return self._file.damage

    def _run_read(self, read: Read[T], asked_s: float) -> T:
        if (refused := self._waits.refused(asked_s)) is not None:  # rule 6
            raise refused
        try:
            with self._waits.noting(), self._reader.connect() as connection:
                return read(connection)
        except FAILURES as error:
            raise self._failure("read", error) from error

    def _run_scrub(self, wanted: int) -> None:
        """Empty the log (rule 4), tried again ever more slowly; one run is enough for all who waited for it."""
        wait_s, tries = _FIRST_SCRUB_WAIT_S, 0
        while self._scrubbed < wanted and not self._is_closed.is_set():
            covered = self._scrub_wanted
            try:
                if truncate_log(self._path, wait_s=_SCRUB_BUSY_S):
                    self._scrubbed = covered
                    return
                error = "another connection reads it"
            except (sqlite3.Error, OSError) as failure:
                error = str(failure)
            tries += 1
            if tries == _SCRUB_TRIES_UNSAID:
                log.warning("catalog_log_not_emptied", error=error)
            self._is_closed.wait(wait_s)
            wait_s = min(wait_s * 2, _LAST_SCRUB_WAIT_S)

    def _failure(self, doing: str, error: Exception) -> DependencyError:
        """Return what a failure of the file means; on the thread that met it, since the disk is asked."""
        failure = self._file.failure(doing, error)
        failure.__cause__ = error
        return failure

    def _why_not_written(self, error: Exception) -> DependencyError:
        return self._failure("written", error)


class Prepared:
    """One statement, run by the driver itself. Its values are what SQLite stores: numbers, text, None."""

    def __init__(
        self, statement: str | Insert | Update | Select[Any], *, columns: Collection[str] | None = None
    ) -> None:
        """Take SQL as it is, or compile a statement; ``columns`` are those that an insert writes, None: all."""
        self._preset: dict[str, Any] = {}
        if isinstance(statement, str):
            self._sql = statement
            return
        dialect = sqlite.dialect(paramstyle="named")
        compiled = statement.compile(dialect=dialect, column_keys=None if columns is None else [*columns])
        self._sql = str(compiled)
        self._preset = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Return how many rows it changed; raise DBAPIError, as SQLAlchemy would."""
        return self._execute(connection, values).rowcount

    def row(self, connection: Connection, values: Mapping[str, object]) -> dict[str, Any] | None:
        """Return the first of its rows, by names of columns, if there is one; raise DBAPIError."""
        cursor = self._execute(connection, values)
        rows = cursor.fetchall()  # to the end: a cursor that is still open would hold up the commit
        return dict(zip((column[0] for column in cursor.description), rows[0], strict=True)) if rows else None

    def _execute(self, connection: Connection, values: Mapping[str, object]) -> sqlite3.Cursor:
        driver: Any = connection.connection.driver_connection
        bound = {**self._preset, **values}
        try:
            cursor: sqlite3.Cursor = driver.execute(self._sql, bound)
        except sqlite3.Error as error:
            raise DBAPIError.instance(self._sql, bound, error, sqlite3.Error) from error
        return cursor


async def retry_forever(
    work: Callable[[], Awaitable[T]],
    *,
    on_first_failure: Callable[[Exception], None],
    delay_s: float,
    failure: type[Exception] = DependencyError,
) -> T:
    """Return what ``work`` returns, tried again every ``delay_s`` for as long as it raises ``failure``."""
    failed = False
    while True:
        try:
            return await work()
        except failure as error:
            if not failed:
                on_first_failure(error)
            failed = True
        await asyncio.sleep(delay_s)
