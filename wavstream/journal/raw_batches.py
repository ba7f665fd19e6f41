"""Batches of a journal as they were written, for whoever copies them elsewhere. Nothing here waits; all of it blocks.

1. Batches come as a segment has them, each once: a copy behind the next one, and what a failed sync has had written
   again in the same segment, is passed over. What a later segment repeats of an earlier one is for the caller to know.
2. What cannot be read is passed over as ``reader`` does, and told by the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wavstream.journal.batches import tag_of
from wavstream.journal.records import RECORD, RecordKind
from wavstream.journal.segment_reader import SegmentReader
from wavstream.journal.segments import segment_path, segments_of

_ROOM_BYTES = 1 << 20
_EVENT = int(RecordKind.EVENT)


class RawBatch(NamedTuple):
    """One batch."""

    segment: int
    number: int
    has_event: bool
    payload: bytes


class Numbers(NamedTuple):
    """Which batches a segment has."""

    first: int
    """The lowest."""
    below: int
    """One more than the highest."""


def raw_batches(path: Path, key: str, segment: int) -> Iterator[RawBatch]:
    """Yield what a segment's file has, in order; raise OSError, UnknownVersion."""
    for number, payload in _batches(path, key, segment):
        yield RawBatch(segment, number, has_event(payload), bytes(payload))


def batches_from(folder: Path, key: str, segment: int, number: int, *, max_bytes: int) -> list[RawBatch]:
    """Return batches of a journal with this number or a higher one, each once, about ``max_bytes`` of them at most.

    ``segment``: in which the first lies, or an earlier one. Raise OSError.
    """
    found: list[RawBatch] = []
    taken, least = 0, number
    for each in segments_of(folder, key):
        if each < segment:
            continue
        for batch in raw_batches(segment_path(folder, key, each), key, each):
            if batch.number < least:
                continue
            if taken >= max_bytes:
                return found
            found.append(batch)
            taken += len(batch.payload)
            least = batch.number + 1
    return found


def numbers_of(path: Path, key: str, segment: int) -> Numbers | None:
    """Return which batches a segment's file has; None: none. Raise OSError."""
    numbers = [number for number, _ in _batches(path, key, segment)]
    return Numbers(min(numbers), max(numbers) + 1) if numbers else None


def has_event(payload: memoryview | bytes) -> bool:
    """Return whether one of a batch's records is an event."""
    at, end, unpack, head_bytes = 0, len(payload), RECORD.unpack_from, RECORD.size
    while at < end:
        length, kind, *_ = unpack(payload, at)
        if kind == _EVENT:
            return True
        at += head_bytes + length
    return False


def _batches(path: Path, key: str, segment: int) -> Iterator[tuple[int, memoryview]]:
    reader = SegmentReader(path, tag=tag_of(key), segment=segment)
    try:
        if reader.learn_form() is None:
            return
        offset, least = reader.begin, 0
        while True:
            found = reader.batches(offset, room_bytes=_ROOM_BYTES)
            if not found:
                behind = reader.next_after(offset, least=least)  # rule 2
                if behind is None:
                    return
                offset = behind.start
                continue
            for batch in found:
                if batch.number >= least:  # rule 1
                    least = batch.number + 1
                    yield batch.number, batch.payload
            offset = found[-1].end
    finally:
        reader.close()
