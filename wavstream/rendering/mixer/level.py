"""How loud samples are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOOR_DBFS = -100.0
"""Said of digital silence; the smallest sample that is not zero has -90.3."""
_FULL_SCALE = 32_768


def levels_dbfs(samples: NDArray[np.int16]) -> tuple[float, float]:
    """RMS and peak of one channel's samples, (n,), in dB of full scale: a sine of full scale has -3.0 and 0.0."""
    magnitude = np.abs(samples.astype(np.float64)) / _FULL_SCALE
    return _dbfs(math.sqrt(float(np.mean(magnitude**2)))), _dbfs(float(magnitude.max()))


def _dbfs(ratio: float) -> float:
    return max(FLOOR_DBFS, round(20 * math.log10(ratio), 1)) if ratio else FLOOR_DBFS
