"""The thread that writes the log: whoever reads standard error may be slow, or have stopped; no call waits for that.

So many lines wait to be written. Those that find no room are dropped, and counted before the next one that does. At the
end of the process ``logging.shutdown`` waits for the last ones (``flush``), not for longer than ``FLUSH_S``.

The thread may hang in its write for good, so it holds nothing that the end of the process waits for: it is no handler
of logging's, whose lock ``logging.shutdown`` takes, and it writes to the descriptor, past the buffer of ``sys.stderr``,
whose lock and rest the interpreter looks for when it ends (SIGABRT for the one, exit code 120 for the other).
"""

from __future__ import annotations

import io
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from logging.handlers import QueueHandler
from typing import Any, TextIO

import structlog

MAX_LINES = 10_000
"""That wait to be written: some megabytes."""
FLUSH_S = 2.0

log = structlog.get_logger(__name__)


class LogQueue(QueueHandler):
    """Formats lines, where they are logged, and hands them to the thread."""

    queue: queue.Queue[Any]

    def __init__(self, stream: TextIO, formatter: logging.Formatter, *, max_lines: int = MAX_LINES) -> None:
        """Write to ``stream``; ``max_lines`` may wait for it."""
        super().__init__(queue.Queue(max_lines))
        self.setFormatter(formatter)
        self._lost = 0
        """Lines that found no room, since the last one that did."""
        threading.Thread(target=self._write_lines, args=(_write_to(stream),), name="log", daemon=True).start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand a line over, or drop it where too many wait; the handler's lock is held."""
        # Behind lines that were dropped one more is needed, which counts them.
        if self.queue.maxsize - self.queue.qsize() < (2 if self._lost else 1):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            log.warning("log_lines_lost", lines=lost)
        self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self.format(record) + "\n"

    def handleError(self, record: logging.LogRecord) -> None:
        """Write a record whose format and arguments do not fit, which the library would print over many lines."""
        if isinstance(record.msg, str) and record.args:
            args, record.args = record.args, None
            record.msg = f"{record.msg!r} with {args!r}"
            self.handle(record)

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Wait until what was handed over is written, or the time is over."""
        ends = time.monotonic() + timeout_s
        while self.queue.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.001)

    def _write_lines(self, write: Callable[[str], object]) -> None:
        while True:
            line = self.queue.get()
            try:
                write(line)
            except (OSError, ValueError):  # standard error is gone or full, and there is nobody to tell
                pass
            finally:
                self.queue.task_done()


def _write_to(stream: TextIO) -> Callable[[str], object]:
    """Return what writes a text to a stream: to its descriptor, where it has one."""
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:
        return stream.write
    return lambda text: _write_all(descriptor, text.encode(errors="backslashreplace"))


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:  # somebody else who has the same pipe or terminal set it so
            select.select([], [descriptor], [])
