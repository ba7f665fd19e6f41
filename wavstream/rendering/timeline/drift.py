"""The drift of a sender's clock against ours, and how fast a track is bent to make up for it.

A network only ever adds delay. So the smallest delays show the sender's clock, and nothing else does.

1. The smallest delay of each *window* is kept, of 1.5 s with 12 frames at least, or of 10 s: the last 30 of them.
2. The *line* is the straight one beneath all of them that is nearest to them. It tells the clock from the third window
   on. Jitter and stalls lie above it. What is steeper than 2000 ppm is no clock.
3. A window far below the line is a better route or a sender ahead of time; four in a row that are far above it are a
   route that got worse. Neither is the clock, nor repaired: what follows is compared with the line that much away.
   Before there is a line, windows far above a later one were delayed, and are forgotten.
4. A track is bent from when the line is more than 8 ms off, if all windows are near it; from 8 windows on, from when it
   is more than 6 ms off, if two thirds of them are near it; both only if the newer half of them goes its way. Or else
   from 21 ms on. One that keeps nearer than that is never bent. The line may fall below what came lately (we read late
   for a while, and early between): what none of the last three windows has reached is no clock. Nor is a step: a socket
   that is read by visits (``media.low_water``), or at other moments than before, has up to a frame more of delay at
   once, and for good. And until a track is bent, a window far below the line, but not below those before, tells that
   the line was wrong, and nothing of the route.
5. From then on it is bent as fast as the clock drifts. What is owed is paid within 10 s or so, from when it is more
   than 3 ms until it is less than 1 ms; by 4000 ppm at most, which nobody hears. Otherwise the speed stays as it is,
   since each change of it can be measured.
6. Silence that the sender left out takes up what is owed: what follows it lies where it arrived, and is compared with
   nothing before it.
7. A track may begin later than its smallest delays would have it. What the first line has there, where the track
   begins, was put off: it is not owed. Only what comes to it is the clock, of a fast one too, whose delays shrink.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US
from wavstream.rendering.timeline.stretch import ONE, Bend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WINDOW_US = 2_000_000
"""Of frames that took longer each window is looked at by itself."""
_FULL_US = 1_500_000
"""Enough, where what is placed together ends: clock records are 0.9 s apart at most."""
_WINDOW_FRAMES = 12
_LONGEST_US = 10_000_000
_WINDOWS = 30
_LEAST_WINDOWS = 3
_SURE_WINDOWS = 4
"""Before that the line tells nothing but what to expect."""
_LEAST_SPAN_US = 3_500_000
_MANY_WINDOWS = 8
_NEWS = 3
_MUCH_NEWS = 15
_SURPRISE_US = 1_000
_STEEPEST = 2_200e-6
"""What is measured of a clock of 2000 ppm may be a little more."""
_BELOW_US = 2_000
_ABOVE_US = 20_000
_ABOVE_WINDOWS = 4
_TOLERATED_US = 6_000
_TOLERATED_EARLY_US = 8_000
_TOLERATED_MOST_US = 21_000
_OWED_US = 3_000
_PAID_US = 1_000
_PAID_WITHIN_US = 10_000_000
_FASTEST = 4_000e-6
_SAME_SLOPE = 50e-6
_KNOWN_AFTER_US = 20_000_000
_S = 1_000_000


class Drift:
    """How fast one track's sender counts, learned from its delays, and by how much the track is bent."""

    def __init__(self, rate_hz: int) -> None:
        self.is_off = False
        """Whether the clock was ever so far off that it counts (rule 4)."""
        self.is_seen = False
        """Whether the clock drifts, by what is known now: delays are to be compared with ``behind_us``."""
        self._rate_hz = rate_hz
        self._opened_us = 0
        """When the window that is open has begun."""
        self._begun_us: int | None = None
        """When the first one has begun since silence."""
        self._put_off_us = 0
        """By how much the track may have been put off, until there is a line (rule 7)."""
        self._frames = 0
        """Of that window, as the next ones."""
        self._has_on_time = False
        """Whether one of them was on time; not only frames that waited for one that was."""
        self._least_us = 0
        self._least_at_us = 0
        self._base_us = 0
        """What delays are less by that are compared with the line (rule 3)."""
        self._above: deque[int] = deque(maxlen=_ABOVE_WINDOWS)
        """How far above the line the last windows were, if they were too far."""
        self._points: deque[tuple[int, int]] = deque(maxlen=_WINDOWS)
        """(moment, smallest delay) of windows."""
        self._fitted: tuple[int, int] | None = None
        """The first point since silence, once there is a line."""
        self._ended_us = 0, 0
        """How much later it became, and in which time, in all that silence has ended."""
        self._news = 0
        """How much came since the line was drawn."""
        self._line: tuple[int, int, float] | None = None
        """(moment, delay there, slope)."""
        self._is_straight = False
        """Whether the windows are near enough to the line."""
        self._slope = 0.0
        """By how much longer each sample becomes, because the clock drifts."""
        self._steps = 0, 0
        """Both in 2**-32 of a sample."""
        self._owed = 0
        """What is owed, in 2**-32 of a sample."""
        self._pay = 0.0
        """The same, to pay what is owed (rule 5)."""
        self._bent = 0
        """By how much the track is longer by now, in 2**-32 of a sample."""
        self._taken_up_us = 0
        """What silence has taken up (rule 6)."""

    @property
    def known_us(self) -> int:
        """Over how long the clock was watched."""
        return self._watched_us()[1]

    @property
    def ppm(self) -> int:
        """Millionths by which the sender is faster than we are; 0 while it was watched for less than 20 s."""
        later_us, known_us = self._watched_us()
        return 0 if known_us < _KNOWN_AFTER_US else round(-later_us * 1e6 / known_us)

    @property
    def bent(self) -> int:
        """By how many whole samples the track is longer by now."""
        return self._bent // ONE

    @property
    def bent_us(self) -> int:
        """The same as a time."""
        return self._bent * _S // (self._rate_hz * ONE)

    def behind_us(self, arrival_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return by how much later frames come, (n,), than where they would be placed now, because of the clock."""
        if not self.is_seen or self._line is None:
            return np.zeros(len(arrival_us), np.int64)
        at_us, level_us, slope = self._line
        behind: NDArray[np.int64] = np.rint((arrival_us - at_us) * slope).astype(np.int64)
        behind += level_us - self._taken_up_us - self.bent_us
        return behind

    def start(self, *, put_off_us: int) -> None:
        """Begin with a track that lies later than its smallest delays would have it, by so much (rule 7)."""
        self._put_off_us = put_off_us

    def watch(self, arrival_us: NDArray[np.int64], lag_us: NDArray[np.int64], *, offset_us: int = 0) -> None:
        """Take in frames that are about to be placed, at least one, (n,) and (n,), in order of arrival.

        The last one is on time. Their delay is what their lag is above the offset, which is that of a track not bent.
        """
        first_us, last_us, delay_us = int(arrival_us[0]), int(arrival_us[-1]), int(lag_us[0]) - offset_us
        if last_us - first_us >= WINDOW_US:
            closes = self._look_in_parts(arrival_us, lag_us, offset_us)
            self._learn(first_us, last_us, delay_us, closes=closes, is_long=True)
        else:
            at = int(lag_us.argmin())
            self.look(first_us, last_us, delay_us, int(lag_us[at]) - offset_us, int(arrival_us[at]), len(lag_us))

    def look(self, first_us: int, last_us: int, delay_us: int, least_us: int, least_at_us: int, rows: int) -> None:
        """Take in the same of frames that came in less than a window, by what there is to know of them.

        They came between the first two moments, the first one with ``delay_us``; the smallest delay came then.
        """
        closes = self._look(least_us, least_at_us, rows, first_us, last_us)
        self._learn(first_us, last_us, delay_us, closes=closes, is_long=False)

    def _learn(self, first_us: int, last_us: int, delay_us: int, *, closes: bool, is_long: bool) -> None:
        """Close the window if it is full, and steer by what is known."""
        self._has_on_time = True
        if closes:
            self._close()
        # The usual case first: nothing has become known.
        if self._line is not None and (closes or is_long or self.is_off or delay_us - self._base_us > _ABOVE_US):
            self._steer(first_us, delay_us, last_us)

    def bend(self, samples: int) -> Bend | None:
        """Return how the next samples of the track are to be bent; None: not at all."""
        drifts, pays = self._steps
        if not (drifts or pays or self._bent):
            return None
        # What is placed may be half a minute that waited: it pays no more than is owed.
        paid = max(-abs(self._owed), min(abs(self._owed), pays * samples))
        self._owed -= paid
        bend = Bend(self._bent % ONE, drifts * samples + paid)
        self._bent += bend.change
        return bend

    def end_at_silence(self, owed_us: int) -> None:
        """Begin anew: what follows is placed where it arrived, ``owed_us`` later than it would be (rule 6)."""
        self._taken_up_us += owed_us
        self._base_us -= owed_us
        self._ended_us, self._fitted, self._begun_us = self._watched_us(), None, None
        self._points.clear()
        self._above.clear()
        self._frames, self._has_on_time = 0, False
        if not self.is_seen:
            self._line = None

    def _watched_us(self) -> tuple[int, int]:
        """Return by how much later the sender has become, and in which time."""
        later_us, known_us = self._ended_us
        if self._fitted is not None and self._line is not None:
            at_us, level_us, _ = self._line
            later_us += level_us - self._fitted[1]
            known_us += at_us - self._fitted[0]
        return later_us, known_us

    def _look_in_parts(self, arrival_us: NDArray[np.int64], lag_us: NDArray[np.int64], offset_us: int) -> bool:
        """Take in frames of more than one window; return whether the last one is full."""
        closes = False
        while len(arrival_us):
            if closes:
                self._close()
            first_us = int(arrival_us[0])
            count = int(np.searchsorted(arrival_us, first_us + WINDOW_US))
            last_us = int(arrival_us[count - 1])
            at = int(lag_us[:count].argmin())
            closes = self._look(int(lag_us[at]) - offset_us, int(arrival_us[at]), count, first_us, last_us)
            arrival_us, lag_us = arrival_us[count:], lag_us[count:]
        return closes

    def _look(self, least_us: int, least_at_us: int, rows: int, first_us: int, last_us: int) -> bool:
        """Take in frames that came between two moments, and their smallest delay, which came then.

        Return whether the window is full (rule 1).
        """
        least_us -= self._base_us
        if not self._frames:
            self._opened_us = first_us
            if self._begun_us is None:
                self._begun_us = first_us
        if not self._frames or least_us < self._least_us:
            self._least_us, self._least_at_us = least_us, least_at_us
        self._frames += rows
        # A window ends with the frames that are placed together: those of about a second.
        length_us = last_us - self._opened_us + NOMINAL_PTIME_US
        return length_us >= _LONGEST_US or (length_us >= _FULL_US and self._frames >= _WINDOW_FRAMES)

    def _close(self) -> None:
        """Keep the smallest delay of the window, if it tells anything."""
        at_us, delay_us, has_on_time = self._least_at_us, self._least_us, self._has_on_time
        self._frames, self._has_on_time = 0, False
        while not self._line and self._points and self._is_below(at_us, delay_us, *self._points[-1]):
            # A network only adds (rule 3).
            self._points.pop()
        if not (self._points or self._line):
            off_us = delay_us if abs(delay_us) > _ABOVE_US else 0
        else:
            off_us = delay_us - self._expected_us(at_us)
            before_us = self._points[-1][0] if self._points else self._line[0] if self._line else at_us
            if off_us > _ABOVE_US:
                # Frames that waited until one was on time again were delayed, which tells nothing.
                if has_on_time:
                    self._above.append(off_us)
                if len(self._above) < _ABOVE_WINDOWS:
                    return
                off_us = min(self._above)
            elif not self._is_below(at_us, off_us, before_us, 0) or (not self.is_off and self._was_reached(delay_us)):
                off_us = 0
        self._above.clear()
        self._base_us += off_us  # rule 3
        point = at_us, delay_us - off_us
        self._points.append(point)
        span_us = at_us - self._points[0][0]
        if len(self._points) >= _LEAST_WINDOWS and span_us >= _LEAST_SPAN_US:
            # What lies on the line, or above it, changes little: drawn seldom, it costs nothing where nothing drifts.
            above_us = point[1] - self._expected_us(at_us)
            self._news += _NEWS if self.is_off or above_us > _SURPRISE_US else 1
            if len(self._points) <= _MANY_WINDOWS or self._news >= _MUCH_NEWS or above_us < -_SURPRISE_US:
                self._news = 0
                self._fit()

    def _was_reached(self, delay_us: int) -> bool:
        """Return whether a window had so small a delay before (rule 4)."""
        return bool(self._points) and delay_us + _BELOW_US >= min(level for _, level in self._points)

    def _rises(self, slope: float) -> bool:
        """Return whether the newer half of the windows goes the way of the line, half as much at least (rule 4)."""
        newer = [*self._points][len(self._points) // 2 :]
        line_us = slope * (newer[-1][0] - newer[0][0])
        is_known, is_much = len(self._points) >= _MANY_WINDOWS, abs(line_us) >= _SURPRISE_US
        if not (is_known and is_much):
            # Of a slow clock half the windows tell nothing; of a few windows of a fast one they do.
            return is_known or (is_much and 2 * (newer[-1][1] - newer[0][1]) / line_us >= 1)
        rise_us = min(level for _, level in newer[-2:]) - min(level for _, level in newer[:2])
        return 2 * rise_us / line_us >= 1

    @staticmethod
    def _is_near(above_us: Sequence[float], off_us: int) -> bool:
        """Return whether points that are so far above a line, the nearest ones first, bear out what it tells (rule 4).

        Three of which the last one is lower are soon near some line: few have to be nearer to it, and all of them.
        """
        if len(above_us) < _MANY_WINDOWS:
            return len(above_us) >= _SURE_WINDOWS and 8 * above_us[-1] <= off_us
        return 4 * above_us[2 * len(above_us) // 3] <= off_us

    def _forgive(self) -> None:
        """Take what the track was put off by for where it begins (rule 7)."""
        assert self._line is not None
        assert self._begun_us is not None
        at_us, level_us, slope = self._line
        off_us = min(0, max(-self._put_off_us, self._expected_us(self._begun_us)))
        self._put_off_us = 0
        if off_us:
            self._base_us += off_us
            self._points = deque(((at, level - off_us) for at, level in self._points), maxlen=_WINDOWS)
            self._line = at_us, level_us - off_us, slope
            self._fitted = None if self._fitted is None else (self._fitted[0], self._fitted[1] - off_us)

    @staticmethod
    def _is_below(at_us: int, delay_us: int, before_us: int, level_us: int) -> bool:
        """Return whether a delay is so far below one before it that no clock has made it smaller (rule 3)."""
        return level_us - delay_us > _BELOW_US + (at_us - before_us) * _STEEPEST

    def _expected_us(self, at_us: int) -> int:
        if self._line is None:
            return self._points[-1][1]
        line_us, level_us, slope = self._line
        return level_us + round((at_us - line_us) * slope)

    def _fit(self) -> None:
        """Draw the line (rule 2): the edge of the lower hull of all points that lies at their middle."""
        points = self._points
        hull: list[tuple[int, int]] = []
        for at, level in points:
            while len(hull) >= 2:
                (at_0, level_0), (at_1, level_1) = hull[-2:]
                if (level_1 - level_0) * (at - at_0) < (level - level_0) * (at_1 - at_0):
                    break
                hull.pop()
            hull.append((at, level))
        middle = sum(at for at, _ in points) // len(points)
        begin = next(number for number in range(len(hull) - 1) if hull[number + 1][0] >= middle)
        (at_0, level_0), (at_1, level_1) = hull[begin], hull[begin + 1]
        slope = (level_1 - level_0) / (at_1 - at_0)
        if abs(slope) <= _STEEPEST:
            end = points[-1][0]
            self._line = end, level_0 + round((end - at_0) * slope), slope
            # Of a hull that has lost its first points the first one of all is on the line still.
            self._fitted = self._fitted or (points[0][0], level_0 + round((points[0][0] - at_0) * slope))
            # So many of the points lie so near to the line that its slope is no accident.
            above = sorted(level - level_0 - (at - at_0) * slope for at, level in points)
            if self._put_off_us:
                self._forgive()
            self._is_straight = self._is_near(above, round(abs(slope) * (end - points[0][0])))
            if self._is_straight and not self.is_off and not self._rises(slope):
                # Jitter may hide it: the next window is asked again.
                self._is_straight, self._news = False, _MUCH_NEWS
            self.is_seen = self.is_off or (self._is_straight and abs(slope) > _SAME_SLOPE)

    def _steer(self, arrival_us: int, delay_us: int, last_us: int) -> None:
        """Set how fast the track is bent from a frame on that came then, with that delay, to the last one."""
        assert self._line is not None
        if not self.is_off:  # rule 4
            if not self._points:
                # Silence has just ended: what follows it lies where it arrived, and no window has told yet (rule 6).
                return
            newest_us = min(self._points[-number][1] for number in range(1, min(_LEAST_WINDOWS, len(self._points)) + 1))
            off_us = abs(max(self._expected_us(last_us), min(0, newest_us)) - self._taken_up_us)
            is_known = len(self._points) >= _MANY_WINDOWS
            if off_us <= (_TOLERATED_US if is_known else _TOLERATED_EARLY_US):
                return
            if not (self._is_straight or (is_known and off_us > _TOLERATED_MOST_US)):
                return
            self.is_off = self.is_seen = True
        slope = self._line[2]
        # By what the clock had added when the frame should have come, not when a stall let it.
        at_us = arrival_us - max(0, delay_us - self._base_us - self._expected_us(arrival_us))
        owed_us = self._expected_us(at_us) - self._taken_up_us - self.bent_us
        # rule 5
        pay = 0.0
        if abs(owed_us) > (_PAID_US if self._pay else _OWED_US):
            pay, soon = self._pay, owed_us / _PAID_WITHIN_US
            if pay * soon <= 0 or abs(soon) > abs(pay):
                pay = soon
        if self._is_straight and (pay or self._pay or abs(slope - self._slope) > _SAME_SLOPE):
            self._slope = slope
        self._pay = max(-_FASTEST - self._slope, min(_FASTEST - self._slope, pay))
        self._owed = owed_us * self._rate_hz * ONE // _S
        self._steps = round(self._slope * ONE), round(self._pay * ONE)
