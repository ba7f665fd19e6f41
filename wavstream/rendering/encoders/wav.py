"""WAV, 16-bit PCM, with room in its header to pass 4 GiB.

The header is always 80 bytes, so a file can be written whole before it is known which of the two it will be:

1. Up to 4 GiB ``RIFF``, ``fmt ``, a ``JUNK`` chunk of 28 bytes, the head of ``data``. The simplest readers take
   channels and rate from fixed bytes, where they are only if ``fmt `` is first. Those that take byte 44 for the first
   sample hear 36 bytes that are no audio, and stay in step: these are whole samples of one channel and of two.
2. Beyond, where sizes of 32 bits end, RF64 (EBU Tech 3306): the sizes become 0xFFFFFFFF, and ``ds64`` with the true
   ones in 64 bits takes the room of ``JUNK``. It has to be first, so ``fmt `` comes behind it.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_BYTES = 80
_SAMPLE_BYTES = 2
_PCM = 1
_MAX_U32 = 0xFFFF_FFFF
_CHUNK = struct.Struct("<4sI")
_DS64 = struct.Struct("<QQQI")
_FORMAT = struct.Struct("<HHIIHH")


class WavEncoder:
    """One WAV file."""

    def __init__(self, *, sample_rate_hz: int, channels: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels

    def encode(self, block: NDArray[np.int16]) -> bytes:
        """Return the block's samples, interleaved, little-endian."""
        return pcm_bytes(block)

    def finish(self) -> bytes:
        """Return nothing: 16-bit samples always fill whole words, so the data chunk needs no padding."""
        return b""

    def audio_bytes(self, samples: int) -> int:
        """Return two bytes for each sample of each channel."""
        return samples * self._channels * _SAMPLE_BYTES

    def header(self, samples: int) -> bytes:
        """Return the header of a file of so many samples."""
        return wav_header(sample_rate_hz=self._sample_rate_hz, channels=self._channels, samples=samples)


def pcm_bytes(block: NDArray[np.int16]) -> bytes:
    """Return the samples of a block, (samples, channels), interleaved, little-endian."""
    if block.shape[1] == 2 and not block.flags.c_contiguous:
        interleaved = np.empty(block.shape, np.int16)
        interleaved[:, 0] = block[:, 0]  # column by column: half of what numpy takes for both
        interleaved[:, 1] = block[:, 1]
        block = interleaved
    return (block if sys.byteorder == "little" else block.byteswap()).tobytes()


def wav_header(*, sample_rate_hz: int, channels: int, samples: int) -> bytes:
    """Return the 80 bytes before ``samples`` samples of each channel."""
    step_bytes = channels * _SAMPLE_BYTES
    data_bytes = samples * step_bytes
    # RIFF counts what comes after its own head.
    riff_bytes = HEADER_BYTES - _CHUNK.size + data_bytes
    form = _CHUNK.pack(b"fmt ", _FORMAT.size) + _FORMAT.pack(
        _PCM, channels, sample_rate_hz, sample_rate_hz * step_bytes, step_bytes, 8 * _SAMPLE_BYTES
    )
    if riff_bytes <= _MAX_U32:
        room = _CHUNK.pack(b"JUNK", _DS64.size) + bytes(_DS64.size)
        return _CHUNK.pack(b"RIFF", riff_bytes) + b"WAVE" + form + room + _CHUNK.pack(b"data", data_bytes)
    sizes = _CHUNK.pack(b"ds64", _DS64.size) + _DS64.pack(riff_bytes, data_bytes, samples, 0)
    return _CHUNK.pack(b"RF64", _MAX_U32) + b"WAVE" + sizes + form + _CHUNK.pack(b"data", _MAX_U32)


def endless_wav_header(*, sample_rate_hz: int, channels: int) -> bytes:
    """Return the 80 bytes of a file of unknown length: both sizes are 0xFFFFFFFF, as is usual for streams."""
    header = bytearray(wav_header(sample_rate_hz=sample_rate_hz, channels=channels, samples=0))
    for at in (_CHUNK.size - 4, HEADER_BYTES - 4):
        header[at : at + 4] = _MAX_U32.to_bytes(4, "little")
    return bytes(header)
