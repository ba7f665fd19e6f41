"""Takes connections from the listening socket, as many as there are places and descriptors for.

1. A few connections a turn of the loop: the requests of those that were taken are read before more are, so a switch
   that opens all its streams in the same second never has many connections wait at once.
2. The last descriptors are for journals and files. The kernel gives the lowest number that is free, so a connection
   with a high one says that all below are in use, by whatever. What that costs is one comparison.
3. Where there is no place, a connection that waits gives way (``access.connections``), else the newcomer gets 503.
   Places are those of all workers, who gives way is one of this worker. Descriptors are each process's own.
4. When accepting fails for want of something, nothing is accepted for a moment: the socket stays readable, and the loop
   would do nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import Callable

from wavstream.api.problems import problem
from wavstream.service.deadlines import Refusal
from wavstream.service.http_protocol import Front
from wavstream.settings import HttpSettings

_A_TURN = 64
_GIVE_WAY_A_TURN = 8
"""Their descriptors are free again a turn or two later: taking more meanwhile would use up the reserve."""
_REST_S = 0.2
"""Between two tries to accept."""
_MAX_HEAD_READ = 65_536
_FULL_ANSWER = problem(
    503, "The server has no place for another connection.", headers={"retry-after": "5", "connection": "close"}
)
_FULL = b"".join(
    (
        b"HTTP/1.1 503 Service Unavailable\r\n",
        *(b"%b: %b\r\n" % line for line in _FULL_ANSWER.raw_headers),
        b"\r\n",
        _FULL_ANSWER.body,
    )
)


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


class Acceptor:
    """Accepts until it is closed; to uvicorn it is a server."""

    def __init__(
        self,
        listener: socket.socket,
        settings: HttpSettings,
        *,
        front: Front,
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        """Accept from ``listener``; ``protocol`` makes what a connection talks to."""
        self._listener = listener
        self._settings = settings
        self._front = front
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._handing_over: set[asyncio.Task[None]] = set()
        """Accepted, and not connected to their protocols yet."""
        listener.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listener)
        if self._rest is not None:
            self._rest.cancel()

    async def wait_closed(self) -> None:
        """Return when all that was accepted has its protocol."""
        await asyncio.gather(*self._handing_over, return_exceptions=True)

    def _begin(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        waiting = self._front.connections.waiting
        for _ in range(_A_TURN):  # rule 1
            if waiting - self._front.connections.waiting >= _GIVE_WAY_A_TURN:
                return
            try:
                sock, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # the peer is gone again
                continue
            except OSError:
                self._pause()
                return
            self._take(sock, peer[0] if isinstance(peer, tuple) else None)  # of a unix socket there is none

    def _pause(self) -> None:
        """Let connections wait in the kernel (rule 4)."""
        self._front.refuse(Refusal.NO_DESCRIPTOR, None)
        self._front.connections.make_room()
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(_REST_S, self._begin)

    def _take(self, sock: socket.socket, address: str | None) -> None:
        limit, kept = descriptor_limit(), descriptors_kept(self._settings)
        number, opened = sock.fileno(), self._front.open
        opened.add(sock)  # its place is taken from now on
        has_descriptor = number < limit - kept  # rule 2
        has_place = has_descriptor and len(opened) <= limit - kept
        has_place = has_place and opened.of_all_workers <= self._settings.connections
        # Who gives way does so in a later turn, so for a moment there is one too many; past half of the reserve none.
        if not has_place and (number >= limit - kept // 2 or not self._front.connections.make_room()):
            opened.discard(sock)
            self._front.refuse(Refusal.FULL if has_descriptor else Refusal.NO_DESCRIPTOR, address)
            _turn_away(sock)
            return
        sock.setblocking(False)
        protocol = self._protocol()
        opened.add(protocol)
        opened.discard(sock)
        task = self._loop.create_task(self._hand_over(sock, protocol))
        self._handing_over.add(task)
        task.add_done_callback(self._handing_over.discard)

    async def _hand_over(self, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:  # the peer is gone again
            sock.close()
            self._front.open.discard(protocol)


def _turn_away(sock: socket.socket) -> None:
    """Answer 503 and close (rule 3). What came is read first, or the kernel would throw the answer away."""
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.recv(_MAX_HEAD_READ)
        sock.send(_FULL)
    sock.close()
