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

from wavstream.catalog.uploads import Uploads
from wavstream.model.app import app_name
from wavstream.model.file_names import MEDIA_TYPES, content_disposition
from wavstream.model.ids import ids_in
from wavstream.model.recording import Recording
from wavstream.model.times import rfc3339
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import WAVEFORM_SUFFIX, sidecar_key, transcript_key, waveform_key
from wavstream.storage.object_store import ObjectFacts

_SHA256 = "sha256"
_FILES_AT_ONCE = 1_000


def keys_of(object_key: str) -> tuple[str, ...]:
    """Return the keys of all that lies in a store of one recording, the file last."""
    return sidecar_key(object_key), waveform_key(object_key), transcript_key(object_key), object_key


def file_attributes(recording: Recording) -> dict[str, str]:
    """Return what is said of a recording's file (rule 2)."""
    assert recording.receipt is not None
    return {
        "Content-Type": MEDIA_TYPES[recording.options.format],
        "Content-Disposition": content_disposition(recording.file_name, kind="attachment"),
        "recording": recording.id,
        "app": _ascii(app_name(recording.app_id)),
        "session": _ascii(recording.session_id),
        _SHA256: recording.receipt.audio_sha256,
        "created": rfc3339(recording.created_at),
    }


def is_there(recording: Recording, found: ObjectFacts | None) -> bool:
    """Return whether what a store has at the recording's key is its file: the same size, put with the same hash."""
    receipt = recording.receipt
    if found is None or receipt is None:
        return False
    # A store says names of what was put with an object in any case.
    told = {name.lower(): text for name, text in found.attributes.items()}
    return found.size_bytes == receipt.size_bytes and told.get(_SHA256) == receipt.audio_sha256


def beside(local: LocalStorage, object_key: str) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Yield key, path and attributes of what lies here beside a file and goes before it (rule 1). Blocks."""
    for key in keys_of(object_key)[:-1]:
        if (path := local.path(key)).exists():
            yield key, path, beside_attributes(key)


def beside_attributes(key: str) -> dict[str, str]:
    """Return what is said of what lies beside a file, by its key."""
    return {"Content-Type": "application/octet-stream" if key.endswith(WAVEFORM_SUFFIX) else "application/json"}


async def remove_left_copies(local: LocalStorage, uploads: Uploads) -> int:
    """Remove what is here of files of which rows say that they lie in a store; return how many files that were.

    It was left by a process that was ended between the two. Raise DependencyError, OSError.
    """
    walk, removed = local.walk_everything(), 0
    while keys := await asyncio.to_thread(lambda: set(itertools.islice(walk, _FILES_AT_ONCE))):
        stored = await uploads.stored_among({each for key in keys for each in ids_in(key)})
        for key in keys.intersection(stored):
            await asyncio.to_thread(local.let_go, key)
            removed += 1
    return removed


def _ascii(text: str) -> str:
    return quote(text, safe="", errors="replace")[:1024]
