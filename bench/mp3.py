"""Stereo MP3 calls in real time: is every second of every leg in its file, and what does it cost beyond LAME?"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.senders import fastest_generator
from tests.support.listening import loudest_shift
from wavstream.rendering.encoders.mp3 import Mp3Encoder
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, SPEAK_WITHIN_S, Control
from wavstream.simulator.generator import Traffic
from wavstream.simulator.load import loop_delay_s
from wavstream.simulator.signal import PTIME_S, RATE_HZ, make_ring, sent_by

_FINISH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class CodedLoad:
    """The measurements of a load of calls."""

    lost_s: int
    """Misplaced seconds of legs in all files, with the seconds that receipts count as lost."""
    cpu_s: float
    """CPU of the server, from the first frame to the last finished file."""
    loop_delay_p99_ms: float
    behind_s: float
    """From the end of the stream to the last finished file."""
    late_ticks: int
    """Of the generator."""
    generator_cpu_s: float


def run_calls(url: str, *, calls: int, seconds: int, file_format: str) -> CodedLoad:
    """Stream two legs a call in real time, hang up, and check every file."""
    server = ServerAddress.parse(url)
    control = Control(server)
    targets = [f"/media/pcm/{file_format}-{number}/{leg}" for number in range(calls) for leg in "ab"]
    frames = round(seconds / PTIME_S)
    with fastest_generator()(server, Traffic(targets, frames)) as generator:
        generator.wait_connected()
        options = {"format": file_format, "channels": "stereo"}
        recordings = [control.start(f"{file_format}-{number}", **options) for number in range(calls)]
        before = control.metrics_at_rest(within_s=SPEAK_WITHIN_S)
        generator.start(time.monotonic() + 0.2)
        time.sleep(seconds - 1)
        streaming = control.metrics()
        counts = generator.wait_done()
        ended_s = time.monotonic()
    finished = [_finished(control, recording["id"]) for recording in recordings]
    behind_s = time.monotonic() - ended_s
    after = control.metrics_at_rest()
    lost_s = sum(_lost_s(finished[call], control, call=call, legs=2 * calls, frames=frames) for call in range(calls))
    control.close()
    delay_ms = (loop_delay_s(streaming, "0.99") or 0.0) * 1000
    return CodedLoad(lost_s, after[CPU] - before[CPU], delay_ms, behind_s, counts.late_ticks, counts.cpu_s)


def lame_cpu_s(*, calls: int, seconds: int) -> float:
    """Return the CPU of LAME alone for the audio of so many calls, measured on a tenth of them."""
    ring, frames = make_ring(), round(seconds / PTIME_S)
    sample = max(1, calls // 10)
    blocks = [
        np.stack([sent_by(leg, legs=2 * calls, frames=frames, ring=ring) for leg in (2 * call, 2 * call + 1)], axis=1)
        for call in range(sample)
    ]
    begin_s = time.process_time()
    for block in blocks:
        encoder = Mp3Encoder(sample_rate_hz=RATE_HZ, channels=2)
        for start in range(0, len(block), RATE_HZ):
            encoder.encode(block[start : start + RATE_HZ])
        encoder.finish()
    return (time.process_time() - begin_s) * calls / sample


def _finished(control: Control, recording_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + _FINISH_TIMEOUT_S
    while (recording := control.recording(recording_id))["status"] != "available":
        if time.monotonic() > deadline:
            raise SystemExit(f"recording {recording_id} is {recording['status']} after {_FINISH_TIMEOUT_S:g} s")
        time.sleep(0.05)
    return recording


def _lost_s(recording: dict[str, Any], control: Control, *, call: int, legs: int, frames: int) -> int:
    integrity = recording["integrity"]
    lost_s: int = -(-(integrity["lost_ms"] + integrity["late_ms"]) // 1000) + len(integrity["gaps"])
    samples, rate_hz = soundfile.read(io.BytesIO(control.fetch(recording["url"])), dtype="int16", always_2d=True)
    if (rate_hz, len(samples)) != (RATE_HZ, integrity["samples"] // 2):
        return lost_s + 2 * len(samples) // RATE_HZ
    ring = make_ring()
    for channel, leg in enumerate((2 * call, 2 * call + 1)):
        lost_s += misplaced_s(samples[:, channel], sent_by(leg, legs=legs, frames=frames, ring=ring))
    return lost_s


def misplaced_s(heard: NDArray[np.int16], sent: NDArray[np.int16]) -> int:
    """Return how many whole seconds of a signal are not in a lossy copy, each as far behind as the first."""
    shift = loudest_shift(heard, sent[:RATE_HZ])
    wrong = 0
    for start in range(0, len(sent) - RATE_HZ + 1, RATE_HZ):
        there = heard[start + shift : start + shift + RATE_HZ].astype(float)
        said = sent[start : start + len(there)].astype(float)
        alike = np.dot(there, said) / max(1.0, np.sqrt(np.dot(there, there) * np.dot(said, said)))
        wrong += int(len(there) < RATE_HZ or alike < 0.7)
    return wrong
