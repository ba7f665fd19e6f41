"""Samples of one rate to samples of another, as a stream: one resampler for each unbroken stretch of a track.

The resampler holds back up to a tenth of a second until it has heard what follows; ``finish`` brings that out, after
which the resampler is spent. What comes out is a deterministic function of what goes in and how it was cut. That is
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
    """One unbroken stretch on its way from one rate to another."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """The samples that are ready once these, (n,), are known."""
        return _rounded(self._stream.resample_chunk(samples.astype(np.float32)))

    def finish(self) -> NDArray[np.int16]:
        """The rest; the resampler is spent."""
        return _rounded(self._stream.resample_chunk(_NOTHING, last=True))


def _rounded(chunk: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(chunk).clip(-32_768, 32_767).astype(np.int16)
