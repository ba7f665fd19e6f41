"""Tones, and what has become of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

AMPLITUDE = 8000


def tone(hz: float, length_s: float, *, rate_hz: int = 8000) -> NDArray[np.int16]:
    """Return a tone, (samples,)."""
    time = np.arange(round(length_s * rate_hz)) / rate_hz
    samples: NDArray[np.int16] = np.rint(AMPLITUDE * np.sin(2 * np.pi * hz * time)).astype(np.int16)
    return samples


def levels_db(samples: NDArray[np.int16], *, rate_hz: int = 8000) -> NDArray[np.float64]:
    """Return the level of each 50 ms against that of the tone that was sent, in dB."""
    length = rate_hz // 20
    pieces = samples[: len(samples) // length * length].astype(np.float64).reshape(-1, length)
    levels: NDArray[np.float64] = 10 * np.log10(2 * (pieces**2).mean(axis=1) / AMPLITUDE**2)
    return levels


def purity_db(samples: NDArray[np.int16], hz: float, *, rate_hz: int = 8000) -> float:
    """Return how much more power there is within 20 Hz of a tone than everywhere else, in dB."""
    time = np.arange(len(samples)) / len(samples)
    # Blackman and Harris: what is 92 dB below the tone is seen next to it.
    weights = (0.35875, -0.48829, 0.14128, -0.01168)
    window = sum(weight * np.cos(2 * np.pi * order * time) for order, weight in enumerate(weights))
    power = np.abs(np.fft.rfft(samples * window)) ** 2
    at_hz = np.arange(len(power)) * rate_hz / len(samples)
    is_tone = np.abs(at_hz - hz) <= 20
    return float(10 * np.log10(power[is_tone].sum() / power[~is_tone].sum()))
