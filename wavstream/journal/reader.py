"""The reader of a journal, the same while it grows and after a crash.

1. What does not count at the end of the last segment may be half written: the reader waits there. Where a batch that
   counts lies behind it, or a later segment exists, it is torn or damaged, and the reader goes on behind it.
2. Look for a later segment first, and read the bytes then. A writer never goes back to an earlier segment, so if a
   later one was there, the bytes are all that the segment will ever hold.
3. Numbers tell what is missing. A number that was read before is a copy, and passed over. One that is too high says
   that those between are lost: their copies are looked for, and if there are none a ``Damage`` stands in their place.
   Segments of version 1 count for themselves, so there a broken end is taken for damage unless it is cut short.
4. What the disk refuses is tried again with the next read. After ten in a row it counts as damaged, unless it is we who
   lack something (descriptors, memory): that ends.
5. If the folder was removed while the journal grows, the writer copies the segment to its name, byte for byte, and goes
   on there. Whoever has read the old file to its end goes on in that one, at the same place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from wavstream.journal.batches import Batch, tag_of
from wavstream.journal.events import RecordingStarted
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.records import (
    RECORD,
    BrokenSegment,
    Damage,
    EventRecord,
    Item,
    SegmentHeader,
    UnknownVersion,
    add_items,
)
from wavstream.journal.restated import Restated
from wavstream.journal.segment_reader import SegmentReader, read_header_of
from wavstream.journal.segments import Position, segment_path, segments_of
from wavstream.model.recording import Recording

READ_BYTES = 4 * 1024 * 1024
"""Memory of one read; a single batch may be larger, and behind damage up to a segment is looked at."""
TRIES = 10
"""Reads in a row that the disk may refuse, before what it refuses counts as damaged."""

FIRST = Position(1)
"""The start: before the first segment, or the first that still exists."""

_OUR_LACK = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


class JournalReader:
    """Reads the items of one journal in order, from a position on. For one thread at a time."""

    def __init__(self, folder: Path, key: str, *, start: Position = FIRST, known: Sequence[Recording] = ()) -> None:
        """Prepare to read from ``start``; nothing is opened before the first read, and no segment need exist yet.

        ``known``: recordings of the journal, as the catalog has them; used where their start cannot be read.
        """
        self.key = key
        self.position = start
        """The position after the last batch that was read; another reader may start there."""
        self.at_end = False
        """Whether the last read took every whole batch that there was."""
        self.problems: list[str] = []
        """A sentence for a person about each torn, broken or missing part that was passed over."""
        self.is_damaged = False
        """Whether more is missing than a crash tears."""
        self._folder = folder
        self._start = start
        self._known = known
        self._told = Restated(known)
        self._tag = tag_of(key)
        self._open: SegmentReader | None = None
        self._next_path = ""
        self._following: int | None = None
        """The segment behind the open one, once it is there."""
        self._expected: int | None = None
        """The number that comes next; None: any may."""
        self._last_us = 0
        self._is_broken = False
        """Whether something was passed over whose loss no number will tell."""
        self._failures = 0

    @property
    def unread_bytes(self) -> int:
        """Bytes of the open segment after ``position``: at the end of a dead journal, its torn or broken rest."""
        return 0 if self._open is None else self._open.size_bytes - self._offset(self._open)

    @property
    def next_number(self) -> int:
        """The number of the batch that a writer may write next: one is left out where something broken is behind."""
        return (self._expected or 0) + (self._is_broken or self._has_broken_end())

    def read(self, *, max_bytes: int = READ_BYTES) -> list[Item]:
        """Return what was written since the last read, about ``max_bytes`` of it; read again until ``at_end``.

        Payloads are views of the bytes that were read: copy what is to be kept. Raise OSError if the
        disk refuses and nothing was read before; else return that, and let the next call raise it (rule 4).
        """
        found: list[Item] = []
        self.at_end = False
        try:
            self._read(found, max_bytes)
        except OSError as error:
            self._failures += error.errno not in _OUR_LACK
            if not found:
                raise
        else:
            self._failures = 0
        if found:
            last = found[-1]
            self._last_us = last.last_us if isinstance(last, FrameRun) else last.arrival_us
        return found

    def again(self) -> JournalReader:
        """Return a reader that begins where this one began."""
        return JournalReader(self._folder, self.key, start=self._start, known=self._known)

    def end(self) -> None:
        """Note what is left at the end of a journal that nobody writes to any more."""
        if self.unread_bytes:
            self.problems.append(f"its last {self.unread_bytes} bytes are torn or broken")
            self.is_damaged |= self._has_broken_end()

    def close(self) -> None:
        """Close the descriptor; a further read opens the segment again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _is_giving_up(self) -> bool:
        return self._failures >= TRIES

    def _read(self, found: list[Item], room_bytes: int) -> None:
        while room_bytes > 0:
            segment = self._open or self._open_next()
            if segment is None:
                self.at_end = True
                break
            segment.tolerant = self._is_giving_up
            # Rule 2: before the read.
            if self._following is None and os.path.exists(self._next_path):
                self._following = self.position.segment + 1
            taken = self._read_batches(segment, found, room_bytes)
            if taken is None:
                break
            taken_bytes, is_exhausted = taken
            room_bytes -= taken_bytes
            if not is_exhausted:
                continue
            if self._following is not None:
                self._leave(segment, self._following)
                continue
            if not found and self._was_put_back(segment):  # rule 5
                self.close()
                continue
            self._following = self._after_gone(segment, is_idle=not found)
            if self._following is None:  # rule 1: more may come
                self.at_end = True
                break

    # ---- from segment to segment -----------------------------------------------------------------------------------

    def _open_next(self) -> SegmentReader | None:
        """Open the segment at the position, or the first after it that there is; None: there is none."""
        wanted = number = self.position.segment
        while True:
            path = segment_path(self._folder, self.key, number)
            try:
                self._open = SegmentReader(path, tag=self._tag, segment=number)
            except FileNotFoundError:
                least = number  # it may have been made by the time that the folder is listed
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.ELOOP) and not self._is_giving_up:
                    raise
                self._note_damage(f"segment {number} cannot be opened ({error.strerror})", once=True)
                least = number + 1
            else:
                break
            following = self._next_existing(least)
            if following is None:
                return None
            number = following
        if number > wanted:
            if wanted > FIRST.segment or self.position.offset_bytes:
                self._note_damage(f"segment {wanted}, and all before segment {number}, are gone")
            self.position = Position(number, 0, self._expected or 0)
        self._next_path = str(segment_path(self._folder, self.key, number + 1))
        return self._open

    def _next_existing(self, least: int) -> int | None:
        found = next((number for number in segments_of(self._folder, self.key) if number >= least), None)
        # A listing that takes a while may miss what is made meanwhile; segments are made in order.
        if found is not None and found > least and segment_path(self._folder, self.key, least).exists():
            return least
        return found

    def _after_gone(self, segment: SegmentReader, *, is_idle: bool) -> int | None:
        """Return the segment to go on with if the open one was deleted, or the next is missing; else None."""
        if segment.is_deleted or is_idle:  # a folder is not listed where a live journal has something new
            return self._next_existing(self.position.segment + 1)
        return None

    def _was_put_back(self, segment: SegmentReader) -> bool:
        """Return whether the open segment's name is another file's by now."""
        path = segment_path(self._folder, self.key, self.position.segment)
        return not segment.is_at(path) and path.exists()

    def _leave(self, segment: SegmentReader, following: int) -> None:
        number, unread_bytes = self.position.segment, self.unread_bytes
        is_broken = self._has_broken_end()
        if segment.form is None:
            self.problems.append(f"segment {number} has no readable header and was passed over")
        elif unread_bytes:
            offset = self._offset(segment)
            self.problems.append(f"segment {number}: its last {unread_bytes} bytes are broken, from {offset} on")
        if segment.form is not None and segment.form.version == 1:
            self._expected = None
        elif number == FIRST.segment:
            self._expected = self._expected or 0
        self._is_broken |= is_broken and self._expected is None  # else a number will tell
        self.close()
        self._following = None
        self.position = Position(following, 0, self._expected or 0)

    def _has_broken_end(self) -> bool:
        """Return whether there are bytes behind the position that no crash has torn."""
        segment = self._open
        return segment is not None and self.unread_bytes > 0 and not segment.is_torn(self._offset(segment))

    def _offset(self, segment: SegmentReader) -> int:
        return max(self.position.offset_bytes, segment.begin)

    # ---- in a segment ----------------------------------------------------------------------------------------------

    def _read_batches(self, segment: SegmentReader, found: list[Item], room_bytes: int) -> tuple[int, bool] | None:
        """Add to ``found``; return the bytes taken, and whether nothing that counts is left; None: no room is left."""
        if segment.form is None and not self._learn_form(segment):
            return 0, True
        offset = self._offset(segment)
        batches = segment.batches(offset, room_bytes=room_bytes)
        if found and batches and batches[0].end - offset > room_bytes:
            return None
        if not batches:
            behind = segment.next_after(offset, least=self._expected or 0)
            if behind is None:
                return 0, True
            self._pass_over(segment, behind, found)
            return 0, False
        is_older = segment.form is not None and segment.form.version == 1
        for batch in batches:
            # No checksum covers a number of version 1, and a batch that follows another cannot be a copy there.
            number = self._expected if is_older and self._expected is not None else batch.number
            if self._expected is not None and number > self._expected:
                self._pass_over(segment, batch, found)
            if self._is_broken:
                self._add_damage(batch, found)
            if self._expected is None or number >= self._expected:  # rule 3: else it is a copy
                self._add(batch, found)
                self._expected = number + 1
            self.position = Position(self.position.segment, batch.end, self._expected)
        end = self.position.offset_bytes
        return end - offset, end == segment.size_bytes

    def _learn_form(self, segment: SegmentReader) -> bool:
        """Find out how the segment's batches are framed, and which number comes first; return False if that fails."""
        try:
            form = segment.learn_form()
        except UnknownVersion as error:
            self._note_damage(f"segment {self.position.segment}: {error}", once=True)
            return False
        if form is None:
            return False
        number, offset, expected = self.position
        if form.version == 1 or offset or expected or number == FIRST.segment:
            self._expected = expected
        return True

    def _pass_over(self, segment: SegmentReader, behind: Batch, found: list[Item]) -> None:
        """Stand before the batch that is next, having added what there is of those between (rule 3)."""
        number, offset, expected = self.position.segment, self._offset(segment), self._expected
        if expected is None:
            self.problems.append(f"segment {number}: {behind.start - offset} bytes are broken, from {offset} on")
            self._add_damage(behind, found)
        elif behind.number > expected:
            copies = segment.copies(behind.start, least=expected, below=behind.number)
            if len(copies) < behind.number - expected and segment.form is not None and segment.form.version == 2:
                copies = {**self._copies_ahead(number, expected, behind.number), **copies}
            for each in sorted(copies):
                self._add(copies[each], found)
            missing = behind.number - expected - len(copies)
            if missing:
                self.problems.append(f"segment {number}: {missing} batches are missing, from {offset} on")
                self._add_damage(behind, found)
        self._expected = behind.number if expected is None else max(behind.number, expected)
        self.position = Position(number, behind.start, self._expected)

    def _copies_ahead(self, number: int, least: int, below: int) -> dict[int, Batch]:
        """Return the batches with these numbers that a failed sync had written again, in later segments."""
        copies: dict[int, Batch] = {}
        while len(copies) < below - least:
            number += 1
            try:
                segment = SegmentReader(segment_path(self._folder, self.key, number), tag=self._tag, segment=number)
            except OSError:
                break
            try:
                found = segment.copies_at_start(least=least, below=below)
            finally:
                segment.close()
            if found is None:
                break
            copies.update(found)
        return copies

    def _add(self, batch: Batch, found: list[Item]) -> None:
        """Add the items of a batch."""
        add_items(batch.payload, found, self._told.take)

    def _add_damage(self, behind: Batch, found: list[Item]) -> None:
        """Say in place of what is lost between which arrivals it was."""
        after_us = self._last_us
        if found:
            last = found[-1]
            after_us = last.last_us if isinstance(last, FrameRun) else last.arrival_us
        damage = Damage(after_us, RECORD.unpack_from(behind.payload)[4])
        found.append(damage)
        found.extend(self._told.after_damage(damage))
        self.is_damaged, self._is_broken = True, False

    def _note_damage(self, problem: str, *, once: bool = False) -> None:
        self.is_damaged = True
        self._is_broken |= self._expected is None  # else a number will tell
        if not once or problem not in self.problems:
            self.problems.append(problem)


def read_header(folder: Path, key: str) -> SegmentHeader:
    """Return the header of the first readable segment, or one made from the first recording if none is readable.

    Raise BrokenSegment if there is neither, or OSError.
    """
    broken = BrokenSegment("there is no such journal")
    for segment in segments_of(folder, key):
        try:
            return read_header_of(segment_path(folder, key, segment))
        except UnknownVersion:
            raise
        except BrokenSegment as error:
            broken = error
    reader = JournalReader(folder, key)
    try:
        while not reader.at_end:
            for item in reader.read():
                if isinstance(item, EventRecord) and isinstance(item.event, RecordingStarted):
                    told = item.event.recording
                    number = reader.position.segment
                    return SegmentHeader(
                        key=key, app_id=told.app_id, session_id=told.session_id, segment=number, created_us=0
                    )
    finally:
        reader.close()
    raise broken
