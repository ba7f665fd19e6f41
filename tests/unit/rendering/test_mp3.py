"""MP3 files, read back by other people's code."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.listening import beeps, find_beeps
from wavstream.rendering.encoders.mp3 import DELAY, MONO_KBPS, RATES_HZ, Mp3Encoder

Samples = NDArray[np.int16]

DECODER_DELAY = 529
"""Samples that every MP3 decoder adds to the encoder's delay."""
TABLE = Path(__file__).parents[3] / "docs" / "mp3.md"

every_form = pytest.mark.parametrize(
    ("rate_hz", "channels"), [(rate_hz, channels) for rate_hz in RATES_HZ for channels in (1, 2)]
)


def noise(samples: int, channels: int) -> Samples:
    return np.random.default_rng(samples).normal(0, 3000, (samples, channels)).astype(np.int16)


def encoded(said: Samples, rate_hz: int) -> tuple[Mp3Encoder, bytes]:
    encoder = Mp3Encoder(sample_rate_hz=rate_hz, channels=said.shape[1])
    return encoder, encoder.encode(said) + encoder.finish()


def heard(file: bytes) -> Samples:
    samples: Samples = soundfile.read(io.BytesIO(file), dtype="int16", always_2d=True)[0]
    return samples


@every_form
def test_a_file_plays_for_exactly_what_was_recorded(rate_hz: int, channels: int) -> None:
    for samples in (1, 575, 576, 577, 1151, 1152, 1153, rate_hz + 11):
        encoder, audio = encoded(noise(samples, channels), rate_hz)

        assert len(audio) == encoder.audio_bytes(samples)
        with soundfile.SoundFile(io.BytesIO(encoder.header(samples) + audio)) as file:
            assert (file.frames, file.samplerate, file.channels) == (samples, rate_hz, channels)
            assert len(file.read()) == samples


@every_form
def test_a_file_that_is_cut_is_the_beginning_of_the_whole_one(rate_hz: int, channels: int) -> None:
    said = noise(rate_hz * 2, channels)
    # Frames of a silent stretch leave the bit reservoir full for the loud one behind it.
    said[rate_hz // 2 : rate_hz] = 0
    encoder, audio = encoded(said, rate_hz)
    whole = heard(encoder.header(len(said)) + audio)

    for kept in (1, 576, rate_hz - 1, rate_hz, rate_hz + 600, len(said) - 1):
        header = encoder.header(kept)
        cut = heard(header + audio[: encoder.audio_bytes(kept)])
        assert len(header) == len(encoder.header(len(said)))
        assert np.array_equal(cut, whole[:kept])


@given(st.lists(st.integers(0, 4000), max_size=6), st.sampled_from([(8000, 1), (8000, 2), (44_100, 2)]))
def test_the_bytes_do_not_depend_on_how_the_audio_was_cut(cuts: list[int], form: tuple[int, int]) -> None:
    rate_hz, channels = form
    said = noise(4000, channels)
    encoder = Mp3Encoder(sample_rate_hz=rate_hz, channels=channels)

    pieces = b"".join(map(encoder.encode, np.split(said, sorted(cuts)))) + encoder.finish()

    assert pieces == encoded(said, rate_hz)[1]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_each_tone_is_where_it_was_said(rate_hz: int) -> None:
    left = beeps(4.0, rate_hz=rate_hz, frequency_hz=500, every_s=0.7, offset_s=0.1)
    right = beeps(4.0, rate_hz=rate_hz, frequency_hz=1200, every_s=0.9, offset_s=0.3)
    said = np.stack([left, right], axis=1)

    encoder, audio = encoded(said, rate_hz)
    file = heard(encoder.header(len(said)) + audio)

    for channel, pitch_hz in enumerate((500, 1200)):
        assert find_beeps(file[:, channel], rate_hz, pitch_hz) == pytest.approx(
            find_beeps(said[:, channel], rate_hz, pitch_hz), abs=0.001
        )
        spectra = [np.fft.rfft(samples[:, channel].astype(float), 2 * len(said)) for samples in (file, said)]
        likeness = np.fft.irfft(spectra[0] * spectra[1].conj())
        shift = (int(np.argmax(likeness)) + len(said)) % (2 * len(said)) - len(said)
        assert abs(shift) <= rate_hz / 8000


def test_one_party_is_not_heard_on_the_channel_of_the_other() -> None:
    said = np.stack([beeps(2.0, rate_hz=8000, frequency_hz=700), np.zeros(16_000, np.int16)], axis=1)

    encoder, audio = encoded(said, 8000)
    file = heard(encoder.header(len(said)) + audio).astype(float)

    loudness = np.sqrt(np.mean(file**2, axis=0))
    assert loudness[1] < loudness[0] / 300


def test_the_documented_table_is_what_is_done() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", TABLE.read_text("utf-8"), re.MULTILINE)

    forms = [[Mp3Encoder(sample_rate_hz=rate_hz, channels=channels) for channels in (1, 2)] for rate_hz in RATES_HZ]
    assert [list(map(int, row)) for row in rows] == [
        [rate_hz, kbps, 2 * kbps, *(len(encoder.header(0)) for encoder in pair)]
        for (rate_hz, kbps), pair in zip(MONO_KBPS.items(), forms, strict=True)
    ]


def test_nothing_encoded_is_no_frame() -> None:
    encoder = Mp3Encoder(sample_rate_hz=8000, channels=1)

    assert encoder.encode(np.empty((0, 1), np.int16)) + encoder.finish() == b""
    assert encoder.audio_bytes(0) == 0
    assert len(encoder.header(0)) == len(encoder.header(8000))


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (8000, 2), (16_000, 2), (22_050, 1), (44_100, 2)])
def test_ffmpeg_reads_the_length_and_the_samples_that_soundfile_does(
    rate_hz: int, channels: int, tmp_path: Path
) -> None:
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        pytest.skip("ffmpeg and ffprobe are not installed")
    samples = rate_hz + 333
    encoder, audio = encoded(noise(samples, channels), rate_hz)
    path = tmp_path / "recording.mp3"
    path.write_bytes(encoder.header(samples) + audio)

    def run(*command: str) -> bytes:
        done = subprocess.run([*command], capture_output=True, check=True)
        assert done.stderr == b""
        return done.stdout

    played = np.frombuffer(run("ffmpeg", "-v", "warning", "-i", str(path), "-f", "s16le", "-"), np.int16)
    show = ("ffprobe", "-v", "warning", "-of", "csv=p=0", str(path), "-show_entries")
    starts_s = float(run(*show, "stream=start_time"))
    read = run(*show, "frame=nb_samples").decode().split()

    assert starts_s == pytest.approx((DELAY + DECODER_DELAY) / rate_hz, abs=1e-6)
    assert sum(int(line.strip(",")) for line in read) == samples
    # The two round to 16 bits each in its own way.
    assert np.max(np.abs(played.reshape(-1, channels).astype(int) - heard(path.read_bytes()))) <= 2
