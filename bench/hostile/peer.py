"""A hostile peer's sockets, and the tally of what the server did to them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

ANSWER_S = 5.0
"""How long an attack waits for an answer before it counts as none."""
_ADDRESS = "127.0.0.2"
"""Of the attacks; the calls that are to be left alone come from 127.0.0.1."""
_RECEIVED = 65_536

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_sessions = itertools.count()


@dataclass(slots=True)
class Tally:
    """What an attack did, and what it got."""

    count: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """What must not be: a sentence each."""

    def got(self, answer: str) -> None:
        """Count one attempt with its answer."""
        self.count += 1
        self.answers[answer] += 1


@dataclass(slots=True)
class Peer:
    """Where to attack, with what, and how hard."""

    port: int
    seed: int
    key: str
    """Of the attacking app."""
    token: str
    """A stream token of it."""
    fresh_keys: list[str] = field(default_factory=list)
    """Right keys of other apps that nobody has used yet."""
    recording: str = ""
    """A finished recording of it, of some megabytes."""
    scale: float = 1.0
    """Times as much as the full attack."""
    held: list[Stream] = field(default_factory=list)
    """Sockets that stay open until the end, when the server must have ended them."""
    drawn: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.drawn.seed(f"hostile {self.seed}")

    def many(self, number: int) -> int:
        """Return so many, at this scale."""
        return max(round(number * self.scale), 2)

    def session(self) -> str:
        """Return a session id that nobody has had."""
        return f"evil-{next(_sessions)}"

    async def connect(self) -> Stream:
        """Open a socket; raise OSError."""
        async with asyncio.timeout(ANSWER_S):
            return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(_ADDRESS, 0))

    async def ask(self, data: bytes, *, wait_s: float = ANSWER_S) -> tuple[str, bytes]:
        """Send bytes and return the status, or what became of the socket, with the head and what came with it."""
        try:
            reader, writer = await self.connect()
        except (OSError, TimeoutError):
            return "not connected", b""
        try:
            writer.write(data)
            return await answer_of(reader, wait_s=wait_s)
        finally:
            await drop(writer)

    async def request(
        self, method: str, path: str, *, key: str | None = None, body: bytes = b"", headers: str = ""
    ) -> tuple[str, bytes]:
        """Make a well-formed request on a socket of its own."""
        return await self.ask(self.head(method, path, key=key, body=body, headers=headers) + body, wait_s=20)

    def head(self, method: str, path: str, *, key: str | None = None, body: bytes = b"", headers: str = "") -> bytes:
        """Return the head of a request."""
        bearer = f"Authorization: Bearer {key}\r\n" if key else ""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        fields = f"Host: 127.0.0.1:{self.port}\r\nConnection: close\r\n{bearer}{length}{headers}"
        return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()

    def upgrade(self, path: str, *, key: str | None = None, headers: str = "", version: str = "13") -> bytes:
        """Return the head of an upgrade."""
        nonce = base64.b64encode(os.urandom(16)).decode()
        bearer = f"Authorization: Bearer {key}\r\n" if key else ""
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: {version}\r\n{bearer}{headers}\r\n"
        ).encode()

    @asynccontextmanager
    async def stream(self, path: str, *, key: str | None = None) -> AsyncIterator[Stream | None]:
        """Open a media stream; None where it is refused."""
        try:
            reader, writer = await self.connect()
        except (OSError, TimeoutError):
            yield None
            return
        try:
            writer.write(self.upgrade(path, key=key or self.token))
            status, _ = await answer_of(reader)
            yield (reader, writer) if status == "101" else None
        finally:
            await drop(writer)


async def answer_of(reader: asyncio.StreamReader, *, wait_s: float = ANSWER_S) -> tuple[str, bytes]:
    """Return the status of an answer, or what became of the socket; and what was received."""
    received = b""
    try:
        async with asyncio.timeout(wait_s):
            while b"\r\n\r\n" not in received:
                piece = await reader.read(_RECEIVED)
                if not piece:
                    return ("closed" if not received else _status(received)), received
                received += piece
    except TimeoutError:
        return "no answer", received
    except OSError:
        return "reset", received
    return _status(received), received


async def close_of(reader: asyncio.StreamReader, *, wait_s: float = ANSWER_S) -> str:
    """Return with which code the server closes a stream, or what became of it."""
    received = b""
    try:
        async with asyncio.timeout(wait_s):
            while True:
                piece = await reader.read(_RECEIVED)
                if not piece:
                    return "dropped"
                received += piece
                while len(received) >= 2:
                    size, head = received[1] & 0x7F, 2
                    if size > 125:
                        head = 4 if size == 126 else 10
                        if len(received) < head:
                            break
                        size = int.from_bytes(received[2:head])
                    if len(received) < head + size:
                        break
                    if received[0] & 0x0F == 8:
                        return f"close {int.from_bytes(received[head : head + 2])}"
                    received = received[head + size :]
    except TimeoutError:
        return "left open"
    except OSError:
        return "reset"


def message(payload: bytes, *, opcode: int = 2, final: bool = True, bits: int = 0) -> bytes:
    """Return a frame as a client masks it, with zeros."""
    first = (0x80 if final else 0) | bits | opcode
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        size = b"\xfe" + len(payload).to_bytes(2)
    else:
        size = b"\xff" + len(payload).to_bytes(8)
    return bytes([first]) + size + bytes(4) + payload


async def drop(writer: asyncio.StreamWriter) -> None:
    """End a socket without a word."""
    with contextlib.suppress(OSError, RuntimeError):
        writer.transport.abort()


async def at_once(number: int, attempt: Callable[[int], Awaitable[None]], *, together: int = 50) -> None:
    """Make so many attempts, some of them at a time."""
    numbers = iter(range(number))

    async def work() -> None:
        for each in numbers:
            await attempt(each)

    await asyncio.gather(*(work() for _ in range(min(together, number))))


def _status(head: bytes) -> str:
    words = head.split(b" ", 2)
    if not head.startswith(b"HTTP/") or len(words) < 2:
        return "not HTTP"
    return words[1][:3].decode(errors="replace")
