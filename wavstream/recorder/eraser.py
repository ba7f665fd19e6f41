"""Erases recordings, whoever asks for it: the app that owns one, or its retention.

1. First the rows say so (``catalog/erasures.py``): from then on nobody is given the file, and no restart brings the
   recording back. Each step that follows may fail, or be ended by a crash: the row says that something is left, and the
   sweeper does it again.
   On a full disk the catalog has no room to say so. Then the file goes first, as long as nobody holds the recording,
   and where that does not make enough room the reserve file is given up, a part after the other. If the row cannot be
   written even then, the recording is there without its file until it can: who asked for it is told that it was not
   done, and retention does it again.
2. The file goes, with its sidecar and its copies.
3. Who has it open, or is about to tell of it, is broken off: downloads, listeners, the conversion to the other format,
   webhooks. In this order, since who opens it later finds no file.
4. Its part of the journal goes as soon as no other recording of the session needs the same segments: what is said in a
   call is there once, for all recordings of it. A recording that has not ended cannot be erased, so its spool file is
   gone by now.
5. A damaged journal that was set aside goes when no recording of its session is kept any more. One of which the catalog
   knows no recording, or of which nothing tells the session, goes when the server's retention has passed since then.
6. The catalog's log is emptied. Not for each recording: once for all that were erased meanwhile.
7. What was uploaded goes from its store too, behind all that is here: a store may be away for hours. Who uploads at
   this moment takes back what it has put (``catalog/erasures.py``, rule 4), and is waited for a little.
8. In a cluster a file that is not in a store yet lies at one node, and any may erase it: all are told, and each removes
   what it has. A node that is away then finds a file without a row that says available, at its next start.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasing, InStores
from wavstream.errors import DependencyError, DiskFull, NotYetRemoved, StoreError
from wavstream.journal.set_aside import SetAside
from wavstream.model.recording import Recording, Status
from wavstream.recorder.recorder import Recorder
from wavstream.storage.local import LocalStorage
from wavstream.storage.reserve_file import ReserveFile
from wavstream.storage.stores import FinishedFiles

log = structlog.get_logger(__name__)

T = TypeVar("T")

ROWS_AT_ONCE = 50
"""Erased in one transaction: some 50 ms, for which other writers wait."""
JOURNAL_WAIT_S = 5.0
STORE_WAIT_S = 15.0
"""How long an erasure waits for a store to delete; that is tried again."""
UPLOAD_WAIT_S = 2.0
UPLOAD_LOOK_S = 0.1
SCRUB_WAIT_S = 2.0
"""How long an erasure waits for the catalog's log to be emptied; that goes on behind it."""


class Eraser:
    """Erases what may be erased. Lives on the event loop."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        storage: LocalStorage,
        files: FinishedFiles,
        recorder: Recorder,
        set_aside: SetAside,
        kept: timedelta,
        reserve_file: ReserveFile | None = None,
    ) -> None:
        """Erase what is set aside too; ``kept``: for how long, where no recording tells it.

        ``reserve_file`` is released where the disk has no room to erase anything.
        """
        self._files = files
        self._reserve_file = reserve_file
        self._catalog = catalog
        self._storage = storage
        self._recorder = recorder
        self._set_aside = set_aside
        self._kept = kept
        self._ends: list[Callable[[str], Awaitable[None]]] = []
        self._scrubs: set[asyncio.Future[None]] = set()

    def on_removal(self, end: Callable[[str], Awaitable[None]]) -> None:
        """Call ``end`` from now on with the id of each recording whose file is removed: who reads it has to end."""
        self._ends.append(end)

    async def begin(self, doomed: Sequence[Recording], status: Status, *, by: str, now: datetime) -> set[str]:
        """Erase the rows of recordings that have ended; return the ids of those that nobody holds (rule 1).

        ``by`` is who asks for it. Raise DependencyError if the catalog fails.
        """
        erased: set[str] = set()
        for start in range(0, len(doomed), ROWS_AT_ONCE):
            some = doomed[start : start + ROWS_AT_ONCE]
            erased |= await self._begin(some, status, by=by, now=now)
        for recording in doomed:
            if recording.id in erased:
                if status is Status.EXPIRED:
                    log.info("recording_expired", recording_id=recording.id, app_id=recording.app_id)
                else:
                    log.info("recording_erased", recording_id=recording.id, app_id=recording.app_id, by=by)
        return erased

    async def _begin(self, some: Sequence[Recording], status: Status, *, by: str, now: datetime) -> set[str]:
        begin = functools.partial(self._catalog.erasures.begin, some, status, by=by, now=now)
        try:
            return await begin()
        except DiskFull:
            return await self._with_reserve(functools.partial(begin, make_room=self._make_room))

    async def _with_reserve(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._reserve_file is None:
            return await work()
        return await self._reserve_file.lend(work, why="recordings are erased on a full disk")

    def _make_room(self, recording: Recording) -> None:
        with suppress(DependencyError):  # what stays is removed later
            self._storage.delete(recording.object_key)

    async def remove(self, erased: Erasing, *, refusing: set[str] | None = None) -> None:
        """Remove what is left of a recording whose row is erased; raise NotYetRemoved if something stays.

        ``refusing``: stores that are not asked now, by their URLs; one that fails is added.
        """
        try:
            await self._remove(erased, set() if refusing is None else refusing)
        except DependencyError as error:
            raise NotYetRemoved(f"recording {erased.id} is erased, and something of it stays: {error}") from error

    async def _remove(self, erased: Erasing, refusing: set[str]) -> None:
        try:
            await asyncio.to_thread(self._storage.delete, erased.object_key)
        finally:
            for end in self._ends:
                await end(erased.id)
        self._recorder.release_failed(erased.id)
        await asyncio.wait((self._recorder.until_released(erased.id),), timeout=JOURNAL_WAIT_S)
        await self._remove_stored(erased, refusing)
        await self._with_reserve(lambda: self._catalog.erasures.finish([erased.id]))

    async def remove_here(self, recording_id: str) -> None:
        """Remove the file of a recording that another node erases, if it is on this node's disk (rule 8)."""
        left = await self._catalog.erasures.left_of(recording_id)
        if left is not None:
            await asyncio.to_thread(self._storage.delete, left.object_key)

    async def _remove_stored(self, erased: Erasing, refusing: set[str]) -> None:
        """Remove what stores have of it (rule 7); raise StoreError."""
        found = await self._in_stores(erased.id)
        if found.url is not None:
            if found.url in refusing:
                raise StoreError(f"{found.url}: it has just refused, and is asked again later")
            try:
                async with asyncio.timeout(STORE_WAIT_S):
                    await self._files.delete(found.url, erased.object_key)
            except TimeoutError:
                refusing.add(found.url)
                raise StoreError(f"{found.url}: it has not deleted within {STORE_WAIT_S:.0f} s") from None
            except StoreError:
                refusing.add(found.url)
                raise
        if found.is_uploading:
            raise StoreError("it was being uploaded, and what has been is taken back first")

    async def _in_stores(self, recording_id: str) -> InStores:
        """Return what stores have of it, once nobody uploads it any more or that takes too long."""
        give_up = asyncio.get_running_loop().time() + UPLOAD_WAIT_S
        while True:
            found = await self._catalog.erasures.in_stores(recording_id)
            if not found.is_uploading or asyncio.get_running_loop().time() >= give_up:
                return found
            await asyncio.sleep(UPLOAD_LOOK_S)

    async def remove_rest(self, recording: Recording) -> bool:
        """Remove what is left of an erased recording as ``remove`` does; return False if nothing is."""
        left = await self._catalog.erasures.left_of(recording.id)
        if left is None:
            return False
        await self.remove(left)
        return True

    async def remove_set_aside(self, now: datetime) -> None:
        """Remove what was set aside of journals of which no recording is kept (rule 5)."""
        try:
            files = await asyncio.to_thread(self._set_aside.files)
        except OSError as error:
            raise DependencyError(f"what was set aside of journals cannot be listed: {error.strerror}") from error
        doomed = []
        for each in files:
            is_over = None if each.session is None else await self._catalog.erasures.is_over(*each.session, now)
            if is_over or (is_over is None and each.since + self._kept <= now):
                doomed.append(each.name)
        if doomed:
            await asyncio.to_thread(self._set_aside.remove, doomed)
            log.info("set_aside_removed", files=doomed)

    async def end(self, now: datetime) -> None:
        """Do what there is to do once for all that were erased meanwhile (rules 5 and 6)."""
        await self.remove_set_aside(now)
        await self.scrub()

    async def scrub(self) -> None:
        """Take what was erased out of the catalog's log (rule 6)."""
        scrubbing = asyncio.ensure_future(self._catalog.database.scrub())
        self._scrubs.add(scrubbing)
        scrubbing.add_done_callback(self._scrubs.discard)
        await asyncio.wait((scrubbing,), timeout=SCRUB_WAIT_S)
