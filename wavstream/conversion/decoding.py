"""A finished file as sound, wherever it lies, from its beginning to its end. All of it blocks.

libsndfile reads a file of this machine by its number, and one in a store by calls of ours. It takes what such a call
raises for the end of the file. So a failure of the store is kept, and raised where the reading ends.
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
    calls = _Calls(file)
    try:
        with Forward(calls) as sound:
            yield sound
    except Exception as error:
        if calls.failure is not None:
            raise calls.failure from error
        raise
    if calls.failure is not None:
        raise calls.failure


class _Calls(io.RawIOBase):
    """What libsndfile calls."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.failure: DependencyError | FileNotFoundError | None = None

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.failure is not None:
            return 0
        try:
            return self._file.readinto(buffer)
        except (DependencyError, FileNotFoundError) as error:
            self.failure = error
            return 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
