"""One live media stream: its frames go into the session's journal, or not.

A frame meets one of four rules, and which one is decided when the session's recordings change, not per frame:

1. *forget*: no recording runs, and the frame is only counted;
2. *journal*: a recording runs, and head and payload go to the journal, of all the messages that were read together;
3. *withhold*: every running recording is paused, and a record without payload goes to the journal: time goes on;
4. *guard*: a pause is just over, and frames whose media time still lies in the pause (a stall that now delivers what
   was said during it) are withheld too, until the first that was said after it.

Media time is judged here by the smallest (arrival - media position) of the last 10 to 20 s. That is rougher than what
the fold does with the whole journal, and it may only err by withholding a frame too many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from wavstream.dialects.events import Frame, StreamStarted, parts
from wavstream.journal.events import StreamFacts, StreamSnapshot
from wavstream.journal.records import RECORD, RecordKind, withheld_record
from wavstream.model.audio import NOMINAL_PTIME_US, TrackClock
from wavstream.sessions.inspection import StreamInspection
from wavstream.sessions.ports import StreamHandle

_NEVER = math.inf
_FRAME, _FRAMES = int(RecordKind.FRAME), int(RecordKind.FRAMES)
_AHEAD_US = 500_000
_LONGEST_WAIT_US = 300_000
"""Of anything in the kernel, below the mark of a socket that has gone quiet."""

# Plain integers: reading a member of an Enum takes 0.1 us, and there are up to three a frame.
_FORGET, _JOURNAL, _WITHHOLD, _GUARD = range(4)


class Stream:
    """The frames of one media socket, and what they meet."""

    __slots__ = (
        "_append",
        "_first_track",
        "_floor_us",
        "_guard_until_us",
        "_last_floor_us",
        "_rule",
        "_sample_us",
        "_sent",
        "_stream_id",
        "facts",
        "frames",
        "handle",
        "inspection",
        "joined_us",
        "last_arrival_us",
        "latest",
        "position",
        "returns_audio",
        "wants_silence",
        "wire_codec",
    )

    def __init__(self, *, facts: StreamFacts, handle: StreamHandle, joined_us: int, started: StreamStarted) -> None:
        self.facts = facts
        self.handle = handle
        self.joined_us = joined_us
        self.wants_silence = started.keepalive
        self.returns_audio = started.returns_audio
        self.wire_codec = started.wire_codec
        """None: it is the format's."""
        self._stream_id = started.stream_id
        self.position = 0
        """Samples of each channel so far."""
        self.frames = 0
        self.last_arrival_us = joined_us
        self.latest: list[Frame | None] = [None] * len(facts.tracks)
        """The last frame of each track: what its level is told of, when somebody asks."""
        self.inspection = StreamInspection(facts)
        # Positions count samples, but timestamps do not.
        self._sent = [0] * len(facts.tracks) if facts.clock is TrackClock.TIMESTAMPED else None
        self._first_track = facts.first_track
        self._sample_us = 1_000_000 / facts.format.rate_hz
        self._floor_us = _NEVER
        self._last_floor_us = _NEVER
        self._guard_until_us = 0
        self._append: Callable[[bytes], None] = _forget
        self._rule = _FORGET

    def gives_way_to(self, facts: StreamFacts, stream_id: str | None) -> bool:
        """Return whether a newer stream takes this one's place: same leg, same track, and no parallel stream."""
        parallel = None not in (self._stream_id, stream_id) and self._stream_id != stream_id
        return not parallel and self.facts.leg == facts.leg and not set(self.facts.tracks).isdisjoint(facts.tracks)

    def is_ahead(self, now_us: int) -> bool:
        """Return whether it has sent audio that cannot have been said by now."""
        samples = self.position if self._sent is None else max(self._sent)
        return self.joined_us + samples * self._sample_us > now_us + _AHEAD_US

    @property
    def frame_samples(self) -> int:
        """Samples of each channel in the newest message of the first track; 0: there is none."""
        frame = self.latest[0]
        return 0 if frame is None else frame.samples // frame.messages

    # ---- which rule frames meet --------------------------------------------------------------------------------

    def forget_frames(self) -> None:
        """Apply rule 1: no recording runs."""
        self._rule = _FORGET

    def journal_frames(self, append: Callable[[bytes], None]) -> None:
        """Apply rule 2: a recording runs. What a pause that is just over still guards stays guarded."""
        self._append = append
        if self._rule != _GUARD:
            self._rule = _JOURNAL

    def withhold_frames(self, append: Callable[[bytes], None]) -> None:
        """Apply rule 3: every running recording is paused."""
        self._append = append
        self._rule = _WITHHOLD

    def guard_frames(self, append: Callable[[bytes], None], pause_end_us: int) -> None:
        """Apply rule 4: a pause ended at ``pause_end_us``; withhold what was said before that."""
        self._append = append
        self._guard_until_us = pause_end_us
        # Where silence is suppressed, media time is arrival: what arrives after the pause was said after it.
        self._rule = _JOURNAL if self.facts.clock is TrackClock.ARRIVAL else _GUARD

    # ---- media time --------------------------------------------------------------------------------------------

    def snapshot(self) -> StreamSnapshot:
        """Return the stream as a recording that starts now finds it."""
        floor_us = min(self._floor_us, self._last_floor_us)
        return StreamSnapshot(
            facts=self.facts,
            joined_us=self.joined_us,
            position=self.position,
            floor_us=None if floor_us == _NEVER else round(floor_us) + NOMINAL_PTIME_US,
        )

    def turn_window(self) -> None:
        """Forget the floor of the window before the last, so that drift cannot hide in it; called every 10 s."""
        if self._floor_us != _NEVER:
            self._last_floor_us, self._floor_us = self._floor_us, _NEVER

    def ended_us(self, closed_us: int) -> int:
        """Return when it ended whose end was read at ``closed_us``: with its last audio, if the end may have come then.

        A close frame waits to be read as audio does, but is not followed by more of it.
        """
        floor_us = min(self._floor_us, self._last_floor_us)
        if floor_us == _NEVER or self.facts.clock is TrackClock.ARRIVAL:
            return closed_us
        said_us = round(floor_us + self.position * self._sample_us)
        return said_us if 0 <= closed_us - said_us <= _LONGEST_WAIT_US else closed_us

    def inspect(self, now_us: int) -> Sequence[str]:
        """Look at what has come by now, about every 150 ms; return what has become suspicious."""
        inspection = self.inspection
        if now_us < inspection.next_us or self.last_arrival_us == inspection.rests_us or not self.frames:
            return ()
        samples = (self.position,) if self._sent is None else self._sent
        return inspection.visit(now_us, arrived_us=self.last_arrival_us, samples=samples, latest=self.latest)

    # ---- once a frame ------------------------------------------------------------------------------------------

    def frame(self, frame: Frame, arrival_us: int) -> None:
        """Take in audio, at the time of its arrival; it meets one of the four rules."""
        position = frame.position
        rule = self._rule
        if rule == _GUARD:
            if frame.messages > 1:
                for message in parts(frame):
                    self.frame(message, arrival_us)
                return
            withheld = self._guarded_samples(frame)
            if withheld < frame.samples:  # rule 4 is over
                if withheld:
                    before, frame = _cut(frame, withheld)
                    self._append_withheld(before, arrival_us)
                    position = frame.position
                self._rule = rule = _JOURNAL
        self.position = end = position + frame.samples
        lag_us = arrival_us - end * self._sample_us
        if lag_us < self._floor_us:
            self._floor_us = lag_us
        self.last_arrival_us = arrival_us
        self.latest[frame.track] = frame
        self.frames += (messages := frame.messages)
        if self._sent is not None:
            self._sent[frame.track] += frame.samples
        if rule == _JOURNAL:  # rule 2: twice append, of a packed head and of the payload, is the cheapest record
            payload = frame.payload
            append = self._append
            track = self._first_track + frame.track
            if messages == 1:
                append(_pack(len(payload), _FRAME, 0, track, arrival_us, position))
            else:
                append(_pack(len(payload), _FRAMES, messages, track, arrival_us, position))
            append(payload)
        elif rule != _FORGET:  # rules 3 and 4
            self._append_withheld(frame, arrival_us)

    def _append_withheld(self, frame: Frame, arrival_us: int) -> None:
        track = self._first_track + frame.track
        self._append(
            withheld_record(track=track, arrival_us=arrival_us, position=frame.position, samples=frame.samples)
        )

    def _guarded_samples(self, frame: Frame) -> int:
        """Return how many samples of a frame were said before the pause's end, as far as earlier frames tell."""
        floor_us = min(self._floor_us, self._last_floor_us)
        if floor_us == _NEVER:  # nothing tells, and what comes now came after the pause
            return 0
        said_us = floor_us + frame.position * self._sample_us
        return min(max(math.ceil((self._guard_until_us - said_us) / self._sample_us), 0), frame.samples)


def facts_of(started: StreamStarted, *, leg: str, dialect: str, stream: int, first_track: int) -> StreamFacts:
    """Return what the journal has to know of a stream; ``stream`` and ``first_track`` number it and its tracks."""
    return StreamFacts(
        stream=stream,
        leg=leg,
        is_named=started.leg is not None,
        dialect=dialect,
        format=started.format,
        clock=started.clock,
        tracks=started.tracks,
        first_track=first_track,
        channel=started.channel,
    )


def _cut(frame: Frame, samples: int) -> tuple[Frame, Frame]:
    """Return the first samples of a message's frame, and the rest."""
    at = len(frame.payload) // frame.samples * samples
    return (
        Frame(frame.track, frame.position, samples, frame.payload[:at]),
        Frame(frame.track, frame.position + samples, frame.samples - samples, frame.payload[at:]),
    )


_pack = RECORD.pack


def _forget(_record: bytes) -> None:
    raise AssertionError("a stream without a journal was asked to write")
