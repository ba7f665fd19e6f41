"""Inboxes: how the workers of one server send each other messages, and descriptors.

1. Each worker has one inbox, a pair of ``SOCK_SEQPACKET`` sockets that the supervisor made and keeps open. Whoever
   dies, a message is whole or not there, and what is sent to a worker that is being started again waits for it.
2. A message of more than ``PART_BYTES`` goes in parts. What one worker sends to another arrives in order, so a first
   part ends whatever its sender, which died meanwhile, had begun. A descriptor goes with the last part: one that has
   arrived belongs to a whole message.
3. Nobody waits for the kernel. What it does not take waits here, in order, so much (``WorkerUnavailable``) and so long;
   then it is dropped, and its connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import msgspec
import structlog

from wavstream.workers.boundary import WorkerUnavailable

PART_BYTES = 65_536
WAIT_S = 5.0
"""For a worker that is being started again; whoever asks waits no longer."""
QUEUE_BYTES = 16 * 1024 * 1024
"""That wait for one worker, beside what the kernel takes."""
QUEUE_MESSAGES = 1_024
"""Each may have a descriptor."""
_BUFFER_BYTES = 4 * 1024 * 1024
"""Of the kernel, where it gives so much."""
_HEAD_BYTES = 4_096
_MESSAGE_COST = 256
"""Bytes that a message takes beside its body."""
_SO_SNDBUFFORCE = 32
"""Beyond what the system allows, for root: asm-generic/socket.h."""
_DESCRIPTOR_BYTES = array("i").itemsize
_A_TURN = 64
"""Messages that are read in a turn of the loop."""

log = structlog.get_logger(__name__)


class Kind(IntEnum):
    """What a message is."""

    CONNECTION = 0
    ANSWERED_CONNECTION = 1
    QUESTION = 2
    ANSWER = 3
    FAILURE = 4
    """The answer to a question that could not be answered."""
    TOLD = 5


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message, or a part of one."""

    sender: int
    kind: Kind
    name: str = ""
    """The question, or what is told."""
    number: int = 0
    """Of a question, and of its answer."""
    until_ns: int = 0
    """Until when somebody waits, by the monotonic clock, which all processes of a machine have in common; 0: nobody."""
    part: int = 0
    is_last: bool = True
    body: bytes = b""

    @property
    def is_late(self) -> bool:
        """Whether nobody waits for it any more."""
        return bool(self.until_ns) and time.monotonic_ns() > self.until_ns


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode

Take = Callable[[Message, int | None], None]
"""Takes a message, and its descriptor, which is the taker's to close."""


def make_inbox() -> tuple[socket.socket, socket.socket]:
    """Return the receiving and the sending end of an inbox (rule 1)."""
    receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in (receiving, sending):
        each.setblocking(False)
    for option in (socket.SO_SNDBUF, _SO_SNDBUFFORCE):
        with contextlib.suppress(OSError):
            sending.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    return receiving, sending


class Inbox:
    """The receiving end of a worker's own inbox: what comes is handed over on the loop, from ``open`` on."""

    def __init__(self, receiving: socket.socket, take: Take) -> None:
        self._receiving = receiving
        self._take = take
        self._begun: dict[int, list[bytes]] = {}
        """By sender, the parts of a message whose last one has not come."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Read what is there and what comes."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._receiving, self._read)

    def close(self) -> None:
        """Read no more; what comes waits in the kernel for whoever opens the inbox next."""
        if self._loop is not None:
            self._loop.remove_reader(self._receiving)
            self._loop = None

    def _read(self) -> None:
        for _ in range(_A_TURN):
            try:
                content, descriptor = _receive(self._receiving)
            except (BlockingIOError, InterruptedError):
                return
            if not content:  # all sending ends are gone, the supervisor's too
                self.close()
                return
            message = self._whole(_decode(content))
            if message is not None:
                self._take(message, descriptor)
            elif descriptor is not None:
                os.close(descriptor)

    def _whole(self, message: Message) -> Message | None:
        """Return the message whose last part this is; None: it is not there yet, or its beginning is not (rule 2)."""
        if message.part == 0:
            self._begun.pop(message.sender, None)
            if message.is_last:
                return message
            self._begun[message.sender] = [message.body]
            return None
        begun = self._begun.get(message.sender, [])
        if len(begun) != message.part:  # whoever had this inbox before has read the first parts
            return None
        begun.append(message.body)
        if not message.is_last:
            return None
        del self._begun[message.sender]
        return msgspec.structs.replace(message, body=b"".join(begun))


class Outbound:
    """The sending end of another worker's inbox (rule 3)."""

    def __init__(self, worker: int, sending: socket.socket, *, wait_s: float = WAIT_S) -> None:
        self._worker = worker
        self._sending = sending
        self._wait_s = wait_s
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        """While something waits."""
        self._timer: asyncio.TimerHandle | None = None

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message; a descriptor goes as a copy, the caller's is still to be closed. Raise WorkerUnavailable."""
        parts = [*_parts(message)]
        sent = 0
        if not self._queue:
            try:
                for sent, part in enumerate(parts):
                    _send(self._sending, part, descriptor if sent == len(parts) - 1 else None)
                return
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                raise WorkerUnavailable(self._worker) from error
        cost = sum(len(part) for part in parts[sent:]) + _MESSAGE_COST
        if self._queued_bytes + cost > QUEUE_BYTES or len(self._queue) >= QUEUE_MESSAGES:
            raise WorkerUnavailable(self._worker)
        try:
            copy = None if descriptor is None else os.dup(descriptor)
        except OSError as error:
            raise WorkerUnavailable(self._worker) from error
        self._queue.append(_Waiting(deque(parts[sent:]), copy, cost, give_up_s=time.monotonic() + self._wait_s))
        self._queued_bytes += cost
        self._wait()

    def close(self) -> None:
        """Drop what waits."""
        self._drop(len(self._queue))

    def _wait(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_writer(self._sending, self._write)
            self._timer = self._loop.call_later(self._wait_s, self._give_up)

    def _write(self) -> None:
        """Send what waits, as far as the kernel takes it."""
        while self._queue:
            first = self._queue[0]
            try:
                while first.parts:
                    _send(self._sending, first.parts[0], first.descriptor if len(first.parts) == 1 else None)
                    first.parts.popleft()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                pass
            self._take_first()
        self._end_wait()

    def _give_up(self) -> None:
        """Drop what has waited too long, and look again when the next one has."""
        assert self._loop is not None
        now_s = time.monotonic()
        late = sum(each.give_up_s <= now_s for each in self._queue)
        self._drop(late)
        if self._queue:
            self._timer = self._loop.call_later(self._queue[0].give_up_s - now_s, self._give_up)

    def _drop(self, count: int) -> None:
        if count:
            log.warning("worker_messages_dropped", to=self._worker, messages=count)
        for _ in range(count):
            self._take_first()
        if not self._queue:
            self._end_wait()

    def _take_first(self) -> None:
        first = self._queue.popleft()
        self._queued_bytes -= first.cost
        if first.descriptor is not None:
            os.close(first.descriptor)

    def _end_wait(self) -> None:
        if self._loop is not None:
            self._loop.remove_writer(self._sending)
            self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@dataclass(slots=True, eq=False)
class _Waiting:
    parts: deque[bytes]
    descriptor: int | None
    cost: int
    give_up_s: float


def _parts(message: Message) -> Iterator[bytes]:
    body = message.body
    last = max(0, len(body) - 1) // PART_BYTES
    for part in range(last + 1):
        piece = body[part * PART_BYTES : (part + 1) * PART_BYTES]
        yield _encode(msgspec.structs.replace(message, part=part, is_last=part == last, body=piece))


def _send(sending: socket.socket, content: bytes, descriptor: int | None) -> None:
    rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]))]
    sending.sendmsg([content], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _receive(receiving: socket.socket) -> tuple[bytes, int | None]:
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    content, rights, _, _ = receiving.recvmsg(PART_BYTES + _HEAD_BYTES, socket.CMSG_SPACE(_DESCRIPTOR_BYTES), flags)
    for level, kind, given in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(given) == _DESCRIPTOR_BYTES:
            return content, array("i", given)[0]
    return content, None
