"""The audio between two records of other kinds, sorted by track as it is read.

A reader that costs what its bytes cost looks at each record once: its head goes into four columns of its track, and of
its payload a view is kept, so that nothing is copied before it is known where it goes. Columns are arrays of the
standard library: one number is appended in 0.03 us, and numpy takes all of them without a copy.

1. A track keeps its order. Which frame of one track came before which of another is not kept: arrivals tell it.
2. Views keep all that was read in memory. What has to wait is made ``owned``: each track has one payload of its own.
3. Nobody changes a run that the reader has handed out, but the reader itself until its read is over: it goes on with
   the last one where only the border of a batch lies between.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

_Number = Callable[[int], None]
Put = tuple[_Number, _Number, _Number, _Number, Callable[[memoryview], None]]
"""What appends to the columns of a track, a C call each: arrival, position, size, frames, payload."""


class TrackFrames:
    """The frames of one track, in order of arrival: a row for each record."""

    __slots__ = ("arrival_us", "frames", "payload", "position", "size")

    def __init__(self) -> None:
        self.arrival_us = array("q")
        self.position = array("q")
        """Media time of the first sample."""
        self.size = array("q")
        """Bytes of the payload; of what was withheld: samples of each channel."""
        self.frames = array("q")
        """How many frames the row is."""
        self.payload: list[memoryview | bytes] = []
        """All payloads, in order; one of these may hold those of several rows."""

    def __len__(self) -> int:
        return len(self.size)

    def followed_by(self, others: Iterable[TrackFrames]) -> TrackFrames:
        """Return its rows and then those of others."""
        all_of_them = TrackFrames.__new__(TrackFrames)
        arrival_us, position, size = self.arrival_us[:], self.position[:], self.size[:]
        frames, payload = self.frames[:], self.payload[:]
        for other in others:
            arrival_us += other.arrival_us
            position += other.position
            size += other.size
            frames += other.frames
            payload += other.payload
        all_of_them.arrival_us, all_of_them.position, all_of_them.size = arrival_us, position, size
        all_of_them.frames, all_of_them.payload = frames, payload
        return all_of_them

    def octets(self) -> bytes:
        """Return all payloads as one."""
        return b"".join(self.payload)

    def rows(self, first: int, end: int, *, withheld: bool) -> TrackFrames:
        """Return some of the rows."""
        part = TrackFrames()
        part.arrival_us, part.position = self.arrival_us[first:end], self.position[first:end]
        part.size, part.frames = self.size[first:end], self.frames[first:end]
        if not withheld:
            begin = sum(self.size[:first])
            part.payload.append(self.octets()[begin : begin + sum(part.size)])
        return part


class FrameRun:
    """Consecutive FRAME and FRAMES records, or WITHHELD ones, of all tracks."""

    __slots__ = ("is_owned", "puts", "tracks", "withheld")

    def __init__(self, *, withheld: bool = False) -> None:
        self.withheld = withheld
        """Whether it is what a pause kept out: there is no payload, and sizes are samples."""
        self.tracks: dict[int, TrackFrames] = {}
        """By number."""
        self.is_owned = False
        """Whether it keeps nothing but itself in memory."""
        self.puts: dict[int, Put] = {}
        """What appends to the columns of each track."""

    def __deepcopy__(self, memo: dict[int, Any]) -> FrameRun:
        """Return the same one: it does not change (rule 3)."""
        return self

    def add(self, track: int) -> Put:
        """Make the columns of a track; return what appends to them."""
        made = self.tracks[track] = TrackFrames()
        self.puts[track] = puts = (
            made.arrival_us.append, made.position.append, made.size.append, made.frames.append, made.payload.append
        )  # fmt: skip
        return puts

    @property
    def last_us(self) -> int:
        """The last arrival."""
        return max(frames.arrival_us[-1] for frames in self.tracks.values())

    @property
    def size_bytes(self) -> int:
        """Of all payloads."""
        return 0 if self.withheld else sum(sum(frames.size) for frames in self.tracks.values())

    def split(self, at_us: int) -> tuple[FrameRun, FrameRun]:
        """Return what came before that moment, and the rest."""
        before, rest = FrameRun(withheld=self.withheld), FrameRun(withheld=self.withheld)
        for number, frames in self.tracks.items():
            count = bisect_left(frames.arrival_us, at_us)
            for part, first, end in ((before, 0, count), (rest, count, len(frames))):
                if end > first:
                    part.tracks[number] = frames.rows(first, end, withheld=self.withheld)
        return before, rest


def owned(runs: Sequence[FrameRun]) -> list[FrameRun]:
    """Return the same frames in runs that keep nothing of what was read in memory; those that are alike become one.

    Each is copied once, however often this is asked: the hours of a sender that is ahead of the clock wait for it.
    """
    kept: list[FrameRun] = []
    for (withheld, is_owned), alike in groupby(runs, lambda run: (run.withheld, run.is_owned)):
        if is_owned:
            kept += alike
            continue
        one = FrameRun(withheld=withheld)
        one.tracks, one.is_owned = joined(alike), True
        for number, frames in one.tracks.items():
            own = one.tracks[number] = frames.followed_by(())
            own.payload = [frames.octets()]
        kept.append(one)
    return kept


def joined(runs: Iterable[FrameRun]) -> dict[int, TrackFrames]:
    """Return the frames of each track, by its number, of runs that follow each other."""
    parts: dict[int, list[TrackFrames]] = {}
    for run in runs:
        for number, frames in run.tracks.items():
            parts.setdefault(number, []).append(frames)
    return {number: first.followed_by(others) if others else first for number, (first, *others) in parts.items()}
