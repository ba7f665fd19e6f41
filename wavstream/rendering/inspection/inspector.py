"""All that a recording's streams are inspected for, from the frames that its journal has.

What comes between two canonical points is one moment: the arrival of the last frame, and how much audio had come by
then. Where that is as much as time has passed, which is nearly always, nothing else is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.pace import PAUSE_US
from wavstream.rendering.inspection.inspection import Inspection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wavstream.journal.events import StreamFacts
    from wavstream.model.audio import Track
    from wavstream.rendering.timeline.frames import Frames

_REAL_TIME = 0.95


class Inspector:
    """The tracks of one recording."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        """By the number that their frames carry, those of streams that are over too."""

    def open(self, facts: StreamFacts) -> None:
        """Look at the frames of a stream from here on."""
        number = facts.first_track
        groups = [facts.tracks] if facts.format.channels > 1 else [(track,) for track in facts.tracks]
        for tracks in groups:
            self._lanes[number] = _Lane(facts, tracks)
            number += len(tracks)

    def look(self, frames: Mapping[int, Frames]) -> None:
        """Take in what has come, by the number that frames carry."""
        for number, of_lane in frames.items():
            self._lanes[number].look(of_lane)

    def pace(self, leg: str, track: Track) -> float | None:
        """Return the pace of a track; None: it is not known."""
        lanes = [lane for lane in self._of(leg, track) if lane.inspection.pace.value is not None]
        return max(lanes, key=lambda lane: lane.inspection.pace.known_us).inspection.pace.value if lanes else None

    def suspicions(self, leg: str, track: Track) -> tuple[str, ...]:
        """Return what was probably described wrongly of a track, each once, whichever streams brought it."""
        return tuple(dict.fromkeys(text for lane in self._of(leg, track) for text in lane.inspection.suspicions))

    def _of(self, leg: str, track: Track) -> list[_Lane]:
        return [lane for lane in self._lanes.values() if lane.facts.leg == leg and track in lane.tracks]


class _Lane:
    """One sequence of frames: a track, or two interleaved ones."""

    __slots__ = ("_arrived_us", "_media_us", "_samples", "facts", "inspection", "tracks")

    def __init__(self, facts: StreamFacts, tracks: tuple[Track, ...]) -> None:
        self.facts = facts
        self.tracks = tracks
        self.inspection = Inspection(facts.format, facts.dialect)
        self._samples = 0
        """Of each channel, so far; timestamps do not count, since they say when and not how much."""
        self._media_us = 0
        self._arrived_us: int | None = None

    def look(self, frames: Frames) -> None:
        form, arrival_us = self.facts.format, frames.arrival_us
        before_us = self._arrived_us
        if before_us is None:
            before_us = int(arrival_us[0])
            first = int(frames.end[0] - frames.start[0])
            self._media_us = first * 1_000_000 // form.rate_hz
            self.inspection.look(before_us, self._media_us, b"")
        last_us = int(arrival_us[-1])
        if frames.fate is None:
            self._samples += len(frames.payload) // form.step_bytes
        else:  # a pause kept some of it out of the journal
            self._samples += int((frames.end - frames.start).sum())
        media_us = self._samples * 1_000_000 // form.rate_hz
        if media_us - self._media_us < _REAL_TIME * (last_us - before_us) and (
            int(arrival_us[0]) - before_us > PAUSE_US or (len(frames) > 1 and int(np.diff(arrival_us).max()) > PAUSE_US)
        ):
            self.inspection.pace.pause()
        self._media_us, self._arrived_us = media_us, last_us
        self.inspection.look(last_us, media_us, frames.payload)
