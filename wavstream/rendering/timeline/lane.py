"""The frames of one sequence of media time, from their arrival to where their track lies.

A lane is one track, or two interleaved ones. It keeps frames until their source's clock has decided where they lie.
Where the sender gives media time, its frames pass two rules first: the timestamps are turned into media time
(``timestamp_mapper``), and what was overtaken on its way is put in order:

A hole in media time may still be filled by a frame that was overtaken. So what lies behind it waits until the first
frame from there came 200 ms ago; then the hole stays. Where a sender stamps at the moment of sending, it waits for as
long as a leg that is behind: what comes may be pulled back into the hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Track
from wavstream.rendering.timeline.clock import LATE_US, REORDER_US, lag_us, us_of
from wavstream.rendering.timeline.frames import Frames, detached, join
from wavstream.rendering.timeline.whole import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat
    from wavstream.rendering.timeline.clock import Patience
    from wavstream.rendering.timeline.frames import Arrivals
    from wavstream.rendering.timeline.placement import Placement, TrackSink
    from wavstream.rendering.timeline.render_stats import RenderStats
    from wavstream.rendering.timeline.timestamp_mapper import TimestampMapper
    from wavstream.rendering.timeline.whole import Whole


class Lane:
    """Frames that come in order, each at a position that counts."""

    def __init__(self, sinks: Sequence[TrackSink], form: MediaFormat, placement: Placement) -> None:
        self.sinks = sinks
        """The tracks that are part of the recording."""
        self.placement = placement
        self.arrivals: Arrivals | None = None
        """What has just come, if nothing waits: see ``whole``."""
        self._frames: Frames | None = None
        self.arrived_us: int | None = None
        """When the last frame that was placed came; None: none was."""
        self.usual_us: int | None = None
        """How much later than the source's offset its frames come at best; None: none was placed."""
        self.is_ahead = False
        """Whether it has sent ahead of real time."""
        self._rate_hz = form.rate_hz
        self._step_bytes = form.step_bytes

    @property
    def frames(self) -> Frames | None:
        """What was received and is not placed yet, in order of media time."""
        if self.arrivals is not None:
            self._keep(self.arrivals)
            self.arrivals = None
        return self._frames

    @property
    def end_us(self) -> int:
        """The end of what was placed."""
        return us_of(self.placement.end, self._rate_hz)

    @property
    def is_inbound(self) -> bool:
        """Whether a party itself says something of what it carries."""
        return any(sink.track is Track.INBOUND for sink in self.sinks)

    @property
    def is_heard(self) -> bool:
        """Whether something that it carries is to be heard in the file."""
        return not all(sink.is_shadowed for sink in self.sinks)

    @property
    def waits_us(self) -> int | None:
        """Where the first frame begins that is not placed yet, in media time; None: all are."""
        return None if self.frames is None else us_of(int(self.frames.start[0]), self._rate_hz)

    def receive(self, arrivals: Arrivals) -> None:
        """Take in what has come."""
        if self.frames is None:
            self.arrivals = arrivals
        else:
            self._keep(arrivals)

    def stretch(self) -> Whole | None:
        """Return what has just come, if it is whole and nothing waits."""
        return None if self.arrivals is None else whole(self.arrivals, self._rate_hz)

    def place_whole(self, stretch: Whole) -> None:
        """Place what has just come, which is whole."""
        self.arrivals = None
        self.arrived_us = stretch.span.last_us
        self.placement.place_stretch(stretch.span, stretch.arrivals.payload)

    def place(self, count: int) -> None:
        """Place the first frames of those that wait."""
        frames = self.frames
        assert frames is not None
        if count == len(frames):
            due, self._frames = frames, None
        else:
            due, self._frames = frames.cut(count, self._step_bytes)
            self._frames.payload = detached(self._frames.payload)
        self.arrived_us = int(due.arrival_us[-1])
        self.placement.place(due)

    def _keep(self, arrivals: Arrivals) -> None:
        frames = arrivals.frames()
        frames.lag_us = lag_us(frames, self._rate_hz)
        self._frames = _joined(self._frames, frames)

    def learn(self, later_us: int) -> None:
        """Note that frames came so much later than the source's offset and what is usual for this lane."""
        self.is_ahead |= (self.usual_us or 0) + later_us < -LATE_US
        self.usual_us = max(0, later_us if self.usual_us is None else self.usual_us + min(0, later_us))

    def length_us(self, frames: Frames) -> int:
        """Return how much audio frames are, of all tracks that are part of the recording."""
        return len(self.sinks) * us_of(int((frames.end - frames.start).sum()), self._rate_hz)

    def drop(self) -> int:
        """Forget what is not placed yet; return how much audio that is, in microseconds over all tracks."""
        frames, self._frames = self.frames, None
        return 0 if frames is None else self.length_us(frames)


class StampedLane(Lane):
    """Frames with a media time of their own, which may be out of order, doubled or wrong."""

    def __init__(
        self,
        sinks: Sequence[TrackSink],
        form: MediaFormat,
        placement: Placement,
        *,
        mapper: TimestampMapper,
        patience: Patience,
        stats: RenderStats,
    ) -> None:
        super().__init__(sinks, form, placement)
        self.mapper = mapper
        self._patience = patience
        self._stats = stats
        self._stretch: Whole | None = None
        """What has just come, if it is whole and nothing waits: see ``whole``."""
        self._overtaken: Frames | None = None
        self._ordered: int | None = None
        """Media time up to which frames are in order; None: nothing came yet."""

    @property
    def waits_us(self) -> int | None:
        """The same, also of what may still have been overtaken."""
        if self.frames is None and (waiting := self._waiting) is not None:
            return us_of(int(np.minimum.reduce(waiting.start)), self._rate_hz)
        return super().waits_us

    @property
    def waiting_lag_us(self) -> int | None:
        """The smallest lag of what waits for what was overtaken, or may be pulled back; None: nothing does."""
        return None if (waiting := self._waiting) is None else int(np.minimum.reduce(waiting.lag_us))

    @property
    def _waiting(self) -> Frames | None:
        """What may still have been overtaken, in order of arrival."""
        if self._stretch is not None:
            self._overtaken, self._stretch = self._stretch.frames(self._rate_hz), None
        return self._overtaken

    def receive(self, arrivals: Arrivals) -> None:
        """Take in what has come, at the positions that its timestamps are worth."""
        waiting = self._waiting
        shift = None if waiting is not None or self._frames is not None else self.mapper.shift(arrivals)
        if shift is not None and self._ordered == arrivals.rows.position[0] + shift:
            self._stretch = whole(arrivals, self._rate_hz, shift)
            if self._stretch is not None:
                self.mapper.follow(self._stretch)
                return
        frames = self.mapper.place(arrivals.frames())
        for begin, samples in self.mapper.take_pulled():
            if waiting is not None:
                self._pull(waiting, begin, samples)
        if len(frames):
            self._overtaken = _joined(waiting, frames)

    def stretch(self) -> Whole | None:
        """Return what has just come, if it is whole and nothing waits."""
        return self._stretch

    def place_whole(self, stretch: Whole) -> None:
        """Place what has just come, which is whole."""
        self._stretch = None
        self._ordered = self.mapper.released = stretch.span.end
        super().place_whole(stretch)

    def release(self, *, now_us: int, offset_us: int, final: bool) -> None:
        """Put in order what came, up to the first hole that may still be filled; ``final``: everything.

        ``offset_us``: where media time 0 lies, as far as that is known.
        """
        frames, self._overtaken = self._waiting, None
        if frames is None:
            return
        start, end = frames.start, frames.end
        may_be_pulled = None if final or not self.mapper.is_stamped_when_sent else self.mapper.behind_hole
        if may_be_pulled is not None:
            behind = np.flatnonzero(start >= may_be_pulled)
            # From when they came, or from where they would lie: the file waits no longer for what was delayed.
            since_us = now_us
            if len(behind):
                lies_us = us_of(int(start[behind[0]]), self._rate_hz) + offset_us
                since_us = min(int(frames.arrival_us[behind[0]]), lies_us)
            if not len(behind) or now_us > self._patience.until(since_us, self._patience.decide_us):
                may_be_pulled = None
        if self._ordered is None:
            # The first frames may be out of order too: what lies before the earliest is no hole.
            self._ordered = self.placement.position = int(start.min())
        # Comparing bytes takes a fifth of the time of an elementwise comparison and its any().
        if start[0] > self._ordered or start[1:].tobytes() != end[:-1].tobytes():
            old_us = self._patience.since(now_us, REORDER_US)
            frames = self._in_order(frames, self._ordered, may_be_pulled, old_us=old_us, final=final)
        if len(frames):
            self._ordered = self.mapper.released = max(self._ordered, int(np.maximum.reduce(frames.end)))
            self._frames = _joined(self._frames, frames)

    def drop(self) -> int:
        """Forget what is not placed yet."""
        waiting, self._overtaken = self._waiting, None
        return super().drop() + (0 if waiting is None else self.length_us(waiting))

    def _pull(self, frames: Frames, begin: int, samples: int) -> None:
        """Let what lies from ``begin`` on lie so much earlier: the sender had stamped it late."""
        rows = frames.start >= begin
        frames.start[rows] -= samples
        frames.end[rows] -= samples
        frames.lag_us = lag_us(frames, self._rate_hz)

    def _in_order(self, frames: Frames, ordered: int, may_be_pulled: int | None, *, old_us: int, final: bool) -> Frames:
        order = frames.start.argsort(kind="stable")
        count = len(order) if final else _settled(frames, order, ordered, old_us)
        if may_be_pulled is not None:
            count = min(count, int(np.count_nonzero(frames.start < may_be_pulled)))
        rows, waiting = order[:count], order[count:]
        overtaken = frames.start < np.maximum.accumulate(frames.start)
        # One that lies before what was in order did not come out in place: the buffer counts it late.
        reordered = (overtaken & (frames.start >= ordered))[rows]
        self._stats.reordered_frames += int(frames.counted()[rows][reordered].sum())
        if len(waiting):
            # In order of arrival again, so that what is overtaken is seen next time too.
            self._overtaken = frames.take(np.sort(waiting), self._step_bytes)
        ready = frames.take(rows, self._step_bytes)
        # A frame that was overtaken is known when it came; the clock sees arrivals in order.
        ready.arrival_us = np.maximum.accumulate(ready.arrival_us)
        return ready


def _settled(frames: Frames, order: NDArray[np.int64], ordered: int, old_us: int) -> int:
    """Return how many frames, in this order, lie before the first hole that may still be filled.

    A hole is not filled any more by what comes after a frame from behind it that came at ``old_us`` or before.
    """
    known = np.maximum.accumulate(np.concatenate(([ordered], frames.end.take(order))))
    holes = np.flatnonzero(frames.start.take(order) > known[:-1])
    old = np.flatnonzero(frames.arrival_us.take(order) <= old_us)
    waiting = holes[holes > old[-1]] if len(old) else holes
    return int(waiting[0]) if len(waiting) else len(order)


def _joined(first: Frames | None, second: Frames) -> Frames:
    return second if first is None else join(first, second)
