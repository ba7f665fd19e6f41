"""The cost of live listeners, and how far behind the call they are: one for each of many calls.

All of it happens on one server in one run: the calls stream throughout, and its CPU is read over short stretches with
and without listeners in turn. A machine's speed drifts, so each stretch with listeners is compared with the mean of the
one before and the one after it, and the median of all comparisons counts. Starting and finishing recordings is in none.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median

from bench.processes import Measured
from wavstream.model.ids import new_id
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.load_report import percentile
from wavstream.simulator.signal import PTIME_S

SETTLE_S = 4.0
"""A track's place in the call is decided after its first 2 s; then the audio held until then comes at once."""
WINDOW_S, ROUNDS = 3.6, 6
"""Twice the time between the folds of a call."""
JOIN_S, LEAVE_S = 20.0, 1.0
"""Limit for joining: listeners of MP3 recordings have much to decode before they have caught up."""
HEADER_BYTES, BYTES_PER_S = 80, 32_000


@dataclass(slots=True)
class ListenersResult:
    """The measurements."""

    share: float
    """CPU that a listener adds, divided by that of the recording itself."""
    behind_ms: list[float] = field(repr=False)
    """How far behind the call each listener was, just before each piece that it received. Sorted."""
    lost: int
    """Listeners whose answer ended."""

    @property
    def behind_p99_ms(self) -> float | None:
        """The 99th percentile."""
        return percentile(self.behind_ms, 0.99)


@dataclass(slots=True)
class _Listener:
    connection: socket.socket
    started_s: float
    """Unix time of the first sample."""
    received_bytes: int = -1
    """Bytes after the head of the answer, with the few between the chunks; -1: the head is not there yet."""
    last_s: float = 0.0


def listeners_cost(server: Measured, *, calls: int, file_format: str) -> ListenersResult:
    """Record stereo calls of two legs each; in every other stretch each has a listener."""
    address, prefix = ServerAddress.parse(server.url), f"live-{new_id()[:8]}"
    sessions = [f"{prefix}-{number}" for number in range(calls)]
    targets = [address.media_path("pcm", session, leg, {}) for session in sessions for leg in ("a", "b")]
    frames = round((SETTLE_S + 2 + WINDOW_S + ROUNDS * (2 * WINDOW_S + JOIN_S + LEAVE_S + 0.5)) / PTIME_S)
    with_s, lost, behind_ms = list[float](), 0, list[float]()
    control = Control(address)
    with Generator(address, Traffic(targets, frames)) as generator:
        generator.wait_connected()
        accepted = [control.start(session, format=file_format) for session in sessions]
        control.metrics_at_rest()
        generator.start(time.monotonic() + 0.2)
        time.sleep(SETTLE_S)
        recordings = [control.recording(recording["id"]) for recording in accepted]
        without_s = [_cpu_over(server)]
        for _ in range(ROUNDS):
            listeners = _Listeners([_listen(address, recording) for recording in recordings])
            listeners.begin(JOIN_S)
            with_s.append(_cpu_over(server))
            heard_ms, ended = listeners.end()
            behind_ms, lost = behind_ms + heard_ms, lost + ended
            time.sleep(LEAVE_S)
            without_s.append(_cpu_over(server))
    control.close()
    shares = [
        2 * heard / (before + after) - 1 for heard, (before, after) in zip(with_s, pairwise(without_s), strict=True)
    ]
    return ListenersResult(median(shares), sorted(behind_ms), lost)


def _cpu_over(server: Measured) -> float:
    before_s = server.cpu_s()
    time.sleep(WINDOW_S)
    return server.cpu_s() - before_s


def _listen(address: ServerAddress, recording: dict[str, object]) -> _Listener:
    line = socket.create_connection((address.host, address.port))
    path = f"/v1/recordings/{recording['id']}/live.wav"
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.authority}\r\n\r\n".encode())
    line.setblocking(False)
    return _Listener(line, datetime.fromisoformat(str(recording["started_at"])).timestamp())


class _Listeners(threading.Thread):
    """Reads for all listeners, in a thread of the generator's process."""

    def __init__(self, listeners: list[_Listener]) -> None:
        super().__init__(daemon=True)
        self._listeners = listeners
        self._measures = False
        self._caught_up: set[int] = set()
        self._over = False
        self._behind_ms: list[float] = []
        self._lost = 0
        self.start()

    def begin(self, timeout_s: float) -> None:
        """Wait until all have caught up, and measure from then on."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and len(self._caught_up) < len(self._listeners):
            time.sleep(0.05)
        self._measures = True

    def end(self) -> tuple[list[float], int]:
        """Close all connections and return the delays, and how many listeners were lost."""
        self._over = True
        self.join()
        return self._behind_ms, self._lost

    def run(self) -> None:
        selector = selectors.DefaultSelector()
        for listener in self._listeners:
            selector.register(listener.connection, selectors.EVENT_READ, listener)
        while not self._over:
            for key, _ in selector.select(0.2):
                piece = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                if piece:
                    self._take(key.data, piece)
                else:
                    self._lost += 1
                    selector.unregister(key.fileobj)
        for listener in self._listeners:
            listener.connection.close()

    def _take(self, listener: _Listener, piece: bytes) -> None:
        if listener.received_bytes < 0:
            _, _, piece = piece.partition(b"\r\n\r\n")
            listener.received_bytes = 0
        now_s = time.time()
        was_behind_s = now_s - listener.started_s - max(0, listener.received_bytes - HEADER_BYTES) / BYTES_PER_S
        if self._measures and now_s - listener.last_s > 0.1:  # else it is the rest of a piece that is coming in
            self._behind_ms.append(was_behind_s * 1000)
        listener.received_bytes += len(piece)
        if was_behind_s - len(piece) / BYTES_PER_S < 0.5:
            self._caught_up.add(listener.connection.fileno())
        listener.last_s = now_s
