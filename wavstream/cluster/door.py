"""The door of a node: other nodes call here, prove themselves, and say what a connection is for. Both ends of it.

1. Only whoever has proved itself (``preamble``) is listened to, within ``GREETING_S``; who has not, takes one of
   ``MOST_STRANGERS`` places until then, and one of them gives way to the next.
2. Nothing is read beyond the words of the preamble and what it announces: what follows is the connection's own.
3. A connection is read by one of the two at most, whatever is lost on the way: the caller keeps it until it has the
   verdict, and the called one begins when it is told that the caller has it (``GO``). Without a verdict the caller
   tries again, and nothing has been read. Without the last word nobody reads it, and its peer sees what the death of a
   server looks like. Read twice, a request would be done twice: two recordings of one start.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import structlog

from wavstream.cluster import preamble
from wavstream.cluster.preamble import BadPreamble, Header, Verdict
from wavstream.errors import OperatorError

GREETING_S = 3.0
MOST_STRANGERS = 256
_A_TURN = 16
"""Connections accepted in a turn of the loop."""
_USER_TIMEOUT_MS = 10_000
"""How long what was sent may be without an answer of the other machine's kernel: then it is gone."""

log = structlog.get_logger(__name__)


class Refused(Exception):
    """The node that was called does not take it."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.name)
        self.verdict = verdict


Decide = Callable[[Header], Verdict]
"""Says whether what a node that has proved itself brings is taken."""
TakeCaller = Callable[[socket.socket, Header, bytes], None]
"""Takes a connection, which is from then on the taker's to close, and what was read of it."""


async def call(address: str, key: bytes, header: Header, received: bytes = b"") -> socket.socket:
    """Return a connection to the node at ``host:port``, which has taken ``header`` and ``received`` (rule 3).

    Raise OSError if nobody is there, BadPreamble if it is another, Refused if it does not take it, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(GREETING_S):
            sock = await _connect(address)
            caller = os.urandom(preamble.NONCE_BYTES)
            await loop.sock_sendall(sock, preamble.call(caller))
            called = preamble.read_answer(key, await _exactly(sock, preamble.ANSWER_BYTES), caller=caller)
            await loop.sock_sendall(sock, preamble.pack_header(key, header, called=called, caller=caller) + received)
            verdict = Verdict((await _exactly(sock, 1))[0])
            if verdict is not Verdict.TAKEN:
                raise Refused(verdict)
            await loop.sock_sendall(sock, preamble.GO)
            return sock
    except BaseException as error:
        if sock is not None:
            sock.close()
        if isinstance(error, ValueError):  # no verdict that this version knows
            raise BadPreamble("it speaks another version") from error
        raise


class Door:
    """The listening socket of a node. Lives on the event loop."""

    def __init__(self, name: str, *, key: bytes, listen: str, decide: Decide, take: TakeCaller) -> None:
        """Listen at ``host:port`` when it is opened; ``take`` is given what ``decide`` lets in."""
        self._name = name
        self._key = key
        self._listen = listen
        self._decide = decide
        self._take = take
        self._sock: socket.socket | None = None
        self._greeting: dict[asyncio.Task[None], None] = {}
        """In the order in which they came."""
        self.refused = 0
        """Connections of strangers, since the start."""

    @property
    def port(self) -> int:
        """The port that it listens at, while it is open."""
        assert self._sock is not None
        return int(self._sock.getsockname()[1])

    async def open(self) -> None:
        """Take calls from now on; raise OperatorError if the address cannot be used."""
        loop = asyncio.get_running_loop()
        host, port = split_address(self._listen)
        try:
            found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(address)
                sock.listen(1_024)
                sock.setblocking(False)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise OperatorError(
                f"cluster.listen: {self._listen} cannot be used ({error.strerror or error}): name an address of this "
                "machine and a port that is free, by which the other nodes reach it"
            ) from error
        self._sock = sock
        loop.add_reader(sock, self._accept)

    async def close(self) -> None:
        """Take no calls any more."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        greeting = [*self._greeting]
        for task in greeting:
            task.cancel()
        await asyncio.gather(*greeting, return_exceptions=True)

    def _accept(self) -> None:
        assert self._sock is not None
        for _ in range(_A_TURN):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # no descriptor is free, or the peer is gone again
                log.warning("node_call_not_accepted", error=str(error))
                return
            sock.setblocking(False)
            if len(self._greeting) >= MOST_STRANGERS:  # rule 1
                next(iter(self._greeting)).cancel()
            task = asyncio.get_running_loop().create_task(self._greet(sock, str(address[0])))
            self._greeting[task] = None
            task.add_done_callback(lambda done: self._greeting.pop(done, None))

    async def _greet(self, sock: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(GREETING_S):
                _tune(sock)
                caller = preamble.read_call(await _exactly(sock, preamble.CALL_BYTES))
                called = os.urandom(preamble.NONCE_BYTES)
                await loop.sock_sendall(sock, preamble.answer(self._key, called=called, caller=caller))
                size = preamble.header_bytes(await _exactly(sock, preamble.LENGTH_BYTES))
                words = await _exactly(sock, size)
                header = preamble.read_header(self._key, words, called=called, caller=caller, own=self._name)
                received = await _exactly(sock, header.received_bytes)
                verdict = self._decide(header)
                await loop.sock_sendall(sock, bytes((verdict,)))
                if verdict is Verdict.TAKEN:
                    await _exactly(sock, len(preamble.GO))  # rule 3
        except BaseException as error:
            sock.close()
            if isinstance(error, BadPreamble):
                self.refused += 1
                log.warning("node_call_refused", address=address, reason=str(error))
            elif not isinstance(error, OSError | TimeoutError):
                raise
            return
        if verdict is Verdict.TAKEN:
            self._take(sock, header, received)
        else:
            sock.close()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[host]:port``; raise ValueError."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def _connect(address: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    host, port = split_address(address)
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, place = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        _tune(sock)
        await loop.sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    """Have frames leave at once, and a machine that has vanished noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = (("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS), ("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    for name, setting in options:
        if (option := getattr(socket, name, None)) is not None:  # Linux has all
            sock.setsockopt(socket.IPPROTO_TCP, option, setting)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    while size:
        part = await loop.sock_recv(sock, min(size, 256 * 1024))  # rule 2
        if not part:
            raise ConnectionResetError("the node has ended the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
