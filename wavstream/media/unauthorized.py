"""A peer whose key is not right, where its vendor wants to be told so on the open WebSocket: AudioHook.

1. Its first text is answered in the dialect's words, and then we close. Nothing else of what it sends is looked at.
2. It knows nothing that opens something, so it holds little: its socket counts among the media sockets, ``PLACES`` are
   there at once, and a peer that finds none is refused with a 401 as of any other dialect. It may send
   ``_MAX_BYTES``, and has ``close_timeout_s`` for its text, and as long to close.
"""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from wavstream.dialects.base import Dialect
from wavstream.dialects.events import Detected
from wavstream.errors import MediaError, Unauthenticated
from wavstream.media.closing import Closing, fitting_reason
from wavstream.media.endpoint import MediaEndpoint
from wavstream.media.wire import Wire

PLACES = 64
"""As many as all calls of a minute that Genesys Cloud tries again with a wrong secret; each has a few seconds."""
_MAX_BYTES = 64 * 1024


def who_tells(dialect: Dialect) -> Dialect | None:
    """Return the dialect that has the words, found out from the request if need be; None: it is to be a 401."""
    try:
        found = next((each.dialect for each in dialect.opened() if isinstance(each, Detected)), dialect)
    except MediaError:
        return None
    return found if found.refuses_in_words else None


def last_words(closing: Closing, speaker: Dialect | None) -> bytes:
    """Return the frames that end a stream which was answered: the dialect's own words, if any, and a close."""
    farewell = None if speaker is None else speaker.farewell(closing.code, closing.reason)
    said = b""
    if farewell is not None:
        opcode = Opcode.TEXT if farewell.is_text else Opcode.BINARY
        said = Frame(opcode, farewell.data).serialize(mask=False)
    return said + Frame(Opcode.CLOSE, Close(closing.code, closing.reason).serialize()).serialize(mask=False)


def has_place(endpoint: MediaEndpoint) -> bool:
    """Return whether one more may be told (rule 2)."""
    return endpoint.counters.turned_away < PLACES


class Unauthorized(asyncio.Protocol):
    """Says one thing, and closes."""

    def __init__(
        self,
        endpoint: MediaEndpoint,
        *,
        transport: asyncio.Transport,
        core: ServerProtocol,
        dialect: Dialect,
        reason: str,
        connections: set[Any],
    ) -> None:
        """Take the place of a handshake whose answer the core has."""
        self._counters = endpoint.counters
        self._timeout_s = endpoint.limits.close_timeout_s
        self._transport = transport
        self._core = core
        self._wire = Wire(core, transport)
        self._dialect = dialect
        self._reason = reason
        self._connections = connections
        self._received_bytes = 0
        self._counters.turned_away += 1
        self._counters.open_sockets += 1
        connections.add(self)
        self._deadline = asyncio.get_running_loop().call_later(self._timeout_s, self._close)

    def begin(self, early: bytes) -> None:
        """Answer the upgrade, and read what came behind it."""
        self._wire.flush()
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Answer the first text; drop the rest."""
        self._received_bytes += len(data)
        if self._received_bytes > _MAX_BYTES:
            self._transport.abort()
            return
        self._core.receive_data(data)
        for frame in self._core.events_received():
            if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT and self._core.state is OPEN:
                self._wire.say(self._dialect.turn_away(bytes(frame.data), self._reason))
                self._close()
        self._wire.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._deadline.cancel()
        self._connections.discard(self)
        self._counters.turned_away -= 1
        self._counters.open_sockets -= 1

    def shutdown(self) -> None:
        """Close: uvicorn stops, and waits for every connection."""
        self._close()

    def _close(self) -> None:
        self._deadline.cancel()
        if self._core.state is OPEN:
            self._core.send_close(Unauthenticated.close_code, fitting_reason(self._reason))
        self._wire.flush()
        self._deadline = asyncio.get_running_loop().call_later(self._timeout_s, self._transport.abort)
