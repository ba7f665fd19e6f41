"""Payload bytes of any codec to 16-bit linear samples.

L16 payloads are such samples already; only their byte order may differ.

G.711 is one byte a sample. ITU-T G.711 gives each byte a sign, a segment (3 bits) and a step in the segment (4 bits).
Mu-law bytes travel inverted and its segments are shifted by a bias of 33 quarter steps (132 at 16 bits); A-law bytes
travel with every second bit inverted and its first segment is as linear as its second. The tables are computed from
that rule once, at import; decoding is then one indexed read a sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LITTLE = np.dtype("<i2")
_BIG = np.dtype(">i2")
_MU_LAW_BIAS = 132
_A_LAW_TOGGLE = 0x55


def decode(codec: Codec, channels: int, payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the samples of contiguous payload bytes, (samples, channels); ``payload`` is (bytes,) in whole samples."""
    return _DECODERS[codec](payload).reshape(-1, channels)


def decode_little_endian(payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the samples of a contiguous payload, (bytes / 2,): on a little-endian machine a view, not a copy."""
    return payload.view(_LITTLE).astype(np.int16, copy=False)


def decode_big_endian(payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the samples of a contiguous payload in network order, (bytes / 2,)."""
    return payload.view(_BIG).astype(np.int16)


def decode_mu_law(payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the samples of mu-law bytes, in the shape of ``payload``."""
    return _MU_LAW.take(payload)


def decode_a_law(payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the samples of A-law bytes, in the shape of ``payload``."""
    return _A_LAW.take(payload)


def _mu_law_table() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    segment, step = (code >> 4) & 0x07, code & 0x0F
    magnitude = (((step << 3) + _MU_LAW_BIAS) << segment) - _MU_LAW_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law_table() -> NDArray[np.int16]:
    code = np.arange(256) ^ _A_LAW_TOGGLE
    segment, step = (code >> 4) & 0x07, code & 0x0F
    middle = (step << 4) + 8
    magnitude = np.where(segment == 0, middle, (middle + 256) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_MU_LAW = _mu_law_table()
_A_LAW = _a_law_table()
_DECODERS: dict[Codec, Callable[[NDArray[np.uint8]], NDArray[np.int16]]] = {
    Codec.L16: decode_little_endian,
    Codec.L16BE: decode_big_endian,
    Codec.PCMU: decode_mu_law,
    Codec.PCMA: decode_a_law,
}
