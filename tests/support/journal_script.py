"""A readable script of legs, frames, stalls and commands, and the journal items that it stands for.

Time is data: a script is a list of records with their arrival, sorted when it is asked for items. Each leg is written
down on its own and interleaves with the others by arrival::

    script = Script().start("rec-1")
    a = script.open("a")
    a.send(sounds, at_s=0.0)            # in frames of 20 ms, in real time
    script.stop(10.0)
    fold.feed(script.items())
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from tests.support.recordings import a_recording
from tests.support.records import frame_record, frames_record
from wavstream.journal import events, records
from wavstream.journal.batches import batch, tag_of
from wavstream.model.audio import Channel, Codec, MediaFormat, Track, TrackClock
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.rendering.codecs.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

T0_US = 1_800_000_000_000_000
"""When every script starts."""

_BEFORE, _FRAME, _AFTER = 0, 1, 2


@dataclass(slots=True)
class Leg:
    """One stream of a script."""

    script: Script
    facts: events.StreamFacts
    position: int = 0

    @property
    def rate_hz(self) -> int:
        return self.facts.format.rate_hz

    def send(
        self,
        samples: NDArray[np.int16],
        *,
        at_s: float,
        ptime_ms: int = 20,
        speed: float = 1.0,
        track: int = 0,
        arrivals_s: Iterable[float] | None = None,
    ) -> Leg:
        """Send samples, (n,) or (n, channels), in frames; the first arrives at ``at_s``.

        ``speed``: how much faster than real time. ``arrivals_s``: when each frame arrives, instead.
        """
        frame = self.rate_hz * ptime_ms // 1000
        count = -(-len(samples) // frame)
        if arrivals_s is None:
            arrivals = np.round((at_s + np.arange(count) * (ptime_ms / 1000 / speed)) * 1e6).astype(np.int64)
        else:
            arrivals = np.round(np.array(list(arrivals_s)) * 1e6).astype(np.int64)
        for number, arrival in enumerate(arrivals.tolist()):
            self.frame(samples[number * frame : (number + 1) * frame], at_us=arrival, track=track)
        return self

    def send_numbers(
        self,
        samples: NDArray[np.int16],
        numbers: Iterable[int],
        *,
        at_s: float = 0.0,
        track: int = 0,
        stamps: Callable[[int], int] = int,
    ) -> Leg:
        """Send the frames of 20 ms of samples that have these numbers, in this order, each when it has been said.

        A number that lacks is a frame lost, one that comes again a frame doubled. One that was overtaken comes right
        behind. ``stamps``: the timestamp of each frame, from its position; default: the position.
        """
        frame = self.rate_hz // 50
        ordered = [*numbers]
        first, furthest = min(ordered, default=0), 0
        for number in ordered:
            furthest = max(furthest, number - first)
            self.position = stamps(number * frame)
            sound = samples[number * frame : (number + 1) * frame]
            self.frame(sound, at_us=round((at_s + furthest * 0.02) * 1e6), track=track)
        return self

    def frame(self, samples: NDArray[np.int16], *, at_us: int, track: int = 0) -> Leg:
        """Send one frame."""
        payload = encoded(samples, self.facts.format.codec)
        self.script.add(
            at_us,
            _FRAME,
            frame_record(
                track=self.facts.first_track + track, arrival_us=T0_US + at_us, position=self.position, payload=payload
            ),
        )
        self.position += len(samples)
        return self

    def withhold(self, samples: int, *, at_s: float) -> Leg:
        """Send frames of 20 ms that a pause keeps out of the journal."""
        frame = self.rate_hz // 50
        for number in range(samples // frame):
            at_us = round((at_s + number * 0.02) * 1e6)
            self.script.add(
                at_us,
                _FRAME,
                records.withheld_record(
                    track=self.facts.first_track, arrival_us=T0_US + at_us, position=self.position, samples=frame
                ),
            )
            self.position += frame
        return self

    def skip(self, samples: int) -> Leg:
        """Go on at a later position, as if frames had never been journaled."""
        self.position += samples
        return self

    def close(self, at_s: float, *, clean: bool = True) -> None:
        """End the stream."""
        self.script.event(at_s, events.StreamClosed(stream=self.facts.stream, clean=clean), rank=_AFTER)


@dataclass(slots=True)
class Script:
    """What happens to one session."""

    recording_id: str = "rec-1"
    _lines: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    _streams: int = 0
    _last_us: int = 0
    _unread: list[tuple[int, int, bool]] = field(default_factory=list)
    _step_bytes: dict[int, int] = field(default_factory=dict)

    def start(
        self,
        options: RecordingOptions | None = None,
        *,
        at_s: float = 0.0,
        streams: tuple[events.StreamSnapshot, ...] = (),
        leg_order: tuple[str, ...] = (),
    ) -> Script:
        """Start the recording."""
        recording = a_recording(self.recording_id, options or RecordingOptions())
        started = events.RecordingStarted(recording=recording, streams=streams, leg_order=leg_order)
        return self.event(at_s, started)

    def facts(
        self,
        leg: str,
        *,
        codec: Codec = Codec.L16,
        rate_hz: int = 8000,
        channels: int = 1,
        tracks: tuple[Track, ...] = (Track.INBOUND,),
        clock: TrackClock = TrackClock.CONTIGUOUS,
        channel: Channel | None = None,
    ) -> events.StreamFacts:
        """Return the facts of a new stream, which is not opened yet."""
        self._streams += 1
        form = MediaFormat(codec, rate_hz, channels)
        self._step_bytes |= dict.fromkeys(range(2 * self._streams, 2 * self._streams + len(tracks)), form.step_bytes)
        return events.StreamFacts(
            stream=self._streams,
            leg=leg,
            dialect="pcm",
            format=form,
            clock=clock,
            tracks=tracks,
            first_track=2 * self._streams,
            channel=channel,
        )

    def open(self, facts: events.StreamFacts | str, *, at_s: float = 0.0) -> Leg:
        """Open a stream, by its facts or, a mono L16 one of 8 kHz, by its leg's name."""
        if isinstance(facts, str):
            facts = self.facts(facts)
        self.event(at_s, events.StreamOpened(facts=facts))
        return Leg(self, facts)

    def event(self, at_s: float, event: events.JournalEvent, *, rank: int = _BEFORE) -> Script:
        """Let anything happen."""
        at_us = round(at_s * 1e6)
        return self.add(at_us, rank, records.event_record(T0_US + at_us, event))

    def pause(self, at_s: float, *, journaled: bool = False) -> Script:
        """Pause the recording."""
        return self.event(at_s, events.RecordingPaused(recording_id=self.recording_id, journaled=journaled))

    def resume(self, at_s: float) -> Script:
        """Resume the recording."""
        return self.event(at_s, events.RecordingResumed(recording_id=self.recording_id))

    def stop(self, at_s: float, *, end_s: float | None = None) -> Script:
        """Stop the recording, after the frames that arrive in the same instant."""
        end_us = T0_US + round((at_s if end_s is None else end_s) * 1e6)
        stopped = events.RecordingStopped(recording_id=self.recording_id, reason=EndReason.STOPPED, end_us=end_us)
        return self.event(at_s, stopped, rank=_AFTER)

    def unread(self, from_s: float, to_s: float, *, stands_still: bool = False) -> Script:
        """Let the server read nothing for so long; ``stands_still``: it does nothing else either.

        What arrives meanwhile has to be given the arrival ``to_s`` or later.
        """
        self._unread.append((round(from_s * 1e6), round(to_s * 1e6), stands_still))
        return self

    def add(self, at_us: int, rank: int, record: bytes) -> Script:
        """Add a record at its time; events come before frames of the same instant, ends after them."""
        self._lines.append((at_us, rank, len(self._lines), record))
        self._last_us = max(self._last_us, at_us)
        return self

    def read_together(self, frames: int) -> Script:
        """Let up to so many frames of a track that follow each other come in one read, with the last of them."""
        made: list[tuple[int, int, int, bytes]] = []
        waiting: dict[int, list[tuple[int, int, int, bytes]]] = {}
        for line in sorted(self._lines, key=lambda line: line[:3]):
            record = line[3]
            _, kind, _, track, _, _ = records.RECORD.unpack_from(record)
            if kind != records.RecordKind.FRAME:
                # What is noted, or withheld, comes when all that came before was read.
                made += [one for lines in waiting.values() for one in _one_read(lines)]
                waiting.clear()
                made.append(line)
                continue
            together = waiting.setdefault(track, [])
            if together and not (len(together) < frames and self._follows(together[-1][3], record)):
                made += _one_read(together)
                together.clear()
            together.append(line)
        self._lines = made + [one for lines in waiting.values() for one in _one_read(lines)]
        return self

    def _follows(self, before: bytes, record: bytes) -> bool:
        """Return whether one frame follows another without a hole, with as many bytes."""
        length, _, _, track, _, start = records.RECORD.unpack_from(before)
        next_length, _, _, _, _, position = records.RECORD.unpack_from(record)
        goes_on_at: int = start + length // self._step_bytes[track]
        return bool(next_length == length and position == goes_on_at)

    def payloads(self, *, clock_s: float = 0.5, batch_s: float = 0.15) -> list[bytes]:
        """Return the journal's batches: clock records every ``clock_s``, a batch every ``batch_s``."""
        lines = list(self._lines)
        step = round(clock_s * 1e6)
        ticks = {*range(step, self._last_us + step, step)}
        for from_us, to_us, stands_still in self._unread:
            ticks -= {at_us for at_us in ticks if stands_still and from_us <= at_us < to_us}
            ticks |= {to_us}
        before_us = 0
        for at_us in sorted(ticks):
            parts_us = [min(at_us, to_us) - max(before_us, from_us) for from_us, to_us, _ in self._unread]
            unread_us = sum(part_us for part_us in parts_us if part_us > 0)
            record = records.clock_record(T0_US + at_us, unread_us=unread_us)
            lines.append((at_us, _BEFORE - 1, 0, record))
            before_us = at_us
        lines.sort(key=lambda line: line[:3])
        width = round(batch_s * 1e6)
        return [b"".join(line[3] for line in lines_of) for _, lines_of in groupby(lines, lambda line: line[0] // width)]

    def items(self, *, clock_s: float = 0.5, batch_s: float = 0.15) -> list[records.Item]:
        """Return the items that a reader of the journal gives."""
        batches = self.payloads(clock_s=clock_s, batch_s=batch_s)
        return [item for payload in batches for item in records.items(payload)]

    def journal(self) -> bytes:
        """Return a whole segment."""
        header = records.SegmentHeader(
            key="0" * 32, app_id="default", session_id="call-77", segment=1, created_us=T0_US
        )
        tag = tag_of(header.key)
        batches = [batch(number, payload, tag=tag, segment=1) for number, payload in enumerate(self.payloads())]
        return records.segment_header(header) + b"".join(batches)


def _one_read(lines: list[tuple[int, int, int, bytes]]) -> list[tuple[int, int, int, bytes]]:
    """Return frames that follow each other as they are noted when one read brings them."""
    if len(lines) < 2:
        return [*lines]
    at_us, rank, number, last = lines[-1]
    payloads = [record[records.RECORD.size :] for *_, record in lines]
    _, _, _, track, _, position = records.RECORD.unpack_from(lines[0][3])
    arrival_us = records.RECORD.unpack_from(last)[4]
    record = frames_record(*payloads, track=track, arrival_us=arrival_us, position=position)
    return [(at_us, rank, number, record)]


def encoded(samples: NDArray[np.int16], codec: Codec) -> bytes:
    """Payload bytes of samples, (n,) or (n, channels); for G.711 the nearest code of each."""
    if codec is Codec.L16:
        return samples.astype("<i2").tobytes()
    if codec is Codec.L16BE:
        return samples.astype(">i2").tobytes()
    table = decode(codec, 1, np.arange(256, dtype=np.uint8))[:, 0].astype(np.int64)
    order = table.argsort(kind="stable")
    near = np.searchsorted(table[order], samples.reshape(-1)).clip(1, 255)
    left, right = table[order[near - 1]], table[order[near]]
    flat = samples.reshape(-1)
    codes = np.where(flat - left <= right - flat, order[near - 1], order[near])
    return bytes(codes.astype(np.uint8))
