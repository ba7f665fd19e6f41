"""One sequence of frames of a stream, with one clock, on its way to the lanes of the tracks that it carries.

A mono stream has a source for each track; a stream of two interleaved channels has one source for both. All times
here, those of arrival too, count from the start of the recording, in microseconds or in samples of the source's own
rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US, Track, TrackClock
from wavstream.rendering.timeline.clock import (
    LATE_US,
    SETTLE_US,
    ArrivalClock,
    Clock,
    ContiguousClock,
    lag_us,
)
from wavstream.rendering.timeline.drift import Drift, stretched
from wavstream.rendering.timeline.frames import Fate, Frames, join
from wavstream.rendering.timeline.units import samples_at, us_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.tally import Tally


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one track of a source goes."""

    leg: str
    track: Track
    lane: Lane | None
    """None: the track is not part of the recording."""


_SETTLE_BYTES = 4 << 20
"""No sender in real time has sent that much by then; one that is faster is not kept in memory for so long."""


class Source:
    """Frames in, placed samples out."""

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        form: MediaFormat,
        clock: TrackClock,
        joined_us: int,
        position: int,
        reference_us: int | None,
        decode: Callable[[NDArray[np.uint8]], NDArray[np.int16]],
        tally: Tally,
        stalled: Callable[[Seat, int, int], None],
    ) -> None:
        """``position``: of the next sample; ``reference_us``: the smallest lag, where it is known already."""
        self.seats = seats
        self.step_bytes = form.step_bytes
        self.is_redundant = False
        """Whether what it carries of outbound tracks is said by another leg's inbound track."""
        self.drift = Drift(form.rate_hz)
        self._tracks = sum(seat.lane is not None for seat in seats)
        self._rate_hz = form.rate_hz
        self._kind = clock
        self._joined_us = joined_us
        self._position = position
        self._decode = decode
        self._tally = tally
        self._stalled = stalled
        self._kept: Frames | None = None
        self._fresh = 0
        self._longest_us = NOMINAL_PTIME_US
        self._clock: Clock | None = None
        self._shift = 0
        self._slewed = 0
        self._end = 0
        if reference_us is not None:
            self._clock = self._new_clock(reference_us, reference_us)
            self._end = position + self._shift

    def receive(self, frames: Frames) -> None:
        """Take in frames; they are placed by ``advance``."""
        frames.lag_us = lag_us(frames, self._rate_hz)
        if self.is_redundant and frames.fate is None:
            frames.fate = np.full(len(frames), Fate.REDUNDANT, np.uint8)
        elif self.is_redundant and frames.fate is not None:
            frames.fate[frames.fate == Fate.MIXED] = Fate.REDUNDANT
        self._kept = frames if self._kept is None else join(self._kept, frames)

    def advance(self, *, now_us: int, written_us: int, final: bool = False) -> None:
        """Place what the clock can place by now; ``final``: everything."""
        frames = self._kept
        if frames is None or not (self._clock or self._settle(frames, now_us, written_us, final)):
            return
        clock, fresh = self._clock, self._fresh
        assert clock is not None
        while len(frames):
            count = clock.due(frames.lag_us)
            if count:
                due, frames = (frames, _NONE) if count == len(frames) else frames.cut(count, self.step_bytes)
                delay_us = int(np.minimum.reduce(due.lag_us)) - clock.reference_us
                self._place(due)
                if self._kind is TrackClock.CONTIGUOUS:
                    self.drift.observe(now_us=now_us, delay_us=delay_us)
                fresh = max(0, fresh - count)
                continue
            moved_us = clock.move(frames, fresh, now_us=now_us, final=final)
            if moved_us is None:
                break
            self._move(frames, moved_us, written_us)
        self._kept, self._fresh = (frames, len(frames)) if len(frames) else (None, 0)

    def length_us(self, frames: Frames) -> int:
        """How much audio frames are, of all tracks that are part of the recording."""
        return self._tracks * us_of(int((frames.end - frames.start).sum()), self._rate_hz)

    def drop(self) -> int:
        """Forget what is not placed yet; how much audio that is, in microseconds over all tracks."""
        frames, self._kept = self._kept, None
        return 0 if frames is None else self.length_us(frames)

    @property
    def said_us(self) -> int | None:
        """The end of what was placed, where media time tells more than arrival does; None: it does not."""
        if self._kind is TrackClock.ARRIVAL or self._clock is None:
            return None
        return us_of(self._end, self._rate_hz)

    def covered_us(self, now_us: int) -> int:
        """Up to when the call is known as far as this source is concerned."""
        arrives = self._kind is TrackClock.ARRIVAL
        if self._clock is None:
            return now_us - LATE_US if arrives and self._kept is None else self._joined_us
        end_us = us_of(self._end, self._rate_hz)
        return max(end_us, now_us - LATE_US + NOMINAL_PTIME_US - self._longest_us) if arrives else end_us

    def _settle(self, frames: Frames, now_us: int, written_us: int, final: bool) -> bool:
        """Fix where the source is in the call, once its first 2 s are known."""
        until_us = int(frames.arrival_us[0]) + SETTLE_US
        if now_us < until_us and len(frames.payload) < _SETTLE_BYTES and not final:
            return False
        reference_us = int(frames.lag_us[frames.arrival_us <= until_us].min())
        # Nothing was said on a stream before it opened, nor can be heard before what is written.
        first_us = us_of(int(frames.start[0]), self._rate_hz)
        self._clock = self._new_clock(reference_us, max(reference_us, self._joined_us, written_us - first_us))
        self._fresh = 0
        return True

    def _new_clock(self, reference_us: int, anchor_us: int) -> Clock:
        self._shift = samples_at(anchor_us, self._rate_hz)
        if self._kind is TrackClock.ARRIVAL:
            return ArrivalClock(reference_us=reference_us, anchor_us=anchor_us)
        return ContiguousClock(reference_us=reference_us, anchor_us=anchor_us, rate_hz=self._rate_hz)

    def _move(self, frames: Frames, moved_us: int, written_us: int) -> None:
        assert self._clock is not None
        before = self._end
        self._shift = samples_at(self._clock.anchor_us, self._rate_hz) + self._slewed
        if self._kind is TrackClock.ARRIVAL:
            free = max(self._end, -(-written_us * self._rate_hz // 1_000_000))
            self._shift = max(self._shift, free - int(frames.start[0]))
            return
        for seat in self.seats:
            if seat.lane is not None:
                self._stalled(seat, us_of(before, self._rate_hz), moved_us)

    def _place(self, frames: Frames) -> None:
        start, end, fate = frames.start, frames.end, frames.fate
        # Comparing bytes takes a fifth of the time of an elementwise comparison and its any().
        if fate is None and start[1:].tobytes() == end[:-1].tobytes():
            self._place_stretch(frames, None)
            return
        breaks = start[1:] != end[:-1]
        if fate is not None:
            breaks |= fate[1:] != fate[:-1]
        rest, done = frames, 0
        for at in [*(np.flatnonzero(breaks) + 1).tolist(), len(frames)]:
            stretch, rest = rest.cut(at - done, self.step_bytes)
            self._place_stretch(stretch, None if fate is None else fate[done])
            done = at

    def _place_stretch(self, frames: Frames, fate: int | None) -> None:
        """Place frames of one fate that follow each other without a break."""
        count, start, end = len(frames), int(frames.start[0]), int(frames.end[-1])
        length = end - start
        if start > self._position:
            self._tally.lost_us += self._tracks * us_of(start - self._position, self._rate_hz)
        self._position = max(self._position, end)
        self._longest_us = max(self._longest_us, us_of(-(-length // count), self._rate_hz))
        at = start + self._shift
        if fate == Fate.WITHHELD:
            for seat in self.seats:
                if seat.lane is not None:
                    seat.lane.flush()
            self._tally.paused_us += self._tracks * us_of(length, self._rate_hz)
        else:
            change = self.drift.slew(length)
            samples = self._decode(frames.payload)
            if change:
                samples = stretched(samples, change)
                self._slew(change)
            for column, seat in enumerate(self.seats):
                if seat.lane is None:
                    continue
                if fate == Fate.REDUNDANT and seat.track is Track.OUTBOUND:
                    seat.lane.flush()
                    self._tally.redundant_frames += count
                    self._tally.redundant_us += us_of(length, self._rate_hz)
                else:
                    seat.lane.put(at, samples[:, column], count)
        self._end = end + self._shift

    def _slew(self, change: int) -> None:
        self._slewed += change
        self._shift += change
        if isinstance(self._clock, ContiguousClock):
            self._clock.slew(change)


_NOTHING: NDArray[np.int64] = np.empty(0, np.int64)
_NONE = Frames(_NOTHING, _NOTHING, _NOTHING, np.empty(0, np.uint8))
