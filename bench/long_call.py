"""The time from the stop of a call to its file, for calls of any length.

The call is fed as fast as the server reads it, then goes on in real time until the server has caught up, as it always
has in a real call; the stop comes right behind a frame.
"""

from __future__ import annotations

import time

from websockets.sync.client import ClientConnection, connect

from wavstream.model.ids import new_id
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, Control
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, Ring, make_ring

MESSAGE_BYTES = 1_048_576
RATE_HZ = 8_000
CAUGHT_UP_S = 0.05
"""Most CPU that the server spends on half a second of two legs once it has caught up."""
_TIMEOUT_S = 60.0


def stop_to_fetchable_ms(url: str, call_s: int) -> float:
    """Return the time from the stop of a two-leg call of so many seconds (plus catching up) until its link answers 200.

    Raises SystemExit when the file does not have the call's length.
    """
    server, session_id = ServerAddress.parse(url), f"long-{new_id()[:8]}"
    control, ring = Control(server), make_ring()
    with _leg(server, session_id, "a") as left, _leg(server, session_id, "b") as right:
        recording_id = control.start(session_id)["id"]
        began = time.perf_counter()
        _feed_fast((left, right), call_s * RATE_HZ * 2, ring)
        live_ticks = _go_on_until_caught_up((left, right), control, ring[0].tobytes())
        asked = time.perf_counter()
        link = control.stop(recording_id)["url"]
        while (status := control.status_of(link)) == 404 and time.perf_counter() < asked + _TIMEOUT_S:
            time.sleep(0.002)
        took_ms = (time.perf_counter() - asked) * 1000
    if status != 200:
        raise SystemExit(f"the file of a call of {call_s} s answered {status} after its stop")
    recording = control.recording(recording_id)
    control.close()
    sent_ms = call_s * 1000 + live_ticks * PTIME_S * 1000
    # While the server read the burst nothing was sent in real time: that is silence of the call.
    waited_ms = (asked - began) * 1000 - live_ticks * PTIME_S * 1000
    if not -100 <= recording["duration_ms"] - sent_ms <= waited_ms + 100:
        raise SystemExit(f"{sent_ms:.0f} ms were sent, the file has {recording['duration_ms']}: {recording}")
    return took_ms


def _feed_fast(legs: tuple[ClientConnection, ...], total_bytes: int, ring: Ring) -> None:
    tile = ring[: MESSAGE_BYTES // 2 // FRAME_SAMPLES].tobytes()
    for at in range(0, total_bytes, len(tile)):
        for leg in legs:
            leg.send(tile[: total_bytes - at])
    for leg in legs:
        leg.ping().wait(_TIMEOUT_S)  # answered behind everything before it: all of the audio has been read


def _go_on_until_caught_up(legs: tuple[ClientConnection, ...], control: Control, frame: bytes) -> int:
    """Send in real time until the server has caught up; return how many frames each leg sent."""
    start_s, ticks, before_s, calm = time.monotonic(), 0, 0.0, 0
    # A fold works once a second: half a second without work shows nothing.
    while calm < 3 and time.monotonic() < start_s + _TIMEOUT_S:
        for _ in range(25):
            time.sleep(max(start_s + ticks * PTIME_S - time.monotonic(), 0))
            for leg in legs:
                leg.send(frame)
            ticks += 1
        cpu_s = control.metrics()[CPU]
        calm = calm + 1 if cpu_s - before_s < CAUGHT_UP_S else 0
        before_s = cpu_s
    return ticks


def _leg(server: ServerAddress, session_id: str, leg: str) -> ClientConnection:
    return connect(server.media_url("pcm", session_id, leg, {}), compression=None, max_size=None)
