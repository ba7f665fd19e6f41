"""The disk under the data folder: whether it is full, said once, and the file that keeps room for what frees some.

On a full disk calls go on (audio waits in memory, then with the peers), finished files are served, and recordings are
erased, by retention and by request. A start takes a part of the reserve file (``storage/reserve_file.py``), so that the
catalog can be opened, and goes on with what it has.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import structlog

from wavstream.sessions.admission import FULL_BYTES, DiskReserve
from wavstream.storage.reserve_file import ReserveFile

LOOK_S = 1.0
TO_DO = "delete other files on it, or make it larger; recordings that are due or are deleted make room too"

log = structlog.get_logger(__name__)


class DiskWatch:
    """Watches the disk of one data folder."""

    def __init__(self, root: Path, reserve_file: ReserveFile, *, looks_after: bool = True) -> None:
        """``looks_after``: whether this worker keeps the reserve file and tells of the disk, for all of them."""
        self._looks_after = looks_after
        self._root = root
        self._reserve_file = reserve_file
        self._is_full = False
        self._is_failing = False

    def look(self) -> None:
        """Keep room for what frees some; say once if there is none, or none is kept. Blocks."""
        if not self._looks_after:
            return
        try:
            free_bytes = self._look()
            if not self._is_full:
                self._reserve_file.make(free_bytes)
            self._is_failing = False
        except OSError as error:  # the journal, the spool and the catalog say what of it matters
            if not self._is_failing:
                log.warning("disk_reserve_not_made", error=str(error))
            self._is_failing = True

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)

    def _look(self) -> int:
        free_bytes = shutil.disk_usage(self._root).free
        if free_bytes < FULL_BYTES and not self._is_full:
            log.error("disk_full", folder=str(self._root), free_bytes=free_bytes, to_do=TO_DO)
        elif free_bytes >= FULL_BYTES and self._is_full:
            log.info("disk_has_room", folder=str(self._root), free_bytes=free_bytes)
        self._is_full = free_bytes < FULL_BYTES
        return free_bytes


def why_short(reserve: DiskReserve) -> str | None:
    """Return why no calls should be sent here, for want of a disk that takes them; None: there is room."""
    refusal = reserve.refusal()
    return refusal if refusal is None or reserve.read_only is not None else f"{refusal}: {TO_DO}"
