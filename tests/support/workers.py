"""Several workers of one server in one process, over real inboxes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wavstream.workers.inbox import make_inbox
from wavstream.workers.neighbours import Workers


class Inboxes:
    """What the supervisor keeps: both ends of each inbox."""

    def __init__(self, count: int) -> None:
        pairs = [make_inbox() for _ in range(count)]
        self.receiving = [pair[0] for pair in pairs]
        self.sending = [pair[1] for pair in pairs]

    def worker(self, index: int, *, wait_s: float = 5.0) -> Workers:
        """Make a worker that is not open yet."""
        return Workers(index, inbox=self.receiving[index], others=self.sending, wait_s=wait_s)

    def close(self) -> None:
        for each in (*self.receiving, *self.sending):
            each.close()


@asynccontextmanager
async def workers(count: int, *, wait_s: float = 5.0) -> AsyncIterator[list[Workers]]:
    """Yield so many workers, open."""
    inboxes = Inboxes(count)
    made = [inboxes.worker(index, wait_s=wait_s) for index in range(count)]
    try:
        for each in made:
            each.open()
        yield made
    finally:
        for each in made:
            await each.close()
        inboxes.close()


def connection() -> tuple[socket.socket, socket.socket]:
    """Return a connection: what the peer has, and what was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    return peer, accepted
