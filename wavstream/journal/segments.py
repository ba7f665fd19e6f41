"""Segments on disk: their names, the ones in a folder, and the writing of one.

1. The segments of a journal are numbered from 1 without gaps, and are deleted from the lowest up. So a reader at the
   end of segment n only has to look for n + 1.
2. A segment is written at offsets that the writer knows, not appended to. A write that failed half way is repeated with
   the same bytes at the same place; until then it is a torn tail, which every reader ignores.
3. A batch with events is written a second time, behind the next one: who does not know of a stream or a start cannot
   use what follows, for as long as it lasts. Behind it, so that a damaged sector seldom takes both.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wavstream.journal.batches import batch, tag_of
from wavstream.journal.records import SegmentHeader, segment_header

WriteAt = Callable[[int, memoryview, int], int]
"""``os.pwrite``: takes descriptor, bytes and offset; returns how many bytes it took, or raises OSError."""

_COPY_BYTES = 1 << 20
_KEY = re.compile(r"[A-Za-z0-9_]{1,64}")
_NAME = re.compile(r"(?P<key>[A-Za-z0-9_]{1,64})-(?P<segment>\d{6,})\.wsj")


class Position(NamedTuple):
    """A place between two batches of a journal; positions of one journal compare in its order."""

    segment: int
    offset_bytes: int = 0
    """In the file; 0: before the segment's header."""
    batch: int = 0
    """Number of the batch that follows; 0 before a header: any but in segment 1."""


@dataclass(frozen=True, slots=True)
class FolderContents:
    """The journals of a folder."""

    journals: dict[str, tuple[int, ...]]
    """Segment numbers by key, ascending."""
    strangers: tuple[str, ...]
    """Names of files that are no segments: they are not read and not deleted."""


def segment_path(folder: Path, key: str, segment: int) -> Path:
    """Return the path of a segment; a key is 1..64 of letters, digits and ``_``."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"not a journal key: {key!r}")
    return folder / f"{key}-{segment:06d}.wsj"


def told_by(name: str) -> tuple[str, int] | None:
    """Return the key and the number that the name of a segment's file tells; None: it is none."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match["key"], int(match["segment"]))


def journals_in(folder: Path) -> FolderContents:
    """Return every journal of a folder; a folder that does not exist has none."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    strangers: list[str] = []
    for name in _names(folder):
        match = _NAME.fullmatch(name)
        if match is None:
            strangers.append(name)
        else:
            found[match["key"]].append(int(match["segment"]))
    journals = {key: tuple(sorted(found[key])) for key in sorted(found)}
    return FolderContents(journals=journals, strangers=tuple(sorted(strangers)))


def segments_of(folder: Path, key: str) -> tuple[int, ...]:
    """Return the numbers of the segments of one journal, ascending."""
    matches = (_NAME.fullmatch(name) for name in _names(folder) if name.startswith(f"{key}-"))
    return tuple(sorted(int(match["segment"]) for match in matches if match is not None))


def delete_segments(folder: Path, key: str, *, below: int | None = None) -> int:
    """Delete the segments lower than ``below`` (None: all) of a journal; return how many; raise OSError."""
    doomed = [number for number in segments_of(folder, key) if below is None or number < below]
    for number in doomed:  # rule 1: ascending
        with suppress(FileNotFoundError):
            segment_path(folder, key, number).unlink()
    return len(doomed)


class SegmentFile:
    """A segment that one thread writes. It never reuses a file that exists."""

    def __init__(
        self, folder: Path, *, key: str, app_id: str, session_id: str, segment: int, write_at: WriteAt = os.pwrite
    ) -> None:
        self.path = segment_path(folder, key, segment)
        self.position = Position(segment)
        """Behind the last batch; the number is that of the next one."""
        self._tag = tag_of(key)
        self._owed = b""
        """The batch that is to be written a second time."""
        self._write_at = write_at
        self._head = segment_header(
            SegmentHeader(
                key=key,
                app_id=app_id,
                session_id=session_id,
                segment=segment,
                created_us=time.time_ns() // 1000,
            )
        )
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, number: int, payload: bytes, *, is_twice: bool = False) -> None:
        """Write one batch of whole records, with the header before the first; after an OSError call it again.

        ``is_twice``: behind the next one too.
        """
        self.write_all([(number, payload, is_twice)])

    def write_all(self, batches: Iterable[tuple[int, bytes, bool]]) -> None:
        """Write batches as ``write`` does, each with its number and whether twice, at once; none of them: nothing.

        A call of the system for each lets other threads have the interpreter in between, for a millisecond if they
        compute: the 400 batches of a minute took 0.4 s where a node was taking over the calls of another.
        """
        segment, offset, number = self.position
        parts, owed = [b"" if offset else self._head], self._owed
        for number, payload, is_twice in batches:
            packed = batch(number, payload, tag=self._tag, segment=segment)
            parts += packed, owed
            owed = packed if is_twice else b""
        if len(parts) > 1:
            self._put(b"".join(parts))
            self._owed = owed
            self.position = Position(segment, self.position.offset_bytes, number + 1)

    def close(self) -> None:
        """Write what is owed (rule 3), as far as the disk takes it, and close the descriptor."""
        with suppress(OSError):
            self._put(self._owed)
        os.close(self._fd)

    def _put(self, chunk: bytes) -> None:
        segment, offset, number = self.position
        view = memoryview(chunk)
        written = 0  # rule 2: always from the start of the batch
        while written < len(chunk):
            written += self._write_at(self._fd, view[written:], offset + written)
        self.position = Position(segment, offset + written, number)

    def put_back(self) -> bool:
        """Copy the segment to its name if its name is gone, or another file's; return whether that was so.

        Its folder was removed, or moved away. Raise OSError; then call it again.
        """
        if is_file_at(self._fd, self.path):
            return False
        # A reader that has the old file open reads it to its end, and then looks for this one.
        self._fd, old = open_copy(self._fd, self.path, self.position.offset_bytes), self._fd
        os.close(old)
        return True


def is_file_at(fd: int, path: Path | str) -> bool:
    """Return whether this name is that of the open file."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def open_copy(source: int, path: Path, size_bytes: int) -> int:
    """Copy the first bytes of an open file to a path; return the copy's descriptor. Raise OSError."""
    copy = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < size_bytes:
            piece = os.pread(source, min(_COPY_BYTES, size_bytes - done), done)
            if not piece:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            done += os.pwrite(copy, piece, done)
    except OSError:
        os.close(copy)
        raise
    return copy


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
