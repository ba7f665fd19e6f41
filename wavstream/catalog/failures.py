"""What is wrong with the catalog when it fails, and who must act.

- *Locked*: another program (a backup, a ``sqlite3`` shell, a command line that hangs) has held the lock for longer than
  the busy timeout. It passes.
- *Damaged*: SQLite found what cannot be, or the file is gone, was replaced or overwritten. It does not pass: SQLite
  goes on with the old file, and what it commits there nobody finds again. Only a person can mend it, and the server
  must be stopped for that; until then calls go on into their journals, which the next start enters again.
- *Full*: the disk has no room for the log or its index. It passes, and what frees space is let through: ``Eraser``.
- *Read-only*: the disk takes no writes at all, since it is mounted so or the kernel made it so after an error.
- Anything else (an error of the disk) may pass.

SQLite reads a page once and then trusts its memory, so a file that was overwritten may answer for a while: the first
bytes are looked at beside it, by a descriptor that stays open. Another catalog that is written over the same file is
not found so: its first bytes are as they should be, and what else is in the file changes with each checkpoint. To close
another descriptor of the file would take SQLite's locks away with it (POSIX gives them to the process).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import structlog

from wavstream.errors import (
    NO_ROOM,
    CatalogDamaged,
    CatalogLocked,
    DependencyError,
    DiskFull,
    DiskReadOnly,
    DiskRefused,
)

_MAGIC = b"SQLite format 3\x00"
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})
_FULL_BYTES = 1 << 20
WHAT_TO_DO = (
    "stop the server, put a backup of the catalog in its place (or move it away: a new one is made, without apps and "
    "keys), and start again; calls go on meanwhile, and what is journaled is entered again then"
)

log = structlog.get_logger(__name__)


class CatalogFile:
    """The file that was opened, and whether it is still there. For any thread but the event loop's."""

    def __init__(self, path: Path) -> None:
        self.damage: str | None = None
        """What is wrong with it for good; None: nothing that is known of."""
        self._path = path
        self._fd: int | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Remember which file it is."""
        with self._lock:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Forget it, after SQLite has closed it."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def look(self) -> None:
        """Raise CatalogDamaged if it is not the file that was opened, or OSError."""
        with self._lock:
            if self._fd is not None and self.damage is None:
                opened = os.fstat(self._fd)
                try:
                    found = os.stat(self._path)
                except FileNotFoundError:
                    self._found(f"{self._path} was removed while the server runs")
                else:
                    if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
                        self._found(f"{self._path} was replaced while the server runs")
                    elif os.pread(self._fd, len(_MAGIC), 0) != _MAGIC:
                        self._found(f"{self._path} was overwritten: it is no database any more")
        if self.damage is not None:
            raise CatalogDamaged(self.damage)

    def failure(self, doing: str, error: Exception) -> DependencyError:
        """Return what to raise for an error of SQLite, its driver or the disk. Blocks: the disk may be asked.

        ``doing``: ``read`` or ``written``.
        """
        cause, code = _cause(error), _code(error)
        if code in _LOCKED:
            return CatalogLocked(
                f"the catalog could not be {doing}: {cause}; another program holds the lock of {self._path}: end it"
            )
        if code in _DAMAGED:
            self._found(f"{self._path}: {cause}")
            return CatalogDamaged(f"the catalog could not be {doing}: {cause}")
        if is_full(self._path, error):
            return DiskFull(f"the catalog could not be {doing}, the disk of {self._path} is full: free space on it")
        if code in _REFUSED and _is_read_only(self._path):
            return DiskReadOnly(f"the catalog could not be {doing}, the disk of {self._path} is read-only")
        if code in _REFUSED or isinstance(cause, OSError):
            return DiskRefused(f"the catalog could not be {doing}: {cause}")
        return DependencyError(f"the catalog could not be {doing}: {cause}")

    def _found(self, damage: str) -> None:
        if self.damage is None:
            log.error("catalog_damaged", damage=damage, to_do=WHAT_TO_DO)
            self.damage = damage


def is_full(path: Path, error: Exception) -> bool:
    """Return whether an error of the catalog at ``path`` came of a disk without room. Blocks.

    Where SQLite makes its index it says no more than that the disk fails, so the disk is asked.
    """
    cause, code = _cause(error), _code(error)
    if code == sqlite3.SQLITE_FULL or (isinstance(cause, OSError) and cause.errno in NO_ROOM):
        return True
    if code not in _REFUSED:
        return False
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _FULL_BYTES


def _is_read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def is_locked(error: Exception) -> bool:
    """Return whether a wait for another program's lock ran out."""
    return _code(error) in _LOCKED


def _code(error: Exception) -> int:
    code: int = getattr(_cause(error), "sqlite_errorcode", 0)
    return code & 0xFF  # the rest is SQLite's extended code


def _cause(error: Exception) -> Exception:
    """Return the driver's own error, which says less about the statement and more about what is wrong."""
    return getattr(error, "orig", None) or error
