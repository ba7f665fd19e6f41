"""Legs that speak in real time whatever happens to the server, from a process of their own; what became of each frame.

1. A leg speaks on: its frame number n is said at its first moment and n x 20 ms, whether or not somebody listens. What
   is said while it has no stream is said to nobody, and counts as unsent.
2. A leg whose stream breaks dials again until it has one. What a full socket does not take is kept and sent before
   anything else; what is still kept when the stream breaks is unsent.
3. A frame counts as sent when the kernel has taken its last byte; that moment is noted, on the clock of all processes.
4. Where there are several servers, a leg dials one after the other, and gives up one that says nothing for so long.
5. A leg may send several frames in one write, when the last of them has been said: that saves this process far more
   than the server, so that it is the server whose end is found.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import math
import multiprocessing
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, RING_FRAMES, make_ring

SLOTS = 20
"""Groups of legs in a frame's time: one speaks each millisecond."""
_DIAL_EVERY_S = 0.1
_DIAL_WAIT_S = 10.0
_NO_MASK = bytes(4)
_FRAME_HEAD = b"\x82\xfe" + (2 * FRAME_SAMPLES).to_bytes(2, "big") + _NO_MASK
_CLOSE = b"\x88\x82" + _NO_MASK + (1000).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class LegPlan:
    """A leg that is to speak."""

    name: str
    target: str
    """Of the upgrade."""
    place: int
    """Of its first frame in the ring of known noise."""
    voice: int = 0
    """By how many samples each frame is turned round: legs of one call that have others never say the same."""
    key: str | None = None
    dials_again: bool = True
    together: int = 1
    """Frames of a write (rule 5)."""


@dataclass(slots=True)
class Spoken:
    """What became of everything that a leg said."""

    place: int
    voice: int
    start_s: float
    """When its first frame was said, on the monotonic clock."""
    sent_s: NDArray[np.float64]
    """When each frame was sent; NaN: it was not."""
    opened_s: list[float]
    """When each of its streams was open."""
    took_s: list[float]
    """How long each of them took from the dial that it came of."""
    lost_s: list[float]
    """When each of its streams broke."""
    refusals: list[str]
    """Status lines other than 101."""
    close_code: int | None
    """Of the last stream."""

    @property
    def said_s(self) -> NDArray[np.float64]:
        """When each frame was said."""
        return np.asarray(self.start_s + np.arange(len(self.sent_s)) * PTIME_S, np.float64)


class Opened(NamedTuple):
    """How often a leg has had a stream."""

    streams: int
    last_s: float
    """When the last of them was open, on the monotonic clock."""
    took_s: float
    """How long that took from its dial."""


class Sender:
    """The process, and what its owner asks of it."""

    def __init__(self, *ports: int) -> None:
        """Dial these ports of this machine."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, ports), daemon=True)
        self._process.start()
        self._asking = threading.Lock()
        self.worst_late_s = 0.0
        """The longest that the process itself was behind."""

    def speak(self, legs: Sequence[LegPlan]) -> None:
        """Let legs dial and speak from now on."""
        self._ask("speak", list(legs))

    def hang_up(self, names: Sequence[str], *, within_s: float = 10.0) -> None:
        """Let legs say goodbye behind what they have said; return when the server has, or after so long."""
        self._ask("hang_up", [within_s, *names])

    def spoken(self, names: Sequence[str]) -> dict[str, Spoken]:
        """Return what became of what these legs have said, so far."""
        return self._ask("spoken", list(names))  # type: ignore[no-any-return]

    def opened(self, names: Sequence[str]) -> dict[str, Opened]:
        """Return which streams these legs have had, so far: it is little, where ``spoken`` grows with a call."""
        return self._ask("opened", list(names))  # type: ignore[no-any-return]

    def drop(self, names: Sequence[str]) -> None:
        """Break the streams of legs, which dial again: another server than before."""
        self._ask("drop", list(names))

    def open(self, names: Sequence[str]) -> bool:
        """Return whether all of these have a stream now."""
        return bool(self._ask("open", list(names)))

    def refused(self, names: Sequence[str]) -> int:
        """Return how many of these were refused a stream."""
        return int(self._ask("refused", list(names)))

    def undecided(self, names: Sequence[str]) -> int:
        """Return how many of these have neither had a stream nor been refused one."""
        return int(self._ask("undecided", list(names)))

    def cpu_s(self) -> float:
        """Return the CPU time that the process has taken."""
        return float(self._ask("cpu", []))

    def late_s(self) -> float:
        """Return the longest that the process was behind since it was asked last."""
        late_s: float = self._ask("late", [])
        self.worst_late_s = max(self.worst_late_s, late_s)
        return late_s

    def forget(self, names: Sequence[str]) -> None:
        """Let legs go without a goodbye."""
        self._ask("forget", list(names))

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(("end", []))
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()

    def _ask(self, what: str, names: list[Any]) -> Any:
        with self._asking:
            self._pipe.send((what, names))
            return self._pipe.recv()


@dataclass(slots=True, eq=False)
class _Leg:
    plan: LegPlan
    start_s: float
    round: int
    """In which its first frame is said."""
    stream: socket.socket | None = None
    is_open: bool = False
    unread: bytes = b""
    kept: deque[tuple[int, bytes]] = field(default_factory=deque)
    """Frame numbers (-1: no frame) and what of them the socket has not taken."""
    sent_s: list[float] = field(default_factory=list)
    dial_at_s: float = 0.0
    dials: int = 0
    dialed_s: float = 0.0
    opened_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    lost_s: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    close_code: int | None = None
    leaving: bool = False
    gone: bool = False


def _run(pipe: Connection, ports: Sequence[int]) -> None:
    _Process(pipe, ports).run()


class _Process:
    def __init__(self, pipe: Connection, ports: Sequence[int]) -> None:
        self._pipe = pipe
        self._ports = ports
        payload = make_ring().astype("<i2").tobytes()
        size = 2 * FRAME_SAMPLES
        self._frames = [_FRAME_HEAD + payload[at : at + size] for at in range(0, len(payload), size)]
        self._legs: dict[str, _Leg] = {}
        self._slots: list[list[_Leg]] = [[] for _ in range(SLOTS)]
        self._selector = selectors.DefaultSelector()
        self._worst_late_s = 0.0
        self._hanging_up: tuple[list[str], float] | None = None

    def run(self) -> None:
        start_s, tick = time.monotonic(), 0
        while True:
            due_s = start_s + tick * PTIME_S / SLOTS
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            else:
                self._worst_late_s = max(self._worst_late_s, -wait_s)
            this_round, slot = divmod(tick, SLOTS)
            for leg in self._slots[slot]:
                self._turn(leg, this_round)
            if tick % 4 == 0:
                for key, _ in self._selector.select(0):
                    self._receive(key.data)
                if not self._obey(start_s, tick):
                    return
            tick += 1

    def _obey(self, start_s: float, tick: int) -> bool:
        """Do what the owner asks; return whether to go on."""
        if self._hanging_up is not None:
            names, until_s = self._hanging_up
            if time.monotonic() < until_s and not all(self._legs[name].gone for name in names):
                return True
            self._hanging_up = None
            self._pipe.send(None)
        while self._pipe.poll():
            try:
                what, names = self._pipe.recv()
            except EOFError:
                return False
            answer: Any = None
            match what:
                case "end":
                    return False
                case "speak":
                    for number, plan in enumerate(names, len(self._legs)):
                        slot = number % SLOTS
                        first = tick // SLOTS + 1
                        leg = _Leg(plan, start_s + (first * SLOTS + slot) * PTIME_S / SLOTS, first, dials=number)
                        self._legs[plan.name] = leg
                        self._slots[slot].append(leg)
                case "hang_up":
                    within_s, *leaving = names
                    for name in leaving:
                        self._say_goodbye(self._legs[name])
                    self._hanging_up = leaving, time.monotonic() + within_s
                    return True
                case "spoken":
                    answer = {name: _spoken(self._legs[name]) for name in names}
                case "opened":
                    answer = {name: _opened(self._legs[name]) for name in names}
                case "refused":
                    answer = sum(bool(self._legs[name].refusals) for name in names)
                case "undecided":
                    legs = [self._legs[name] for name in names]
                    answer = sum(not (leg.opened_s or leg.refusals) for leg in legs)
                case "cpu":
                    answer = time.process_time()
                case "late":
                    answer, self._worst_late_s = self._worst_late_s, 0.0
                case "open":
                    answer = all(self._legs[name].is_open for name in names)
                case "forget":
                    for name in names:
                        self._leave(self._legs[name])
                case "drop":
                    for name in names:
                        self._lost(self._legs[name])
            self._pipe.send(answer)
        return True

    def _turn(self, leg: _Leg, this_round: int) -> None:
        if leg.stream is None and not leg.leaving and time.monotonic() >= leg.dial_at_s:
            self._dial(leg)
        elif leg.stream is not None and not leg.is_open and time.monotonic() > leg.dialed_s + _DIAL_WAIT_S:
            self._lost(leg)
        if this_round < leg.round or leg.leaving:
            if leg.kept and leg.is_open:
                self._flush(leg)
            return
        number = len(leg.sent_s)
        leg.sent_s.append(math.nan)
        if not leg.is_open or leg.stream is None:
            return
        if leg.plan.together > 1:
            self._send_together(leg, number)
            return
        frame = self._frame(leg, number)
        if not leg.kept:
            # Nearly always the socket takes it at once: two calls and no more, since this runs for every frame.
            try:
                taken = leg.stream.send(frame)
            except BlockingIOError:
                taken = 0
            except OSError:
                self._lost(leg)
                return
            if taken == len(frame):
                leg.sent_s[number] = time.monotonic()
                return
            frame = frame[taken:]
        leg.kept.append((number, frame))
        self._flush(leg)

    def _frame(self, leg: _Leg, number: int) -> bytes:
        frame = self._frames[(leg.plan.place + number) % RING_FRAMES]
        if turn := 2 * leg.plan.voice:
            frame = _FRAME_HEAD + frame[-turn:] + frame[len(_FRAME_HEAD) : -turn]
        return frame

    def _send_together(self, leg: _Leg, number: int) -> None:
        """Send the last frames, this one among them, if it is time for them (rule 5)."""
        if (number + 1) % leg.plan.together or leg.stream is None:
            return
        numbers = range(number + 1 - leg.plan.together, number + 1)
        frames = [self._frame(leg, each) for each in numbers]
        taken = 0
        if not leg.kept:
            try:
                taken = leg.stream.send(b"".join(frames))
            except BlockingIOError:
                pass
            except OSError:
                self._lost(leg)
                return
        now_s = time.monotonic()
        for each, frame in zip(numbers, frames, strict=True):
            if taken >= len(frame):
                leg.sent_s[each] = now_s
            else:
                leg.kept.append((each, frame[taken:]))
            taken = max(taken - len(frame), 0)
        if leg.kept:
            self._flush(leg)

    def _dial(self, leg: _Leg) -> None:
        leg.dialed_s = time.monotonic()
        leg.dial_at_s = leg.dialed_s + _DIAL_EVERY_S
        port = self._ports[leg.dials % len(self._ports)]
        leg.dials += 1
        stream = socket.socket()
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if stream.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
            stream.close()
            return
        key = base64.b64encode(os.urandom(16)).decode()
        bearer = f"Authorization: Bearer {leg.plan.key}\r\n" if leg.plan.key else ""
        head = (
            f"GET {leg.plan.target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{bearer}\r\n"
        )
        try:
            stream.send(head.encode())
        except OSError:  # nobody listens there now
            stream.close()
            return
        leg.stream, leg.is_open, leg.unread = stream, False, b""
        self._selector.register(stream, selectors.EVENT_READ, leg)

    def _flush(self, leg: _Leg) -> None:
        while leg.kept and leg.stream is not None:
            number, rest = leg.kept[0]
            try:
                taken = leg.stream.send(rest)
            except BlockingIOError:
                return
            except OSError:
                self._lost(leg)
                return
            if taken < len(rest):
                leg.kept[0] = number, rest[taken:]
                return
            leg.kept.popleft()
            if number >= 0:
                leg.sent_s[number] = time.monotonic()

    def _receive(self, leg: _Leg) -> None:
        if leg.stream is None:
            return
        try:
            received = leg.stream.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._lost(leg)
            return
        leg.unread += received
        if not leg.is_open and not self._opened(leg):
            return
        self._read_messages(leg)

    def _opened(self, leg: _Leg) -> bool:
        """Take the answer to the upgrade; return whether the stream is open."""
        head, end, rest = leg.unread.partition(b"\r\n\r\n")
        if not end:
            return False
        status = head.partition(b"\r\n")[0].decode(errors="replace")
        if " 101" not in status:
            leg.refusals.append(status)
            leg.leaving = leg.leaving or not leg.plan.dials_again
            self._lost(leg)
            return False
        leg.is_open, leg.unread = True, rest
        leg.opened_s.append(time.monotonic())
        leg.took_s.append(leg.opened_s[-1] - leg.dialed_s)
        return True

    def _read_messages(self, leg: _Leg) -> None:
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
                leg.kept.append((-1, bytes([0x8A, 0x80 | len(payload)]) + _NO_MASK + payload))
                self._flush(leg)
            elif opcode == 0x8:
                leg.close_code = int.from_bytes(payload[:2], "big") if size >= 2 else 1005
                self._lost(leg)
                return

    def _say_goodbye(self, leg: _Leg) -> None:
        leg.leaving = True
        if leg.is_open:
            leg.kept.append((-1, _CLOSE))
            self._flush(leg)
        else:
            self._leave(leg)

    def _lost(self, leg: _Leg) -> None:
        stream, leg.stream = leg.stream, None
        if stream is not None:
            self._selector.unregister(stream)
            stream.close()
        if leg.is_open:
            leg.lost_s.append(time.monotonic())
        leg.is_open, leg.unread = False, b""
        leg.kept.clear()
        leg.gone = leg.leaving

    def _leave(self, leg: _Leg) -> None:
        leg.leaving = True
        self._lost(leg)
        leg.gone = True


def _opened(leg: _Leg) -> Opened:
    return Opened(len(leg.opened_s), leg.opened_s[-1] if leg.opened_s else 0.0, leg.took_s[-1] if leg.took_s else 0.0)


def _spoken(leg: _Leg) -> Spoken:
    return Spoken(
        place=leg.plan.place,
        voice=leg.plan.voice,
        start_s=leg.start_s,
        sent_s=np.array(leg.sent_s, np.float64),
        opened_s=list(leg.opened_s),
        took_s=list(leg.took_s),
        lost_s=list(leg.lost_s),
        refusals=list(leg.refusals),
        close_code=leg.close_code,
    )
