"""The tone that tells the parties of a call that a recording starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BEEP_HZ = 1_400
BEEP_MS = 200
_RAMP_MS = 5
_PEAK = 32_768 * 10 ** (-12 / 20)


def beep(rate_hz: int) -> NDArray[np.int16]:
    """1,400 Hz for 200 ms, at most -12 dBFS, (samples,); raised-cosine ramps of 5 ms, so that it does not click."""
    samples, ramp = rate_hz * BEEP_MS // 1000, rate_hz * _RAMP_MS // 1000
    tone: NDArray[np.float64] = _PEAK * np.sin(2 * np.pi * BEEP_HZ / rate_hz * np.arange(samples))
    rise: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi / ramp * np.arange(ramp))
    tone[:ramp] *= rise
    tone[-ramp:] *= rise[::-1]
    return np.rint(tone, dtype=np.float64).astype(np.int16)
