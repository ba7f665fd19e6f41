"""Somebody who speaks: the voices of the simulator, as samples of 8 kHz."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 8_000
_LOUD = 300


@cache
def spoken(voice: str = "caller") -> NDArray[np.int16]:
    """The first utterance of a voice, (samples,), from its first sound to its last."""
    with (files("wavstream.simulator.voices") / f"{voice}.wav").open("rb") as file:
        samples, _ = soundfile.read(file, dtype="int16")
    loud = np.flatnonzero(np.abs(samples) > _LOUD)
    pauses = np.flatnonzero(np.diff(loud) > RATE_HZ)
    last = loud[pauses[0]] if len(pauses) else loud[-1]
    utterance: NDArray[np.int16] = samples[loud[0] : last + 1]
    return utterance


def silence(length_s: float) -> NDArray[np.int16]:
    """Nothing, (samples,)."""
    return np.zeros(round(length_s * RATE_HZ), np.int16)
