"""A lane's queue: order, rates, and what comes too late."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.timeline.lane import Lane
from wavstream.rendering.timeline.tally import Tally


def ones(count: int, value: int = 1) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.full(count, value, np.int16)


def a_lane(*, rate_hz: int = 8000, file_hz: int = 8000, written: int = 0) -> tuple[Lane, Tally]:
    tally = Tally()
    lane = Lane(rate_hz, tally, Resampler)
    lane.open(file_hz, written)
    return lane, tally


def rows(lane: Lane, upto: int) -> list[tuple[int, int]]:
    return [(row, len(samples)) for row, samples in lane.take(upto)]


def test_pieces_come_out_where_they_belong_and_are_cut_at_the_point_of_writing() -> None:
    lane, _ = a_lane()
    lane.put(10, ones(20), 1)
    lane.put(50, ones(20), 1)
    assert rows(lane, 20) == [(10, 10)]
    assert rows(lane, 60) == [(0, 10), (30, 10)]
    assert rows(lane, 100) == [(0, 10)]
    assert lane.is_empty


def test_samples_put_before_the_rate_is_known_wait() -> None:
    tally = Tally()
    lane = Lane(8000, tally, Resampler)
    lane.put(0, ones(800), 5)
    assert not lane.is_empty
    lane.open(16000, 0)
    lane.flush()
    assert lane.end == 1600


def test_what_was_said_before_the_start_is_cut_and_counted_apart() -> None:
    lane, tally = a_lane()
    lane.put(-80, ones(160), 1)
    assert rows(lane, 160) == [(0, 80)]
    assert (tally.before_us, tally.late_us) == (10_000, 0)
    assert lane.first_us == 0


def test_late_samples_take_the_silence_at_the_point_of_writing() -> None:
    lane, tally = a_lane(written=1000)
    lane.put(900, ones(50, 7), 1)
    lane.put(1200, ones(50), 1)
    lane.settle_late()
    assert rows(lane, 1300) == [(0, 50), (200, 50)]
    assert tally.late_frames == 0


def test_late_samples_without_silence_enough_are_counted() -> None:
    lane, tally = a_lane(written=1000)
    lane.put(840, ones(480), 3)
    lane.settle_late()
    assert rows(lane, 2000) == [(0, 320)]
    assert (tally.late_frames, tally.late_us) == (1, 20_000)


def test_samples_for_a_place_that_is_taken_are_counted() -> None:
    lane, tally = a_lane()
    lane.put(0, ones(160), 1)
    lane.put(80, ones(160), 1)
    lane.settle_late()
    assert rows(lane, 1000) == [(0, 160), (160, 80)]
    assert tally.late_us == 10_000


def test_another_rate_is_one_stretch_until_there_is_a_gap() -> None:
    lane, tally = a_lane(rate_hz=16000, file_hz=8000)
    tone = np.rint(8000 * np.sin(np.arange(16000) / 20)).astype(np.int16)
    for start in range(0, 16000, 1600):
        lane.put(start, tone[start : start + 1600], 1)
    held = lane.held_at
    assert held is not None
    assert held < 8000
    lane.put(32000, tone, 1)
    pieces = [(row, row + len(samples)) for row, samples in lane.take(24000)]
    assert pieces[0][0] == 0
    assert all(end == start for (_, end), (start, _) in pairwise(pieces) if start != 16000)
    assert sum(end - start for start, end in pieces) == 16000
    assert tally.late_us == 0


def test_writing_past_a_stretch_brings_out_what_is_held_back() -> None:
    lane, tally = a_lane(rate_hz=16000, file_hz=8000)
    lane.put(0, ones(8000), 1)
    assert sum(len(samples) for _, samples in lane.take(8000)) == 4000
    assert lane.held_at is None
    assert tally.late_us == 0


def test_stretches_of_another_rate_that_follow_each_other_never_overlap() -> None:
    lane, tally = a_lane(rate_hz=11025, file_hz=8000)
    at = 0
    for length in range(300, 400):
        lane.put(at, ones(length), 1)
        lane.flush()
        at += length
    lane.settle_late()
    assert tally.late_us == 0
