"""One segment's file, read: its header, the batches that follow each other, and the next one behind damage.

1. A file is only opened if it is one: a FIFO would make whoever opens it wait, a link leads elsewhere.
2. The header says how batches are framed. Where it is damaged, the first batch that counts says it.
3. What the disk refuses to read is an OSError. ``tolerant`` takes it for damage instead, a block at a time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from wavstream.journal.batches import Batch, Form, form_of
from wavstream.journal.records import BrokenSegment, HeaderCutShort, SegmentHeader, UnknownVersion, read_segment_header
from wavstream.journal.segments import is_file_at

HEADER_BYTES = 128 * 1024
"""More than the largest header, whose length has 16 bits."""

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_BLOCK_BYTES = 4096
_LOOK_BYTES = 64 * 1024
"""Behind damage the next batch is looked for in so much, then in eight times as much, until the file ends."""
_COPY_WITHIN = 8
"""Batches after which the copy of one has come; the writer needs two."""


def open_file(path: Path) -> int:
    """Open a regular file for reading, without ever waiting for it; raise OSError (rule 1)."""
    fd = os.open(path, _OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.ENXIO, "is not a file", str(path))
    return fd


def read_header_of(path: Path) -> SegmentHeader:
    """Return the header of a segment's file; raise BrokenSegment or OSError."""
    fd = open_file(path)
    try:
        return read_segment_header(os.pread(fd, HEADER_BYTES, 0))[0]
    finally:
        os.close(fd)


class SegmentReader:
    """An open segment. Offsets are those of the file."""

    def __init__(self, path: Path, *, tag: int, segment: int) -> None:
        """Open the file; raise OSError."""
        self.form: Form | None = None
        """How its batches are framed; None: that is not known yet."""
        self.begin = 0
        """Where its batches begin, once the form is known."""
        self.tolerant = False
        """Rule 3."""
        self._tag = tag
        self._segment = segment
        self._fd = open_file(path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return os.fstat(self._fd).st_size

    def is_at(self, path: Path) -> bool:
        """Return whether this is its name."""
        return is_file_at(self._fd, path)

    @property
    def is_deleted(self) -> bool:
        """Whether its name is gone."""
        return not os.fstat(self._fd).st_nlink

    def learn_form(self) -> Form | None:
        """Find out how its batches are framed (rule 2); None: too little of it can be read. Raise UnknownVersion."""
        if self.form is None:
            head = self._read(HEADER_BYTES, 0)
            try:
                _, self.begin, version = read_segment_header(head)
                self.form = Form(1) if version == 1 else Form(2, self._tag, self._segment)
            except UnknownVersion:
                raise
            except BrokenSegment:
                for chunk in self._windows(0):
                    form = form_of(chunk, tag=self._tag, segment=self._segment)
                    if form.find(chunk, 0, least=0) is not None:
                        self.form = form
                        break
        return self.form

    def batches(self, offset: int, *, room_bytes: int) -> Sequence[Batch]:
        """Return the batches from there on that follow each other, in the room; the first in any case."""
        form = self._known_form
        left_bytes = self.size_bytes - offset
        if left_bytes < form.head_bytes:
            return ()
        chunk = self._read(min(left_bytes, max(room_bytes, form.head_bytes)), offset)
        found = form.batches(memoryview(chunk), at=offset)
        if found or len(chunk) == left_bytes:
            return found
        head = form.head(chunk, 0)
        size_bytes = 0 if head is None else form.head_bytes + head.payload_bytes
        if not len(chunk) < size_bytes <= left_bytes:
            return ()
        return form.batches(memoryview(self._read(size_bytes, offset)), at=offset)

    def next_after(self, offset: int, *, least: int) -> Batch | None:
        """Return the first batch that counts there or behind; it is read anew, since the damage may not last."""
        form = self._known_form
        for chunk in self._windows(offset):
            found = form.batch_at(memoryview(chunk), 0)
            if found is None or (form.version == 1 and found.number < least):
                found = form.find(chunk, 1, least=least)
            if found is not None:
                return found._replace(start=offset + found.start, end=offset + found.end)
        return None

    def copies(self, offset: int, *, least: int, below: int) -> dict[int, Batch]:
        """Return the batches with these numbers that were written again soon after ``offset``, by number."""
        chunk = self._read(min(8 * _LOOK_BYTES, self.size_bytes - offset), offset)
        following = self._known_form.batches(memoryview(chunk))[:_COPY_WITHIN]
        return {each.number: each for each in following if least <= each.number < below}

    def copies_at_start(self, *, least: int, below: int) -> dict[int, Batch] | None:
        """Return those with which the segment begins; None: it does not begin with any from before ``below``."""
        if self.learn_form() is None:
            return None
        found: dict[int, Batch] = {}
        offset, is_again = self.begin, False
        while batches := self.batches(offset, room_bytes=_LOOK_BYTES):
            for each in batches:
                if each.number >= below:
                    return found if is_again else None
                is_again = True
                if each.number >= least:
                    found[each.number] = each
            offset = batches[-1].end
        return found if is_again else None

    def is_torn(self, offset: int) -> bool:
        """Return whether what is left from there on looks as a crash leaves it: cut short, or never written."""
        rest, form = self._read(self.size_bytes - offset, offset), self.form
        if not rest.strip(b"\0"):
            return True
        if form is None:
            return _is_header_cut_short(rest)
        head = form.head(rest, 0)
        return len(rest) < form.head_bytes or (head is not None and form.head_bytes + head.payload_bytes > len(rest))

    @property
    def _known_form(self) -> Form:
        assert self.form is not None
        return self.form

    def _windows(self, offset: int) -> Iterator[bytes]:
        """Yield the bytes from there on, more at a time, up to the end of the file."""
        left_bytes, size_bytes = self.size_bytes - offset, _LOOK_BYTES
        while left_bytes > 0:
            yield self._read(min(size_bytes, left_bytes), offset)
            if size_bytes >= left_bytes:
                break
            size_bytes *= 8

    def _read(self, size_bytes: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, size_bytes, offset)
        except OSError:
            if not self.tolerant:
                raise
        blocks = []
        end = min(offset + size_bytes, self.size_bytes)
        while offset < end:
            until = min(end, (offset // _BLOCK_BYTES + 1) * _BLOCK_BYTES)
            try:
                blocks.append(os.pread(self._fd, until - offset, offset))
            except OSError:
                blocks.append(b"\xff" * (until - offset))
            offset = until
        return b"".join(blocks)


def _is_header_cut_short(head: bytes) -> bool:
    try:
        read_segment_header(head)
    except HeaderCutShort:
        return True
    except BrokenSegment:
        return False
    return False
