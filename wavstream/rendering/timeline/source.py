"""One sequence of frames of a stream, with one clock, on its way to the lanes of the tracks that it carries.

A mono stream has a source for each track; a stream of two interleaved channels has one source for both. All times
here, those of arrival too, count from the start of the recording, in microseconds or in samples of the source's own
rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US, Track, TrackClock
from wavstream.rendering.timeline.clock import (
    LATE_US,
    SETTLE_US,
    ArrivalClock,
    Clock,
    ContiguousClock,
    TimestampedClock,
    lag_us,
)
from wavstream.rendering.timeline.drift import Drift
from wavstream.rendering.timeline.frames import Fate, Frames, detached, join
from wavstream.rendering.timeline.placement import Placement
from wavstream.rendering.timeline.stamps import Stamps
from wavstream.rendering.timeline.units import us_of
from wavstream.rendering.timeline.watermark import STALL_WAIT_US

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat
    from wavstream.rendering.timeline.placement import Seat
    from wavstream.rendering.timeline.tally import Tally


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
        silent: Callable[[Seat, int, int, str], None],
        remark: Callable[[str], None],
    ) -> None:
        """``position``: of the next sample; ``reference_us``: the smallest lag, where it is known already.

        Where timestamps are given, both are only believed as far as the first frames bear them out. ``silent`` is told
        of silence that the call did not have: seat, start, length, cause.
        """
        self.seats = seats
        self.step_bytes = form.step_bytes
        self.is_redundant = False
        """Whether what it carries of outbound tracks is said by another leg's inbound track."""
        self.was_unheard = False
        """Whether there was a time when nothing that it carries was mixed: the file did not wait for it."""
        self.drift = Drift(form.rate_hz)
        self._tracks = sum(seat.lane is not None for seat in seats)
        self._rate_hz = form.rate_hz
        self._kind = clock
        self._joined_us = joined_us
        self._tally = tally
        self._silent = silent
        self._kept: Frames | None = None
        self._fresh = 0
        self._clock: Clock | TimestampedClock | None = None
        self._stamps: Stamps | None = None
        self._floor_us = reference_us
        is_stamped = clock is TrackClock.TIMESTAMPED
        self._placement = Placement(
            seats,
            form=form,
            decode=decode,
            drift=None if is_stamped else self.drift,
            tally=tally,
            lost=self._lost if is_stamped else None,
        )
        self._placement.position = position
        if is_stamped:
            self._stamps = Stamps(form.rate_hz, form.step_bytes, tally, remark)
        elif reference_us is not None:
            self._clock = self._new_clock(reference_us, reference_us)
            self._placement.end = position + self._placement.shift

    def receive(self, frames: Frames) -> None:
        """Take in frames; they are placed by ``advance``."""
        if self._stamps is not None:
            frames = self._stamps.place(frames)
            if not len(frames):
                return
        else:
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
        if isinstance(clock, TimestampedClock):
            self._advance_in_order(clock, frames, now_us=now_us, final=final)
            return
        while len(frames):
            count = clock.due(frames.lag_us)
            if count:
                due, frames = (frames, _NONE) if count == len(frames) else frames.cut(count, self.step_bytes)
                delay_us = int(np.minimum.reduce(due.lag_us)) - clock.reference_us
                slewed = self._placement.place(due)
                if slewed and isinstance(clock, ContiguousClock):
                    clock.slew(slewed)
                if self._kind is TrackClock.CONTIGUOUS:
                    self.drift.observe(now_us=now_us, delay_us=delay_us)
                fresh = max(0, fresh - count)
                continue
            moved_us = clock.move(frames, fresh, now_us=now_us, final=final)
            if moved_us is None:
                break
            self._move(clock, frames, moved_us, written_us)
        self._kept, self._fresh = None, 0
        if len(frames):
            frames.payload = detached(frames.payload)
            self._kept, self._fresh = frames, len(frames)

    def _advance_in_order(self, clock: TimestampedClock, frames: Frames, *, now_us: int, final: bool) -> None:
        due, self._kept = frames, None
        placed = self._placement.position
        order = clock.due(frames, placed, now_us=now_us, final=final)
        if order is not None:
            rows, waiting = order[0][: order[1]], order[0][order[1] :]
            overtaken = frames.start < np.maximum.accumulate(frames.start)
            self._tally.reordered_frames += int((overtaken & (frames.start >= placed))[rows].sum())
            due = frames.take(rows, self.step_bytes)
            if len(waiting):
                self._kept = frames.take(np.sort(waiting), self.step_bytes)
        if len(due):
            self.drift.observe(now_us=now_us, delay_us=int(np.minimum.reduce(due.lag_us)) - clock.reference_us)
            self._placement.place(due)

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
        return us_of(self._placement.end, self._rate_hz)

    def covered_us(self, now_us: int) -> int:
        """Up to when the call is known as far as this source is concerned."""
        arrives = self._kind is TrackClock.ARRIVAL
        if self._clock is None:
            return now_us - LATE_US if arrives and self._kept is None else self._joined_us
        end_us = us_of(self._placement.end, self._rate_hz)
        return max(end_us, now_us - LATE_US + NOMINAL_PTIME_US - self._placement.longest_us) if arrives else end_us

    def _settle(self, frames: Frames, now_us: int, written_us: int, final: bool) -> bool:
        """Fix where the source is in the call, once its first 2 s are known."""
        if self._stamps is not None:
            self._placement.position = int(frames.start.min())
            if self._floor_us is not None and self._settle_on_floor(self._stamps, frames, self._floor_us):
                return True
        until_us = int(frames.arrival_us[0]) + SETTLE_US
        if now_us < until_us and len(frames.payload) < _SETTLE_BYTES and not final:
            return False
        reference_us = int(frames.lag_us[frames.arrival_us <= until_us].min())
        # Nothing was said on a stream before it opened, nor can be heard before what is written.
        free_us = self._joined_us if self.was_unheard else max(self._joined_us, written_us)
        first_us = us_of(int(frames.start.min()), self._rate_hz)
        self._clock = self._new_clock(reference_us, max(reference_us, free_us - first_us))
        self._fresh = 0
        return True

    def _settle_on_floor(self, stamps: Stamps, frames: Frames, floor_us: int) -> bool:
        """Take the smallest lag of the timestamps before, unless the first frames show that those were wild."""
        floor_us -= us_of(stamps.offset, self._rate_hz)
        least_us = int(frames.lag_us.min())
        if not floor_us - LATE_US <= least_us <= floor_us + STALL_WAIT_US:
            return False
        reference_us = min(floor_us, least_us)
        self._clock = self._new_clock(reference_us, reference_us)
        return True

    def _new_clock(self, reference_us: int, anchor_us: int) -> Clock | TimestampedClock:
        self._placement.anchor(anchor_us)
        if self._kind is TrackClock.TIMESTAMPED:
            return TimestampedClock(reference_us=reference_us)
        if self._kind is TrackClock.ARRIVAL:
            return ArrivalClock(reference_us=reference_us, anchor_us=anchor_us)
        return ContiguousClock(reference_us=reference_us, anchor_us=anchor_us, rate_hz=self._rate_hz)

    def _move(self, clock: Clock, frames: Frames, moved_us: int, written_us: int) -> None:
        placement = self._placement
        before_us = us_of(placement.end, self._rate_hz)
        placement.anchor(clock.anchor_us)
        if self._kind is TrackClock.ARRIVAL:
            free = max(placement.end, -(-written_us * self._rate_hz // 1_000_000))
            placement.shift = max(placement.shift, free - int(frames.start[0]))
            return
        for seat in self.seats:
            if seat.lane is not None:
                self._silent(seat, before_us, moved_us, "stall")

    def _lost(self, at: int, samples: int) -> None:
        for seat in self.seats:
            is_mixed = not (seat.is_beside or (self.is_redundant and seat.track is Track.OUTBOUND))
            if seat.lane is not None and is_mixed:
                self._silent(seat, us_of(at, self._rate_hz), us_of(samples, self._rate_hz), "loss")


_NOTHING: NDArray[np.int64] = np.empty(0, np.int64)
_NONE = Frames(_NOTHING, _NOTHING, _NOTHING, np.empty(0, np.uint8))
