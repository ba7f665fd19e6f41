"""What goes into a journal comes out of it, however it was cut on the way in, on the disk and on the way out."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import frame_record, frames_record
from tests.unit.journal.support import KEY, PATIENCE_S, FaultyDisk, Flat, flat, nothing
from wavstream.journal.events import Digit, ServerStarted
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import clock_record, event_record, withheld_record
from wavstream.journal.segments import segments_of
from wavstream.journal.writer import JournalWriter


@dataclass(frozen=True)
class Append:
    packed: bytes
    expected: Flat


@dataclass(frozen=True)
class Submit:
    pass


@dataclass(frozen=True)
class Rotate:
    pass


@dataclass(frozen=True)
class Reopen:
    """The server was killed and is back: the journal goes on in a segment of its own."""


@dataclass(frozen=True)
class Read:
    max_bytes: int


Step = Append | Submit | Rotate | Reopen | Read

U16 = st.integers(0, 2**16 - 1)
U63 = st.integers(0, 2**63 - 1)


@st.composite
def frame(draw: st.DrawFn) -> Append:
    track, arrival_us, position = draw(U16), draw(U63), draw(U63)
    payload = draw(st.sampled_from([b"", b"\x00", b"ab", bytes(160), b"\xff" * 320]) | st.binary(max_size=40))
    packed = frame_record(track=track, arrival_us=arrival_us, position=position, payload=payload)
    return Append(packed, ("frame", track, arrival_us, position, payload))


@st.composite
def several_frames(draw: st.DrawFn) -> Append:
    track, arrival_us, position = draw(U16), draw(U63), draw(U63)
    size, frames = draw(st.sampled_from([1, 2, 160])), draw(st.sampled_from([2, 3, 5, 255]))
    payloads = [bytes([number]) * size for number in range(frames)]
    packed = frames_record(*payloads, track=track, arrival_us=arrival_us, position=position)
    return Append(packed, ("frames", track, arrival_us, position, frames, b"".join(payloads)))


@st.composite
def withheld(draw: st.DrawFn) -> Append:
    track, arrival_us, position, samples = draw(U16), draw(U63), draw(U63), draw(st.integers(0, 2**32 - 1))
    packed = withheld_record(track=track, arrival_us=arrival_us, position=position, samples=samples)
    return Append(packed, ("withheld", track, arrival_us, position, samples))


def clock(arrival_us: int) -> Append:
    return Append(clock_record(arrival_us), ("clock", arrival_us))


def happening(arrival_us: int, event: Digit | ServerStarted) -> Append:
    return Append(event_record(arrival_us, event), ("event", arrival_us, event))


EVENTS = st.builds(Digit, stream=U16, digit=st.sampled_from("0123456789*#")) | st.just(ServerStarted())
APPENDS = frame() | several_frames() | withheld() | st.builds(clock, U63) | st.builds(happening, U63, EVENTS)
STEPS = st.lists(
    APPENDS
    | APPENDS
    | st.builds(Submit)
    | st.builds(Rotate)
    | st.builds(Reopen)
    | st.builds(Read, st.integers(1, 2000)),
    max_size=40,
)


def by_track(rows: list[Flat]) -> list[Flat]:
    """Frames between other records, track by track: tracks of several forms of record may be read in another order."""
    groups = [list(group) for _, group in groupby(rows, lambda row: str(row[0]).rstrip("s"))]
    kinds = ("frame", "frames")
    return [row for group in groups for row in (sorted(group, key=_track) if group[0][0] in kinds else group)]


def _track(row: Flat) -> int:
    assert isinstance(row[1], int)
    return row[1]


@given(
    steps=STEPS,
    segment_bytes=st.sampled_from([1, 100, 1000, 10**6]),
    short_writes=st.lists(st.integers(1, 30), max_size=20),
)
def test_any_records_in_any_batching_are_read_back_the_same(
    steps: list[Step], segment_bytes: int, short_writes: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = JournalWriter(
            folder,
            on_written=nothing,
            on_pressure=nothing,
            segment_bytes=segment_bytes,
            sync_interval_s=3600.0,
            write_at=FaultyDisk(os.pwrite, short_writes),
        )
        writer.start()
        journal = writer.open(key=KEY, app_id="default", session_id="call-77")
        reader = JournalReader(folder, KEY)
        expected: list[Flat] = []
        live: list[Flat] = []
        for step in [*steps, Submit()]:
            match step:
                case Append(packed, row):
                    journal.append(packed)
                    expected.append(row)
                case Submit():
                    writer.submit([journal])
                case Rotate():
                    journal.rotate()
                case Reopen():
                    done = threading.Event()
                    writer.submit_urgent(journal, done.set)
                    assert done.wait(PATIENCE_S)
                    segment = max(segments_of(folder, KEY), default=0) + 1
                    journal = writer.open(
                        key=KEY,
                        app_id="default",
                        session_id="call-77",
                        segment=segment,
                        number=journal.next_number,
                    )
                case Read(max_bytes):
                    live += flat(reader.read(max_bytes=max_bytes))
        writer.close(journal)
        writer.stop(timeout_s=PATIENCE_S)

        reader.at_end = False
        while not reader.at_end:
            live += flat(reader.read(max_bytes=100))
        reader.close()
        replayed = JournalReader(folder, KEY)
        assert by_track(flat(replayed.read())) == by_track(live) == by_track(expected)
        assert replayed.problems == reader.problems == []
        replayed.close()
