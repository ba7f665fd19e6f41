"""The catalog in a file, by SQLite.

1. What is deleted is overwritten in the file (``secure_delete``), but the log goes on having what was there before. So
   after an erasure the log is emptied, by a connection and a thread of their own: writers wait for milliseconds.
2. Nobody waits for a lock for longer than the busy timeout. What was asked for before a wait for it ran out, and was
   queued behind that, fails with it; only what is asked for later tries again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from wavstream.catalog.engine import MAX_CONCURRENT_READS, Read, Waits
from wavstream.catalog.failures import CatalogFile, is_locked
from wavstream.catalog.schema import prepare, prepare_for_reading, truncate_log
from wavstream.errors import CatalogLocked, DependencyError

_SCRUB_BUSY_S = 0.05
"""For so long at a time writers wait for readers, while the log is emptied."""
_FIRST_SCRUB_WAIT_S = 0.02
_LAST_SCRUB_WAIT_S = 5.0
_SCRUB_TRIES_UNSAID = 6
"""Tries, over about a second, of which the last is in the log."""

# A connection that is made may raise the driver's own errors.
_FAILURES = (SQLAlchemyError, sqlite3.Error, OSError)
_OPERATIONAL = (OperationalError, sqlite3.OperationalError)

log = structlog.get_logger(__name__)

T = TypeVar("T")


class SqliteEngine:
    """One open file: ``Engine`` says what it does."""

    turns_of = None

    def __init__(self, path: Path) -> None:
        """Open a file whose schema is up to date."""
        url = URL.create("sqlite", database=str(path))
        self._file = CatalogFile(path)
        self._waits = Waits()
        self._reader = create_engine(url, pool_size=MAX_CONCURRENT_READS, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(self._reader, "connect", prepare_for_reading)
        self._transactions = _Transactions(url)
        self._path = path
        self._scrub_thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-scrub")
        self._scrub_wanted = 0
        self._scrubbed = 0
        """The wish that was fulfilled last."""
        self._is_closed = threading.Event()
        self._scrub_thread.submit(self._file.open)

    @property
    def damage(self) -> str | None:
        """What is wrong with the file."""
        return self._file.damage

    def look(self) -> None:
        """Raise CatalogDamaged if the file is not the one that was opened, or OSError."""
        self._file.look()

    def read(self, read: Read[T], asked_s: float) -> T:
        """Return what ``read`` returns."""
        if (refused := self.refused(asked_s)) is not None:  # rule 2
            raise refused
        try:
            with self._noting(), self._reader.connect() as connection:
                return read(connection)
        except _FAILURES as error:
            raise self._failure("read", error) from error

    def transact(self, run: Callable[[Connection], T]) -> T:
        """Return what ``run`` returns, once it is committed."""
        with self._noting(), self._transactions.begin() as connection:
            return run(connection)

    def refused(self, asked_s: float) -> DependencyError | None:
        """Return what to raise for what stood behind a wait for the lock (rule 2)."""
        if not self._waits.stood_behind(asked_s):
            return None
        return CatalogLocked("the catalog is locked: another program holds the lock of its file: end it")

    def concerns_all(self, error: Exception) -> bool:
        """Return whether it concerns the whole group."""
        return isinstance(error, _OPERATIONAL) or type(error) in (DatabaseError, sqlite3.DatabaseError)

    def explain(self, error: Exception) -> Exception:
        """Return what a failure of the file means; on the thread that met it, since the disk is asked."""
        return self._failure("written", error) if isinstance(error, _FAILURES) else error

    async def scrub(self) -> None:
        """Return once nothing that was deleted before this call is in the file or its log, however long that takes."""
        if self._is_closed.is_set():
            return  # the next start empties it
        self._scrub_wanted += 1
        await asyncio.get_running_loop().run_in_executor(self._scrub_thread, self._run_scrub, self._scrub_wanted)

    def close_writing(self) -> None:
        """Close the connection that writes."""
        self._transactions.close()

    def end_scrubbing(self) -> None:
        """End the thread that scrubs."""
        self._is_closed.set()
        self._scrub_thread.shutdown()

    def close(self) -> None:
        """Close the file."""
        self._reader.dispose()
        self._file.close()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note that a wait for the lock ran out, if that is what ends the context."""
        try:
            yield
        except Exception as error:
            if is_locked(error):
                self._waits.ran_out()
            raise

    def _run_scrub(self, wanted: int) -> None:
        """Empty the log (rule 1), tried again ever more slowly; one run is enough for all who waited for it."""
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
        failure = self._file.failure(doing, error)
        failure.__cause__ = error
        return failure


class _Transactions:
    """The connection that writes, and its transactions; for one thread.

    It is kept, and a transaction is the driver's own: to take one from SQLAlchemy's pool, begin, commit and give it
    back took as long as three statements. What SQLAlchemy takes for a transaction, after a statement that it has run
    itself, ends with the driver's.
    """

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(url, pool_size=1, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(self._engine, "connect", prepare)
        self._connection: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction; it is committed at the end of the context, or taken back if that raises."""
        connection = self._connection = self._connection or self._engine.connect()
        driver: Any = connection.connection.driver_connection
        try:
            driver.execute("BEGIN IMMEDIATE")  # a transaction that takes the lock later fails instead of waiting
            yield connection
            driver.commit()
            if connection.in_transaction():
                connection.commit()
        except BaseException:
            # After an error it is not believed any more: the pool takes it back, and checks it.
            self._connection = None
            with suppress(*_FAILURES):
                driver.rollback()
            with suppress(*_FAILURES):
                connection.close()
            raise

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()
