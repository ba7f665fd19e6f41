"""The reader of a journal, the same while it grows and after a crash.

Three rules:

1. A batch that is not whole ends a segment (see ``records``). In the last segment it may be half written, so the
   reader waits there. If a later segment exists, a crash left it: the reader notes the problem and goes on.
2. Look for a later segment first, and read the bytes then. A writer never goes back to an earlier segment, so if a
   later one was there, the bytes are all that the segment will ever hold.
3. If the folder was removed while the journal grows, the writer copies the segment to its name, byte for byte, and goes
   on there. Whoever has read the old file to its end goes on in that one, at the same place.
"""

from __future__ import annotations

import os
from pathlib import Path

from wavstream.journal.records import (
    BATCH,
    BATCH_MAGIC,
    BrokenSegment,
    Item,
    SegmentHeader,
    items,
    read_segment_header,
    whole_batches,
)
from wavstream.journal.segments import Position, is_file_at, segment_path, segments_of

READ_BYTES = 4 * 1024 * 1024
"""Memory of one read; a single batch may be larger."""

FIRST = Position(1)
"""The start: before the first segment, or the first that still exists."""

_CLOSED = -1
_HEADER_BYTES = 128 * 1024
"""More than the largest header, whose length has 16 bits."""


class JournalReader:
    """Reads the items of one journal in order, from a position on. For one thread at a time."""

    def __init__(self, folder: Path, key: str, *, start: Position = FIRST) -> None:
        """Prepare to read from ``start``; nothing is opened before the first read, and no segment need exist yet."""
        self.key = key
        self.position = start
        """The position after the last batch that was read; another reader may start there."""
        self.at_end = False
        """Whether the last read took every whole batch that there was."""
        self.problems: list[str] = []
        """A sentence for a person about each broken or missing part that was skipped."""
        self._folder = folder
        self._fd = _CLOSED
        self._next_path = ""

    @property
    def unread_bytes(self) -> int:
        """Bytes of the open segment after ``position``: at the end of a dead journal, its torn or broken rest."""
        return 0 if self._fd == _CLOSED else os.fstat(self._fd).st_size - self.position.offset_bytes

    def read(self, *, max_bytes: int = READ_BYTES) -> list[Item]:
        """Return what was written since the last read, about ``max_bytes`` of it; read again until ``at_end``.

        The arrays of the items are views of the bytes that were read: copy what is to be kept. Raise OSError if the
        disk refuses and nothing was read before; else return that, and let the next call raise it.
        """
        found: list[Item] = []
        self.at_end = False
        try:
            self._read(found, max_bytes)
        except OSError:
            if not found:
                raise
        return found

    def close(self) -> None:
        """Close the descriptor; a further read opens the segment again."""
        if self._fd != _CLOSED:
            os.close(self._fd)
            self._fd = _CLOSED

    def _read(self, found: list[Item], room_bytes: int) -> None:
        while room_bytes > 0:
            if self._fd == _CLOSED and not self._open():
                self.at_end = True
                break
            is_followed = os.path.exists(self._next_path)  # rule 2: before the read
            taken_bytes, is_exhausted = self._read_batches(found, room_bytes)
            room_bytes -= taken_bytes
            if not is_exhausted:
                break
            following = self.position.segment + 1 if is_followed else self._after_deleted()
            if following is None and self._was_put_back():  # rule 3
                self.close()
                continue
            if following is None:  # rule 1: more may come
                self.at_end = True
                break
            self._leave(following)

    def _open(self) -> bool:
        """Open the segment at the position, or the first after it if that one is gone; return whether there is one."""
        wanted = self.position.segment
        path = segment_path(self._folder, self.key, wanted)
        if not path.exists():
            existing = [number for number in segments_of(self._folder, self.key) if number >= wanted]
            if not existing:
                return False
            if existing[0] > wanted > FIRST.segment:
                self.problems.append(f"segment {wanted}, and all before segment {existing[0]}, are gone")
            self.position = Position(existing[0])
            path = segment_path(self._folder, self.key, existing[0])
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False  # deleted since: the next read looks further
        self._next_path = str(segment_path(self._folder, self.key, self.position.segment + 1))
        return True

    def _was_put_back(self) -> bool:
        """Return whether the open segment's name is another file's by now."""
        path = segment_path(self._folder, self.key, self.position.segment)
        return not is_file_at(self._fd, path) and path.exists()

    def _after_deleted(self) -> int | None:
        """Return the segment to go on with if the open one was deleted, and perhaps some after it; else None."""
        if os.fstat(self._fd).st_nlink:
            return None
        return next((n for n in segments_of(self._folder, self.key) if n > self.position.segment), None)

    def _read_batches(self, found: list[Item], room_bytes: int) -> tuple[int, bool]:
        """Add to ``found``; return the bytes taken, and whether no whole batch is left in the segment."""
        segment, offset, number = self.position
        if not offset:
            try:
                _, offset = read_segment_header(os.pread(self._fd, _HEADER_BYTES, 0))
            except BrokenSegment:
                return 0, True
        left_bytes = os.fstat(self._fd).st_size - offset
        if left_bytes < BATCH.size:
            self.position = Position(segment, offset, number)
            return 0, True
        size_bytes = min(left_bytes, max(room_bytes, BATCH.size))
        chunk = os.pread(self._fd, size_bytes, offset)
        payloads, taken_bytes = whole_batches(chunk, number)
        if not payloads and size_bytes < left_bytes:  # the first batch is larger than the room: read all of it
            size_bytes = self._batch_bytes(chunk, number, left_bytes)
            chunk = os.pread(self._fd, size_bytes, offset)
            payloads, taken_bytes = whole_batches(chunk, number)
        for payload in payloads:
            found.extend(items(payload))
        self.position = Position(segment, offset + taken_bytes, number + len(payloads))
        return taken_bytes, size_bytes == left_bytes or not payloads

    def _batch_bytes(self, chunk: bytes, number: int, left_bytes: int) -> int:
        """Return the size of the batch whose head the chunk starts with; 0: a wrong head, or a batch cut short."""
        magic, found_number, length_bytes, _ = BATCH.unpack_from(chunk)
        size_bytes: int = BATCH.size + length_bytes
        return size_bytes if magic == BATCH_MAGIC and found_number == number and size_bytes <= left_bytes else 0

    def _leave(self, following: int) -> None:
        segment, offset, _ = self.position
        if not offset:
            self.problems.append(f"segment {segment} has no readable header and was passed over")
        elif self.unread_bytes:
            self.problems.append(f"segment {segment}: its last {self.unread_bytes} bytes are broken, from {offset} on")
        self.close()
        self.position = Position(following)


def read_header(folder: Path, key: str) -> SegmentHeader:
    """Return the header of the first readable segment; raise BrokenSegment if none is readable, or OSError."""
    broken = BrokenSegment("there is no such journal")
    for segment in segments_of(folder, key):
        with segment_path(folder, key, segment).open("rb") as file:
            try:
                return read_segment_header(file.read(_HEADER_BYTES))[0]
            except BrokenSegment as error:
                broken = error
    raise broken
