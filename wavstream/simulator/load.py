"""``wavstream load``: many calls at once with known audio; measures their cost and checks every sample.

A session is two legs in one stereo recording. First all sockets connect, then the recordings are started through the
API, then every leg sends its frames. A few recordings are stopped through the API while everything streams, to measure
how soon a file can be fetched; the others end when the calls are hung up. The server's CPU is read from its metrics
before the first frame and when the last file is finished.

Exit codes: 0 all went well; 1 samples or legs were lost; 2 the load could not run as it was asked for.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from wavstream.errors import OperatorError, PeerError
from wavstream.model.ids import new_id
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, Control
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.peers import CODECS
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, ChannelCheck, Ring, check_channel, make_ring, sent_by

MOST_STOPS = 50
"""Recordings that are stopped through the API to time it; the others end by hang-up."""
_STOPS_FROM, _STOPS_TO = 0.6, 0.9  # of the duration: the server is warm, and every leg still streams
_IN_FLIGHT_FRAMES = 3
"""The newest frames of a leg at the moment of a stop, which may not have reached the server yet."""
_FINISH_TIMEOUT_S = 60.0

MEMORY = "process_resident_memory_bytes"
LOOP_DELAY = 'wavstream_loop_delay_seconds{quantile="%s"}'

Progress = Callable[[str, float], None]
"""Takes the name of the phase and how much of it is done, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """The load that is asked for."""

    url: str
    legs: int
    dialect: str = "pcm"
    duration_s: float = 20.0
    processes: int = 1
    burst: bool = False
    """All legs at the same instant of each ptime; else spread over it, as in life."""
    verify: bool = False
    """Fetch every file and compare every sample."""
    key: str | None = None


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """The measurements of a load."""

    legs: int
    duration_s: float
    burst: bool
    frames: int = 0
    """Frames sent."""
    late_ticks: int = 0
    """Late ticks of the generator: if there are many, the result says nothing of the server."""
    worst_late_ms: float = 0.0
    held_back: int = 0
    """Frames that the server's socket did not take at once."""
    lost_legs: int = 0
    """Streams that the server ended or did not close."""
    cpu_us_per_frame: float = 0.0
    """CPU of the server, user and system, from the first frame to the last finished file."""
    finish_cpu_us_per_frame: float = 0.0
    """The part of it after the last frame."""
    loop_delay_ms: dict[str, float] = field(default_factory=dict)
    """By quantile, over the minute before the end of the stream."""
    stop_ms: list[float] = field(default_factory=list)
    """From the stop's request to the 200 of the file's link, sorted."""
    memory_bytes_per_leg: float = 0.0
    verified_files: int = 0
    lost_samples: int | None = None
    """None: not verified."""
    extra_samples: int = 0
    hole_samples: int = 0
    """Silence within a signal."""
    offset_ms: tuple[float, float] | None = None
    """Least and most silence before a leg's first sample."""
    complaints: list[str] = field(default_factory=list)
    """One line for each channel that differs from what was sent, and for each missing file."""

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, added or refused."""
        return not (self.lost_legs or self.lost_samples or self.extra_samples or self.hole_samples or self.complaints)


@dataclass(slots=True)
class _Call:
    """A session of the load: legs ``2 * number`` and ``2 * number + 1``."""

    number: int
    session_id: str
    recording_id: str = ""
    stopped_frame: int | None = None
    """Frames that its legs had sent when its stop was requested."""


def run_load(request: LoadRequest, progress: Progress = lambda _phase, _done: None) -> LoadResult:
    """Run the load and return its measurements; raise OperatorError or PeerError if it cannot run."""
    server = _checked(request)
    control = Control(server, key=request.key)
    idle = control.metrics()
    if CPU not in idle:
        raise OperatorError(f"{server.authority}: its /metrics lack {CPU}; the load measures a wavstream server")
    frames = round(request.duration_s / PTIME_S)
    prefix = f"load-{new_id()[:8]}"
    calls = [_Call(number, f"{prefix}-{number}") for number in range(request.legs // 2)]
    targets = [server.media_path(request.dialect, call.session_id, leg, {}) for call in calls for leg in ("a", "b")]
    result = LoadResult(legs=request.legs, duration_s=request.duration_s, burst=request.burst)
    traffic = Traffic(
        targets, frames, request.dialect, processes=request.processes, burst=request.burst, key=request.key
    )
    with Generator(server, traffic) as generator:
        progress("connect", 0)
        generator.wait_connected()
        for call in calls:
            call.recording_id = control.start(call.session_id, format="wav", channels="stereo")["id"]
            progress("start recordings", call.number / len(calls))
        before = control.metrics_at_rest()
        start_s = time.monotonic() + 0.2
        generator.start(start_s)
        _stop_some(calls, control, start_s, request.duration_s, result, progress)
        _sleep_until(start_s + request.duration_s - 0.3, start_s, request.duration_s, progress)
        streaming = control.metrics()
        counts = generator.wait_done()
    ended = control.metrics_at_rest()

    result.frames, result.late_ticks, result.worst_late_ms = counts.frames, counts.late_ticks, counts.worst_late_ms
    result.held_back, result.lost_legs = counts.held_back, len(counts.lost_legs)
    result.complaints += [f"leg {number} ended early, close code {code}" for number, code in counts.lost_legs]
    result.cpu_us_per_frame = (ended[CPU] - before[CPU]) / max(counts.frames, 1) * 1e6
    result.finish_cpu_us_per_frame = (ended[CPU] - streaming[CPU]) / max(counts.frames, 1) * 1e6
    quantiles = {name: streaming.get(LOOP_DELAY % name) for name in ("0.5", "0.99", "1")}
    result.loop_delay_ms = {name: value * 1000 for name, value in quantiles.items() if value is not None}
    result.memory_bytes_per_leg = (streaming.get(MEMORY, 0) - idle.get(MEMORY, 0)) / request.legs
    _check_files(calls, control, frames, request, result, progress)
    control.close()
    return result


def _checked(request: LoadRequest) -> ServerAddress:
    if request.legs < 2 or request.legs % 2:
        raise OperatorError(f"--legs {request.legs}: use an even number from 2 on; a call has two legs")
    if request.dialect not in CODECS:
        raise OperatorError(f"--dialect {request.dialect}: the load speaks {', '.join(CODECS)}")
    if not 1 <= request.duration_s <= 3_600:
        raise OperatorError(f"--duration {request.duration_s:g}: use 1 to 3600 seconds")
    if not 1 <= request.processes <= 32:
        raise OperatorError(f"--processes {request.processes}: use 1 to 32")
    return ServerAddress.parse(request.url)


def _stop_some(
    calls: list[_Call], control: Control, start_s: float, duration_s: float, result: LoadResult, progress: Progress
) -> None:
    """Stop some of the recordings under load, spread in time and over the calls, and time each stop."""
    stops = min(MOST_STOPS, len(calls) // 2)
    for index in range(stops):
        at_s = start_s + duration_s * (_STOPS_FROM + (_STOPS_TO - _STOPS_FROM) * index / stops)
        _sleep_until(at_s, start_s, duration_s, progress)
        call = calls[index * len(calls) // stops]
        call.stopped_frame = int((time.monotonic() - start_s) / PTIME_S)
        asked = time.perf_counter()
        if time.monotonic() > start_s + duration_s - PTIME_S:
            result.complaints.append(f"only {index} of {stops} stops were timed: those took until the calls ended")
            break
        try:
            url = control.stop(call.recording_id)["url"]
        except PeerError as refused:
            result.complaints.append(f"call {call.number}: {refused}")
            continue
        while (status := control.status_of(url)) == 404 and time.perf_counter() < asked + _FINISH_TIMEOUT_S:
            time.sleep(0.002)
        result.stop_ms.append((time.perf_counter() - asked) * 1000)
        if status != 200:
            result.complaints.append(f"call {call.number}: its file answered {status} after the stop")
    result.stop_ms.sort()


def _sleep_until(at_s: float, start_s: float, duration_s: float, progress: Progress) -> None:
    while (left_s := at_s - time.monotonic()) > 0:
        progress("stream", min(max((time.monotonic() - start_s) / duration_s, 0), 1))
        time.sleep(min(left_s, 0.25))


def _check_files(
    calls: list[_Call], control: Control, frames: int, request: LoadRequest, result: LoadResult, progress: Progress
) -> None:
    """Check that every recording has a file and, if asked, that each holds exactly what was sent."""
    ring = make_ring(CODECS[request.dialect][0])
    checks: list[ChannelCheck] = []
    for call in calls:
        progress("verify" if request.verify else "check", call.number / len(calls))
        recording = _finished(control, call.recording_id)
        if recording["status"] != "available":
            result.complaints.append(f"call {call.number}: its recording is {recording['status']}, not available")
        elif request.verify:
            checks += _check_file(control.fetch(recording["url"]), call, frames, request.legs, ring, result)
            result.verified_files += 1
    if request.verify:
        result.lost_samples = sum(check.lost for check in checks)
        result.extra_samples = sum(check.extra for check in checks)
        result.hole_samples = sum(check.holes for check in checks)
        offsets_ms = [check.offset / FRAME_SAMPLES * PTIME_S * 1000 for check in checks]
        result.offset_ms = (min(offsets_ms), max(offsets_ms)) if offsets_ms else None


def _finished(control: Control, recording_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + _FINISH_TIMEOUT_S
    while True:
        recording = control.recording(recording_id)
        running = recording["status"] in ("accepted", "ongoing", "paused", "completed")
        if not running or time.monotonic() > deadline:
            return recording
        time.sleep(0.05)


def _check_file(wav: bytes, call: _Call, frames: int, legs: int, ring: Ring, result: LoadResult) -> list[ChannelCheck]:
    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)
    if samples.shape[1] != 2 or rate_hz != 8_000:
        result.complaints.append(f"call {call.number}: {samples.shape[1]} channels at {rate_hz} Hz, not 2 at 8000")
        return []
    required = None
    if call.stopped_frame is not None:
        required = max(min(call.stopped_frame - _IN_FLIGHT_FRAMES, frames), 0) * FRAME_SAMPLES
    checks = []
    for channel, leg in enumerate((2 * call.number, 2 * call.number + 1)):
        signal = sent_by(leg, legs=legs, frames=frames, ring=ring)
        check = check_channel(np.ascontiguousarray(samples[:, channel]), signal, required=required)
        if not check.is_exact:
            result.complaints.append(f"call {call.number}, channel {channel}: {check}")
        checks.append(check)
    return checks
