"""The parties of a call: their order of arrival, which of them are away, and which have heard the recording tone.

A leg is *away* when its stream was lost and may come back within the reconnect wait.

Which leg a stream is of that names none:

1. the leg without a name that is away, unless the stream says of itself that it is another one: it brings none of the
   tracks that were lost, or asks for another channel;
2. of several the one whose stream was most like it (dialect, format, clock, tracks), and of equals the one that is away
   the longest;
3. else a new one, with the first free letter. What was hung up does not come back, and a stream that is open is nobody
   else's: only a name tells that a new socket takes its place.

The tone that says that a recording runs is played to all that stream when a recording with a beep starts, and to each
leg that joins while it runs, by the leg's first stream. A leg that comes back has heard it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from wavstream.dialects.events import StreamStarted
from wavstream.errors import LimitReached
from wavstream.journal.events import StreamFacts
from wavstream.model.recording import Recording
from wavstream.rendering.mixer.mix import beep
from wavstream.sessions.intake import MAX_LEGS
from wavstream.sessions.stream import Stream


@dataclass(frozen=True, slots=True)
class Away:
    """What was lost of a leg, until when it is waited for, and who lost it."""

    stream: StreamFacts
    deadline_us: int
    by_restart: bool
    """A restart of ours lost it, not the network or the peer."""


class Legs:
    """The legs of one session."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """In order of arrival, gone ones too."""
        self.away: dict[str, Away] = {}
        """By name, in the order in which they were lost."""

    def begin_anew(self) -> None:
        """Forget them all: nobody is waited for, and the first letter is free again."""
        self.names, self.away = [], {}

    def name_of(self, started: StreamStarted, *, dialect: str) -> str:
        """Return the leg of a stream that joins: the one that it names, else by the rules above."""
        if started.leg is not None:
            return started.leg
        lost = [away.stream for away in self.away.values() if _may_be_back(away.stream, started)]
        if not lost:
            return self._free_letter()
        return max(lost, key=lambda stream: _likeness(stream, started, dialect)).leg  # of equals max takes the first

    def check_room(self, name: str) -> None:
        """Raise LimitReached if this would be a leg too many."""
        if len(self.names) >= MAX_LEGS and name not in self.names:
            raise LimitReached(f"the call has had {MAX_LEGS} legs, as many as it may", retry_after_s=60)

    def arrive(self, name: str) -> None:
        """Note that a stream of this leg is there, for the first time or again."""
        if name not in self.names:
            self.names.append(name)
        self.away.pop(name, None)

    def lose(self, stream: StreamFacts, *, deadline_us: int, by_restart: bool = False) -> None:
        """Note that the last stream of a leg is lost; the leg may come back until the deadline."""
        self.away[stream.leg] = Away(stream, deadline_us, by_restart)

    def put_off(self, by_us: int) -> None:
        """Wait so much longer for all that are away."""
        self.away = {name: replace(away, deadline_us=away.deadline_us + by_us) for name, away in self.away.items()}

    def give_up(self, now_us: int) -> list[Away]:
        """Stop waiting for those whose time is over; return them."""
        overdue = [name for name, away in self.away.items() if now_us >= away.deadline_us]
        return [self.away.pop(name) for name in overdue]

    def _free_letter(self) -> str:
        """Return the first letter that is not taken."""
        letters = (chr(code) for code in range(ord("a"), ord("z") + 1))
        return next((letter for letter in letters if letter not in self.names), f"leg-{len(self.names) + 1}")


def _may_be_back(lost: StreamFacts, started: StreamStarted) -> bool:
    """Return whether a stream without a name may be the lost one come back (rule 1)."""
    same_track = not set(lost.tracks).isdisjoint(started.tracks)
    return not lost.is_named and same_track and lost.channel == started.channel


def _likeness(lost: StreamFacts, started: StreamStarted, dialect: str) -> int:
    """Return how many of the things that a stream says of itself are as they were (rule 2)."""
    before = (lost.dialect, lost.format, lost.clock, lost.tracks)
    now = (dialect, started.format, started.clock, started.tracks)
    return sum(was == is_ for was, is_ in zip(before, now, strict=True))


class RecordingTone:
    """Who has heard the tone of which of a session's running recordings."""

    def __init__(self) -> None:
        self._heard: dict[str, set[str]] = {}
        """The legs that have heard that of a recording, by its id."""

    def start(self, recording: Recording, streams: Sequence[Stream]) -> tuple[int, ...]:
        """Play the tone of a recording that starts; return the streams whose outbound track brings it back."""
        self.heard([recording], (stream.facts.leg for stream in streams))
        if recording.id not in self._heard:
            return ()
        for stream in streams:
            _play_to(stream)
        return tuple(stream.facts.stream for stream in streams if stream.returns_audio)

    def heard(self, recordings: Iterable[Recording], legs: Iterable[str]) -> None:
        """Note that these legs have heard of these recordings, as far as they beep."""
        legs = set(legs)
        self._heard |= {recording.id: {*legs} for recording in recordings if recording.options.beep}

    def join(self, stream: Stream) -> None:
        """Play a stream that joins a tone that its leg has not heard."""
        unaware = [legs for legs in self._heard.values() if stream.facts.leg not in legs]
        for legs in unaware:
            legs.add(stream.facts.leg)
        if unaware:
            _play_to(stream)

    def end(self, recording_id: str) -> None:
        """Forget a recording that is over."""
        self._heard.pop(recording_id, None)


def _play_to(stream: Stream) -> None:
    stream.handle.play(beep(stream.facts.format.rate_hz))
