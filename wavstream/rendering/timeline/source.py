"""One sequence of frames of a stream, with one clock, on its way to the buffers of the tracks that it carries.

A mono stream has a source for each track; a stream of two interleaved channels has one source for both. All times
here, those of arrival too, count from the start of the recording, in microseconds or in samples of the source's own
rate. There is a class for each clock that a stream may have (``wavstream.rendering.timeline.clock``):

=============  ==============================  ===========================  =========================
class          media time of a frame           a delay that lasts           known up to
=============  ==============================  ===========================  =========================
Contiguous     its position                    is a gap: all moves          the last sample placed
Arrival        its position                    is a new talk spurt          100 ms before the clock
Timestamped    what its timestamp is worth     is a delay: nothing moves    the last sample placed
=============  ==============================  ===========================  =========================

Where a source begins in the call:

1. The anchor is the smallest lag of its first 2 s. Until they are over its frames are kept.
2. Nothing was said on a stream before it opened, nor can be heard before what is written already. But the file did not
   wait for a source of which nothing was mixed, so for such a one what is written does not count.
3. A stream that was there before the recording brings its reference along, and is anchored at once. Where timestamps
   are given it is only believed as far as the first frames bear it out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US, TrackClock
from wavstream.rendering.timeline.clock import (
    LATE_US,
    SETTLE_US,
    STALL_WAIT_US,
    ArrivalClock,
    Clock,
    ContiguousClock,
    TimestampedClock,
    lag_us,
    us_of,
)
from wavstream.rendering.timeline.drift import Drift
from wavstream.rendering.timeline.frames import Fate, Frames, detached, join
from wavstream.rendering.timeline.placement import Placement
from wavstream.rendering.timeline.timestamp_mapper import TimestampMapper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wavstream.journal.events import StreamFacts
    from wavstream.model.audio import Track
    from wavstream.rendering.timeline.placement import Decode, TrackSink
    from wavstream.rendering.timeline.render_stats import RenderStats


_SETTLE_BYTES = 4 << 20
"""No sender in real time has sent that much by then; one that is faster is not kept in memory for so long."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source when its stream joins the recording."""

    stream: StreamFacts
    tracks: tuple[Track, ...]
    """All that its frames carry, also those that are not part of the recording."""
    joined_us: int
    """When its stream opened, or what its leg had said before ends: nothing of it is before that."""
    position: int
    """Of the next sample."""
    reference_us: int | None
    """The smallest lag so far; None: not known yet."""


class Source(ABC):
    """Frames in, placed samples out."""

    _follows_drift: ClassVar[bool] = False
    """Whether the drift of the sender's clock is repaired."""
    _lists_losses: ClassVar[bool] = False
    """Whether a hole in media time is a loss, to be listed as a gap."""

    def __init__(self, facts: SourceFacts, sinks: Sequence[TrackSink], *, decode: Decode, stats: RenderStats) -> None:
        form = facts.stream.format
        self.sinks = sinks
        """The tracks that are part of the recording."""
        self.step_bytes = form.step_bytes
        self.is_redundant = False
        """Whether what it carries of outbound tracks is said by another leg's inbound track."""
        self.was_unheard = False
        """Whether there was a time when nothing that it carries was mixed: the file did not wait for it."""
        self.drift = Drift(form.rate_hz)
        self._facts = facts
        self._rate_hz = form.rate_hz
        self._stats = stats
        self._placement = Placement(
            sinks,
            form,
            decode=decode,
            stats=stats,
            drift=self.drift if self._follows_drift else None,
            lists_losses=self._lists_losses,
        )
        self._placement.position = facts.position
        self._is_anchored = False
        self._kept: Frames | None = None
        """What was received and is not placed yet."""

    @property
    def said_us(self) -> int | None:
        """The end of what was placed, where media time tells more than arrival does; None: it does not."""
        return us_of(self._placement.end, self._rate_hz) if self._is_anchored else None

    def covered_us(self, now_us: int) -> int:
        """Return up to when the call is known as far as this source is concerned."""
        return us_of(self._placement.end, self._rate_hz) if self._is_anchored else self._facts.joined_us

    def receive(self, frames: Frames) -> None:
        """Take in frames; they are placed by ``advance``."""
        frames.lag_us = lag_us(frames, self._rate_hz)
        self._keep(frames)

    def advance(self, *, now_us: int, written_us: int, final: bool = False) -> None:
        """Place what the clock can place by now; ``final``: everything."""
        frames = self._kept
        if frames is None:
            return
        if not self._is_anchored:
            self._is_anchored = self._settle(frames, now_us=now_us, written_us=written_us, final=final)
        if self._is_anchored:
            self._place(frames, now_us=now_us, written_us=written_us, final=final)

    def length_us(self, frames: Frames) -> int:
        """Return how much audio frames are, of all tracks that are part of the recording."""
        return len(self.sinks) * us_of(int((frames.end - frames.start).sum()), self._rate_hz)

    def drop(self) -> int:
        """Forget what is not placed yet; return how much audio that is, in microseconds over all tracks."""
        frames, self._kept = self._kept, None
        return 0 if frames is None else self.length_us(frames)

    def _keep(self, frames: Frames) -> None:
        if self.is_redundant:
            # Marked as they come: what is redundant now stays so, whoever speaks when it is placed.
            fate = frames.fates()
            fate[fate == Fate.MIXED] = Fate.REDUNDANT
            frames.fate = fate
        self._kept = frames if self._kept is None else join(self._kept, frames)

    def _settle(self, frames: Frames, *, now_us: int, written_us: int, final: bool) -> bool:
        """Fix where the source is in the call, once that is known; return whether it is."""
        until_us = int(frames.arrival_us[0]) + SETTLE_US
        if now_us < until_us and len(frames.payload) < _SETTLE_BYTES and not final:  # rule 1
            return False
        reference_us = int(frames.lag_us[frames.arrival_us <= until_us].min())
        joined_us = self._facts.joined_us
        free_us = joined_us if self.was_unheard else max(joined_us, written_us)  # rule 2
        first_us = us_of(int(frames.start.min()), self._rate_hz)
        self._anchor(reference_us=reference_us, anchor_us=max(reference_us, free_us - first_us))
        return True

    @abstractmethod
    def _anchor(self, *, reference_us: int, anchor_us: int) -> None:
        """Start the clock, and fix where position 0 is."""

    @abstractmethod
    def _place(self, frames: Frames, *, now_us: int, written_us: int, final: bool) -> None:
        """Place what the clock can place of the frames; keep the others."""


class _LagSource(Source):
    """A source whose clock decides by lags alone, and may move what follows."""

    _clock: Clock

    def __init__(self, facts: SourceFacts, sinks: Sequence[TrackSink], *, decode: Decode, stats: RenderStats) -> None:
        super().__init__(facts, sinks, decode=decode, stats=stats)
        self._seen = 0
        """How many of the kept frames the clock has decided over before."""
        if facts.reference_us is not None:  # rule 3
            self._anchor(reference_us=facts.reference_us, anchor_us=facts.reference_us)
            self._placement.end = facts.position + self._placement.shift
            self._is_anchored = True

    def _place(self, frames: Frames, *, now_us: int, written_us: int, final: bool) -> None:
        seen = self._seen
        while len(frames):
            count = self._clock.due(frames.lag_us)
            if count:
                due, frames = (frames, _NONE) if count == len(frames) else frames.cut(count, self.step_bytes)
                self._place_due(due, now_us)
                seen = max(0, seen - count)
                continue
            moved_us = self._clock.move(frames, seen, now_us=now_us, final=final)
            if moved_us is None:
                break
            self._move(int(frames.start[0]), moved_us, written_us)
        self._kept, self._seen = None, 0
        if len(frames):
            frames.payload = detached(frames.payload)
            self._kept, self._seen = frames, len(frames)

    @abstractmethod
    def _place_due(self, due: Frames, now_us: int) -> None:
        """Place frames that are due."""

    @abstractmethod
    def _move(self, position: int, moved_us: int, written_us: int) -> None:
        """Let what follows, from ``position`` on, lie where the clock has moved it."""


class ContiguousSource(_LagSource):
    """Every sample is sent."""

    _follows_drift = True
    _clock: ContiguousClock

    def _anchor(self, *, reference_us: int, anchor_us: int) -> None:
        self._placement.anchor(anchor_us)
        self._clock = ContiguousClock(reference_us=reference_us, anchor_us=anchor_us, rate_hz=self._rate_hz)

    def _place_due(self, due: Frames, now_us: int) -> None:
        # Before the frames are placed: a slew moves the reference.
        delay_us = int(np.minimum.reduce(due.lag_us)) - self._clock.reference_us
        slewed = self._placement.place(due)
        if slewed:
            self._clock.slew(slewed)
        self.drift.observe(now_us=now_us, delay_us=delay_us)

    def _move(self, position: int, moved_us: int, written_us: int) -> None:
        end_us = us_of(self._placement.end, self._rate_hz)
        self._placement.anchor(self._clock.anchor_us)
        for sink in self.sinks:
            self._stats.add_gap(sink.gap(end_us, moved_us, "stall"))


class ArrivalSource(_LagSource):
    """Silence is not sent."""

    _clock: ArrivalClock

    @property
    def said_us(self) -> int | None:
        """None: media time stands still while nobody speaks, so it does not tell where the call is."""
        return None

    def covered_us(self, now_us: int) -> int:
        """Return the end of what was placed, or 100 ms ago: what has not come by then is silence."""
        if not self._is_anchored:
            return now_us - LATE_US if self._kept is None else self._facts.joined_us
        # A longer frame ends where one of 20 ms would, so it begins that much further back.
        silent_us = now_us - LATE_US + NOMINAL_PTIME_US - self._placement.longest_us
        return max(us_of(self._placement.end, self._rate_hz), silent_us)

    def _anchor(self, *, reference_us: int, anchor_us: int) -> None:
        self._placement.anchor(anchor_us)
        self._clock = ArrivalClock(reference_us=reference_us, anchor_us=anchor_us)

    def _place_due(self, due: Frames, now_us: int) -> None:
        self._placement.place(due)

    def _move(self, position: int, moved_us: int, written_us: int) -> None:
        placement = self._placement
        placement.anchor(self._clock.anchor_us)
        # A spurt never begins before the end of the one before it, nor before what is written.
        free = max(placement.end, -(-written_us * self._rate_hz // 1_000_000))
        placement.shift = max(placement.shift, free - position)


class TimestampedSource(Source):
    """The vendor gives media time."""

    _lists_losses = True
    _clock: TimestampedClock

    def __init__(self, facts: SourceFacts, sinks: Sequence[TrackSink], *, decode: Decode, stats: RenderStats) -> None:
        super().__init__(facts, sinks, decode=decode, stats=stats)
        self._mapper = TimestampMapper(self._rate_hz, self.step_bytes, stats)

    def receive(self, frames: Frames) -> None:
        """Take in frames at the positions that their timestamps are worth; they are placed by ``advance``."""
        frames = self._mapper.place(frames)
        if self._mapper.remark is not None:
            who = f"leg {self._facts.stream.leg}, {' and '.join(self._facts.tracks)}"
            self._stats.add_remark(self._facts.stream.stream, f"{who}: {self._mapper.remark}")
        if len(frames):
            self._keep(frames)

    def _settle(self, frames: Frames, *, now_us: int, written_us: int, final: bool) -> bool:
        # The first frames may be out of order: what lies before the earliest is no hole.
        self._placement.position = int(frames.start.min())
        if self._facts.reference_us is not None and self._settle_on(self._facts.reference_us, frames):
            return True
        return super()._settle(frames, now_us=now_us, written_us=written_us, final=final)

    def _settle_on(self, reference_us: int, frames: Frames) -> bool:
        """Take the smallest lag from before the recording, unless the first frames show that it was wild (rule 3)."""
        # It was counted by timestamps; media time begins elsewhere.
        reference_us -= us_of(self._mapper.offset, self._rate_hz)
        least_us = int(frames.lag_us.min())
        if not reference_us - LATE_US <= least_us <= reference_us + STALL_WAIT_US:
            return False
        reference_us = min(reference_us, least_us)
        self._anchor(reference_us=reference_us, anchor_us=reference_us)
        return True

    def _anchor(self, *, reference_us: int, anchor_us: int) -> None:
        self._placement.anchor(anchor_us)
        self._clock = TimestampedClock(reference_us=reference_us)

    def _place(self, frames: Frames, *, now_us: int, written_us: int, final: bool) -> None:
        due, self._kept = frames, None
        placed = self._placement.position
        order = self._clock.due(frames, placed, now_us=now_us, final=final)
        if order is not None:
            rows, waiting = order[0][: order[1]], order[0][order[1] :]
            overtaken = frames.start < np.maximum.accumulate(frames.start)
            # One that lies before what was placed did not come out in place: the buffer counts it late.
            self._stats.reordered_frames += int((overtaken & (frames.start >= placed))[rows].sum())
            due = frames.take(rows, self.step_bytes)
            if len(waiting):
                # In order of arrival again, so that what is overtaken is seen next time too.
                self._kept = frames.take(np.sort(waiting), self.step_bytes)
        if len(due):
            # Measured, for the receipt; never repaired.
            self.drift.observe(now_us=now_us, delay_us=int(np.minimum.reduce(due.lag_us)) - self._clock.reference_us)
            self._placement.place(due)


def new_source(facts: SourceFacts, sinks: Sequence[TrackSink], *, decode: Decode, stats: RenderStats) -> Source:
    """Return the source of frames with the clock of their stream."""
    match facts.stream.clock:
        case TrackClock.CONTIGUOUS:
            return ContiguousSource(facts, sinks, decode=decode, stats=stats)
        case TrackClock.ARRIVAL:
            return ArrivalSource(facts, sinks, decode=decode, stats=stats)
        case TrackClock.TIMESTAMPED:
            return TimestampedSource(facts, sinks, decode=decode, stats=stats)


_NOTHING: NDArray[np.int64] = np.empty(0, np.int64)
_NONE = Frames(_NOTHING, _NOTHING, _NOTHING, np.empty(0, np.uint8))
