"""The samples of one track in the order of the file, from where they are placed to where they are written.

A lane speaks two rates. Samples are put at the track's own rate, counted from the start of the recording; until the
file's rate is known they wait as they are. From then on they are kept at the file's rate, where an unbroken stretch
of another rate passes one resampler.

What lies before the start of the recording is cut. What lies before the point up to which the file is written is
late: once the rest of its burst has been put, it goes where the file goes on if the lane has silence enough there,
and else it is counted late.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from wavstream.rendering.timeline.frames import detached
from wavstream.rendering.timeline.units import us_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from wavstream.rendering.timeline.tally import Tally


class Resampler(Protocol):
    """One unbroken stretch on its way from one rate to another."""

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """What is ready once these samples are known."""

    def finish(self) -> NDArray[np.int16]:
        """The rest."""


class Lane:
    """The queue of one track; it counts in samples of the file's rate, and of its own rate until ``open``."""

    def __init__(self, rate_hz: int, tally: Tally, resampler: Callable[[int, int], Resampler]) -> None:
        self.end = 0
        """After the last sample that was placed."""
        self.written = 0
        self.first_us: int | None = None
        """When the first sample was said, from the start of the recording; None: none was placed."""
        self.last_us = 0
        """When the last one had been said."""
        self._own_hz = rate_hz
        self._file_hz: int | None = None
        self._tally = tally
        self._make_resampler = resampler
        self._resampler: Resampler | None = None
        self._resampled_to = 0
        self._continues_at = 0
        self._waiting: list[tuple[int, NDArray[np.int16], int]] = []
        self._pieces: deque[tuple[int, NDArray[np.int16]]] = deque()
        self._late: list[tuple[NDArray[np.int16], int]] = []

    @property
    def held_at(self) -> int | None:
        """Where the samples belong that a resampler holds back; None: nothing is held back."""
        return self._resampled_to if self._resampler is not None else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self._pieces or self._waiting or self._resampler or self._late)

    def open(self, file_hz: int, written: int) -> None:
        """The file's rate is known, and it is written so far."""
        self._file_hz = file_hz
        self.written = written
        waiting, self._waiting, self.end = self._waiting, [], 0
        for start, samples, frames in waiting:
            self._queue(start, samples, frames)

    def put(self, start: int, samples: NDArray[np.int16], frames: int) -> None:
        """Place samples, (n,), of so many frames at a time of the recording, both at the track's own rate."""
        if start < 0:
            self._tally.before_us += us_of(min(-start, len(samples)), self._own_hz)
            samples, start = samples[-start:], 0
        if not len(samples):
            return
        if self.first_us is None:
            self.first_us = us_of(start, self._own_hz)
        self.last_us = max(self.last_us, us_of(start + len(samples), self._own_hz))
        if self._file_hz is None:
            self._waiting.append((start, samples, frames))
            self.end = max(self.end, start + len(samples))
        else:
            self._queue(start, samples, frames)

    def flush(self) -> None:
        """Bring out what the resampler holds back; what follows begins a new stretch."""
        if self._resampler is not None:
            rest, self._resampler = self._resampler.finish(), None
            self._append(self._resampled_to, rest, 1)

    def settle_late(self) -> None:
        """Give what came too late its place in the silence right at the point of writing, or count it."""
        for samples, frames in self._late:
            if not self._pieces or self._pieces[0][0] >= self.written + len(samples):
                self._pieces.appendleft((self.written, samples))
                self.end = max(self.end, self.written + len(samples))
            else:
                self._tally.late_frames += frames
                self._tally.late_us += us_of(len(samples), self._file_hz or self._own_hz)
        self._late.clear()

    def take(self, upto: int) -> list[tuple[int, NDArray[np.int16]]]:
        """Everything before ``upto``, as (row after the point of writing, samples); the point moves to ``upto``."""
        if self._resampler is not None and upto > self._resampled_to:
            self.flush()
        taken = []
        written, pieces = self.written, self._pieces
        while pieces and pieces[0][0] < upto:
            start, samples = pieces.popleft()
            room = upto - start
            if room < len(samples):
                pieces.appendleft((upto, detached(samples[room:])))
                samples = samples[:room]
            taken.append((start - written, samples))
        self.written = upto
        return taken

    def drop(self) -> int:
        """Forget what is not written yet; how much audio that is, in microseconds."""
        self.flush()
        waiting = sum(len(samples) for _, samples, _ in self._waiting)
        queued = sum(len(samples) for _, samples in self._pieces) + sum(len(samples) for samples, _ in self._late)
        self._waiting.clear()
        self._pieces.clear()
        self._late.clear()
        return us_of(waiting, self._own_hz) + us_of(queued, self._file_hz or self._own_hz)

    def _queue(self, start: int, samples: NDArray[np.int16], frames: int) -> None:
        file_hz, own_hz = self._file_hz, self._own_hz
        if file_hz is None or file_hz == own_hz:
            self._append(start, samples, frames)
            return
        if self._resampler is None or start != self._continues_at:
            self.flush()
            self._resampler = self._make_resampler(own_hz, file_hz)
            begin = (start * file_hz + own_hz // 2) // own_hz
            # The ends of a stretch are rounded to whole samples, so it may overlap the one before by one.
            self._resampled_to = self.end if begin == self.end - 1 else begin
        ready = self._resampler.feed(samples)
        self._append(self._resampled_to, ready, frames)
        self._resampled_to += len(ready)
        self._continues_at = start + len(samples)

    def _append(self, start: int, samples: NDArray[np.int16], frames: int) -> None:
        free = max(self.end, self.written)
        if start < free and len(samples):
            late = min(free - start, len(samples))
            self._late.append((samples[:late], -(-frames * late // len(samples))))
            start, samples = free, samples[late:]
        if len(samples):
            self._pieces.append((start, samples))
            self.end = start + len(samples)
