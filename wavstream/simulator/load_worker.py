"""One process of the load generator: many legs over raw sockets in one tight loop.

1. A plan comes in on standard input as one line of JSON; the news that all are connected, then the counts, go out the
   same way.
2. An asyncio client for each leg would cost more than the server that is measured. So the frames are made and masked
   before the first is sent, and plain non-blocking sockets send them.
3. A call that begins later is dialled by a thread shortly before, so that a handshake keeps no frame waiting; a call
   that ends hangs up while the others go on.
4. It ends with its parent, whatever ended that: standard input is closed then. Ctrl-C in a terminal is for the parent.
5. What a full socket does not take is kept, and sent before anything else of that leg: the generator may be late, but
   it never leaves out a sample.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import resource
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from wavstream.simulator.load_messages import CODECS, MASK, Message, messages, opening
from wavstream.simulator.refusals import StreamRefused, said
from wavstream.simulator.signal import PTIME_S, RING_FRAMES, first_frame, make_ring

SLOTS = 20
"""Groups of legs in a ptime when the load is spread: one each millisecond."""
LATE_S = 0.010
"""A slot that starts later than this after its time counts as a late tick."""
_HANDSHAKE_TIMEOUT_S = 15.0
_REFUSAL_TIMEOUT_S = 1.0
_DIAL_AHEAD_S = 0.5
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CLOSE_TIMEOUT_S = 15.0


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
    """The numbers of its legs among those that stream at one time, which say what they send and when."""
    begins: list[int]
    """The tick, of 20 ms, at which each sends its first frame."""
    lengths: list[int]
    """Frames of each."""
    legs: int
    """Legs of the whole load at one time."""
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
    begin: int = 0
    """The tick of its first frame."""
    wanted: int = 0
    """Frames that it is to send."""
    close_by_s: float = 0.0
    """When it is given up, by the monotonic clock, after our close."""


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
    refused: list[str] = field(default_factory=list)
    """Why a stream was not opened that was dialled later."""
    cpu_s: float = 0.0
    """CPU of the process itself, connecting included."""


def main() -> None:
    """Run the plan that comes in, and report its counts."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders = _Orders()
    orders.start()
    plan = WorkerPlan(**orders.next())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    message = messages(plan.dialect, make_ring(CODECS[plan.dialect]))
    try:
        legs = [_dial(plan, at, pace_s=pace_s) for pace_s, at in _first(plan)]
    except StreamRefused as refused:
        _report({"failed": refused.what, "refused": refused.status, "why": refused.why})
        return
    except (OSError, ValueError) as failed:
        _report({"failed": str(failed)})
        return
    _report({"connected": len(legs)})
    start = orders.next()["start"]
    counts = _stream(plan, legs, message, start)
    counts.cpu_s = time.process_time()
    _report(asdict(counts))


class _Orders(threading.Thread):
    """Reads what the parent says, a line of JSON each; at its end the process ends (rule 4)."""

    def __init__(self) -> None:
        super().__init__(name="orders", daemon=True)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> None:
        """Read; called by the thread."""
        for line in sys.stdin:
            self._lines.put(line)
        os._exit(1)

    def next(self) -> dict[str, Any]:
        """Return what is said next."""
        order: dict[str, Any] = json.loads(self._lines.get())
        return order


def _report(message: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)  # rule 4


def _first(plan: WorkerPlan) -> list[tuple[float, int]]:
    """Return when to dial which of the legs that are there from the beginning: one after another at an even pace."""
    start = time.monotonic()
    return [
        (start + count / plan.connects_per_s, at)
        for count, at in enumerate(at for at, begin in enumerate(plan.begins) if begin == 0)
    ]


def _dial(plan: WorkerPlan, at: int, *, pace_s: float) -> WorkerLeg:
    """Open the stream of the plan's leg ``at``, not before ``pace_s`` of the monotonic clock; raise OSError."""
    time.sleep(max(pace_s - time.monotonic(), 0))
    number = plan.numbers[at]
    connection = socket.create_connection((plan.host, plan.port), _HANDSHAKE_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if plan.secure:
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=plan.host)
    unread = _upgrade(connection, plan, plan.targets[at])
    connection.sendall(opening(plan.dialect, number))
    connection.setblocking(False)
    place = first_frame(number, legs=plan.legs)
    return WorkerLeg(number, place, connection, unread=unread, begin=plan.begins[at], wanted=plan.lengths[at])


class _Dialler(threading.Thread):
    """Opens the streams of calls that begin later (rule 3)."""

    def __init__(self, plan: WorkerPlan, start_s: float) -> None:
        super().__init__(name="dialler", daemon=True)
        self.arrived: deque[WorkerLeg] = deque()
        self.lost: list[tuple[int, str]] = []
        """Legs that could not be opened, and why."""
        self._plan, self._start_s = plan, start_s

    def run(self) -> None:
        """Dial one after another; called by the thread."""
        plan = self._plan
        for begin, at in sorted((begin, at) for at, begin in enumerate(plan.begins) if begin):
            try:
                leg = _dial(plan, at, pace_s=self._start_s + begin * PTIME_S - _DIAL_AHEAD_S)
            except (OSError, ValueError) as failed:
                self.lost.append((plan.numbers[at], str(failed)))
            else:
                self.arrived.append(leg)


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
        code = status.split(" ")[1] if status.startswith("HTTP/") and " " in status else ""
        if not code.isdecimal():
            raise ConnectionError("something answers there, but not a WebSocket server; check --url")
        why = said(rest + _rest(connection))
        raise StreamRefused(f"the server refused a stream: {status}", status=int(code), why=why)
    return rest


def _rest(connection: socket.socket) -> bytes:
    """Return what comes until the server closes, which it does after a refusal."""
    parts = []
    with contextlib.suppress(OSError):
        connection.settimeout(_REFUSAL_TIMEOUT_S)
        while part := connection.recv(4096):
            parts.append(part)
    return b"".join(parts)


def _stream(plan: WorkerPlan, legs: list[WorkerLeg], message: Message, start: float) -> WorkerCounts:
    """Send every frame of every leg at its time, and hang each up at its end; ``start`` is on the monotonic clock."""
    counts = WorkerCounts()
    slots = 1 if plan.burst else SLOTS
    by_slot: list[list[WorkerLeg]] = [[] for _ in range(slots)]
    ends: defaultdict[int, list[WorkerLeg]] = defaultdict(list)
    leaving: list[WorkerLeg] = []
    dialler = _Dialler(plan, start)
    dialler.arrived.extend(legs)
    dialler.start()
    tick = 0
    with selectors.DefaultSelector() as selector:
        while dialler.is_alive() or dialler.arrived or ends:
            while dialler.arrived:
                leg = dialler.arrived.popleft()
                leg.begin = max(leg.begin, tick)
                by_slot[leg.number * slots // plan.legs].append(leg)
                ends[leg.begin + leg.wanted].append(leg)
                selector.register(leg.connection, selectors.EVENT_READ, leg)
            for slot, members in enumerate(by_slot):
                due = start + (tick + slot / slots) * PTIME_S
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                else:
                    counts.late_ticks += -wait > LATE_S
                    counts.worst_late_ms = max(counts.worst_late_ms, -wait * 1000)
                for leg in members:
                    if (number := tick - leg.begin) >= 0:
                        send_frame(leg, message((leg.place + number) % RING_FRAMES, number, leg.number), counts)
            tick += 1
            if ended := ends.pop(tick, None):
                gone = {id(leg) for leg in ended}
                by_slot = [[leg for leg in members if id(leg) not in gone] for members in by_slot]
                for leg in ended:
                    _hang_up(leg)
                leaving += ended
            for ready, _ in selector.select(0):
                _receive(ready.data, selector)
            leaving = [leg for leg in leaving if not _has_left(leg, selector, counts)]
        while leaving:
            for ready, _ in selector.select(0.05):
                _receive(ready.data, selector)
            leaving = [leg for leg in leaving if not _has_left(leg, selector, counts)]
    counts.lost_legs += [(number, None) for number, _ in dialler.lost]
    counts.refused += [why for _, why in dialler.lost]
    return counts


def send_frame(leg: WorkerLeg, frame: bytes, counts: WorkerCounts) -> None:
    """Send a frame behind the leg's unsent bytes; what the socket does not take is kept (rule 5)."""
    if leg.is_over:
        return
    leg.frames += 1
    if not leg.unsent:
        try:
            taken = leg.connection.send(frame)
        except _WOULD_BLOCK:
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
    except _WOULD_BLOCK:
        return
    except OSError:
        leg.is_over = True


def _receive(leg: WorkerLeg, selector: selectors.BaseSelector) -> None:
    """Read from the server: answer its pings, note its close."""
    try:
        received = leg.connection.recv(65_536)
    except _WOULD_BLOCK:
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
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + MASK + masked


def _hang_up(leg: WorkerLeg) -> None:
    """Close the stream with 1000; ``_has_left`` tells when the server has closed it too."""
    leg.close_by_s = time.monotonic() + _CLOSE_TIMEOUT_S
    if not leg.is_over and leg.close_code is None:
        leg.is_closing = True
        leg.unsent += _control_frame(0x8, (1000).to_bytes(2, "big"))
        _flush(leg)


def _has_left(leg: WorkerLeg, selector: selectors.BaseSelector, counts: WorkerCounts) -> bool:
    """Return whether the leg is at its end, and then count it and close its socket."""
    if leg.unsent and not leg.is_over:
        _flush(leg)
    if not leg.is_over and leg.close_code is None and time.monotonic() < leg.close_by_s:
        return False
    counts.frames += leg.frames
    if leg.close_code != 1000 or leg.frames != leg.wanted:
        counts.lost_legs.append((leg.number, leg.close_code))
    with contextlib.suppress(KeyError):  # what the server has closed is not registered any more
        selector.unregister(leg.connection)
    with contextlib.suppress(OSError):
        leg.connection.close()
    return True


if __name__ == "__main__":
    main()
