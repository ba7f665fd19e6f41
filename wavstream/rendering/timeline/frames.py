"""The frames of one track (or two interleaved ones) between two moments, as arrays.

A run of the journal holds frames of several tracks as they came. What a record holds, be it several frames that came
in one read, is one row here: one longer frame, whose lag is that of its end. Only who counts frames counts each of
them. ``gather`` sorts the runs of a moment by track, keeping the order of arrival, with a number of numpy calls that
does not grow with the number of frames. Its result does not depend on where runs were cut: runs of one form are joined
first, and a track whose frames have several is put back in order.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wavstream.journal.records import FrameRun


_T = TypeVar("_T", bound=np.generic)


class Fate(IntEnum):
    """What becomes of a frame."""

    MIXED = 0
    WITHHELD = 1
    """It has no payload: a pause kept it out of the journal."""


@dataclass(slots=True, eq=False)
class Frames:
    """Frames in order of arrival; all arrays but ``payload`` have n rows."""

    arrival_us: NDArray[np.int64]
    """From the start of the recording."""
    start: NDArray[np.int64]
    """Position of the first sample."""
    end: NDArray[np.int64]
    """Position after the last sample."""
    payload: NDArray[np.uint8]
    """All payloads, one after another, contiguous."""
    fate: NDArray[np.uint8] | None = None
    """Fates; None: all are mixed."""
    lag_us: NDArray[np.int64] = field(default_factory=lambda: _NO_LAGS)
    """Set when the source receives the frames."""
    counts: NDArray[np.int64] | None = None
    """Of how many frames each row is; None: of one."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def number(self) -> int:
        """How many frames they are."""
        return len(self) if self.counts is None else int(self.counts.sum())

    def counted(self) -> NDArray[np.int64]:
        """Return of how many frames each row is, also where all are of one."""
        return np.ones(len(self), np.int64) if self.counts is None else self.counts

    def fates(self) -> NDArray[np.uint8]:
        """Return fates as an array, also where all are mixed."""
        return np.zeros(len(self), np.uint8) if self.fate is None else self.fate

    def cut(self, count: int, step_bytes: int) -> tuple[Frames, Frames]:
        """Return the first ``count`` frames, and the others."""
        samples = self.end[:count] - self.start[:count]
        if self.fate is not None:
            samples = samples[self.fate[:count] != Fate.WITHHELD]
        at = int(samples.sum()) * step_bytes
        return self._rows(slice(None, count), self.payload[:at]), self._rows(slice(count, None), self.payload[at:])

    def payload_of(self, row: int, step_bytes: int) -> NDArray[np.uint8]:
        """Return the payload of one frame."""
        _, rest = self.cut(row, step_bytes)
        size = int(rest.end[0] - rest.start[0]) * step_bytes
        is_withheld = rest.fate is not None and rest.fate[0] == Fate.WITHHELD
        return rest.payload[: 0 if is_withheld else size]

    def take(self, rows: NDArray[np.int64], step_bytes: int) -> Frames:
        """Return these rows, in this order."""
        size = (self.end - self.start) * step_bytes
        if self.fate is not None:
            size[self.fate == Fate.WITHHELD] = 0
        after = np.cumsum(size)
        pieces = [self.payload[after[row] - size[row] : after[row]] for row in rows.tolist()]
        return Frames(
            self.arrival_us.take(rows),
            self.start.take(rows),
            self.end.take(rows),
            np.concatenate(pieces) if pieces else self.payload[:0],
            None if self.fate is None else self.fate.take(rows),
            self.lag_us.take(rows) if len(self.lag_us) else self.lag_us,
            None if self.counts is None else self.counts.take(rows),
        )

    def _rows(self, rows: slice, payload: NDArray[np.uint8]) -> Frames:
        fate = None if self.fate is None else self.fate[rows]
        counts = None if self.counts is None else self.counts[rows]
        return Frames(self.arrival_us[rows], self.start[rows], self.end[rows], payload, fate, self.lag_us[rows], counts)


def detached(waiting: NDArray[_T]) -> NDArray[_T]:
    """Return what waits until the next canonical point, as a copy if it keeps more than twice its size in memory.

    The 160 bytes by which one leg is 10 ms ahead of another would keep 29 kB.
    """
    whole = waiting.base
    return waiting.copy() if whole is not None and 2 * waiting.nbytes < whole.nbytes else waiting


def join(first: Frames, second: Frames) -> Frames:
    """Return the frames of both, in this order."""
    plain = first.fate is None and second.fate is None
    single = first.counts is None and second.counts is None
    return Frames(
        np.concatenate((first.arrival_us, second.arrival_us)),
        np.concatenate((first.start, second.start)),
        np.concatenate((first.end, second.end)),
        np.concatenate((first.payload, second.payload)),
        None if plain else np.concatenate((first.fates(), second.fates())),
        np.concatenate((first.lag_us, second.lag_us)),
        None if single else np.concatenate((first.counted(), second.counted())),
    )


def gather(runs: Sequence[FrameRun], step_bytes: Mapping[int, int], *, origin_us: int) -> dict[int, Frames]:
    """Return the frames of each track, by its number, arrival counted from ``origin_us``.

    Tracks that ``step_bytes`` (bytes of one sample of all channels) lacks are left out.
    """
    kinds = {_kind(run) for run in runs}
    # The usual case: all records have one form, and the runs are in order as they come.
    if len(kinds) == 1:
        return {track: frames for track, frames, _ in _by_track(runs, None, step_bytes, origin_us)}
    # Each kind is sorted by itself; the serial number of a frame in arrival puts a track of several kinds in order.
    firsts = np.cumsum([0, *(len(run.track) for run in runs)])
    parts: dict[int, list[tuple[Frames, NDArray[np.int64]]]] = {}
    for kind in sorted(kinds):
        numbers = [n for n, run in enumerate(runs) if _kind(run) == kind]
        serial = np.concatenate([np.arange(firsts[n], firsts[n + 1]) for n in numbers])
        for track, frames, order in _by_track([runs[n] for n in numbers], serial, step_bytes, origin_us):
            parts.setdefault(track, []).append((frames, order))
    return {track: _in_order(of_track, step_bytes[track]) for track, of_track in parts.items()}


def _kind(run: FrameRun) -> tuple[int, bool, int]:
    return run.payload.shape[1], run.withheld, run.frames


def _by_track(
    runs: Sequence[FrameRun], serial: NDArray[np.int64] | None, step_bytes: Mapping[int, int], origin_us: int
) -> list[tuple[int, Frames, NDArray[np.int64]]]:
    """Return (track, its frames, their serials) of runs that are alike."""
    track = _joined([run.track for run in runs])
    # Stable: the frames of each track stay in order of arrival.
    order = track.argsort(kind="stable")
    track = track.take(order)
    arrival_us = _joined([run.arrival_us for run in runs]).take(order)
    arrival_us -= origin_us
    start = _joined([run.position for run in runs]).take(order)
    payload = _joined([run.payload for run in runs]).take(order, axis=0)
    samples = [run.samples for run in runs if run.samples is not None]
    withheld = _joined(samples).take(order) if samples else None
    each = runs[0].frames
    found = []
    numbers, high = track.tolist(), 0
    while high < len(numbers):
        low, number = high, numbers[high]
        high = bisect_right(numbers, number, low)
        if number not in step_bytes:
            continue
        rows = slice(low, high)
        if withheld is None:
            end, fate = start[rows] + payload.shape[1] // step_bytes[number], None
        else:
            end, fate = start[rows] + withheld[rows], np.full(high - low, Fate.WITHHELD, np.uint8)
        frames = Frames(arrival_us[rows], start[rows], end, payload[rows].reshape(-1), fate)
        if each > 1:
            frames.counts = np.full(high - low, each, np.int64)
        found.append((number, frames, _NO_LAGS if serial is None else serial.take(order[rows])))
    return found


def _in_order(parts: list[tuple[Frames, NDArray[np.int64]]], step_bytes: int) -> Frames:
    """Return one track's frames of several forms, each part in order, as one."""
    frames, serial = parts[0]
    for more, more_serial in parts[1:]:
        frames, serial = join(frames, more), np.concatenate((serial, more_serial))
    if len(parts) == 1:
        return frames
    return frames.take(serial.argsort(), step_bytes)


def _joined(arrays: Sequence[NDArray[_T]]) -> NDArray[_T]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


_NO_LAGS: NDArray[np.int64] = np.empty(0, np.int64)
