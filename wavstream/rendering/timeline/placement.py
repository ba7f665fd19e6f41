"""From frames that are due to samples in the buffers of tracks.

Frames that follow each other without a break are decoded and put as one *stretch*, where the source's clock has
anchored position 0 of its media time, bent by what the drift of the sender's clock asks for. What is not mixed is
counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US
from wavstream.model.recording import Gap
from wavstream.rendering.timeline.clock import samples_at, us_of
from wavstream.rendering.timeline.frames import Fate
from wavstream.rendering.timeline.whole import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wavstream.model.audio import Codec, MediaFormat, Track
    from wavstream.rendering.timeline.drift import Drift
    from wavstream.rendering.timeline.frames import Frames
    from wavstream.rendering.timeline.render_stats import RenderStats
    from wavstream.rendering.timeline.stretch import Bend
    from wavstream.rendering.timeline.track_buffer import TrackBuffer

    Decode = Callable[[Codec, int, NDArray[np.uint8]], NDArray[np.int16]]
    """(codec, channels, payload bytes) to samples, (samples, channels); the timeline does not know the codecs."""


@dataclass(slots=True, eq=False)
class TrackSink:
    """Where one track of a source goes; tracks that are not part of the recording have none."""

    leg: str
    track: Track
    column: int
    """Of the source's samples."""
    buffer: TrackBuffer
    is_shadowed: bool = False
    """An older stream brings the same track: nothing of this one is mixed."""
    handover_us: int | None = None
    """Up to when an older stream has brought the track, once this one has taken over."""

    def gap(self, start_us: int, length_us: int, cause: str) -> Gap:
        """Return a gap of this track; its start counts from that of the recording."""
        return Gap(self.leg, self.track, start_us // 1000, length_us // 1000, cause)


class Placement:
    """The placed samples of one source, in samples of its own rate from the start of the recording."""

    def __init__(
        self,
        sinks: Sequence[TrackSink],
        form: MediaFormat,
        *,
        decode: Decode,
        stats: RenderStats,
        drift: Drift | None = None,
        lists_losses: bool = False,
    ) -> None:
        """Begin with nothing placed. Without ``drift`` nothing is bent; ``lists_losses`` lists each hole as a gap."""
        self.position = 0
        """Media time after the last sample that was placed."""
        self.shift = 0
        """Where position 0 is."""
        self.end = 0
        """After the last sample that was placed."""
        self.longest_us = NOMINAL_PTIME_US
        """The longest frame so far."""
        self.leaves_silence_out: Callable[[], bool] = lambda: False
        """Whether by now a hole in media time is taken for silence that nobody sent."""
        self._sinks = sinks
        self._form = form
        self._rate_hz = form.rate_hz
        self._step_bytes = form.step_bytes
        self._decode = decode
        self._stats = stats
        self._drift = drift
        self._lists_losses = lists_losses
        self._anchored_at = 0
        self._arrived_us = 0
        """When what was placed last arrived."""

    def anchor(self, anchor_us: int) -> None:
        """Let position 0 be here, had nothing been bent."""
        self.shift = self._anchored_at = samples_at(anchor_us, self._rate_hz)
        if self._drift is not None:
            self.shift += self._drift.bent

    def place(self, frames: Frames) -> None:
        """Place frames, in order of media time."""
        start, end, fate = frames.start, frames.end, frames.fate
        # Comparing bytes takes a fifth of the time of an elementwise comparison and its any().
        if fate is None and start[1:].tobytes() == end[:-1].tobytes():
            self.place_stretch(_span(frames), frames.payload)
            return
        breaks = start[1:] != end[:-1]
        if fate is not None:
            breaks |= fate[1:] != fate[:-1]
        rest, done = frames, 0
        for at in [*(np.flatnonzero(breaks) + 1).tolist(), len(frames)]:
            stretch, rest = rest.cut(at - done, self._step_bytes)
            self.place_stretch(_span(stretch), stretch.payload, fate=None if fate is None else fate[done])
            done = at

    def place_stretch(self, span: Span, payload: NDArray[np.uint8], *, fate: int | None = None) -> None:
        """Place frames of one fate that follow each other without a break."""
        start, end, rows, number, first_us, last_us = span
        length = end - start
        if start > self.position:
            self._pass_over(start - self.position, arrival_us=first_us)
            self._bend(start - self.position)
        # A frame that was overtaken may lie before the furthest one.
        self.position = max(self.position, end)
        self._arrived_us = last_us
        self.longest_us = max(self.longest_us, us_of(-(-length // rows), self._rate_hz))
        at = start + self.shift
        # What is not heard is bent too: the sender's clock went on in it.
        bend = self._bend(length)
        if fate == Fate.WITHHELD:
            for sink in self._sinks:
                # What follows does not continue what a resampler has heard.
                sink.buffer.flush()
                self._stats.paused_us += us_of(length, self._rate_hz)
                if not sink.is_shadowed:
                    from_us, to_us = us_of(at, self._rate_hz), us_of(at + length, self._rate_hz)
                    self._stats.withhold(sink.leg, sink.track, from_us, to_us)
        else:
            samples = self._decode(self._form.codec, self._form.channels, payload)
            for sink in self._sinks:
                if sink.is_shadowed:
                    sink.buffer.flush()
                    self._count_redundant(length, number)
                    continue
                said, repeated, put_at, rest = 0, 0, at, bend
                if sink.handover_us is not None:
                    # An older stream has brought this much already; a frame that is cut counts as redundant.
                    said = max(0, min(samples_at(sink.handover_us, self._rate_hz) - at, length))
                    repeated = -(-number * said // max(1, length))
                    self._count_redundant(said, repeated)
                    put_at += said
                    if bend is not None:
                        whole, rest = bend.behind(said, length)
                        put_at += whole
                sink.buffer.put(put_at, samples[said:, sink.column], number - repeated, rest)
        # Bending has moved the shift by as much as it stretched, so this is the end of what was put or is held back.
        self.end = max(self.end, end + self.shift)

    def _bend(self, samples: int) -> Bend | None:
        """Return how so many samples are bent, and move what follows."""
        bend = None if self._drift is None else self._drift.bend(samples)
        if bend is not None and self._drift is not None:
            self.shift = self._anchored_at + self._drift.bent
        return bend

    def _pass_over(self, samples: int, *, arrival_us: int) -> None:
        """Count a hole in media time before what arrived then: what lacks is lost, unless nobody has sent it."""
        start_us, length_us = us_of(self.position + self.shift, self._rate_hz), us_of(samples, self._rate_hz)
        is_damage = bool(self._stats.damage_us) and self._stats.is_damage(self._arrived_us, arrival_us)
        is_silence = not is_damage and self.leaves_silence_out()
        for sink in self._sinks:
            if not sink.is_shadowed:
                self._stats.lost_us += 0 if is_silence else length_us
                if self._lists_losses or is_damage:
                    cause = "damage" if is_damage else "silence" if is_silence else "loss"
                    self._stats.add_gap(sink.gap(start_us, length_us, cause))

    def _count_redundant(self, samples: int, frames: int) -> None:
        self._stats.redundant_frames += frames
        self._stats.redundant_us += us_of(samples, self._rate_hz)


def _span(frames: Frames) -> Span:
    """Return what there is to know of frames that follow each other without a break."""
    start, end, arrival_us = int(frames.start[0]), int(frames.end[-1]), frames.arrival_us
    return Span(start, end, len(frames), frames.number, int(arrival_us[0]), int(arrival_us[-1]))
