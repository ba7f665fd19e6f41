"""A relayed connection: every byte both ways, half-close, a side that reads nothing, a side that is lost."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import uvloop

from tests.support.waiting import until
from tests.support.workers import connection
from wavstream.cluster.relay import STOP_S, Relay


@dataclass
class Relayed:
    """A relay, with the far ends of both of its sockets."""

    relay: Relay
    peer: socket.socket
    owner: socket.socket
    over: list[Relay]

    async def to_peer(self, size: int) -> bytes:
        return await exactly(self.peer, size)

    async def to_owner(self, size: int) -> bytes:
        return await exactly(self.owner, size)


async def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not piece:
            break
        data += piece
    return data


@asynccontextmanager
async def relayed(stop_s: float = STOP_S) -> AsyncIterator[Relayed]:
    peer, accepted = connection()
    called, owner = connection()
    over: list[Relay] = []
    relay = Relay("b", on_over=over.append, stop_s=stop_s)
    for each in (peer, accepted, called, owner):
        each.setblocking(False)
    try:
        await relay.begin(accepted, called)
        yield Relayed(relay, peer, owner, over)
        relay.abort()
        await until(lambda: over)
    finally:
        peer.close()
        owner.close()


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def test_every_byte_goes_both_ways_in_its_order() -> None:
    async with relayed() as each:
        there, back = os.urandom(3_000_000), os.urandom(2_000_000)
        *_, came, went = await asyncio.gather(
            send(each.peer, there), send(each.owner, back), each.to_owner(len(there)), each.to_peer(len(back))
        )
        assert (came, went) == (there, back)
        assert each.relay.moved_bytes == len(there) + len(back)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_was_sent_before_the_relay_began_is_not_lost(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    # uvloop has read it before a relay can ask it not to.
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(sends_early())


async def sends_early() -> None:
    peer, accepted = connection()
    called, owner = connection()
    peer.sendall(b"early")
    owner.sendall(b"too")
    for each in (peer, accepted, called, owner):
        each.setblocking(False)
    over: list[Relay] = []
    relay = Relay("b", on_over=over.append)
    await relay.begin(accepted, called)
    assert await exactly(owner, 5) == b"early"
    assert await exactly(peer, 3) == b"too"
    relay.abort()
    await until(lambda: over)
    peer.close()
    owner.close()


async def test_a_side_that_has_sent_all_is_still_answered_and_then_it_is_over() -> None:
    async with relayed() as each:
        await send(each.peer, b"question")
        each.peer.shutdown(socket.SHUT_WR)
        assert await each.to_owner(100) == b"question"  # and the end
        await send(each.owner, b"answer")
        each.owner.shutdown(socket.SHUT_WR)
        assert await each.to_peer(100) == b"answer"
        await until(lambda: each.over)


async def test_a_side_that_reads_nothing_stops_the_other_and_loses_nothing() -> None:
    async with relayed() as each:
        data = os.urandom(1_000_000) * 30
        sending = asyncio.create_task(send(each.owner, data))
        await until(lambda: each.relay._owner.transport is not None and not each.relay._owner.transport.is_reading())
        assert each.relay.moved_bytes < len(data)
        assert not sending.done()
        assert await each.to_peer(len(data)) == data
        await sending


@pytest.mark.parametrize("lost", ["peer", "owner"])
async def test_where_one_side_is_lost_the_other_ends_at_once(lost: str) -> None:
    async with relayed() as each:
        gone, left = (each.peer, each.owner) if lost == "peer" else (each.owner, each.peer)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, as of a process that died
        gone.close()
        with suppress(ConnectionResetError):
            assert await exactly(left, 1) == b""
        await until(lambda: each.over)


async def test_at_a_stop_of_the_server_the_owner_takes_leave_of_the_peer_which_is_heard_no_more() -> None:
    async with relayed() as each:
        await send(each.peer, b"said before")
        assert await each.to_owner(11) == b"said before"
        each.relay.shutdown()
        assert await each.to_owner(1) == b""
        await send(each.peer, os.urandom(100_000))
        await send(each.owner, b"come back")
        each.owner.shutdown(socket.SHUT_WR)
        assert await each.to_peer(100) == b"come back"  # and the end
        each.peer.shutdown(socket.SHUT_WR)
        await until(lambda: each.over)
        assert each.over == [each.relay]
        assert await each.to_owner(1) == b""


async def test_at_a_stop_a_peer_that_had_to_wait_is_read_to_its_end() -> None:
    async with relayed() as each:
        sending = asyncio.create_task(send(each.peer, os.urandom(1_000_000) * 30))
        await until(lambda: each.relay._peer.transport is not None and not each.relay._peer.transport.is_reading())
        each.relay.shutdown()
        await sending
        each.peer.shutdown(socket.SHUT_WR)
        while await each.to_owner(1_000_000):
            pass
        each.owner.shutdown(socket.SHUT_WR)
        assert await each.to_peer(1) == b""
        await until(lambda: each.over)


async def test_a_stop_does_not_wait_for_ever_for_who_takes_no_leave() -> None:
    async with relayed(stop_s=0.01) as each:
        each.relay.shutdown()
        await until(lambda: each.over)
        with suppress(ConnectionResetError):
            assert await each.to_peer(1) == b""
