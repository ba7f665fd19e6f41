"""A media WebSocket whose first message is to name its session, where there are several workers.

1. All that came is kept, from the head of the upgrade on, until the stream has started: if its session is another
   worker's, the connection goes there with that, and is read there from its beginning. Nothing of it was taken here.
   Behind the start there is no trace of this: what comes goes straight to the connection.
2. It goes in the middle of a read: the socket is not read meanwhile, and what we have sent has left.
3. What is kept has the bound of a message, with what may come before it. Beyond that the stream can only start here.
4. A dialect that holds its start back may give it when the peer has ended: then too it goes where it belongs.
5. What the dialect answers before the start is sent when it is known that the stream stays: the worker that it goes to
   reads the same messages, and answers them. It waits for no longer than the read that asked for it.
"""

from __future__ import annotations

import asyncio

from wavstream.errors import LimitReached
from wavstream.media.connection import MediaConnection
from wavstream.media.media_stream import State
from wavstream.media.wire import Wire
from wavstream.workers.boundary import RETRY_AFTER_S, Boundary, RelayedPeer

_BESIDE_BYTES = 256 * 1024
"""A head, and messages without audio."""


class Opening(asyncio.Protocol):
    """Stands between the socket and the connection until the stream has started."""

    def __init__(
        self,
        connection: MediaConnection,
        head: bytes,
        *,
        transport: asyncio.Transport,
        boundary: Boundary,
        wire: Wire,
        max_message_bytes: int,
        relayed: RelayedPeer | None = None,
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._boundary = boundary
        self._relayed = relayed
        self._wire = wire
        self._received = bytearray(head)
        self._max_bytes = max_message_bytes + _BESIDE_BYTES
        connection.hand_over = self._hand_over

    def data_received(self, data: bytes) -> None:
        """Keep it, and hand it on."""
        if len(self._received) <= self._max_bytes:
            self._received += data
        self._connection.data_received(data)
        self._wire.flush()  # rule 5
        if self._connection.stream.state is not State.OPENING and not self._transport.is_closing():
            self._connection.hand_over = None
            self._transport.set_protocol(self._connection)

    def eof_received(self) -> None:
        """End the stream, whose socket is still there (rule 4)."""
        self._connection.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream."""
        self._connection.connection_lost(exc)

    def _hand_over(self, worker: int) -> LimitReached | None:
        transport = self._transport
        if transport.is_closing():  # the peer was lost, not ended: there is nothing to hand over
            return None
        if len(self._received) > self._max_bytes or transport.get_write_buffer_size():  # rules 2 and 3
            return LimitReached("the stream did not start soon enough to be handed over", retry_after_s=RETRY_AFTER_S)
        transport.pause_reading()
        self._connection.leave()  # it counts there from now on
        try:
            descriptor = transport.get_extra_info("socket").fileno()
            self._boundary.hand_over(worker, descriptor, bytes(self._received), is_answered=True, relayed=self._relayed)
        except LimitReached as error:
            transport.resume_reading()
            return error
        transport.set_protocol(asyncio.Protocol())
        transport.abort()
        return None
