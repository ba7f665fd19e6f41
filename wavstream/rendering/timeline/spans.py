"""The times for which streams belong to a recording, and what there is to say of them once they are over.

A leg may be there more than once: its stream is lost and another one comes, or one takes over from one that ran beside
it. So one track of the recording may be brought by several streams, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wavstream.journal.events import StreamFacts
    from wavstream.model.audio import Track
    from wavstream.model.recording import Gap
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.placement import TrackSink
    from wavstream.rendering.timeline.source import Source


@dataclass(slots=True, eq=False)
class StreamSpan:
    """One stream of a leg, from its opening to its end, as far as it belongs to the recording."""

    facts: StreamFacts
    joined_us: int
    sources: list[Source]
    lanes: dict[int, tuple[Source, Lane]]
    """By the number that their frames carry."""
    closed_us: int | None = None
    """None: it is open."""
    is_lost: bool = False
    """Closed, but not by its own will."""

    def sinks(self) -> Iterator[TrackSink]:
        """Yield the tracks that are part of the recording."""
        for source in self.sources:
            yield from source.sinks

    def is_replaced_by(self, other: StreamSpan) -> bool:
        """Return whether the other one brings a track of this one's leg."""
        return self.facts.leg == other.facts.leg and not set(self.facts.tracks).isdisjoint(other.facts.tracks)

    def placed_us(self) -> int | None:
        """Return up to when it was heard; None: nothing of it is in the file."""
        buffers = [sink.buffer for sink in self.sinks() if not sink.is_shadowed and sink.buffer.first_us is not None]
        return min((buffer.last_us for buffer in buffers), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class TrackSpan:
    """One track of a leg, for as long as one stream brings it."""

    stream: StreamSpan
    sink: TrackSink


@dataclass(frozen=True, slots=True)
class TrackReceipt:
    """What there is to say of one track of the recording, whichever streams brought it."""

    first: StreamFacts
    """Of the first stream that brought it."""
    track: Track
    has_audio: bool
    joined_us: int
    left_us: int


def by_track(streams: Iterable[StreamSpan]) -> dict[tuple[str, Track], list[TrackSpan]]:
    """Return the spans of each track, (leg, track), without those in the shadow of another stream."""
    spans: dict[tuple[str, Track], list[TrackSpan]] = {}
    for stream in streams:
        for sink in stream.sinks():
            if not sink.is_shadowed:
                spans.setdefault((sink.leg, sink.track), []).append(TrackSpan(stream, sink))
    return spans


def track_end_us(streams: Iterable[StreamSpan], leg: str, track: Track) -> int | None:
    """Return where a track ends so far, whichever streams brought it; None: none has."""
    of_leg = (stream for stream in streams if stream.facts.leg == leg)
    buffers = (sink.buffer for stream in of_leg for sink in stream.sinks() if sink.track is track)
    return max((buffer.last_us for buffer in buffers if buffer.first_us is not None), default=None)


def cast_shadows(streams: Iterable[StreamSpan], all_streams: Sequence[StreamSpan]) -> None:
    """Let only the oldest of the open streams of each track be heard; the next one goes on where that has ended."""
    brought: set[tuple[str, Track]] = set()
    for stream in streams:
        for sink in stream.sinks():
            was_shadowed, sink.is_shadowed = sink.is_shadowed, (sink.leg, sink.track) in brought
            brought.add((sink.leg, sink.track))
            if was_shadowed and not sink.is_shadowed:
                sink.handover_us = track_end_us(all_streams, sink.leg, sink.track)


def track_receipts(streams: Iterable[StreamSpan], end_us: int) -> list[TrackReceipt]:
    """Return what was recorded of each track; ``end_us``: the end of the recording so far."""
    receipts = []
    for (_, track), spans in by_track(streams).items():
        first, last = spans[0].stream, spans[-1].stream
        starts_us = [us for us in (span.sink.buffer.first_us for span in spans) if us is not None]
        said_us = spans[-1].sink.buffer.last_us
        if last.closed_us is None:
            left_us = end_us
        else:
            # A stream that was lost left when it was heard last, whenever that was noticed.
            left_us = said_us if last.is_lost else max(said_us, last.closed_us)
        receipts.append(
            TrackReceipt(
                first=first.facts,
                track=track,
                has_audio=bool(starts_us),
                joined_us=starts_us[0] if starts_us else first.joined_us,
                left_us=left_us,
            )
        )
    return receipts


def reconnect_gaps(streams: Iterable[StreamSpan]) -> list[Gap]:
    """Return the times between a stream that was lost and the next one of its leg."""
    gaps = []
    for spans in by_track(streams).values():
        lost_us: int | None = None
        for span in spans:
            stream, buffer = span.stream, span.sink.buffer
            if buffer.first_us is not None and lost_us is not None and buffer.first_us > lost_us:
                gaps.append(span.sink.gap(lost_us, buffer.first_us - lost_us, "reconnect"))
            if stream.closed_us is None or not stream.is_lost:
                lost_us = None
            elif buffer.first_us is not None:
                lost_us = buffer.last_us
            elif lost_us is None:
                # It was lost before it said anything; if one before it was lost too, the gap is one.
                lost_us = stream.closed_us
    return gaps


def drift_ppm(streams: Iterable[StreamSpan]) -> dict[str, int]:
    """Return how fast the clock of each leg ran, taken from the source that was watched the longest."""
    watched: dict[str, Source] = {}
    for stream in streams:
        for source in stream.sources:
            best = watched.get(stream.facts.leg)
            if best is None or source.drift.known_us > best.drift.known_us:
                watched[stream.facts.leg] = source
    return {leg: source.drift.ppm for leg, source in watched.items()}


def away_us(streams: Iterable[StreamSpan], at_us: int) -> dict[str, int]:
    """Return for how long each leg that was lost by then and came back after it was not heard, in microseconds."""
    away: dict[str, int] = {}
    for (leg, _), spans in by_track(streams).items():
        before = [span.sink.buffer.last_us for span in spans if _was_heard(span) and span.stream.joined_us < at_us]
        after = [span.sink.buffer.first_us for span in spans if _was_heard(span) and span.stream.joined_us >= at_us]
        if before and after and after[0] is not None:
            away[leg] = max(away.get(leg, 0), after[0] - before[-1])
    return away


def _was_heard(span: TrackSpan) -> bool:
    return span.sink.buffer.first_us is not None
