"""A file that is still being made.

Audio is only ever appended, and hashed as it goes, because hashing a 4-hour file at the stop takes 340 ms. The header
at the start is written last; the hash therefore covers what comes after it.

A recording whose silent end is to be cut away says after each piece where the file would end if nothing else were
said. The hash is copied when it gets there, so that a cut needs no second reading either.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from wavstream.journal.segments import is_file_at, open_copy
from wavstream.removals import Removals
from wavstream.storage.local import sync


class SpoolFile:
    """One growing file in the spool. After an OSError from any method, call it again: nothing is lost."""

    def __init__(self, path: Path, *, removals: Removals | None = None) -> None:
        self.path = path
        self._removals = removals or Removals()
        self.audio_bytes = 0
        """After the header."""
        self._header = b""
        self._hash = hashlib.sha256()
        self._hashed_bytes = 0
        self._kept_bytes: int | None = None
        self._kept_hash = self._hash
        self._owed = b""
        self._fd: int | None = None

    def append(self, header: bytes, audio: bytes, *, kept_bytes: int | None = None) -> None:
        """Append audio; the first call makes the file, with room for the header.

        ``kept_bytes``: where the file would be cut if nothing followed, in this piece or later; None: nowhere.
        The same value may be given again.
        """
        if not self._header:
            self._header = header
        self._owed += audio
        self._digest(audio, kept_bytes)
        self.settle()

    def settle(self) -> None:
        """Write what an earlier call could not."""
        if not self._owed:
            return
        if self._fd is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._write_header(self._header)
        while self._owed:
            written = os.pwrite(self._fd, self._owed, len(self._header) + self.audio_bytes)
            self.audio_bytes += written
            self._owed = self._owed[written:]

    def finish(self, header: bytes) -> None:
        """Cut the file where its audio ends, write the right header, sync and close; it is then ready to be published.

        A second call does nothing. Raise NotOnDisk if the file may have lost something: it is closed, and no more of
        use. It is synced by the descriptor that wrote it, which is told of every error since it was opened.
        """
        self.settle()
        if self._fd is None:
            return
        if self._kept_bytes is not None and self._kept_bytes < self.audio_bytes:
            os.ftruncate(self._fd, len(header) + self._kept_bytes)
            self.audio_bytes, self._hash = self._kept_bytes, self._kept_hash
        self._write_header(header)
        if not is_file_at(self._fd, self.path):
            self._put_back(self.size_bytes)
        # Closed for good even where close reports an error: the number may be another file's by the next try.
        fd, self._fd = self._fd, None
        try:
            sync(fd, self.path)
        finally:
            os.close(fd)

    def _put_back(self, size_bytes: int) -> None:
        """Copy the file to its name, which it lost with its folder."""
        assert self._fd is not None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd, old = open_copy(self._fd, self.path, size_bytes), self._fd
        os.close(old)

    def discard(self) -> None:
        """Close and remove the file; if the disk refuses, that is tried again behind the caller."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._removals.unlink(self.path)

    @property
    def owed(self) -> bytes:
        """Audio that the disk has not taken yet."""
        return self._owed

    def descriptor(self) -> int | None:
        """Return another descriptor of the file, to read it while it grows; None: nothing was written yet."""
        return None if self._fd is None else os.dup(self._fd)

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return len(self._header) + self.audio_bytes

    @property
    def audio_sha256(self) -> str:
        """Of the bytes after the header, hex."""
        return self._hash.hexdigest()

    def _digest(self, audio: bytes, kept_bytes: int | None) -> None:
        before = self._hashed_bytes
        self._hashed_bytes += len(audio)
        done = 0
        for end in (self._kept_bytes, kept_bytes):
            if end is not None and before + done <= end <= self._hashed_bytes:
                self._hash.update(audio[done : end - before])
                self._kept_hash, done = self._hash.copy(), end - before
        self._kept_bytes = kept_bytes
        self._hash.update(audio[done:])

    def _write_header(self, header: bytes) -> None:
        assert self._fd is not None
        offset = 0
        while offset < len(header):
            offset += os.pwrite(self._fd, header[offset:], offset)
