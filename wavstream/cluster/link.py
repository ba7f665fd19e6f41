"""What a node asks and tells another one: frames on one connection that stays, from the one that asks.

1. A frame is its length and a ``Message``. A question has a number, by which its answer finds it, and says for how many
   milliseconds somebody waits: no clocks are compared. One that waited for longer on its way is not answered.
2. Whoever asks makes the connection, keeps it, and makes it anew when it is lost. What was asked on the lost one is
   answered to nobody. What is asked or told while there is none waits for it, so much and so long, as in an inbox of
   workers.
3. Nobody waits for the other's kernel: what it does not take is bounded too.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum

import msgspec
import structlog

from wavstream.cluster.door import Refused
from wavstream.cluster.preamble import LENGTH_BYTES, BadPreamble
from wavstream.workers.boundary import Answer

MOST_FRAME_BYTES = 16 * 1024 * 1024
QUEUE_BYTES = 16 * 1024 * 1024
QUEUE_MESSAGES = 1_024
RETRY_S = 0.2
"""Between two tries to reach a node. It does not grow: one that starts says that it lives some moments before it
answers, and a list waits no more than a second for it."""

log = structlog.get_logger(__name__)


class Kind(IntEnum):
    """What a frame is."""

    QUESTION = 0
    ANSWER = 1
    FAILURE = 2
    """The answer to a question that could not be answered."""
    TOLD = 3


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A frame."""

    kind: Kind
    name: str = ""
    """The question, or what is told."""
    number: int = 0
    wait_ms: int = 0
    """For how long somebody waits for the answer."""
    body: bytes = b""


class Unanswered(Exception):
    """The node does not answer in time."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Link:
    """The connection on which one other node is asked. Lives on the event loop."""

    def __init__(self, name: str, *, connect: Callable[[], Awaitable[socket.socket]], wait_s: float) -> None:
        """``connect`` calls the node; what finds no connection waits for ``wait_s``."""
        self.name = name
        self._connect = connect
        self._wait_s = wait_s
        self._number = 0
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._waiting: deque[tuple[float, bytes]] = deque()
        """Until when, and a frame; while there is no connection."""
        self._waiting_bytes = 0
        self._writer: asyncio.StreamWriter | None = None
        self._run: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Connect, and stay connected."""
        if self._run is None:
            self._run = asyncio.get_running_loop().create_task(self._keep(), name=f"link to {self.name}")

    async def close(self) -> None:
        """Ask nothing any more."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)
            self._run = None
        self._fail_asked()

    async def ask(self, question: str, body: bytes, *, wait_s: float) -> bytes:
        """Return the answer; raise Unanswered."""
        self._number += 1
        number = self._number
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._send(Message(Kind.QUESTION, question, number, int(wait_s * 1000), body), wait_s)
            async with asyncio.timeout(wait_s):
                return await answer
        except TimeoutError:
            raise Unanswered(self.name) from None
        finally:
            del self._asked[number]

    def tell(self, what: str, body: bytes) -> None:
        """Tell it; raise Unanswered if too much waits already."""
        self._send(Message(Kind.TOLD, what, body=body), self._wait_s)

    # ---- within ------------------------------------------------------------------------------------------------

    def _send(self, message: Message, wait_s: float) -> None:
        frame = _frame(message)
        if self._writer is not None:
            if self._writer.transport.get_write_buffer_size() + len(frame) > QUEUE_BYTES:  # rule 3
                raise Unanswered(self.name)
            self._writer.write(frame)
            return
        now_s = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now_s:
            self._waiting_bytes -= len(self._waiting.popleft()[1])
        if self._waiting_bytes + len(frame) > QUEUE_BYTES or len(self._waiting) >= QUEUE_MESSAGES:
            raise Unanswered(self.name)
        self._waiting.append((now_s + min(wait_s, self._wait_s), frame))
        self._waiting_bytes += len(frame)

    async def _keep(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(sock=await self._connect())
            except (OSError, TimeoutError, BadPreamble, Refused):
                await asyncio.sleep(RETRY_S)
                continue
            try:
                self._flush(writer)
                self._writer = writer
                await self._read(reader)
            except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError, _TooLong):
                await asyncio.sleep(RETRY_S)
            finally:
                self._writer = None
                writer.transport.abort()
                self._fail_asked()

    def _flush(self, writer: asyncio.StreamWriter) -> None:
        now_s = time.monotonic()
        for until_s, frame in self._waiting:
            if until_s > now_s:
                writer.write(frame)
        self._waiting.clear()
        self._waiting_bytes = 0

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            message = await _next(reader)
            asked = self._asked.get(message.number)
            if asked is None or asked.done():  # it came too late
                continue
            if message.kind is Kind.ANSWER:
                asked.set_result(message.body)
            else:
                asked.set_exception(Unanswered(self.name))

    def _fail_asked(self) -> None:
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Unanswered(self.name))


class Answering:
    """The other end: answers what one node asks, for as long as it is connected."""

    def __init__(self, sender: str, *, answers: Mapping[str, Answer]) -> None:
        self._sender = sender
        self._answers = answers
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, sock: socket.socket) -> None:
        """Answer until the connection ends."""
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            while True:
                message = await _next(reader)
                if message.kind not in (Kind.QUESTION, Kind.TOLD):
                    continue
                task = asyncio.get_running_loop().create_task(self._answer(message, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError, _TooLong):
            return
        finally:
            for task in self._tasks:
                task.cancel()
            writer.transport.abort()

    async def _answer(self, message: Message, writer: asyncio.StreamWriter) -> None:
        until_s = time.monotonic() + message.wait_ms / 1000
        kind, body = Kind.FAILURE, b""
        try:
            kind, body = Kind.ANSWER, await self._answers[message.name](message.body)
        except Exception as error:
            log.error(
                "node_question_failed",
                question=message.name,
                sender=self._sender,
                error=str(error),
                exc_info=error,
            )
        if message.kind is Kind.TOLD or time.monotonic() > until_s:  # rule 1
            return
        frame = _frame(Message(kind, message.name, message.number, body=body))
        if writer.transport.get_write_buffer_size() + len(frame) <= QUEUE_BYTES and not writer.is_closing():
            writer.write(frame)


class _TooLong(Exception):
    """A frame is longer than any may be."""


def _frame(message: Message) -> bytes:
    body = _encode(message)
    return len(body).to_bytes(LENGTH_BYTES) + body


async def _next(reader: asyncio.StreamReader) -> Message:
    size = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
    if size > MOST_FRAME_BYTES:
        raise _TooLong
    return _decode(await reader.readexactly(size))
