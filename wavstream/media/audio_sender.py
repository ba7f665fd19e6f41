"""What one stream plays to its peer: a sound, or silence where that keeps the peer alive.

Messages have the stream's own ptime: the length of the newest frame that it sent, if that is 10 to 100 ms in steps of
5 ms. If it is not, and before the first frame, they have 20 ms. Where the dialect's protocol says how long messages
are, that counts.

The ptime is looked up when a sound or silence begins, and before each write of silence until it is known. Then it
stays: one odd frame is no new ptime.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from websockets.frames import Frame, Opcode

from wavstream.dialects.base import Dialect
from wavstream.dialects.events import Outgoing, StreamStarted
from wavstream.rendering.codecs.encode import encode
from wavstream.rendering.codecs.resample import Resampler

STEP_MS = 5
"""Every ptime is a multiple of it, so that a write is played in a whole number of the pacer's turns."""
_MIN_PTIME_MS, _PTIME_MS, _MAX_PTIME_MS = 10, 20, 100


class AudioSender:
    """Turns sounds into messages, and hands out as many as are due."""

    __slots__ = (
        "_dialect",
        "_format",
        "_frame_samples",
        "_is_known",
        "_messages",
        "_ptime_ms",
        "_queue",
        "_silence",
        "_sound_hz",
        "_write",
    )

    def __init__(
        self, dialect: Dialect, started: StreamStarted, write: Callable[[bytes], None], frame_samples: Callable[[], int]
    ) -> None:
        """Send with ``write``, which takes finished WebSocket frames.

        ``frame_samples`` tells how long the stream's newest frame is; 0: there is none.
        """
        self._dialect = dialect
        self._sound_hz = started.format.rate_hz
        self._format = started.playback or started.format
        self._frame_samples = frame_samples
        self._write = write
        self._queue: deque[bytes] = deque()
        self._silence = b""
        self._ptime_ms = 0
        self._messages = 1
        """How many go into one write."""
        self._look_up_ptime()

    def play(self, samples: NDArray[np.int16], *, after: bool = False) -> None:
        """Play mono samples, (n,), of the stream's rate on all channels that the peer takes.

        ``after``: behind what waits, else in place of it.
        """
        if self._sound_hz != self._format.rate_hz:
            resampler = Resampler(self._sound_hz, self._format.rate_hz)
            samples = np.concatenate((resampler.feed(samples), resampler.finish()))
        if not after:
            self._queue.clear()
        if self._dialect.whole_sounds:
            self._queue.append(self._frame(samples))
            return
        if not self._queue:
            self._look_up_ptime()
        size = self._message_samples
        whole = np.zeros(-(-len(samples) // size) * size, np.int16)
        whole[: len(samples)] = samples
        self._queue.extend(self._frame(piece) for piece in whole.reshape(-1, size))

    def keep_alive(self, on: bool) -> None:
        """Play silence whenever there is nothing else, or stop that and take back what the peer has not played."""
        if on and not self._silence and not self._dialect.whole_sounds:
            if not self._queue:
                self._look_up_ptime()
            self._silence = self._silent_frame()
        elif not on and self._silence:
            self._silence = b""
            clear = self._dialect.clear()
            if clear is not None and not self._queue:
                self._write(_server_frame(clear))

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to play."""
        return not (self._queue or self._silence)

    def next_write_ms(self) -> int:
        """Return how long the peer plays one write; from now on with the stream's ptime, if that is known by now."""
        if not (self._is_known or self._queue):
            self._look_up_ptime()
        return self._messages * self._ptime_ms

    def send(self, writes: int) -> None:
        """Send the audio of so many writes, if there is something to play."""
        messages = writes * self._messages
        if self._queue:
            sound = [self._queue.popleft() for _ in range(min(messages, len(self._queue)))]
            self._write(b"".join(sound) + self._silence * (messages - len(sound)))
        elif self._silence:
            self._write(self._silence * messages)

    def _look_up_ptime(self) -> None:
        ptime_ms = self._dialect.ptime_ms or round(1000 * self._frame_samples() / self._sound_hz)
        self._is_known = _MIN_PTIME_MS <= ptime_ms <= _MAX_PTIME_MS and ptime_ms % STEP_MS == 0
        if not self._is_known:
            ptime_ms = _PTIME_MS
        if ptime_ms != self._ptime_ms:
            self._ptime_ms = ptime_ms
            self._messages = max(1, self._dialect.playout_ms // ptime_ms)
            if self._silence:
                self._silence = self._silent_frame()

    @property
    def _message_samples(self) -> int:
        return self._format.rate_hz * self._ptime_ms // 1000

    def _silent_frame(self) -> bytes:
        return self._frame(np.zeros(self._message_samples, np.int16))

    def _frame(self, samples: NDArray[np.int16]) -> bytes:
        channels = np.repeat(samples[:, np.newaxis], self._format.channels, axis=1)
        return _server_frame(self._dialect.message(encode(channels, self._format.codec)))


def _server_frame(message: Outgoing) -> bytes:
    return Frame(Opcode.TEXT if message.is_text else Opcode.BINARY, message.data).serialize(mask=False)
