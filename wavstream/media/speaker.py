"""What one stream plays to its peer: a sound, and else silence where that keeps the peer alive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from websockets.frames import Frame, Opcode

from wavstream.dialects.base import Dialect, Outgoing
from wavstream.model.audio import MediaFormat
from wavstream.rendering.codecs.payload import encode
from wavstream.rendering.codecs.resample import Resampler

PTIME_MS = 20
"""Milliseconds of audio in a message."""


class Speaker:
    """Turns sounds into messages of 20 ms, and hands them out when they are due."""

    __slots__ = ("_clear", "_format", "_message", "_queue", "_silence", "_sound_hz", "_whole", "_write", "playout_ms")

    def __init__(
        self, dialect: Dialect, audio: MediaFormat, *, write: Callable[[bytes], None], sound_hz: int | None = None
    ) -> None:
        """``write`` takes finished WebSocket frames; ``sound_hz``: the rate of sounds, if not that of ``audio``."""
        self._whole = dialect.whole_sounds
        self._sound_hz = sound_hz or audio.rate_hz
        self.playout_ms = dialect.playout_ms
        """How much audio goes out in one write."""
        self._message = dialect.message
        self._clear = dialect.clear
        self._format = audio
        self._write = write
        self._queue: deque[bytes] = deque()
        self._silence = b""

    def play(self, samples: NDArray[np.int16]) -> None:
        """Play mono samples, (n,), on all channels that the peer takes, in place of what still waits."""
        if self._sound_hz != self._format.rate_hz:
            resampler = Resampler(self._sound_hz, self._format.rate_hz)
            samples = np.concatenate((resampler.feed(samples), resampler.finish()))
        if self._whole:
            self._queue = deque([self._frame(samples)])
            return
        whole = np.zeros(-(-len(samples) // self._ptime) * self._ptime, np.int16)
        whole[: len(samples)] = samples
        self._queue = deque(self._frame(piece) for piece in whole.reshape(-1, self._ptime))

    def keep_alive(self, on: bool) -> None:
        """Play silence whenever there is nothing else, or stop that and take back what the peer has not played."""
        if on and not self._silence and not self._whole:
            self._silence = self._frame(np.zeros(self._ptime, np.int16))
        elif not on and self._silence:
            self._silence = b""
            clear = self._clear()
            if clear is not None and not self._queue:
                self._write(_server_frame(clear))

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to play."""
        return not (self._queue or self._silence)

    def send(self, messages: int) -> None:
        """So many messages are due; nothing is sent if there is nothing to play."""
        if self._queue:
            sound = [self._queue.popleft() for _ in range(min(messages, len(self._queue)))]
            self._write(b"".join(sound) + self._silence * (messages - len(sound)))
        elif self._silence:
            self._write(self._silence * messages)

    @property
    def _ptime(self) -> int:
        return self._format.rate_hz * PTIME_MS // 1000

    def _frame(self, samples: NDArray[np.int16]) -> bytes:
        channels = np.repeat(samples[:, np.newaxis], self._format.channels, axis=1)
        return _server_frame(self._message(encode(channels, self._format.codec)))


def _server_frame(message: Outgoing) -> bytes:
    return Frame(Opcode.TEXT if message.is_text else Opcode.BINARY, message.data).serialize(mask=False)
