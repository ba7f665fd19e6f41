"""A WebSocket server that keeps what it is sent: what the tests hold the simulator against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from wavstream.simulator.address import ServerAddress


@dataclass
class Heard:
    """One connection."""

    target: str
    authorization: str | None
    messages: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    close_code: int | None = None

    @property
    def audio(self) -> bytes:
        return b"".join(self.messages)


@dataclass
class Receiver:
    """Everything that was heard, in order of connecting."""

    address: ServerAddress
    connections: list[Heard] = field(default_factory=list)


@asynccontextmanager
async def receiver(
    *,
    status: HTTPStatus | None = None,
    on_message: Callable[[Heard], tuple[int, str] | None] = lambda _: None,
    talk: bytes | str = b"",
) -> AsyncIterator[Receiver]:
    """Serve on loopback: refuse with ``status``, close with what ``on_message`` returns, send ``talk`` first."""
    heard = Receiver(ServerAddress("127.0.0.1", 0, False, ""))

    def refuse(connection: ServerConnection, _request: Request) -> Response | None:
        return connection.respond(status, "") if status is not None else None

    async def keep(connection: ServerConnection) -> None:
        assert connection.request is not None
        one = Heard(connection.request.path, connection.request.headers.get("Authorization"))
        heard.connections.append(one)
        try:
            if talk:
                await connection.send(talk)
            async for message in connection:
                if isinstance(message, bytes):
                    one.messages.append(message)
                else:
                    one.texts.append(message)
                verdict = on_message(one)
                if verdict is not None:
                    await connection.close(*verdict)
        except ConnectionClosed:
            pass
        one.close_code = connection.close_code

    async with serve(keep, "127.0.0.1", 0, process_request=refuse, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        heard.address = ServerAddress("127.0.0.1", port, False, "")
        yield heard
