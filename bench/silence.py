"""The cost of keeping channels alive: silence to many streams, and the same recordings without it.

All of it happens on one server in one run: one half of the streams asks for silence, the other does not, and recordings
run on the one and the other in turn, since a machine's speed drifts. Streams send one frame of 20 ms, which says their
ptime, and then nothing, so that nothing else is measured; the receiver reads what comes and throws it away.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import threading
import time
from dataclasses import dataclass

from bench.processes import Measured
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control

LEGS_PER_SESSION = 10
WINDOW_S, ROUNDS = 4.0, 3
SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class SilenceResult:
    """The measurements."""

    core_share: float
    """CPU of the silence, as a share of one core."""
    received_share: float
    """Audio that came in, as a share of what was due."""


def silence_cost(server: Measured, *, dialect: str, streams: int) -> SilenceResult:
    """Measure ``streams`` with silence against as many without."""
    address = ServerAddress.parse(server.url)
    control = Control(address)
    receiver = _Receiver()
    groups = []
    for keepalive in (0, 1):
        sessions = [f"{dialect}-{keepalive}-{number}" for number in range(streams // LEGS_PER_SESSION)]
        groups.append(sessions)
        for session in sessions:
            for leg in range(LEGS_PER_SESSION):
                receiver.add(_open_stream(address, dialect, session, leg, keepalive))
    receiver.start()
    spent_s, received_bytes = [0.0, 0.0], 0
    for _ in range(ROUNDS):
        for wanted, sessions in enumerate(groups):
            recordings = [control.start(session)["id"] for session in sessions]
            time.sleep(SETTLE_S)
            before_s, before_bytes = server.cpu_s(), receiver.received_bytes
            time.sleep(WINDOW_S)
            spent_s[wanted] += server.cpu_s() - before_s
            received_bytes += receiver.received_bytes - before_bytes
            for recording in recordings:
                control.stop(recording)
    receiver.end()
    control.close()
    silent_s = ROUNDS * WINDOW_S
    due_bytes = silent_s * streams * receiver.message_bytes / 0.02
    return SilenceResult((spent_s[1] - spent_s[0]) / silent_s, received_bytes / due_bytes)


class _Receiver(threading.Thread):
    """Reads from all streams, in a thread of the generator's process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._selector = selectors.EpollSelector()
        self._over = False
        self.received_bytes = 0
        self.message_bytes = 0
        """Bytes of the first message, which has 20 ms."""

    def add(self, line: socket.socket) -> None:
        """Read from this connection, too."""
        self._selector.register(line, selectors.EVENT_READ)

    def end(self) -> None:
        """Close all connections."""
        self._over = True
        self.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]

    def run(self) -> None:
        buffer = bytearray(65_536)
        while not self._over:
            for key, _ in self._selector.select(0.2):
                size = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
                self.received_bytes += size
                if not self.message_bytes:
                    self.message_bytes = 4 + int.from_bytes(buffer[2:4])
                if not size:
                    raise SystemExit("the server closed a stream of the silence bench")


def _open_stream(address: ServerAddress, dialect: str, session: str, leg: int, keepalive: int) -> socket.socket:
    line = socket.create_connection((address.host, address.port))
    query = f"?keepalive={keepalive}" if dialect == "pcm" else ""
    line.sendall(
        f"GET /media/{dialect}/{session}/{leg}{query} HTTP/1.1\r\nHost: {address.authority}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += line.recv(1)
    if b" 101 " not in answer:
        raise SystemExit(f"a stream was refused: {answer.decode(errors='replace')}")
    if dialect == "twilio":
        line.sendall(_text(_twilio_start(leg, keepalive)))
    else:
        line.sendall(_message(0x82, bytes(320)))
    return line


def _twilio_start(leg: int, keepalive: int) -> dict[str, object]:
    start = {
        "streamSid": f"MZ{leg}",
        "callSid": "CA",
        "tracks": ["inbound"],
        "customParameters": {"keepalive": str(keepalive), "two_way": "1"},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return {"event": "start", "streamSid": f"MZ{leg}", "start": start}


def _text(message: dict[str, object]) -> bytes:
    return _message(0x81, json.dumps(message).encode())


def _message(head: int, data: bytes) -> bytes:
    """Frame a message of at least 126 bytes, with a mask that leaves it as it is."""
    return bytes((head, 0xFE)) + len(data).to_bytes(2) + bytes(4) + data
