"""Threads for one kind of work that apps share: each app gets its turns, and what is under way has a bound.

1. The threads are this work's own, so no other work waits for it.
2. Who waits for a thread gets it as ``turns.fair_queue`` says: apps take turns. Work comes in short pieces where it can
   (a chunk of a file, a stretch of a recording); where it cannot, one app never has all threads.
3. What is under way has a *place*, from the request to the last byte. Places are bounded, in all and for each app, so
   what waits is bounded too. Who gets none is told which limit it is, and when to try again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from wavstream.errors import LimitReached, TooSoon
from wavstream.turns.fair_queue import FairQueue
from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import tally_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How much may be under way."""

    in_all: int
    of_app: int
    setting: str
    """The setting of ``in_all``; that of ``of_app`` is called so, with ``_per_app``."""
    retry_after_s: int = 1


class Place:
    """One that is taken, until ``leave``."""

    def __init__(self, pool: FairPool, app_id: str) -> None:
        self._pool = pool
        self._app_id: str | None = app_id

    def leave(self) -> None:
        """Give it back; a second call does nothing."""
        app_id, self._app_id = self._app_id, None
        if app_id is not None:
            self._pool._left(app_id)


class FairPool:
    """A pool of threads. Lives on the event loop."""

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        places: Places | None = None,
        threads_of_app: int | None = None,
        shared: SharedCounts | None = None,
    ) -> None:
        """Make a pool whose threads are called ``name``; one app has at most ``threads_of_app`` of them.

        ``places`` is None where nobody enters, because what can wait is bounded elsewhere. ``shared`` has the places
        that are taken in other workers; None: there are none.
        """
        self.places = places
        self._threads = threads
        self._threads_of_app = threads if threads_of_app is None else threads_of_app
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._queue: FairQueue[_Turn] = FairQueue()
        self._held: dict[str, deque[_Turn]] = {}
        """Turns of apps that have all the threads they may have."""
        self._running: Counter[str] = Counter()
        self._taken = tally_of(shared, f"places {name}")

    # ---- places ------------------------------------------------------------------------------------------------------

    def enter(self, app_id: str) -> Place:
        """Take a place for something that is to be done; raise LimitReached, or TooSoon if the app has too many."""
        self._taken.take(app_id, self._check)
        return Place(self, app_id)

    @property
    def under_way(self) -> int:
        """Places that are taken here."""
        return self._taken.own

    def _check(self, of_app: int, total: int) -> None:
        places = self.places
        assert places is not None
        if of_app >= places.of_app:
            text = f"the app has {of_app} of these under way, and {places.setting}_per_app is {places.of_app}"
            raise TooSoon(f"{text}: try again in a moment", retry_after_s=places.retry_after_s)
        if total >= places.in_all:
            text = f"the server has {total} of these under way, and {places.setting} is no more"
            raise LimitReached(f"{text}: try again in a moment", retry_after_s=places.retry_after_s)

    def _left(self, app_id: str) -> None:
        self._taken.remove(app_id)

    # ---- threads -----------------------------------------------------------------------------------------------------

    async def run(self, app_id: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call the function on a thread, when it is the app's turn, and return what it returns."""
        turn = _Turn(app_id, asyncio.get_running_loop().create_future())
        self._queue.put(turn, app_id=app_id, key=turn)
        self._give_turns()
        try:
            await turn.given
        except asyncio.CancelledError:
            if not turn.given.cancelled():  # given in the same moment
                self._end(app_id)
            raise
        work = asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        work.add_done_callback(lambda done: self._ended(app_id, done))
        # A thread cannot be cancelled: who waits leaves, and the turn ends with the work.
        return await asyncio.shield(work)

    def later(self, function: Callable[[], object]) -> None:
        """Call a function that takes no time to speak of, such as a close, on a thread, with nobody waiting for it."""
        self._executor.submit(function)

    async def stop(self, *, waits: bool = True) -> None:
        """End the threads, and wait for what runs; ``waits``: else nobody does, and each ends with what it runs."""
        await asyncio.to_thread(self._executor.shutdown, waits, cancel_futures=not waits)

    def _give_turns(self) -> None:
        while self._running.total() < self._threads and (turn := self._queue.take()) is not None:
            if turn.given.cancelled():
                continue
            if self._running[turn.app_id] >= self._threads_of_app:  # rule 2
                self._held.setdefault(turn.app_id, deque()).append(turn)
                continue
            self._running[turn.app_id] += 1
            turn.given.set_result(None)

    def _ended(self, app_id: str, done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()  # seen: whoever asked may have left
        self._end(app_id)

    def _end(self, app_id: str) -> None:
        self._running[app_id] -= 1
        if not self._running[app_id]:
            del self._running[app_id]
        if held := self._held.get(app_id):
            turn = held.popleft()
            if not held:
                del self._held[app_id]
            self._queue.put(turn, app_id=app_id, key=turn)
        self._give_turns()


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    app_id: str
    given: asyncio.Future[None]
