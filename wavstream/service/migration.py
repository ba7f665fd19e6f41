"""Finished files that are moved to a store, to another one, or back to this machine, beside a server that runs.

For each recording: the row is read, the move is noted, the file is compared with its receipt and copied with its
sidecar and waveform, the row is changed, and only then what was there before is removed. ``catalog/moves.py`` has the
rows.

1. Whatever ends the process, a second run goes on: what was copied is copied again to the same key, and what lies in a
   place that its row does not name is removed.
2. A file of this machine is removed at once: who has it open reads on. An object is removed ``keep`` later, when no
   address that was signed for it opens it any more; a run ends with that. Before the last copy of a file goes, the new
   one is looked at once more.
3. A file that is not as its receipt says stays where it is, and is named.
4. Each file is tried three times. Where the target takes no more (it is full, or refuses) nothing else is begun, and
   neither is it where several files in a row have failed: what is left is counted.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.moves import Claim, Left, Moves, Selection
from wavstream.conversion.verification import differences
from wavstream.errors import DependencyError, StoreError, WavstreamError
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.service.data_folder import DataFolder
from wavstream.settings import StorageSettings
from wavstream.storage.contents import is_there
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key, transcript_key, waveform_key
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.stores import Stores
from wavstream.uploads.objects import beside_attributes, file_attributes, keys_of, remove_left_copies

TRIES = 3
FIRST_WAIT_S = 1.0
TELL_S = 5.0
"""At the latest it is told so often how far the run is."""
FAILED_IN_A_ROW = 8
"""After so many the target, or the source, is taken to be away."""
LEASE = timedelta(hours=1)
"""For so long what a run has begun, and not ended, is its own; then a server looks after it."""
_PAGE = 500
_COPY_BYTES = 1 << 20
_NAMED = 5
_OF_STORE = "store "


@dataclass(slots=True)
class Migrated:
    """What a run has done so far."""

    total: int = 0
    """Recordings that were to be moved when it began."""
    moved: int = 0
    size_bytes: int = 0
    """Of the files that were moved."""
    held: int = 0
    gone: int = 0
    """Erased, or moved by somebody else, meanwhile."""
    queued: int = 0
    """Which the server is to upload itself."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by id."""
    not_removed: int = 0
    """Former objects that lie in their store still."""
    waits_until: datetime | None = None
    """When the next former object may be removed; None: nothing waits for that."""
    stopped: str | None = None
    """Why nothing else was begun; None: all was."""

    @property
    def done(self) -> int:
        """How many were dealt with, moved or not."""
        return self.moved + self.held + self.gone + self.queued + len(self.failed)

    @property
    def left(self) -> int:
        """How many are still to be moved, by another run."""
        return max(self.total - self.moved - self.held - self.gone - self.queued, len(self.failed))


class Migration:
    """One run."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        folder: DataFolder,
        stores: Stores,
        target: ObjectStore | None,
        now: Callable[[], datetime],
        keep: timedelta,
        has_server: Callable[[], bool],
        at_once: int = 4,
        min_free_bytes: int = 0,
        first_wait_s: float = FIRST_WAIT_S,
        on_progress: Callable[[Migrated], None] = lambda _done: None,
    ) -> None:
        """Prepare it. ``target``: None: this machine. ``keep``: see rule 2. ``has_server``: whether one runs; blocks.

        ``min_free_bytes``: of the disk of the data folder, which what is copied to it must leave.
        """
        self._catalog = catalog
        self._moves = Moves(catalog.database)
        self._folder = folder
        self._local = LocalStorage(folder.recordings, modes=folder.modes)
        self._stores = stores
        self._target = target
        self._url = None if target is None else target.url
        self._now = now
        self._keep = keep
        self._has_server = has_server
        self._at_once = at_once
        self._min_free_bytes = min_free_bytes
        self._first_wait_s = first_wait_s
        self._tell = on_progress
        self._server_runs = False
        self._failed_in_a_row = 0
        self.done = Migrated()

    async def run(self, selection: Selection) -> Migrated:
        """Move what is selected, and remove what was left; raise DependencyError if the catalog fails."""
        self.done.total = await self._moves.count(selection)
        self._server_runs = await asyncio.to_thread(self._has_server)
        self._tell(self.done)
        waiting: deque[str] = deque()
        after, is_all = "", False
        running: set[asyncio.Task[None]] = set()
        try:
            while self.done.stopped is None:
                while not waiting and not is_all:
                    page = await self._moves.ids(selection, after, _PAGE)
                    waiting.extend(page)
                    is_all, after = not page, page[-1] if page else after
                while waiting and len(running) < self._at_once:
                    running.add(asyncio.create_task(self._move(waiting.popleft())))
                if not running:
                    break
                finished, running = await asyncio.wait(running, timeout=TELL_S, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
                self._tell(self.done)
            for each in asyncio.as_completed(running):
                await each
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if self._target is not None:
            # Of an ended run, as a start of a server does.
            with suppress(StoreError):  # what the store cannot be asked for stays, for the server
                await remove_left_copies(self._local, self._catalog.uploads, self._stores)
        await self._remove_what_is_left()
        return self.done

    async def _move(self, recording_id: str) -> None:
        """Move one, and count what became of it."""
        for tried in range(1, TRIES + 1):
            try:
                claim = await self._try_to_move(recording_id)
            except StoreError as error:
                if error.is_lasting:
                    self.done.stopped = self.done.stopped or str(error)
                why = str(error)
            except OSError as error:
                why = f"{error.filename or self._folder.recordings}: {error.strerror}"
                if not isinstance(error, FileNotFoundError):
                    self.done.stopped = self.done.stopped or why
            except _NotAsRecorded as error:  # rule 3
                self.done.failed[recording_id] = str(error)
                return
            else:
                self._failed_in_a_row = 0
                self.done.held += claim is Claim.HELD
                self.done.gone += claim is Claim.GONE
                self.done.queued += claim is Claim.QUEUED
                return
            if self.done.stopped is not None or tried == TRIES:
                break
            await asyncio.sleep(self._first_wait_s * 2 ** (tried - 1))
        self.done.failed[recording_id] = why
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILED_IN_A_ROW:  # rule 4
            self.done.stopped = self.done.stopped or f"{self._failed_in_a_row} files in a row have failed: {why}"

    async def _try_to_move(self, recording_id: str) -> Claim:
        recording = await self._catalog.recordings.get(recording_id)
        if recording is None or recording.receipt is None or _url(recording) == self._url:
            return Claim.GONE
        now = self._now()
        claim = await self._moves.begin(recording, self._url, now=now, due=now + LEASE, has_server=self._server_runs)
        if claim is not Claim.MINE:
            return claim
        spool = self._folder.spool / f"{recording.id}.moved"
        try:
            stored = await self._copy(recording, spool)
        finally:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(spool.unlink)
        now = self._now()
        due = now + self._keep + LEASE
        if not await self._moves.finish(recording, stored, now=now, due=due):
            return await self._take_back(recording)
        if self._target is None:
            await self._check_here(recording)
        elif recording.stored is None:
            await asyncio.to_thread(self._local.delete, recording.object_key)  # rule 2
        self.done.moved += 1
        self.done.size_bytes += recording.receipt.size_bytes
        return Claim.MINE

    async def _copy(self, recording: Recording, spool: Path) -> StoredObject | None:
        """Copy the file with what lies beside it, and return where it lies then."""
        source = spool
        if recording.stored is None:
            source = self._local.path(recording.object_key)
        else:
            await asyncio.to_thread(self._fetch, recording, spool)

        def look() -> list[str]:
            return [each for each in differences(lambda: source.open("rb"), recording) if each is not None]

        wrong = await asyncio.to_thread(look)
        if wrong:
            raise _NotAsRecorded(f"its file is not as it was recorded ({'; '.join(wrong)})")
        key = recording.object_key
        beside = {each: await asyncio.to_thread(self._beside, recording, each) for each in _beside_of(key)}
        if self._target is None:
            await asyncio.to_thread(self._put_here, recording, spool, beside)
            return None
        for each, content in beside.items():
            if content is not None:
                await self._target.put(each, content, attributes=beside_attributes(each))
        etag = await self._target.put(key, source, attributes=file_attributes(recording))
        return StoredObject(self._target.url, self._now(), etag)

    def _fetch(self, recording: Recording, spool: Path) -> None:
        """Write an object into the spool; on return it is on the disk."""
        assert recording.receipt is not None
        if shutil.disk_usage(spool.parent).free < self._min_free_bytes + recording.receipt.size_bytes:
            raise OSError(errno.ENOSPC, "the disk has no room beside limits.min_free_bytes", str(spool.parent))
        descriptor = os.open(spool, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            try:
                with self._object(recording, recording.object_key) as source:
                    shutil.copyfileobj(source, file, _COPY_BYTES)
            except FileNotFoundError as error:
                raise _NotAsRecorded(f"{_url(recording)} has no object {recording.object_key}") from error
            file.flush()
            os.fsync(file.fileno())

    def _object(self, recording: Recording, key: str) -> BinaryIO:
        assert recording.stored is not None
        return self._stores[recording.stored.url].open(key)  # not what a move that was ended has left here

    def _beside(self, recording: Recording, key: str) -> bytes | None:
        try:
            if recording.stored is None:
                return self._local.path(key).read_bytes()
            with self._object(recording, key) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _put_here(self, recording: Recording, spool: Path, beside: dict[str, bytes | None]) -> None:
        key = recording.object_key
        waveform = None
        if (content := beside[waveform_key(key)]) is not None:
            waveform = spool.with_name(waveform_key(spool.name))
            waveform.write_bytes(content)
        try:
            self._local.publish(spool, key, sidecar=beside[sidecar_key(key)], waveform=waveform)
        finally:
            if waveform is not None:
                waveform.unlink(missing_ok=True)
        if (words := beside[transcript_key(key)]) is not None:
            transcript = spool.with_name(transcript_key(spool.name))
            transcript.write_bytes(words)
            self._local.publish_transcript(transcript, key)
        self._own(self._local.path(key))

    def _own(self, file: Path) -> None:
        """Give what root has made to the owner of the data folder, before a row says that it is there."""
        if os.geteuid() != 0:
            return
        owner = os.stat(self._folder.root)
        made = [file, *(file.with_name(each) for each in _beside_of(file.name))]
        made += [each for each in file.parents if self._folder.recordings in each.parents]
        for each in made:
            with suppress(FileNotFoundError):
                os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)

    async def _take_back(self, recording: Recording) -> Claim:
        """Remove what was put of a recording that was erased, held or moved meanwhile; return which of them it is."""
        row = await self._catalog.recordings.get(recording.id)
        is_there = row is not None and row.status is Status.AVAILABLE
        if row is not None and is_there and _url(row) == self._url:
            return Claim.GONE  # another run has moved it there
        if self._target is None:
            await asyncio.to_thread(self._local.delete, recording.object_key)
        else:
            await self._target.delete(keys_of(recording.object_key))
            await self._moves.forget(recording.id)
        return Claim.HELD if row is not None and is_there and row.hold is not None else Claim.GONE

    async def _remove_what_is_left(self) -> None:
        """Remove objects that no row names, those of ended runs too, once nobody reads them (rules 1 and 2)."""
        has_server = await asyncio.to_thread(self._has_server)
        for each in await self._moves.left(now=self._now(), has_server=has_server):
            if each.recording_id in self.done.failed:
                continue  # noted for the next run
            removable_at = each.due - LEASE
            while (wait_s := (removable_at - self._now()).total_seconds()) > 0:
                self.done.waits_until = removable_at
                self._tell(self.done)
                await asyncio.sleep(min(wait_s, TELL_S))
            try:
                await self._remove(each)
            except (DependencyError, OSError):
                self.done.not_removed += 1

    async def _remove(self, left: Left) -> None:
        row = await self._catalog.recordings.get(left.recording_id)
        if row is not None and row.status is Status.AVAILABLE:
            await self._check_new(row, left)
        for url in left.urls:
            await self._stores[url].delete(keys_of(left.object_key))
        await self._moves.forget(left.recording_id)

    async def _check_new(self, row: Recording, left: Left) -> None:
        """Look at the file where it is now; raise StoreError, and lead the row back, if it is not there (rule 2)."""
        if row.stored is None:
            if await asyncio.to_thread(self._is_here, row):
                return
        elif is_there(row, await self._stores[row.stored.url].head(row.object_key)):
            return
        for url in left.urls:
            if is_there(row, found := await self._stores[url].head(row.object_key)):
                assert found is not None
                now = self._now()
                await self._moves.finish(row, StoredObject(url, now, found.etag), now=now, due=now + LEASE)
        raise StoreError(f"{row.object_key} was not where its row said: what the former store has of it is kept")

    async def _check_here(self, recording: Recording) -> None:
        """Lead the row back if the file is gone again: a server that started meanwhile took it for a left copy."""
        if not await asyncio.to_thread(self._is_here, recording):
            now = self._now()
            here = replace(recording, stored=None)
            await self._moves.finish(here, recording.stored, now=now, due=now + LEASE)
            raise StoreError(f"{recording.object_key} was removed here while it was moved; it is moved again")

    def _is_here(self, recording: Recording) -> bool:
        assert recording.receipt is not None
        file = self._local.stat(recording.object_key)
        return file is not None and file.size_bytes == recording.receipt.size_bytes


class _NotAsRecorded(WavstreamError):
    """A file, or its object, is gone or another than its receipt says."""


def lines_of_stores(settings: StorageSettings) -> list[str]:
    """Return what a server notes in its lock of the stores that it reads, beside where it listens."""
    return [_OF_STORE + url for url in (settings.url, settings.backup_url) if url is not None]


def stores_in(lines: Sequence[str]) -> list[str]:
    """Return the URLs of the stores that a server has noted."""
    return [line.removeprefix(_OF_STORE) for line in lines if line.startswith(_OF_STORE)]


def named(failed: dict[str, str]) -> str:
    """Return some of what has failed, for a person."""
    some = [f"{recording_id}: {why}" for recording_id, why in list(failed.items())[:_NAMED]]
    return "; ".join(some) + (f"; and {len(failed) - _NAMED} others" if len(failed) > _NAMED else "")


def _url(recording: Recording) -> str | None:
    return None if recording.stored is None else recording.stored.url


def _beside_of(key: str) -> tuple[str, ...]:
    return keys_of(key)[:-1]
