"""All that a recording's streams are inspected for, from the frames that its journal has.

What comes between two canonical points is one moment: the arrival of the last frame, and how much audio had come by
then. Nearly always only its bytes are counted.
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
    from wavstream.rendering.timeline.frames import Arrivals

_REAL_TIME = 0.95
_PIECE_US = 450_000
"""Of what came one piece is looked at for each so much."""
_MOST_PIECES = 8
_PIECE_BYTES = 4096
"""No more of what came is looked at."""


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

    def look(self, came: Mapping[int, Arrivals]) -> None:
        """Take in what has come, by the number that frames carry."""
        for number, of_lane in came.items():
            lane = self._lanes[number]
            lane.octets += of_lane.octets
            lane.points -= 1
            if lane.points <= 0:
                lane.look(of_lane)

    def pace(self, leg: str, track: Track) -> float | None:
        """Return the pace of a track; None: it is not known."""
        lanes = [lane for lane in self._of(leg, track) if lane.inspection.pace.value is not None]
        return max(lanes, key=lambda lane: lane.inspection.pace.watched_us).inspection.pace.value if lanes else None

    def suspicions(self, leg: str, track: Track) -> tuple[str, ...]:
        """Return what was probably described wrongly of a track, each once, whichever streams brought it."""
        return tuple(dict.fromkeys(text for lane in self._of(leg, track) for text in lane.inspection.suspicions))

    def _of(self, leg: str, track: Track) -> list[_Lane]:
        return [lane for lane in self._lanes.values() if lane.facts.leg == leg and track in lane.tracks]


class _Lane:
    """One sequence of frames: a track, or two interleaved ones."""

    __slots__ = ("_arrived_us", "_byte_rate", "_looked_octets", "facts", "inspection", "octets", "points", "tracks")

    def __init__(self, facts: StreamFacts, tracks: tuple[Track, ...]) -> None:
        self.facts = facts
        self.tracks = tracks
        self.inspection = Inspection(facts.format, facts.dialect)
        self.octets = 0
        """So far; timestamps do not count, since they say when and not how much."""
        self.points = 0
        """How many canonical points are to pass before the next look; they are about a second apart."""
        self._byte_rate = facts.format.rate_hz * facts.format.step_bytes
        self._looked_octets = 0
        self._arrived_us: int | None = None

    def look(self, came: Arrivals) -> None:
        """Look at what has come by now; ``came``: the newest of it."""
        inspection, before_us, last_us = self.inspection, self._arrived_us, came.last_us
        if before_us is None:
            before_us = came.first_us
            inspection.pace.look(before_us, self._media_us(came.first_octets))
        if inspection.is_close and self._is_slow(last_us - before_us):
            waits_us = np.diff(came.frames().arrival_us, prepend=before_us)
            if int(waits_us.max()) > PAUSE_US:
                inspection.pace.pause()
        self._looked_octets, self._arrived_us = self.octets, last_us
        inspection.look(last_us, self._media_us(self.octets), *self._payloads(came))
        self.points = inspection.next_look_s

    def _payloads(self, came: Arrivals) -> list[bytes]:
        """Return what is looked at of what came: more of more, however many clock records it came between."""
        if not self.inspection.listens:
            return []
        octets, step_bytes = came.rows.octets(), came.step_bytes
        parts = max(1, min(_MOST_PIECES, self._media_us(len(octets)) // _PIECE_US))
        part_bytes = len(octets) // (parts * step_bytes) * step_bytes
        return [octets[part * part_bytes :][:_PIECE_BYTES] for part in range(parts)]

    def _is_slow(self, time_us: int) -> bool:
        return self._media_us(self.octets - self._looked_octets) < _REAL_TIME * time_us

    def _media_us(self, octets: int) -> int:
        return octets * 1_000_000 // self._byte_rate
