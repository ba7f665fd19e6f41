"""From frames that are due to samples in lanes.

Frames that follow each other without a break are decoded and put as one stretch, where the source's clock has anchored
position 0 of its media time, bent by what the drift of the sender's clock asks for. What is not mixed is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US, Track
from wavstream.model.recording import Gap
from wavstream.rendering.timeline.drift import stretched
from wavstream.rendering.timeline.frames import Fate
from wavstream.rendering.timeline.units import samples_at, us_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat
    from wavstream.rendering.timeline.drift import Drift
    from wavstream.rendering.timeline.frames import Frames
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.tally import Tally


@dataclass(slots=True, eq=False)
class Seat:
    """Where one track of a source goes."""

    leg: str
    track: Track
    lane: Lane | None
    """None: the track is not part of the recording."""
    is_beside: bool = False
    """Whether an older stream brings the same track: nothing of this one is mixed."""
    taken_us: int | None = None
    """Up to when an older stream has brought the track, once this one has taken over."""

    def gap(self, start_us: int, length_us: int, cause: str) -> Gap:
        """A gap of this track, its start counted from that of the recording."""
        return Gap(self.leg, self.track, max(0, start_us) // 1000, length_us // 1000, cause)


class Placement:
    """The placed samples of one source, in samples of its own rate from the start of the recording."""

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        form: MediaFormat,
        decode: Callable[[NDArray[np.uint8]], NDArray[np.int16]],
        drift: Drift | None,
        tally: Tally,
        lost: Callable[[int, int], None] | None,
    ) -> None:
        """``drift``: None where nothing is bent; ``lost`` is told of each hole: where it is, how many samples."""
        self.position = 0
        """Media time after the last sample that was placed."""
        self.shift = 0
        """Where position 0 is."""
        self.end = 0
        """After the last sample that was placed."""
        self.longest_us = NOMINAL_PTIME_US
        """The longest frame so far."""
        self._seats = seats
        self._step_bytes = form.step_bytes
        self._rate_hz = form.rate_hz
        self._decode = decode
        self._drift = drift
        self._tally = tally
        self._lost = lost
        self._slewed = 0

    def anchor(self, anchor_us: int) -> None:
        """Position 0 would be here, had nothing been bent."""
        self.shift = samples_at(anchor_us, self._rate_hz) + self._slewed

    def place(self, frames: Frames) -> int:
        """Place frames, in order of media time; by how many samples they were stretched."""
        start, end, fate = frames.start, frames.end, frames.fate
        before = self._slewed
        # Comparing bytes takes a fifth of the time of an elementwise comparison and its any().
        if fate is None and start[1:].tobytes() == end[:-1].tobytes():
            self._place_stretch(frames, None)
            return self._slewed - before
        breaks = start[1:] != end[:-1]
        if fate is not None:
            breaks |= fate[1:] != fate[:-1]
        rest, done = frames, 0
        for at in [*(np.flatnonzero(breaks) + 1).tolist(), len(frames)]:
            stretch, rest = rest.cut(at - done, self._step_bytes)
            self._place_stretch(stretch, None if fate is None else fate[done])
            done = at
        return self._slewed - before

    def _place_stretch(self, frames: Frames, fate: int | None) -> None:
        """Place frames of one fate that follow each other without a break."""
        count, start, end = len(frames), int(frames.start[0]), int(frames.end[-1])
        length = end - start
        if start > self.position:
            self._pass_over(start - self.position)
        self.position = max(self.position, end)
        self.longest_us = max(self.longest_us, us_of(-(-length // count), self._rate_hz))
        at = start + self.shift
        if fate == Fate.WITHHELD:
            for seat in self._seats:
                if seat.lane is not None:
                    seat.lane.flush()
                    self._tally.paused_us += us_of(length, self._rate_hz)
        else:
            samples = self._decode(frames.payload)
            change = 0 if self._drift is None else self._drift.slew(length)
            if change:
                samples = stretched(samples, change)
                self._slewed += change
                self.shift += change
            for column, seat in enumerate(self._seats):
                if seat.lane is None:
                    continue
                if seat.is_beside or (fate == Fate.REDUNDANT and seat.track is Track.OUTBOUND):
                    seat.lane.flush()
                    self._count_redundant(length, count)
                elif seat.taken_us is None:
                    seat.lane.put(at, samples[:, column], count)
                else:
                    taken = max(0, min(samples_at(seat.taken_us, self._rate_hz) - at, length))
                    repeated = -(-count * taken // max(1, length))
                    self._count_redundant(taken, repeated)
                    seat.lane.put(at + taken, samples[taken:, column], count - repeated)
        self.end = max(self.end, end + self.shift)

    def _pass_over(self, samples: int) -> None:
        for seat in self._seats:
            if seat.lane is not None and not seat.is_beside:
                self._tally.lost_us += us_of(samples, self._rate_hz)
        if self._lost is not None:
            self._lost(self.position + self.shift, samples)

    def _count_redundant(self, samples: int, frames: int) -> None:
        self._tally.redundant_frames += frames
        self._tally.redundant_us += us_of(samples, self._rate_hz)
