"""The thread that folds: three lanes of small jobs.

- *urgent*: a recording has stopped and someone waits for its file;
- *due*: about once a second for every live recording;
- *backlog*: recordings that are behind (a recovery, a sender faster than real time), one slice at a time.

A job never takes longer than one slice, so an urgent one waits some milliseconds however much there is to catch up on.
One thread and not more: folding holds the interpreter lock, and with one there is nothing to lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from enum import IntEnum

import structlog

log = structlog.get_logger()


class Priority(IntEnum):
    """Which jobs go first."""

    URGENT = 0
    DUE = 1
    BACKLOG = 2


class RenderThread:
    """Runs jobs in the order of their lanes. A job must not raise; one that does is logged and costs itself only."""

    def __init__(self) -> None:
        self._lanes: tuple[deque[Callable[[], None]], ...] = tuple(deque() for _ in Priority)
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="render", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None], lane: Priority) -> None:
        """Queue a job; from any thread."""
        with self._wake:
            self._lanes[lane].append(job)
            self._wake.notify()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return sum(len(lane) for lane in self._lanes)

    def stop(self) -> None:
        """Run what is urgent, drop the rest (the journal has it), and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:
                log.exception("a render job failed")

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while True:
                for lane in self._lanes[:1] if self._stopping else self._lanes:
                    if lane:
                        return lane.popleft()
                if self._stopping:
                    return None
                self._wake.wait()
