"""A track's queue: order, rates, and what comes too late."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.timeline.render_stats import RenderStats
from wavstream.rendering.timeline.stretch import ONE, Bend
from wavstream.rendering.timeline.track_buffer import TrackBuffer


def ones(count: int, value: int = 1) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.full(count, value, np.int16)


def a_buffer(*, rate_hz: int = 8000, file_hz: int = 8000, written: int = 0) -> tuple[TrackBuffer, RenderStats]:
    stats = RenderStats()
    buffer = TrackBuffer(rate_hz, stats, Resampler)
    buffer.open(file_hz, written)
    return buffer, stats


def rows(buffer: TrackBuffer, upto: int) -> list[tuple[int, int]]:
    return [(row, len(samples)) for row, samples in buffer.take(upto)]


def test_pieces_come_out_where_they_belong_and_are_cut_at_the_point_of_writing() -> None:
    buffer, _ = a_buffer()
    buffer.put(10, ones(20), 1)
    buffer.put(50, ones(20), 1)
    assert rows(buffer, 20) == [(10, 10)]
    assert rows(buffer, 60) == [(0, 10), (30, 10)]
    assert rows(buffer, 100) == [(0, 10)]
    assert buffer.is_empty


def test_samples_put_before_the_rate_is_known_wait() -> None:
    stats = RenderStats()
    buffer = TrackBuffer(8000, stats, Resampler)
    buffer.put(0, ones(800), 5)
    assert not buffer.is_empty
    buffer.open(16000, 0)
    buffer.flush()
    assert buffer.end == 1600


def test_what_was_said_before_the_start_is_cut_and_counted_apart() -> None:
    buffer, stats = a_buffer()
    buffer.put(-80, ones(160), 1)
    assert rows(buffer, 160) == [(0, 80)]
    assert (stats.before_us, stats.late_us) == (10_000, 0)
    assert buffer.first_us == 0


def test_late_samples_take_the_silence_at_the_point_of_writing() -> None:
    buffer, stats = a_buffer(written=1000)
    buffer.put(900, ones(50, 7), 1)
    buffer.put(1200, ones(50), 1)
    buffer.settle_late()
    assert rows(buffer, 1300) == [(0, 50), (200, 50)]
    assert stats.late_frames == 0


def test_late_samples_without_silence_enough_are_counted() -> None:
    buffer, stats = a_buffer(written=1000)
    buffer.put(840, ones(480), 3)
    buffer.settle_late()
    assert rows(buffer, 2000) == [(0, 320)]
    assert (stats.late_frames, stats.late_us) == (1, 20_000)


def test_samples_for_a_place_that_is_taken_are_counted() -> None:
    buffer, stats = a_buffer()
    buffer.put(0, ones(160), 1)
    buffer.put(80, ones(160), 1)
    buffer.settle_late()
    assert rows(buffer, 1000) == [(0, 160), (160, 80)]
    assert stats.late_us == 10_000


def test_another_rate_is_one_stretch_until_there_is_a_gap() -> None:
    buffer, stats = a_buffer(rate_hz=16000, file_hz=8000)
    tone = np.rint(8000 * np.sin(np.arange(16000) / 20)).astype(np.int16)
    for start in range(0, 16000, 1600):
        buffer.put(start, tone[start : start + 1600], 1)
    held = buffer.held_at
    assert held is not None
    assert held < 8000
    buffer.put(32000, tone, 1)
    pieces = [(row, row + len(samples)) for row, samples in buffer.take(24000)]
    assert pieces[0][0] == 0
    assert all(end == start for (_, end), (start, _) in pairwise(pieces) if start != 16000)
    assert sum(end - start for start, end in pieces) == 16000
    assert stats.late_us == 0


def test_writing_past_a_stretch_brings_out_what_is_held_back() -> None:
    buffer, stats = a_buffer(rate_hz=16000, file_hz=8000)
    buffer.put(0, ones(8000), 1)
    assert sum(len(samples) for _, samples in buffer.take(8000)) == 4000
    assert buffer.held_at is None
    assert stats.late_us == 0


def test_stretches_of_another_rate_that_follow_each_other_never_overlap() -> None:
    buffer, stats = a_buffer(rate_hz=11025, file_hz=8000)
    at = 0
    for length in range(300, 400):
        buffer.put(at, ones(length), 1)
        buffer.flush()
        at += length
    buffer.settle_late()
    assert stats.late_us == 0


def test_a_bent_stretch_is_in_one_piece_and_holds_back_what_is_not_known_yet() -> None:
    buffer, stats = a_buffer()
    buffer.put(100, ones(800), 5)
    assert buffer.held_at is None, "a track that is not bent holds nothing back"
    buffer.put(900, ones(800), 5, Bend(0, ONE // 2))
    assert buffer.held_at == pytest.approx(1700 - 16, abs=1)
    buffer.put(1700, ones(800), 5, Bend(ONE // 2, ONE))
    buffer.flush()
    assert buffer.held_at is None
    pieces = rows(buffer, 3000)
    assert all(row + length == after for (row, length), (after, _) in pairwise(pieces))
    assert (pieces[0][0], sum(length for _, length in pieces)) == (100, 2402)
    assert stats.late_us == 0


def test_a_bent_stretch_that_breaks_off_is_written_whole_and_the_next_one_begins_anew() -> None:
    buffer, stats = a_buffer()
    buffer.put(0, ones(800), 5, Bend(0, ONE // 2))
    buffer.put(1000, ones(800), 5, Bend(ONE // 2, ONE))
    before = rows(buffer, 1500)
    assert (before[0][0], sum(length for _, length in before[:-1])) == (0, 801)
    assert before[-1] == (1001, 499)
    assert not buffer.is_empty, "what is held back is to be written"
    # The file does not wait for it any longer.
    assert sum(length for _, length in rows(buffer, 4000)) == 801 - 499
    assert buffer.is_empty
    assert stats.late_us == 0


def test_a_bent_stretch_passes_the_resampler_that_the_one_before_has_passed() -> None:
    buffer, stats = a_buffer(rate_hz=8000, file_hz=16000)
    buffer.put(0, ones(800), 5)
    buffer.put(800, ones(800), 5, Bend(0, ONE // 2))
    held = buffer.held_at
    assert held is not None
    assert held < 3200
    buffer.flush()
    pieces = rows(buffer, 4000)
    assert all(row + length == after for (row, length), (after, _) in pairwise(pieces))
    assert sum(length for _, length in pieces) == 3202
    assert stats.late_us == 0


def test_a_track_that_is_not_bent_any_more_holds_nothing_back() -> None:
    buffer, _ = a_buffer()
    buffer.put(0, ones(800), 5, Bend(0, ONE))
    buffer.put(801, ones(800), 5, Bend(0, 0))
    assert buffer.held_at is None
    assert sum(length for _, length in rows(buffer, 1601)) == 1601
