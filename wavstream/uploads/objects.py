"""What of a recording lies in a store: the file, its sidecar and its waveform beside it, and what is said with them.

1. The sidecar, the waveform and the transcript are put before the file, as on a disk: where the file is, they are.
2. What is said of an object has names of letters and digits alone: a proxy drops headers with others, and Azure takes
   no hyphens. Its texts are plain ASCII: what is not is percent-encoded.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import structlog

from wavstream.catalog.uploads import Uploads
from wavstream.errors import StoreError
from wavstream.model.app import app_name
from wavstream.model.file_names import MEDIA_TYPES, content_disposition
from wavstream.model.ids import ids_in
from wavstream.model.recording import Recording, Status
from wavstream.model.times import rfc3339
from wavstream.storage.contents import AUDIO_SHA256, OF_RECORDING, is_there
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import WAVEFORM_SUFFIX, sidecar_key, transcript_key, waveform_key
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.stores import Stores

log = structlog.get_logger(__name__)

_FILES_AT_ONCE = 1_000


def keys_of(object_key: str) -> tuple[str, ...]:
    """Return the keys of all that lies in a store of one recording, the file last."""
    return sidecar_key(object_key), waveform_key(object_key), transcript_key(object_key), object_key


def file_attributes(recording: Recording) -> dict[str, str]:
    """Return what is said of a recording's file (rule 2)."""
    assert recording.receipt is not None
    return {
        "Content-Type": MEDIA_TYPES[recording.options.format],
        "Content-Disposition": content_disposition(recording.file_name),
        OF_RECORDING: recording.id,
        "app": _ascii(app_name(recording.app_id)),
        "session": _ascii(recording.session_id),
        AUDIO_SHA256: recording.receipt.audio_sha256,
        "created": rfc3339(recording.created_at),
    }


def beside(local: LocalStorage, object_key: str) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Yield key, path and attributes of what lies here beside a file and goes before it (rule 1). Blocks."""
    for key in keys_of(object_key)[:-1]:
        if (path := local.path(key)).exists():
            yield key, path, beside_attributes(key)


def beside_attributes(key: str) -> dict[str, str]:
    """Return what is said of what lies beside a file, by its key."""
    return {"Content-Type": "application/octet-stream" if key.endswith(WAVEFORM_SUFFIX) else "application/json"}


async def put_late(local: LocalStorage, store: ObjectStore, row: Recording) -> None:
    """Put a transcript that was made while the file was uploaded; one made later goes there by itself."""
    key = transcript_key(row.object_key)
    try:
        content = await asyncio.to_thread(local.path(key).read_bytes)
        await store.put(key, content, attributes=beside_attributes(key))
    except FileNotFoundError:
        pass
    except (StoreError, OSError) as error:  # it is a copy: what is read is in the catalog
        log.warning("transcript_copy_failed", recording_id=row.id, error=str(error))


async def remove_left_copies(local: LocalStorage, uploads: Uploads, stores: Stores) -> int:
    """Remove what is here of files that lie in a store, as rows and the store itself say; return how many files.

    It was left by a process that was ended between the two, or put back here by somebody since the store has lost it:
    that is uploaded again. Raise DependencyError, also of a store, and OSError: what is left is for the next call.
    """
    walk, removed = local.walk_everything(), 0
    failure: StoreError | None = None
    while keys := await asyncio.to_thread(lambda: set(itertools.islice(walk, _FILES_AT_ONCE))):
        for row in await uploads.stored_among({each for key in keys for each in ids_in(key)}):
            if row.object_key not in keys:
                continue
            try:
                is_left = await _is_left(row, local, uploads, stores)
            except StoreError as error:
                failure = error
                continue
            if is_left:
                await asyncio.to_thread(local.let_go, row.object_key)
                removed += 1
    if failure is not None:
        raise failure
    return removed


async def _is_left(row: Recording, local: LocalStorage, uploads: Uploads, stores: Stores) -> bool:
    """Return whether what is here of an uploaded file is needed no more; upload it again if the store has lost it."""
    if row.status is not Status.AVAILABLE or row.stored is None:
        return True
    if is_there(row, await stores[row.stored.url].head(row.object_key)):
        return True
    file = await asyncio.to_thread(local.stat, row.object_key)
    if file is None or row.receipt is None or file.size_bytes != row.receipt.size_bytes:
        return False  # a part of it, which is no danger here
    if await uploads.put_again(row):
        log.warning("stored_file_put_again", recording_id=row.id, store=row.stored.url)
    return False


def _ascii(text: str) -> str:
    return quote(text, safe="", errors="replace")[:1024]
