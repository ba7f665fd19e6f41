"""One who listens to a recording while it is made.

It first reads what there is so far, from the growing file, and then takes what follows from a queue. Both join to the
sample: the queue begins at the moment at which the file was looked at, on the thread that writes it.

Nobody waits for a listener:

1. What does not fit into its queue is not kept for it: it goes on reading in the file, where everything is.
2. One that has not taken something for ``slow_s`` is cut off. What it still reads in the file may be hours long; only
   behind that does what waits in the queue count as not taken.

    state     what is heard ...            next
    JOINING   is before its snapshot       QUEUED, when the snapshot is there; BEHIND, when the recording is over
    QUEUED    waits in its queue           WIRED, when the queue is empty and there is a wire; BEHIND, when it is full
    WIRED     goes to the wire at once     QUEUED, when it is woken; BEHIND, when the wire is full
    BEHIND    is left to the file          JOINING, when it has taken what it has; QUEUED, with the whole file, when the
                                           recording is over
    LEFT      does not concern it          -

Each of the first four becomes LEFT. Beside them counts whether the recording is *over*: then nothing more is heard,
and who is BEHIND, or JOINING, takes the rest from the file as it is now.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from wavstream.model.audio import MIN_RATE_HZ
from wavstream.recorder.file_snapshot import FileSnapshot, SharedFd
from wavstream.recorder.recording import LiveRecording
from wavstream.rendering.encoders.encoder import file_rate_hz
from wavstream.turns.fair_pool import FairPool, Place

T = TypeVar("T")

QUEUE_BYTES = 1 << 20
"""For each listener: 33 s of stereo at 8 kHz. One piece that is larger still finds room in an empty queue."""
SLOW_S = 5.0


class Wire(Protocol):
    """A listener's connection, past everything that only concerns the beginning and the end of an answer."""

    def write(self, piece: bytes) -> None:
        """Send it, now or as soon as the peer takes it."""

    def waiting_bytes(self) -> int:
        """Return how much was written and waits."""

    def abort(self) -> None:
        """End the connection at once, whatever waits."""


class State(Enum):
    """Where what is heard goes; see the table above."""

    JOINING = auto()
    QUEUED = auto()
    WIRED = auto()
    BEHIND = auto()
    LEFT = auto()


class Listener:
    """One who listens to a recording. Lives on the event loop."""

    def __init__(
        self,
        recording: LiveRecording,
        *,
        join: Callable[[Listener], None],
        on_left: Callable[[Listener], None],
        close: Callable[[SharedFd], None],
        reads: FairPool,
        queue_bytes: int = QUEUE_BYTES,
        slow_s: float = SLOW_S,
        key_id: str | None = None,
    ) -> None:
        """Prepare to listen: ``join`` asks for a snapshot, ``reads`` reads it, ``close`` closes it; ``on_left`` is told
        of the end."""
        assert recording.job is not None
        self.recording = recording.row
        self.key_id = key_id
        """The key by which it listens; None: no key of an app."""
        self.snapshot: FileSnapshot | None = None
        """What there was when it joined; None: it did not, or the recording was over."""
        self.wire: Wire | None = None
        """What follows goes straight there, which costs less than half of waking a task for each piece."""
        self.was_cut = False
        self.state = State.JOINING
        self._tap = recording.job.tap
        self._join = join
        self._on_left = on_left
        self._close = close
        self._reads = reads
        self._place: Place | None = None
        self._queue_bytes = queue_bytes
        self._slow_s = slow_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0
        self._is_over = False
        self._later: FileSnapshot | None = None
        """A second look, at the file that was not there when it joined."""
        self._has_asked_later = False
        self._wired_bytes = 0
        """What went straight to the wire since the queue was last empty."""
        self._given_s: float | None = None
        self._caught_up_s: float | None = None
        self._woken = asyncio.Event()

    def take_place(self) -> None:
        """Take a place among those who read a part, until it leaves; raise LimitReached."""
        self._place = self._reads.enter(self.recording.app_id)

    async def begin(self) -> bool:
        """Join; return False if the recording is over and its file is being finished."""
        await self._ask_to_join()
        return self.snapshot is not None

    async def form(self) -> tuple[int, int]:
        """Return rate in hertz and channels, once they are decided; those of an empty file if nothing is recorded."""
        options = self.recording.options
        if options.sample_rate is not None:
            return file_rate_hz(options.format, options.sample_rate), options.file_channels
        while not self._tap.sample_rate_hz and not self._is_over:
            await self._wait()
        return self._tap.sample_rate_hz or MIN_RATE_HZ, self._tap.channels or options.file_channels

    async def part(self, start: int, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield what there was from ``start`` to ``end`` (None: all) when it joined; raises as ``audio`` does."""
        assert self.snapshot is not None
        pieces = self.snapshot.pieces(start, end)
        while not self._has_left() and (piece := await self._read(next, pieces, b"")):
            self._given_s = self._loop.time()
            yield piece
            self._given_s = None

    async def audio(self) -> AsyncIterator[bytes]:
        """Yield interleaved 16-bit samples from the recording's start to its stop; end early for one that has left.

        What goes straight to the wire is not given here. Raises OSError or DependencyError where the file cannot be
        read.
        """
        taken = 0
        while self.snapshot is not None and not self._has_left():
            async for piece in self.part(taken):
                taken += len(piece)
                yield piece
            self._caught_up_s = self._loop.time()
            while chunk := await self._next():
                taken += len(chunk)
                yield chunk
                self._given_s = None
            taken += self._wired_bytes
            self._wired_bytes = 0
            self._caught_up_s = None
            if self.state is not State.BEHIND:
                return
            await self._catch_up()

    # ---- what is done to it ------------------------------------------------------------------------------------

    def joined(self, snapshot: FileSnapshot | None) -> None:
        """Take the snapshot, which what is heard from here on follows; None: the recording is over."""
        if self.state is State.JOINING:
            if snapshot is None:
                self.state = State.BEHIND
            else:
                if snapshot.file is not None:
                    self._forget_files()
                self.snapshot, self.state = snapshot, State.QUEUED
            self._woken.set()
        elif snapshot is not None and snapshot.file is not None:
            if self.state is State.LEFT or self._later is not None:
                self._close(snapshot.file)
            else:
                self._later = snapshot

    def hear(self, chunk: bytes) -> None:
        """Take what goes into the file next."""
        if self.state is State.WIRED:
            self._look_again()
            self._send(chunk)
        elif self.state is State.QUEUED:
            self._look_again()
            if self._queue and self._queued_bytes + len(chunk) > self._queue_bytes:  # rule 1
                self.state = State.BEHIND
                self._clear()
            else:
                self._queue.append((self._loop.time(), chunk))
                self._queued_bytes += len(chunk)
            self._woken.set()

    def end(self) -> None:
        """Note that nothing more will come; what is there may still be taken."""
        self._is_over = True
        self._woken.set()

    def leave(self) -> None:
        """Listen no more; a second call does nothing."""
        if self.state is State.LEFT:
            return
        self.state = State.LEFT
        self._clear()
        self._forget_files()
        if self._place is not None:
            self._place.leave()
        self.end()
        self._on_left(self)

    def cut_off(self) -> None:
        """End it at once, whatever waits for it: it does not keep up, or may not listen any more."""
        self.was_cut = True
        self.leave()
        if self.wire is not None:
            self.wire.abort()

    def is_slow(self, now_s: float) -> bool:
        """Return whether it has not taken something for too long."""
        if self.state is State.WIRED and self.wire is not None:
            # One that keeps up is found with something waiting now and then, but not each time.
            self._given_s = (self._given_s or now_s) if self.wire.waiting_bytes() else None
        since_s = self._given_s
        if since_s is None and self._caught_up_s is not None and self._queue:
            since_s = max(self._queue[0][0], self._caught_up_s)  # rule 2
        return since_s is not None and now_s - since_s > self._slow_s

    # ---- within ------------------------------------------------------------------------------------------------

    def _send(self, chunk: bytes) -> None:
        assert self.wire is not None
        waiting_bytes = self.wire.waiting_bytes()
        if waiting_bytes and waiting_bytes + len(chunk) > self._queue_bytes:  # rule 1
            self.state = State.BEHIND
            self._woken.set()
        else:
            self._wired_bytes += len(chunk)
            self.wire.write(chunk)

    async def _next(self) -> bytes:
        """Return the next of the queue; nothing once there is none any more, or something did not fit."""
        while not self._queue:
            if self._is_over or self.state is not State.QUEUED:
                return b""
            if self.wire is not None:
                self.state = State.WIRED
            await self._wait()
            if self.state is State.WIRED:
                self.state = State.QUEUED
            self._given_s = None
        queued_s, chunk = self._queue.popleft()
        self._queued_bytes -= len(chunk)
        self._given_s = max(queued_s, self._caught_up_s or 0.0)
        return chunk

    async def _catch_up(self) -> None:
        """Join again; if the recording is over meanwhile, what was missed is in its file."""
        with_file = self.snapshot if self.snapshot is not None and self.snapshot.file is not None else self._later
        if not self._is_over:
            await self._ask_to_join()
        if self.state is State.QUEUED or self._has_left():
            return
        if with_file is None:
            self.cut_off()  # over before there was a file: what it missed is in the one that is finished now
            return
        snapshot = await self._read(with_file.whole, self._tap.samples)
        if not self._has_left():
            self.snapshot, self.state = snapshot, State.QUEUED

    async def _ask_to_join(self) -> None:
        self.state = State.JOINING
        self._join(self)
        while self.state is State.JOINING and not self._is_over:
            await self._wait()

    def _look_again(self) -> None:
        """Ask for a second snapshot where the first found no file: there is one now, and it may be needed."""
        if self.snapshot is not None and self.snapshot.file is None and not self._has_asked_later:
            self._has_asked_later = True
            self._join(self)

    def _read(self, function: Callable[..., T], *arguments: Any) -> Coroutine[Any, Any, T]:
        return self._reads.run(self.recording.app_id, function, *arguments)

    def _has_left(self) -> bool:
        return self.state is State.LEFT

    async def _wait(self) -> None:
        self._woken.clear()
        await self._woken.wait()

    def _clear(self) -> None:
        self._queue.clear()
        self._queued_bytes = 0

    def _forget_files(self) -> None:
        for snapshot in (self.snapshot, self._later):
            if snapshot is not None and snapshot.file is not None:
                self._close(snapshot.file)
        self._later = None
