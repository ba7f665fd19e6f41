"""Media time out of the timestamps that a vendor gives, in order of arrival.

A timestamp is believed, but it is rounded, it comes from a clock that jitters, and now and then it is impossible. Each
frame gets a position such that no frame lies on another and none is lost to its timestamp.

1. A frame that starts within 10 ms, and half its length, of where the furthest one ended follows it directly. The
   comparison is with where that frame was put, not with what its timestamp said, so errors do not add up: what passes
   10 ms is a hole.
2. A frame behind that is, in this order: a *duplicate* if a frame of the last 0.5 s had its timestamp and its
   payload (two frames that were stamped in one millisecond are not: they differ); *out of order* if there is a hole for
   it in the last second; and, if it is at most 40 ms behind, the jitter of the sender's clock: it follows directly.
3. A frame is *wild* if it is behind and none of these, or further ahead than real time could have brought it. What a
   hole *gains* is how far it takes the track ahead of its smallest lag so far. An outage, where arrival and timestamps
   jump together, gains nothing; nor does a stall and then a backlog from which audio was discarded; nor audio that is
   faster than real time, because it is not a hole. One hole may gain 2 s. All together may gain 2 s, for what the
   first frames were late, or, where a leg was away, as long as that; 2 ms for each second, as a sender's clock may
   drift; and, where audio came faster than real time, a quarter of what that gained, but not more than 60 s. As long
   as all of a track came in less than half the time that it takes, holes may gain 30 s: a backlog has the silences of
   its call. More is a clock that runs too fast.
4. A wild frame restarts the track's media time: it follows directly, or, if it arrived more than 100 ms later than that
   would need, it lies where its arrival says. The offset between timestamps and media time is set anew by it. Offsets
   of the last 2 s are remembered, and each frame takes the one under which it is nearest to the furthest frame. So a
   single stray frame moves nothing, a clock that starts again at 0 goes on, and timestamps that jump to and fro make
   no hole.
5. The fifth restart within 2 s is a clock that counts something else than time: samples, whole seconds, nothing.
   Until its timestamps have followed each other directly for 2 s they say nothing: no frame is a duplicate or out of
   order, each follows directly, or, if that is more than 100 ms before where it arrived, it lies there. Where a frame
   arrived is counted from that restart, so a burst does not push what comes after it.
6. A hole of 0.1 s at least is silence, and no loss, if nothing arrived for at least half of it, which a link that
   catches up leaves of it. So are shorter ones that are 0.3 s of a second, and from then on every hole of that leg,
   also where a delay brings both sides at once. If nothing arrived for just as long as a hole is, these timestamps
   count silence.
7. A sender that stamps at the moment of sending leaves a hole where it was held up, and then stamps what it catches up
   with one upon another. A frame that starts before the end of the one before it is pulled back into the last hole,
   with all that came since, as long as none of that is placed. From the first such frame on what follows a hole waits
   to be pulled back, and one that cannot be follows directly.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US
from wavstream.rendering.timeline.clock import LATE_US, REORDER_US, moved, samples_at, us_of
from wavstream.rendering.timeline.frames import Recent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wavstream.rendering.timeline.frames import Arrivals, Frames
    from wavstream.rendering.timeline.render_stats import RenderStats
    from wavstream.rendering.timeline.whole import Whole

_S = 1_000_000
_DIRECT_US = 10_000
_JITTER_US = 40_000
_BACK_US = 1_000_000
_AHEAD_US = 1_000_000
_GAIN_AT_ONCE_US = 2_000_000
_GAIN_US = 2_000_000
_GAIN_DRIFT_ONE_IN = 500
_GAIN_FAST_ONE_IN = 4
_GAIN_FAST_US = 60_000_000
_GAIN_IN_BACKLOG_US = 30_000_000
_BACKLOG_US = 200_000
_RESTARTS = 5
_RESTARTS_WITHIN_US = 2_000_000
_STEADY_US = 2_000_000
_REMEMBERED_US = 2_000_000
_SILENCE_US = 100_000
_SILENT_OF_A_SECOND_US = 300_000
_SHORT_HOLES = 32
_HELD_UP_US = 30_000_000
_MOST_HOLES = 64
_MOST_OFFSETS = 4


class TimestampMapper:
    """The media time of one track, or of two interleaved ones."""

    def __init__(self, rate_hz: int, step_bytes: int, stats: RenderStats) -> None:
        self.remark: str | None = None
        """What the first wild frame did, in words; None: there was none."""
        self._rate_hz = rate_hz
        self._step_bytes = step_bytes
        self._stats = stats
        self._direct = samples_at(_DIRECT_US, rate_hz)
        self._ahead = samples_at(_AHEAD_US, rate_hz)
        self._offsets: list[tuple[int, int]] = []
        """(media time less timestamp, when it was used last), the one in use first."""
        self._has_frames = False
        self._end = 0
        """Where the furthest frame ended, in media time."""
        self._arrived_us = 0
        """When the last frame came."""
        self._begun_us = 0
        """The lag of the first frame, were it one of 20 ms."""
        self._least_lag_us = 0
        self._gained_us = 0
        """What holes have gained so far (rule 3)."""
        self._first_us = 0
        """When the first frame came."""
        self._samples = 0
        """So much has come."""
        self._late_us = _GAIN_US
        """How late the first frames may be."""
        self._restarts_us: deque[int] = deque(maxlen=_RESTARTS)
        self._disbelieved: tuple[int, int] | None = None
        """While timestamps say nothing: the lag of a frame that lies where it arrived; from where they are steady."""
        self._holes: list[tuple[int, int]] = []
        """(start, end) in media time, oldest first."""
        self.counts_silence = False
        """Whether silence was seen that the timestamps count (rule 6)."""
        self.leaves_silence_out = False
        """Whether the sender was seen to send nothing for a while: what lacks is silence then (rule 6)."""
        self._short_holes: deque[tuple[int, int]] = deque(maxlen=_SHORT_HOLES)
        """(arrival after it, length) of the last holes, in microseconds."""
        self.released = 0
        """Media time up to which frames have gone on: they are not pulled any more. Set by whoever holds them."""
        self._pulled: list[tuple[int, int]] = []
        self._behind_hole: int | None = None
        self.is_stamped_when_sent = False
        """Whether frames were stamped one upon another (rule 7)."""
        self._places: list[int] = []
        """Where the frames of this call lie."""
        self._recent = Recent(step_bytes)

    @property
    def offset(self) -> int:
        """Media time less timestamp, in samples."""
        return self._offsets[0][0]

    @property
    def has_begun(self) -> bool:
        """Whether it is known what media time the first timestamp is worth."""
        return bool(self._offsets)

    def take_pulled(self) -> list[tuple[int, int]]:
        """Return (start, samples): what earlier calls placed from there on lies so much earlier."""
        pulled, self._pulled = self._pulled, []
        return pulled

    @property
    def behind_hole(self) -> int | None:
        """Where the frames begin that came since the last hole; None: there is none that they may be pulled into."""
        return self._behind_hole

    def begin(self, offset: int, *, late_us: int = 0, leaves_silence_out: bool = False) -> None:
        """Let media time be timestamps plus this, in samples, until they go wild; the first may be so late.

        ``leaves_silence_out``: as an earlier stream of the leg has shown.
        """
        self._offsets = [(offset, 0)]
        self.leaves_silence_out = leaves_silence_out
        self._late_us = max(_GAIN_US, late_us)

    def shift(self, arrivals: Arrivals) -> int | None:
        """Return media time less timestamp if the first record follows directly (rule 1), else None."""
        may_be_pulled = self.is_stamped_when_sent and self._behind_hole is not None  # rule 7
        if not self._has_frames or self._disbelieved is not None or may_be_pulled:
            return None
        rows = arrivals.rows
        return self._shift(rows.position[0], rows.size[0] // self._step_bytes)

    def follow(self, stretch: Whole) -> None:
        """Note frames that follow each other to the sample, and the first what came before it, at this ``shift``."""
        span = stretch.span
        self._recent.add(stretch.arrivals.frames())
        self._note(span.start, span.end, span.last_us, stretch.least_lag_us)

    def place(self, frames: Frames) -> Frames:
        """Return the frames (at least one) at positions in media time, with their lags, without duplicates."""
        first = int(frames.start[0])
        if not self._has_frames:
            self._has_frames = True
            self._end = first + self.offset
            self._first_us = self._arrived_us = int(frames.arrival_us[0])
            self._begun_us = self._least_lag_us = self._arrived_us - us_of(self._end, self._rate_hz)
            # The very first frames may be out of order too.
            self._holes = [(self._end - samples_at(REORDER_US, self._rate_hz), self._end)]
        self._recent.add(frames)
        if self._disbelieved is not None:  # rule 5
            return self._one_by_one(frames)
        # rule 1 for all frames at once: they follow each other to the sample, and the first follows what was before.
        shift = self._shift(first, int(frames.end[0]) - first)
        # Comparing bytes takes a fifth of the time of an elementwise comparison and its any().
        if shift is not None and frames.start[1:].tobytes() == frames.end[:-1].tobytes():
            return self._followed(frames, frames.start + shift, frames.end + shift)
        # rule 1 for all frames at once: each would follow directly, and its timestamp is within the tolerance of that.
        samples = frames.end - frames.start
        end = self._end + np.cumsum(samples)
        start = end - samples
        if (np.abs(frames.start + self.offset - start) <= np.minimum(self._direct, samples // 2)).all():
            return self._followed(frames, start, end)
        return self._one_by_one(frames)

    def _followed(self, frames: Frames, start: NDArray[np.int64], end: NDArray[np.int64]) -> Frames:
        placed = moved(frames, start, end, self._rate_hz)
        least_us = int(np.minimum.reduce(placed.lag_us))
        self._note(int(start[0]), int(end[-1]), int(frames.arrival_us[-1]), least_us)
        return placed

    def _note(self, start: int, end: int, arrived_us: int, least_us: int) -> None:
        self._samples += end - start
        self._end, self._arrived_us = end, arrived_us
        self._least_lag_us = min(self._least_lag_us, least_us)

    def _one_by_one(self, frames: Frames) -> Frames:
        # Of those that were read together some may have come before.
        frames = self._recent.singled(frames)
        places = self._places = []
        kept: list[int] = []
        length = frames.end - frames.start
        columns = (frames.arrival_us.tolist(), frames.start.tolist(), length.tolist())
        for row, (arrival_us, stamp, samples) in enumerate(zip(*columns, strict=True)):
            # One that follows, or is up to 1 s ahead, cannot have come before.
            ahead = stamp + self.offset - self._end
            is_next = -self._tolerance(samples) <= ahead <= self._ahead or self._disbelieved is not None
            if not is_next and self._recent.has(frames, row):  # rule 2: a duplicate
                self._stats.duplicate_frames += 1
                continue
            kept.append(row)
            places.append(self._place_of(arrival_us, stamp, samples))
        rows = np.array(kept, np.int64)
        placed = frames if len(kept) == len(frames) else frames.take(rows, self._step_bytes)
        start = np.array(places, np.int64)
        return moved(placed, start, start + length[rows], self._rate_hz)

    def _place_of(self, arrival_us: int, stamp: int, samples: int) -> int:
        """Return where one frame lies; media time and the offset in use go on from it."""
        if self._disbelieved is not None:  # rule 5
            return self._by_arrival(*self._disbelieved, arrival_us, stamp, samples)
        self._pull(stamp + self.offset, samples)
        nearest: tuple[int, int, int] | None = None
        # rule 4: of the offsets that are remembered, the one under which the frame is nearest to the furthest one.
        for number, (offset, used_us) in enumerate(self._offsets):
            if number and arrival_us - used_us > _REMEMBERED_US:
                break
            start = self._possible(arrival_us, stamp + offset, samples)
            if start is not None:
                found = abs(stamp + offset - self._end), number, start
                nearest = found if nearest is None else min(nearest, found)
        if nearest is None:
            start = self._restart(arrival_us, stamp, samples)  # rules 3 and 4
        else:
            _, number, start = nearest
            if number:
                self._use(self._offsets.pop(number)[0], arrival_us)
        self._go_on(arrival_us, start, samples)
        return start

    def _pull(self, start: int, samples: int) -> None:
        """Pull what came since the last hole back into it, if a frame that is to start at ``start`` wants room."""
        over, begin = self._end - start, self._behind_hole
        if begin is None or start < begin or not self._tolerance(samples) < over:
            return
        if not self.is_stamped_when_sent and over > 2 * samples:
            return
        self.is_stamped_when_sent = True
        low, high = self._holes[-1] if self._holes else (begin, begin)
        if begin <= self.released or high != begin:
            return
        over = min(over, high - low)
        self._places[:] = [place - over if place >= begin else place for place in self._places]
        self._pulled.append((begin, over))
        self._behind_hole = begin - over
        self._end -= over
        self._holes[-1] = low, high - over
        if low == high - over:
            self._behind_hole = None
            self._holes.pop()

    def _shift(self, stamp: int, samples: int) -> int | None:
        """Return media time less timestamp if a frame follows directly (rule 1), else None."""
        shift = self._end - stamp
        return shift if abs(self.offset - shift) <= self._tolerance(samples) else None

    def _tolerance(self, samples: int) -> int:
        """Return how far from the end of the furthest frame one may start and follow directly (rule 1)."""
        return min(self._direct, samples // 2)

    def _possible(self, arrival_us: int, start: int, samples: int) -> int | None:
        """Return where a frame lies that starts at ``start`` by its timestamp; None: it would be wild."""
        ahead, near = start - self._end, self._tolerance(samples)
        if abs(ahead) <= near:  # rule 1
            return self._end
        if ahead > 0:  # rule 3
            gain_us = self._gain_us(arrival_us, start, samples)
            return start if gain_us <= 0 or self._is_earned(arrival_us, gain_us, samples) else None
        behind_us = us_of(-ahead, self._rate_hz)
        for begin, end in self._holes if behind_us <= _BACK_US else ():  # rule 2: out of order
            if begin - near <= start and start + samples <= end + near:
                return max(begin, min(start, end - samples))
        most_us = _HELD_UP_US if self.is_stamped_when_sent else _JITTER_US
        return self._end if behind_us <= most_us else None  # rules 2 and 7

    def _gain_us(self, arrival_us: int, start: int, samples: int) -> int:
        """Return how far the hole before ``start`` takes the track ahead of its smallest lag (rule 3)."""
        # No more than the hole is long: what was early before it was not gained by it.
        earlier_us = self._least_lag_us - self._lag_us(arrival_us, start + samples)
        return min(earlier_us, us_of(start - self._end, self._rate_hz))

    def _is_earned(self, arrival_us: int, gain_us: int, samples: int) -> bool:
        """Return whether a hole may gain that much (rule 3)."""
        # What audio that came faster than real time has gained: all that the lag has fallen, less what holes gained.
        fast_us = self._begun_us - self._least_lag_us - self._gained_us
        earned_us = min(fast_us // _GAIN_FAST_ONE_IN, _GAIN_FAST_US)
        earned_us += (arrival_us - self._begun_us) // _GAIN_DRIFT_ONE_IN
        most_us, at_once_us = self._late_us + earned_us, max(_GAIN_AT_ONCE_US, self._late_us)
        came_us = us_of(self._samples, self._rate_hz)
        if came_us >= _BACKLOG_US and 2 * (arrival_us - self._first_us) < came_us:
            most_us = at_once_us = max(most_us, _GAIN_IN_BACKLOG_US)
        return gain_us <= min(at_once_us, most_us - self._gained_us)

    def _restart(self, arrival_us: int, stamp: int, samples: int) -> int:
        """Let media time go on by arrival with a wild frame; return where the frame lies (rule 4)."""
        step_s = (stamp + self.offset - self._end) / self._rate_hz
        told = f"jumped ahead by {step_s:.1f} s" if step_s > 0 else f"ran backwards by {-step_s:.1f} s"
        if 0 < step_s * _S <= _GAIN_AT_ONCE_US:
            told = "run faster than the call"
        self.remark = self.remark or f"timestamps {told}; its audio goes on by arrival"
        self._stats.clock_restarts += 1
        silence_us = arrival_us - self._arrived_us - us_of(samples, self._rate_hz)
        start = self._end + (samples_at(silence_us, self._rate_hz) if silence_us > LATE_US else 0)
        self._use(start - stamp, arrival_us)
        self._restarts_us.append(arrival_us)
        is_often = len(self._restarts_us) == _RESTARTS and arrival_us - self._restarts_us[0] <= _RESTARTS_WITHIN_US
        if is_often:  # rule 5
            self._disbelieved = self._lag_us(arrival_us, start + samples), start
        return start

    def _by_arrival(self, on_time_us: int, steady: int, arrival_us: int, stamp: int, samples: int) -> int:
        """Return where a frame lies whose timestamp says nothing, and decide if that of the next one does (rule 5)."""
        behind_us = self._lag_us(arrival_us, self._end + samples) - on_time_us
        start = self._end + (samples_at(behind_us, self._rate_hz) if behind_us > LATE_US else 0)
        self._disbelieved = on_time_us, steady
        # A timestamp that does not follow directly begins the 2 s anew.
        if abs(stamp + self.offset - start) > self._tolerance(samples):
            self._offsets = [(start - stamp, arrival_us)]
            self._disbelieved = on_time_us, start
        elif us_of(start - steady, self._rate_hz) >= _STEADY_US:
            self._disbelieved = None
        self._go_on(arrival_us, start, samples)
        return start

    def _use(self, offset: int, arrival_us: int) -> None:
        """Put an offset in front, and remember the one that was there (rule 4)."""
        before = [(self.offset, arrival_us), *self._offsets[1:_MOST_OFFSETS]]
        self._offsets = [(offset, arrival_us), *before]

    def _go_on(self, arrival_us: int, start: int, samples: int) -> None:
        """Let media time go on from a frame that was put at ``start``."""
        end = start + samples
        self._samples += samples
        gain_us = self._gain_us(arrival_us, start, samples)
        arrived_us, self._arrived_us = self._arrived_us, arrival_us
        self._least_lag_us = min(self._least_lag_us, self._lag_us(arrival_us, end))
        if start >= self._end:
            if start > self._end:
                self._gained_us += max(0, gain_us)
                self._behind_hole = start
                silent_us = us_of(start - self._end, self._rate_hz)
                paused_us = arrival_us - arrived_us - us_of(samples, self._rate_hz)
                self._judge_hole(arrival_us, silent_us, paused_us)
                self._holes = [*self._holes[1 - _MOST_HOLES :], (self._end, start)]
            self._end = end
        else:
            # It has filled a hole, or a part of it.
            rests = [(low, high) for hole in self._holes for low, high in _without(hole, start, end) if low < high]
            self._holes = rests[-_MOST_HOLES:]

    def _judge_hole(self, arrival_us: int, silent_us: int, paused_us: int) -> None:
        """Learn from a hole, and the time in which nothing came, whether the sender leaves silence out (rule 6)."""
        if silent_us >= _SILENCE_US:
            self.counts_silence |= abs(silent_us - paused_us) <= _SILENCE_US // 2
            self.leaves_silence_out |= 2 * paused_us >= silent_us
        elif not self.leaves_silence_out and paused_us > 0:
            self._short_holes.append((arrival_us, silent_us))
            recent_us = sum(length_us for came_us, length_us in self._short_holes if came_us > arrival_us - _S)
            self.leaves_silence_out = recent_us >= _SILENT_OF_A_SECOND_US

    def _lag_us(self, arrival_us: int, end: int) -> int:
        return arrival_us - us_of(end, self._rate_hz) + NOMINAL_PTIME_US


def _without(hole: tuple[int, int], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return what is left of a hole beside a frame."""
    if end <= hole[0] or start >= hole[1]:
        return (hole,)
    return (hole[0], start), (end, hole[1])
