"""Samples of one rate to samples of another, as a stream: one resampler for each unbroken stretch of a track.

The resampler holds back up to a tenth of a second until it has heard what follows. ``finish`` brings that out; the
resampler cannot be used after it. The output depends on the input, and on how it was cut, and on nothing else. That is
why soxr works in floating point here: asked for 16-bit samples it adds a dither whose seed differs each time.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTHING = np.empty(0, np.float32)
_REMEMBERED_S = 0.5
"""A new stream that hears so much again goes on as the old one does: soxr's filter is far shorter."""


class Resampler:
    """Converts one unbroken stretch."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        self._stream = self._new_stream()
        self._taken = 0
        self._given = 0
        self._ready: NDArray[np.int16] = np.empty(0, np.int16)
        self._skip = 0
        self._lately: deque[NDArray[np.float32]] = deque()
        """The newest input."""

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take in samples, (n,), and return those that are ready now."""
        chunk = samples.astype(np.float32)
        self._remember(chunk)
        ready = self._new(_rounded(self._stream.resample_chunk(chunk)))
        self._given += len(ready)
        return ready

    def finish(self) -> NDArray[np.int16]:
        """Return the rest. Nothing can be fed after it."""
        return self._new(_rounded(self._stream.resample_chunk(_NOTHING, last=True)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Resampler:
        """Return one that goes on alike: soxr cannot be copied, so a new stream hears again what this one heard."""
        twin = Resampler(self._from_hz, self._to_hz)
        memo[id(self)] = twin
        # From a sample on that is one at both rates.
        step = self._from_hz // math.gcd(self._from_hz, self._to_hz)
        first = self._taken - sum(map(len, self._lately))
        skip = -first % step
        again = np.concatenate([*self._lately, _NOTHING])[skip:]
        twin._lately, twin._taken, twin._given = deque([again]), self._taken, self._given
        owed = self._given - (first + skip) * self._to_hz // self._from_hz
        ready = _rounded(twin._stream.resample_chunk(again))
        # What this one has given, the other one does not give again.
        twin._ready, twin._skip = ready[owed:], max(0, owed - len(ready))
        return twin

    def _new(self, ready: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return what is ready, without what another one has given already."""
        if not self._skip and not len(self._ready):
            return ready
        ready = np.concatenate((self._ready, ready))
        skipped = min(self._skip, len(ready))
        self._skip, self._ready = self._skip - skipped, ready[:0]
        return ready[skipped:]

    def _new_stream(self) -> Any:
        return soxr.ResampleStream(self._from_hz, self._to_hz, 1, dtype="float32", quality="HQ")

    def _remember(self, chunk: NDArray[np.float32]) -> None:
        self._taken += len(chunk)
        self._lately.append(chunk)
        kept = sum(map(len, self._lately)) - len(self._lately[0])
        while kept >= _REMEMBERED_S * self._from_hz:
            self._lately.popleft()
            kept -= len(self._lately[0])


def _rounded(chunk: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(chunk).clip(-32_768, 32_767).astype(np.int16)
