"""The WAV header and what follows it."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
import soundfile

from wavstream.rendering.encoders.wav import HEADER_BYTES, WavEncoder, wav_header

LARGEST_RIFF_SAMPLES = (0xFFFF_FFFF - (HEADER_BYTES - 8)) // 4


def test_a_file_reads_back_with_other_peoples_code() -> None:
    encoder = WavEncoder(sample_rate_hz=16000, channels=2)
    blocks = [np.arange(8, dtype=np.int16).reshape(4, 2), -np.arange(6, dtype=np.int16).reshape(3, 2)]
    audio = b"".join(map(encoder.encode, blocks)) + encoder.finish()
    file = encoder.header(7) + audio
    with wave.open(io.BytesIO(file)) as reader:
        assert (reader.getnchannels(), reader.getframerate(), reader.getsampwidth()) == (2, 16000, 2)
        assert reader.readframes(99) == audio
    samples, rate_hz = soundfile.read(io.BytesIO(file), dtype="int16")
    assert rate_hz == 16000
    assert samples.tolist() == np.concatenate(blocks).tolist()


def test_the_audio_of_so_many_samples_is_known_before_it_is_encoded() -> None:
    encoder = WavEncoder(sample_rate_hz=8000, channels=2)
    assert encoder.audio_bytes(5) == len(encoder.encode(np.zeros((5, 2), np.int16)))


@pytest.mark.parametrize("samples", [0, 1, LARGEST_RIFF_SAMPLES, LARGEST_RIFF_SAMPLES + 1, 1 << 40])
def test_the_header_always_has_the_same_size(samples: int) -> None:
    assert len(wav_header(sample_rate_hz=8000, channels=2, samples=samples)) == HEADER_BYTES == 80


def test_the_largest_file_of_32_bit_sizes_is_plain_riff() -> None:
    header = wav_header(sample_rate_hz=8000, channels=2, samples=LARGEST_RIFF_SAMPLES)
    assert header[:4] == b"RIFF"
    assert header[12:16] == b"JUNK"
    assert struct.unpack_from("<I", header, 76)[0] == LARGEST_RIFF_SAMPLES * 4


def test_a_file_past_4_gib_is_rf64_with_its_true_sizes_in_ds64() -> None:
    samples = LARGEST_RIFF_SAMPLES + 1
    header = wav_header(sample_rate_hz=8000, channels=2, samples=samples)
    assert (header[:4], header[8:12], header[12:16], header[72:76]) == (b"RF64", b"WAVE", b"ds64", b"data")
    assert struct.unpack_from("<I", header, 4)[0] == struct.unpack_from("<I", header, 76)[0] == 0xFFFF_FFFF
    size, riff_bytes, data_bytes, count, table = struct.unpack_from("<IQQQI", header, 16)
    assert (size, table, count) == (28, 0, samples)
    assert data_bytes == samples * 4
    assert riff_bytes == data_bytes + HEADER_BYTES - 8
