"""A file that only takes room, and gives it back when the disk is full: to free space takes space.

An erasure is a transaction of the catalog, which first writes its log; so is the start of the catalog, which makes its
log and its index. On a disk without any room neither can be done, and nothing would ever be deleted.

1. The file is made when there is plenty of room, and its blocks are allocated: where the filesystem takes that for a
   promise (a compressing one does not), so much is left when all else is used.
2. It is removed by whoever needs the room, and made again once there is plenty.

Every method touches the disk: not for the event loop.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

import structlog

RESERVE_BYTES = 8 << 20
"""Twice what the catalog's log holds before it is moved into the catalog."""
PLENTY = 4
"""How many times its size has to be free before it is made: to make it must not be what fills the disk."""

log = structlog.get_logger(__name__)


class ReserveFile:
    """One such file. Safe to use from any thread."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._lock = threading.Lock()

    def make(self, free_bytes: int) -> bool:
        """Make it, where it is missing and so much is free; return whether it is there. Raise OSError."""
        with self._lock:
            with suppress(FileNotFoundError):
                if os.stat(self._path).st_size == self._size_bytes:
                    return True
            if free_bytes < PLENTY * self._size_bytes:
                return False
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            except OSError as error:
                self._path.unlink(missing_ok=True)
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    return False
                raise
            finally:
                os.close(descriptor)
            return True

    def release(self, why: str) -> bool:
        """Give its room away, and say in the log ``why``; return whether there was any."""
        with self._lock:
            try:
                self._path.unlink()
            except OSError:
                return False
        log.warning("disk_reserve_released", size_bytes=self._size_bytes, why=why)
        return True
