"""Calls that come and go: all at once, and all the time.

*Start storm*: 500 calls of two legs are dialled within a tenth of a second, each recorded because its first stream asks
for it, and each leg streams from the moment that its socket is open. *Churn*: calls of seconds that begin and end all
the time, each followed by another; memory has to stay where it was, and nothing may be lost.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import soundfile

from bench.processes import USUAL, Measured, ServerPlan, wavstream_server
from bench.senders import StormGenerator, built
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control
from wavstream.simulator.generator import Traffic
from wavstream.simulator.load import loop_delay_s, run_load
from wavstream.simulator.load_plan import LoadRequest, LoadResult
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, check_channel, make_ring, sent_by

STORM_CALLS, STORM_S = 500, 6.0
CHURN_LEGS, CHURN_CALL_S = 200, 5.0
_FINISH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class StormResult:
    """What a start storm left."""

    wrong_samples: int
    """Lost, added or moved; those of legs that were never recorded are lost."""
    open_s: float
    """From the start until all streams were open, as far as the server tells: its own count."""
    delay_p99_ms: float


def start_storm(
    pinned: bool, *, calls: int = STORM_CALLS, seconds: float = STORM_S, plan: ServerPlan = USUAL
) -> StormResult | None:
    """Have so many calls begin within a tenth of a second; None where the generator cannot be built."""
    if built("generator") is None:
        return None
    frames, names = round(seconds / PTIME_S), [f"storm-{number}" for number in range(calls)]
    with wavstream_server(pinned, plan) as server:
        address = ServerAddress.parse(server.url)
        control = Control(address)
        targets = [address.media_path("pcm", name, leg, {"record": "1"}) for name in names for leg in "ab"]
        with StormGenerator(address, Traffic(targets, frames)) as generator:
            generator.wait_connected()
            start_s = time.monotonic() + 0.2
            generator.start(start_s)
            open_s = _until_open(control, 2 * calls, start_s)
            time.sleep(max(start_s + seconds - 1 - time.monotonic(), 0))
            delay_s = loop_delay_s(control.metrics(), "0.99")
            generator.wait_done()
        control.metrics_at_rest()
        wrong = sum(_wrong_samples(control, name, call, 2 * calls, frames) for call, name in enumerate(names))
        control.close()
    return StormResult(wrong, open_s, (delay_s or 0.0) * 1000)


def _until_open(control: Control, streams: int, start_s: float) -> float:
    time.sleep(max(start_s - time.monotonic(), 0))
    while sum(_named(control.metrics(), "wavstream_streams_opened_total")) < streams:
        if time.monotonic() > start_s + _FINISH_TIMEOUT_S:
            return float("inf")
        time.sleep(0.02)
    return time.monotonic() - start_s


def _named(metrics: dict[str, float], name: str) -> list[float]:
    """Return the metric of every worker, or the one without labels, which counts for all."""
    if name in metrics:
        return [metrics[name]]
    return [value for each, value in metrics.items() if each.startswith(name + "{")]


def _wrong_samples(control: Control, session_id: str, call: int, legs: int, frames: int) -> int:
    """Return the samples that are lost, added or moved in the one recording of a call."""
    deadline = time.monotonic() + _FINISH_TIMEOUT_S
    while True:
        found = list(control.recordings(2, session_id=session_id))
        if len(found) == 1 and found[0]["status"] == "available":
            break
        if time.monotonic() > deadline:
            return 2 * frames * FRAME_SAMPLES
        time.sleep(0.05)
    samples, _ = soundfile.read(io.BytesIO(control.fetch(found[0]["url"])), dtype="int16", always_2d=True)
    wrong, ring = 0, make_ring()
    for channel, leg in enumerate((2 * call, 2 * call + 1)):
        sent = sent_by(leg, legs=legs, frames=frames, ring=ring)
        if channel >= samples.shape[1]:
            wrong += len(sent)
            continue
        check = check_channel(samples[:, channel].copy(), sent)
        wrong += check.lost + check.extra + check.holes
    return wrong


@dataclass(frozen=True, slots=True)
class ChurnResult:
    """What a churn showed."""

    result: LoadResult
    calls: int
    half_bytes: float
    """Memory when half of it was over."""
    end_bytes: float
    cpu_share: float
    """Of one core, the server."""

    @property
    def growth(self) -> float:
        """Memory at the end against that at half."""
        return self.end_bytes / self.half_bytes


class _Memory:
    """Reads the server's memory at the half and at the end of a load; of some readings the least."""

    def __init__(self, server: Measured) -> None:
        self._server = server
        self.at_half: list[int] = []
        self.at_end: list[int] = []

    def progress(self, phase: str, done: float) -> None:
        if phase == "stream" and 0.45 <= done <= 0.55:
            self.at_half.append(self._server.memory_bytes())
        if phase == "stream" and done >= 0.9:
            self.at_end.append(self._server.memory_bytes())


def churn(pinned: bool, *, seconds: float, legs: int = CHURN_LEGS, plan: ServerPlan = USUAL) -> ChurnResult:
    """Have calls of ``CHURN_CALL_S`` begin and end for so long, 40 a second less or more, and check every file."""
    with wavstream_server(pinned, plan) as server:
        memory = _Memory(server)
        request = LoadRequest(
            url=server.url,
            legs=legs,
            duration_s=seconds,
            call_s=CHURN_CALL_S,
            ramp_s=CHURN_CALL_S,
            verify=True,
        )
        before_s = server.cpu_s()
        began = time.monotonic()
        result = run_load(request, memory.progress)
        share = (server.cpu_s() - before_s) / (time.monotonic() - began)
    at_half, at_end = min(memory.at_half, default=0), min(memory.at_end, default=0)
    return ChurnResult(result, result.calls, float(at_half), float(at_end), share)
