"""The thread that folds, in turns of some milliseconds.

1. A stop goes first (*urgent*: someone waits for its file), then live calls (*due*: each about every two seconds), then
   what is behind (*backlog*: a recovery, a sender faster than real time). But no priority starves another: of four
   turns one is for live calls that wait, however many stops there are, and of sixteen one for what is behind. So an app
   that stops all its calls at once does not hold up another's.
2. Within a priority apps take turns, and then the recordings of an app. So the recordings of one app cost another at
   most every second turn, however many they are (``turns.fair_queue`` has the rules).
3. A recording waits at most once. What it is asked for while it waits is done in that turn.
4. A turn folds slices of the journal until ``TURN_S`` has passed; what is left then is behind. A slice is small, so a
   turn is at most a slice longer than that. (What comes between two clock records is one piece of work, however much
   it is: how much that can be is bounded where streams are read.) A stop waits for as many turns as there are apps
   with stops, and a third.

One thread and not more: folding holds the interpreter lock, and with one thread there is nothing to lock (decision 6).

A fold that goes wrong is left as it is. What the disk refuses is tried again with the next turn. An error of ours stays
on the job, for whoever ends the recording.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from enum import IntEnum

import structlog

from wavstream.errors import InternalError
from wavstream.recorder.render_job import RenderJob
from wavstream.turns.fair_queue import FairQueue

TURN_S = 0.02
"""Several times what two seconds of a stereo MP3 call take: a live call that is not behind is folded in one turn."""
TELL_S = 0.02
"""What the thread has for the loop waits for more so long, while more is coming: each waking of the loop costs both."""

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """Which tasks go first."""

    URGENT = 0
    DUE = 1
    BACKLOG = 2


class RenderThread:
    """Folds render jobs in fair turns. Any thread may call ``fold``, ``fold_all`` and ``run``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        retry_s: float,
        turn_s: float = TURN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread; a stopped recording whose disk refuses is tried again after ``retry_s``."""
        self.tell: Callable[[], None] = _nothing
        """Called on the thread for what ``tell_soon`` was called for."""
        self._loop = loop
        self._retry_s = retry_s
        self._turn_s = turn_s
        self._clock = clock
        self._queue: FairQueue[Callable[[], None]] = FairQueue(len(Priority))
        self._wake = threading.Condition()
        self._is_stopping = False
        self._untold_since_s: float | None = None
        self._due_since_s: dict[str, float] = {}
        """Since when each app has had live recordings waiting without a break."""
        self._thread = threading.Thread(target=self._take_turns, name="render", daemon=True)
        self._thread.start()

    def fold(self, job: RenderJob, priority: Priority) -> None:
        """Fold what the job's journal has."""
        self.fold_all((job,), priority)

    def fold_all(self, jobs: Iterable[RenderJob], priority: Priority) -> None:
        """Fold what the journals of all these jobs have."""
        with self._wake:
            for job in jobs:
                fold = functools.partial(self._fold, job)
                self._queue.put(fold, app_id=job.app_id, key=job, priority=priority)
            self._note_due()
            self._wake.notify()

    def fold_to_end(self, job: RenderJob) -> asyncio.Future[None]:
        """Fold up to the stop record, which is in the journal; the future raises what broke the fold.

        That is InternalError, and the job is not broken, where the record is not found: it can be called again.
        """
        folded: asyncio.Future[None] = self._loop.create_future()
        self._put_end(job, folded)
        return folded

    def run(self, task: Callable[[], None], priority: Priority, *, app_id: str) -> None:
        """Run a small task, in a turn of the app. One that raises is logged, and costs only itself."""
        self._put(task, priority, app_id=app_id, key=object())

    def tell_soon(self) -> None:
        """Call ``tell`` once nothing waits, or in a moment; for a task that runs on the thread."""
        if self._untold_since_s is None:
            self._untold_since_s = self._clock()

    @property
    def delays_s(self) -> dict[str, float]:
        """For how long each app has had live recordings waiting without a break; apps that have none are not in it."""
        with self._wake:
            now_s = self._clock()
            return {app_id: now_s - since_s for app_id, since_s in self._due_since_s.items()}

    @property
    def waiting(self) -> int:
        """Recordings and small tasks that wait for a turn."""
        return len(self._queue)

    async def stop(self) -> None:
        """Run what is urgent, drop the rest (the journals have it), and end the thread."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _put(self, task: Callable[[], None], priority: Priority, *, app_id: str, key: Hashable) -> None:
        with self._wake:
            self._queue.put(task, app_id=app_id, key=key, priority=priority)
            self._note_due()
            self._wake.notify()

    def _note_due(self) -> None:
        waiting = self._queue.apps(Priority.DUE)
        if waiting != self._due_since_s.keys():
            now_s = self._clock()
            self._due_since_s = {app_id: self._due_since_s.get(app_id, now_s) for app_id in waiting}

    def _put_end(self, job: RenderJob, folded: asyncio.Future[None]) -> None:
        task = functools.partial(self._fold_to_end, job, folded)
        self._put(task, Priority.URGENT, app_id=job.app_id, key=job)

    # ---- on the thread ---------------------------------------------------------------------------------------------

    def _take_turns(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                log.exception("render_task_failed")
            since_s = self._untold_since_s
            if since_s is not None and (not self._queue or self._clock() - since_s >= TELL_S):
                self._untold_since_s = None
                self.tell()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while True:
                task = self._queue.take(only=Priority.URGENT if self._is_stopping else None)
                self._note_due()
                if task is not None or self._is_stopping:
                    return task
                self._wake.wait()

    def _fold(self, job: RenderJob) -> None:
        if job.broken is None and self._fold_turn(job):
            self.fold(job, Priority.BACKLOG)
        end = job.take_automatic_end()
        if end is not None:
            self._loop.call_soon_threadsafe(job.on_automatic_end, end)

    def _fold_to_end(self, job: RenderJob, folded: asyncio.Future[None]) -> None:
        job.awaits_stop = True
        more = job.broken is None and self._fold_turn(job)
        if job.broken is not None:
            self._loop.call_soon_threadsafe(_fail, folded, job.broken)
        elif job.is_complete:
            self._loop.call_soon_threadsafe(_resolve, folded)
        elif self._is_stopping:
            return  # who waits is cancelled, and the journal has the stop
        elif more:
            self._put_end(job, folded)
        elif job.stuck is not None:
            later = functools.partial(self._loop.call_later, self._retry_s, self._put_end, job, folded)
            self._loop.call_soon_threadsafe(later)
        else:
            missing = InternalError("the journal has no stop record where one was written")
            self._loop.call_soon_threadsafe(_fail, folded, missing)

    def _fold_turn(self, job: RenderJob) -> bool:
        """Fold slices for one turn (rule 4); return True if there is more."""
        end_s = self._clock() + self._turn_s
        while more := self._fold_slice(job):
            if self._clock() >= end_s:
                break
        return more

    def _fold_slice(self, job: RenderJob) -> bool:
        """Fold one slice; return True if there is more. What goes wrong is noted on the job."""
        try:
            more = job.advance()
        except OSError as error:
            if job.stuck is None:
                log.warning("spool_write_failed", recording_id=job.recording_id, error=str(error))
            job.stuck = error
            return False
        except Exception as error:  # noqa: BLE001 - who ends it logs it; a fold that failed half-way must not go on
            job.broken = error
            return False
        job.stuck = None
        for remark in job.take_remarks():
            log.warning("stream_irregular", recording_id=job.recording_id, session_id=job.session_id, remark=remark)
        return more


def _nothing() -> None:
    pass


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
