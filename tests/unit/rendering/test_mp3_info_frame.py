"""The Info frame's own counts; that players understand them is heard in the tests of whole files."""

from __future__ import annotations

import struct

import pytest

from wavstream.rendering.encoders.info_frame import crc16
from wavstream.rendering.encoders.mp3 import Mp3Encoder

MONO_TAG_AT = 4 + 9
"""Behind the header and the side information of an MPEG-2.5 frame of one channel."""


def test_the_frame_counts_frames_without_itself_and_bytes_with_itself() -> None:
    encoder = Mp3Encoder(sample_rate_hz=8000, channels=1)
    samples = 8000

    header = encoder.header(samples)

    name, flags, frames, file_bytes = struct.unpack_from(">4sIII", header, MONO_TAG_AT)
    assert (name, flags, frames) == (b"Info", 0xF, 16)
    assert file_bytes == len(header) + encoder.audio_bytes(samples) == 17 * 288
    (music_bytes,) = struct.unpack_from(">I", header, MONO_TAG_AT + 120 + 28)
    assert music_bytes == file_bytes


def test_the_delay_and_the_padding_leave_what_was_recorded() -> None:
    header = Mp3Encoder(sample_rate_hz=8000, channels=1).header(8000)

    ends = int.from_bytes(header[MONO_TAG_AT + 120 + 21 :][:3], "big")

    assert (ends >> 12, ends & 0xFFF) == (576, 16 * 576 - 576 - 8000)


def test_each_hundredth_of_the_time_starts_at_its_hundredth_of_the_bytes() -> None:
    header = Mp3Encoder(sample_rate_hz=8000, channels=1).header(8000)

    table = header[MONO_TAG_AT + 16 :][:100]

    assert [table[percent] for percent in (0, 1, 50, 99)] == [0, 2, 128, 253]


def test_the_tag_ends_with_its_own_checksum() -> None:
    header = Mp3Encoder(sample_rate_hz=44_100, channels=2).header(44_100)
    tag_end = 4 + 32 + 120 + 34

    assert crc16(header[:tag_end]) == int.from_bytes(header[tag_end : tag_end + 2], "big")
    assert not any(header[tag_end + 2 :])


@pytest.mark.parametrize(("text", "checksum"), [(b"", 0), (b"123456789", 0xBB3D)])
def test_the_checksum_is_crc_16_arc(text: bytes, checksum: int) -> None:
    assert crc16(text) == checksum
