"""The conversions that are under way: one of each recording, however many ask for it.

Whoever asks is sent the file while it grows. When it is whole it moves beside the recording's own file, and stays as
long as that does; where that file is in a store it stays in the spool for a while (``kept_copies``). One that fails
leaves nothing, and the next request begins it anew.

Apps take turns, a whole conversion in each; one app never has all threads, so another's is begun at once as long as one
app asks for more than its share. What waits is bounded in count, and in bytes by what the disk has room for. Files in a
store are read by threads of their own, so that a store which does not answer delays no conversion of a file that is
here.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from errno import ENOENT
from pathlib import Path

import structlog

from wavstream.conversion.conversion import Conversion
from wavstream.conversion.kept_copies import KeptCopies
from wavstream.errors import InternalError, LimitReached, NotFound, StoreError, WavstreamError
from wavstream.model.recording import Recording, StoredObject
from wavstream.removals import Removals
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.storage.local import LocalStorage
from wavstream.storage.stores import FinishedFiles
from wavstream.turns.fair_pool import FairPool, Place, Places
from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import tally_of

log = structlog.get_logger(__name__)

THREADS = 3
THREADS_OF_APP = 2
"""Who comes later waits for a turn."""
STORED_THREADS = 2
"""Of files in a store; one app has one of them at most."""
RETRY_AFTER_S = 60
_UNIT = 65_536
"""Other workers are told of bytes in so many."""
END_WAIT_S = 2.0
"""A conversion looks about every 15 ms whether it is still wanted."""


class GrowingFile:
    """A file that is made from its first byte to its last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_unwanted = threading.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing is converted any more."""
        self._made_bytes = 0
        self._failure: WavstreamError | None = None
        self._news = asyncio.Event()

    async def past(self, offset: int) -> int:
        """Return how many bytes are there, once there are more than ``offset``; raises what it failed with."""
        while self._made_bytes <= offset:
            if self._failure is not None:
                raise self._failure
            await self._news.wait()
        return self._made_bytes

    def grow(self, made_bytes: int) -> None:
        """Note that so many bytes are there."""
        self._made_bytes = made_bytes
        self._tell()

    def fail(self, failure: WavstreamError) -> None:
        """Note that it does not grow any more."""
        self._failure = failure
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Conversions:
    """Converts files in threads of its own. Its methods are for the event loop."""

    def __init__(
        self,
        *,
        storage: LocalStorage,
        files: FinishedFiles,
        spool: Path,
        reserve: DiskReserve,
        places: Places,
        max_bytes: int,
        quotas: Quotas | None = None,
        removals: Removals | None = None,
        shared: SharedCounts | None = None,
    ) -> None:
        """Convert as much at once as ``places`` says, and ``max_bytes`` of new files in all.

        ``shared`` has what other workers convert; None: there are none.
        """
        self._quotas = quotas or Quotas()
        self._of_app = tally_of(shared, "conversions")
        self._shared_bytes = None if shared is None else shared.of("conversion_bytes")
        self._storage = storage
        self._files = files
        self._spool = spool
        self._reserve = reserve
        self._removals = removals or Removals()
        self._growing: dict[tuple[str, StoredObject | None], GrowingFile] = {}
        """By recording and where its file is read: one that was uploaded meanwhile has its copy elsewhere."""
        self._begun = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = FairPool("convert", threads=THREADS, threads_of_app=THREADS_OF_APP, places=places, shared=shared)
        # Who waits for it has a place of the other one.
        self._stored_pool = FairPool("convert-stored", threads=STORED_THREADS, threads_of_app=1)
        self._kept = KeptCopies(
            max_bytes=max_bytes,
            has_room=lambda: reserve.has_room(0),
            unlink=lambda path: self._pool.later(lambda: self._removals.unlink(path)),
        )
        self._max_bytes = max_bytes
        self._begun_bytes = 0
        """Of the whole files that are made, or wait to be."""
        self._stopping = threading.Event()

    def begin(self, recording: Recording) -> GrowingFile:
        """Return the file in the other format, as it grows; raise LimitReached if there is no room for it."""
        key = recording.id, recording.stored
        growing = self._growing.get(key)
        if growing is None:
            conversion = Conversion.of(recording)
            place = self._take(recording.app_id, conversion.size_bytes)
            self._begun += 1  # one that ended just now may still be about to remove its own
            path = self._spool / f"{recording.id}-{self._begun}.{conversion.file_format}-copy"
            growing = self._growing[key] = GrowingFile(path)
            task = asyncio.create_task(self._make(recording, conversion, growing), name=f"convert {recording.id}")
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._end, place, conversion.size_bytes))
        return growing

    def kept(self, recording: Recording) -> Path | None:
        """Return where the copy of an uploaded file lies that was made here before; None: there is none."""
        return self._kept.path(recording.id)

    async def end(self, recording_id: str) -> None:
        """Break off the conversion of a recording that is erased; on return nothing of it is left.

        One that waits for its turn is not waited for: it will find no file.
        """
        self._kept.drop(recording_id)
        unwanted = [growing for (each, _), growing in self._growing.items() if each == recording_id]
        for growing in unwanted:
            growing.is_unwanted.set()
        if unwanted:
            await asyncio.wait([growing.ended for growing in unwanted], timeout=END_WAIT_S)

    async def stop(self) -> None:
        """Break off the conversions that are under way."""
        self._stopping.set()
        if self._tasks:  # one that waits for a store may do so for longer
            _, late = await asyncio.wait(self._tasks, timeout=END_WAIT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._kept.clear()
        await self._pool.stop()
        await self._stored_pool.stop(waits=False)

    def _end(self, place: Place, size_bytes: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._add_bytes(-size_bytes)
        place.leave()

    def _take(self, app_id: str, size_bytes: int) -> Place:
        """Return a place for a conversion, which counts from now on; raise LimitReached if there is no room for it."""

        def check(used: int, used_by_all: int) -> None:
            self._check_room(size_bytes)
            self._quotas.check(Quota.CONVERSIONS, app_id, used=used, used_by_all=used_by_all)

        self._add_bytes(size_bytes)
        try:
            self._of_app.take(app_id, check)
            try:
                return self._pool.enter(app_id)
            except LimitReached:
                self._of_app.remove(app_id)
                raise
        except LimitReached:
            self._add_bytes(-size_bytes)
            raise

    def _add_bytes(self, size_bytes: int) -> None:
        self._begun_bytes += size_bytes
        if self._shared_bytes is not None:
            self._shared_bytes.set("", -(-self._begun_bytes // _UNIT))

    def _check_room(self, size_bytes: int) -> None:
        """Raise LimitReached if what was begun, with so many bytes that are new, is too much."""
        if self._stopping.is_set():
            raise LimitReached("The server is shutting down.", retry_after_s=RETRY_AFTER_S)
        begun_bytes = self._begun_bytes
        if self._shared_bytes is not None:
            begun_bytes += self._shared_bytes.others("") * _UNIT
        before_bytes = begun_bytes - size_bytes
        if before_bytes and begun_bytes > self._max_bytes:  # one by itself may be larger
            raise LimitReached(
                f"{before_bytes} bytes are being converted, and limits.conversion_bytes is {self._max_bytes}: "
                "try again later",
                retry_after_s=RETRY_AFTER_S,
            )
        # What was begun is counted in full, though some of it is on the disk already.
        if not self._reserve.has_room(begun_bytes):
            raise LimitReached(
                "The disk has no room for the recording in a second format: ask for the one it was made in.",
                retry_after_s=RETRY_AFTER_S,
            )

    async def _make(self, recording: Recording, conversion: Conversion, growing: GrowingFile) -> None:
        loop = asyncio.get_running_loop()

        def grown(made_bytes: int) -> None:
            if self._stopping.is_set():
                raise _Stopped
            if growing.is_unwanted.is_set():
                raise FileNotFoundError(ENOENT, "the recording was erased", recording.object_key)
            loop.call_soon_threadsafe(growing.grow, made_bytes)

        pool = self._pool if recording.stored is None else self._stored_pool
        try:
            await pool.run(recording.app_id, self._convert, recording, conversion, growing.path, grown)
            if recording.stored is not None and growing.is_unwanted.is_set():
                await pool.run(recording.app_id, self._removals.unlink, growing.path)
            elif recording.stored is not None:
                self._kept.keep(recording.id, growing.path, conversion.size_bytes)
        except _Stopped:
            growing.fail(LimitReached("The server is shutting down.", retry_after_s=RETRY_AFTER_S))
        except FileNotFoundError:
            growing.fail(NotFound("The recording was erased."))
        except StoreError as error:
            growing.fail(error)
        except OSError as error:
            log.error("conversion_write_failed", recording_id=recording.id, error=str(error))
            growing.fail(LimitReached("The file could not be converted: try again.", retry_after_s=RETRY_AFTER_S))
        except Exception as error:  # ours: others are waiting for their files
            log.exception("conversion_failed", recording_id=recording.id)
            growing.fail(error if isinstance(error, WavstreamError) else InternalError(str(error)))
        finally:
            del self._growing[recording.id, recording.stored]
            self._of_app.remove(recording.app_id)
            growing.ended.set_result(None)

    def _convert(self, recording: Recording, conversion: Conversion, path: Path, grown: Callable[[int], None]) -> None:
        is_whole = False
        try:
            grown(0)
            with self._files.open(recording) as source:
                conversion.write(source, path, grown=grown)
            if recording.stored is None:
                self._storage.publish_copy(path, recording.object_key, conversion.file_format)
            is_whole = True
        finally:
            if recording.stored is None or not is_whole:
                self._removals.unlink(path)


class _Stopped(Exception):
    """The server stops."""
