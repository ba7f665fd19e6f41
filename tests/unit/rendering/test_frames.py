"""Runs of the journal to the frames of each track."""

from __future__ import annotations

import numpy as np

from tests.support.records import frame_record
from wavstream.journal import records
from wavstream.journal.frame_run import FrameRun
from wavstream.rendering.timeline.frames import Arrivals, Fate, gather

STEPS = {2: 2, 4: 1}


def runs(*parts: bytes) -> list[FrameRun]:
    found = [item for part in parts for item in records.items(part)]
    return [item for item in found if isinstance(item, FrameRun)]


def frame(track: int, number: int, payload: bytes) -> bytes:
    return frame_record(track=track, arrival_us=1000 + number, position=10 * number, payload=payload)


def told(came: Arrivals) -> list[object]:
    frames = came.frames()
    return [*(a.tolist() for a in (frames.arrival_us, frames.start, frames.end, frames.fates())), bytes(frames.payload)]


def test_interleaved_tracks_are_told_apart_and_counted_from_the_origin() -> None:
    journal = [frame(2, 0, b"aabb"), frame(4, 0, b"cdef"), frame(2, 1, b"gghh")]
    found = gather(runs(b"".join(journal)), STEPS, origin_us=1000)
    assert told(found[2]) == [[0, 1], [0, 10], [2, 12], [0, 0], b"aabbgghh"]
    assert told(found[4]) == [[0], [0], [4], [0], b"cdef"]


def test_frames_of_several_lengths_and_withheld_ones_stay_in_order() -> None:
    journal = [
        frame(2, 0, b"aabb"),
        frame(2, 1, b"cc"),
        records.withheld_record(track=2, arrival_us=1002, position=20, samples=7),
        frame(2, 3, b"ddee"),
    ]
    found = gather(runs(b"".join(journal)), STEPS, origin_us=0)[2]
    fates = [Fate.MIXED, Fate.MIXED, Fate.WITHHELD, Fate.MIXED]
    assert told(found) == [[1000, 1001, 1002, 1003], [0, 10, 20, 30], [2, 11, 27, 32], fates, b"aabbccddee"]


def test_where_runs_are_cut_does_not_matter() -> None:
    parts = [frame(2, 0, b"aabb"), frame(4, 0, b"xy"), frame(2, 1, b"ccdd"), frame(4, 1, b"zw"), frame(2, 2, b"ee")]
    whole = gather(runs(b"".join(parts)), STEPS, origin_us=0)
    cut = gather(runs(*parts), STEPS, origin_us=0)
    assert {track: told(frames) for track, frames in whole.items()} == {t: told(f) for t, f in cut.items()}


def test_a_track_that_is_not_recorded_is_left_out() -> None:
    assert gather(runs(frame(9, 0, b"aabb")), STEPS, origin_us=0) == {}


def test_a_cut_divides_the_payload_with_the_frames() -> None:
    journal = [
        frame(2, 0, b"aabb"),
        records.withheld_record(track=2, arrival_us=1001, position=10, samples=7),
        frame(2, 2, b"ccdd"),
    ]
    frames = gather(runs(b"".join(journal)), STEPS, origin_us=0)[2].frames()
    frames.lag_us = np.arange(3)
    head, tail = frames.cut(2, 2)
    assert (len(head), bytes(head.payload), bytes(tail.payload)) == (2, b"aabb", b"ccdd")
    assert tail.lag_us.tolist() == [2]
