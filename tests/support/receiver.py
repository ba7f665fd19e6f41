"""A receiver of webhooks on loopback, which answers as the test wants and keeps what it got."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.support.waiting import WAIT_S as WAIT_S


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    line: str
    """Such as ``POST /hook HTTP/1.1``."""
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    connection: int
    """Which one it came on, from 0."""

    @property
    def message(self) -> dict[str, Any]:
        """The body as JSON."""
        return json.loads(self.body)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written back."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_short: bool = False
    """Whether the connection ends before the answer does."""


class Receiver:
    """A server for as long as its context lasts; ``answer`` may be changed at any time."""

    def __init__(self, answer: Callable[[Received], Awaitable[Answer]] | None = None) -> None:
        self.answer = answer
        self.requests: list[Received] = []
        self.connections = 0
        self._open = 0
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None

    def with_tls(self, context: ssl.SSLContext) -> Self:
        """Serve over TLS; return the receiver itself."""
        self._tls = context
        return self

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [request.message for request in self.requests]

    async def wait_for(self, count: int) -> list[Received]:
        """All requests, as soon as there are so many."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def left(self) -> None:
        """Return when every connection has ended: all that was sent on them is among the requests."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: not self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self.connections
        self.connections += 1
        self._open += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                request = await _read(reader, connection)
                self.requests.append(request)
                async with self._changed:
                    self._changed.notify_all()
                answer = await self.answer(request) if self.answer is not None else Answer()
                if not await _write(writer, answer):
                    break
        self._open -= 1
        async with self._changed:
            self._changed.notify_all()
        writer.close()


def always(answer: Answer) -> Callable[[Received], Awaitable[Answer]]:
    """Return what answers the same to everything."""

    async def give(_: Received) -> Answer:
        return answer

    return give


async def _read(reader: asyncio.StreamReader, connection: int) -> Received:
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(line, headers, body, connection)


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Whether the connection can be used again."""
    length = len(answer.body) + (1 if answer.cut_short else 0)
    head = {"content-length": str(length), **answer.headers}
    fields = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f"HTTP/1.1 {answer.status} Said\r\n{fields}\r\n".encode() + answer.body)
    await writer.drain()
    return not answer.cut_short
