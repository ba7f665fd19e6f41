"""Whether what lies in a store is a recording's file: by what is said with it, by its ETag, or by reading it.

1. What lies at a recording's key is its file if it has the size, and was put with the hash, that its receipt says.
2. A row may be older than its file: the catalog was restored from a backup, or the machine from a snapshot. Then the
   sidecar beside the file tells what became of the recording, as one on a disk does.
3. An ETag names an upload, and not what was uploaded: a file that was put back from a backup, copied in the bucket, or
   sent in other parts or with another key has another one. So a file with another than was noted is read once and
   compared with its receipt; what was found is kept for as long as the process runs.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from wavstream.model.recording import Recording, StoredObject
from wavstream.storage.object_keys import sidecar_key
from wavstream.storage.object_store import ObjectFacts, ObjectStore
from wavstream.storage.sidecar import told_of

AUDIO_SHA256, OF_RECORDING = "sha256", "recording"
"""Names of what is said of a file: the hash of its audio, and whose it is."""
Opening = Callable[[], io.BufferedReader]
Look = Callable[[Opening, Recording], bool]
"""Returns whether what is opened is as the recording's receipt says; blocks."""
_MOST = 100_000
"""Of what is kept: 20 MB. Beyond that files are read again."""


def is_there(recording: Recording, found: ObjectFacts | None) -> bool:
    """Return whether what a store has at the recording's key is its file (rule 1)."""
    receipt = recording.receipt
    if found is None or receipt is None:
        return False
    return found.size_bytes == receipt.size_bytes and _told(found).get(AUDIO_SHA256) == receipt.audio_sha256


def is_another_of(recording: Recording, found: ObjectFacts | None) -> bool:
    """Return whether it is a file of the same recording, and another one."""
    return found is not None and _told(found).get(OF_RECORDING) == recording.id and not is_there(recording, found)


async def find_object(stores: Iterable[ObjectStore], row: Recording) -> Recording | None:
    """Return what became of a recording, as the store says that has its file; None: none has (rule 2).

    Raise StoreError: one of the stores cannot be asked.
    """
    for store in stores:
        sidecar = await store.read(sidecar_key(row.object_key))
        told = None if sidecar is None else told_of(row, sidecar)
        if told is None:
            continue
        found = await store.head(row.object_key)
        if found is not None and is_there(told, found):
            return replace(told, stored=StoredObject(store.url, found.modified_at, found.etag))
    return None


def _told(found: ObjectFacts) -> dict[str, str]:
    # A store says names of what was put with an object in any case.
    return {name.lower(): text for name, text in found.attributes.items()}


class Contents:
    """What was found of files with another ETag (rule 3). Safe to use from several threads."""

    def __init__(self, look: Look) -> None:
        """Compare by ``look``."""
        self._look = look
        self._lock = threading.Lock()
        self._looking: dict[str, threading.Lock] = {}
        self._found: dict[tuple[str, str | None], bool] = {}

    def known(self, recording: Recording, etag: str | None) -> bool | None:
        """Return whether the content with that ETag is the recording's; None: nobody has looked."""
        return self._found.get((recording.id, etag))

    def judge(self, recording: Recording, etag: str | None, opening: Opening) -> bool:
        """Return whether it is, and look if nobody has; who asks meanwhile waits for that.

        Blocks for as long as it takes to read the file; raises what ``opening`` raises.
        """
        with self._lock:
            looking = self._looking.setdefault(recording.id, threading.Lock())
        try:
            with looking:
                found = self.known(recording, etag)
                if found is None:
                    found = self._look(opening, recording)
                    self._keep(recording, etag, found)
                return found
        finally:
            with self._lock, suppress(KeyError):
                del self._looking[recording.id]

    def _keep(self, recording: Recording, etag: str | None, found: bool) -> None:
        with self._lock:
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[recording.id, etag] = found
