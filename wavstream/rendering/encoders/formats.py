"""Which encoder makes which form of file, and at which rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.model.options import FileFormat
from wavstream.rendering.encoders.mp3 import RATES_HZ, Mp3Encoder
from wavstream.rendering.encoders.wav import WavEncoder

if TYPE_CHECKING:
    from wavstream.rendering.encoders.base import Encoder


def new_encoder(file_format: FileFormat, *, sample_rate_hz: int, channels: int) -> Encoder:
    """The encoder of one file; the rate is one that ``file_rate_hz`` gave."""
    if file_format is FileFormat.MP3:
        return Mp3Encoder(sample_rate_hz=sample_rate_hz, channels=channels)
    return WavEncoder(sample_rate_hz=sample_rate_hz, channels=channels)


def file_rate_hz(file_format: FileFormat, wanted_hz: int) -> int:
    """The rate that the format has nearest to the one wanted; of two that are as near, the higher."""
    if file_format is FileFormat.MP3:
        return min(RATES_HZ, key=lambda rate_hz: (abs(rate_hz - wanted_hz), -rate_hz))
    return wanted_hz
