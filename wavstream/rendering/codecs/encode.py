"""Linear samples to payload bytes, for those who send audio to a peer.

G.711 goes through one table of 65,536 entries for each law, made on first use from the segment rule of the standard: a
sign, the number of the segment (the position of the highest bit) and the four bits after it.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from wavstream.model.audio import Codec

Samples = npt.NDArray[np.int16]
"""Shape ``(samples, channels)``."""


def encode(samples: Samples, codec: Codec) -> bytes:
    """Return the samples as one payload, channels interleaved."""
    match codec:
        case Codec.L16:
            return samples.astype("<i2", copy=False).tobytes()
        case Codec.L16BE:
            return samples.astype(">i2").tobytes()
        case Codec.PCMU:
            return _mu_law()[samples.view(np.uint16)].tobytes()
        case Codec.PCMA:
            return _a_law()[samples.view(np.uint16)].tobytes()


@functools.cache
def _mu_law() -> npt.NDArray[np.uint8]:
    """Return the codes of all samples, by the sample's bits as an unsigned number."""
    linear = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    sign = np.where(linear < 0, 0x80, 0)
    # 132 moves the first segment's lower edge onto a power of two; 32,635 is the loudest that then stays in 15 bits.
    biased = np.minimum(np.abs(linear), 32_635) + 132
    segment = _highest_bit(biased) - 7
    step = (biased >> (segment + 3)) & 0x0F
    table: npt.NDArray[np.uint8] = (~(sign | (segment << 4) | step) & 0xFF).astype(np.uint8)
    return table


@functools.cache
def _a_law() -> npt.NDArray[np.uint8]:
    """Return the codes of all samples, by the sample's bits as an unsigned number."""
    linear = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    sign = np.where(linear < 0, 0, 0x80)
    # The law is defined on 13 bits; ~ makes the negative half the mirror of the positive one.
    size = np.where(linear < 0, ~linear, linear) >> 3
    segment = np.maximum(_highest_bit(np.maximum(size, 1)) - 4, 0)
    step = (size >> np.maximum(segment, 1)) & 0x0F
    table: npt.NDArray[np.uint8] = ((sign | (segment << 4) | step) ^ 0x55).astype(np.uint8)
    return table


def _highest_bit(numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the position of the highest set bit of positive numbers below 65,536."""
    return np.frexp(numbers)[1].astype(np.int32) - 1
