"""The seam between blocks and file formats: which encoder makes which form of file, and at which rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wavstream.model.options import FileFormat
from wavstream.rendering.encoders.mp3 import RATES_HZ, Mp3Encoder
from wavstream.rendering.encoders.wav import WavEncoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Encoder(Protocol):
    """Blocks in, bytes of one file out. The header has a fixed size and is written last."""

    def encode(self, block: NDArray[np.int16]) -> bytes:
        """Return the file bytes that a block, (samples, channels), completes."""

    def finish(self) -> bytes:
        """Return the bytes that end the audio; nothing is encoded after it."""

    def audio_bytes(self, samples: int) -> int:
        """Return the bytes after the header of a file of so many samples of each channel, encoded or not.

        Of a file that was encoded to its end, this many bytes are a whole file of the first ``samples`` samples.
        """

    def header(self, samples: int) -> bytes:
        """Return the header of a file of so many samples of each channel; its size is always the same."""


def new_encoder(file_format: FileFormat, *, sample_rate_hz: int, channels: int) -> Encoder:
    """Return the encoder of one file; the rate is one that ``file_rate_hz`` gave."""
    if file_format is FileFormat.MP3:
        return Mp3Encoder(sample_rate_hz=sample_rate_hz, channels=channels)
    return WavEncoder(sample_rate_hz=sample_rate_hz, channels=channels)


def file_rate_hz(file_format: FileFormat, wanted_hz: int) -> int:
    """Return the rate that the format has nearest to the one wanted; of two that are as near, the higher."""
    if file_format is FileFormat.MP3:
        return min(RATES_HZ, key=lambda rate_hz: (abs(rate_hz - wanted_hz), -rate_hz))
    return wanted_hz
