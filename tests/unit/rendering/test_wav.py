"""The WAV header and what follows it."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavstream.rendering.encoders.wav import HEADER_BYTES, WavEncoder, endless_wav_header, wav_header

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
    assert (header[:4], header[12:16], header[36:40], header[72:76]) == (b"RIFF", b"fmt ", b"JUNK", b"data")
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
    assert header[48:72] == wav_header(sample_rate_hz=8000, channels=2, samples=1)[12:36]


@pytest.mark.parametrize("channels", [1, 2])
def test_the_simplest_reader_that_knows_only_fixed_places_has_the_form_and_stays_in_step(channels: int) -> None:
    block = np.arange(100 * channels, dtype=np.int16).reshape(100, channels) + 1
    encoder = WavEncoder(sample_rate_hz=16000, channels=channels)
    file = encoder.header(100) + encoder.encode(block)
    form = struct.unpack_from("<4sIHHIIHH", file, 12)
    assert form == (b"fmt ", 16, 1, channels, 16000, 32000 * channels, 2 * channels, 16)
    heard = np.frombuffer(file[44:], "<i2").reshape(-1, channels)
    assert heard[36 // (2 * channels) :].tolist() == block.tolist()


def chunks(file: bytes) -> list[tuple[bytes, int]]:
    """Return the name and size of each chunk of a file, read one after another."""
    found, at = [], 12
    while at < len(file):
        name, size = struct.unpack_from("<4sI", file, at)
        found.append((name, size))
        at += 8 + size + size % 2
    return found


def test_a_reader_that_walks_the_chunks_finds_each_where_the_one_before_ends() -> None:
    encoder = WavEncoder(sample_rate_hz=8000, channels=1)
    file = encoder.header(3) + encoder.encode(np.ones((3, 1), np.int16))
    assert chunks(file) == [(b"fmt ", 16), (b"JUNK", 28), (b"data", 6)]
    assert struct.unpack_from("<I", file, 4)[0] == len(file) - 8


def test_a_file_that_grows_has_the_form_of_the_finished_one_and_is_read_as_far_as_it_is() -> None:
    block = np.arange(40, dtype=np.int16).reshape(20, 2)
    encoder = WavEncoder(sample_rate_hz=8000, channels=2)
    header = endless_wav_header(sample_rate_hz=8000, channels=2)
    assert len(header) == HEADER_BYTES
    assert header[8:76] == encoder.header(20)[8:76]
    assert header[4:8] == header[76:] == b"\xff" * 4
    with wave.open(io.BytesIO(header + encoder.encode(block))) as reader:
        assert (reader.getnchannels(), reader.getframerate()) == (2, 8000)
        assert reader.readframes(20) == encoder.encode(block)
    samples, rate_hz = soundfile.read(io.BytesIO(header + encoder.encode(block)), dtype="int16")
    assert (rate_hz, samples.tolist()) == (8000, block.tolist())


def test_a_file_past_4_gib_is_read_by_other_peoples_code(tmp_path: Path) -> None:
    samples = LARGEST_RIFF_SAMPLES + 1
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav_header(sample_rate_hz=8000, channels=2, samples=samples))
        file.truncate(HEADER_BYTES + samples * 4)  # holes: it takes no room
    info = soundfile.info(path)
    assert (info.frames, info.samplerate, info.channels, info.format) == (samples, 8000, 2, "RF64")


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_reads_the_form_and_the_length(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(wav_header(sample_rate_hz=8000, channels=2, samples=8000) + bytes(32_000))
    asked = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,sample_rate,channels,duration"]
    said = subprocess.run([*asked, "-of", "csv=p=0", path], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "pcm_s16le,8000,2,1.000000"
