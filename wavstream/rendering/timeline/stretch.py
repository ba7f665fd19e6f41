"""A track that is bent: the same sound in a few more samples, or fewer, by band-limited interpolation.

A ``Bend`` says where the samples of one stretch come to lie. A ``Stretcher`` moves one unbroken sound there, stretch
after stretch.

1. Positions are counted in 2**-32 of a sample, as whole numbers, so that nothing adds up over the hours of a call.
2. Each sample that comes out is a sum over the 32 nearest ones that went in, weighted by a sinc under a Kaiser window,
   of which a table has 512 phases and what is between two of them is interpolated. A tone of 3 kHz at 8 kHz keeps its
   level within 0.01 dB, and what is added lies 80 dB below it.
3. It goes on through the borders of stretches: the last samples are kept, and the fraction. What needs samples that did
   not come yet waits for them: 16 samples at most, which ``finish`` brings out.
4. A sound that was not bent before lies on whole samples. Its first 16 samples stay there, to the bit, because what was
   before them is not known here. The bend begins behind them.
5. A sound on whole samples that is not bent any more is not touched any more: the stretcher is *done*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

ONE = 1 << 32
"""One sample, in the units of positions."""

_TAPS = 32
_HALF = _TAPS // 2
_PHASES = 512
_KAISER_BETA = 8.0
_NEAR = 2**-16


@dataclass(frozen=True, slots=True)
class Bend:
    """By how much a stretch is moved and stretched, in 2**-32 of a sample."""

    fraction: int
    """By how much it begins after a whole sample, less than one."""
    change: int
    """By how much it becomes longer; negative: shorter."""

    def behind(self, samples: int, length: int) -> tuple[int, Bend]:
        """Return how many whole samples later than that its rest begins, and its bend, behind some of ``length``."""
        taken = self.change * samples // length
        whole, fraction = divmod(self.fraction + taken, ONE)
        return whole, Bend(fraction, self.change - taken)


class Stretcher:
    """One unbroken sound on its way to where it is bent to. It counts in samples from its own beginning."""

    def __init__(self, channels: int, *, fraction: int = 0) -> None:
        """Begin ``fraction`` after a whole sample, with silence before it."""
        self._heard = np.zeros((_HALF, channels), np.float32)
        """What went in and is needed still, (n, channels), after silence where nothing was before."""
        self._at = np.empty(0, np.float64)
        """The places in ``_heard`` of samples that wait to come out (rule 3)."""
        self._is_fresh = fraction == 0
        self._end = fraction
        """Where the sound ends when it has come out, in 2**-32 of a sample."""

    @property
    def waiting(self) -> int:
        """How many samples are held back."""
        return len(self._at)

    @property
    def end(self) -> int:
        """Where what went in ends, in 2**-32 of a sample after the whole sample at which it began."""
        return self._end

    def feed(self, samples: NDArray[np.int16], change: int) -> NDArray[np.int16]:
        """Take in samples, (n, channels), to come out ``change`` longer; return what is ready, (m, channels)."""
        came = len(self._heard)
        self._heard = np.concatenate((self._heard, samples.astype(np.float32)))
        at, length = float(came), len(samples)
        if self._is_fresh:  # rule 4
            kept = min(_HALF, length // 2)
            self._plan(at, kept, 0)
            at, length = at + kept, length - kept
            self._is_fresh = False
        self._plan(at, length, change)
        return self._come_out(len(self._heard) - _HALF)

    def is_done(self, change: int) -> bool:
        """Return whether what came last, ``change`` longer, lies on whole samples and was not bent (rule 5)."""
        return not (change or self._end % ONE or (self._at % 1).any())

    def finish(self) -> NDArray[np.int16]:
        """Return the rest, as if silence followed. Nothing can be fed after it."""
        channels = self._heard.shape[1]
        self._heard = np.concatenate((self._heard, np.zeros((_HALF + 1, channels), np.float32)))
        return self._come_out(len(self._heard))

    def _plan(self, at: float, length: int, change: int) -> None:
        """Let samples at places of ``_heard`` lie from the end so far on, in so much more room."""
        begin = self._end
        self._end = end = begin + length * ONE + change
        first, behind = -(-begin // ONE), -(-end // ONE)
        if behind > first:
            step = length * ONE / (end - begin)
            places = at + ((first * ONE - begin) / ONE + np.arange(behind - first)) * step
            self._at = np.concatenate((self._at, places))

    def _come_out(self, known: int) -> NDArray[np.int16]:
        """Return what lies before that place of ``_heard``, and forget what is not needed any more."""
        count = int(np.searchsorted(self._at, known - _NEAR))
        at, self._at = self._at[:count], self._at[count:]
        ready = _between(self._heard, at)
        # The next one to come out needs half the taps before it, or the next one to go in does.
        needed = int(self._at[0]) if len(self._at) else len(self._heard)
        done = max(0, needed - _HALF)
        self._heard, self._at = self._heard[done:].copy(), self._at - done
        return ready


def _between(heard: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return the sound at places between samples, (len(at), channels) (rule 2)."""
    channels = heard.shape[1]
    if not len(at):
        return np.empty((0, channels), np.int16)
    # A place may lie a hair beside a whole one that it means: rounded to far less than can be heard.
    at = np.rint(at / _NEAR) * _NEAR
    whole = at.astype(np.int64)
    phase = (at - whole) * _PHASES
    row = phase.astype(np.int64)
    part = (phase - row).astype(np.float32)[:, None]
    weights = _TABLE[row] + part * _STEPS[row]
    # Places begin half the taps before the sample at which they are.
    windows = sliding_window_view(heard, _TAPS, axis=0)[whole - (_HALF - 1)]
    sound = np.einsum("nct,nt->nc", windows, weights)
    smooth: NDArray[np.int16] = np.rint(sound).clip(-32_768, 32_767).astype(np.int16)
    return smooth


def _table() -> NDArray[np.float32]:
    """Return the weights of the taps for each phase, and for the one after the last, (phases + 1, taps)."""
    fraction = np.arange(_PHASES + 1)[:, None] / _PHASES
    distance = np.arange(_TAPS)[None, :] - (_HALF - 1) - fraction
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (distance / _HALF) ** 2, 0, None))) / np.i0(_KAISER_BETA)
    weights = np.sinc(distance) * window
    # Each row sums to one, so that what stands still stays; at a whole sample a row is that sample.
    weights /= weights.sum(axis=1, keepdims=True)
    weights[np.abs(weights) < 1e-12] = 0
    exact: NDArray[np.float32] = weights.astype(np.float32)
    return exact


_ROWS = _table()
_TABLE, _STEPS = _ROWS[:-1], np.diff(_ROWS, axis=0)
