"""From one rate to another."""

from __future__ import annotations

import numpy as np
import pytest

from wavstream.rendering.codecs.resample import Resampler


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (16000, 8000), (44100, 8000), (8000, 48000)])
def test_a_resampled_stretch_keeps_its_length_and_pitch(from_hz: int, to_hz: int) -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 440 * np.arange(from_hz) / from_hz)).astype(np.int16)
    resampler = Resampler(from_hz, to_hz)
    out = np.concatenate([*(resampler.feed(part) for part in np.split(tone, 10)), resampler.finish()])
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(to_hz) / to_hz)
    assert len(out) == to_hz
    inner = slice(to_hz // 20, -to_hz // 20)
    assert np.abs(out[inner] - expected[inner]).max() < 20


def test_resamplers_of_the_same_samples_agree_to_the_bit() -> None:
    sound = np.random.default_rng(1).integers(-9000, 9000, 4000).astype(np.int16)
    many = [Resampler(from_hz, 2 * from_hz) for from_hz in [8000] * 50]
    assert len({resampler.feed(sound).tobytes() + resampler.finish().tobytes() for resampler in many}) == 1


def test_what_a_resampler_overshoots_is_saturated() -> None:
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), 40), 50)
    resampler = Resampler(8000, 16000)
    out = np.concatenate((resampler.feed(square), resampler.finish())).astype(int)
    # Where overshoot wrapped around, a sample would jump across the whole range against its neighbours.
    assert out.max() == 32767
    assert out.min() == -32768
    assert np.abs(np.diff(out, 2)).max() < 65535
