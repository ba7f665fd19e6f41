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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from wavstream.journal.events import JournalEvent, decode, encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

_HEADER_DTYPE = np.dtype(
    [("length", "<u4"), ("kind", "u1"), ("frames", "u1"), ("track", "<u2"), ("arrival", "<i8"), ("position", "<i8")]
)
_FORM = (1 << 48) - 1
"""Length, kind and number of frames: the lowest six of a head's first eight bytes."""
_SHORT_RUN = 4
"""A run shorter than this many frames is worth trying to make longer by sorting."""
_SAMPLES_DTYPE = np.dtype("<u4")


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


@dataclass(slots=True, eq=False)
class FrameRun:
    """Consecutive FRAME, FRAMES (or WITHHELD) records with payloads of one length; all arrays have n rows.

    Not frozen, which would take three times as long to make: 8 of them a second for two legs.
    """

    withheld: bool
    """True: ``payload`` is empty, and ``samples`` counts what a pause kept out."""
    track: NDArray[np.uint16]
    arrival_us: NDArray[np.int64]
    position: NDArray[np.int64]
    payload: NDArray[np.uint8]
    """(n, bytes of a payload); a view into the batch."""
    samples: NDArray[np.int64] | None = None
    """(n,) samples of each channel withheld; None for frames."""
    frames: int = 1
    """Of each record."""


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


def frames_head(octets: int, frames: int, track: int, arrival_us: int, position: int) -> bytes:
    """Return the head of a FRAMES record; its payload, so many octets of 2 to 255 frames, is appended behind it."""
    return RECORD.pack(octets, RecordKind.FRAMES, frames, track, arrival_us, position)


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


def owned(runs: Sequence[FrameRun]) -> list[FrameRun]:
    """Return the same frames in runs that keep nothing of their batches in memory; views that are alike become one.

    Each is copied once, however often this is asked: the hours of a sender that is ahead of the clock wait for it.
    """
    kept: list[FrameRun] = []
    for (_, frames, withheld, is_owned), alike in groupby(runs, _kind):
        parts = [*alike]
        if is_owned:
            kept += parts
            continue
        samples = [run.samples for run in parts if run.samples is not None]
        kept.append(
            FrameRun(
                withheld,
                np.concatenate([run.track for run in parts]),
                np.concatenate([run.arrival_us for run in parts]),
                np.concatenate([run.position for run in parts]),
                np.concatenate([run.payload for run in parts]),
                np.concatenate(samples) if samples else None,
                frames,
            )
        )
    return kept


def _kind(run: FrameRun) -> tuple[int, int, bool, bool]:
    return run.payload.shape[1], run.frames, run.withheld, run.payload.base is None


def items(payload: memoryview | bytes) -> Iterator[Item]:
    """Yield the records of one batch, frames gathered into runs.

    No frame passes an event, a clock or a withheld frame, and the frames of a track keep their order. But where tracks
    with records of several forms (length, number of frames) alternate, those of one form come before those of another.
    """
    view = memoryview(payload)
    offset = 0
    while offset < len(view):
        length, kind, _, _, arrival_us, position = RECORD.unpack_from(view, offset)
        body = offset + RECORD.size
        if kind in _AUDIO:
            run, end = _run(view, offset)
            if not run.withheld and len(run.track) < _SHORT_RUN and end < len(view):
                runs, end = _sorted_runs(view, offset)
                yield from runs
            else:
                yield run
            offset = end
            continue
        if kind == RecordKind.CLOCK:
            yield ClockRecord(arrival_us, position)
        elif kind == RecordKind.EVENT:
            yield EventRecord(arrival_us, decode(view[body : body + length]))
        offset = body + length


_AUDIO = frozenset((RecordKind.FRAME, RecordKind.FRAMES, RecordKind.WITHHELD))


def _sorted_runs(view: memoryview, offset: int) -> tuple[list[FrameRun], int]:
    """Return the frames at ``offset``, one run for each form of record, and where they end.

    For legs of different codecs or rates, whose frames alternate: a run for each frame costs 6 us, this 1 us.
    """
    forms: dict[int, tuple[int, int, int]] = {}
    places: dict[tuple[int, int, int], list[int]] = {}
    end = offset
    while end < len(view):
        length, kind, frames, track, _, _ = RECORD.unpack_from(view, end)
        form = length, kind, frames
        if kind not in (RecordKind.FRAME, RecordKind.FRAMES) or forms.setdefault(track, form) != form:
            break  # a track changes its form: what follows is sorted by itself, so that the track keeps its order
        places.setdefault(form, []).append(end)
        end += RECORD.size + length
    octets = np.frombuffer(view, np.uint8)
    runs = []
    for (length, _, frames), offsets in places.items():
        rows = octets[np.array(offsets)[:, None] + np.arange(RECORD.size + length)]
        heads = np.ndarray((len(offsets),), _HEADER_DTYPE, rows, 0, rows.strides[:1])
        runs.append(_frames(heads, rows[:, RECORD.size :], frames))
    return runs, end


def _frames(heads: NDArray[np.void], payload: NDArray[np.uint8], frames: int) -> FrameRun:
    return FrameRun(
        withheld=False,
        track=heads["track"],
        arrival_us=heads["arrival"],
        position=heads["position"],
        payload=payload,
        frames=max(1, frames),
    )


def _run(view: memoryview, offset: int) -> tuple[FrameRun, int]:
    """Return the longest run of records of one form at ``offset``, as strided views, and where it ends."""
    length, kind, frames, _, _, _ = RECORD.unpack_from(view, offset)
    stride = RECORD.size + length
    possible = (len(view) - offset) // stride
    rows = np.ndarray((possible, stride), np.uint8, view, offset)
    heads = np.ndarray((possible,), _HEADER_DTYPE, view, offset, (stride,))
    # A head like the first proves where the next one lies, so the first head that differs ends the run.
    forms = np.ndarray((possible,), "<u8", view, offset, (stride,)) & _FORM
    count = int((forms != (length | kind << 32 | frames << 40)).argmax()) or possible  # 0: none differs
    heads = heads[:count]
    payload = rows[:count, RECORD.size :]
    run = _frames(heads, payload, frames)
    if kind == RecordKind.WITHHELD:
        samples = np.ascontiguousarray(payload).view(_SAMPLES_DTYPE)[:, 0].astype(np.int64)
        run = replace(run, withheld=True, payload=payload[:, :0], samples=samples)
    return run, offset + count * stride
