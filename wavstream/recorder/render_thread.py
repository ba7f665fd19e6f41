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

5. Folding holds the interpreter lock, so one thread folds (decision 6). LAME, nine tenths of the turn of an MP3
   recording, lets it go: such a turn is *handed over* to a helper, if there is one that is free, and the thread takes
   the next turn. Who is next is decided here alone, and there are as many helpers as other cores: none on one core.
6. A recording is in one turn at a time. What it is asked for while a helper has it waits for that turn to end, so its
   bytes are those of one thread. One that is listened to is folded here, as what its listeners hear is handed on here.
7. What is behind waits while many sessions are brought back (``hold_backlog``), also where it is due as a live call:
   folding what they had said before would keep the event loop from recording what they say now. The journals have it,
   so it only comes later.
8. Who records goes first: these threads run at a lower priority than the event loop and the journal's writer, where the
   system has priorities of threads (decision 35). The loop lets the interpreter lock go with each read of a socket, and
   a fold of the same priority took it each time for a while.

A fold that goes wrong is left as it is. What the disk refuses is tried again with the next turn. An error of ours stays
on the job, for whoever ends the recording.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

import structlog

from wavstream.errors import InternalError
from wavstream.recorder.render_job import RenderJob
from wavstream.turns.fair_queue import FairQueue

TURN_S = 0.02
"""Several times what two seconds of a stereo MP3 call take: a live call that is not behind is folded in one turn."""
TELL_S = 0.02
"""What the thread has for the loop waits for more so long, while more is coming: each waking of the loop costs both."""

MAX_HELPERS = 7
NICER = 5
"""By how much; a core that is full leaves them a quarter."""

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """Which tasks go first."""

    URGENT = 0
    DUE = 1
    BACKLOG = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    run: Callable[[], None]
    app_id: str
    priority: Priority
    key: Hashable
    job: RenderJob | None
    """What it works on."""
    is_fold: bool


def other_cores() -> int:
    """Return how many cores this process has beside the one that folds, at most ``MAX_HELPERS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MAX_HELPERS)


def _give_way() -> None:
    """Have this thread run behind those that record (rule 8)."""
    if sys.platform == "linux":  # elsewhere priorities are those of processes
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may refuse it: then all have one priority
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)


class RenderThread:
    """Folds render jobs in fair turns. Any thread may call ``fold``, ``fold_all`` and ``run``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        retry_s: float,
        turn_s: float = TURN_S,
        clock: Callable[[], float] = time.monotonic,
        helpers: int = 0,
    ) -> None:
        """Start the threads; a stopped recording whose disk refuses is tried again after ``retry_s``."""
        self.tell: Callable[[], None] = _nothing
        """Called on the thread for what ``tell_soon`` was called for."""
        self._loop = loop
        self._retry_s = retry_s
        self._turn_s = turn_s
        self._clock = clock
        self._queue: FairQueue[_Turn] = FairQueue(len(Priority))
        lock = threading.Lock()
        self._wake = threading.Condition(lock)
        self._handed_over = threading.Condition(lock)
        self._is_stopping = self._is_over = False
        self._given: deque[_Turn] = deque()
        """Turns that were handed over and that no helper has begun."""
        self._free_helpers = helpers
        self._away: dict[RenderJob, list[_Turn]] = {}
        """Jobs that helpers have, each with what it was asked for meanwhile (rule 6)."""
        self._backlog_from_s = 0.0
        """Until when what is behind waits (rule 7)."""
        self._untold_since_s: float | None = None
        self._due_since_s: dict[str, float] = {}
        """Since when each app has had live recordings waiting without a break."""
        self._thread = threading.Thread(target=self._take_turns, name="render", daemon=True)
        self._thread.start()
        self._helpers = [
            threading.Thread(target=self._help, name=f"encode-{number}", daemon=True) for number in range(helpers)
        ]
        for helper in self._helpers:
            helper.start()

    def fold(self, job: RenderJob, priority: Priority) -> None:
        """Fold what the job's journal has."""
        self.fold_all((job,), priority)

    def fold_all(self, jobs: Iterable[RenderJob], priority: Priority) -> None:
        """Fold what the journals of all these jobs have."""
        with self._wake:
            for job in jobs:
                fold = functools.partial(self._fold, job)
                self._enqueue(_Turn(fold, job.app_id, priority, key=job, job=job, is_fold=True))
            self._note_due()
            self._wake.notify()

    def fold_to_end(self, job: RenderJob) -> asyncio.Future[None]:
        """Fold up to the stop record, which is in the journal; the future raises what broke the fold.

        That is InternalError, and the job is not broken, where the record is not found: it can be called again.
        """
        folded: asyncio.Future[None] = self._loop.create_future()
        self._put_end(job, folded)
        return folded

    def run(self, task: Callable[[], None], priority: Priority, *, app_id: str, job: RenderJob | None = None) -> None:
        """Run a small task on the thread, in a turn of the app. One that raises is logged, and costs only itself.

        ``job``: what it works on, which is not folded meanwhile.
        """
        self._put(_Turn(task, app_id, priority, key=object(), job=job, is_fold=False))

    def hold_backlog(self, for_s: float) -> None:
        """Fold nothing that is behind for so long from now on (rule 7); 0: go on with it."""
        with self._wake:
            self._backlog_from_s = self._clock() + for_s if for_s else 0.0
            self._wake.notify()

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
        for thread in (self._thread, *self._helpers):
            await asyncio.to_thread(thread.join)

    def _put(self, turn: _Turn) -> None:
        with self._wake:
            self._enqueue(turn)
            self._note_due()
            self._wake.notify()

    @property
    def _held_s(self) -> float:
        """For how long what is behind has still to wait (rule 7)."""
        return max(0.0, self._backlog_from_s - self._clock()) if self._backlog_from_s else 0.0

    def _enqueue(self, turn: _Turn) -> None:
        is_behind = self._queue.priority_of(turn.key) == Priority.BACKLOG
        if is_behind and turn.priority is Priority.DUE and self._held_s:
            return  # rule 7
        self._queue.put(turn, app_id=turn.app_id, key=turn.key, priority=turn.priority)

    def _note_due(self) -> None:
        waiting = self._queue.apps(Priority.DUE)
        if waiting != self._due_since_s.keys():
            now_s = self._clock()
            self._due_since_s = {app_id: self._due_since_s.get(app_id, now_s) for app_id in waiting}

    def _put_end(self, job: RenderJob, folded: asyncio.Future[None]) -> None:
        task = functools.partial(self._fold_to_end, job, folded)
        self._put(_Turn(task, job.app_id, Priority.URGENT, key=job, job=job, is_fold=True))

    # ---- on the thread ---------------------------------------------------------------------------------------------

    def _take_turns(self) -> None:
        _give_way()
        while (turn := self._next()) is not None:
            _run(turn)
            since_s = self._untold_since_s
            if since_s is not None and (not self._queue or self._clock() - since_s >= TELL_S):
                self._untold_since_s = None
                self.tell()

    def _next(self) -> _Turn | None:
        """Return the next turn of this thread, after those that go to helpers; None: there is nothing more to do."""
        with self._wake:
            while True:
                held_s = self._held_s
                turn = self._queue.take(below=1 if self._is_stopping else Priority.BACKLOG if held_s else None)
                self._note_due()
                if turn is None:
                    if self._is_stopping and not self._away:
                        self._is_over = True
                        self._handed_over.notify_all()
                        return None
                    self._wake.wait(held_s if held_s and self._queue else None)
                elif turn.job in self._away:
                    self._away[turn.job].append(turn)
                elif self._free_helpers and turn.is_fold and turn.job is not None and turn.job.is_mostly_encoding:
                    self._free_helpers -= 1
                    self._away[turn.job] = []
                    self._given.append(turn)
                    self._handed_over.notify()
                else:
                    return turn

    # ---- on the helpers --------------------------------------------------------------------------------------------

    def _help(self) -> None:
        _give_way()
        while (turn := self._next_given()) is not None:
            _run(turn)
            assert turn.job is not None
            with self._wake:
                self._free_helpers += 1
                for asked in self._away.pop(turn.job):
                    self._enqueue(asked)
                self._note_due()
                self._wake.notify()

    def _next_given(self) -> _Turn | None:
        with self._handed_over:
            while not self._given:
                if self._is_over:
                    return None
                self._handed_over.wait()
            return self._given.popleft()

    # ---- a turn ----------------------------------------------------------------------------------------------------

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


def _run(turn: _Turn) -> None:
    try:
        turn.run()
    except Exception:
        log.exception("render_task_failed")


def _nothing() -> None:
    pass


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
