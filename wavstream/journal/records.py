"""The journal's record format: pure, no files.

A journal is a chain of segments. A segment is a header and then batches; a batch is a header and then records.

    segment  := magic "WAVSJRNL" | version u16 | header_length u16 | header (JSON) | crc32 u32 (of all before it)
    batch    := magic "WSB1" | number u32 | payload_length u32 | crc32 u32 (of the payload) | payload
    payload  := record *
    record   := payload_length u32 | kind u8 | 0 u8 | track u16 | arrival_us u64 | position u64 | payload

All integers are little-endian. ``number`` counts the batches of a segment from 0. ``arrival_us`` is Unix time in
microseconds and never decreases within a session. ``position`` is the media time of the payload's first sample in
samples of its track.

Two rules make the format safe to read at any moment:

1. A batch counts only when it is whole and its checksum is right. The first that is not ends the segment: it is the
   torn tail of a crash, or it is still being written.
2. A record never spans two batches, so whoever reads whole batches reads whole records.

The checksum is per batch because that costs 0.08 us a frame where one per record costs 0.2 us or more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.recording import EndReason, Recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEGMENT_MAGIC = b"WAVSJRNL"
BATCH_MAGIC = b"WSB1"
VERSION = 1

RECORD = struct.Struct("<IBBHQQ")
BATCH = struct.Struct("<4sIII")
_SEGMENT = struct.Struct("<8sHH")
_CRC = struct.Struct("<I")
_SAMPLES = struct.Struct("<I")

_HEADER_DTYPE = np.dtype(
    [("length", "<u4"), ("kind", "u1"), ("zero", "u1"), ("track", "<u2"), ("arrival", "<i8"), ("position", "<i8")]
)
_SAMPLES_DTYPE = np.dtype("<u4")


class Kind(IntEnum):
    """What a record is."""

    FRAME = 1
    """Payload: the frame's bytes, in the codec of its stream."""
    CLOCK = 2
    """No payload: time has passed."""
    WITHHELD = 3
    """Payload: a u32, how many samples of each channel a pause kept out of the journal."""
    EVENT = 4
    """Payload: one of the event structs below, as JSON."""


# ---- events ----------------------------------------------------------------------------------------------------


class StreamFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream said of itself when it started. ``tracks`` are numbered ``first_track``, ``first_track + 1``."""

    stream: int
    leg: str
    dialect: str
    format: MediaFormat
    clock: TrackClock
    tracks: tuple[Track, ...]
    first_track: int
    channel: Channel | None = None


class StreamSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that was there already when a recording started."""

    facts: StreamFacts
    joined_us: int
    position: int
    """Samples of each channel that it had sent."""
    floor_us: int | None
    """The smallest (arrival - media position) of its recent frames; None: it has sent nothing yet."""


class StreamOpened(msgspec.Struct, frozen=True, kw_only=True, tag="stream_opened"):
    """A stream started; its tracks may send from now on."""

    facts: StreamFacts


class StreamClosed(msgspec.Struct, frozen=True, kw_only=True, tag="stream_closed"):
    """A stream is over. ``clean``: by its own will; else it was lost and its leg may come back."""

    stream: int
    clean: bool


class RecordingStarted(msgspec.Struct, frozen=True, kw_only=True, tag="recording_started"):
    """A recording starts here. It carries all that a fold, or a recovery without a catalog, must know."""

    recording: Recording
    streams: tuple[StreamSnapshot, ...]
    leg_order: tuple[str, ...]
    """Names of the session's legs in order of arrival."""


class RecordingPaused(msgspec.Struct, frozen=True, kw_only=True, tag="recording_paused"):
    """From here on nothing belongs to this recording, until it is resumed."""

    recording_id: str
    journaled: bool
    """Whether frames keep coming into the journal because another recording runs on."""


class RecordingResumed(msgspec.Struct, frozen=True, kw_only=True, tag="recording_resumed"):
    """The pause of this recording is over."""

    recording_id: str


class RecordingStopped(msgspec.Struct, frozen=True, kw_only=True, tag="recording_stopped"):
    """The recording ends. What it has of later than ``end_us`` stays; silence is written up to ``end_us`` only."""

    recording_id: str
    reason: EndReason
    end_us: int


class Digit(msgspec.Struct, frozen=True, kw_only=True, tag="digit"):
    """A DTMF digit that the stream reported."""

    stream: int
    digit: str


class Mark(msgspec.Struct, frozen=True, kw_only=True, tag="mark"):
    """A name that the stream gave to this moment."""

    stream: int
    name: str


class ServerStopped(msgspec.Struct, frozen=True, tag="server_stopped"):
    """The server shut down in good order."""


class ServerStarted(msgspec.Struct, frozen=True, tag="server_started"):
    """The server is back: every stream of before is lost."""


Event = (
    StreamOpened
    | StreamClosed
    | RecordingStarted
    | RecordingPaused
    | RecordingResumed
    | RecordingStopped
    | Digit
    | Mark
    | ServerStopped
    | ServerStarted
)

_encode_event = msgspec.json.Encoder(order="deterministic").encode
_decode_event: Any = msgspec.json.Decoder(Event).decode


# ---- what a reader gives ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Consecutive FRAME (or WITHHELD) records whose payloads have one length; all arrays have n rows."""

    withheld: bool
    """True: ``payload`` is empty and ``samples`` says how much was kept out."""
    track: NDArray[np.uint16]
    arrival_us: NDArray[np.int64]
    position: NDArray[np.int64]
    payload: NDArray[np.uint8]
    """(n, bytes of a payload); a view into the batch."""
    samples: NDArray[np.int64] | None = None
    """(n,) samples of each channel withheld; None for frames."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time has passed."""

    arrival_us: int


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with its time."""

    arrival_us: int
    event: Event


Item = Run | Clock | Happening


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Whose journal a segment belongs to."""

    key: str
    """The journal's own id, part of the file's name."""
    app_id: str
    session_id: str
    segment: int
    """From 1; gaps are segments that were deleted."""
    created_us: int


_decode_header = msgspec.json.Decoder(SegmentHeader).decode


class BrokenSegment(Exception):
    """The segment's header is not one of ours, or is damaged; the text says how."""


# ---- writing ---------------------------------------------------------------------------------------------------


def segment_header(header: SegmentHeader) -> bytes:
    """The bytes that a segment starts with."""
    body = msgspec.json.encode(header)
    head = _SEGMENT.pack(SEGMENT_MAGIC, VERSION, len(body)) + body
    return head + _CRC.pack(zlib.crc32(head))


def batch(number: int, payload: bytes) -> bytes:
    """A batch of whole records; its payload must not be empty."""
    return BATCH.pack(BATCH_MAGIC, number, len(payload), zlib.crc32(payload)) + payload


def frame_record(*, track: int, arrival_us: int, position: int, payload: bytes) -> bytes:
    """A FRAME record. The hot path packs the head itself with RECORD and appends the payload beside it."""
    return RECORD.pack(len(payload), Kind.FRAME, 0, track, arrival_us, position) + payload


def withheld_record(*, track: int, arrival_us: int, position: int, samples: int) -> bytes:
    """A WITHHELD record: samples of each channel that a pause kept out, from ``position`` on."""
    return RECORD.pack(_SAMPLES.size, Kind.WITHHELD, 0, track, arrival_us, position) + _SAMPLES.pack(samples)


def clock_record(arrival_us: int) -> bytes:
    """A CLOCK record."""
    return RECORD.pack(0, Kind.CLOCK, 0, 0, arrival_us, 0)


def event_record(arrival_us: int, event: Event) -> bytes:
    """An EVENT record."""
    body = _encode_event(event)
    return RECORD.pack(len(body), Kind.EVENT, 0, 0, arrival_us, 0) + body


# ---- reading ---------------------------------------------------------------------------------------------------


def read_segment_header(head: bytes) -> tuple[SegmentHeader, int]:
    """The header at the start of ``head`` and how many bytes it takes; raises BrokenSegment."""
    if len(head) < _SEGMENT.size:
        raise BrokenSegment("shorter than a segment header")
    magic, version, length = _SEGMENT.unpack_from(head)
    if magic != SEGMENT_MAGIC:
        raise BrokenSegment("not a wavstream journal")
    if version != VERSION:
        raise BrokenSegment(f"journal version {version}; this wavstream reads version {VERSION}")
    end = _SEGMENT.size + length
    if len(head) < end + _CRC.size:
        raise BrokenSegment("header cut short")
    if _CRC.unpack_from(head, end)[0] != zlib.crc32(head[:end]):
        raise BrokenSegment("header checksum is wrong")
    return _decode_header(head[_SEGMENT.size : end]), end + _CRC.size


def whole_batches(chunk: bytes, first_number: int) -> tuple[list[memoryview], int]:
    """The payloads of the whole, right batches at the start of ``chunk``, and how many bytes they take.

    ``first_number`` is the number that the first one must have. Stops without an error at the first batch that is
    cut short or wrong (rule 1).
    """
    payloads: list[memoryview] = []
    view = memoryview(chunk)
    offset = 0
    while len(view) - offset >= BATCH.size:
        magic, number, length, checksum = BATCH.unpack_from(view, offset)
        end = offset + BATCH.size + length
        if magic != BATCH_MAGIC or number != first_number + len(payloads) or end > len(view):
            break
        payload = view[offset + BATCH.size : end]
        if zlib.crc32(payload) != checksum:
            break
        payloads.append(payload)
        offset = end
    return payloads, offset


def items(payload: memoryview | bytes) -> Iterator[Item]:
    """The records of one batch, frames gathered into runs."""
    view = memoryview(payload)
    offset = 0
    while offset < len(view):
        length, kind, _, _, arrival_us, _ = RECORD.unpack_from(view, offset)
        body = offset + RECORD.size
        if kind == Kind.FRAME or kind == Kind.WITHHELD:
            run, offset = _run(view, offset, length, kind)
            yield run
            continue
        if kind == Kind.CLOCK:
            yield Clock(arrival_us)
        elif kind == Kind.EVENT:
            yield Happening(arrival_us, _decode_event(view[body : body + length]))
        offset = body + length


def _run(view: memoryview, offset: int, length: int, kind: int) -> tuple[Run, int]:
    """The longest run of records of one kind and length at ``offset``, as strided views, and where it ends."""
    stride = RECORD.size + length
    possible = (len(view) - offset) // stride
    rows = np.frombuffer(view, np.uint8, possible * stride, offset).reshape(possible, stride)
    heads = np.ndarray((possible,), _HEADER_DTYPE, view, offset, (stride,))
    # Each head that is like the first proves where the next one lies, so the first unlike one ends the run.
    unlike = (heads["length"] != length) | (heads["kind"] != kind)
    count = int(unlike.argmax()) if unlike.any() else possible
    heads = heads[:count]
    payload = rows[:count, RECORD.size :]
    withheld = kind == Kind.WITHHELD
    run = Run(
        withheld=withheld,
        track=heads["track"],
        arrival_us=heads["arrival"],
        position=heads["position"],
        payload=payload[:, :0] if withheld else payload,
        samples=np.ascontiguousarray(payload).view(_SAMPLES_DTYPE)[:, 0].astype(np.int64) if withheld else None,
    )
    return run, offset + count * stride
