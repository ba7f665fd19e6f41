"""The waveform that is made with a file is the one that its finished file has, however its journal was cut."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.calls import Call, calls
from tests.support.examples import examples
from wavstream.journal.records import Item
from wavstream.recorder.growing_waveform import GrowingWaveform
from wavstream.removals import Removals
from wavstream.rendering.fold import Fold
from wavstream.rendering.waveform import Ending, Found, Peaks, Waveform, WaveformForm, written
from wavstream.storage.waveform_file import Window, read_waveform, whole_file


def folded_in(parts: list[list[Item]]) -> tuple[Fold, bytes, bytes]:
    """Return what folding these parts in turn makes: the fold, audio, and points so far after each."""
    fold, audio, points = Fold("rec-1"), io.BytesIO(), io.BytesIO()
    for part in parts:
        audio.write(fold.feed(part))
        points.write(fold.tap.waveform.collect())
    return fold, audio.getvalue(), points.getvalue()


def plainly(samples: NDArray[np.int16], form: WaveformForm) -> list[list[tuple[int, int, int]]]:
    """Return the points of a finished file's samples, (samples, channels), worked out one by one."""
    return [
        [
            (
                int(int(column.min()) / 256),
                int(int(column.max()) / 256),
                int(np.sqrt(np.mean(column.astype(np.float64) ** 2)) / 32_768 * 255 + 1e-4),
            )
            for column in samples[at : at + form.samples_per_point].T
        ]
        for at in range(0, len(samples), form.samples_per_point)
    ]


def shown(form: WaveformForm, points: bytes) -> list[list[tuple[int, int, int]]]:
    peaks = Peaks.read(form, 0, points)
    return [
        [(int(extremes[0]), int(extremes[1]), int(rms)) for extremes, rms in zip(point, roots, strict=True)]
        for point, roots in zip(peaks.extremes, peaks.root_mean_squares, strict=True)
    ]


def is_near(ours: list[list[tuple[int, int, int]]], theirs: list[list[tuple[int, int, int]]]) -> bool:
    """Return whether two are alike; a root mean square may be rounded to its neighbour."""
    if len(ours) != len(theirs):
        return False
    return all(
        one[:2] == other[:2] and abs(one[2] - other[2]) <= 1
        for point, same in zip(ours, theirs, strict=True)
        for one, other in zip(point, same, strict=True)
    )


@examples(60, deadline=None)
@given(call=calls(), cuts=st.lists(st.floats(0, 1), max_size=12), batch_ms=st.sampled_from((20, 150, 1000)))
def test_any_cutting_of_a_journal_gives_the_waveform_of_the_finished_file(
    call: Call, cuts: list[float], batch_ms: int
) -> None:
    fold, audio, points = folded_in([call.script.items()])
    account = fold.account()
    other = call.script.items(batch_s=batch_ms / 1000)
    at = [0, *sorted(round(cut * len(other)) for cut in cuts), len(other)]
    cut_fold, _, cut_points = folded_in([other[low:high] for low, high in pairwise(at)])

    ending, cut_ending = fold.tap.waveform.ending(account.samples), cut_fold.tap.waveform.ending(account.samples)
    if ending is None:
        assert not audio
        return
    assert cut_ending is not None
    whole = whole_file(ending, points)
    assert whole_file(cut_ending, cut_points) == whole
    if fold.started is not None and fold.started.options.format == "wav":
        kept = np.frombuffer(audio, "<i2").reshape(-1, account.channels)[: account.samples]
        made = points[: ending.whole_points * ending.form.point_bytes] + ending.rest
        assert is_near(shown(ending.form, made), plainly(kept, ending.form))


@given(
    blocks=st.lists(st.integers(0, 700), min_size=1, max_size=12),
    rate_hz=st.sampled_from((8_000, 11_025, 16_000)),
    channels=st.sampled_from((1, 2)),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_waveform_is_the_same_in_whatever_blocks_its_samples_come(
    blocks: list[int], rate_hz: int, channels: int, seed: int
) -> None:
    samples = np.random.default_rng(seed).integers(-32_768, 32_768, (sum(blocks), channels)).astype(np.int16)
    in_blocks, at_once = Waveform(), Waveform()
    for each in (in_blocks, at_once):
        each.open(rate_hz, channels)
    at_once.take(samples)
    start = 0
    for size in blocks:
        in_blocks.take(samples[start : start + size])
        start += size

    endings = [each.ending(len(samples)) for each in (in_blocks, at_once)]
    assert endings[0] == endings[1]
    assert (points := in_blocks.collect()) == at_once.collect()
    assert endings[0] is not None
    assert is_near(shown(endings[0].form, points + endings[0].rest), plainly(samples, endings[0].form))


@given(
    steps=st.lists(st.tuples(st.integers(1, 900), st.none() | st.integers(1, 1_100)), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_waveform_whose_silent_end_is_cut_away_is_that_of_what_stays(
    steps: list[tuple[int, int | None]], seed: int
) -> None:
    """Each step brings so many samples; where somebody speaks in it, the file would end so far behind its beginning."""
    length = sum(size for size, _ in steps)
    samples = np.random.default_rng(seed).integers(-32_768, 32_768, (length, 2)).astype(np.int16)
    waveform, plain, at, keeps = Waveform(), Waveform(), 0, 0
    waveform.open(8_000, 2)
    plain.open(8_000, 2)
    for size, spoken in steps:
        keeps = max(keeps, at + spoken) if spoken is not None else keeps
        waveform.keep(keeps)
        waveform.take(samples[at : at + size])
        at += size
    kept = min(keeps, at)
    plain.take(samples[:kept])

    ending, expected = waveform.ending(kept), plain.ending(kept)
    assert ending is not None
    assert expected is not None
    assert whole_file(ending, waveform.collect()) == whole_file(expected, plain.collect())


@given(
    points=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    rate_hz=st.sampled_from((8_000, 11_025, 48_000)),
    channels=st.sampled_from((1, 2)),
    quieter=st.integers(0, 15),
    seed=st.integers(0, 2**32 - 1),
)
def test_points_are_to_the_byte_what_they_are_when_they_are_made_the_plain_way(
    points: list[int], rate_hz: int, channels: int, quieter: int, seed: int
) -> None:
    form = WaveformForm.of(rate_hz, channels)
    each = form.samples_per_point
    values = np.random.default_rng(seed).integers(-32_768, 32_768, (channels, sum(points), each)).astype(np.int16)
    values >>= quieter
    made = np.empty((sum(points), channels, 3), np.int8)
    made[:, :, 0] = (values.min(axis=2) * np.float32(1 / 256)).T
    made[:, :, 1] = (values.max(axis=2) * np.float32(1 / 256)).T
    squares = np.vecdot(values.astype(np.float32), values.astype(np.float32)) * np.float32((255 / 32_768) ** 2 / each)
    made.view(np.uint8)[:, :, 2] = np.sqrt(squares).T

    waveform, at, samples = Waveform(), 0, values.reshape(channels, -1).T
    waveform.open(rate_hz, channels)
    for number, length in enumerate(points):
        block = samples[at * each : (at + length) * each]
        waveform.take(block if number % 2 else np.ascontiguousarray(block))
        at += length
    assert waveform.collect() == made.tobytes()


@examples(30, deadline=None)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=5), seed=st.integers(0, 2**32 - 1))
def test_what_was_read_of_a_growing_waveform_is_a_part_of_the_finished_one(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    form, random = WaveformForm.of(8_000, 2), np.random.default_rng(seed)
    blocks = [
        Found(
            random.integers(-32_768, 32_768, (2, 2, size)).astype(np.int16),
            random.integers(0, 160 << 29, (2, size)).astype(np.float32),
        )
        for size in sizes
    ]
    points = written(blocks, 160)
    folder = tmp_path_factory.mktemp("spool")
    growing, at = GrowingWaveform(folder / "rec.wav", removals=Removals()), 0
    for number, size in enumerate(sizes):
        growing.append(form, blocks[number : number + 1])
        at += size
        found = growing.read(Window(from_s=1.0, points_per_s=50))
        assert found is not None
        assert (found.start, found.points) == (min(50, at), points[min(50, at) * 6 : at * 6])
    growing.finish(Ending(form, at * 160 - 100, at - 1, points[-6:]))

    finished = read_waveform(lambda: growing.path.open("rb"), Window(points_per_s=50))
    assert finished is not None
    assert (finished.points, finished.samples, finished.start) == (points, at * 160 - 100, 0)
    growing.discard()
    assert not [*Path(folder).iterdir()]
