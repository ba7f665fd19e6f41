"""The thread that folds: a queue of small tasks in three priorities.

- *urgent*: a recording has stopped and someone waits for its file;
- *due*: about every two seconds for each live recording;
- *backlog*: recordings that are behind (a recovery, a sender faster than real time), one slice at a time.

A task takes no longer than one slice, so an urgent one waits some milliseconds, however much there is to catch up on.
One thread and not more: folding holds the interpreter lock, and with one thread there is nothing to lock (decision 6).

A fold that goes wrong is left as it is. What the disk refuses is tried again with the next task. An error of ours stays
on the job, for whoever ends the recording.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum

import structlog

from wavstream.errors import InternalError
from wavstream.recorder.render_job import RenderJob

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """Which tasks go first."""

    URGENT = 0
    DUE = 1
    BACKLOG = 2


class RenderThread:
    """Folds render jobs in the order of their priorities. Any thread may call ``fold``, ``fold_all`` and ``run``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, retry_s: float) -> None:
        """Start the thread; a stopped recording whose disk refuses is tried again after ``retry_s``."""
        self._loop = loop
        self._retry_s = retry_s
        self._queues: tuple[deque[Callable[[], None]], ...] = tuple(deque() for _ in Priority)
        self._wake = threading.Condition()
        self._is_stopping = False
        self._due_since_s: float | None = None
        self._thread = threading.Thread(target=self._run_tasks, name="render", daemon=True)
        self._thread.start()

    def fold(self, job: RenderJob, priority: Priority) -> None:
        """Fold what the job's journal has."""
        self.run(functools.partial(self._fold, job), priority)

    def fold_all(self, jobs: Sequence[RenderJob], priority: Priority) -> None:
        """Fold what the journals of all these jobs have, in one task."""
        self.run(functools.partial(self._fold_all, jobs), priority)

    def fold_to_end(self, job: RenderJob) -> asyncio.Future[None]:
        """Fold up to the stop record, which is in the journal; the future raises what broke the fold."""
        folded: asyncio.Future[None] = self._loop.create_future()
        self.run(functools.partial(self._fold_to_end, job, folded), Priority.URGENT)
        return folded

    def run(self, task: Callable[[], None], priority: Priority) -> None:
        """Queue a small task. One that raises is logged, and costs only itself."""
        with self._wake:
            if priority is Priority.DUE and not self._queues[priority]:
                self._due_since_s = time.monotonic()
            self._queues[priority].append(task)
            self._wake.notify()

    @property
    def delay_s(self) -> float:
        """For how long live recordings have waited without a break; 0: none waits."""
        since_s = self._due_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def waiting(self) -> int:
        """Tasks that wait."""
        return sum(len(queue) for queue in self._queues)

    async def stop(self) -> None:
        """Run what is urgent, drop the rest (the journals have it), and end the thread."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    # ---- on the thread ---------------------------------------------------------------------------------------------

    def _run_tasks(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                log.exception("render_task_failed")

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while True:
                for queue in self._queues[:1] if self._is_stopping else self._queues:
                    if queue:
                        task = queue.popleft()
                        if not self._queues[Priority.DUE]:
                            self._due_since_s = None
                        return task
                if self._is_stopping:
                    return None
                self._wake.wait()

    def _fold_all(self, jobs: Sequence[RenderJob]) -> None:
        for job in jobs:
            self._fold(job)

    def _fold(self, job: RenderJob) -> None:
        if job.broken is None and self._fold_slice(job):
            self.fold(job, Priority.BACKLOG)
        end = job.take_automatic_end()
        if end is not None:
            self._loop.call_soon_threadsafe(job.on_automatic_end, end)

    def _fold_to_end(self, job: RenderJob, folded: asyncio.Future[None]) -> None:
        again = functools.partial(self._fold_to_end, job, folded)
        job.awaits_stop = True
        more = job.broken is None and self._fold_slice(job)
        if job.broken is not None:
            self._loop.call_soon_threadsafe(_fail, folded, job.broken)
        elif job.is_complete:
            self._loop.call_soon_threadsafe(_resolve, folded)
        elif self._is_stopping:
            return  # who waits is cancelled, and the journal has the stop
        elif more:
            self.run(again, Priority.URGENT)
        elif job.stuck is not None:
            later = functools.partial(self._loop.call_later, self._retry_s, self.run, again, Priority.URGENT)
            self._loop.call_soon_threadsafe(later)
        else:
            missing = InternalError("the journal has no stop record where one was written")
            self._loop.call_soon_threadsafe(_fail, folded, missing)

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


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
