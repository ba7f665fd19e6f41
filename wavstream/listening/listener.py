"""One who listens to a recording while it is made.

It first reads what there is so far, from the growing file, and then takes what follows from a queue. Both join to the
sample: the queue begins at the moment at which the file was looked at, on the thread that writes it.

Nobody waits for a listener:

- What does not fit into its queue is not kept for it: it goes on reading in the file, where everything is.
- One that has not taken something for ``SLOW_S`` is cut off. What it still reads in the file may be hours long; only
  behind that does what waits in the queue count as not taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from wavstream.model.audio import MIN_RATE_HZ
from wavstream.recorder.file_snapshot import FileSnapshot
from wavstream.recorder.render_job import RenderJob
from wavstream.rendering.encoders.encoder import file_rate_hz

QUEUE_BYTES = 1 << 20
"""For each listener: 33 s of stereo at 8 kHz. One piece that is larger still finds room in an empty queue."""
SLOW_S = 5.0


class Wire(Protocol):
    """A listener's connection, past everything that only concerns the beginning and the end of an answer."""

    def write(self, piece: bytes) -> None:
        """Send it, now or as soon as the peer takes it."""

    def waiting_bytes(self) -> int:
        """How much was written and waits."""

    def abort(self) -> None:
        """End the connection at once, whatever waits."""


class Listener:
    """One who listens to a recording. Lives on the event loop."""

    def __init__(
        self, rendering: RenderJob, *, join: Callable[[Listener], None], left: Callable[[Listener], None]
    ) -> None:
        self.recording = rendering.recording
        self.so_far: FileSnapshot | None = None
        """What there was when it joined; None: it did not, or the recording was over."""
        self.wire: Wire | None = None
        """What follows goes straight there, which costs less than half of waking a task for each piece."""
        self.was_cut = False
        self._tap = rendering.tap
        self._join = join
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0
        self._is_joining = False
        self._takes = False
        self._is_over = False
        self._has_left = False
        self._is_wired = False
        self._has_asked = False
        self._with_file: FileSnapshot | None = None
        """A later look at a file that was not there when it joined."""
        self._passed_bytes = 0
        self._given_s: float | None = None
        self._caught_up_s: float | None = None
        self._news = asyncio.Event()

    async def begin(self) -> bool:
        """Join; False: the recording is over, and its file is being finished."""
        await self._ask_to_join()
        return self.so_far is not None

    async def form(self) -> tuple[int, int]:
        """Rate in hertz and channels, as soon as they are decided; those of an empty file if nothing is recorded."""
        options = self.recording.options
        if options.sample_rate is not None:
            return file_rate_hz(options.format, options.sample_rate), options.file_channels
        while not self._tap.sample_rate_hz and not self._is_over:
            await self._wait()
        return self._tap.sample_rate_hz or MIN_RATE_HZ, self._tap.channels or options.file_channels

    async def part(self, start: int, end: int | None = None) -> AsyncIterator[bytes]:
        """What there was from ``start`` to ``end`` (None: all) when it joined; raises as ``audio`` does."""
        assert self.so_far is not None
        pieces = self.so_far.pieces(start, end)
        while self._stays() and (piece := await asyncio.to_thread(next, pieces, b"")):
            self._given_s = self._loop.time()
            yield piece
            self._given_s = None

    async def audio(self) -> AsyncIterator[bytes]:
        """Interleaved 16-bit samples from the recording's start to its stop; ends early for one that has left.

        What goes straight to the wire is not given here. Raises OSError or DependencyError where the file cannot be
        read.
        """
        taken = 0
        while self.so_far is not None and self._stays():
            async for piece in self.part(taken):
                taken += len(piece)
                yield piece
            self._caught_up_s = self._loop.time()
            while chunk := await self._next():
                taken += len(chunk)
                yield chunk
                self._given_s = None
            taken += self._passed_bytes
            self._passed_bytes = 0
            self._caught_up_s = None
            if self._takes:
                return
            await self._catch_up()

    # ---- what is done to it ------------------------------------------------------------------------------------

    def joined(self, so_far: FileSnapshot | None) -> None:
        """What is heard from here on follows ``so_far``."""
        if self._is_joining:
            self._is_joining = False
            self.so_far = so_far
            self._takes = so_far is not None
            self._news.set()
        elif so_far is not None and so_far.file is not None:
            self._with_file = so_far

    def hear(self, chunk: bytes) -> None:
        """What follows."""
        if not self._takes:
            return
        if self.so_far is not None and self.so_far.file is None and not self._has_asked:
            self._has_asked = True
            self._join(self)
        if self._is_wired and self.wire is not None:
            waiting_bytes = self.wire.waiting_bytes()
            if not waiting_bytes or waiting_bytes + len(chunk) <= QUEUE_BYTES:
                self._passed_bytes += len(chunk)
                self.wire.write(chunk)
                return
            self._takes = False
        elif self._queue and self._queued_bytes + len(chunk) > QUEUE_BYTES:
            self._takes = False
            self._clear()
        else:
            self._queue.append((self._loop.time(), chunk))
            self._queued_bytes += len(chunk)
        self._news.set()

    def end(self) -> None:
        """Nothing more will come; what is there may still be taken."""
        self._is_over = True
        self._news.set()

    def leave(self) -> None:
        """Listen no more; said twice it does nothing."""
        self._has_left = True
        self._clear()
        self.end()
        self._left(self)

    def cut_off(self) -> None:
        """It does not keep up."""
        self.was_cut = True
        self.leave()
        if self.wire is not None:
            self.wire.abort()

    def is_slow(self, now_s: float) -> bool:
        """Whether it has not taken something for too long."""
        if self._is_wired and self.wire is not None:
            # One that keeps up is found with something waiting now and then, but not each time.
            self._given_s = (self._given_s or now_s) if self.wire.waiting_bytes() else None
        since_s = self._given_s
        if since_s is None and self._caught_up_s is not None and self._queue:
            since_s = max(self._queue[0][0], self._caught_up_s)
        return since_s is not None and now_s - since_s > SLOW_S

    # ---- within ------------------------------------------------------------------------------------------------

    async def _next(self) -> bytes:
        """The next of the queue; empty: there is none any more, or it did not fit."""
        while not self._queue:
            if self._is_over or not self._takes:
                return b""
            self._is_wired = self.wire is not None
            await self._wait()
            self._is_wired, self._given_s = False, None
        queued_s, chunk = self._queue.popleft()
        self._queued_bytes -= len(chunk)
        self._given_s = max(queued_s, self._caught_up_s or 0.0)
        return chunk

    async def _catch_up(self) -> None:
        """Join again; if the recording is over meanwhile, what was missed is in its file."""
        before = self.so_far if self.so_far is not None and self.so_far.file is not None else self._with_file
        if not self._is_over:
            await self._ask_to_join()
        if self._takes:
            return
        if before is None:
            self.cut_off()  # over before there was a file: what it missed is in the one that is finished now
            return
        self.so_far = before.whole(self._tap.samples)
        self._takes = True

    def _stays(self) -> bool:
        return not self._has_left

    async def _ask_to_join(self) -> None:
        self._is_joining = True
        self._join(self)
        while self._is_joining and not self._is_over:
            await self._wait()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _clear(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0
