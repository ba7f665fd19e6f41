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
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, Ring, check_channel, make_ring, sent_by

STORM_CALLS, STORM_S = 500, 6.0
CHURN_LEGS, CHURN_CALL_S = 200, 5.0
_FINISH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class StormResult:
    """What a start storm left."""

    lost_samples: int
    """Lost or added; those of legs that were never recorded are lost."""
    holes: int
    """Samples of silence within what a leg sent: its frames came, but too late to follow each other."""
    refused: int
    """Streams that were refused; they sent nothing, and all that they would have sent is lost."""
    open_s: float
    """From the start until all streams were open."""
    delay_p99_ms: float
    complaints: list[str]
    """One line for each call of which something is wrong."""


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
            start_s = time.monotonic() + 1.0
            generator.start(start_s)
            generator.wait_connected()
            open_s = time.monotonic() - start_s
            time.sleep(max(start_s + seconds - 1 - time.monotonic(), 0))
            delay_s = loop_delay_s(control.metrics(), "0.99")
            counts = generator.wait_done()
        control.metrics_at_rest()
        complaints: list[str] = []
        ring = make_ring()
        lost = holes = 0
        finish_by_s = time.monotonic() + _FINISH_TIMEOUT_S
        for call, name in enumerate(names):
            samples, silence, why = _wrong_samples(control, name, _Legs(call, 2 * calls, frames, ring), finish_by_s)
            lost, holes = lost + samples, holes + silence
            complaints += [f"call {call}: {why}"] if why else []
        control.close()
    return StormResult(lost, holes, len(counts.refused), open_s, (delay_s or 0.0) * 1000, complaints)


@dataclass(frozen=True, slots=True)
class _Legs:
    """What the two legs of a call send."""

    call: int
    of_all: int
    frames: int
    ring: Ring


def _wrong_samples(control: Control, session_id: str, legs: _Legs, finish_by_s: float) -> tuple[int, int, str]:
    """Return what is lost of the one recording of a call, the silence within, both in samples, and what is wrong."""
    while True:
        found = list(control.recordings(2, session_id=session_id))
        if len(found) == 1 and found[0]["status"] == "available":
            break
        if time.monotonic() > finish_by_s:
            return 2 * legs.frames * FRAME_SAMPLES, 0, f"{len(found)} recordings: {[each['status'] for each in found]}"
        time.sleep(0.05)
    samples, _ = soundfile.read(io.BytesIO(control.fetch(found[0]["url"])), dtype="int16", always_2d=True)
    lost, holes, why = 0, 0, ""
    for channel in range(2):
        sent = sent_by(2 * legs.call + channel, legs=legs.of_all, frames=legs.frames, ring=legs.ring)
        if channel >= samples.shape[1]:
            lost, why = lost + len(sent), f"no channel {channel}"
            continue
        check = check_channel(samples[:, channel].copy(), sent)
        lost, holes = lost + check.lost + check.extra, holes + check.holes
        if not check.is_exact:
            why = f"channel {channel}: {check}"
    return lost, holes, why


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
