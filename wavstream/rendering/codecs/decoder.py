"""Payload bytes of any codec to 16-bit linear samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.g711 import decode_a_law, decode_mu_law
from wavstream.rendering.codecs.l16 import decode_big_endian, decode_little_endian

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def decode(codec: Codec, channels: int, payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The samples of contiguous payload bytes, (samples, channels); ``payload`` is (bytes,) in whole samples."""
    return _DECODERS[codec](payload).reshape(-1, channels)


_DECODERS: dict[Codec, Callable[[NDArray[np.uint8]], NDArray[np.int16]]] = {
    Codec.L16: decode_little_endian,
    Codec.L16BE: decode_big_endian,
    Codec.PCMU: decode_mu_law,
    Codec.PCMA: decode_a_law,
}
