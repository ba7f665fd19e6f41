"""One process of the load generator: many legs over raw sockets in one tight loop.

1. A plan comes in on standard input as one line of JSON; the news that all are connected, then the counts, go out the
   same way.
2. An asyncio client for each leg would cost more than the server that is measured. So the frames are made and masked
   before the first is sent, and plain non-blocking sockets send them.
3. What a full socket does not take is kept, and sent before anything else of that leg: the generator may be late, but
   it never leaves out a sample.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import encode
from wavstream.simulator.peers import CODECS
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, RING_FRAMES, Ring, first_frame, make_ring

SLOTS = 20
"""Groups of legs in a ptime when the load is spread: one each millisecond."""
LATE_S = 0.010
"""A slot that starts later than this after its time counts as a late tick."""
_HANDSHAKE_TIMEOUT_S = 15.0
_CLOSE_TIMEOUT_S = 15.0
_MASK = bytes.fromhex("5a3cc396")
_NO_MASK = bytes(4)
"""Leaves a message as it is, at the same cost for the server."""

_Message = Callable[[int, int], bytes]
"""Makes the message of a place in the ring as the leg's frame of this number, both from 0."""


@dataclass(slots=True)
class WorkerPlan:
    """The work of one process."""

    host: str
    port: int
    secure: bool
    authority: str
    key: str | None
    dialect: str
    targets: list[str]
    """Request targets of the legs, one socket each."""
    numbers: list[int]
    """The numbers of its legs in the whole load."""
    legs: int
    """Legs of the whole load."""
    frames: int
    """Frames of each leg."""
    burst: bool
    connects_per_s: float


@dataclass(slots=True)
class WorkerLeg:
    """The state of one leg's connection."""

    number: int
    place: int
    """Of its first frame in the ring."""
    connection: socket.socket
    unsent: bytes = b""
    """Bytes that the socket did not take yet."""
    unread: bytes = b""
    """Bytes of a message of the server that is not complete yet."""
    frames: int = 0
    close_code: int | None = None
    is_over: bool = False
    """Whether nothing more can be sent."""
    is_closing: bool = False
    """Whether our close was sent."""


@dataclass(slots=True)
class WorkerCounts:
    """The counts of one process."""

    frames: int = 0
    late_ticks: int = 0
    worst_late_ms: float = 0.0
    held_back: int = 0
    """Frames that a full socket did not take at once."""
    lost_legs: list[tuple[int, int | None]] = field(default_factory=list)
    """Legs that the server ended early or did not close, with the close code."""


def main() -> None:
    """Run the plan that comes in, and report its counts."""
    plan = WorkerPlan(**json.loads(sys.stdin.readline()))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    message = _messages(plan.dialect, make_ring(CODECS[plan.dialect][0]))
    try:
        legs = _connect(plan)
    except (OSError, ValueError) as failed:
        _report({"failed": str(failed)})
        return
    _report({"connected": len(legs)})
    start = json.loads(sys.stdin.readline())["start"]
    counts = _stream(plan, legs, message, start)
    _report(
        {
            "frames": counts.frames,
            "late_ticks": counts.late_ticks,
            "worst_late_ms": counts.worst_late_ms,
            "held_back": counts.held_back,
            "lost_legs": counts.lost_legs,
        }
    )


def _report(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _connect(plan: WorkerPlan) -> list[WorkerLeg]:
    """Open every stream, one after another at an even pace."""
    context = ssl.create_default_context() if plan.secure else None
    start, legs = time.monotonic(), []
    for count, (number, target) in enumerate(zip(plan.numbers, plan.targets, strict=True)):
        time.sleep(max(start + count / plan.connects_per_s - time.monotonic(), 0))
        connection = socket.create_connection((plan.host, plan.port), _HANDSHAKE_TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            connection = context.wrap_socket(connection, server_hostname=plan.host)
        unread = _upgrade(connection, plan, target)
        connection.sendall(_opening(plan.dialect, number))
        connection.setblocking(False)
        legs.append(WorkerLeg(number, first_frame(number, legs=plan.legs), connection, unread=unread))
    return legs


def _upgrade(connection: socket.socket, plan: WorkerPlan, target: str) -> bytes:
    """Shake hands, and return what the server sent behind its answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    authorization = f"Authorization: Bearer {plan.key}\r\n" if plan.key else ""
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: {plan.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{authorization}\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = connection.recv(4096)
        if not received:
            raise ConnectionError("the server closed a connection during the handshake")
        answer += received
    head, _, rest = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode(errors="replace")
    if " 101" not in status:
        raise ConnectionError(f"the server refused a stream: {status}")
    return rest


def _stream(plan: WorkerPlan, legs: list[WorkerLeg], message: _Message, start: float) -> WorkerCounts:
    """Send every frame of every leg at its time, then hang up; ``start`` is on the monotonic clock."""
    counts = WorkerCounts()
    slots = 1 if plan.burst else SLOTS
    by_slot = [[leg for leg in legs if leg.number * slots // plan.legs == slot] for slot in range(slots)]
    with selectors.DefaultSelector() as selector:
        for leg in legs:
            selector.register(leg.connection, selectors.EVENT_READ, leg)
        for tick in range(plan.frames):
            for slot, members in enumerate(by_slot):
                due = start + (tick + slot / slots) * PTIME_S
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                else:
                    counts.late_ticks += -wait > LATE_S
                    counts.worst_late_ms = max(counts.worst_late_ms, -wait * 1000)
                for leg in members:
                    send_frame(leg, message((leg.place + tick) % RING_FRAMES, tick), counts)
            for ready, _ in selector.select(0):
                _receive(ready.data, selector)
        _hang_up(legs, selector)
    counts.frames = sum(leg.frames for leg in legs)
    counts.lost_legs = [
        (leg.number, leg.close_code) for leg in legs if leg.close_code != 1000 or leg.frames != plan.frames
    ]
    return counts


def send_frame(leg: WorkerLeg, frame: bytes, counts: WorkerCounts) -> None:
    """Send a frame behind the leg's unsent bytes; what the socket does not take is kept (rule 3)."""
    if leg.is_over:
        return
    leg.frames += 1
    if not leg.unsent:
        try:
            taken = leg.connection.send(frame)
        except (BlockingIOError, ssl.SSLWantWriteError):
            taken = 0
        except OSError:
            leg.is_over = True
            return
        if taken == len(frame):
            return
        frame = frame[taken:]
    leg.unsent += frame
    counts.held_back += 1
    _flush(leg)


def _flush(leg: WorkerLeg) -> None:
    try:
        leg.unsent = leg.unsent[leg.connection.send(leg.unsent) :]
    except (BlockingIOError, ssl.SSLWantWriteError):
        return
    except OSError:
        leg.is_over = True


def _receive(leg: WorkerLeg, selector: selectors.BaseSelector) -> None:
    """Read from the server: answer its pings, note its close."""
    try:
        received = leg.connection.recv(65_536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    except OSError:
        received = b""
    if not received:
        leg.is_over = True
        selector.unregister(leg.connection)
        return
    leg.unread += received
    while len(leg.unread) >= 2:
        opcode, size, head = leg.unread[0] & 0x0F, leg.unread[1] & 0x7F, 2
        if size > 125:
            head = 4 if size == 126 else 10
            if len(leg.unread) < head:
                return
            size = int.from_bytes(leg.unread[2:head], "big")
        if len(leg.unread) < head + size:
            return
        payload, leg.unread = leg.unread[head : head + size], leg.unread[head + size :]
        if opcode == 0x9:
            leg.unsent += _control_frame(0xA, payload)
            _flush(leg)
        elif opcode == 0x8:
            leg.close_code = int.from_bytes(payload[:2], "big") if size >= 2 else 1005
            if not leg.is_closing:
                leg.unsent += _control_frame(0x8, payload[:2])
                _flush(leg)
                leg.is_over = True


def _control_frame(opcode: int, payload: bytes) -> bytes:
    masked = bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + _MASK + masked


def _hang_up(legs: list[WorkerLeg], selector: selectors.BaseSelector) -> None:
    """Close every stream with 1000 and wait until the server has closed it too."""
    for leg in legs:
        if not leg.is_over and leg.close_code is None:
            leg.is_closing = True
            leg.unsent += _control_frame(0x8, (1000).to_bytes(2, "big"))
            _flush(leg)
    deadline = time.monotonic() + _CLOSE_TIMEOUT_S
    while time.monotonic() < deadline and not all(leg.is_over or leg.close_code is not None for leg in legs):
        for ready, _ in selector.select(0.05):
            _receive(ready.data, selector)
        for leg in legs:
            if leg.unsent and not leg.is_over:
                _flush(leg)
    for leg in legs:
        with contextlib.suppress(OSError):
            leg.connection.close()


def _opening(dialect: str, number: int) -> bytes:
    """Return the bytes that leg ``number`` sends before its audio."""
    if dialect in ("pcm", "audio-stream"):
        return b""
    if dialect == "audio-fork":
        return _METADATA
    start = {
        "streamSid": f"MZ{number}",
        "callSid": f"CA{number}",
        "tracks": ["inbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return _text(json.dumps({"event": "start", "streamSid": f"MZ{number}", "start": start}).encode())


def _messages(dialect: str, ring: Ring) -> _Message:
    """Make every message of the ring."""
    match dialect:
        case "twilio":
            return _twilio(ring)
        case "audio-stream":
            return _late_metadata(_pcm(ring))
        case _:
            return _pcm(ring)


def _pcm(ring: Ring) -> _Message:
    payload = ring.astype("<i2", copy=False).view(np.uint8)
    size = FRAME_SAMPLES * 2
    mask = np.frombuffer(_MASK * (size // 4), np.uint8)
    wire = np.empty((RING_FRAMES, 8 + size), np.uint8)
    wire[:, :8] = np.frombuffer(b"\x82\xfe" + size.to_bytes(2, "big") + _MASK, np.uint8)
    wire[:, 8:] = payload ^ mask
    whole = wire.tobytes()
    frames = [whole[at : at + 8 + size] for at in range(0, len(whole), 8 + size)]
    return lambda place, _number: frames[place]


def _late_metadata(audio: _Message) -> _Message:
    """Put the metadata behind the first frame."""
    return lambda place, number: audio(place, number) + (b"" if number else _METADATA)


def _twilio(ring: Ring) -> _Message:
    whole = encode(ring, Codec.PCMU)
    payloads = [base64.b64encode(whole[at : at + FRAME_SAMPLES]) for at in range(0, len(whole), FRAME_SAMPLES)]
    ptime_ms = round(PTIME_S * 1000)

    def message(place: int, number: int) -> bytes:
        return _text(
            b'{"event":"media","sequenceNumber":"%d","streamSid":"MZ0","media":{"track":"inbound","chunk":"%d",'
            b'"timestamp":"%d","payload":"%s"}}' % (number + 2, number + 1, number * ptime_ms, payloads[place])
        )

    return message


def _text(message: bytes) -> bytes:
    """Frame a text message of at least 126 bytes."""
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + _NO_MASK + message


_METADATA = _text(json.dumps({"rate": 8000, "mix": "mono"}).encode().ljust(126))


if __name__ == "__main__":
    main()
