"""Rows and files made to agree at the start: after a crash, a lost disk, or a catalog restored from a backup.

- A row that says ``available`` and whose file is gone becomes ``failed``: nobody is promised what cannot be fetched.
  Not one without an expiry that nobody holds: its file is another store's to keep, and that one may have moved it.
  Nor one whose journal is still there: its file is being made again. Nor one that was uploaded, or may have been.
- A row that is older than its file, as after a restore of a catalog that was copied while a call ran, is ``available``
  as the sidecar beside the file tells. So is one that says ``failed``: its file has come back, or was there. Of an
  unfinished one that has no journal ``recovery`` asks for the file before it gives it up.
- A file without a row gets its row back from the JSON sidecar beside it; its retention goes on as it was.
- A file of a recording that was erased, which has come back, is the sweeper's to remove. One of a recording that
  another node has taken goes when that node's is in the store (``uploads``).
- A file with neither row nor readable sidecar is left alone: it may be somebody's, and only a person can tell.

It runs beside live calls, so it asks in an order in which nothing live looks wrong: first which files there are, then
which rows are unfinished, then which are available. A file that is published meanwhile was not seen, and one whose row
changes meanwhile is still in one of the two answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime

import structlog

from wavstream.catalog.recordings import Recordings
from wavstream.model.recording import Recording, Status
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import sidecar_key
from wavstream.storage.sidecar import read_sidecar, told_of

log = structlog.get_logger(__name__)

PAGE_SIZE = 500
"""Rows read at a time."""
_NAMED = 5
"""Files named in a log line; the others are counted."""

_Save = Callable[[Recording], Awaitable[None]]


async def reconcile(
    *,
    recordings: Recordings,
    storage: LocalStorage,
    now: Callable[[], datetime],
    save: _Save,
    save_found: _Save,
    made_again: Collection[str] = (),
    wall: Callable[[], datetime] | None = None,
    page_size: int = PAGE_SIZE,
) -> None:
    """Make rows and files agree. Raises DependencyError if the catalog fails.

    ``save`` writes a changed row, ``save_found`` one that is available as its file was found.
    ``made_again``: recordings whose file is being made from their journal, or may lie in a store. ``now`` stamps a row
    that changes; ``wall`` is by which recordings expire, None: by ``now`` too.
    """
    files = await asyncio.to_thread(lambda: set(storage.walk()))
    files.difference_update(row.object_key for row in await recordings.unfinished())
    after = ""
    while page := await recordings.stored(after, page_size):
        after = page[-1].id
        files.difference_update(row.object_key for row in page)
        for row in await asyncio.to_thread(_without_file, storage, page, (wall or now)()):
            now_row = await recordings.get(row.id)  # it may have been uploaded since the page was read
            if row.id not in made_again and (now_row is None or now_row.stored is None):
                log.error("recording_file_gone", recording_id=row.id, object_key=row.object_key)
                lost = row.became(Status.FAILED, now(), error="its file is gone")
                await save(lost)
    await _adopt(files, recordings=recordings, storage=storage, save_found=save_found)


async def _adopt(files: set[str], *, recordings: Recordings, storage: LocalStorage, save_found: _Save) -> None:
    adopted = 0
    unknown: list[str] = []
    for object_key in sorted(files):
        recording = await asyncio.to_thread(_from_sidecar, storage, object_key)
        if recording is not None and await recordings.add(recording):
            adopted += 1
        elif recording is not None and await _is_explained(recording, recordings, storage, save_found):
            continue
        elif await asyncio.to_thread(storage.stat, object_key) is not None:  # else it was deleted meanwhile
            unknown.append(object_key)
    if adopted:
        log.warning("recording_rows_restored", files=adopted)
    if unknown:
        log.warning("unknown_files_left", files=len(unknown), some=unknown[:_NAMED])


async def _is_explained(told: Recording, recordings: Recordings, storage: LocalStorage, save_found: _Save) -> bool:
    """Return whether the row tells why the file is there.

    It is erased, or another node's, which has made the file too; or it had failed and is available now.
    """
    row = await recordings.get(told.id)
    if row is not None and await recordings.is_of_another(row):
        return True
    if row is None or row.status is not Status.FAILED:
        return row is not None and row.status.is_erased
    finished = await asyncio.to_thread(finished_since, storage, row)
    if finished is None:
        return False
    log.warning("recording_file_found", recording_id=row.id, row=row.status, object_key=row.object_key)
    await save_found(finished)
    return True


def finished_since(storage: LocalStorage, row: Recording) -> Recording | None:
    """Return what became of a recording whose row does not know it: available, if its file and sidecar are there.

    Blocks.
    """
    try:
        told = told_of(row, storage.path(sidecar_key(row.object_key)).read_bytes())
    except OSError:
        return None
    return told if told is not None and _is_file_of(storage, told) else None


def lacks_whole_file(storage: LocalStorage, row: Recording, now: datetime) -> bool:
    """Return whether the file of an available recording should be here and is not, or has another length. Blocks."""
    if not _is_ours(row, now):
        return False
    file = storage.stat(row.object_key)
    return file is None or (row.receipt is not None and file.size_bytes != row.receipt.size_bytes)


def _is_ours(row: Recording, now: datetime) -> bool:
    """Return whether the file has to be here: else it was uploaded or moved, or the sweeper deletes the row."""
    if row.stored is not None:
        return False
    return row.hold is not None or (row.expires_at is not None and row.expires_at > now)


def _without_file(storage: LocalStorage, page: list[Recording], now: datetime) -> list[Recording]:
    return [row for row in page if _is_ours(row, now) and storage.stat(row.object_key) is None]


def _from_sidecar(storage: LocalStorage, object_key: str) -> Recording | None:
    """Return the recording that the file's sidecar tells of, if it is this file that it tells of."""
    try:
        recording = read_sidecar(storage.path(sidecar_key(object_key)).read_bytes(), object_key=object_key)
    except (OSError, ValueError):
        return None
    return recording if _is_file_of(storage, recording) else None


def _is_file_of(storage: LocalStorage, recording: Recording) -> bool:
    file = storage.stat(recording.object_key)
    assert recording.receipt is not None
    return file is not None and file.size_bytes == recording.receipt.size_bytes
