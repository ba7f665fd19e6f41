"""The drift of a sender's clock against ours, and its repair.

The smallest delay in each window of 10 s shows the network at its best, so what changes between windows is the
sender's clock.

1. A change of at most 2000 ppm looks like a clock. Anything steeper is a sender that is faster than real time, a
   backlog or a new route, and is never repaired.
2. When the delay that clock-like changes have added passes 10 ms, it is repaired.
3. The repair stretches or shrinks the track by at most 1000 ppm, which nobody hears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.rendering.timeline.clock import samples_at, us_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WINDOW_US = 10_000_000
_TOLERATED_US = 10_000
_STEEPEST_PPM = 2_000
_SLEW_ONE_IN = 1_000
_KNOWN_AFTER_US = 20_000_000


class Drift:
    """How fast one track's sender counts, learned from its delays."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._opened_us: int | None = None
        self._lowest_us: int | None = None
        self._previous: tuple[int, int] | None = None
        self._slewed_samples = 0
        self._owed_samples = 0
        self._drifted_us = 0
        self.known_us = 0
        """Over how long the clock was watched."""

    @property
    def ppm(self) -> int:
        """Millionths by which the sender is faster than we are; 0 while it was watched for less than 20 s."""
        if self.known_us < _KNOWN_AFTER_US:
            return 0
        return round(-self._drifted_us * 1_000_000 / self.known_us)

    @property
    def behind_us(self) -> int:
        """By how much frames come later than where they are placed, because of the sender's clock."""
        return self._drifted_us - us_of(self._slewed_samples, self._rate_hz)

    def observe(self, *, now_us: int, delay_us: int) -> None:
        """Take in the smallest delay of the frames on time since the last call."""
        if self._opened_us is None:
            self._opened_us = now_us
        # The delay as it would be without our repairs.
        raw_us = delay_us + us_of(self._slewed_samples, self._rate_hz)
        if self._lowest_us is None or raw_us < self._lowest_us:
            self._lowest_us = raw_us
        if now_us - self._opened_us >= _WINDOW_US:
            self._close_window(now_us, self._lowest_us)
            self._opened_us, self._lowest_us = now_us, None

    def slew(self, samples: int) -> int:
        """Return by how many samples a stretch of so many is to be stretched now; negative: shrunk."""
        if not self._owed_samples:
            return 0
        most = samples // _SLEW_ONE_IN  # rule 3
        change = max(-most, min(most, self._owed_samples))
        self._owed_samples -= change
        self._slewed_samples += change
        return change

    def _close_window(self, now_us: int, lowest_us: int) -> None:
        if self._previous is not None:
            then_us, before_us = self._previous
            change_us, length_us = lowest_us - before_us, now_us - then_us
            if abs(change_us) * 1_000_000 <= _STEEPEST_PPM * length_us:  # rule 1
                self._drifted_us += change_us
                self.known_us += length_us
        self._previous = now_us, lowest_us
        error_us = self._drifted_us - us_of(self._slewed_samples, self._rate_hz)
        if abs(error_us) > _TOLERATED_US:  # rule 2
            self._owed_samples = samples_at(error_us, self._rate_hz)


def stretched(samples: NDArray[np.int16], change: int) -> NDArray[np.int16]:
    """Return the same sound in ``change`` more samples, by linear interpolation; (n, channels) in and out."""
    length = len(samples)
    at = np.arange(length + change) * (length / (length + change))
    columns = [np.interp(at, np.arange(length), samples[:, channel]) for channel in range(samples.shape[1])]
    smooth: NDArray[np.int16] = np.rint(np.stack(columns, axis=1)).astype(np.int16)
    return smooth
