"""Whether samples are in the described byte order, and whether two channels lie in one, is told by samples alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.journal_script import encoded
from tests.support.speech import CALLER_TURNS_S, caller, mu_law_silence, silence, white_noise
from wavstream.model.audio import Codec, MediaFormat
from wavstream.rendering.inspection.texture import ByteOrder, Interleaving

OTHER = {Codec.L16: Codec.L16BE, Codec.L16BE: Codec.L16}
ORDERS = [Codec.L16, Codec.L16BE]


def turns(rate_hz: int = 8_000, *, gain: float = 1.0) -> NDArray[np.int16]:
    """Speech with pauses that are hardly longer than words', a minute of it."""
    said = np.concatenate([caller(rate_hz)[int(begin * rate_hz) : int(end * rate_hz)] for begin, end in CALLER_TURNS_S])
    said = np.asarray(said * gain, np.int16)
    return np.tile(said, 60 * rate_hz // len(said) + 1)[: 60 * rate_hz]


def tone(hertz: float, rate_hz: int = 8_000, level: float = 10_000) -> NDArray[np.int16]:
    return np.asarray(level * np.sin(2 * np.pi * hertz / rate_hz * np.arange(60 * rate_hz)), np.int16)


def music(rate_hz: int = 16_000) -> NDArray[np.int16]:
    """Chords of bright tones, one each half second, with an attack and a fall."""
    time, random = np.arange(rate_hz // 2) / rate_hz, np.random.default_rng(5)
    chords = []
    for _ in range(120):
        notes = 220 * 2 ** (random.integers(0, 24, 3) / 12)
        waves = [np.sin(2 * np.pi * note * part * time) / part for note in notes for part in range(1, 6)]
        chords.append(np.sum(waves, axis=0) * np.exp(-3 * time) * 3_000)
    return np.asarray(np.concatenate(chords), np.int16)


def heard(
    samples: NDArray[np.int16], *, sent: Codec, described: Codec, rate_hz: int = 8_000, channels: int = 1, ms: int = 20
) -> ByteOrder:
    """Look at the newest frame of each second."""
    order = ByteOrder(MediaFormat(described, rate_hz, channels))
    for begin in range(0, len(samples), rate_hz):
        if not order.is_known:
            order.take(encoded(samples[begin : begin + ms * rate_hz // 1000], sent))
    return order


@pytest.mark.parametrize("described", ORDERS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("gain", [1.0, 0.2])
def test_speech_in_the_other_order_is_found(rate_hz: int, gain: float, described: Codec) -> None:
    samples = turns(rate_hz, gain=gain)

    assert heard(samples, sent=OTHER[described], described=described, rate_hz=rate_hz).is_swapped
    right = heard(samples, sent=described, described=described, rate_hz=rate_hz)
    assert right.is_known
    assert not right.is_swapped


def test_speech_in_frames_of_ten_milliseconds_or_of_two_channels_is_found_too() -> None:
    speech = turns()
    both = np.stack([speech, np.roll(speech, 12_345)], axis=1)

    assert heard(speech, sent=Codec.L16BE, described=Codec.L16, ms=10).is_swapped
    assert heard(both, sent=Codec.L16BE, described=Codec.L16, channels=2).is_swapped
    assert not heard(both, sent=Codec.L16, described=Codec.L16, channels=2).is_swapped


@pytest.mark.parametrize("described", ORDERS)
def test_music_in_the_other_order_is_found(described: Codec) -> None:
    assert heard(music(), sent=OTHER[described], described=described, rate_hz=16_000).is_swapped
    assert not heard(music(), sent=described, described=described, rate_hz=16_000).is_swapped


@pytest.mark.parametrize("level", [300, 3_000, 30_000])
@pytest.mark.parametrize("hertz", [50, 440, 697, 1_000, 1_336, 1_633, 2_000, 2_500, 2_667, 3_000, 3_400, 3_999])
def test_a_tone_in_the_right_order_is_never_suspected(hertz: float, level: float) -> None:
    assert not heard(tone(hertz, level=level), sent=Codec.L16, described=Codec.L16).is_swapped


@pytest.mark.parametrize("described", ORDERS)
@pytest.mark.parametrize("sent", ORDERS)
@pytest.mark.parametrize("dbfs", [-80.0, -60.0, -40.0, -20.0, -10.0])
def test_white_noise_and_comfort_noise_are_suspected_in_no_order(dbfs: float, sent: Codec, described: Codec) -> None:
    assert not heard(white_noise(60, dbfs), sent=sent, described=described).is_swapped


@pytest.mark.parametrize("sent", ORDERS)
def test_silence_is_not_suspected_and_looked_at_less_and_less(sent: Codec) -> None:
    for samples in (silence(60), mu_law_silence(60)):
        order = heard(samples, sent=sent, described=Codec.L16)
        assert not order.is_swapped
        assert not order.is_known
    assert heard(silence(60), sent=sent, described=Codec.L16).pieces.skip == 15


def test_speech_behind_a_minute_of_comfort_noise_is_found() -> None:
    samples = np.concatenate([mu_law_silence(60), turns()])

    assert heard(samples, sent=Codec.L16BE, described=Codec.L16).is_swapped


def lying(samples: NDArray[np.int16], codec: Codec = Codec.L16) -> bool | None:
    """Return what there is to say of samples that are described as one channel of 8 kHz."""
    channels = Interleaving(MediaFormat(codec))
    for begin in range(0, len(samples), 16_000):
        if not channels.is_known:
            channels.take(encoded(samples[begin : begin + 320], codec))
    return channels.is_two


@pytest.mark.parametrize("codec", [Codec.L16, Codec.L16BE, Codec.PCMU])
def test_two_channels_in_one_are_told_from_one_of_twice_the_rate(codec: Codec) -> None:
    speech = turns()
    apart = np.stack([speech, np.roll(speech, 23_456)], axis=1).reshape(-1)
    one_is_silent = np.stack([speech, 0 * speech], axis=1).reshape(-1)

    assert lying(apart, codec) is True
    assert lying(one_is_silent, codec) is True
    assert lying(np.repeat(speech, 2), codec) is True
    assert lying(turns(16_000), codec) is False


def test_of_noise_it_is_not_told_how_many_channels_it_has() -> None:
    assert lying(white_noise(60, -20.0)) is None
