"""The samples of one track in the order of the file, from where they are placed to where they are written.

1. A buffer has two rates. Samples are put at the track's own rate, counted from the start of the recording. Until the
   file's rate is known they wait as they are. From then on they are kept at the file's rate, where an unbroken stretch
   of another rate passes one resampler.
2. What lies before the beginning of the file is cut. Until the file's rate is known that is as early as it may begin.
3. A stretch that is bent (``stretch``) passes a stretcher first, and with it all that continues it.
4. What lies before the point up to which the file is written, or where samples lie already, is *late*. Once the rest of
   its burst has been put, it goes where the file goes on if the buffer has silence enough there, and else it is counted
   late.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from wavstream.model.audio import NOMINAL_PTIME_US
from wavstream.rendering.timeline.clock import samples_at, us_of
from wavstream.rendering.timeline.frames import detached
from wavstream.rendering.timeline.stretch import ONE, Bend, Stretcher

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from wavstream.rendering.timeline.render_stats import RenderStats


class Resampler(Protocol):
    """One unbroken stretch on its way from one rate to another."""

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take in samples and return those that are ready now."""

    def finish(self) -> NDArray[np.int16]:
        """Return the rest."""


class TrackBuffer:
    """The queue of one track. It counts in samples of the file's rate, and of its own rate until ``open``."""

    def __init__(
        self, rate_hz: int, stats: RenderStats, resampler: Callable[[int, int], Resampler], *, begin_us: int = 0
    ) -> None:
        self._begin = samples_at(begin_us, rate_hz)
        """What lies before it is cut, at the track's own rate."""
        self.end = self._begin
        """After the last sample that was placed."""
        self.written = self._begin
        """Where the file goes on."""
        self._taken = self._begin
        """Up to where samples were taken: the file may go on further, and what it needs is taken later."""
        self.first_us: int | None = None
        """When the first sample was said, from the start of the recording; None: none was placed."""
        self.last_us = begin_us
        """When the last one had been said."""
        self._frame_us = NOMINAL_PTIME_US
        """How long its frames are."""
        self._redundant = 0
        """Samples that were taken, but are not in the file because another leg says the same."""
        self._own_hz = rate_hz
        self._file_hz: int | None = None
        self._stats = stats
        self._make_resampler = resampler
        self._resampler: Resampler | None = None
        self._resampled_to = 0
        """Where the next sample of the resampler belongs, at the file's rate."""
        self._continues_at = 0
        """Where a stretch must start to pass the same resampler, at the track's own rate."""
        self._stretcher: Stretcher | None = None
        self._stretched_from = 0
        """Where the stretcher has begun, at the track's own rate."""
        self._stretched_to = 0
        """Where the next sample from it belongs."""
        self._waiting: list[tuple[int, NDArray[np.int16], int]] = []
        """(start, samples, frames) until the file's rate is known, at the track's own rate."""
        self._pieces: deque[tuple[int, NDArray[np.int16]]] = deque()
        """(start, samples) in order; they do not overlap."""
        self._late: list[tuple[NDArray[np.int16], int]] = []
        """(samples, frames) that came too late for their place."""

    @property
    def held_at(self) -> int | None:
        """Where the samples belong that a resampler or a stretcher holds back; None: nothing is held back."""
        if self._resampler is not None:
            return self._resampled_to
        if self._stretcher is not None and self._file_hz is not None:
            return self._stretched_to * self._file_hz // self._own_hz
        return None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self._pieces or self._waiting or self._resampler or self._stretcher or self._late)

    def open(self, file_hz: int, written: int, *, begin_us: int = 0) -> None:
        """Set the file's rate, how far the file is written, and where it begins."""
        self._file_hz = file_hz
        self.written = self._taken = written
        # ``end`` has counted at the track's own rate until now.
        waiting, self._waiting, self.end = self._waiting, [], written
        self._begin = samples_at(begin_us, self._own_hz)
        for start, samples, frames in waiting:
            self._queue(start, samples, frames)

    def put(
        self,
        start: int,
        samples: NDArray[np.int16],
        frames: int,
        bend: Bend | None = None,
        *,
        is_stretched: bool = False,
    ) -> None:
        """Place samples, (n,), of so many frames at a time of the recording, both at the track's own rate."""
        is_bent = self._stretcher is not None or (bend is not None and (bend.change or bend.fraction))
        if is_bent and not is_stretched:
            self._put_bent(start, samples, frames, bend or Bend(0, 0))  # rule 3
            return
        if start < self._begin:  # rule 2
            before = min(self._begin - start, len(samples))
            self._stats.before_us += us_of(before, self._own_hz)
            samples, start = samples[before:], start + before
        if not len(samples):
            return
        self._frame_us = max(1, us_of(len(samples), self._own_hz) // max(1, frames))
        if self.first_us is None:
            self.first_us = us_of(start, self._own_hz)
        self.last_us = max(self.last_us, us_of(start + len(samples), self._own_hz))
        if self._file_hz is None:  # rule 1
            self._waiting.append((start, samples, frames))
            self.end = max(self.end, start + len(samples))
        else:
            self._queue(start, samples, frames)

    def end_stretch(self) -> None:
        """Bring out what the stretcher holds back; what follows is bent anew."""
        if self._stretcher is not None:
            rest, self._stretcher = self._stretcher.finish()[:, 0], None
            self.put(self._stretched_to, rest, 1, is_stretched=True)

    def flush(self) -> None:
        """Bring out what is held back; what follows begins a new stretch."""
        self.end_stretch()
        if self._resampler is not None:
            rest, self._resampler = self._resampler.finish(), None
            self._append(self._resampled_to, rest, 1)

    def settle_late(self) -> None:
        """Give what came too late its place in the silence right at the point of writing, or count it (rule 4)."""
        for samples, frames in self._late:
            if not self._pieces or self._pieces[0][0] >= self.written + len(samples):
                self._pieces.appendleft((self.written, samples))
                self.end = max(self.end, self.written + len(samples))
            else:
                self._stats.late_frames += frames
                self._stats.late_us += us_of(len(samples), self._file_hz or self._own_hz)
        self._late.clear()

    @property
    def has_late(self) -> bool:
        """Whether something came too late for its place, and has no other yet."""
        return bool(self._late)

    def reach(self, upto: int) -> None:
        """Move the point of writing; nothing is put before it any more."""
        # The file does not wait for what is held back any longer: what comes now begins a new stretch.
        held_at = self.held_at
        if held_at is not None and upto > held_at:
            self.flush()
        self.written = upto

    def take(self, upto: int) -> list[tuple[int, NDArray[np.int16]]]:
        """Return all before ``upto`` that was not taken, as (row, samples); the point of writing moves to ``upto``.

        Rows count from where the last call has ended.
        """
        self.reach(upto)
        taken = []
        begin, self._taken = self._taken, upto
        pieces = self._pieces
        while pieces and pieces[0][0] < upto:
            start, samples = pieces.popleft()
            room = upto - start
            if room < len(samples):
                pieces.appendleft((upto, detached(samples[room:])))
                samples = samples[:room]
            taken.append((start - begin, samples))
        return taken

    def peek(self, begin: int, upto: int) -> list[tuple[int, NDArray[np.int16]]]:
        """Return all between two samples of the file, as (row after ``begin``, samples), and keep it."""
        seen = []
        for start, samples in self._pieces:
            low, high = max(0, begin - start), max(0, upto - start)
            if low < len(samples) and high > low:
                seen.append((start + low - begin, samples[low:high]))
        return seen

    def count_redundant(self, samples: int) -> None:
        """Count samples that were taken but are said by another leg too; a frame counts with the last of them."""
        if samples:
            rate_hz = self._file_hz or self._own_hz
            before_us, self._redundant = us_of(self._redundant, rate_hz), self._redundant + samples
            after_us = us_of(self._redundant, rate_hz)
            self._stats.redundant_us += after_us - before_us
            self._stats.redundant_frames += after_us // self._frame_us - before_us // self._frame_us

    def drop(self) -> int:
        """Forget what is not written yet; return how much audio that is, in microseconds."""
        self.flush()
        waiting = sum(len(samples) for _, samples, _ in self._waiting)
        queued = sum(len(samples) for _, samples in self._pieces) + sum(len(samples) for samples, _ in self._late)
        self._waiting.clear()
        self._pieces.clear()
        self._late.clear()
        return us_of(waiting, self._own_hz) + us_of(queued, self._file_hz or self._own_hz)

    def _put_bent(self, start: int, samples: NDArray[np.int16], frames: int, bend: Bend) -> None:
        stretcher = self._stretcher
        begin = start * ONE + bend.fraction
        if stretcher is None or begin != self._stretched_from * ONE + stretcher.end:
            self.end_stretch()
            self._stretcher = stretcher = Stretcher(1, fraction=bend.fraction)
            self._stretched_from, self._stretched_to = start, -(-begin // ONE)
        ready = stretcher.feed(samples[:, None], bend.change)[:, 0]
        at, self._stretched_to = self._stretched_to, self._stretched_to + len(ready)
        self.put(at, ready, frames, is_stretched=True)
        if stretcher.is_done(bend.change):
            self.end_stretch()

    def _queue(self, start: int, samples: NDArray[np.int16], frames: int) -> None:
        file_hz, own_hz = self._file_hz, self._own_hz
        if file_hz is None or file_hz == own_hz:
            self._append(start, samples, frames)
            return
        # rule 1: a stretch that does not continue the one before gets a resampler of its own.
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
        if start < free and len(samples):  # rule 4
            late = min(free - start, len(samples))
            self._late.append((samples[:late], -(-frames * late // len(samples))))
            start, samples = free, samples[late:]
        if len(samples):
            self._pieces.append((start, samples))
            self.end = start + len(samples)
