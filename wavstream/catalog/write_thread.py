"""The thread that writes: it takes what was asked for meanwhile, runs it in one transaction, and answers.

The event loop hands over once a turn what was asked for in that turn, and is woken once for all the answers of a
transaction. A queue and a task of the loop with an executor behind them took as long as the statements.
"""

from __future__ import annotations

import asyncio
import math
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from wavstream.catalog.failures import is_locked
from wavstream.catalog.schema import prepare
from wavstream.errors import CatalogLocked

GROUP_LIMIT = 200
"""Writes in one transaction: enough to make the flush cheap, few enough that the first does not wait for long."""
QUEUE_LIMIT = 10_000
"""Writes that may wait; a writer beyond that waits before it is queued."""

# A connection that is made may raise the driver's own errors.
FAILURES = (SQLAlchemyError, sqlite3.Error, OSError)
_OPERATIONAL = (OperationalError, sqlite3.OperationalError)

log = structlog.get_logger(__name__)

T = TypeVar("T")
Write = Callable[[Connection], T]
"""Runs inside a transaction, on the thread; may be run twice, the first time then having been rolled back."""


class LockWaits:
    """When a wait for another program's lock ran out last. For all threads."""

    def __init__(self) -> None:
        self._ended_s = -math.inf
        """By the monotonic clock."""

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note that a wait ran out, if that is what ends the context."""
        try:
            yield
        except Exception as error:
            if is_locked(error):
                self._ended_s = time.monotonic()
            raise

    def refused(self, asked_s: float) -> CatalogLocked | None:
        """Return what to raise for what was asked for before a wait ran out, and stood behind it; None: nothing."""
        if asked_s >= self._ended_s:
            return None
        return CatalogLocked("the catalog is locked: another program holds the lock of its file: end it")


class WriteThread:
    """The thread, and what the event loop calls: all but what is said to run on the thread."""

    def __init__(self, url: URL, waits: LockWaits, *, explain: Callable[[Exception], Exception]) -> None:
        """Start it; ``explain`` gives what to raise for an error of the machine, and is called on the thread."""
        self._waits = waits
        self._explain = explain
        self._loop = asyncio.get_running_loop()
        self._transactions = _Transactions(url)
        self._room = asyncio.Semaphore(QUEUE_LIMIT)
        self._asked: list[_QueuedWrite] = []
        """In this turn of the loop."""
        self._unanswered = 0
        self._idle = asyncio.Event()
        self._handed_over: queue.SimpleQueue[list[_QueuedWrite] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)
        self._thread.start()

    async def write(self, write: Write[T]) -> T:
        """Return what ``write`` returns, once it is committed; raise what it raised.

        A caller that is cancelled stops waiting; its write is done all the same.
        """
        self._unanswered += 1
        try:
            await self._room.acquire()
        except asyncio.CancelledError:
            self._count_answers(1)
            raise
        answer: asyncio.Future[Any] = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._hand_over)
        self._asked.append(_QueuedWrite(write, answer))
        result: T = await answer
        return result

    async def close(self) -> None:
        """Commit what was asked for, and close the connection; nothing may be asked for any more."""
        if self._unanswered:
            self._idle.clear()
            await self._idle.wait()
        self._handed_over.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        asked, self._asked = self._asked, []
        self._handed_over.put(asked)

    def _answer(self, group: list[_QueuedWrite], outcomes: list[Any]) -> None:
        for each, outcome in zip(group, outcomes, strict=True):
            self._room.release()
            if each.answer.done():
                continue
            if isinstance(outcome, _Failure):
                each.answer.set_exception(outcome.error)
            else:
                each.answer.set_result(outcome)
        self._count_answers(len(group))

    def _count_answers(self, answers: int) -> None:
        self._unanswered -= answers
        if not self._unanswered:
            self._idle.set()

    # ---- on the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        waiting: deque[_QueuedWrite] = deque()
        while (asked := self._handed_over.get()) is not None:
            waiting += asked
            while waiting:
                with suppress(queue.Empty):
                    while len(waiting) < GROUP_LIMIT and (more := self._handed_over.get_nowait()) is not None:
                        waiting += more
                group = [waiting.popleft() for _ in range(min(len(waiting), GROUP_LIMIT))]
                outcomes = self._commit(group)
                # A loop that is closed has nobody who waits.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._answer, group, outcomes)
        self._transactions.close()

    def _commit(self, group: list[_QueuedWrite]) -> list[Any]:
        """Run the writes that were not asked for before a wait for the lock ran out; return their outcomes."""
        outcomes: list[Any] = [self._refusal(each) for each in group]
        writes = [each.write for each, refusal in zip(group, outcomes, strict=True) if refusal is None]
        if writes:
            try:
                done = self._run_writes(writes)
            except Exception as error:  # noqa: BLE001  It is handed to every caller of the group.
                failure = _Failure(self._explain(error) if isinstance(error, FAILURES) else error)
                done = [failure] * len(writes)
            results = iter(done)
            outcomes = [next(results) if refusal is None else refusal for refusal in outcomes]
        return outcomes

    def _refusal(self, each: _QueuedWrite) -> _Failure | None:
        refused = self._waits.refused(each.asked_s)
        return None if refused is None else _Failure(refused)

    def _run_writes(self, writes: list[Write[Any]]) -> list[Any]:
        with self._waits.noting():
            try:
                with self._transactions.begin() as connection:
                    return [write(connection) for write in writes]
            except Exception as error:
                if _is_the_machines(error):
                    raise
                # The second run tells whose it is, and raises it there.
                with self._transactions.begin() as connection:
                    return [_run_in_savepoint(connection, write) for write in writes]


@dataclass(frozen=True, slots=True, eq=False)
class _QueuedWrite:
    write: Write[Any]
    answer: asyncio.Future[Any]
    asked_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


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
            with suppress(*FAILURES):
                driver.rollback()
            with suppress(*FAILURES):
                connection.close()
            raise

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


def _run_in_savepoint(connection: Connection, write: Write[Any]) -> Any:
    """Return what the write returns, or the ``_Failure`` of it if that concerns nobody else."""
    try:
        with connection.begin_nested():
            return write(connection)
    except Exception as error:
        if _is_the_machines(error):
            raise
        return _Failure(error)


def _is_the_machines(error: Exception) -> bool:
    """Return whether it concerns the whole group."""
    return isinstance(error, _OPERATIONAL) or type(error) in (DatabaseError, sqlite3.DatabaseError)
