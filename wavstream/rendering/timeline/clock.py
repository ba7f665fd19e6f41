"""Track clocks: which frames may be placed, and when what follows moves against the frames before.

The *lag* of a frame is its arrival less the media time of its end, plus 20 ms: the moment at which position 0 would
have been said if this frame had come without delay. A frame of 20 ms thus starts where it arrived, and a longer one
ends where a frame of 20 ms would end, because legs whose frames have different lengths must stay aligned. The network
only ever adds to a lag, so the smallest of a track's first 2 s is its *reference*: what is above it is delay.

*Contiguous*: every sample is sent, so position counts. A frame at most 100 ms above the reference is on time. Frames
behind that are kept until one of three things happens:

1. A frame is on time again. It was a stall and then a burst, and nothing moves.
2. For a second nothing was on time, and the delay has stopped shrinking. The sender said nothing for a while. What
   follows, and the reference, move by the smallest delay of the frames that were kept: a gap.
3. The stream or the recording ends: the same.

*Arrival*: silence is not sent.

4. A late frame is the start of a new talk spurt, where it arrived, at once.
5. Frames that come early follow the spurt that they belong to.

*Timestamped*: position is the vendor's own media time, so a delay is only a delay, however long, and nothing moves.

6. A hole may still be filled by a frame that was overtaken. So what lies behind it waits until the first frame from
   there came 200 ms ago; then the hole is loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wavstream.rendering.timeline.frames import Frames

STALL_WAIT_US = 3_000_000
"""How long the file waits for a stream that is behind, unless a setting says otherwise."""
SETTLE_US = 2_000_000
LATE_US = 100_000
REORDER_US = 200_000
_GAP_AFTER_US = 1_000_000
_CATCHING_UP_US = 25_000
_S = 1_000_000


def samples_at(time_us: int, rate_hz: int) -> int:
    """Return the sample nearest to a time, both counted from one moment."""
    return (time_us * rate_hz + _S // 2) // _S


def us_of(samples: int, rate_hz: int) -> int:
    """Return how long so many samples take in microseconds, rounded down."""
    return samples * _S // rate_hz


def lag_us(frames: Frames, rate_hz: int) -> NDArray[np.int64]:
    """Return the lags of frames, (n,)."""
    lag: NDArray[np.int64] = frames.arrival_us - frames.end * _S // rate_hz
    lag += NOMINAL_PTIME_US
    return lag


class Clock(Protocol):
    """Decides over frames that have come and are not placed yet."""

    reference_us: int
    """The lag of a frame without delay."""
    anchor_us: int
    """Where position 0 is in the call, were the track never slewed."""

    def due(self, lag_us: NDArray[np.int64]) -> int:
        """Return how many of these frames may be placed as they follow."""

    def move(self, kept: Frames, fresh: int, *, now_us: int, final: bool) -> int | None:
        """Return by how much the kept frames move, or None: wait.

        ``fresh``: the first that came since the last call.
        """


class ContiguousClock:
    """Every sample is sent."""

    def __init__(self, *, reference_us: int, anchor_us: int, rate_hz: int) -> None:
        self.reference_us = reference_us
        self.anchor_us = anchor_us
        self._rate_hz = rate_hz
        self._unslewed_us = reference_us
        self._slewed_samples = 0
        self._behind_us: int | None = None
        """The smallest lag of what came last while nothing was on time."""

    def due(self, lag_us: NDArray[np.int64]) -> int:
        """Return how many frames there are up to the last one that is on time."""
        limit_us = self.reference_us + LATE_US
        # The usual case first: nearly always all are on time. A ufunc's reduce is cheaper than the method max().
        if np.maximum.reduce(lag_us) <= limit_us:
            self._behind_us = None
            return len(lag_us)
        on_time = np.flatnonzero(lag_us <= limit_us)
        return int(on_time[-1]) + 1 if len(on_time) else 0  # rule 1

    def move(self, kept: Frames, fresh: int, *, now_us: int, final: bool) -> int | None:
        """Return the smallest delay of the kept frames, once it is sure that it was a gap."""
        before_us = self._behind_us
        if not final:  # rule 3
            # While nothing comes, it is not known whether a burst will.
            if fresh >= len(kept):
                return None
            self._behind_us = now_behind_us = int(kept.lag_us[fresh:].min())
            shrinks = before_us is None or now_behind_us < before_us - _CATCHING_UP_US
            if shrinks or now_us - int(kept.arrival_us[0]) < _GAP_AFTER_US:  # rule 2
                return None
        delay_us = int(kept.lag_us.min()) - self.reference_us
        self._unslewed_us += delay_us
        self.reference_us += delay_us
        self.anchor_us += delay_us
        self._behind_us = None
        return delay_us

    def slew(self, samples: int) -> None:
        """Take in that the track was stretched by so many samples."""
        # The sum is converted, not each slew: roundings would add up over the hours of a call.
        self._slewed_samples += samples
        self.reference_us = self._unslewed_us + us_of(self._slewed_samples, self._rate_hz)


class ArrivalClock:
    """Silence is suppressed."""

    def __init__(self, *, reference_us: int, anchor_us: int) -> None:
        self.reference_us = reference_us
        self.anchor_us = anchor_us

    def due(self, lag_us: NDArray[np.int64]) -> int:
        """Return how many frames belong to the spurt that is being said."""
        limit_us = self.reference_us + LATE_US
        if np.maximum.reduce(lag_us) <= limit_us:  # rule 5
            return len(lag_us)
        return int(np.argmax(lag_us > limit_us))

    def move(self, kept: Frames, fresh: int, *, now_us: int, final: bool) -> int | None:
        """Return how far a new spurt lies behind the one before: it is where its first frame arrived."""
        spurt_us = int(kept.lag_us[0])
        moved_us = spurt_us - self.reference_us
        self.reference_us = self.anchor_us = spurt_us  # rule 4
        return moved_us


class TimestampedClock:
    """The vendor gives media time."""

    def __init__(self, *, reference_us: int) -> None:
        self.reference_us = reference_us

    def due(self, frames: Frames, placed: int, *, now_us: int, final: bool) -> tuple[NDArray[np.int64], int] | None:
        """Return the rows of frames in the order of media time, and how many of them may be placed.

        None: all may, as they are. No two frames lie on each other. ``placed``: the position after the last sample
        that was placed.
        """
        start, end = frames.start, frames.end
        # Comparing bytes takes a fifth of the time of an elementwise comparison and its any().
        if start[0] <= placed and start[1:].tobytes() == end[:-1].tobytes():
            return None
        order = start.argsort(kind="stable")
        if final:
            return order, len(order)
        known = np.maximum.accumulate(np.concatenate(([placed], end.take(order))))
        holes = np.flatnonzero(start.take(order) > known[:-1])
        # rule 6: a hole in front of a frame that came long enough ago is not filled any more.
        old = np.flatnonzero(frames.arrival_us.take(order) <= now_us - REORDER_US)
        waiting = holes[holes > old[-1]] if len(old) else holes
        return order, int(waiting[0]) if len(waiting) else len(order)
