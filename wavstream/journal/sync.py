"""The thread that syncs written journals to the disk once a second, so that no write waits for it.

On Linux one ``syncfs`` call covers every journal of the folder: for 500 of them it took 50 ms where an fsync of each
took 120 to 170 ms. Elsewhere each file is synced in turn.

A sync that fails says so once, and what it covered may be lost: Linux marks the pages as clean, drops them when it
likes, and the next sync of the same files succeeds. So it is never simply repeated:

1. Until a sync has succeeded, what was written is kept in memory, at most ``keep_bytes`` of it. It is not read back
   from the file: what the file has then is what the disk has lost, or soon will have.
2. When one fails, everything that is kept is written again, by the writer, to a new segment of each journal.
3. A sync that goes on failing is tried more seldom, every 4 s in the end: each try writes all of it again.
4. While syncs succeed, one comes early where ``EARLY_BYTES`` wait for it: what comes faster than anybody speaks is not
   kept for a second.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from wavstream.journal.journal import Journal

Flush = Callable[[Path, Iterable[Path]], None]
"""Takes a folder and its written files; on return they are on the disk. Raises OSError."""

Written = tuple[int, bytes, bool]
"""A batch: number, payload, and whether it holds an event."""

KEEP_BYTES = 64 * 1024 * 1024
"""Two seconds of 2,000 legs of 8 kHz L16: what comes between two syncs, and while one lasts."""
EARLY_BYTES = 8 * 1024 * 1024
"""Half a second of 1,000 legs of 8 kHz L16. Four streams that send 10 MB each as fast as they can had 40 MB kept."""
_LAST_RETRY_S = 4.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Unsynced:
    """What was written since a sync began, in order, with the journal of each."""

    batches: list[tuple[Journal, Written]] = field(default_factory=list)
    kept_bytes: int = 0
    given_up_bytes: int = 0
    """Of batches that are not kept, since there were too many."""
    files: set[Path] = field(default_factory=set)


class FolderSync:
    """The thread that syncs one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        interval_s: float,
        write_again: Callable[[Unsynced], None],
        flush: Flush | None = None,
        keep_bytes: int = KEEP_BYTES,
        early_bytes: int = EARLY_BYTES,
    ) -> None:
        """Prepare to sync; ``write_again`` is called, in this thread, with what a sync that failed has covered."""
        self.failing: OSError | None = None
        """Why the last attempt failed; None: it did not."""
        self._folder = folder
        self._interval_s = interval_s
        self._write_again = write_again
        self._flush = flush or system_flush()
        self._keep_bytes = keep_bytes
        self._early_bytes = early_bytes
        self._unsynced = Unsynced()
        self._kept_bytes = 0
        """In memory: also what a sync covers that runs."""
        self._lock = threading.Lock()
        self._is_stopping = False
        self._wake = threading.Event()
        """Set where the next sync is not to wait for its time."""
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def written(self, path: Path, journal: Journal, batch: Written) -> None:
        """Note that a batch was written. May be called in any thread."""
        with self._lock:
            unsynced, size_bytes = self._unsynced, len(batch[1])
            unsynced.files.add(path)
            if self._kept_bytes + size_bytes > self._keep_bytes:  # rule 1
                unsynced.given_up_bytes += size_bytes
            else:
                unsynced.batches.append((journal, batch))
                unsynced.kept_bytes += size_bytes
                self._kept_bytes += size_bytes
            is_early = unsynced.kept_bytes + unsynced.given_up_bytes >= self._early_bytes
        if is_early and self.failing is None:  # rule 4
            self._wake.set()

    def touched(self, path: Path) -> None:
        """Note that a file holds again what was written before. May be called in any thread."""
        with self._lock:
            self._unsynced.files.add(path)

    def stop(self, *, timeout_s: float) -> None:
        """Sync what is left and end the thread; return after the timeout even if the disk hangs."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Let go of the file system, in this thread and not wherever it is collected; a later sync is of each file."""
        self._flush = flush_each

    def sync(self) -> None:
        """Sync what was written since the last one."""
        with self._lock:
            covered, self._unsynced = self._unsynced, Unsynced()
        if not covered.files:
            return
        try:
            self._flush(self._folder, covered.files)
        except OSError as error:
            if self.failing is None or covered.given_up_bytes:
                log.error(
                    "journal_sync_failing",
                    folder=str(self._folder),
                    error=str(error),
                    not_kept_bytes=covered.given_up_bytes,
                )
            self.failing = error
            with self._lock:
                self._kept_bytes -= covered.kept_bytes
            self._write_again(covered)  # rule 2
        else:
            with self._lock:
                self._kept_bytes -= covered.kept_bytes
            if self.failing is not None:
                log.info("journal_sync_recovered", folder=str(self._folder))
            self.failing = None

    def _run(self) -> None:
        wait_s = self._interval_s
        while True:
            self._wake.wait(wait_s)
            self._wake.clear()
            if self._is_stopping:
                break
            self.sync()
            wait_s = self._interval_s if self.failing is None else min(wait_s * 2, _LAST_RETRY_S)  # rule 3
        self.sync()


class FileSystemSync:
    """``syncfs`` of a folder's file system, through one descriptor.

    Linux tells an error to those who had the file system open when it came, and to one who opens it later.
    """

    def __init__(self, syncfs: Callable[[int], int]) -> None:
        self._syncfs = syncfs
        self._fd: int | None = None

    def __call__(self, folder: Path, _: Iterable[Path]) -> None:
        """Sync the file system; raise OSError."""
        if self._fd is None:
            self._fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        if self._syncfs(self._fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))

    def __del__(self) -> None:
        """Close the descriptor."""
        if self._fd is not None:
            os.close(self._fd)


def system_flush() -> Flush:
    """Return ``syncfs`` where the system has it, else ``flush_each``."""
    try:
        return FileSystemSync(ctypes.CDLL(None, use_errno=True).syncfs)
    except (OSError, AttributeError):
        return flush_each


def flush_each(folder: Path, files: Iterable[Path]) -> None:
    """Sync each file, then the folder, so that new names are on the disk too."""
    for path in [*files, folder]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # deleted since
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
