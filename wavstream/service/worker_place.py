"""The place of a worker: what its supervisor has given it, and how each hears of the other.

The sockets are the supervisor's, and outlive the worker: whoever takes its place next is given the same, and the same
settings and the same code, also where files of theirs were changed since.

The two have a pair of sockets of their own. The worker says there that it is ready, or why it cannot start, and beats
twice a second for as long as its event loop turns. When the supervisor is gone, its end is closed: then the worker ends
as on SIGTERM, so that nothing is left that holds the port or writes to the data folder.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

from wavstream.errors import WavstreamError
from wavstream.service.data_folder import FileId
from wavstream.service.listeners import Listeners
from wavstream.settings import Settings
from wavstream.workers.neighbours import Workers
from wavstream.workers.shared_counts import SharedCounts

BEAT_S = 0.5
READY, BEAT, REFUSED = b"ready", b"beat", b"refused"
MESSAGE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStart:
    """What a worker is started with; the supervisor has all of it open too."""

    settings: Settings
    index: int
    is_again: bool
    """Whether another process had this place before."""
    listeners: Listeners
    lock: int
    """The descriptor that has the data folder claimed, for as long as any process has it open."""
    inbox: socket.socket
    others: tuple[socket.socket, ...]
    """The sending ends of all inboxes, by worker."""
    counts: int
    """The descriptor of the counts that all workers share: ``workers.shared_counts``."""
    catalog: FileId | None
    """Which file the other workers have as their catalog; None: this one is the first, and may make it."""
    control: socket.socket
    """The worker's end of the sockets between it and its supervisor."""


class WorkerPlace:
    """One worker's place, in its process."""

    def __init__(self, start: WorkerStart) -> None:
        self.start = start
        self.listeners = start.listeners.of_another()
        shared = SharedCounts(start.counts, start.index)
        self.boundary = Workers(start.index, inbox=start.inbox, others=start.others, shared=shared)
        self._control = start.control
        self._beat_timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Beat from now on, and end when the supervisor does; called on the loop."""
        asyncio.get_running_loop().add_reader(self._control, self._hear)
        self._beat()

    def ready(self) -> None:
        """Take what other workers ask and hand over, and say that the worker serves."""
        self.boundary.open()
        self._say(READY)

    def refuse(self, error: WavstreamError) -> None:
        """Say why the worker cannot start."""
        text = str(error).encode(errors="replace")[: MESSAGE_BYTES // 2]
        self._say(b"%b %d %b" % (REFUSED, error.exit_code, text))

    def _beat(self) -> None:
        self._say(BEAT)
        self._beat_timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _say(self, words: bytes) -> None:
        with suppress(OSError):  # it is gone, or has not read for minutes: one beat more or less
            self._control.send(words, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _hear(self) -> None:
        try:
            is_gone = not self._control.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:  # it was killed before it had read our last beats; we are told no second time
            is_gone = True
        if is_gone:
            asyncio.get_running_loop().remove_reader(self._control)
            os.kill(os.getpid(), signal.SIGTERM)
