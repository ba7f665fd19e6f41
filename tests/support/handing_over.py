"""Several front doors in one process, each a worker's, with real inboxes between them."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.front_door import FrontDoor, front_door
from tests.support.media_plane import RememberingSessions, RememberingSink, endpoint_of, only_key_is_good
from tests.support.waiting import until
from tests.support.workers import Inboxes
from wavstream.errors import PeerError
from wavstream.media.endpoint import MediaEndpoint, MediaLimits
from wavstream.media.handshake import media_protocol
from wavstream.media.request import MediaCredentials
from wavstream.service.deadlines import HttpLimits
from wavstream.settings import HttpSettings
from wavstream.workers.boundary import WorkerUnavailable, owner_of
from wavstream.workers.neighbours import Workers


def session_of(worker: int, name: str = "call", *, count: int = 2) -> str:
    """Return the id of a session that this worker has."""
    return next(each for number in range(1_000) if owner_of(each := f"{name}-{number}", count) == worker)


class Office:
    """Answers ``/of/N/...`` at worker N, with what was asked; hands other requests over, as the real one does."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.taken: list[tuple[str, str, bytes]] = []
        """Method, path and body of what was answered here."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer (ASGI)."""
        worker = int(scope["path"].split("/")[2])
        reads_first = scope["path"].endswith("/body")
        body = await whole(receive) if reads_first else b""
        status = 200
        if worker != self.index:
            try:
                await scope["extensions"]["wavstream.connection"]["connection"].hand_over(worker)
            except WorkerUnavailable:
                status = 503
            else:
                return
        if not reads_first:
            body = await whole(receive)
        self.taken.append((scope["method"], scope["path"], body))
        size = 32 * 1024 * 1024 if scope["path"].endswith("/large") else 0
        answer = b"%d %s %d" % (self.index, scope["path"].encode(), len(body)) + bytes(size)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer, "more_body": False})


async def whole(receive: Any) -> bytes:
    """Return the body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message["body"]
        more = message["more_body"]
    return body


@dataclass
class Doors:
    """The front doors, by worker."""

    doors: list[FrontDoor]
    offices: list[Office]
    planes: list[tuple[MediaEndpoint, RememberingSessions]]
    workers: list[Workers] = field(default_factory=list)
    inboxes: Inboxes | None = None

    async def sink(self, worker: int, number: int = 0) -> RememberingSink:
        """Return what a stream of this worker's has heard."""
        sessions = self.planes[worker][1]
        await until(lambda: len(sessions.sinks) > number)
        return sessions.sinks[number]

    def counted(self, worker: int) -> tuple[int, int, int]:
        """Return how many connections, media sockets, and sockets of apps are counted there."""
        endpoint = self.planes[worker][0]
        return len(self.doors[worker].front.open), endpoint.counters.open_sockets, endpoint.quotas.sockets.own


@asynccontextmanager
async def doors(
    count: int = 2,
    *,
    limits: HttpLimits | None = None,
    settings: Sequence[HttpSettings] | None = None,
    media: MediaLimits | None = None,
    authenticate: Callable[[MediaCredentials], str | Awaitable[str]] = only_key_is_good,
    refuse: PeerError | None = None,
    listeners: Sequence[socket.socket] | None = None,
    closed: Sequence[int] = (),
    wait_s: float = 5.0,
) -> AsyncIterator[Doors]:
    """Yield the doors, open; ``closed``: workers that take nothing from their inboxes yet."""
    inboxes = Inboxes(count)
    made = [inboxes.worker(index, wait_s=wait_s) for index in range(count)]
    found = Doors([], [Office(index) for index in range(count)], [], made, inboxes)
    async with AsyncExitStack() as stack:
        stack.callback(inboxes.close)
        for index, worker in enumerate(made):
            sessions = RememberingSessions(refuse=refuse)
            plain = endpoint_of(sessions, authenticate=authenticate, limits=media)
            endpoint = dataclasses.replace(plain, boundary=worker)
            door = front_door(
                limits=limits,
                settings=None if settings is None else settings[index],
                app=found.offices[index],
                ws=media_protocol(endpoint),
                boundary=worker,
                listener=None if listeners is None else listeners[index],
            )
            found.planes.append((endpoint, sessions))
            found.doors.append(await stack.enter_async_context(door))
        for index, worker in enumerate(made):
            stack.push_async_callback(worker.close)
            if index not in closed:
                worker.open()
        yield found
        for each in found.doors:
            for peer in each.peers:
                peer.writer.transport.abort()
            for connection in list(each.front.open):
                connection.shutdown()
        await asyncio.sleep(0)
