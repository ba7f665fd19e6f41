"""What a frame costs: one load on a fresh server, its CPU told apart by what it is for, and the peers beside it.

Everything is the kernel's count of user and system time, of every thread and process of the server. In the middle of
the stream only frames are recorded: that is the cost of a frame. What starts, stops and finishing cost beside that is
the cost of a recording's life, so that the figure of a call of any length follows from a load of seconds. What the
whole load took, divided by its frames, is told too.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from bench.processes import USUAL, Measured, ServerPlan, python_peer, recorder_peer, wavstream_server
from bench.senders import PEERS, built, fastest_generator
from wavstream.errors import OperatorError
from wavstream.sessions.deadlines import CLOCK_EVERY_US, CLOCKS_PER_FOLD
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest, LoadResult
from wavstream.simulator.signal import PTIME_S

WARM_S, STOPS_FROM = 11.0, 0.6
"""The middle of a stream: from so many seconds on, until the first stops are asked for, at this share of the load.

In the first seconds each frame wakes the server (a stream is steady after 3 s), and in the first two folds all calls
are placed. That is counted as what a recording costs beside its frames, since it comes once."""
LOAD_S, LEAST_LOAD_S = 26.0, 25.0
"""A load with a fold of each call in its middle."""
CALL_S = 180.0
"""A call of usual length."""
FOLD_S = 2 * CLOCKS_PER_FOLD * CLOCK_EVERY_US / 1_000_000
"""From one fold of a call to its next: it has a moment to fold each so many clocks, and takes every second one."""
_LOOK_S = 0.1
"""A look may come so much late."""
MARK_FRAMES = 5
_MESSAGE_BYTES = 328


@dataclass(frozen=True, slots=True)
class FrameCost:
    """The measurements of one load."""

    stream_us: float
    """CPU a frame in the middle of the stream."""
    life_ms: float
    """CPU of a recording beside its frames."""
    load_us: float
    """CPU a frame of the whole load: from the first frame to the last finished file."""
    loop_us: float
    """The part of ``stream_us`` on the event loop; the rest is the journal's writer and the fold."""
    result: LoadResult

    def of_a_call_us(self, call_s: float = CALL_S) -> float:
        """Return the CPU a frame of a call of two legs and this length, start and finishing included."""
        return self.stream_us + self.life_ms * 1000 / (2 * call_s / PTIME_S)


class _Read(NamedTuple):
    """One look at the server."""

    at_s: float
    cpu_s: float
    loop_cpu_s: float


@dataclass
class _Clockwork:
    """Reads the server's CPU as the load goes on.

    Calls that begin together are folded together, each ``FOLD_S``, and a fold is two fifths of what a frame costs. So
    what is counted lasts a whole number of folds: in 11 s one server had two folds of its calls, and another, whose
    calls had begun a moment later, three.
    """

    server: Measured
    duration_s: float
    at_phase: dict[str, float] = field(default_factory=dict)
    middle: list[_Read] = field(default_factory=list)
    """What was read in the middle of the stream."""

    def progress(self, phase: str, done: float) -> None:
        """Note the CPU at the beginning of each phase, and at each step in the middle of the stream."""
        if phase not in self.at_phase:
            self.at_phase[phase] = self.server.cpu_s()
        at_s = done * self.duration_s
        if phase == "stream" and WARM_S <= at_s <= STOPS_FROM * self.duration_s:
            self.middle.append(_Read(time.monotonic(), self.server.cpu_s(), self.server.loop_cpu_s()))

    def ends(self) -> tuple[_Read, _Read]:
        """Return the first and the last look of the middle, a whole number of folds apart if it is that long.

        Raises OperatorError where it has no middle.
        """
        if len(self.middle) < 2:
            raise OperatorError(
                f"a load of {self.duration_s:g} s has no middle: the machine stood still, or it is too short"
            )
        first, last = self.middle[0], self.middle[-1]
        folds = int((last.at_s - first.at_s + _LOOK_S) / FOLD_S)
        if folds:
            last = min(self.middle[1:], key=lambda each: abs(each.at_s - first.at_s - folds * FOLD_S))
        return first, last


def frame_cost(
    pinned: bool,
    legs: int,
    *,
    seconds: float,
    burst: bool = False,
    verify: bool = False,
    dialect: str = "pcm",
    generator_type: type[Generator] | None = None,
    plan: ServerPlan = USUAL,
    settings: Mapping[str, object] = MappingProxyType({}),
) -> FrameCost:
    """Run a load on a fresh server of these settings and return its cost; ``seconds``: ``LEAST_LOAD_S`` or more.

    Raises OperatorError where streams were ended: frames that nobody took cost nothing.
    """
    with wavstream_server(pinned, plan, **settings) as server:
        watch = _Clockwork(server, seconds)
        request = LoadRequest(
            url=server.url, legs=legs, duration_s=seconds, burst=burst, verify=verify, dialect=dialect, keep=True
        )
        result = run_load(request, watch.progress, generator_type or fastest_generator())
    if ended := result.lost_legs:
        raise OperatorError(f"{ended:,} of {legs:,} streams were ended: they are too many for this server")
    (first_s, first_cpu_s, first_loop_s), (last_s, last_cpu_s, last_loop_s) = watch.ends()
    frames = (last_s - first_s) * legs / PTIME_S
    stream_us = (last_cpu_s - first_cpu_s) / frames * 1e6
    phases = watch.at_phase
    ended_s = phases["verify" if verify else "check"]
    load_s, starts_s = ended_s - phases["stream"], phases["stream"] - phases["start recordings"]
    life_s = starts_s + load_s - stream_us * result.frames / 1e6
    return FrameCost(
        stream_us,
        life_s / result.calls * 1000,
        load_s / max(result.frames, 1) * 1e6,
        (last_loop_s - first_loop_s) / frames * 1e6,
        result,
    )


Start = Callable[[], AbstractContextManager[Measured]]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server that takes the same frames."""

    name: str
    start: Start | None
    """None: it cannot be had here, for this reason."""
    why_not: str = ""


def peers(pinned: bool) -> dict[str, Peer]:
    """Return the peers by a short name; those in C are built first."""
    mark = str(MARK_FRAMES * _MESSAGE_BYTES)
    found = {
        "c": _in_c("recorder", "C recorder on libwebsockets", pinned),
        "c-mark": _in_c("recorder", "C recorder on libwebsockets, SO_RCVLOWAT of 5 frames", pinned, mark),
        "bare-c": _in_c("bare_recorder", "bare C recorder, epoll", pinned),
        "bare-c-mark": _in_c("bare_recorder", "bare C recorder, SO_RCVLOWAT of 5 frames", pinned, mark),
        "node": _node(pinned),
    }
    for name, script, options in (
        ("websockets", "websockets_receiver.py", ()),
        ("websockets-uvloop", "websockets_receiver.py", ("uvloop",)),
        ("floor", "floor.py", ()),
    ):
        found[name] = Peer(_PYTHON[name], _python(script, pinned, options))
    return found


_PYTHON = {
    "websockets": "websockets on asyncio, receiving only",
    "websockets-uvloop": "websockets on uvloop, receiving only",
    "floor": "bare protocol, counting only",
}


def _python(script: str, pinned: bool, options: tuple[str, ...]) -> Start:
    return lambda: python_peer(script, pinned, *options)


def _in_c(name: str, text: str, pinned: bool, *options: str) -> Peer:
    binary = built(name)
    if binary is None:
        return Peer(text, None, f"not built: make -C bench/peers {name}")
    return Peer(text, lambda: recorder_peer([str(binary)], pinned, *options))


def _node(pinned: bool) -> Peer:
    text = "Node's ws, WAV"
    if (node := shutil.which("node")) is None:
        return Peer(text, None, "no node here")
    if not (PEERS / "node_modules" / "ws").is_dir():
        return Peer(text, None, "no ws: npm install --prefix bench/peers")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    script = str(PEERS / "node_recorder.js")
    return Peer(f"{text}, Node {version.removeprefix('v')}", lambda: recorder_peer([node, script], pinned))


def peer_us(start: Start, legs: int, *, seconds: float, burst: bool = False) -> tuple[float, int]:
    """Return the CPU of a peer in us a frame, from the first frame to the last, and the late ticks of the generator."""
    with start() as peer:
        targets = [f"/media/pcm/peer-{number // 2}/{'ab'[number % 2]}" for number in range(legs)]
        traffic = Traffic(targets, round(seconds / PTIME_S), burst=burst)
        with fastest_generator()(ServerAddress.parse(peer.url), traffic) as generator:
            generator.wait_connected()
            before_s = peer.cpu_s()
            generator.start(time.monotonic() + 0.2)
            counts = generator.wait_done()
            return (peer.cpu_s() - before_s) / counts.frames * 1e6, counts.late_ticks
