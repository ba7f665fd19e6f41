"""Journal records of audio, packed as the hot path of a stream packs them."""

from __future__ import annotations

from wavstream.journal.frame_run import FrameRun
from wavstream.journal.records import RECORD, RecordKind


def frame_record(*, track: int, arrival_us: int, position: int, payload: bytes) -> bytes:
    """Return a FRAME record as one piece; a stream appends its head and its payload one after the other."""
    return RECORD.pack(len(payload), RecordKind.FRAME, 0, track, arrival_us, position) + payload


def frames_record(*payloads: bytes, track: int, arrival_us: int, position: int) -> bytes:
    """Return a FRAMES record of frames that follow each other, all of one length."""
    payload = b"".join(payloads)
    return RECORD.pack(len(payload), RecordKind.FRAMES, len(payloads), track, arrival_us, position) + payload


def rows_of(run: FrameRun) -> list[tuple[object, ...]]:
    """Return what a run has, track by track: a row for each record, with its kind."""
    rows: list[tuple[object, ...]] = []
    for number, frames in run.tracks.items():
        octets, at = b"".join(frames.payload), 0
        columns = zip(frames.arrival_us, frames.position, frames.size, frames.frames, strict=True)
        for arrival_us, position, size, count in columns:
            place = (number, arrival_us, position)
            payload, at = octets[at : at + size], at + size
            if run.withheld:
                rows.append(("withheld", *place, size))
            else:
                rows.append(("frame", *place, payload) if count == 1 else ("frames", *place, count, payload))
    return rows
