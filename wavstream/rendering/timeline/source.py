"""The frames of one clock of a stream, on their way to the buffers of the tracks that it carries.

Where one clock stamps both tracks of a stream, they are the lanes of one source: they have one origin, and what delays
one of them is seen by the other. Where positions only count, each track counts for itself, and has a source. All times
here, those of arrival too, count from the start of the recording, in microseconds or in samples of the source's own
rate.

===========  ==============================  =====================  ==========================
clock        media time of a frame           a lag that lasts is    known up to
===========  ==============================  =====================  ==========================
contiguous   its position                    a gap, listed          the last sample placed
arrival      its position                    silence, not listed    the same; whoever cannot
                                                                    wait: 100 ms ago
timestamped  what its timestamp is worth     a gap, listed          the last sample placed; they:
                                                                    0.4 s before another lane
===========  ==============================  =====================  ==========================

Where it begins in the call is said in ``beginning``. Of several lanes:

1. What was said by a party itself (inbound) is never ahead of real time; what is played to it (outbound) may be. So
   where both have one clock, the inbound track tells where they begin, and what its end means.
2. A lane whose first frame is far from the others' lag has a clock of its own, which starts when it does.

One lane may always come later than another: what is played to a party is stamped before it has been through a jitter
buffer. That is no delay, so the lags of a lane count from the smallest that it had so far.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US, TrackClock
from wavstream.rendering.timeline.beginning import FirstFrames, beginning
from wavstream.rendering.timeline.clock import LATE_US, ON_TIME_US, LagClock, samples_at, us_of
from wavstream.rendering.timeline.drift import Drift
from wavstream.rendering.timeline.lane import Lane, StampedLane
from wavstream.rendering.timeline.placement import Placement
from wavstream.rendering.timeline.timestamp_mapper import TimestampMapper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wavstream.rendering.timeline.beginning import SourceFacts
    from wavstream.rendering.timeline.clock import Patience
    from wavstream.rendering.timeline.frames import Arrivals, Frames
    from wavstream.rendering.timeline.placement import Decode, TrackSink
    from wavstream.rendering.timeline.render_stats import RenderStats

_LANES_APART_US = 400_000  # more than a jitter buffer has one track come later than another (0.3 s)


class Source:
    """Frames in, placed samples out."""

    def __init__(
        self, facts: SourceFacts, lanes: Sequence[Lane], *, drift: Drift, patience: Patience, stats: RenderStats
    ) -> None:
        self.lanes = lanes
        self._stamped = [lane for lane in lanes if isinstance(lane, StampedLane)]
        self.was_unheard = False
        """Whether there was a time when nothing that it carries was to be heard: the file did not wait for it."""
        self.drift = drift
        self._facts = facts
        self._rate_hz = facts.stream.format.rate_hz
        self._clock_kind = facts.stream.clock
        self._patience = patience
        self._stats = stats
        self._clock = LagClock(patience)
        self._first: tuple[int, int] | None = None
        """Of the first frame with a timestamp: media time less that, and its arrival."""
        self._is_anchored = False
        self._unbent_us = 0

    @property
    def sinks(self) -> list[TrackSink]:
        """The tracks that are part of the recording."""
        return [sink for lane in self.lanes for sink in lane.sinks]

    @property
    def said_us(self) -> int | None:
        """The end of what was placed, where media time tells more than arrival does; None: it does not."""
        if not self._is_anchored or self._clock_kind is TrackClock.ARRIVAL:
            return None
        return max(lane.end_us for lane in self.lanes)

    def covered_us(self, now_us: int) -> int:
        """Return up to when the call is known as far as this source is concerned."""
        is_impatient = self._patience.is_early and self._clock_kind is TrackClock.ARRIVAL
        if not self._is_anchored:
            is_silent = is_impatient and all(lane.frames is None for lane in self.lanes)
            # What is still to come of a backlog may show that it began earlier, but not by more than the file trails.
            return self._patience.since(now_us, LATE_US) if is_silent else self._begins_us - self._trail_us
        if len(self.lanes) == 1:
            known_us = self.lanes[0].end_us
        else:
            lanes = [lane for lane in self.lanes if lane.is_heard]
            known_us = min(lane.end_us for lane in lanes)
            if self._patience.is_early:
                # One track may stall without the other: the file waits for both. Whoever cannot wait takes one that is
                # not behind for news of the other, but not what is sent ahead of real time.
                told_us = (lane.end_us for lane in self.lanes if not lane.is_ahead)
                waits_us = (self._clock.offset_us + us for lane in lanes if (us := lane.waits_us) is not None)
                known_us = max(known_us, min(max(told_us, default=known_us) - _LANES_APART_US, *waits_us, now_us))
        if is_impatient:
            # A longer frame ends where one of 20 ms would, so it begins that much further back.
            longest_us = max(lane.placement.longest_us for lane in self.lanes)
            heard_us = self._patience.since(now_us, LATE_US)
            known_us = max(known_us, heard_us + NOMINAL_PTIME_US - longest_us)
        return known_us

    @property
    def _trail_us(self) -> int:
        return 0 if self._patience.is_early else self._facts.trail_us

    def receive(self, lane: Lane, arrivals: Arrivals) -> None:
        """Take in what has come of one of the lanes; it is placed by ``advance``."""
        if isinstance(lane, StampedLane) and not lane.mapper.has_begun:
            lane.mapper.begin(
                self._media_offset(arrivals),
                late_us=self._away_us(arrivals.first_us),
                leaves_silence_out=self._facts.leaves_silence_out,
            )
        lane.receive(arrivals)
        if isinstance(lane, StampedLane) and lane.mapper.remark is not None:
            who = f"leg {self._facts.stream.leg}, {' and '.join(sink.track for sink in lane.sinks)}"
            self._stats.add_remark(self._facts.stream.stream, f"{who}: {lane.mapper.remark}")

    def advance(self, *, now_us: int, written_us: int, final: bool = False) -> None:
        """Place what the clock can place by now; ``final``: everything."""
        if not self._place_whole():
            self._place_frame_by_frame(now_us=now_us, written_us=written_us, final=final)
        if final:
            for sink in self.sinks:
                sink.buffer.end_stretch()

    # ---- within ----------------------------------------------------------------------------------------------------

    def _place_whole(self) -> bool:
        """Place what has just come directly; return False if it does not go that way."""
        lane, clock, drift = self.lanes[0], self._clock, self.drift
        is_plain = self._is_anchored and len(self.lanes) == 1 and not drift.is_seen
        stretch = lane.stretch() if is_plain else None
        if stretch is None or not clock.is_due(stretch.last_lag_us):
            return False
        clock.go_on(stretch.last_lag_us, stretch.least_lag_us)
        if self._clock_kind is not TrackClock.ARRIVAL:
            offset_us, span = self._unbent_us, stretch.span
            delay_us, least_us = stretch.first_lag_us - offset_us, stretch.least_lag_us - offset_us
            drift.look(span.first_us, span.last_us, delay_us, least_us, stretch.least_at_us, span.rows)
        lane.place_whole(stretch)
        self._follow_bend()
        return True

    def _place_frame_by_frame(self, *, now_us: int, written_us: int, final: bool) -> None:
        """Place what the clock can place by now, of what waits and of what has come."""
        for lane in self._stamped:
            lane.release(now_us=now_us, offset_us=self._clock.offset_us, final=final)
        waiting = [(lane, lane.frames) for lane in self.lanes if lane.frames is not None]
        if waiting and not self._is_anchored:
            self._is_anchored = self._settle(waiting, now_us=now_us, written_us=written_us, final=final)
        if waiting and self._is_anchored and not self._place_on_time(waiting):
            self._place(now_us=now_us, written_us=written_us, final=final)

    @property
    def _begins_us(self) -> int:
        """Before this nothing of it can be heard, by what has come so far."""
        free_us = self._facts.free_us
        begins_us = self._facts.joined_us if free_us is None else free_us
        starts_us = (
            self._first_us(lane) + int(np.minimum.reduce(lane.frames.lag_us))
            for lane in self.lanes
            if lane.frames is not None
        )
        return min((begins_us, *starts_us))

    def _settle(self, waiting: Sequence[tuple[Lane, Frames]], *, now_us: int, written_us: int, final: bool) -> bool:
        """Fix where the source is in the call, once that is known; return whether it is."""
        arrival_us, lag_us, _ = self._heads(self._leading_lanes())
        stamp_us = us_of(self._stamped[0].mapper.offset, self._rate_hz) if self._stamped else None
        first = FirstFrames(
            arrival_us,
            lag_us,
            start_us=min(self._first_us(lane) for lane, _ in waiting),
            kept_bytes=sum(len(frames.payload) for _, frames in waiting),
            stamp_offset_us=stamp_us,
        )
        at_us = 0 if self.was_unheard else written_us
        begins = beginning(self._facts, first, self._patience, now_us=now_us, written_us=at_us, final=final)
        if begins is None:
            return False
        self._unbent_us, put_off_us = begins
        self._clock.start(self._unbent_us)
        self.drift.start(put_off_us=put_off_us)
        self._anchor()
        return True

    @property
    def leaves_silence_out(self) -> bool:
        """Whether its timestamps have shown that nothing is sent while nobody speaks."""
        return any(lane.mapper.leaves_silence_out for lane in self._stamped)

    @property
    def _counts_silence(self) -> bool:
        return any(lane.mapper.counts_silence for lane in self._stamped)

    def _leading_lanes(self) -> list[Lane]:
        """Return the lanes whose lags tell where the source begins (rule 1)."""
        lanes = [lane for lane in self.lanes if lane.frames is not None]
        return [lane for lane in lanes if lane.is_inbound] or lanes

    def _is_followed_on_time(self) -> bool:
        """Return whether something is on time that cannot be placed yet: all that can be was only delayed."""
        least_us = min((us for lane in self._stamped if (us := lane.waiting_lag_us) is not None), default=None)
        return least_us is not None and least_us <= self._clock.offset_us + ON_TIME_US

    def _has_leading(self, lane_of: NDArray[np.int64]) -> bool:
        """Return whether one of the frames, of these lanes, tells where the source is (rule 1)."""
        is_inbound = [lane.is_inbound for lane in self.lanes]
        return not any(is_inbound) or any(is_inbound[number] for number in np.unique(lane_of).tolist())

    def _media_offset(self, arrivals: Arrivals) -> int:
        """Return media time less timestamp, in samples, for a lane whose first frames these are (rule 2)."""
        stamp, arrival_us = arrivals.rows.position[0], arrivals.first_us
        if self._first is None:
            self._first = -stamp, arrival_us
        offset, expected_us = self._first
        if self._is_anchored:
            expected_us = self._clock.offset_us
        apart_us = arrival_us - us_of(stamp + offset, self._rate_hz) - expected_us
        is_its_own = abs(apart_us) > self._patience.backlog_us
        return offset + samples_at(apart_us, self._rate_hz) if is_its_own else offset

    def _away_us(self, arrival_us: int) -> int:
        """Return for how long the leg had not been heard when this came, but no longer than the file waits for it."""
        free_us = self._facts.free_us
        return 0 if free_us is None else min(arrival_us - free_us, self._patience.backlog_us)

    def _first_us(self, lane: Lane) -> int:
        assert lane.frames is not None
        return us_of(int(lane.frames.start[0]), self._rate_hz)

    def _anchor(self) -> None:
        for lane in self.lanes:
            lane.placement.anchor(self._unbent_us)

    def _heads(self, lanes: Sequence[Lane]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
        """Return arrivals and lags of what waits, in order of arrival, and which of the lanes each is of; None: one."""
        waiting = [(number, lane.frames) for number, lane in enumerate(lanes) if lane.frames is not None]
        if len(waiting) == 1 and len(lanes) == 1:
            return waiting[0][1].arrival_us, waiting[0][1].lag_us, None
        arrival_us = np.concatenate([frames.arrival_us for _, frames in waiting])
        order = arrival_us.argsort(kind="stable")
        lag = np.concatenate([frames.lag_us - (lanes[number].usual_us or 0) for number, frames in waiting])
        lane_of = np.concatenate([np.full(len(frames), number) for number, frames in waiting])
        return arrival_us.take(order), lag.take(order), lane_of.take(order)

    def _place(self, *, now_us: int, written_us: int, final: bool) -> None:
        arrival_us, lag, lane_of = self._heads(self.lanes)
        at, clock, drift = 0, self._clock, self.drift
        while at < len(lag):
            arrivals_us, lags = arrival_us[at:], lag[at:]
            if drift.is_seen:
                # What the sender's clock adds by then is neither delay nor silence.
                lags = lags - drift.behind_us(arrivals_us)
            # Timestamps that count silence tell of every frame when it was said: a delay is only a delay. And where one
            # clock stamps two tracks, what only one of them brings at the end cannot tell of silence.
            is_delay = self._counts_silence or (final and lane_of is not None and not self._has_leading(lane_of[at:]))
            count = len(lags) if is_delay or self._is_followed_on_time() else clock.due(lags)
            if not count:
                decision = clock.decide(arrivals_us, lags, now_us=now_us, written_us=written_us, final=final)
                if decision is None:
                    break
                count, moved_us = decision
                if not count:
                    self._move(moved_us, arrivals_us[:1])
                    continue
            else:
                # Repaired where positions count; measured, for the receipt, where timestamps do.
                if self._clock_kind is not TrackClock.ARRIVAL:
                    drift.watch(arrivals_us[:count], lag[at : at + count], offset_us=self._unbent_us)
                if lane_of is not None:
                    self._learn(lags[:count], lane_of[at : at + count])
            self._place_frames(count, None if lane_of is None else lane_of[at : at + count])
            at += count

    def _place_on_time(self, waiting: Sequence[tuple[Lane, Frames]]) -> bool:
        """Place what waits if all of it is on time; return False if not: nothing is placed then.

        The usual case: no lane is merged with another one, and nothing is looked at twice.
        """
        drift, clock = self.drift, self._clock
        if drift.is_seen:
            return False
        if len(self.lanes) == 1:
            lane, frames = waiting[0]
            if clock.due(frames.lag_us) < len(frames.lag_us):
                return False
            if self._clock_kind is not TrackClock.ARRIVAL:
                drift.watch(frames.arrival_us, frames.lag_us, offset_us=self._unbent_us)
            lane.place(len(frames.lag_us))
        else:
            limit_us, least_us = clock.offset_us + ON_TIME_US, []
            for lane, frames in waiting:
                if lane.usual_us is None or int(np.maximum.reduce(frames.lag_us)) - lane.usual_us > limit_us:
                    return False
                least_us.append(int(np.minimum.reduce(frames.lag_us)) - lane.usual_us)
            clock.due(np.array(least_us, np.int64))
            lane, frames = waiting[0]
            drift.watch(frames.arrival_us, frames.lag_us - (lane.usual_us or 0), offset_us=self._unbent_us)
            for (lane, frames), least in zip(waiting, least_us, strict=True):
                lane.learn(least - clock.offset_us)
                lane.place(len(frames))
        self._follow_bend()
        return True

    def _place_frames(self, count: int, lane_of: NDArray[np.int64] | None) -> None:
        """Place the next frames in order of arrival."""
        for number, lane in enumerate(self.lanes):
            of_lane = count if lane_of is None else int(np.count_nonzero(lane_of == number))
            if of_lane:
                lane.place(of_lane)
        self._follow_bend()

    def _follow_bend(self) -> None:
        """Let the clock compare with where the track lies, bent by what was placed."""
        if self.drift.is_off:
            # The sum is converted, not each bend: roundings would add up over the hours of a call.
            self._clock.move_to(self._unbent_us + self.drift.bent_us)

    def _learn(self, lag: NDArray[np.int64], lane_of: NDArray[np.int64]) -> None:
        """Note how much later than the offset the frames of each lane come, of these lags."""
        for number, lane in enumerate(self.lanes):
            of_lane = lag[lane_of == number]
            if len(of_lane):
                lane.learn(int(np.minimum.reduce(of_lane)) - self._clock.offset_us)

    def _move(self, moved_us: int, arrival_us: NDArray[np.int64]) -> None:
        """Let what follows, from a frame that came then (1,), lie where the clock has moved it."""
        owed_us = int(self.drift.behind_us(arrival_us)[0])
        self.drift.end_at_silence(owed_us)
        self._clock.move_to(self._clock.offset_us + owed_us)
        moved_us += owed_us
        self._unbent_us += moved_us
        if self._clock_kind is not TrackClock.ARRIVAL:
            for lane in self.lanes:
                # A track of which nothing is placed yet begins later, which is no gap.
                for sink in lane.sinks if lane.arrived_us is not None else ():
                    self._stats.add_gap(sink.gap(lane.end_us, moved_us, "stall"))
        self._anchor()


def new_sources(
    facts: SourceFacts,
    sinks: Mapping[int, Sequence[TrackSink]],
    *,
    position: int,
    decode: Decode,
    patience: Patience,
    stats: RenderStats,
) -> list[tuple[Source, dict[int, Lane]]]:
    """Return the sources of a stream, each with its lanes by the numbers that their frames carry.

    ``sinks``: of each sequence of frames, by its number. ``position``: of the next sample.
    """
    form, is_stamped = facts.stream.format, facts.stream.clock is TrackClock.TIMESTAMPED
    groups = [[*sinks]] if is_stamped and sinks else [[number] for number in sinks]
    sources = []
    for numbers in groups:
        drift = Drift(form.rate_hz)
        lanes: dict[int, Lane] = {}
        for number in numbers:
            placement = Placement(
                sinks[number],
                form,
                decode=decode,
                stats=stats,
                drift=drift if facts.stream.clock is TrackClock.CONTIGUOUS else None,
                lists_losses=is_stamped,
            )
            placement.position = position
            if is_stamped:
                mapper = TimestampMapper(form.rate_hz, form.step_bytes, stats)
                placement.leaves_silence_out = partial(_leaves_silence_out, mapper)
                lanes[number] = StampedLane(
                    sinks[number], form, placement, mapper=mapper, patience=patience, stats=stats
                )
            else:
                lanes[number] = Lane(sinks[number], form, placement)
        sources.append((Source(facts, [*lanes.values()], drift=drift, patience=patience, stats=stats), lanes))
    return sources


def _leaves_silence_out(mapper: TimestampMapper) -> bool:
    return mapper.leaves_silence_out
