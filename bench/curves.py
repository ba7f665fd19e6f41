"""What a recording costs against the number of legs, and against the length of the call: tables and charts.

    python -m bench.curves [legs] [length] [--legs N ...] [--lengths S ...] [--seconds S] [--runs N] [--python PATH]

*Legs*: one load each, every sample compared, until one loses something or the event loop is late; the C recorder beside
each. *Length*: calls of two legs that are fed as fast as the server reads them, then go on in real time until it has
caught up, and are stopped. What is fed comes in messages of a megabyte, so its CPU is that of journal and fold.

The tables go to standard output, the charts to ``bench/results/``, or where ``--into`` says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.chart import Axes, Points, chart
from bench.cost import LEAST_LOAD_S, LOAD_S, FrameCost
from bench.figures import Spread, number, plain_table
from bench.long_call import FED_FAST, long_call
from bench.processes import ServerPlan, can_pin, end_with_children, pin_generator, wavstream_server
from bench.scenario import Bench, delay_p99_ms, p99, wrong_samples
from bench.search import DELAY_MS
from wavstream.errors import WavstreamError

RESULTS = Path(__file__).parent / "results"
LEGS = (100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000)
LENGTHS_S = (10, 60, 600, 3600, 4 * 3600)
WORST_DELAY_MS = 100.0
"""A load whose event loop is later than this ends the row: what follows would be refused."""


@dataclass(frozen=True, slots=True)
class LegsPoint:
    """The medians at one number of legs."""

    legs: int
    call_us: float
    stream_us: float
    loop_us: float
    life_ms: float
    delay_ms: float
    stop_ms: float
    memory_kb: float
    wrong: float
    peer_us: float | None

    @property
    def is_late(self) -> bool:
        """Whether something was lost, or the event loop late."""
        return self.wrong > 0 or self.delay_ms >= DELAY_MS


def against_legs(bench: Bench, counts: Sequence[int]) -> list[LegsPoint]:
    """Measure at each number of legs, up to the first that is far too much; the last point may be late."""
    points: list[LegsPoint] = []
    for legs in counts:
        costs: list[FrameCost] = []
        theirs: list[float] = []
        bench.say(f"{legs:,} legs ...")
        try:
            for _ in range(bench.runs):
                costs.append(bench.frame_cost(legs, verify=True))
                if bench.peer("c").start:
                    theirs.append(bench.peer_us("c", legs))
        except WavstreamError as refused:
            bench.say(f"  {legs:,} legs: {refused}")
            break
        points.append(
            LegsPoint(
                legs,
                _median([cost.of_a_call_us() for cost in costs]),
                _median([cost.stream_us for cost in costs]),
                _median([cost.loop_us for cost in costs]),
                _median([cost.life_ms for cost in costs]),
                _median([delay_p99_ms(cost.result) for cost in costs]),
                _median([p99(cost.result.stop_ms) for cost in costs]),
                _median([cost.result.memory_bytes_per_leg / 1000 for cost in costs]),
                max(wrong_samples(cost.result) for cost in costs),
                _median(theirs) if theirs else None,
            )
        )
        if points[-1].wrong or points[-1].delay_ms > WORST_DELAY_MS:
            break
    return points


def _median(values: list[float]) -> float:
    return Spread(tuple(values)).median


def write_legs(points: Sequence[LegsPoint], into: Path) -> str:
    """Write the charts against legs, and return the table."""
    head = ["legs", "CPU a frame, us", "in the stream", "event loop", "C recorder", "a recording's life, ms"]
    head += ["loop delay p99, ms", "stop to fetchable p99, ms", "memory a leg, kB", "samples wrong"]
    lines = []
    for point in points:
        figures = [point.call_us, point.stream_us, point.loop_us, point.peer_us, point.life_ms]
        figures += [point.delay_ms, point.stop_ms, point.memory_kb, point.wrong]
        lines.append([f"{point.legs:,}", *("-" if figure is None else number(figure) for figure in figures)])
    series: dict[str, Points] = {
        "all of it": [(point.legs, point.call_us) for point in points],
        "event loop": [(point.legs, point.loop_us) for point in points],
    }
    if all(point.peer_us is not None for point in points):
        series["C recorder"] = [(point.legs, point.peer_us or 0.0) for point in points]
    title = "CPU of a 20 ms frame, from the socket to the finished stereo WAV of a call of 3 minutes"
    _write(into / "cost-against-legs.svg", series, Axes(title=title, x="legs", y="us", x_is_log=True))
    memory = {"a leg": [(point.legs, point.memory_kb) for point in points]}
    axes = Axes(title="Memory of a leg while it is recorded", x="legs", y="kB", x_is_log=True, bound=(40.0, "40 kB"))
    _write(into / "memory-against-legs.svg", memory, axes)
    delays = {"p99": [(point.legs, point.delay_ms) for point in points]}
    axes = Axes(title="Delay of the event loop, p99", x="legs", y="ms", x_is_log=True, bound=(DELAY_MS, "20 ms"))
    _write(into / "delay-against-legs.svg", delays, axes)
    return plain_table(head, lines)


@dataclass(frozen=True, slots=True)
class LengthPoint:
    """The medians at one length of a call."""

    call_s: int
    cpu_s: float
    """Journal and fold of the whole call, two legs, without that of a call of no length."""
    stop_ms: float
    most_mb: float
    """Memory beyond that of an idle server, at its most, while it was fed."""
    before_stop_mb: float
    """The same when it had caught up."""


def against_length(bench: Bench, lengths_s: Sequence[int]) -> list[LengthPoint]:
    """Measure calls of each length, each on a fresh server."""
    points = []
    for call_s in lengths_s:
        found = []
        for _ in range(bench.runs):
            with wavstream_server(bench.pinned, bench.plan, **FED_FAST) as server:
                time.sleep(1.0)
                idle_bytes, idle_s = server.memory_bytes(), server.cpu_s()
                with server.most_memory() as most, long_call(server.url, call_s) as call:
                    cpu_s = server.cpu_s() - idle_s
                    before_stop = server.memory_bytes() - idle_bytes
                    stop_ms = call.stop_ms()
                found.append((cpu_s, stop_ms, (most.bytes - idle_bytes) / 1e6, before_stop / 1e6))
        point = LengthPoint(call_s, *(_median(list(figure)) for figure in zip(*found, strict=True)))
        bench.say(
            f"  a call of {_length(call_s)}: {point.cpu_s:.2f} s of CPU, stop {point.stop_ms:.0f} ms,"
            f" memory {point.before_stop_mb:.1f} MB, {point.most_mb:.0f} at most"
        )
        points.append(point)
    return points


def write_length(points: Sequence[LengthPoint], into: Path) -> str:
    """Write the charts against length, and return the table."""
    head = [
        "call",
        "CPU of journal and fold, s",
        "of an hour, s",
        "stop to fetchable, ms",
        "memory before the stop, MB",
    ]
    lines = [
        [
            _length(point.call_s),
            number(point.cpu_s),
            number(point.cpu_s / point.call_s * 3600),
            number(point.stop_ms),
            number(point.before_stop_mb),
            number(point.most_mb),
        ]
        for point in points
    ]
    stops = {"stop": [(point.call_s, point.stop_ms) for point in points]}
    title = "From the stop of a call to its file"
    _write(
        into / "stop-against-length.svg",
        stops,
        Axes(title=title, x="length", y="ms", x_is_log=True, x_text=_length, bound=(50.0, "50 ms")),
    )
    memory = {"before the stop": [(point.call_s, max(point.before_stop_mb, 0.0)) for point in points]}
    title = "Memory of one call of two legs, when it is as old as that"
    _write(
        into / "memory-against-length.svg", memory, Axes(title=title, x="length", y="MB", x_is_log=True, x_text=_length)
    )
    return plain_table([*head, "while it was fed, MB"], lines)


def _length(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _write(path: Path, series: Mapping[str, Points], axes: Axes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chart(series, axes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="legs, length; default: both")
    parser.add_argument("--legs", type=int, nargs="+", default=LEGS)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS_S, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, default=LOAD_S, help=f"length of a load, {LEAST_LOAD_S:g} at least")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the server")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the charts")
    chosen = parser.parse_args()
    end_with_children()
    bench = Bench(can_pin(), chosen.seconds, chosen.runs, ServerPlan(chosen.python))
    pin_generator(bench.pinned)
    what = chosen.what or ("legs", "length")
    if "legs" in what:
        print(write_legs(against_legs(bench, chosen.legs), chosen.into), flush=True)
    if "length" in what:
        print(write_length(against_length(bench, chosen.lengths), chosen.into), flush=True)
    for doubt in bench.doubts:
        print(f"Doubtful: {doubt}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
