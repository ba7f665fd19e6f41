"""An answer's head leaves with its body, and never later than the turn of the loop in which it was written."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from wavstream.service.counted_transport import CountedTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Peer:
    """The other end of the transport."""

    def __init__(self, transport: CountedTransport, end: socket.socket) -> None:
        self.transport = transport
        self._end = end

    async def receive(self) -> bytes:
        """Return what comes next; nothing at the end."""
        return await asyncio.get_running_loop().sock_recv(self._end, 65_536)

    def has(self) -> bytes:
        """Return what is there by now."""
        try:
            return self._end.recv(65_536)
        except BlockingIOError:
            return b""


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    yield Peer(CountedTransport(transport), theirs)
    transport.abort()
    theirs.close()


async def test_a_head_waits_for_its_body_and_both_are_sent_in_the_order_they_were_written(peer: Peer) -> None:
    peer.transport.write(HEAD)
    before = peer.has()
    waiting = peer.transport.get_write_buffer_size()
    peer.transport.write(b"body")

    assert (before, waiting) == (b"", len(HEAD))
    assert peer.has() == HEAD + b"body"
    peer.transport.write(b"more")
    assert peer.has() == b"more"
    assert peer.transport.written_bytes == len(HEAD) + 8


async def test_a_head_without_a_body_is_sent_when_the_turn_of_the_loop_is_over(peer: Peer) -> None:
    peer.transport.write(HEAD)

    assert await peer.receive() == HEAD
    assert peer.transport.get_write_buffer_size() == 0


@pytest.mark.parametrize("end", ["close", "write_eof"])
async def test_a_head_is_sent_before_the_end_that_follows_it(peer: Peer, end: str) -> None:
    peer.transport.write(HEAD)
    getattr(peer.transport, end)()

    assert await peer.receive() == HEAD
    assert await peer.receive() == b""


async def test_the_heads_of_two_answers_in_one_turn_leave_in_their_order(peer: Peer) -> None:
    peer.transport.write(HEAD)
    peer.transport.write(HEAD)
    peer.transport.write(b"body")

    assert peer.has() == HEAD + HEAD + b"body"


async def test_nothing_is_written_to_a_peer_that_is_gone(peer: Peer) -> None:
    peer.transport.write(HEAD)
    peer.transport.abort()
    peer.transport.write(b"body")

    assert peer.transport.written_bytes == len(HEAD)
    assert await peer.receive() == b""
