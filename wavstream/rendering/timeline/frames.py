"""The frames of one track (or two interleaved ones) between two moments, as arrays.

What a record holds, be it several frames that came in one read, is one row here: one longer frame, whose lag is that of
its end. Only who counts frames counts each of them. ``gather`` puts the runs of a moment together; its result does not
depend on where they were cut. Arrays are only made of it where something has to be looked at frame by frame: see
``stretch_of``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from wavstream.journal.frame_run import joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wavstream.journal.frame_run import FrameRun, TrackFrames


_T = TypeVar("_T", bound=np.generic)
_DOUBLED_US = 500_000


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

    def single(self) -> Frames:
        """Return it with a row for each frame, before lags are set: those of one row are of one length."""
        if self.counts is None:
            return self
        length = self.end - self.start
        counts = np.where(length % self.counts, 1, self.counts)
        row = np.repeat(np.arange(len(self)), counts)
        samples = (length // counts)[row]
        start = self.start[row] + (np.arange(len(row)) - (np.cumsum(counts) - counts)[row]) * samples
        fate = None if self.fate is None else self.fate[row]
        return Frames(self.arrival_us[row], start, start + samples, self.payload, fate)

    def _rows(self, rows: slice, payload: NDArray[np.uint8]) -> Frames:
        fate = None if self.fate is None else self.fate[rows]
        counts = None if self.counts is None else self.counts[rows]
        return Frames(self.arrival_us[rows], self.start[rows], self.end[rows], payload, fate, self.lag_us[rows], counts)


def detached(waiting: NDArray[_T]) -> NDArray[_T]:
    """Return what waits until the next canonical point, as a copy if it keeps more than twice its size in memory.

    The 160 bytes by which one leg is 10 ms ahead of another would keep 29 kB.
    """
    whole = waiting.base
    return waiting.copy() if isinstance(whole, np.ndarray) and 2 * waiting.nbytes < whole.nbytes else waiting


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


class Arrivals:
    """What came of one track (or two interleaved ones) between two moments, as the journal has it."""

    __slots__ = ("_fate", "_frames", "origin_us", "rows", "step_bytes")

    def __init__(
        self, rows: TrackFrames, *, step_bytes: int, origin_us: int, fate: NDArray[np.uint8] | None = None
    ) -> None:
        self.rows = rows
        self.step_bytes = step_bytes
        """Of one sample of all channels."""
        self.origin_us = origin_us
        """Arrivals of frames count from here."""
        self._fate = fate
        self._frames: Frames | None = None

    @property
    def first_us(self) -> int:
        """When the first of it came."""
        return self.rows.arrival_us[0] - self.origin_us

    @property
    def last_us(self) -> int:
        """When the last of it came."""
        return self.rows.arrival_us[-1] - self.origin_us

    @property
    def first_octets(self) -> int:
        """How many bytes the first record stands for."""
        is_withheld = self._fate is not None and self._fate[0] == Fate.WITHHELD
        return self.rows.size[0] * (self.step_bytes if is_withheld else 1)

    @property
    def is_mixed(self) -> bool:
        """Whether nothing of it was withheld."""
        return self._fate is None

    @property
    def octets(self) -> int:
        """How many bytes were sent, those too that a pause kept out of the journal."""
        if self._fate is None:
            return sum(self.rows.size)
        frames = self.frames()
        return int((frames.end - frames.start).sum()) * self.step_bytes

    @property
    def payload(self) -> NDArray[np.uint8]:
        """All bytes, contiguous."""
        return np.frombuffer(self.rows.octets(), np.uint8) if self._frames is None else self._frames.payload

    def frames(self) -> Frames:
        """Return it as arrays; once they are made, they are kept."""
        if self._frames is None:
            rows, fate = self.rows, self._fate
            samples = np.frombuffer(rows.size, np.int64)
            if fate is None:
                samples = samples // self.step_bytes
            else:
                samples = np.where(fate == Fate.WITHHELD, samples, samples // self.step_bytes)
            start = np.frombuffer(rows.position, np.int64)
            self._frames = Frames(
                np.frombuffer(rows.arrival_us, np.int64) - self.origin_us,
                start,
                start + samples,
                np.frombuffer(rows.octets(), np.uint8),
                fate,
                counts=None if rows.frames.count(1) == len(rows) else np.frombuffer(rows.frames, np.int64),
            )
        return self._frames


class Recent:
    """What came of a track in the last half second, to know duplicates by."""

    def __init__(self, step_bytes: int) -> None:
        self._step_bytes = step_bytes
        self._came: deque[Frames] = deque()

    def add(self, frames: Frames) -> None:
        """Remember what came, with its timestamps."""
        oldest_us = int(frames.arrival_us[0]) - _DOUBLED_US
        while self._came and self._came[0].arrival_us[-1] < oldest_us:
            self._came.popleft()
        self._came.append(frames)

    def singled(self, frames: Frames) -> Frames:
        """Return what was added last with a row for each frame, and remember it so."""
        single = self._came[-1] = frames.single()
        return single

    def has(self, frames: Frames, row: int) -> bool:
        """Return whether a frame before this one, of those that were added last, had its timestamp and its payload."""
        for others in self._came:
            # Timestamps first: payloads are cut out only where those agree. Others may have been read together.
            same = (others.start <= frames.start[row]) & (others.end >= frames.end[row])
            for other in np.flatnonzero(same).tolist():
                if others is frames and other >= row:
                    break
                low, high = (int(at[row] - others.start[other]) * self._step_bytes for at in (frames.start, frames.end))
                payload = others.payload_of(other, self._step_bytes)[low:high]
                if payload.tobytes() == frames.payload_of(row, self._step_bytes).tobytes():
                    return True
        return False


def gather(runs: Sequence[FrameRun], step_bytes: Mapping[int, int], *, origin_us: int) -> dict[int, Arrivals]:
    """Return what came of each track, by its number, arrival counted from ``origin_us``.

    Tracks that ``step_bytes`` (bytes of one sample of all channels) lacks are left out.
    """
    tracks = runs[0].tracks if len(runs) == 1 else joined(runs)
    fates: dict[int, list[NDArray[np.uint8]]] = {}
    if any(run.withheld for run in runs):
        for run in runs:
            for number, rows in run.tracks.items():
                fate = np.full(len(rows), Fate.WITHHELD if run.withheld else Fate.MIXED, np.uint8)
                fates.setdefault(number, []).append(fate)
    return {
        number: Arrivals(
            tracks[number],
            step_bytes=step_bytes[number],
            origin_us=origin_us,
            fate=_fate(fates[number]) if number in fates else None,
        )
        for number in sorted(tracks)
        if number in step_bytes
    }


def _fate(fates: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
    """Return the fates of a track's rows; None: all are mixed."""
    fate = np.concatenate(fates)
    return fate if fate.any() else None


_NO_LAGS: NDArray[np.int64] = np.empty(0, np.int64)
