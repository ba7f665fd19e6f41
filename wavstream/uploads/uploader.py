"""Uploads what is finished, behind everything else (docs/decisions/0026). Lives on the event loop of one worker.

1. What is to be uploaded is in the catalog alone. Here are only the tries that run. Whatever ends the process, the row
   is there at the next start, and is tried again: to the same key, and not sent again where it is there already.
2. Before anything is put, the row says where (``note_try``). Sidecar and waveform go first, then the file; then one
   transaction says where it lies and announces it, and only then what is here goes.
3. A recording that was erased meanwhile is taken back from every store that may have something of it, and one that lies
   in a store now from every other one; tried until they let it go, and then its row is forgotten.
4. No store is given anything before its marker says that it is ours (``storage/probe.py``). At the start that may be
   unknown still: the store may have been away.
5. On a full disk an upload is what makes room, and its rows need some: they take it from the reserve file.
6. A file that is not here is looked for in the stores: the row may be older than the upload, as in a catalog that was
   restored. What is nowhere is tried ever more seldom: it may be made again, or put back.
7. What a process that was ended left here of files that had gone is removed by the next, and what was made here of a
   recording that another node then took, once the store says that it has them. A file that is here and that the store
   has lost was put back: it is uploaded again.
8. A recording that was recovered may be older than what the store has of it: the machine, or catalog and journals, were
   put back to an earlier moment. What has ended by itself is the truth then, and is not written over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.uploads import Upload, UploadBacklog
from wavstream.errors import DependencyError, StoreError
from wavstream.metrics import Histogram
from wavstream.model.fact import Fact
from wavstream.model.recording import EndReason, Recording, Status, StoredObject
from wavstream.storage.contents import find_object, is_another_of, is_there
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.probe import claim
from wavstream.storage.reserve_file import ReserveFile
from wavstream.storage.stores import Stores
from wavstream.uploads.objects import beside, file_attributes, keys_of, put_late, remove_left_copies
from wavstream.uploads.schedule import Schedule

log = structlog.get_logger(__name__)

RESCAN_S = 10.0
"""How often the catalog is looked through for what nobody told of: rows of another process, due moments that moved."""
_COUNT_EVERY_S = 1.0
_CATALOG_WAIT_S = 1.0
"""How long all wait after the catalog has failed."""
UPLOAD_BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0, 86_400.0)

T = TypeVar("T")


@dataclass(slots=True)
class UploadCounts:
    """What became of tries since the start."""

    stored: int = 0
    stored_bytes: int = 0
    in_backup: int = 0
    """Of those that were stored."""
    failed: int = 0
    """Tries."""
    taken_back: int = 0
    """Recordings of which something was deleted where it does not belong, most of them erased meanwhile."""
    times: Histogram = field(default_factory=lambda: Histogram(UPLOAD_BOUNDS_S), compare=False)
    """Seconds since a recording's stop until a store has it."""


class Uploader:
    """Uploads for as long as the server runs."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        local: LocalStorage,
        stores: Stores,
        schedule: Schedule,
        at_once: int,
        facts_of: Callable[[Recording], Sequence[Fact]],
        reserve_file: ReserveFile,
        now: Callable[[], datetime],
        on_stored: Callable[[], None] | None = None,
        on_in_store: Callable[[str], None] = lambda _recording_id: None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` gives the server's time; ``facts_of`` what is announced of an uploaded recording.

        ``on_stored``: a program is to be run for each file, and this is called when there is one more. ``on_in_store``
        is told each recording whose file a store has.
        """
        self._catalog = catalog
        self._uploads = catalog.uploads
        self._local = local
        self._stores = stores
        self._schedule = schedule
        self._at_once = at_once
        self._facts_of = facts_of
        self._reserve_file = reserve_file
        self._now = now
        self._on_stored = on_stored
        self._on_in_store = on_in_store
        self._clock_s = clock_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._claimed: set[str] = set()
        self._installation: str | None = None
        self._look_at_s = 0.0
        self._is_held_up = False
        """Whether something is due that waits for a store alone."""
        self._counted_at_s: float | None = None
        self._is_catalog_failing = False
        self.are_copies_removed = self._is_copies_failure_told = False
        """The first: whether nothing is left here of files that are in a store, as far as is known (rule 7)."""
        self._copies_at_s = 0.0
        self.counts = UploadCounts()
        self.backlog = UploadBacklog()
        """What waited when it was last counted, at most ``RESCAN_S`` ago."""

    def start(self) -> None:
        """Upload what was left and what comes."""
        self._catalog.recordings.on_queued(self.wake)
        self._loop = asyncio.create_task(self._run(), name="uploads")

    def wake(self) -> None:
        """Look into the catalog: there may be one more."""
        self._woken.set()

    async def recording_removed(self, recording_id: str) -> None:
        """Take back at once what may have been put of a recording that is erased (rule 3)."""
        with suppress(DependencyError):  # it is due by itself, later
            await self._uploads.hasten(recording_id)
        self.wake()

    async def stop(self) -> None:
        """Break off what runs; the next start does it again."""
        tasks = [*self._running.values(), *([self._loop] if self._loop is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def failing(self) -> list[str]:
        """The stores that take nothing now, by their URLs."""
        return [url for url, door in self._schedule.doors.items() if not door.is_open]

    # ---- what to do next ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            wait_s = RESCAN_S
            await self._remove_left_copies()
            try:
                await self._begin_tries()
                wait_s = await self._wait_s()
                await self._count()
                self._is_catalog_failing = False
            except DependencyError as error:
                self._catalog_failed(error)
                wait_s = _CATALOG_WAIT_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):  # not ``wait_for``, which forgets that it was cancelled
                    await self._woken.wait()

    async def _remove_left_copies(self) -> None:
        """Remove what was left here, until that has succeeded (rule 7)."""
        if self.are_copies_removed or self._clock_s() < self._copies_at_s:
            return
        self._copies_at_s = self._clock_s() + RESCAN_S
        try:
            if removed := await remove_left_copies(self._local, self._uploads, self._stores):
                log.info("uploaded_copies_removed", files=removed)
            self.are_copies_removed = True
        except (DependencyError, OSError) as error:
            if not self._is_copies_failure_told:
                log.warning("uploaded_copies_not_removed", error=str(error))
            self._is_copies_failure_told = True

    async def _begin_tries(self) -> None:
        free = self._at_once - len(self._running)
        if free <= 0 or self._clock_s() < self._look_at_s:
            return
        now = self._now()
        self._is_held_up = False
        for upload in await self._uploads.due(now, self._at_once + len(self._running)):
            if upload.recording_id in self._running:
                continue
            if len(self._running) >= self._at_once:
                return
            urls = self._schedule.stores_for(upload, now, self._clock_s())
            if not urls:
                self._is_held_up = True
                continue
            for url in urls:
                self._schedule.doors[url].begin()
            self._running[upload.recording_id] = asyncio.create_task(
                self._try(upload, urls), name=f"upload of {upload.recording_id}"
            )

    async def _wait_s(self) -> float:
        """Return how long there is nothing to do, if nobody wakes it."""
        if (pause_s := self._look_at_s - self._clock_s()) > 0:
            return pause_s
        waits = [RESCAN_S]
        if (next_at := await self._uploads.next_due(self._now())) is not None:
            waits.append(max((next_at - self._now()).total_seconds(), 0.0))
        if self._is_held_up and (probe_s := self._schedule.probe_wait_s(self._clock_s())) is not None:
            waits.append(probe_s)
        return min(waits)

    async def _count(self) -> None:
        now_s = self._clock_s()
        if self._counted_at_s is None or now_s - self._counted_at_s >= _COUNT_EVERY_S:
            self.backlog = await self._uploads.backlog()
            self._counted_at_s = now_s

    def _catalog_failed(self, error: DependencyError) -> None:
        if not self._is_catalog_failing:
            log.warning("uploads_catalog_failed", error=str(error))
        self._is_catalog_failing = True
        self._look_at_s = self._clock_s() + _CATALOG_WAIT_S

    # ---- one try -----------------------------------------------------------------------------------------------

    async def _try(self, upload: Upload, urls: tuple[str, ...]) -> None:
        try:
            try:
                await self._do(upload, urls)
            except (StoreError, OSError) as error:
                await self._failed(upload, error)
            except DependencyError:
                raise
            except Exception as error:  # ours: one file's fault must not keep the others here
                log.exception("upload_handling_failed", recording_id=upload.recording_id)
                await self._failed(upload, error)
        except DependencyError as error:  # of the catalog: the row stays as it is
            self._catalog_failed(error)
        finally:
            for url in urls:
                self._schedule.doors[url].end()
            del self._running[upload.recording_id]
            self._woken.set()

    async def _do(self, upload: Upload, urls: tuple[str, ...]) -> None:
        row = await self._catalog.recordings.get(upload.recording_id)
        if row is not None and row.status is Status.AVAILABLE and row.stored is None:
            await self._upload(upload, row, urls)
        else:
            await self._settle(upload, row)

    async def _settle(self, upload: Upload, row: Recording | None) -> None:
        """Deal with what is not to be uploaded any more (rule 3)."""
        if row is None or row.status.is_erased:
            await self._take_back(upload, upload.tried)
        elif row.status is not Status.AVAILABLE:
            log.warning("upload_given_up", recording_id=row.id, status=row.status)
            await self._uploads.forget(row.id)
        elif row.stored is not None:  # else another node has it now
            await self._let_go(row)
            await self._take_back(upload, [url for url in upload.tried if url != row.stored.url])

    async def _upload(self, upload: Upload, row: Recording, urls: tuple[str, ...]) -> None:
        failure: StoreError | None = None
        for url in urls:
            try:
                if (ended := await self._ended_before(self._stores[url], upload, row)) is not None:
                    row, upload = ended, replace(upload, tried=(*upload.tried, url))
                etag = await self._put(self._stores[url], upload, row)
            except StoreError as error:
                self._store_failed(url, error)
                failure = error
                continue
            except FileNotFoundError as error:
                await self._find(upload, row, error)
                return
            await self._store_succeeded(url)
            await self._finish(upload, row, url, etag)
            return
        assert failure is not None
        raise failure

    async def _put(self, store: ObjectStore, upload: Upload, row: Recording) -> str | None:
        """Put what there is of the recording, and return the ETag of its file (rule 2)."""
        await self._claim(store)
        if store.url in upload.tried and is_there(row, found := await store.head(row.object_key)):
            assert found is not None
            return found.etag
        path = self._local.path(row.object_key)
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        if row.receipt is not None and size_bytes != row.receipt.size_bytes:
            raise OSError(f"{path} has {size_bytes} bytes and not {row.receipt.size_bytes}: restore it")
        await self._write(lambda: self._uploads.note_try(upload, store.url))
        for key, source, attributes in await asyncio.to_thread(lambda: [*beside(self._local, row.object_key)]):
            with suppress(FileNotFoundError):  # of a recording that is being erased
                # Unchecked: what is lost of them can be made again, and a request less is a tenth of an upload's CPU.
                await store.put(key, source, attributes=attributes, is_checked=False)
        return await store.put(row.object_key, path, attributes=file_attributes(row))

    async def _ended_before(self, store: ObjectStore, upload: Upload, row: Recording) -> Recording | None:
        """Return a recovered recording as the store has it, written over the row; None: that has none (rule 8)."""
        if row.end_reason is not EndReason.RECOVERED or store.url in upload.tried:
            return None
        if not is_another_of(row, await store.head(row.object_key)):
            return None
        ended = await find_object([store], row)
        if ended is None:
            raise OSError(
                f"{store.url} has another file of the recording at {row.object_key}, and no sidecar that tells of it: "
                "move that away, and this one is uploaded"
            )
        log.warning("recording_found_in_store", recording_id=row.id, row=row.status, store=store.url)
        await self._write(lambda: self._uploads.note_try(upload, store.url))
        await self._write(lambda: self._catalog.recordings.save(replace(ended, stored=None)))
        return ended

    async def _finish(self, upload: Upload, row: Recording, url: str, etag: str | None) -> None:
        """Say where the file lies, then remove it here; take it back if the recording was erased meanwhile."""
        stored = StoredObject(url=url, since=self._now(), etag=etag)
        facts = self._facts_of(replace(row, stored=stored))
        runs_program = self._on_stored is not None
        if not await self._write(lambda: self._uploads.finish(row.id, stored, facts, runs_program=runs_program)):
            row_now = await self._catalog.recordings.get(row.id)
            await self._settle(replace(upload, tried=(*upload.tried, url)), row_now)
            return
        is_backup = self._stores.first is None or url != self._stores.first.url
        self.counts.stored += 1
        self.counts.in_backup += is_backup
        self.counts.stored_bytes += 0 if row.receipt is None else row.receipt.size_bytes
        self.counts.times.observe((stored.since - upload.since).total_seconds())
        log.info("recording_stored", recording_id=row.id, app_id=row.app_id, store=url)
        self._on_in_store(row.id)
        if self._on_stored is not None:
            self._on_stored()
        await put_late(self._local, self._stores[url], row)
        await self._let_go(row)

    async def _take_back(self, upload: Upload, urls: Sequence[str]) -> None:
        for url in dict.fromkeys(urls):
            await self._stores[url].delete(keys_of(upload.object_key))
        if urls:
            self.counts.taken_back += 1
            log.info("upload_taken_back", recording_id=upload.recording_id, stores=[*dict.fromkeys(urls)])
        await self._write(lambda: self._uploads.forget(upload.recording_id))

    async def _find(self, upload: Upload, row: Recording, error: FileNotFoundError) -> None:
        """Find a file that is not here in the stores where it may be (rule 6); raise OSError if it is nowhere."""
        for url in dict.fromkeys([*upload.tried, *(store.url for store in self._stores)]):
            found = await self._stores[url].head(row.object_key)
            if found is not None and is_there(row, found):
                await self._finish(upload, row, url, found.etag)
                return
        raise OSError(
            f"{row.object_key} is neither here nor in a store: put it back, or delete the recording"
        ) from error

    async def _claim(self, store: ObjectStore) -> None:
        """Find that the store is ours, once (rule 4)."""
        if store.url in self._claimed:
            return
        if self._installation is None:
            self._installation = await self._write(self._uploads.installation)
        await claim(store, self._installation)
        self._claimed.add(store.url)

    async def _let_go(self, row: Recording) -> None:
        await asyncio.to_thread(self._local.let_go, row.object_key)

    # ---- what became of it -------------------------------------------------------------------------------------

    async def _failed(self, upload: Upload, error: Exception) -> None:
        self.counts.failed += 1
        if upload.attempts == 0 and not self.failing:  # a store that fails has a line of its own
            log.warning("upload_failed", recording_id=upload.recording_id, error=str(error))
        next_at = self._schedule.next_at(upload, self._now(), random.random())
        await self._write(lambda: self._uploads.fail(upload.recording_id, str(error), next_at=next_at))

    def _store_failed(self, url: str, error: StoreError) -> None:
        door = self._schedule.doors[url]
        if door.failed(self._clock_s(), is_lasting=error.is_lasting, chance=random.random()):
            log.error("store_failing", store=url, error=str(error))

    async def _store_succeeded(self, url: str) -> None:
        if self._schedule.doors[url].succeeded():
            log.info("store_works_again", store=url)
            with suppress(DependencyError):  # they are due by themselves
                await self._uploads.hasten_all()

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        return await self._reserve_file.lend(write, why="files are uploaded on a full disk")  # rule 5
