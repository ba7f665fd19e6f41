"""The rate of a file, which its format must have."""

from __future__ import annotations

import pytest

from wavstream.model.options import FileFormat
from wavstream.rendering.encoders.encoder import file_rate_hz, new_encoder


@pytest.mark.parametrize(
    ("wanted_hz", "given_hz"),
    [(8000, 8000), (9512, 8000), (9513, 11_025), (14_000, 16_000), (38_050, 44_100), (48_000, 48_000)],
)
def test_an_mp3_has_the_nearest_rate_that_lame_has(wanted_hz: int, given_hz: int) -> None:
    assert file_rate_hz(FileFormat.MP3, wanted_hz) == given_hz


def test_a_wav_has_any_rate() -> None:
    assert file_rate_hz(FileFormat.WAV, 9512) == 9512


@pytest.mark.parametrize(("file_format", "start"), [(FileFormat.WAV, b"RIFF"), (FileFormat.MP3, b"\xff\xe3")])
def test_each_format_has_its_encoder(file_format: FileFormat, start: bytes) -> None:
    encoder = new_encoder(file_format, sample_rate_hz=8000, channels=1)

    assert encoder.header(8000).startswith(start)
