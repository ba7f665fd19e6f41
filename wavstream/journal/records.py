"""The journal's record format: pure, no files.

A journal is a chain of segments. A segment is a header and then batches (see ``batches``), a batch is records.

    segment  := magic "WAVSJRNL" | version u16 | header_length u16 | header (JSON) | crc32 u32 (of all before it)
    payload  := record *                                                            (of a batch)
    record   := payload_length u32 | kind u8 | frames u8 | track u16 | arrival_us u64 | position u64 | payload

All integers are little-endian. ``arrival_us`` is Unix time in microseconds and never decreases within a session.
``position`` is the media time of the payload's first sample in samples of its track. ``frames`` is 0 but in a FRAMES
record.

A record never spans two batches, so whoever reads whole batches reads whole records. The checksum is per batch: that
costs 0.08 us a frame, one per record 0.2 us or more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from wavstream.journal.events import JournalEvent, decode, encode
from wavstream.journal.frame_run import FrameRun

SEGMENT_MAGIC = b"WAVSJRNL"
VERSION = 3
"""What is written; ``READABLE`` is read."""
READABLE = (1, 2, 3)
MAX_FRAMES = 255
"""Of one FRAMES record."""

RECORD = struct.Struct("<IBBHQQ")
_SEGMENT = struct.Struct("<8sHH")
_CRC = struct.Struct("<I")
_SAMPLES = struct.Struct("<I")


class RecordKind(IntEnum):
    """The kinds of record."""

    FRAME = 1
    """Payload: the frame's bytes, in the codec of its stream."""
    CLOCK = 2
    """No payload: time has passed. Position: for how many microseconds before it no socket was read, by our fault."""
    WITHHELD = 3
    """Payload: a u32, how many samples of each channel a pause kept out of the journal."""
    EVENT = 4
    """Payload: one of the structs of ``wavstream.journal.events``, as JSON."""
    FRAMES = 5
    """Payload: several frames of one length, one behind the other, that came in one read and follow each other without
    a hole. Position: of the first. Where the others begin follows from it."""


# ---- items of a reader -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """A CLOCK record: time has passed."""

    arrival_us: int
    unread_us: int = 0
    """How much of the time since the last one nothing was read that may have arrived: it was we who were late."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An EVENT record: an event and its time."""

    arrival_us: int
    event: JournalEvent


@dataclass(frozen=True, slots=True)
class Damage:
    """What was written here cannot be read any more; of a reader, in no journal."""

    after_us: int
    """The last arrival before it; 0: there is none."""
    arrival_us: int
    """The first arrival after it."""


Item = FrameRun | ClockRecord | EventRecord | Damage


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a segment: whose journal it is, and which part."""

    key: str
    """The journal's own id, part of the file's name."""
    app_id: str
    session_id: str
    segment: int
    """Number from 1; gaps are segments that were deleted."""
    created_us: int


_decode_header = msgspec.json.Decoder(SegmentHeader).decode


class BrokenSegment(Exception):
    """The header of a segment is not one of ours, or is damaged; the text says how."""


class HeaderCutShort(BrokenSegment):
    """There are too few bytes for a header: it is being written, or a crash came then."""


class UnknownVersion(BrokenSegment):
    """The header is whole, and of a version that is not read here: what follows it is for another wavstream."""


# ---- writing ---------------------------------------------------------------------------------------------------


def segment_header(header: SegmentHeader, *, version: int = VERSION) -> bytes:
    """Return the bytes that a segment starts with."""
    body = msgspec.json.encode(header)
    head = _SEGMENT.pack(SEGMENT_MAGIC, version, len(body)) + body
    return head + _CRC.pack(zlib.crc32(head))


def withheld_record(*, track: int, arrival_us: int, position: int, samples: int) -> bytes:
    """Return a WITHHELD record: samples of each channel that a pause kept out, from ``position`` on."""
    return RECORD.pack(_SAMPLES.size, RecordKind.WITHHELD, 0, track, arrival_us, position) + _SAMPLES.pack(samples)


def clock_record(arrival_us: int, *, unread_us: int = 0) -> bytes:
    """Return a CLOCK record; ``unread_us``: how much of the time since the last one no socket was read."""
    return RECORD.pack(0, RecordKind.CLOCK, 0, 0, arrival_us, unread_us)


def event_record(arrival_us: int, event: JournalEvent) -> bytes:
    """Return an EVENT record."""
    body = encode(event)
    return RECORD.pack(len(body), RecordKind.EVENT, 0, 0, arrival_us, 0) + body


# ---- reading ---------------------------------------------------------------------------------------------------


def read_segment_header(head: bytes) -> tuple[SegmentHeader, int, int]:
    """Return the header at the start of ``head``, its size in bytes and its version; raise BrokenSegment."""
    if len(head) < _SEGMENT.size:
        raise HeaderCutShort("shorter than a segment header")
    magic, version, length = _SEGMENT.unpack_from(head)
    if magic != SEGMENT_MAGIC:
        raise BrokenSegment("not a wavstream journal")
    end = _SEGMENT.size + length
    if len(head) < end + _CRC.size:
        raise HeaderCutShort("header cut short")
    if _CRC.unpack_from(head, end)[0] != zlib.crc32(head[:end]):
        raise BrokenSegment("header checksum is wrong")
    # After the checksum: a damaged version is damage, and not a version.
    if version not in READABLE:
        known = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
        raise UnknownVersion(f"journal version {version}; this wavstream reads versions {known}")
    try:
        return _decode_header(head[_SEGMENT.size : end]), end + _CRC.size, version
    except msgspec.MsgspecError as error:
        raise BrokenSegment(f"header is not understood: {error}") from error


def items(payload: memoryview | bytes) -> list[Item]:
    """Return the records of one batch, frames gathered into runs."""
    found: list[Item] = []
    add_items(memoryview(payload), found, lambda record: (record,))
    return found


def add_items(view: memoryview, found: list[Item], tell: Callable[[EventRecord], Iterable[Item]]) -> None:
    """Add the records of one batch to those before it; ``tell`` returns what stands in the place of an event.

    Frames are gathered into runs. None passes an event, a clock or a withheld frame, and those of a track keep their
    order.
    """
    unpack, offset, end = _UNPACK, 0, len(view)
    run = found[-1] if found and isinstance(found[-1], FrameRun) and not found[-1].is_owned else None
    audio, withheld, head_bytes = _AUDIO, _WITHHELD, RECORD.size
    while offset < end:
        length, kind, frames, track, arrival_us, position = unpack(view, offset)
        body = offset + head_bytes
        offset = body + length
        if kind in audio:
            if run is None or run.withheld:
                run = FrameRun()
                found.append(run)
            put_arrival, put_position, put_size, put_frames, put_payload = run.puts.get(track) or run.add(track)
            put_arrival(arrival_us)
            put_position(position)
            put_size(length)
            put_frames(frames or 1)
            put_payload(view[body:offset])
        elif kind == withheld:
            if run is None or not run.withheld:
                run = FrameRun(withheld=True)
                found.append(run)
            put_arrival, put_position, put_size, put_frames, _ = run.puts.get(track) or run.add(track)
            put_arrival(arrival_us)
            put_position(position)
            put_size(_SAMPLES.unpack_from(view, body)[0])
            put_frames(1)
        elif kind == RecordKind.CLOCK:
            run = None
            found.append(ClockRecord(arrival_us, position))
        elif kind == RecordKind.EVENT:
            run = None
            found += tell(EventRecord(arrival_us, decode(view[body:offset])))


_UNPACK = RECORD.unpack_from
# Plain integers: reading a member of an Enum takes 0.1 us.
_AUDIO, _WITHHELD = frozenset((int(RecordKind.FRAME), int(RecordKind.FRAMES))), int(RecordKind.WITHHELD)
