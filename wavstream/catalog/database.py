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
its two webhooks runs twelve of them, on the one thread that writes. A transaction is the driver's own too, on a
connection that is kept (``_Transactions``): to take one from SQLAlchemy's pool, begin, commit and give it back took as
long as three statements.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog
from sqlalchemy import Connection, Insert, Select, Update, create_engine, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError, SQLAlchemyError

from wavstream.catalog.failures import CatalogFile, is_locked
from wavstream.catalog.schema import prepare, prepare_for_reading, truncate_log, upgrade
from wavstream.errors import CatalogLocked, DependencyError

GROUP_LIMIT = 200
"""Writes in one transaction: enough to make the flush cheap, few enough that the first does not wait for long."""
QUEUE_LIMIT = 10_000
"""Writes that may wait; a writer beyond that waits before it is queued."""
_SCRUB_BUSY_S = 0.05
"""For so long at a time writers wait for readers, while the log is emptied."""
_FIRST_SCRUB_WAIT_S = 0.02
_LAST_SCRUB_WAIT_S = 5.0
_SCRUB_TRIES_UNSAID = 6
"""Tries, over about a second, of which the last is in the log."""
MAX_CONCURRENT_READS = 4
"""Connections, and threads: a read that waits for the disk does not hold up the others."""

# A connection that is made may raise the driver's own errors.
_FAILURES = (SQLAlchemyError, sqlite3.Error, OSError)
_OPERATIONAL = (OperationalError, sqlite3.OperationalError)

log = structlog.get_logger(__name__)

T = TypeVar("T")
Read = Callable[[Connection], T]
"""Runs on a thread; each of its statements sees what was committed before it."""
Write = Callable[[Connection], T]
"""Runs inside a transaction, on the thread; may be run twice, the first time then having been rolled back."""


class Database:
    """One open file. It belongs to the event loop that opens it; its methods raise DependencyError if it fails."""

    def __init__(self, path: Path) -> None:
        """Open a file whose schema is up to date."""
        url = URL.create("sqlite", database=str(path))
        self._file = CatalogFile(path)
        self._locked_s = -math.inf
        """When a wait for the lock ran out last, by the monotonic clock."""
        self._reader = create_engine(url, pool_size=MAX_CONCURRENT_READS, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(self._reader, "connect", prepare_for_reading)
        self._read_threads = ThreadPoolExecutor(MAX_CONCURRENT_READS, thread_name_prefix="catalog-read")
        self._transactions = _Transactions(url)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="catalog")
        self._path = path
        self._scrub_thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-scrub")
        self._scrub_wanted = 0
        self._scrubbed = 0
        """The wish that was fulfilled last."""
        self._is_closed = threading.Event()
        self._write_thread.submit(self._file.open)
        self._queue: asyncio.Queue[_QueuedWrite | None] = asyncio.Queue(QUEUE_LIMIT)
        self._closing = False
        self._commits = asyncio.create_task(self._commit_groups(), name="catalog commits")

    @classmethod
    async def open(cls, path: Path, *, is_lost: bool = False) -> Self:
        """Open the file, made or migrated first if need be; raise OperatorError or DiskFull if it cannot be used.

        ``is_lost``: see ``upgrade``.
        """
        await asyncio.to_thread(upgrade, path, is_lost=is_lost)
        return cls(path)

    async def read(self, read: Read[T]) -> T:
        """Return what ``read`` returns; raise what it raises, or DependencyError."""
        try:
            # rule 1
            asked_s = time.monotonic()
            return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._run_read, read, asked_s)
        except _FAILURES as error:
            raise self._failure("read", error) from error

    async def write(self, write: Write[T]) -> T:
        """Return what ``write`` returns, once it is committed; raise what it raised, or DependencyError.

        A caller that is cancelled stops waiting; its write is done all the same.
        """
        if self._closing or self._commits.done():
            raise DependencyError("the catalog is closed")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._queue.put(_QueuedWrite(write, answer))
        result: T = await answer
        return result

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
        await self._queue.put(None)
        await self._commits
        self._write_thread.shutdown()
        self._is_closed.set()
        await asyncio.to_thread(self._scrub_thread.shutdown)
        await asyncio.to_thread(self._read_threads.shutdown)
        self._reader.dispose()
        await asyncio.to_thread(self._transactions.close)
        await asyncio.to_thread(self._file.close)

    def look(self) -> None:
        """Raise CatalogDamaged if the file is not the one that was opened, or OSError. Blocks: not for the loop."""
        self._file.look()

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, for a person who has to mend it; None: nothing that is known of."""
        return self._file.damage

    def _run_read(self, read: Read[T], asked_s: float) -> T:
        if asked_s < self._locked_s:  # rule 6
            raise _locked_before()
        with self._noting_lock(), self._reader.connect() as connection:
            return read(connection)

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
        failure = self._file.failure(doing, error)
        failure.__cause__ = error
        return failure

    async def _commit_groups(self) -> None:
        last = False
        while not last:
            group = [await self._queue.get()]
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                group.append(self._queue.get_nowait())
            # Writers that waited for room in the queue may come in behind the end mark: they are taken too.
            last = None in group and self._queue.empty()
            if None in group and not last:
                self._queue.put_nowait(None)
            writes: list[_QueuedWrite] = []
            for each in group:
                if each is not None and each.asked_s >= self._locked_s:
                    writes.append(each)
                elif each is not None and not each.answer.done():  # rule 6
                    each.answer.set_exception(_locked_before())
            if writes:
                await self._commit(writes)

    async def _commit(self, group: list[_QueuedWrite]) -> None:
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._write_thread, self._run_writes, group)
        except Exception as error:  # noqa: BLE001  It is handed to every caller of the group.
            failure = self._failure("written", error) if isinstance(error, _FAILURES) else error
            outcomes = [_Failure(failure)] * len(group)
        for each, outcome in zip(group, outcomes, strict=True):  # rule 2: the commit is done
            if each.answer.done():
                continue
            if isinstance(outcome, _Failure):
                each.answer.set_exception(outcome.error)
            else:
                each.answer.set_result(outcome)

    def _run_writes(self, group: list[_QueuedWrite]) -> list[Any]:
        with self._noting_lock():
            try:
                with self._transactions.begin() as connection:
                    return [each.write(connection) for each in group]
            except Exception as error:
                if _is_the_machines(error):
                    raise
                # rule 3: the second run tells whose it is, and raises it there
                with self._transactions.begin() as connection:
                    return [_run_in_savepoint(connection, each.write) for each in group]

    @contextmanager
    def _noting_lock(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if is_locked(error):
                self._locked_s = time.monotonic()
            raise


@dataclass(frozen=True, slots=True, eq=False)
class _QueuedWrite:
    write: Write[Any]
    answer: asyncio.Future[Any]
    asked_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _run_in_savepoint(connection: Connection, write: Write[Any]) -> Any:
    """Return what the write returns, or the ``_Failure`` of it if that concerns nobody else."""
    try:
        with connection.begin_nested():
            return write(connection)
    except Exception as error:
        if _is_the_machines(error):  # rule 5
            raise
        return _Failure(error)


def _is_the_machines(error: Exception) -> bool:
    """Return whether it concerns the whole group (rule 5)."""
    return isinstance(error, _OPERATIONAL) or type(error) in (DatabaseError, sqlite3.DatabaseError)


def _locked_before() -> CatalogLocked:
    return CatalogLocked("the catalog is locked by another program: end it")


class _Transactions:
    """The connection that writes, and its transactions; for one thread at a time.

    The pool hands it out without a transaction of its own: it is begun and ended by the driver. What SQLAlchemy takes
    for one, after a statement that it has run itself, ends with it.
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
            # After an error it is not believed any more: the pool takes back what is open, and checks it.
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
