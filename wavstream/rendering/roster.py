"""Who speaks in a recording: its legs in order of arrival, and what each of their streams brings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from wavstream.model.audio import Channel, Track
from wavstream.model.options import RecordingOptions, TrackChoice
from wavstream.model.recording import LegReceipt
from wavstream.rendering.codecs.decoder import decode
from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.mixer.layout import StereoLayout
from wavstream.rendering.stays import Stay, by_track
from wavstream.rendering.timeline.lane import Lane
from wavstream.rendering.timeline.placement import Seat
from wavstream.rendering.timeline.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wavstream.journal.events import StreamFacts
    from wavstream.rendering.timeline.frames import Frames
    from wavstream.rendering.timeline.tally import Tally


class Roster:
    """The legs and streams of one recording. All times count from its start, in microseconds."""

    def __init__(self, options: RecordingOptions, leg_order: Iterable[str], tally: Tally) -> None:
        self.step_bytes: dict[int, int] = {}
        """Bytes of one sample of all channels, by the number that frames carry, of all streams so far."""
        self.open: dict[int, Stay] = {}
        """The streams that are open, by number."""
        self.stays: list[Stay] = []
        """All streams so far."""
        self._options = options
        self._tally = tally
        self._legs: dict[str, Channel | None] = dict.fromkeys(leg_order)
        self._layout = StereoLayout()
        self._file: tuple[int, int] | None = None
        self._lanes: list[tuple[Seat, Lane]] = []
        self._sources: list[tuple[int, Source]] = []
        self._awaited: list[Source] = []
        self._live: set[Lane] = set()
        self._columns: list[tuple[int, Lane]] | None = None
        self._remarked: set[int] = set()

    def join(self, facts: StreamFacts, *, joined_us: int, position: int = 0, reference_us: int | None = None) -> None:
        """A stream is there. ``reference_us``: its smallest lag, where that is known."""
        self._legs[facts.leg] = facts.channel or self._legs.get(facts.leg)
        groups = [facts.tracks] if facts.format.channels > 1 else [(track,) for track in facts.tracks]
        sources: dict[int, Source] = {}
        number = facts.first_track
        # A leg that is back after a sender ran ahead of real time goes on behind what it has said already.
        lanes = (lane for track in facts.tracks for lane in self._lanes_of(facts.leg, track))
        free_us = max((lane.last_us for lane in lanes), default=joined_us)
        for tracks in groups:
            seats = [Seat(facts.leg, track, self._lane(facts, track)) for track in tracks]
            self._lanes += [(seat, seat.lane) for seat in seats if seat.lane is not None]
            source = Source(
                seats,
                form=facts.format,
                clock=facts.clock,
                joined_us=max(joined_us, free_us),
                position=position,
                reference_us=reference_us,
                decode=partial(decode, facts.format.codec, facts.format.channels),
                tally=self._tally,
                silent=self._silent,
                remark=partial(self._remark, facts, tracks),
            )
            if any(seat.lane for seat in seats):
                sources[number] = source
                self.step_bytes[number] = source.step_bytes
            number += len(tracks)
        stay = Stay(facts, joined_us, sources)
        self.stays.append(stay)
        self.open[facts.stream] = stay
        self._regroup()

    def leave(self, stream: int, *, now_us: int, written_us: int, is_lost: bool) -> None:
        """A stream is over: what it still owes is placed."""
        stay = self.open.pop(stream, None)
        if stay is None:
            return
        for source in stay.sources.values():
            source.advance(now_us=now_us, written_us=written_us, final=True)
        stay.closed_us, stay.is_lost = now_us, is_lost
        self._regroup()

    def receive(self, frames: dict[int, Frames]) -> None:
        """Frames of open streams, by the number that they carry."""
        for number, source in self._sources:
            if number in frames:
                source.receive(frames[number])

    def advance(self, *, now_us: int, written_us: int, final: bool = False) -> None:
        """Place what can be placed by now."""
        for _, source in self._sources:
            source.advance(now_us=now_us, written_us=written_us, final=final)

    def covered_us(self, now_us: int) -> list[int]:
        """Up to when each source of an open stream is known, without those of which all is redundant."""
        return [source.covered_us(now_us) for source in self._awaited]

    def held_at(self) -> list[int]:
        """Where resamplers of open streams hold samples back, in samples of the file."""
        return [held for lane in self._live if (held := lane.held_at) is not None]

    def length_us(self, frames: dict[int, Frames]) -> int:
        """How much audio frames are, of all tracks that are part of the recording."""
        sources = (pair for stay in self.stays for pair in stay.sources.items())
        return sum(source.length_us(frames[number]) for number, source in sources if number in frames)

    def drop_all(self) -> int:
        """Forget what is not written yet; how much audio that is, in microseconds over all tracks."""
        sources = (source for stay in self.stays for source in stay.sources.values())
        return sum(source.drop() for source in sources) + sum(lane.drop() for _, lane in self._lanes)

    def said_us(self, stream: int) -> int | None:
        """Where an open stream is in the call by its own media time; None: nothing tells."""
        stay = self.open.get(stream)
        said = [source.said_us for source in stay.sources.values()] if stay is not None else []
        return max((us for us in said if us is not None), default=None)

    def columns_of_outbound(self, streams: Iterable[int]) -> set[int]:
        """The columns of the file on which outbound tracks of these streams, or their only ones, are mixed."""
        stays = [self.open[stream] for stream in streams if stream in self.open]
        seats = (
            seat
            for stay in stays
            for seat, _, source in stay.seats()
            if not source.is_redundant and seat.track is stay.facts.tracks[-1]
        )
        return {self._column(seat) for seat in seats}

    def sample_rate(self) -> int | None:
        """What the file's rate is if it is decided now; None: nothing is known."""
        if self._options.sample_rate is not None:
            return self._options.sample_rate
        return max((stay.facts.format.rate_hz for stay in self.stays if stay.sources), default=None)

    def freeze(self, sample_rate_hz: int) -> None:
        """The first block is about to be written."""
        self._file = sample_rate_hz, 0
        for _, lane in self._lanes:
            lane.open(sample_rate_hz, 0)

    def wrote(self, samples: int) -> None:
        """The file is written so far; lanes of streams that are over and have nothing more are let go."""
        if self._file is not None:
            self._file = self._file[0], samples
        if len(self._lanes) > len(self._live):
            self._lanes = [(seat, lane) for seat, lane in self._lanes if lane in self._live or not lane.is_empty]
            self._columns = None

    def lanes(self) -> list[tuple[int, Lane]]:
        """The lanes that have, or may still get, something to write, each with its channel of the file from 0."""
        if self._columns is None:
            self._columns = [(self._column(seat), lane) for seat, lane in self._lanes]
        return self._columns

    def legs(self, end_us: int) -> tuple[LegReceipt, ...]:
        """What was recorded of each track; ``end_us``: the end of the recording so far."""
        receipts = []
        for stays in by_track(self.stays).values():
            facts, (seat, _, _) = stays[0][0].facts, stays[0][1]
            last_stay, (_, last, _) = stays[-1]
            spoken = [lane for _, (_, lane, _) in stays if lane.first_us is not None]
            joined_us = spoken[0].first_us if spoken else stays[0][0].joined_us
            if last_stay.closed_us is None:
                left_us = end_us
            else:
                left_us = last.last_us if last_stay.is_lost else max(last.last_us, last_stay.closed_us)
            receipts.append(
                LegReceipt(
                    leg=seat.leg,
                    track=seat.track,
                    channel=self._channel(seat) if spoken and self._options.file_channels > 1 else None,
                    dialect=facts.dialect,
                    codec=facts.format.codec,
                    rate=facts.format.rate_hz,
                    joined_ms=max(0, joined_us or 0) // 1000,
                    left_ms=max(0, left_us) // 1000,
                )
            )
        return tuple(receipts)

    def _lanes_of(self, leg: str, track: Track) -> Iterator[Lane]:
        """The lanes of all streams so far that brought this track."""
        for stay in self.stays:
            if stay.facts.leg == leg:
                yield from (lane for seat, lane, _ in stay.seats() if seat.track is track)

    def _lane(self, facts: StreamFacts, track: Track) -> Lane | None:
        if self._options.track not in (TrackChoice.BOTH, TrackChoice(track)):
            return None
        lane = Lane(facts.format.rate_hz, self._tally, Resampler)
        if self._file is not None:
            lane.open(*self._file)
        return lane

    def _channel(self, seat: Seat) -> Channel:
        self._layout.place(self._legs.items())
        return self._layout.channel(seat.leg, seat.track)

    def _regroup(self) -> None:
        """The streams that are open have changed.

        Of several that bring one track only the oldest is mixed. When it ends the next one goes on behind what it said.
        """
        stays = [*self.open.values()]
        speaking = {seat.leg for stay in stays for seat, _, _ in stay.seats() if seat.track is Track.INBOUND}
        self._sources = [pair for stay in stays for pair in stay.sources.items()]
        self._live = {lane for stay in stays for _, lane, _ in stay.seats()}
        self._awaited = []
        self._columns = None
        first: set[tuple[str, Track]] = set()
        for stay in stays:
            others_speak = bool(speaking - {stay.facts.leg})
            for seat, _, _ in stay.seats():
                was_beside, seat.is_beside = seat.is_beside, (seat.leg, seat.track) in first
                first.add((seat.leg, seat.track))
                if was_beside and not seat.is_beside:
                    seat.taken_us = max(lane.last_us for lane in self._lanes_of(seat.leg, seat.track)) or None
            for source in stay.sources.values():
                tracks = {seat.track for seat in source.seats if seat.lane is not None and not seat.is_beside}
                source.is_redundant = others_speak and Track.OUTBOUND in tracks
                if tracks - ({Track.OUTBOUND} if source.is_redundant else set()):
                    self._awaited.append(source)
                else:
                    source.was_unheard = True

    def _column(self, seat: Seat) -> int:
        if self._options.file_channels == 1:
            return 0
        return 0 if self._channel(seat) is Channel.LEFT else 1

    def _silent(self, seat: Seat, start_us: int, length_us: int, cause: str) -> None:
        self._tally.add_gap(seat.gap(start_us, length_us, cause))

    def _remark(self, facts: StreamFacts, tracks: tuple[Track, ...], told: str) -> None:
        """Tell of a stream's first oddity; the counts tell of the others."""
        if facts.stream not in self._remarked:
            self._remarked.add(facts.stream)
            self._tally.remarks.append(f"leg {facts.leg}, {' and '.join(tracks)}: {told}")
