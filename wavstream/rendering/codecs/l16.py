"""L16: payload bytes are 16-bit linear samples already; only their byte order may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LITTLE = np.dtype("<i2")
_BIG = np.dtype(">i2")


def decode_little_endian(payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The samples of a contiguous payload, (bytes / 2,): on a little-endian machine a view, not a copy."""
    return payload.view(_LITTLE).astype(np.int16, copy=False)


def decode_big_endian(payload: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The samples of a contiguous payload in network order, (bytes / 2,)."""
    return payload.view(_BIG).astype(np.int16)
