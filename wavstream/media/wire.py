"""The core of a WebSocket, and what is written to its socket beside audio: its frames, the dialect's messages, our end.

Text and binary messages go through the core, so that none is sent behind its close frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from wavstream.dialects.events import Outgoing

_MAX_STUCK_BYTES = 1024 * 1024
"""A peer that is behind by more, with pongs, never reads at all."""

_core_log = logging.getLogger("wavstream.media.core")
# Below this the core writes request lines and headers to the log, and with them keys.
_core_log.setLevel(logging.WARNING)


class Core(ServerProtocol):
    """The core of ``websockets``: RFC 6455 without a socket."""

    def __init__(self, *, max_message_bytes: int) -> None:
        super().__init__(max_size=max_message_bytes, logger=_core_log)

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Return what the peer likes best: some break on an answer without the name that they were configured with."""
        return subprotocols[0] if subprotocols else None

    def forget_refusal(self) -> None:
        """Let go of why the request was refused: the frames in its traceback have all of the connection."""
        refused, self.handshake_exc = self.handshake_exc, None
        if refused is not None:
            refused.__traceback__ = refused.__cause__ = refused.__context__ = None


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

    def say(self, message: Outgoing | None, *, waits: bool = False) -> None:
        """Send a message of the dialect, unless one side has closed; ``waits``: with what is sent next."""
        if message is not None and self.is_open:
            (self._core.send_text if message.is_text else self._core.send_binary)(message.data)
            if not waits:
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
