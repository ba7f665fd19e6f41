"""A peer's connection that another node has: what each of the two sides sends goes to the other, byte for byte.

1. A side that takes nothing is not sent more: reading of the other stops until what waits has left. Each connection
   has its own two sockets, so nobody else waits with it.
2. A side that has sent all that it sends (half-close) is still sent to; the relay is over when both have.
3. A side that is lost ends the other at once, without a word: to a media server that is what the death of the server
   itself looks like, so it connects again, and is taken where its session is then.
4. Where this node stops, the owner hears it as the end of what the peer sends, and answers with what it has to say to
   the peer: the close frame of a stream (``media.connection``). Only the owner knows where its frames end, so nothing
   of ours is put between them. What the peer sends from then on is dropped, not refused: a reset could overtake that
   frame. An owner or a peer that takes longer than ``STOP_S`` is lost, as in rule 3.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

_HIGH_BYTES = 256 * 1024
"""What may wait for a side that takes nothing, beside what the kernels hold."""
STOP_S = 2.0
"""How long a stop waits for the two sides to take leave (rule 4)."""


class _Side(asyncio.Protocol):
    """One of the two sockets."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.other: _Side
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] | None = []
        """What came before the other side was there: uvloop reads what waits, whatever is asked of it."""
        self.has_ended = False
        """Whether it sends nothing more."""
        self.is_dropped = False
        """Whether what it sends goes nowhere (rule 4)."""
        self.moved_bytes = 0
        """That came from it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it
        self.transport.set_write_buffer_limits(high=_HIGH_BYTES)

    def begin(self) -> None:
        """Pass on what came, and from now on what comes."""
        early, self._early = self._early or [], None
        for data in early:
            self.other.write(data)
        if self.has_ended:
            self.other.end()
        if self.transport is None or self.transport.is_closing():
            self.other.abort()

    def data_received(self, data: bytes) -> None:
        self.moved_bytes += len(data)
        if self._early is not None:
            self._early.append(data)
        elif not self.is_dropped:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        """Send what came from the other side."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def end(self) -> None:
        """Send nothing more, for the other side has ended."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        self.other.pause()  # rule 1

    def resume_writing(self) -> None:
        self.other.resume()

    def pause(self) -> None:
        if self.transport is not None and not self.has_ended and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.has_ended and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        self.has_ended = True
        if self._early is None:
            self.other.end()
            if self.other.has_ended:
                self._relay.close()
        return True  # rule 2

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.lost(self)


class Relay:
    """The two sockets of one relayed connection. Lives on the event loop."""

    def __init__(self, node: str, *, on_over: Callable[[Relay], None], stop_s: float = STOP_S) -> None:
        """``node``: whose connection it is; ``on_over`` is called once, when nothing of it is left."""
        self.node = node
        self._on_over = on_over
        self._stop_s = stop_s
        self._peer, self._owner = _Side(self), _Side(self)
        self._peer.other, self._owner.other = self._owner, self._peer
        self._left = 2
        self._is_over = False
        self._deadline: asyncio.TimerHandle | None = None
        """Of a stop (rule 4)."""

    @property
    def moved_bytes(self) -> int:
        """How much was relayed so far, both ways."""
        return self._peer.moved_bytes + self._owner.moved_bytes

    async def begin(self, peer: socket.socket, owner: socket.socket) -> None:
        """Relay between the two, which are this object's to close, whatever becomes of it; raise OSError."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self._owner, owner)
        except BaseException:
            peer.close()
            owner.close()
            raise
        try:
            await loop.connect_accepted_socket(lambda: self._peer, peer)
        except BaseException:
            peer.close()
            self._owner.abort()
            raise
        for side in (self._peer, self._owner):
            side.begin()
        if self._peer.has_ended and self._owner.has_ended:
            self.close()
        elif self._deadline is not None:
            self._take_leave()

    def shutdown(self) -> None:
        """End it, since the server stops; its peer finds its session by another node (rule 4; uvicorn calls this)."""
        if self._deadline is None and not self._is_over:
            self._deadline = asyncio.get_running_loop().call_later(self._stop_s, self.abort)
            self._take_leave()

    def _take_leave(self) -> None:
        self._peer.is_dropped = True
        self._owner.end()
        self._peer.resume()  # else nobody sees its end

    def abort(self) -> None:
        """End both sides at once (rule 3)."""
        for side in (self._peer, self._owner):
            side.abort()

    def close(self) -> None:
        """End both sides when they have what was sent to them."""
        for side in (self._peer, self._owner):
            if side.transport is not None:
                side.transport.close()

    def lost(self, side: _Side) -> None:
        """Note that the socket of a side is gone."""
        self._left -= 1
        other = side.other
        if side.has_ended and other.has_ended:
            self.close()
        else:
            other.abort()
        if self._left == 0 and not self._is_over:
            self._is_over = True
            if self._deadline is not None:
                self._deadline.cancel()
            self._on_over(self)
