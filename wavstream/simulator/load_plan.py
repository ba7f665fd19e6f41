"""What a load is asked for, which calls it is made of and when they stream, and what is measured. No IO, no clock.

1. Calls have places, two legs each, whose count is that of the calls at one time. The call after another in a place has
   its signal too.
2. The first calls of all places begin within the ramp; each is followed by another when it is over. With ``cps`` as
   many places are taken as calls of that length need, and the next call of a place begins when it is its turn.
3. What has less than a second left until the end of the load does not begin; what runs then is cut short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from wavstream.errors import OperatorError
from wavstream.simulator.load_messages import CODECS
from wavstream.simulator.signal import PTIME_S

_LEAST_CALL_S = 1.0
MOST_S = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """The load that is asked for."""

    url: str
    legs: int
    """Streams at one time."""
    dialect: str = "pcm"
    duration_s: float = 20.0
    """Of the whole load."""
    call_s: float | None = None
    """Of each call, after which another takes its place; None: calls last until the end of the load."""
    ramp_s: float = 0.0
    """Within which the first calls begin, one after another."""
    cps: float | None = None
    """Calls that begin in a second, evenly; None: as ``legs``, ``call_s`` and ``ramp_s`` have it."""
    processes: int = 1
    burst: bool = False
    """All legs at the same instant of each ptime; else spread over it, as in life."""
    verify: bool = False
    """Fetch every file and compare every sample."""
    key: str | None = None
    metrics_url: str | None = None
    """Where the server's metrics are, if they are not at ``url``: a proxy should not pass them on."""
    keep: bool = False
    """Leave the recordings on the server."""


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """The measurements of a load."""

    legs: int
    duration_s: float
    burst: bool
    calls: int = 0
    is_measured: bool = True
    """Whether the server gave its metrics; else what is told of its CPU and memory is 0."""
    frames: int = 0
    """Frames sent."""
    late_ticks: int = 0
    """Late ticks of the generator: if there are many, the result says nothing of the server."""
    worst_late_ms: float = 0.0
    generator_cpu_s: float = 0.0
    """CPU of the generator itself, connecting included."""
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
class Call:
    """A session of the load: legs ``2 * place`` and ``2 * place + 1``."""

    number: int
    place: int
    begin_s: float
    frames: int
    session_id: str
    recording_id: str = ""
    """Empty: there is none, or none any more."""
    is_asked_for: bool = False
    """Whether it was asked for, so that there may be one whose answer never came."""
    stopped_frame: int | None = None
    """Frames that its legs had sent when its stop was requested."""

    @property
    def end_s(self) -> float:
        """From the start of the load."""
        return self.begin_s + self.frames * PTIME_S


def plan_calls(request: LoadRequest, session_prefix: str) -> list[Call]:
    """Return the calls in the order in which they begin."""
    places = request.legs // 2
    spacing_s = request.ramp_s / places if request.cps is None else 1 / request.cps
    length_s = request.call_s or request.duration_s
    period_s = length_s if request.cps is None else max(places / request.cps, length_s)
    times = []
    for place in range(places):
        begin_s = _on_tick(place * spacing_s)
        while begin_s == 0 or begin_s + _LEAST_CALL_S <= request.duration_s:  # rule 3
            times.append((begin_s, place, min(length_s, request.duration_s - begin_s)))
            begin_s = _on_tick(begin_s + period_s)
            if request.call_s is None:
                break
    return [
        Call(number, place, begin_s, round(length_s / PTIME_S), f"{session_prefix}-{number}")
        for number, (begin_s, place, length_s) in enumerate(sorted(times))
    ]


def legs_for(cps: float, call_s: float) -> int:
    """Return how many legs stream at one time where so many calls of that length begin in a second."""
    return 2 * max(1, math.ceil(round(cps * call_s, 6)))


def check_request(request: LoadRequest) -> None:
    """Raise OperatorError if the load cannot be made as it is asked for."""
    if request.legs < 2 or request.legs % 2:
        raise OperatorError(f"--legs {request.legs}: use an even number from 2 on; a call has two legs")
    if request.dialect not in CODECS:
        raise OperatorError(f"--dialect {request.dialect}: the load speaks {', '.join(CODECS)}")
    if not 1 <= request.duration_s <= MOST_S:
        raise OperatorError(f"--duration {request.duration_s:g}: use 1 to {MOST_S} seconds")
    if not 1 <= request.processes <= 32:
        raise OperatorError(f"--processes {request.processes}: use 1 to 32")
    if request.call_s is not None and not _LEAST_CALL_S <= request.call_s <= request.duration_s:
        raise OperatorError(f"--call-length {request.call_s:g}: use {_LEAST_CALL_S:g} second to --duration")
    if not 0 <= request.ramp_s < request.duration_s:
        raise OperatorError(f"--ramp {request.ramp_s:g}: use 0 or more seconds, less than --duration")


def _on_tick(at_s: float) -> float:
    return round(at_s / PTIME_S) * PTIME_S
