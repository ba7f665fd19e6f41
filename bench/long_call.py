"""A call of any length, and the time from its stop to its file.

The call is fed as fast as the server reads it, then goes on in real time until the server has caught up, as it always
has in a real call, and until it is stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.sync.client import ClientConnection, connect

from bench.cost import FOLD_S
from wavstream.model.ids import new_id
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, Control
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, Ring, make_ring

MESSAGE_BYTES = 1_048_576
RATE_HZ = 8_000
FED_FAST = {"media__bytes_per_second": 1_000_000_000}
"""Settings of a server that is fed so fast; its limit on bytes a second is for peers that nobody knows."""
LOOK_S = 0.5
CAUGHT_UP_S = 0.05
"""Most CPU that the server spends on ``LOOK_S`` of two legs once it has caught up."""
_WAITING = ("wavstream_journal_queued_bytes", "wavstream_render_jobs_waiting")
_TIMEOUT_S = 60.0


class LongCall:
    """A call of two legs that was fed fast and now goes on in real time; nothing else may stream meanwhile."""

    def __init__(self, server: ServerAddress, call_s: int, legs: tuple[ClientConnection, ...], session_id: str) -> None:
        self._server, self._control = server, Control(server)
        self._legs, self._call_s = legs, call_s
        self._recording_id = self._control.start(session_id)["id"]
        self._is_over = threading.Event()
        self._ticks = 0
        self._began = time.perf_counter()
        ring = make_ring()
        _feed_fast(legs, call_s * RATE_HZ * 2, ring)
        self._talk = threading.Thread(target=self._go_on, args=(ring[0].tobytes(),), daemon=True)
        self._talk.start()
        self._wait_caught_up()

    def stop_ms(self) -> float:
        """Stop it, and return the time until its link answers 200; raise SystemExit if its file has another length."""
        control = Control(self._server)
        ticks, asked = self._ticks, time.perf_counter()
        link = control.stop(self._recording_id)["url"]
        later_ticks = self._ticks - ticks
        while (status := control.status_of(link)) == 404 and time.perf_counter() < asked + _TIMEOUT_S:
            time.sleep(0.002)
        took_ms = (time.perf_counter() - asked) * 1000
        self.close()
        if status != 200:
            raise SystemExit(f"the file of a call of {self._call_s} s answered {status} after its stop")
        recording = control.recording(self._recording_id)
        control.close()
        sent_ms = self._call_s * 1000 + ticks * PTIME_S * 1000
        # While the server read the burst nothing was sent in real time: that is silence of the call.
        waited_ms = (asked - self._began) * 1000 - ticks * PTIME_S * 1000
        most_ms = sent_ms + waited_ms + later_ticks * PTIME_S * 1000 + 100
        if not sent_ms - 100 <= recording["duration_ms"] <= most_ms:
            raise SystemExit(f"{sent_ms:.0f} ms were sent, the file has {recording['duration_ms']}: {recording}")
        return took_ms

    def close(self) -> None:
        """Say nothing more."""
        self._is_over.set()
        self._talk.join()

    def _go_on(self, frame: bytes) -> None:
        start_s = time.monotonic()
        while not self._is_over.wait(max(start_s + self._ticks * PTIME_S - time.monotonic(), 0)):
            for leg in self._legs:
                leg.send(frame)
            self._ticks += 1

    def _wait_caught_up(self) -> None:
        """Wait until the server does no more than what two legs need."""
        start_s, before_s, calm = time.monotonic(), 0.0, 0
        # Between two folds nothing works: only more time than that without work shows that nothing is behind.
        while calm * LOOK_S < FOLD_S + LOOK_S and time.monotonic() < start_s + _TIMEOUT_S:
            time.sleep(LOOK_S)
            metrics = self._control.metrics()
            cpu_s = metrics[CPU]
            waits = sum(value for name, value in metrics.items() if name.startswith(_WAITING))
            calm = calm + 1 if cpu_s - before_s < CAUGHT_UP_S and not waits else 0
            before_s = cpu_s


@contextmanager
def long_call(url: str, call_s: int) -> Iterator[LongCall]:
    """Begin a two-leg call that is so many seconds old, plus catching up."""
    server, session_id = ServerAddress.parse(url), f"long-{new_id()[:8]}"
    with _leg(server, session_id, "a") as left, _leg(server, session_id, "b") as right:
        call = LongCall(server, call_s, (left, right), session_id)
        try:
            yield call
        finally:
            call.close()


def _feed_fast(legs: tuple[ClientConnection, ...], total_bytes: int, ring: Ring) -> None:
    tile = ring[: MESSAGE_BYTES // 2 // FRAME_SAMPLES].tobytes()
    for at in range(0, total_bytes, len(tile)):
        for leg in legs:
            leg.send(tile[: total_bytes - at])
    for leg in legs:
        leg.ping().wait(_TIMEOUT_S)  # answered behind everything before it: all of the audio has been read


def _leg(server: ServerAddress, session_id: str, leg: str) -> ClientConnection:
    return connect(server.media_url("pcm", session_id, leg, {}), compression=None, max_size=None)
