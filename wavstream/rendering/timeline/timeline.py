"""The timeline: runs of frames in, the aligned pieces of each track out.

It owns all that knows where a sample belongs: the streams and their sources, the buffers of their tracks, and the
counts. One canonical point of the fold is three calls::

    timeline.feed(runs)                 # what has come since the last one
    ready_us = timeline.ready(now_us)   # place what is decided by now: how far is the call known?
    pieces = timeline.take(upto)        # that far, in samples of the file

All times count from the start of the recording, in microseconds; ``upto`` and ``written`` are samples of the file.

Which streams are heard:

1. Of several open streams that bring one track of a leg only the oldest is mixed; the others are in its *shadow*.
2. When that one ends the next one takes over, where the one before has ended.
3. What a leg hears (outbound) is *redundant* where another leg says it itself (``cover``).
4. The file waits for a source of an open stream unless all that it carries is in the shadow of others.

How far the call is known (the watermark):

5. It is known as far as every source that is waited for is. One that is behind is waited for, but for no longer than
   the hold. So is a leg that was lost: it may come back with what it has said meanwhile. Time in which we did not
   read is no part of the hold.
6. The file is not written past the last clock record, so that a pause or a stop that comes next still finds its place
   unwritten; and it trails 2 s behind that, for what a leg that joins next may have said while it connected. Only a
   sender that is faster than real time by more than the lead is written sooner, or what it sends would pile up in
   memory.
7. What a resampler holds back is not known yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.model.audio import Track
from wavstream.model.options import TrackChoice
from wavstream.rendering.timeline.beginning import SourceFacts
from wavstream.rendering.timeline.clock import us_of, watermark
from wavstream.rendering.timeline.cover import Cover
from wavstream.rendering.timeline.frames import gather
from wavstream.rendering.timeline.placement import TrackSink
from wavstream.rendering.timeline.source import new_sources
from wavstream.rendering.timeline.spans import StreamSpan, cast_shadows, track_end_us
from wavstream.rendering.timeline.track_buffer import TrackBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from wavstream.journal.events import StreamFacts
    from wavstream.journal.frame_run import FrameRun
    from wavstream.rendering.timeline.clock import Patience
    from wavstream.rendering.timeline.frames import Arrivals
    from wavstream.rendering.timeline.lane import Lane
    from wavstream.rendering.timeline.placement import Decode
    from wavstream.rendering.timeline.render_stats import RenderStats
    from wavstream.rendering.timeline.source import Source
    from wavstream.rendering.timeline.track_buffer import Resampler

    TrackKey = tuple[str, Track]
    """A track of the recording, whichever streams bring it: (leg, track)."""
    Pieces = Sequence[tuple[int, NDArray[np.int16]]]
    """What a track says between two moments of writing: (samples after the earlier one, samples), in order."""


class Timeline:
    """Where the samples of all streams of one recording belong."""

    def __init__(
        self,
        choice: TrackChoice,
        *,
        origin_us: int,
        patience: Patience,
        may_begin_earlier: bool,
        trails: bool = True,
        beep_hz: int | None = None,
        stats: RenderStats,
        decode: Decode,
        resampler: Callable[[int, int], Resampler],
        inspect: Callable[[Mapping[int, Arrivals]], None],
    ) -> None:
        """Place the tracks of ``choice`` around ``origin_us``, the start of the recording as the journal has it.

        ``may_begin_earlier``: the file begins with what was said first, also if that is before the start: as much as
        the hold. ``trails``: rule 6 leaves room for backlogs. ``beep_hz``: of the beep that a leg is played which joins
        later, if there is one. ``decode`` and ``resampler`` are those of the room ``codecs``, which this one does not
        know.
        ``inspect`` sees all frames, by number, as they came.
        """
        self.written = 0
        """Up to where the file is written, in samples of it; what it needs may be taken later."""
        self.heard_us: int | None = None
        """When the first frame came; None: none has."""
        self._choice = choice
        self._origin_us = origin_us
        self._patience = patience
        self._trails = trails
        self._beep_hz = beep_hz
        self._beeps_us: dict[str, int] = {}
        """When each leg joined that was played the beep then."""
        self._begin_us = -patience.hold_us if may_begin_earlier else 0
        """What was said before this is not in the file."""
        self._stats = stats
        self._decode = decode
        self._resampler = resampler
        self._inspect = inspect
        self._file_hz: int | None = None
        self._cover: Cover | None = None
        """None: the file is not open."""
        self._step_bytes: dict[int, int] = {}
        """Bytes of one sample of all channels, by the number that frames carry, of all streams so far."""
        self.streams: list[StreamSpan] = []
        """All so far."""
        self._open: dict[int, StreamSpan] = {}
        """Those that are open, by number, in order of arrival."""
        self._sources: list[Source] = []
        """Those of open streams."""
        self._lanes: dict[int, tuple[Source, Lane]] = {}
        """The lanes of open streams, by the number that their frames carry."""
        self._away: list[StreamSpan] = []
        """Streams that were lost and may come back: the file waits for them for as long as it holds."""
        self._awaited: list[Source] = []
        """Those that the file waits for (rule 4)."""
        self._sinks: list[TrackSink] = []
        """Tracks that have, or may still get, something to write."""
        self._live: set[TrackBuffer] = set()
        """The buffers of open streams."""

    @property
    def hears(self) -> bool:
        """Whether a track is what a leg hears."""
        return any(sink.track is Track.OUTBOUND for sink in self._sinks)

    @property
    def _trail_us(self) -> int:
        return self._patience.trail_us if self._trails else 0

    @property
    def written_us(self) -> int:
        """Up to where samples were taken, in microseconds."""
        return 0 if self._file_hz is None else us_of(self.written, self._file_hz)

    @property
    def highest_rate_hz(self) -> int | None:
        """The highest rate of all streams so far; None: there was none."""
        return max((span.facts.format.rate_hz for span in self.streams if span.sources), default=None)

    # ---- streams ---------------------------------------------------------------------------------------------------

    def open_stream(
        self, facts: StreamFacts, *, joined_us: int, position: int = 0, reference_us: int | None = None
    ) -> None:
        """Let a stream bring frames from here on. ``reference_us``: its smallest lag, where that is known."""
        groups = [facts.tracks] if facts.format.channels > 1 else [(track,) for track in facts.tracks]
        sinks: dict[int, list[TrackSink]] = {}
        number = facts.first_track
        for tracks in groups:
            heard = [
                self._new_sink(facts, track, column)
                for column, track in enumerate(tracks)
                if self._choice in (TrackChoice.BOTH, TrackChoice(track))
            ]
            if heard:
                sinks[number] = heard
                self._step_bytes[number] = facts.format.step_bytes
                self._sinks += heard
            number += len(tracks)
        # What was played to a leg may have been ahead of what it has said itself.
        tracks_us = [(sink.track, sink.handover_us) for heard in sinks.values() for sink in heard]
        said_us = [us for track, us in tracks_us if us is not None and track is Track.INBOUND]
        ends_us = said_us or [us for _, us in tracks_us if us is not None]
        earlier = [span for span in self.streams if span.facts.leg == facts.leg]
        if self._beep_hz is not None and joined_us > 0 and not earlier:
            self._beeps_us[facts.leg] = joined_us
        source_facts = SourceFacts(
            facts,
            free_us=max(ends_us, default=None),
            joined_us=joined_us,
            reference_us=reference_us,
            trail_us=self._trail_us,
            leaves_silence_out=any(source.leaves_silence_out for span in earlier for source in span.sources),
        )
        made = new_sources(
            source_facts, sinks, position=position, decode=self._decode, patience=self._patience, stats=self._stats
        )
        lanes = {number: (source, lane) for source, of_source in made for number, lane in of_source.items()}
        span = StreamSpan(facts, joined_us, [source for source, _ in made], lanes)
        self.streams.append(span)
        self._open[facts.stream] = span
        self._away = [away for away in self._away if not away.is_replaced_by(span)]
        self._regroup()

    def close_stream(self, stream: int, *, now_us: int, is_lost: bool) -> None:
        """Place what a stream still owes: it is over. One that is not open is none of ours."""
        span = self._open.pop(stream, None)
        if span is None:
            return
        for source in span.sources:
            source.advance(now_us=now_us, written_us=self.written_us, final=True)
        span.closed_us, span.is_lost = now_us, is_lost
        if is_lost:
            self._away.append(span)
        self._regroup()

    def lose_all_streams(self, *, now_us: int) -> None:
        """End every open stream, as lost."""
        for stream in [*self._open]:
            self.close_stream(stream, now_us=now_us, is_lost=True)

    # ---- what comes, how far the call is known, what goes ------------------------------------------------------------

    def feed(self, runs: Sequence[FrameRun]) -> None:
        """Hand frames to the sources of open streams; what is of others is ignored."""
        if not runs:
            return
        came = gather(runs, self._step_bytes, origin_us=self._origin_us)
        self._inspect(came)
        for number, of_lane in came.items():
            if number in self._lanes:
                source, lane = self._lanes[number]
                if self.heard_us is None:
                    self.heard_us = of_lane.first_us
                source.receive(lane, of_lane)

    def ready(self, now_us: int) -> int | None:
        """Place what is decided by now, and return up to when the call is known; None: nobody is waited for."""
        self._advance(now_us)
        return self.known_us(now_us)

    def known_us(self, now_us: int, *, trails: bool = True) -> int | None:
        """Return up to when the call is known by what is placed; None: nobody is waited for.

        ``trails``: leaves room for what a leg that joins next may have said before.
        """
        patience = self._patience
        given_up_us = patience.since(now_us, patience.hold_us)
        covered_us = [source.covered_us(now_us) for source in self._awaited]
        if self._away:
            self._away = [span for span in self._away if (span.closed_us or 0) > given_up_us]
            covered_us += [us for span in self._away if (us := span.placed_us()) is not None]
        if not covered_us:
            return None
        latest_us = patience.since(now_us, self._trail_us) if trails else now_us
        known_us = watermark(covered_us, latest_us=latest_us, written_us=self.written_us, given_up_us=given_up_us)
        for buffer in self._live:
            held_at = buffer.held_at
            if held_at is not None and self._file_hz is not None:  # rule 7
                known_us = min(known_us, us_of(held_at, self._file_hz))
        known_us = max(known_us, given_up_us)  # rule 5
        # While no stream is open it is not known whether silence follows, or the recording ended at the loss.
        if not self._open:
            known_us = min(known_us, max((sink.buffer.last_us for sink in self._sinks), default=self.written_us))
        return known_us

    def place_all(self, now_us: int) -> None:
        """Place all that was fed, decided or not: the recording ends here."""
        self._advance(now_us, final=True)

    def peek(self, begin: int, upto: int, cover: Cover) -> list[tuple[TrackKey, Pieces]]:
        """Return what ``take`` would, between two samples of the file, but keep it; ``cover`` goes on to there."""
        seen: list[tuple[TrackKey, Pieces]] = [
            ((sink.leg, sink.track), sink.buffer.peek(begin, upto)) for sink in self._sinks
        ]
        if not self.hears:
            return seen
        uncovered = cover.uncovered(begin, upto, seen)
        return [(track, pieces) for (track, _), (pieces, _) in zip(seen, uncovered, strict=True)]

    def cover(self) -> Cover:
        """Return what was said up to where the file is written, as a copy that a peek may go on with."""
        assert self._cover is not None
        return self._cover.copy()

    @property
    def is_plain(self) -> bool:
        """Whether what is written by now may be taken later, with what is written next, and is the same then."""
        if len(self._sinks) > len(self._live):
            return False
        return not any(sink.track is Track.OUTBOUND or sink.buffer.has_late for sink in self._sinks)

    def reach(self, upto: int) -> None:
        """Move the point of writing; what is before it is taken later."""
        self.written = upto
        for sink in self._sinks:
            sink.buffer.reach(upto)

    def take(self, upto: int) -> list[tuple[TrackKey, Pieces]]:
        """Return everything before ``upto``, by track; positions of pieces count from where the last call has ended."""
        written, self.written = self.written, upto
        taken: list[tuple[TrackKey, Pieces]] = [
            ((sink.leg, sink.track), sink.buffer.take(upto)) for sink in self._sinks
        ]
        if self._cover is not None and self.hears:  # rule 3
            uncovered = self._cover.uncovered(written, upto, taken)
            for sink, (_, redundant) in zip(self._sinks, uncovered, strict=True):
                sink.buffer.count_redundant(redundant)
            taken = [(track, pieces) for (track, _), (pieces, _) in zip(taken, uncovered, strict=True)]
        if len(self._sinks) > len(self._live):
            # A track that nobody brings any more is let go once all of it is written.
            self._sinks = [sink for sink in self._sinks if sink.buffer in self._live or not sink.buffer.is_empty]
        return taken

    def settle_late(self) -> None:
        """Give what came too late a place in the silence that is written next, or count it. Once a write, before it."""
        for sink in self._sinks:
            sink.buffer.settle_late()

    def flush(self) -> None:
        """Bring out what resamplers hold back."""
        for sink in self._sinks:
            sink.buffer.flush()

    def end(self) -> int:
        """Return the sample after the last one that is placed; nothing is late or held back any more."""
        self.flush()
        self.settle_late()
        return max((sink.buffer.end for sink in self._sinks), default=0)

    def drop_all(self) -> int:
        """Forget what is not taken yet; return how much audio that is, in microseconds over all tracks."""
        not_placed_us = sum(lane.drop() for span in self.streams for _, lane in span.lanes.values())
        return not_placed_us + sum(sink.buffer.drop() for sink in self._sinks)

    # ---- the file --------------------------------------------------------------------------------------------------

    @property
    def begin_us(self) -> int:
        """Where a file that is opened now begins: at the start of the recording, or with what was said before it."""
        firsts_us = (sink.buffer.first_us for sink in self._sinks)
        return max(self._begin_us, min((us for us in firsts_us if us is not None and us < 0), default=0))

    def open_file(self, file_hz: int, begin: int) -> None:
        """Set the file's rate, and its first sample: the first block is about to be written."""
        self._file_hz, self.written = file_hz, begin
        self._cover = Cover(file_hz, beep_hz=self._beep_hz, beeps_us=self._beeps_us)
        self._begin_us = us_of(begin, file_hz)
        for sink in self._sinks:
            sink.buffer.open(file_hz, begin, begin_us=self._begin_us)

    def tracks(self) -> list[TrackKey]:
        """Return the tracks that have, or may still get, something to write."""
        return [(sink.leg, sink.track) for sink in self._sinks]

    def returning_tracks(self, streams: Iterable[int]) -> list[TrackKey]:
        """Return the tracks on which these streams bring back what they are sent.

        That is the last track of a stream: the outbound one, or the only one.
        """
        spans = [self._open[stream] for stream in streams if stream in self._open]
        sinks = [(sink, span.facts.tracks[-1]) for span in spans for sink in span.sinks()]
        return [(sink.leg, sink.track) for sink, last in sinks if sink.track is last]

    # ---- what there is to say ----------------------------------------------------------------------------------------

    def said_us(self, stream: int) -> int | None:
        """Return where an open stream is in the call by its own media time; None: nothing tells."""
        span = self._open.get(stream)
        said = [source.said_us for source in span.sources] if span is not None else []
        return max((us for us in said if us is not None), default=None)

    def length_us(self, runs: Sequence[FrameRun]) -> int:
        """Return how much audio frames are, of all tracks that are part of the recording."""
        came = gather(runs, self._step_bytes, origin_us=self._origin_us)
        lanes = (pair for span in self.streams for pair in span.lanes.items())
        return sum(lane.length_us(came[number].frames()) for number, (_, lane) in lanes if number in came)

    # ---- within ----------------------------------------------------------------------------------------------------

    def _advance(self, now_us: int, *, final: bool = False) -> None:
        written_us = self.written_us
        for source in self._sources:
            source.advance(now_us=now_us, written_us=written_us, final=final)

    def _new_sink(self, facts: StreamFacts, track: Track, column: int) -> TrackSink:
        buffer = TrackBuffer(facts.format.rate_hz, self._stats, self._resampler, begin_us=self._begin_us)
        if self._file_hz is not None:
            buffer.open(self._file_hz, self.written, begin_us=self._begin_us)
        # A leg that is back may send again what it has said already.
        return TrackSink(facts.leg, track, column, buffer, handover_us=track_end_us(self.streams, facts.leg, track))

    def _regroup(self) -> None:
        """Decide anew who is heard, and who is waited for: the streams that are open have changed."""
        spans = [*self._open.values()]
        self._sources = [source for span in spans for source in span.sources]
        self._lanes = {number: pair for span in spans for number, pair in span.lanes.items()}
        self._live = {sink.buffer for span in spans for sink in span.sinks()}
        cast_shadows(spans, self.streams)  # rules 1 and 2
        self._awaited = []
        for source in self._sources:
            if not all(sink.is_shadowed for sink in source.sinks):  # rule 4
                self._awaited.append(source)
            else:
                source.was_unheard = True
