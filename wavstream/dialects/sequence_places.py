"""Where frames lie that have no time, but numbers: each number is a message of the same length.

1. A frame whose number follows the one before it on its track lies behind it. What the numbers leave out leaves room.
2. A number that was there lately has the place that it had: the timeline knows duplicates by that. One that was
   overtaken lies behind the nearest one below it. One that is missing, or far from those before it, says nothing: its
   frame follows directly.
3. Numbers count the messages of a track, or those of the stream. They are known to count a track's as soon as two
   tracks have a number in common, or if there is one track only. Until then a hole is known, and not whose it is: it
   leaves no room.
4. The first frame of a track lies beside the last one of the other.
"""

from __future__ import annotations

from typing import NamedTuple

from wavstream.dialects.events import Reason
from wavstream.dialects.json_media import whole_number

_MOST_MISSING = 3_000
"""Messages: a minute. More is no loss but another numbering."""
_REMEMBERED = 64
"""Messages of a track in which a duplicate, or one that was overtaken, is known."""
_MOST_ROOM = 2_880_000
"""Samples: a minute at the highest rate."""
_WRAP = 2**42
"""Positions wrap after 2.9 years at the highest rate, so that one, times a million, is below 2**63."""


class Place(NamedTuple):
    """What becomes of a frame."""

    position: int
    """In samples."""
    reason: Reason | None
    """What is to be counted."""


class _Numbers:
    """What has come of one track."""

    __slots__ = ("end", "first", "last", "recent")

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None
        self.end = 0
        """Where the next frame lies, if nothing is missing."""
        self.recent: dict[int, int] = {}
        """Numbers that came lately, with the ends of their frames; the newest last."""


class SequencePlaces:
    """The places of all frames of one stream."""

    def __init__(self, tracks: int) -> None:
        self._tracks = [_Numbers() for _ in range(tracks)]
        self._counts_tracks = tracks == 1
        """Whether numbers are known to count the messages of a track (rule 3)."""
        self._newest: int | None = None

    def place(self, track: int, number: object, samples: int) -> Place:
        """Return where a frame lies."""
        numbers = self._tracks[track]
        whole = whole_number(number)
        if numbers.last is None and not numbers.end:
            numbers.end = max(0, max(each.end for each in self._tracks) - samples)  # rule 4
        if whole is None:
            is_numbered = number is not None or numbers.last is not None
            return self._follow(numbers, samples, Reason.SEQUENCE_BROKEN if is_numbered else None)
        if whole in numbers.recent:
            return Place(max(0, numbers.recent[whole] - samples), None)
        if not self._counts_tracks:
            others = (each for each in self._tracks if each is not numbers)
            self._counts_tracks = any(whole == each.first or whole in each.recent for each in others)
        last, newest = numbers.last, self._newest
        if last is not None and whole < last:
            return self._late(numbers, whole, samples)
        before = last if self._counts_tracks else newest
        missing = 0 if before is None else max(0, whole - before - 1)
        self._newest = whole if newest is None else max(newest, whole)
        numbers.last = whole
        if numbers.first is None:
            numbers.first = whole
            # A track may begin late; only one that has begun can lack something.
            missing = 0
        if missing > _MOST_MISSING or missing * samples > _MOST_ROOM:
            return self._remember(numbers, whole, self._follow(numbers, samples, Reason.SEQUENCE_BROKEN))
        if self._counts_tracks:
            numbers.end += missing * samples  # rule 1
            missing = 0
        return self._remember(numbers, whole, self._follow(numbers, samples, Reason.SEQUENCE_GAP if missing else None))

    def _late(self, numbers: _Numbers, whole: int, samples: int) -> Place:
        """Return the place of a frame that was overtaken, or whose numbers began anew (rule 2)."""
        below = max((number for number in numbers.recent if number < whole), default=None)
        if below is None:
            numbers.last = self._newest = whole
            numbers.recent.clear()
            return self._remember(numbers, whole, self._follow(numbers, samples, Reason.SEQUENCE_BROKEN))
        missing = whole - below - 1 if self._counts_tracks else 0
        position = numbers.recent[below] + missing * samples
        return self._remember(numbers, whole, Place(position, None), position + samples)

    @staticmethod
    def _follow(numbers: _Numbers, samples: int, reason: Reason | None) -> Place:
        position = numbers.end % _WRAP
        numbers.end = position + samples
        return Place(position, reason)

    @staticmethod
    def _remember(numbers: _Numbers, whole: int, place: Place, end: int | None = None) -> Place:
        """Note where the frame of this number ends: where the track does, unless it was overtaken."""
        recent = numbers.recent
        recent[whole] = numbers.end if end is None else end
        if len(recent) > _REMEMBERED:
            del recent[next(iter(recent))]
        return place
