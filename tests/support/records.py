"""Journal records of audio, packed as the hot path of a stream packs them."""

from __future__ import annotations

from wavstream.journal.records import RECORD, RecordKind, frames_head


def frame_record(*, track: int, arrival_us: int, position: int, payload: bytes) -> bytes:
    """Return a FRAME record as one piece; a stream appends its head and its payload one after the other."""
    return RECORD.pack(len(payload), RecordKind.FRAME, 0, track, arrival_us, position) + payload


def frames_record(*payloads: bytes, track: int, arrival_us: int, position: int) -> bytes:
    """Return a FRAMES record of frames that follow each other, all of one length."""
    payload = b"".join(payloads)
    return frames_head(len(payload), len(payloads), track, arrival_us, position) + payload
