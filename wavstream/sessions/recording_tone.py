"""Who has heard the tone that says that a recording runs.

It is played to all that stream when a recording with a beep starts, and to each leg that joins while it runs, by the
leg's first stream. A leg that comes back has heard it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavstream.model.recording import Recording
from wavstream.rendering.mixer.mix import beep
from wavstream.sessions.stream import Stream


class RecordingTone:
    """The beeps of one session's running recordings."""

    def __init__(self) -> None:
        self._told: dict[str, set[str]] = {}
        """The legs that have heard that of a recording, by its id."""

    def start(self, recording: Recording, streams: Sequence[Stream]) -> tuple[int, ...]:
        """It starts with these streams: play its beep. Gives those whose outbound track brings the tone back."""
        self.told([recording], (stream.facts.leg for stream in streams))
        if recording.id not in self._told:
            return ()
        for stream in streams:
            _play_to(stream)
        return tuple(stream.facts.stream for stream in streams if stream.returns_audio)

    def told(self, recordings: Iterable[Recording], legs: Iterable[str]) -> None:
        """These legs know of these recordings, of those that beep."""
        legs = set(legs)
        self._told |= {recording.id: {*legs} for recording in recordings if recording.options.beep}

    def join(self, stream: Stream) -> None:
        """A stream is there: play it a beep that its leg has not heard."""
        untold = [legs for legs in self._told.values() if stream.facts.leg not in legs]
        for legs in untold:
            legs.add(stream.facts.leg)
        if untold:
            _play_to(stream)

    def end(self, recording_id: str) -> None:
        """The recording is over."""
        self._told.pop(recording_id, None)


def _play_to(stream: Stream) -> None:
    stream.handle.play(beep(stream.facts.format.rate_hz))
