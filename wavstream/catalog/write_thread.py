"""The thread that writes: it takes what was asked for meanwhile, runs it in one transaction, and answers.

The event loop hands over once a turn what was asked for in that turn, and is woken once for all the answers of a
transaction. A queue and a task of the loop with an executor behind them took as long as the statements.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from wavstream.catalog.engine import Engine, Write

GROUP_LIMIT = 200
"""Writes in one transaction: enough to make the flush cheap, few enough that the first does not wait for long."""
QUEUE_LIMIT = 10_000
"""Writes that may wait; a writer beyond that waits before it is queued."""

T = TypeVar("T")


class WriteThread:
    """The thread, and what the event loop calls: all but what is said to run on the thread."""

    def __init__(self, engine: Engine) -> None:
        """Start it."""
        self._engine = engine
        self._loop = asyncio.get_running_loop()
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
        self._engine.close_writing()

    def _commit(self, group: list[_QueuedWrite]) -> list[Any]:
        """Run the writes that were not asked for before a wait for the lock ran out; return their outcomes."""
        outcomes: list[Any] = [self._refusal(each) for each in group]
        writes = [each.write for each, refusal in zip(group, outcomes, strict=True) if refusal is None]
        if writes:
            try:
                done = self._run_writes(writes)
            except Exception as error:  # noqa: BLE001  It is handed to every caller of the group.
                failure = _Failure(self._engine.explain(error))
                done = [failure] * len(writes)
            results = iter(done)
            outcomes = [next(results) if refusal is None else refusal for refusal in outcomes]
        return outcomes

    def _refusal(self, each: _QueuedWrite) -> _Failure | None:
        refused = self._engine.refused(each.asked_s)
        return None if refused is None else _Failure(refused)

    def _run_writes(self, writes: list[Write[Any]]) -> list[Any]:
        try:
            return self._engine.transact(lambda connection: [write(connection) for write in writes])
        except Exception as error:
            if self._engine.concerns_all(error):
                raise
            # The second run tells whose it is, and raises it there.
            return self._engine.transact(
                lambda connection: [self._run_in_savepoint(connection, write) for write in writes]
            )

    def _run_in_savepoint(self, connection: Connection, write: Write[Any]) -> Any:
        """Return what the write returns, or the ``_Failure`` of it if that concerns nobody else."""
        try:
            with connection.begin_nested():
                return write(connection)
        except Exception as error:
            if self._engine.concerns_all(error):
                raise
            return _Failure(error)


@dataclass(frozen=True, slots=True, eq=False)
class _QueuedWrite:
    write: Write[Any]
    answer: asyncio.Future[Any]
    asked_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
