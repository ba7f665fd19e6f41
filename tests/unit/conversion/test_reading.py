"""Finished files as sounds: every format and layout, the beginning of long ones, other rates and loudness."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.listening import beeps, find_beeps, loudest_shift
from tests.support.speech import silence, spoken
from wavstream.conversion.reading import BLOCK_SAMPLES, Sound, read_sound
from wavstream.errors import InternalError, NotFound

RATE_HZ = 8_000


def written(folder: Path, samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]], ext: str = "wav") -> Path:
    path = folder / f"call.{ext}"
    soundfile.write(path, samples, RATE_HZ)
    return path


def opening(path: Path) -> Callable[[], io.BufferedReader]:
    return lambda: path.open("rb")


def test_a_file_of_one_channel_is_read_as_it_is(tmp_path: Path) -> None:
    samples = np.arange(-30_000, 30_000, dtype=np.int16).repeat(3)

    sound = read_sound(opening(written(tmp_path, samples)), at_most_s=600)

    assert len(samples) > 2 * BLOCK_SAMPLES
    assert np.array_equal(sound.samples, samples)
    assert (sound.rate_hz, sound.is_whole, sound.length_s) == (RATE_HZ, True, 22.5)


def test_the_channels_are_summed_and_cut_off_where_they_are_too_loud(tmp_path: Path) -> None:
    samples = np.array([[1, 2], [30_000, 5_000], [-30_000, -5_000], [30_000, -30_000]], np.int16)

    sound = read_sound(opening(written(tmp_path, samples)), at_most_s=600)

    assert sound.samples.tolist() == [3, 32_767, -32_768, 0]


@pytest.mark.parametrize(("at_most_s", "is_whole"), [(1.99, False), (2, True), (3, True)])
def test_of_a_long_file_the_beginning_is_read(tmp_path: Path, at_most_s: float, is_whole: bool) -> None:
    samples = np.arange(2 * RATE_HZ, dtype=np.int16)

    sound = read_sound(opening(written(tmp_path, samples)), at_most_s=at_most_s)

    assert sound.is_whole is is_whole
    assert np.array_equal(sound.samples, samples[: round(at_most_s * RATE_HZ)])


def test_an_mp3_is_read(tmp_path: Path) -> None:
    said = np.concatenate([silence(0.5), spoken(), silence(0.5)])

    sound = read_sound(opening(written(tmp_path, np.stack([said, np.zeros_like(said)], axis=1), "mp3")), at_most_s=600)

    assert sound.length_s == pytest.approx(len(said) / RATE_HZ, abs=0.01)
    assert loudest_shift(sound.samples, spoken()) == pytest.approx(0.5 * RATE_HZ, abs=0.01 * RATE_HZ)


def test_a_file_that_is_gone_and_one_that_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")

    with pytest.raises(NotFound):
        read_sound(opening(tmp_path / "gone.wav"), at_most_s=600)
    with pytest.raises(InternalError, match="cannot be read"):
        read_sound(opening(broken), at_most_s=600)


def test_a_sound_has_the_same_beeps_at_another_rate() -> None:
    sound = Sound(beeps(3.0, rate_hz=22_050, frequency_hz=700.0, offset_s=0.5), 22_050)

    resampled = sound.at(8_000)

    assert (resampled.rate_hz, resampled.length_s) == (8_000, 3.0)
    assert find_beeps(resampled.samples, 8_000, 700.0) == pytest.approx([0.5, 1.5, 2.5], abs=0.005)
    assert sound.at(22_050) is sound


def test_a_sound_becomes_louder_up_to_full_scale() -> None:
    sound = Sound(np.array([0, 100, -5_000, 20_000], np.int16), RATE_HZ)

    assert sound.louder(20).samples.tolist() == [0, 1_000, -32_768, 32_767]
    assert sound.louder(-20).samples.tolist() == [0, 10, -500, 2_000]
    assert sound.louder(0) is sound
