"""Takes connections from a listening socket, and has them let in (``service.entrance``).

1. A few connections a turn of the loop: the requests of those that were taken are read before more are, so a switch
   that opens all its streams in the same second never has many connections wait at once.
2. When accepting fails for want of something, nothing is accepted for a moment: the socket stays readable, and the loop
   would do nothing else.
"""

from __future__ import annotations

import asyncio
import socket

from wavstream.service.deadlines import Refusal
from wavstream.service.entrance import Entrance
from wavstream.service.front import Front

_A_TURN = 64
_GIVE_WAY_A_TURN = 8
"""Their descriptors are free again a turn or two later: taking more meanwhile would use up the reserve."""
_REST_S = 0.2
"""Between two tries to accept."""


class Acceptor:
    """Accepts until it is closed; to uvicorn it is a server."""

    def __init__(self, listener: socket.socket, *, front: Front, entrance: Entrance) -> None:
        """Accept from ``listener``."""
        self._listener = listener
        self._front = front
        self._entrance = entrance
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._begin()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listener)
        if self._rest is not None:
            self._rest.cancel()

    async def wait_closed(self) -> None:
        """Return when all that was accepted has its protocol."""
        await self._entrance.wait_closed()

    def _begin(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        waiting = self._front.connections.waiting
        for _ in range(_A_TURN):  # rule 1
            if waiting - self._front.connections.waiting >= _GIVE_WAY_A_TURN:
                return
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # the peer is gone again
                continue
            except OSError:
                self._pause()
                return
            self._entrance.let_in(sock)

    def _pause(self) -> None:
        """Let connections wait in the kernel (rule 2)."""
        self._front.refuse(Refusal.NO_DESCRIPTOR, None)
        self._front.connections.make_room()
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(_REST_S, self._begin)
