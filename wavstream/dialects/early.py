"""Audio that comes before the stream has said what it is: kept in its order, up to a bound.

A peer may be late with its first message (``mod_audio_stream`` sends what it captured while connecting first, and
Asterisk's threads race), so such audio is no mistake. It is held for at most ``HELD_BYTES``, and for as long as the
server lets a stream wait (``media.early_audio_s``).
"""

from __future__ import annotations

HELD_BYTES = 65_536
"""Two seconds of 16 kHz mono, or of 8 kHz stereo, and a little."""


class EarlyAudio:
    """The messages that are held."""

    __slots__ = ("_messages", "held_bytes")

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def hold(self, payload: bytes) -> bool:
        """Keep a message; return whether there is room for more."""
        self._messages.append(payload)
        self.held_bytes += len(payload)
        # An empty message has its cost too.
        return self.held_bytes < HELD_BYTES and len(self._messages) < HELD_BYTES // 16

    def take(self) -> list[bytes]:
        """Return the messages, in their order, and hold nothing more."""
        messages, self._messages, self.held_bytes = self._messages, [], 0
        return messages
