"""What should be gone and cannot be removed yet: tried again, ever more slowly, until it is.

Whoever removes something tries it once, and hands what the disk refused to here. Nothing waits for it, and nothing is
forgotten while the server runs; after a restart each room finds again what it left (the spool is emptied, journals that
nobody needs are deleted, erasures are in the catalog).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0

log = structlog.get_logger(__name__)


class Removals:
    """Removes in the calling thread, and again in one of its own where that failed. Safe to use from any thread."""

    def __init__(self, *, first_retry_s: float = FIRST_RETRY_S, last_retry_s: float = LAST_RETRY_S) -> None:
        self._first_retry_s = first_retry_s
        self._last_retry_s = last_retry_s
        self._refused: dict[str, Callable[[], object]] = {}
        """By what is removed; of two that are the same the later one counts."""
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How much could not be removed yet."""
        return len(self._refused)

    def remove(self, what: str, action: Callable[[], object]) -> bool:
        """Run ``action``, which raises OSError if ``what`` stays, and may be run again; return whether it is gone."""
        try:
            action()
        except OSError as error:
            log.error("removal_failed", what=what, error=str(error))
            self._try_again(what, action)
            return False
        with self._lock:
            self._refused.pop(what, None)
        return True

    def unlink(self, path: Path) -> bool:
        """Remove a file, if it is there; return whether it is gone."""
        return self.remove(str(path), lambda: path.unlink(missing_ok=True))

    def close(self) -> None:
        """Try nothing again."""
        self._is_closed.set()

    def _try_again(self, what: str, action: Callable[[], object]) -> None:
        with self._lock:
            self._refused[what] = action
            if self._thread is None and not self._is_closed.is_set():
                self._thread = threading.Thread(target=self._run, name="removals", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        due = {what: (time.monotonic() + self._first_retry_s, self._first_retry_s) for what in [*self._refused]}
        while True:
            with self._lock:
                refused = dict(self._refused)
                if not refused or self._is_closed.is_set():
                    self._thread = None
                    return
            now = time.monotonic()
            due = {what: due.get(what, (now + self._first_retry_s, self._first_retry_s)) for what in refused}
            for what, action in refused.items():
                at, wait_s = due[what]
                if at <= now and not self._again(what, action):
                    wait_s = min(wait_s * 2, self._last_retry_s)
                    due[what] = (time.monotonic() + wait_s, wait_s)
            self._is_closed.wait(self._first_retry_s)

    def _again(self, what: str, action: Callable[[], object]) -> bool:
        try:
            action()
        except OSError:
            return False
        with self._lock:
            if self._refused.get(what) is action:
                del self._refused[what]
        log.info("removal_done", what=what)
        return True
