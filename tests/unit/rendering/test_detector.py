"""Words are speech, wherever they are and however the call is cut; noise, clicks and coded silence are not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.examples import examples
from tests.support.speech import CALLER_TURNS_S, caller, hello, mu_law_silence, silence, white_noise
from wavstream.rendering.speech.detector import Detector, frame_start

Samples = NDArray[np.int16]
RATES_HZ = (8000, 11025, 16000, 22050, 44100, 48000)
SENSITIVITIES = (0, 10, 20, 30, 44, 60, 70, 80, 90, 100)
DEFAULT = 44


def hear(*channels: Samples, rate_hz: int = 8000, sensitivity: float = DEFAULT) -> NDArray[np.bool_]:
    return Detector(rate_hz, len(channels), sensitivity).hear(np.stack(channels, axis=1))


def stretches_s(heard: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Where speech is, in seconds; breaks of less than a second are speech too."""
    found = np.flatnonzero(heard)
    breaks = np.flatnonzero(np.diff(found) > 50)
    ends = zip(found[[0, *(breaks + 1)]], found[[*breaks, -1]] + 1, strict=True)
    return [(int(start) / 50, int(end) / 50) for start, end in ends]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_turns_of_speech_are_found_within_40_ms_at_any_rate(rate_hz: int) -> None:
    found = stretches_s(hear(caller(rate_hz), rate_hz=rate_hz))
    assert found == [pytest.approx(turn, abs=0.04) for turn in CALLER_TURNS_S]


def test_the_end_of_a_word_is_found_within_40_ms_of_noise_too() -> None:
    line = np.concatenate((silence(1), hello(), silence(1))) + white_noise(2.39, -50)
    assert stretches_s(hear(line)) == [pytest.approx((1, 1.39), abs=0.04)]


@pytest.mark.parametrize("shift", [0, 40, 80, 120])
def test_a_word_of_150_ms_is_speech(shift: int) -> None:
    word = hello()[400:1600]
    line = np.concatenate((silence(1), silence(shift / 8000), word, silence(1)))
    assert stretches_s(hear(line)) == [pytest.approx((1 + shift / 8000, 1.15 + shift / 8000), abs=0.04)]


def test_speech_of_one_channel_is_enough() -> None:
    quiet = np.zeros_like(caller())
    one = hear(caller())
    assert one.any()
    assert (hear(caller(), quiet) == one).all()
    assert (hear(quiet, caller()) == one).all()


@pytest.mark.parametrize("length", [1, 80, 320])
def test_a_click_is_no_speech(length: int) -> None:
    line = silence(10)
    for at in range(8_000, 80_000, 8_040):
        line[at : at + length] = np.resize((12_000, -12_000, 3_000), length)
    assert not hear(line).any()


@pytest.mark.parametrize("sensitivity", SENSITIVITIES)
def test_a_silence_that_was_coded_is_no_speech(sensitivity: float) -> None:
    assert not hear(mu_law_silence(10), sensitivity=sensitivity).any()


@pytest.mark.parametrize("dbfs", [-60, -50, -40])
def test_noise_is_no_speech_nor_is_its_beginning(dbfs: float) -> None:
    assert not hear(white_noise(30, dbfs)).any()
    assert not hear(np.concatenate((silence(2), white_noise(5, dbfs), silence(2), white_noise(5, dbfs)))).any()


@pytest.mark.parametrize("noise_dbfs", [-90, -55, -45, -35])
@pytest.mark.parametrize("gain", [0.05, 0.3, 1])
def test_a_lower_sensitivity_never_finds_more_speech(noise_dbfs: float, gain: float) -> None:
    voice = np.rint(caller() * gain).astype(np.int16)
    line = voice + white_noise(len(voice) / 8000, noise_dbfs)
    heard = [hear(line, sensitivity=sensitivity) for sensitivity in SENSITIVITIES]
    for lower, higher in pairwise(heard):
        both = min(len(lower), len(higher))
        assert not (lower[:both] & ~higher[:both]).any()


def test_a_quiet_party_needs_a_higher_sensitivity() -> None:
    quiet = np.rint(caller() * 0.05).astype(np.int16)
    assert not hear(quiet, sensitivity=20).any()
    assert stretches_s(hear(quiet, sensitivity=90)) == [pytest.approx(turn, abs=0.1) for turn in CALLER_TURNS_S]


def test_a_frame_begins_at_the_last_sample_before_its_time() -> None:
    assert [frame_start(frame, 11_025) for frame in range(5)] == [0, 220, 441, 661, 882]
    detector = Detector(11_025, 1, DEFAULT)
    settled = [len(detector.hear(np.zeros((samples, 1), np.int16))) for samples in (219, 1, 220, 1, 0, 441)]
    assert settled == [0, 1, 0, 1, 0, 2]


@examples(30)
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    lengths=st.lists(st.one_of(st.integers(0, 500), st.integers(0, 20_000)), max_size=40),
)
def test_any_cutting_gives_the_same_verdicts(rate_hz: int, lengths: list[int]) -> None:
    voice = caller(rate_hz)[2 * rate_hz : 4 * rate_hz]
    line = np.stack((voice, voice[::-1]), axis=1)
    detector = Detector(rate_hz, 2, DEFAULT)
    heard = [detector.hear(part) for part in np.split(line, np.cumsum([0, *lengths]))]
    assert np.concatenate(heard).tolist() == hear(*line.T, rate_hz=rate_hz).tolist()
