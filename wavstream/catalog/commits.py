"""Grouped commits: writes that are asked for at the same time share one transaction, and so one flush of the disk.

One task takes what is queued, up to ``GROUP_LIMIT``, and has it run in one transaction, on a thread that does nothing
else: first plainly, because a write seldom fails and a savepoint costs two more statements for each. If one does fail,
the transaction is rolled back and run again with a savepoint around each write, so that it fails for its own caller
only. A write is answered after the commit that holds it.

The thread runs the whole group, not one statement after the other on demand of the event loop: to hand each of them
over and back took as much of a core again as to run it.

A failure of the machine (disk full, database locked for longer than the busy timeout) fails the whole group: SQLite
may have rolled everything back by itself then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from wavstream.errors import DependencyError

GROUP_LIMIT = 200
"""Writes in one transaction: enough to make the flush cheap, few enough that the first does not wait for long."""
QUEUE_LIMIT = 10_000
"""Writes that may wait; a writer beyond that waits before it is queued."""

T = TypeVar("T")
Write = Callable[[Connection], T]
"""Runs inside a transaction, on the thread; may be run twice, the first time then having been rolled back."""


class GroupedCommits:
    """The only way into the catalog's tables; ``start`` and ``close`` on the loop that writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalog")
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(QUEUE_LIMIT)
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.transactions = 0
        """Committed so far."""
        self.writes = 0
        """Committed so far."""

    @property
    def waiting(self) -> int:
        """Writes in the queue."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin to take writes."""
        self._task = asyncio.create_task(self._run(), name="catalog commits")

    async def close(self) -> None:
        """Commit what is queued and end; writes that come later raise DependencyError."""
        self._closing = True
        if self._task is not None:
            await self._queue.put(None)
            await self._task
        self._thread.shutdown()

    async def write(self, write: Write[T]) -> T:
        """What ``write`` returns, once it is committed; raises what it raised, or DependencyError.

        A caller that is cancelled stops waiting; its write is done all the same.
        """
        if self._closing or self._task is None or self._task.done():
            raise DependencyError("the catalog is closed")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Waiting(write, answer))
        result: T = await answer
        return result

    async def _run(self) -> None:
        last = False
        while not last:
            group = [await self._queue.get()]
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                group.append(self._queue.get_nowait())
            # Writers that waited for room in the queue may come in behind the end mark: they are taken too.
            last = None in group and self._queue.empty()
            if None in group and not last:
                self._queue.put_nowait(None)
            waiting = [each for each in group if each is not None]
            if waiting:
                await self._commit(waiting)

    async def _commit(self, group: list[_Waiting]) -> None:
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, group)
        except Exception as error:  # noqa: BLE001  It is handed to every caller of the group.
            outcomes = [_Raised(_dependency_error(error))] * len(group)
        else:
            self.transactions += 1
            self.writes += len(group)
        for each, outcome in zip(group, outcomes, strict=True):
            if each.answer.done():
                continue
            if isinstance(outcome, _Raised):
                each.answer.set_exception(outcome.error)
            else:
                each.answer.set_result(outcome)

    def _transaction(self, group: list[_Waiting]) -> list[Any]:
        try:
            with self._engine.begin() as connection:
                return [each.write(connection) for each in group]
        except Exception:  # noqa: BLE001  The second run tells whose it is, and raises it there.
            with self._engine.begin() as connection:
                return [_apart(connection, each.write) for each in group]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    write: Write[Any]
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


def _apart(connection: Connection, write: Write[Any]) -> Any:
    """Run one write inside a savepoint; what it returns, or what it raised if that concerns nobody else."""
    try:
        with connection.begin_nested():
            return write(connection)
    except Exception as error:
        if isinstance(error, OperationalError) or type(error) is DatabaseError:
            raise
        return _Raised(error)


def _dependency_error(error: Exception) -> Exception:
    if not isinstance(error, SQLAlchemyError | OSError):
        return error
    wrapped = DependencyError(f"the catalog could not be written: {getattr(error, 'orig', None) or error}")
    wrapped.__cause__ = error
    return wrapped
