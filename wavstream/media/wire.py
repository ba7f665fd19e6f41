"""What is written to the socket of one stream beside its audio: the core's frames, the dialect's messages, our end.

Text and binary messages go through the core, so that none is sent behind its close frame.
"""

from __future__ import annotations

import asyncio

from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from wavstream.dialects.events import Outgoing

_MAX_STUCK_BYTES = 1024 * 1024
"""A peer that is behind by more, with pongs, never reads at all."""


class Wire:
    """Writes; it knows no times, and does not read."""

    __slots__ = ("_core", "_transport")

    def __init__(self, core: ServerProtocol, transport: asyncio.Transport) -> None:
        self._core = core
        self._transport = transport

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed."""
        return self._core.state is OPEN

    def say(self, message: Outgoing | None) -> None:
        """Send a message of the dialect, unless one side has closed."""
        if message is not None and self.is_open:
            (self._core.send_text if message.is_text else self._core.send_binary)(message.data)
            self.flush()

    def flush(self) -> bool:
        """Send what the core has to say; return whether our side has ended with it."""
        if self._transport.is_closing():
            return False
        has_ended = False
        for chunk in self._core.data_to_send():
            if chunk:
                self._transport.write(chunk)
            else:
                has_ended = True
                self._end()
        if self._transport.get_write_buffer_size() > _MAX_STUCK_BYTES:
            self._transport.abort()
        return has_ended

    def _end(self) -> None:
        """End our side, after a close handshake or without one.

        A peer that has not closed must get to read our close frame. Closing the socket now would make the kernel
        answer what the peer still sends with a reset, and throw the frame away; so its bytes are read and dropped.
        """
        if self._core.close_rcvd is None and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
