"""One process of the load generator: many legs over raw sockets in one tight loop.

A plan comes in on standard input as one line of JSON; that all are connected, then the counts, go out the same way.
One asyncio client for each leg would cost more than the server that it is to measure, so the frames are prebuilt,
masked, and sent by plain non-blocking sockets. What a full socket does not take is kept and sent before anything else
of that leg: the generator may be late, it never leaves a sample out.
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
from dataclasses import dataclass, field
from typing import Any

from wavstream.simulator.load_wire import MASK, Message, greeting, messages_of
from wavstream.simulator.signal import PTIME_S, RING_FRAMES, first_frame, make_ring
from wavstream.simulator.wire import CODECS

SLOTS = 20
"""Groups of legs in a ptime when the load is spread: one each millisecond."""
LATE_S = 0.010
"""A slot that starts later than this after its time is a late tick."""
_HANDSHAKE_TIMEOUT_S = 15.0
_GOODBYE_TIMEOUT_S = 15.0


@dataclass(slots=True)
class WorkerPlan:
    """What one process does."""

    host: str
    port: int
    secure: bool
    authority: str
    key: str | None
    dialect: str
    targets: list[str]
    """Request targets of the legs, one socket each."""
    numbers: list[int]
    """The legs' numbers in the whole load."""
    legs: int
    """In the whole load."""
    frames: int
    """That each leg sends."""
    burst: bool
    connects_per_s: float


@dataclass(slots=True)
class WorkerLeg:
    """One leg's socket and what is under way on it."""

    number: int
    place: int
    line: socket.socket
    owed: bytes = b""
    heard: bytes = b""
    frames: int = 0
    close_code: int | None = None
    gone: bool = False
    """Nothing more can be sent."""
    leaving: bool = False
    """Our close is sent."""


@dataclass(slots=True)
class WorkerCounts:
    """What one process did."""

    frames: int = 0
    late_ticks: int = 0
    worst_late_ms: float = 0.0
    held_back: int = 0
    """Frames that a full socket did not take at once."""
    lost_legs: list[tuple[int, int | None]] = field(default_factory=list)
    """Legs that the server ended early or did not say goodbye to, with the close code."""


def main() -> None:
    """Run one plan, then leave."""
    plan = WorkerPlan(**json.loads(sys.stdin.readline()))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    message = messages_of(plan.dialect, make_ring(CODECS[plan.dialect][0]))
    try:
        legs = _connect(plan)
    except (OSError, ValueError) as failed:
        _say({"failed": str(failed)})
        return
    _say({"connected": len(legs)})
    start = json.loads(sys.stdin.readline())["start"]
    counts = _stream(plan, legs, message, start)
    _say(
        {
            "frames": counts.frames,
            "late_ticks": counts.late_ticks,
            "worst_late_ms": counts.worst_late_ms,
            "held_back": counts.held_back,
            "lost_legs": counts.lost_legs,
        }
    )


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _connect(plan: WorkerPlan) -> list[WorkerLeg]:
    """Open every stream, one after another at an even pace."""
    context = ssl.create_default_context() if plan.secure else None
    start, legs = time.monotonic(), []
    for count, (number, target) in enumerate(zip(plan.numbers, plan.targets, strict=True)):
        time.sleep(max(start + count / plan.connects_per_s - time.monotonic(), 0))
        line = socket.create_connection((plan.host, plan.port), _HANDSHAKE_TIMEOUT_S)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            line = context.wrap_socket(line, server_hostname=plan.host)
        heard = _upgrade(line, plan, target)
        line.sendall(greeting(plan.dialect, number))
        line.setblocking(False)
        legs.append(WorkerLeg(number, first_frame(number, legs=plan.legs), line, heard=heard))
    return legs


def _upgrade(line: socket.socket, plan: WorkerPlan, target: str) -> bytes:
    """Shake hands; returns what the server sent behind its answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    authorization = f"Authorization: Bearer {plan.key}\r\n" if plan.key else ""
    line.sendall(
        f"GET {target} HTTP/1.1\r\nHost: {plan.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{authorization}\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = line.recv(4096)
        if not received:
            raise ConnectionError("the server closed a connection during the handshake")
        answer += received
    head, _, rest = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode(errors="replace")
    if " 101" not in status:
        raise ConnectionError(f"the server refused a stream: {status}")
    return rest


def _stream(plan: WorkerPlan, legs: list[WorkerLeg], message: Message, start: float) -> WorkerCounts:
    """Send every frame of every leg at its time, then hang up; ``start`` is on the monotonic clock."""
    counts = WorkerCounts()
    slots = 1 if plan.burst else SLOTS
    by_slot = [[leg for leg in legs if leg.number * slots // plan.legs == slot] for slot in range(slots)]
    with selectors.DefaultSelector() as selector:
        for leg in legs:
            selector.register(leg.line, selectors.EVENT_READ, leg)
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
                _listen(ready.data, selector)
        _hang_up(legs, selector)
    counts.frames = sum(leg.frames for leg in legs)
    counts.lost_legs = [
        (leg.number, leg.close_code) for leg in legs if leg.close_code != 1000 or leg.frames != plan.frames
    ]
    return counts


def send_frame(leg: WorkerLeg, frame: bytes, counts: WorkerCounts) -> None:
    """Send behind what the leg owes already; what does not fit into the socket is owed. Nothing when it is gone."""
    if leg.gone:
        return
    leg.frames += 1
    if not leg.owed:
        try:
            taken = leg.line.send(frame)
        except (BlockingIOError, ssl.SSLWantWriteError):
            taken = 0
        except OSError:
            leg.gone = True
            return
        if taken == len(frame):
            return
        frame = frame[taken:]
    leg.owed += frame
    counts.held_back += 1
    _pay(leg)


def _pay(leg: WorkerLeg) -> None:
    try:
        leg.owed = leg.owed[leg.line.send(leg.owed) :]
    except (BlockingIOError, ssl.SSLWantWriteError):
        return
    except OSError:
        leg.gone = True


def _listen(leg: WorkerLeg, selector: selectors.BaseSelector) -> None:
    """Read what the server says: answer its pings, note its close."""
    try:
        received = leg.line.recv(65_536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    except OSError:
        received = b""
    if not received:
        leg.gone = True
        selector.unregister(leg.line)
        return
    leg.heard += received
    while len(leg.heard) >= 2:
        opcode, size, head = leg.heard[0] & 0x0F, leg.heard[1] & 0x7F, 2
        if size > 125:
            head = 4 if size == 126 else 10
            if len(leg.heard) < head:
                return
            size = int.from_bytes(leg.heard[2:head], "big")
        if len(leg.heard) < head + size:
            return
        payload, leg.heard = leg.heard[head : head + size], leg.heard[head + size :]
        if opcode == 0x9:
            leg.owed += _control_frame(0xA, payload)
            _pay(leg)
        elif opcode == 0x8:
            leg.close_code = int.from_bytes(payload[:2], "big") if size >= 2 else 1005
            if not leg.leaving:
                leg.owed += _control_frame(0x8, payload[:2])
                _pay(leg)
                leg.gone = True


def _control_frame(opcode: int, payload: bytes) -> bytes:
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + MASK + masked


def _hang_up(legs: list[WorkerLeg], selector: selectors.BaseSelector) -> None:
    """Close every stream with 1000 and wait until the server has closed it too."""
    for leg in legs:
        if not leg.gone and leg.close_code is None:
            leg.leaving = True
            leg.owed += _control_frame(0x8, (1000).to_bytes(2, "big"))
            _pay(leg)
    deadline = time.monotonic() + _GOODBYE_TIMEOUT_S
    while time.monotonic() < deadline and not all(leg.gone or leg.close_code is not None for leg in legs):
        for ready, _ in selector.select(0.05):
            _listen(ready.data, selector)
        for leg in legs:
            if leg.owed and not leg.gone:
                _pay(leg)
    for leg in legs:
        with contextlib.suppress(OSError):
            leg.line.close()


if __name__ == "__main__":
    main()
