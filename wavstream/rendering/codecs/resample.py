"""Samples of one rate to samples of another, as a stream: one resampler for each unbroken stretch of a track.

The resampler holds back up to a tenth of a second until it has heard what follows. ``finish`` brings that out; the
resampler cannot be used after it. The output depends on the input, and on how it was cut, and on nothing else. That is
why soxr works in floating point here: asked for 16-bit samples it adds a dither whose seed differs each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTHING = np.empty(0, np.float32)


class Resampler:
    """Converts one unbroken stretch."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take in samples, (n,), and return those that are ready now."""
        return _rounded(self._stream.resample_chunk(samples.astype(np.float32)))

    def finish(self) -> NDArray[np.int16]:
        """Return the rest. Nothing can be fed after it."""
        return _rounded(self._stream.resample_chunk(_NOTHING, last=True))


def _rounded(chunk: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(chunk).clip(-32_768, 32_767).astype(np.int16)
