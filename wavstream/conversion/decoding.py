"""A finished file as sound, wherever it lies, from its beginning to its end. All of it blocks.

libsndfile reads a file of this machine by its number, and one in a store by calls of ours. It takes what such a call
raises for the end of the file. So a failure of the store is kept, and raised where the reading ends.

While it opens a file, every other one that is to be opened waits (a lock of ``soundfile``). So what it looks at then,
the beginning of the file, is read before: a store that hangs holds up nobody but who reads from it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from wavstream.errors import DependencyError
from wavstream.recorder.file_snapshot import Forward
from wavstream.storage.object_store import ObjectFile


@contextmanager
def decoded(file: io.BufferedReader) -> Iterator[Forward]:
    """Decode an open file of which nothing was read; whoever opened it closes it.

    Raise LibsndfileError if it is no sound, and what the store raises: FileNotFoundError or StoreError.
    """
    if not isinstance(file.raw, ObjectFile):
        with Forward(file.fileno(), closefd=False) as sound:
            yield sound
        return
    calls = _Calls(file, file.raw.facts.size_bytes)
    try:
        with Forward(calls) as sound:
            yield sound
    except Exception as error:
        if calls.failure is not None:
            raise calls.failure from error
        raise
    if calls.failure is not None:
        raise calls.failure


_HEAD_BYTES = 65_536
"""Headers, and the first frames of an MP3."""


class _Calls(io.RawIOBase):
    """What libsndfile calls, of a file of which the beginning is here."""

    def __init__(self, file: io.BufferedReader, size_bytes: int) -> None:
        """Read the beginning, which may raise FileNotFoundError or StoreError."""
        self._file = file
        self._size_bytes = size_bytes
        self._head = file.read(_HEAD_BYTES)
        self._at = 0
        self.failure: DependencyError | FileNotFoundError | None = None

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at < len(self._head):
            part = self._head[self._at : self._at + len(buffer)]
            buffer[: len(part)] = part
            self._at += len(part)
            return len(part)
        if self.failure is not None:
            return 0
        try:
            self._file.seek(self._at)
            got = self._file.readinto(buffer)
        except (DependencyError, FileNotFoundError) as error:
            self.failure = error
            return 0
        self._at += got
        return got

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        return self._at
