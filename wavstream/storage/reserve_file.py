"""A file that only takes room, and gives it back when the disk is full: to free space takes space.

An erasure is a transaction of the catalog, which first writes its log; so is the start of the catalog, which makes its
log and its index, and so is taking a key away. On a disk without any room none can be done, and nothing would ever be
deleted.

1. The file is made when there is plenty of room, and its blocks are allocated: where the filesystem takes that for a
   promise (a compressing one does not), so much is left when all else is used.
2. Whoever needs room takes a part of it, and as many as it takes. Once there is plenty of room it is whole again.
3. Only a plain file with this name alone is ours. A link leads to somebody else's file, which is not ours to cut or to
   fill; a FIFO hangs whoever opens it. What is odd is left alone, and then nothing is kept for a full disk.

Every method but ``lend`` touches the disk: not for the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from wavstream.errors import NO_ROOM, DiskFull

PART_BYTES = 2 << 20
"""Enough to open the catalog, or to erase fifty recordings."""
RESERVE_BYTES = 4 * PART_BYTES
PLENTY = 4
"""How many times what is missing has to be free before it is made: to make it must not be what fills the disk."""
_ODD = (errno.ELOOP, errno.ENXIO, errno.EISDIR)
"""What opening a link, a FIFO without a reader or a socket, and a folder is answered with."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class ReserveFile:
    """One such file. Safe to use from any thread."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES, part_bytes: int = PART_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._part_bytes = part_bytes
        self._lock = threading.Lock()

    def make(self, free_bytes: int) -> bool:
        """Make it whole, where something is missing and enough is free; return whether it is. Raise OSError."""
        with self._lock:
            there_bytes = self._there()
            missing_bytes = self._size_bytes - there_bytes
            if missing_bytes <= 0 or free_bytes < PLENTY * missing_bytes:
                return missing_bytes <= 0
            descriptor = self._open(os.O_CREAT)
            try:
                os.posix_fallocate(descriptor, there_bytes, missing_bytes)
            except OSError as error:
                os.ftruncate(descriptor, there_bytes)
                if error.errno in NO_ROOM:
                    return False
                raise
            finally:
                os.close(descriptor)
            return True

    def release(self, why: str) -> bool:
        """Give a part of its room away, and say in the log ``why``; return whether there was any."""
        with self._lock:
            try:
                there_bytes = self._there()
                left_bytes = max(0, there_bytes - self._part_bytes)
                if there_bytes:
                    descriptor = self._open()
                    try:
                        os.ftruncate(descriptor, left_bytes)
                    finally:
                        os.close(descriptor)
            except OSError:
                return False
        if there_bytes:
            log.warning("disk_reserve_released", why=why, left_bytes=left_bytes)
        return there_bytes > 0

    async def lend(self, work: Callable[[], Awaitable[T]], *, why: str) -> T:
        """Return what ``work`` returns, tried again with a part of the room for as long as it raises DiskFull.

        For the event loop.
        """
        while True:
            try:
                return await work()
            except DiskFull:
                if not await asyncio.to_thread(self.release, why):
                    raise

    def _there(self) -> int:
        """Return how many bytes it has; raise OSError if it is not ours (rule 3)."""
        with suppress(FileNotFoundError):
            return self._ours(os.lstat(self._path)).st_size
        return 0

    def _open(self, flags: int = 0) -> int:
        # What it is was looked at before, and may be another since.
        flags |= os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise self._odd() if error.errno in _ODD else error from error
        try:
            self._ours(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _ours(self, found: os.stat_result) -> os.stat_result:
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise self._odd()
        return found

    def _odd(self) -> OSError:
        return OSError(
            f"{self._path} is a link, a folder or something else than the plain file that keeps room for a full disk: "
            "it is left alone, and no room is kept until it is moved away"
        )
