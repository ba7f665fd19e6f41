"""What the tests of the journal share: segments made by hand, and items made comparable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.support.records import frame_record, rows_of
from wavstream.journal.batches import batch, batch_1, tag_of
from wavstream.journal.records import VERSION, ClockRecord, Damage, EventRecord, Item, SegmentHeader, segment_header
from wavstream.journal.segments import segment_path

KEY = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 30.0
"""How long a test waits for what must come: only a broken test ever waits so long."""

Flat = tuple[object, ...]


def record(number: int, *, size_bytes: int = 4) -> bytes:
    """Return a frame that can be told from others."""
    return frame_record(track=0, arrival_us=number, position=number, payload=bytes([number % 251]) * size_bytes)


def frames(numbers: Iterable[int], *, size_bytes: int = 4) -> list[Flat]:
    """Return what ``flat`` makes of those records."""
    return [("frame", 0, n, n, bytes([n % 251]) * size_bytes) for n in numbers]


def flat(items: Iterable[Item]) -> list[Flat]:
    """One tuple for each record, copied out of the reader's buffers."""
    rows: list[Flat] = []
    for item in items:
        if isinstance(item, ClockRecord):
            rows.append(("clock", item.arrival_us))
        elif isinstance(item, Damage):
            rows.append(("damage", item.after_us, item.arrival_us))
        elif isinstance(item, EventRecord):
            rows.append(("event", item.arrival_us, item.event))
        else:
            rows += rows_of(item)
    return rows


def head_bytes(segment: int, *, session_id: str = "call-77", version: int = VERSION, key: str = KEY) -> bytes:
    """Return a segment's header."""
    header = SegmentHeader(key=key, app_id="default", session_id=session_id, segment=segment, created_us=1)
    return segment_header(header, version=version)


def packed(number: int, payload: bytes, *, segment: int = 1, version: int = VERSION) -> bytes:
    """Return a batch."""
    return batch_1(number, payload) if version == 1 else batch(number, payload, tag=tag_of(KEY), segment=segment)


def segment_bytes(segment: int, batches: Sequence[bytes], *, first: int = 0, version: int = VERSION) -> bytes:
    """Return a whole segment; ``first``: the number of its first batch."""
    numbered = enumerate(batches, 0 if version == 1 else first)
    return head_bytes(segment, version=version) + b"".join(
        packed(number, payload, segment=segment, version=version) for number, payload in numbered
    )


def put(folder: Path, segment: int, content: bytes) -> Path:
    """Write a segment's file."""
    path = segment_path(folder, KEY, segment)
    path.write_bytes(content)
    return path


def nothing(*_: object) -> None:
    """Do nothing: a callback that nobody needs."""


class FaultyDisk:
    """``os.pwrite`` with faults from a list: each call takes the next one, until none is left.

    An int: take only so many bytes. An OSError: fail after half of the bytes were written.
    """

    def __init__(self, write_at: Callable[[int, memoryview, int], int], faults: Iterable[int | OSError]) -> None:
        self._write_at = write_at
        self.faults = list(faults)

    def __call__(self, fd: int, chunk: memoryview, offset: int) -> int:
        fault = self.faults.pop(0) if self.faults else len(chunk)
        if isinstance(fault, OSError):
            self._write_at(fd, chunk[: len(chunk) // 2], offset)
            raise fault
        return self._write_at(fd, chunk[:fault], offset)
