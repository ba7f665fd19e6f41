"""What one app's flood costs another: how late its limits are found, how long its stops and downloads take, and memory.

Both apps are on one server in one run. ``flood`` starts hundreds of recordings of one session, or asks for ranges of a
long MP3 recording while it is made, all at once; ``other`` makes a call with a limit, one that it stops, and downloads
100 bytes of a finished file. What ``other`` sees without the flood is measured first, on the same server.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from websockets.sync.client import ClientConnection, connect

from bench.processes import Measured
from wavstream.errors import PeerError
from wavstream.model.ids import new_id
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control
from wavstream.simulator.signal import PTIME_S, make_ring

ADMIN_KEY = "of-the-bench-admins"
SETTINGS = {"admin_api_key": ADMIN_KEY}
FLOOD, OTHER = "flood", "other"
KEYS = {FLOOD: "wsk_of_the_flooding_app", OTHER: "wsk_of_the_other_app"}
LIMIT_S = 3
FLOODED_S = 20.0
"""How long the recordings of the flood run before the other app is looked at; the fold then waits for nothing."""
ROUNDS = 4
LONG_S = 3600
RANGES = 20
_TIMEOUT_S = 120.0
_TILE_BYTES = 1_048_576
RATE_HZ = 8_000


@dataclass(slots=True)
class Seen:
    """What the other app sees."""

    limit_late_s: list[float] = field(default_factory=list)
    """From the moment at which its call is 3 s long until its recording is over, less what the file waits for."""
    stop_s: list[float] = field(default_factory=list)
    """From a stop to its answer, with the file."""
    download_s: list[float] = field(default_factory=list)
    """Of 100 bytes of a finished file."""

    def worst(self, what: str) -> float:
        """Return the largest."""
        return max(getattr(self, what), default=float("nan"))


@dataclass(slots=True)
class FairnessResult:
    """The measurements."""

    alone: Seen
    flooded: Seen
    idle_bytes: int
    flooded_bytes: int
    """Memory of the server: before the flood, and at most during it."""
    started: int = 0
    """Recordings of the flood that were not refused."""


@dataclass(slots=True)
class RangesResult:
    """The measurements."""

    alone_s: float
    """One range of 100 bytes, at the end of the recording, with nothing beside it."""
    ranges_s: list[float]
    """Each of those that were asked for at once."""
    download_s: list[float]
    """100 bytes of the other app's file, meanwhile."""
    refused: int = 0


def flood_of_recordings(server: Measured, *, recordings: int, file_format: str = "wav") -> FairnessResult:
    """Start so many recordings of one session of one app, and look at what another one sees."""
    address = _ready(server)
    flood, other = (Control(address, key=KEYS[app]) for app in (FLOOD, OTHER))
    link = _finished(address, other)
    alone = _look(address, other, link)
    idle_bytes = server.memory_bytes()
    session = f"flood-{new_id()[:8]}"
    with _talking(address, session, FLOOD, legs=("a", "b")):
        started = sum(_started(flood, session, file_format) for _ in range(recordings))
        with server.most_memory() as most:
            time.sleep(FLOODED_S)
            flooded = _look(address, other, link)
    flood.close()
    other.close()
    return FairnessResult(alone, flooded, idle_bytes, most.bytes, started)


def flood_of_ranges(server: Measured, *, ranges: int = RANGES, call_s: int = LONG_S) -> RangesResult:
    """Ask for so many ranges of a long MP3 recording while it is made, and for 100 bytes of another app's file."""
    address = _ready(server)
    flood, other = (Control(address, key=KEYS[app]) for app in (FLOOD, OTHER))
    link = _finished(address, other)
    session = f"ranges-{new_id()[:8]}"
    with _leg(address, session, FLOOD, "a") as leg:
        recording = flood.start(session, format="mp3")["id"]
        tile = make_ring()[: _TILE_BYTES // 2 // make_ring().shape[1]].tobytes()
        for _ in range(call_s * RATE_HZ * 2 // len(tile)):
            leg.send(tile)
            time.sleep(0.01)
        leg.ping().wait(_TIMEOUT_S)
        path = f"/v1/recordings/{recording}/live.wav"
        _wait_for_bytes(address, path, round(0.95 * call_s * RATE_HZ * 2))
        alone_s, _ = _range(address, path, FLOOD)
        taken: list[tuple[float, int]] = []
        threads = [threading.Thread(target=lambda: taken.append(_range(address, path, FLOOD))) for _ in range(ranges)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        download_s = [_download(address, link) for _ in range(ROUNDS)]
        for thread in threads:
            thread.join()
    flood.close()
    other.close()
    times_s = sorted(took_s for took_s, status in taken if status == 206)
    return RangesResult(alone_s, times_s, download_s, len(taken) - len(times_s))


def _ready(server: Measured) -> ServerAddress:
    address = ServerAddress.parse(server.url)
    for app, key in KEYS.items():
        connection = http.client.HTTPConnection(address.host, address.port)
        body = json.dumps({"api_key": key, "rate_limit": 0})
        headers = {"Content-Type": "application/json", "X-Admin-API-Key": ADMIN_KEY}
        connection.request("POST", f"/admin/apps/{app}", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"POST /admin/apps/{app}: {answer.status}: {answer.read().decode()[:300]}")
        connection.close()
    return address


def _started(control: Control, session: str, file_format: str) -> bool:
    try:
        control.start(session, format=file_format, max_length_s=14_400)
    except PeerError as refused:  # a quota of the server
        if "HTTP 429" not in str(refused) and "HTTP 503" not in str(refused):
            raise
        return False
    return True


def _finished(address: ServerAddress, control: Control) -> str:
    """Return the link of a finished recording of the other app."""
    session = f"done-{new_id()[:8]}"
    with _talking(address, session, OTHER, legs=("a",)):
        recording = control.start(session)["id"]
        time.sleep(2.5)
        return str(control.stop(recording)["url"])


def _look(address: ServerAddress, control: Control, link: str) -> Seen:
    seen = Seen()
    for _ in range(ROUNDS):
        limited, stopped = (f"{kind}-{new_id()[:8]}" for kind in ("limit", "stop"))
        with (
            _talking(address, limited, OTHER, legs=("a",)),
            _talking(address, stopped, OTHER, legs=("a",)),
        ):
            ends = control.start(limited, max_length_s=LIMIT_S)["id"]
            began_s = time.monotonic()
            stops = control.start(stopped)["id"]
            time.sleep(1.5)
            asked_s = time.monotonic()
            control.stop(stops)
            seen.stop_s.append(time.monotonic() - asked_s)
            seen.download_s.append(_download(address, link))
            while control.recording(ends)["status"] == "ongoing" and time.monotonic() < began_s + _TIMEOUT_S:
                time.sleep(0.05)
            seen.limit_late_s.append(time.monotonic() - began_s - LIMIT_S)
    return seen


def _wait_for_bytes(address: ServerAddress, path: str, size_bytes: int) -> None:
    """Wait until the server has folded so much."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        if _range(address, path, FLOOD, f"{size_bytes}-{size_bytes}")[1] == 206:
            return
        time.sleep(0.5)
    raise SystemExit("the long recording was not folded in time")


def _range(address: ServerAddress, path: str, app: str, part: str = "-100") -> tuple[float, int]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)
    asked_s = time.monotonic()
    connection.request("GET", path, headers={"Range": f"bytes={part}", "Authorization": f"Bearer {KEYS[app]}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return time.monotonic() - asked_s, answer.status


def _download(address: ServerAddress, link: str) -> float:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT_S)
    asked_s = time.monotonic()
    connection.request("GET", link[link.index("/", 8) :], headers={"Range": "bytes=0-99"})
    answer = connection.getresponse()
    if answer.status != 206 or len(answer.read()) != 100:
        raise SystemExit(f"a range of a finished file: {answer.status}")
    connection.close()
    return time.monotonic() - asked_s


def _leg(address: ServerAddress, session: str, app: str, leg: str) -> ClientConnection:
    url = address.media_url("pcm", session, leg, {"rate": str(RATE_HZ), "app": app})
    return connect(url, compression=None, max_size=None, additional_headers={"Authorization": f"Bearer {KEYS[app]}"})


@contextmanager
def _talking(address: ServerAddress, session: str, app: str, *, legs: Sequence[str]) -> Iterator[None]:
    """Stream these legs of a session in real time until the context is left."""
    sockets = [_leg(address, session, app, leg) for leg in legs]
    over = threading.Event()

    def talk() -> None:
        frames = [frame.tobytes() for frame in make_ring()]
        start_s, tick = time.monotonic(), 0
        while not over.wait(max(start_s + tick * PTIME_S - time.monotonic(), 0)):
            for socket in sockets:
                socket.send(frames[tick % len(frames)])
            tick += 1

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for socket in sockets:
            socket.close()
