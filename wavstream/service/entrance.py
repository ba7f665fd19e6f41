"""Lets a connection in: it gets a place and its protocol, or is turned away.

1. The last descriptors are for journals and files. The kernel gives the lowest number that is free, so a connection
   with a high one says that all below are in use, by whatever. What that costs is one comparison.
2. Where there is no place, a connection that waits gives way (``access.connections``), else the newcomer gets 503.
   Places are those of all workers; who gives way is one of this worker.
3. A connection that another worker hands over comes in by the same way: it has its place already, and counts here from
   now on, as it counted there until then. What that worker has read of it comes first.
4. One that another node relays is one more here, as it is there. Its peer is who that node says.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from typing import Protocol

from websockets.frames import Close, CloseCode, Frame, Opcode

from wavstream.api.problems import problem
from wavstream.service.deadlines import Refusal
from wavstream.service.front import Front
from wavstream.settings import HttpSettings
from wavstream.workers.boundary import RelayedPeer

_MAX_HEAD_READ = 65_536
_FULL = "The server has no place for another connection."
_FULL_ANSWER = problem(503, _FULL, headers={"retry-after": "5", "connection": "close"})
_FULL_RESPONSE = b"".join(
    (
        b"HTTP/1.1 503 Service Unavailable\r\n",
        *(b"%b: %b\r\n" % line for line in _FULL_ANSWER.raw_headers),
        b"\r\n",
        _FULL_ANSWER.body,
    )
)
_FULL_CLOSE = Frame(Opcode.CLOSE, Close(CloseCode.TRY_AGAIN_LATER, _FULL).serialize()).serialize(mask=False)
"""To a WebSocket, whose upgrade is answered already."""


class MakeProtocol(Protocol):
    """Makes what a connection talks to."""

    def __call__(
        self, *, received: bytes = b"", is_answered: bool = False, relayed: RelayedPeer | None = None
    ) -> asyncio.Protocol:
        """Make it; for all see ``Boundary.hand_over``."""
        ...


def descriptor_limit() -> int:
    """Return how many descriptors the process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def descriptors_kept(settings: HttpSettings) -> int:
    """Return how many of them are for journals and files: what is set, and where there are few, half of all."""
    return min(settings.descriptors_kept, descriptor_limit() // 2)


def places_here(settings: HttpSettings) -> int:
    """Return how many connections there may be in this process, by its descriptors."""
    return descriptor_limit() - descriptors_kept(settings)


class Entrance:
    """The way in of one server, for all its listening sockets and all other workers."""

    def __init__(self, settings: HttpSettings, *, front: Front, protocol: MakeProtocol) -> None:
        self._settings = settings
        self._front = front
        self._protocol = protocol
        self._coming: set[asyncio.Task[None]] = set()
        """Not connected to their protocols yet."""

    def let_in(
        self,
        sock: socket.socket,
        *,
        received: bytes = b"",
        is_answered: bool = False,
        has_place: bool = False,
        relayed: RelayedPeer | None = None,
    ) -> None:
        """Take a connection, or turn it away; ``has_place``: of those that all workers have (rule 3)."""
        limit, kept = descriptor_limit(), descriptors_kept(self._settings)
        number, opened = sock.fileno(), self._front.open
        opened.add(sock)  # its place is taken from now on
        has_descriptor = number < limit - kept  # rule 1
        has_place = has_place or opened.of_all_workers <= self._settings.connections
        has_place = has_place and has_descriptor and len(opened) <= places_here(self._settings)
        # Who gives way does so in a later turn, so for a moment there is one too many; past half of the reserve none.
        if not has_place and (number >= limit - kept // 2 or not self._front.connections.make_room()):
            opened.discard(sock)
            self._front.refuse(
                Refusal.FULL if has_descriptor else Refusal.NO_DESCRIPTOR,
                _address(sock) if relayed is None else relayed.host,
            )
            _turn_away(sock, is_answered=is_answered)
            return
        sock.setblocking(False)
        protocol = self._protocol(received=received, is_answered=is_answered, relayed=relayed)
        opened.add(protocol)
        opened.discard(sock)
        task = asyncio.get_running_loop().create_task(self._connect(sock, protocol))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    def take(self, descriptor: int, received: bytes, *, is_answered: bool, relayed: RelayedPeer | None = None) -> None:
        """Take a connection that another worker hands over, or another node relays (rules 3 and 4)."""
        sock = socket.socket(fileno=descriptor)
        if sock.family != socket.AF_UNIX and _address(sock) is None:
            sock.close()  # the peer is gone; without an address it would pass for one of a unix socket
        else:
            self.let_in(sock, received=received, is_answered=is_answered, has_place=relayed is None, relayed=relayed)

    async def wait_closed(self) -> None:
        """Return when all that was let in has its protocol."""
        await asyncio.gather(*self._coming, return_exceptions=True)

    async def _connect(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        except OSError:  # the peer is gone again
            sock.close()
            self._front.open.discard(protocol)


def _address(sock: socket.socket) -> str | None:
    """Return the peer's address; None: it is gone, or that of a unix socket, which has none."""
    with contextlib.suppress(OSError):
        peer = sock.getpeername()
        return str(peer[0]) if isinstance(peer, tuple) else None
    return None


def _turn_away(sock: socket.socket, *, is_answered: bool) -> None:
    """Refuse and close (rule 2). What came is read first, or the kernel would throw the answer away."""
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.recv(_MAX_HEAD_READ)
        sock.send(_FULL_CLOSE if is_answered else _FULL_RESPONSE)
    sock.close()
