"""Pieces to blocks."""

from __future__ import annotations

import numpy as np

from wavstream.rendering.mixer.mix import Voice, mix


def samples(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.array(values, np.int16)


def test_one_voice_a_channel_is_copied_and_the_rest_is_silent() -> None:
    block, clipped = mix(
        [Voice(0, [(1, samples(5, -6))]), Voice(1, [(0, samples(1)), (3, samples(2))])], samples=4, channels=2
    )
    assert block.tolist() == [[0, 1], [5, 0], [-6, 0], [0, 2]]
    assert clipped == 0


def test_a_sum_past_either_end_is_saturated_and_counted() -> None:
    loud = [
        Voice(0, [(0, samples(32767, -32768, 30000, 100))]),
        Voice(0, [(0, samples(1, -1, 30000, 100))]),
        Voice(0, [(1, samples(-5))]),
    ]
    block, clipped = mix(loud, samples=4, channels=1)
    assert block[:, 0].tolist() == [32767, -32768, 32767, 200]
    assert clipped == 3


def test_a_sum_that_comes_back_into_range_is_not_clipped() -> None:
    voices = [Voice(0, [(0, samples(30000))]), Voice(0, [(0, samples(30000))]), Voice(0, [(0, samples(-30000))])]
    block, clipped = mix(voices, samples=1, channels=1)
    assert (block[0, 0], clipped) == (30000, 0)


def test_a_block_without_voices_is_silent() -> None:
    block, _ = mix([Voice(0, [])], samples=3, channels=2)
    assert block.shape == (3, 2)
    assert not block.any()
