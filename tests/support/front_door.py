"""The port with a small application behind it, and peers that may break every rule."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from tests.support.media_plane import PATIENCE_S, RawPeer
from tests.support.waiting import until
from wavstream.access.connections import Connections
from wavstream.media.refusals import RefusalLog
from wavstream.service.acceptor import Acceptor
from wavstream.service.deadlines import HttpLimits, Refusal
from wavstream.service.entrance import Entrance
from wavstream.service.front import Front
from wavstream.service.http_protocol import HttpProtocol
from wavstream.settings import HttpSettings
from wavstream.workers.boundary import Alone, Boundary

MIB = 1024 * 1024


class Application:
    """Answers every request with its size; ``/large`` with 64 MiB, ``/wait`` when it is told."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.go_on = asyncio.Event()
        self.sent_bytes = 0
        self.waiting = 0
        """Requests that wait to be told."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer (ASGI)."""
        self.requests.append(scope)
        size_bytes, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size_bytes += len(message["body"])
            more = message["more_body"]
        if scope["path"] == "/wait":
            self.waiting += 1
            await self.go_on.wait()
            self.waiting -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64 if scope["path"] == "/large" else 0):
            if self.sent_bytes < 0:
                return
            await send({"type": "http.response.body", "body": bytes(MIB), "more_body": True})
            self.sent_bytes += MIB
        await send({"type": "http.response.body", "body": b"%d" % size_bytes, "more_body": False})


@dataclass
class FrontDoor:
    """A running port."""

    front: Front
    app: Application
    port: int
    acceptor: Acceptor
    peers: list[RawPeer] = field(default_factory=list)

    async def dial(self, request: bytes = b"") -> RawPeer:
        """Return a peer that has sent this."""
        self.peers.append(RawPeer(*await asyncio.open_connection("127.0.0.1", self.port)))
        self.peers[-1].send(request)
        return self.peers[-1]

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the only answer on a connection."""
        return await (await self.dial(request)).answer()

    async def refused(self, refusal: Refusal, times: int = 1) -> None:
        """Wait until so many connections were refused for this, and none for anything else."""
        await until(lambda: sum(self.front.refused.values()) >= times)
        assert self.front.refused == {refusal: times}

    async def empty(self) -> None:
        """Wait until no connection is open."""
        await until(lambda: not self.front.open and not self.front.connections.waiting)


@asynccontextmanager
async def front_door(
    *,
    limits: HttpLimits | None = None,
    settings: HttpSettings | None = None,
    app: Callable[..., Any] | None = None,
    ws: Any = "none",
    boundary: Boundary | None = None,
    listener: socket.socket | None = None,
) -> AsyncIterator[FrontDoor]:
    """``ws``: the class of WebSockets; ``boundary``: to other doors; ``listener``: None: a port of its own."""
    settings = settings or HttpSettings()
    listener = listener or socket.create_server(("127.0.0.1", 0), backlog=4096)
    application = Application()
    config = uvicorn.Config(app or application, lifespan="off", log_config=None, ws=ws)
    config.load()
    front = Front(
        limits=limits or HttpLimits(linger_s=0.05),
        connections=Connections(per_address=settings.waiting_per_address),
        refusal_log=RefusalLog(),
        boundary=boundary or Alone(),
    )
    state = ServerState()
    state.connections = front.open
    make = functools.partial(HttpProtocol, config, state, front=front)
    entrance = Entrance(settings, front=front, protocol=make)
    front.boundary.takes(entrance.take)
    acceptor = Acceptor(listener, front=front, entrance=entrance)
    name = listener.getsockname()
    door = FrontDoor(front, application, name[1] if isinstance(name, tuple) else 0, acceptor)
    try:
        yield door
    finally:
        acceptor.close()
        application.go_on.set()
        for peer in door.peers:
            peer.writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            await acceptor.wait_closed()
            await door.empty()
        listener.close()
