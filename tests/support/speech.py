"""Sounds for tests of whatever listens for speech: the caller of the simulator, and what is no speech.

All are mono, 8 kHz unless a rate is given, (samples,) of int16.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

import wavstream.simulator

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 8_000
FULL_SCALE = 32_768
CALLER_TURNS_S = ((2.84, 5.47), (8.35, 10.74))
"""When the caller speaks; it is digital silence in between."""
_CALLER = Path(wavstream.simulator.__file__).parent / "voices" / "caller.wav"
_LOUD = 300


@cache
def caller(rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Two turns within 11 s."""
    samples, _ = soundfile.read(_CALLER, dtype="float64")
    at_rate = soxr.resample(samples, RATE_HZ, rate_hz)
    return np.asarray(np.rint(at_rate * FULL_SCALE), np.int16)


@cache
def spoken() -> NDArray[np.int16]:
    """Return the caller's first turn, from its first sound to its last."""
    samples = caller()
    loud = np.flatnonzero(np.abs(samples) > _LOUD)
    end_of_turn = np.flatnonzero(np.diff(loud) > RATE_HZ)[0]
    return samples[loud[0] : loud[end_of_turn] + 1]


def noise(length_s: float, *, rate_hz: int = RATE_HZ, seed: int = 1) -> NDArray[np.int16]:
    """Loud samples of which no two stretches are alike, so that the place of each can be told."""
    return np.random.default_rng(seed).integers(-9000, 9000, round(length_s * rate_hz), np.int16)


def hello() -> NDArray[np.int16]:
    """Return the word "hello", 390 ms from its first sound to its last."""
    return caller()[22_720:25_840]


def silence(length_s: float) -> NDArray[np.int16]:
    """Digital silence."""
    return np.zeros(round(length_s * RATE_HZ), np.int16)


def mu_law_silence(length_s: float) -> NDArray[np.int16]:
    """Return what a mu-law coder makes of a quiet line: the two codes next to zero."""
    return np.random.default_rng(3).choice(np.array([-8, 0, 8], np.int16), round(length_s * RATE_HZ))


def white_noise(length_s: float, dbfs: float) -> NDArray[np.int16]:
    """Noise of a level, root mean square against full scale."""
    normal = np.random.default_rng(4).standard_normal(round(length_s * RATE_HZ))
    return np.asarray(np.rint(normal * FULL_SCALE * 10 ** (dbfs / 20)), np.int16)
