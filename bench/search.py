"""The most legs, or calls, at which nothing is lost and the event loop is on time; found by halves, then confirmed.

    python -m bench.search [legs|workers|mp3 ...] [--seconds S] [--first N] [--python PATH]

A probe is a load of seconds on a fresh server. It holds when every sample of every file is there and nothing else is,
no stream was ended or refused, and the event loop's delay is below 20 ms at p99 of the minute before the end of the
stream, connecting and starting included. What is found is confirmed by a longer load; where that does not hold, a tenth
less is tried. A probe in which the generator itself was late says nothing of the server; it does not hold, and is told.

``workers`` has two workers on two cores, which the generator shares, with its share told.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from rich.console import Console

from bench.figures import most_that_holds, number, plain_table
from bench.mp3 import run_calls
from bench.processes import USUAL, ServerPlan, can_pin, end_with_children, has_workers, pin_generator, wavstream_server
from bench.senders import fastest_generator
from wavstream.errors import WavstreamError
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest

DELAY_MS = 20.0
"""The event loop's delay stays below it at p99."""
LATE_TICKS_SHARE = 0.01
"""A generator with more late ticks than this says nothing of the server."""
PROBE_S, CONFIRM_S = 10.0, 30.0
LEGS_STEP, MP3_STEP = 100, 20
MOST_LEGS, MOST_MP3 = 12_000, 2_000
_TICKS_PER_S = 1_000
console = Console()


@dataclass(frozen=True, slots=True)
class Probe:
    """What one load showed."""

    what: int
    holds: bool
    why: str
    """What did not hold; empty if all did."""
    delay_p99_ms: float = 0.0
    generator_share: float = 0.0
    """Of a core, while it streamed."""
    late_ticks: int = 0
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search."""

    most: int
    confirmed: Probe | None
    """None: nothing held."""
    probes: tuple[Probe, ...]

    def table(self, unit: str) -> str:
        """Return every probe as a table in Markdown."""
        lines = [
            [
                number(probe.what),
                number(probe.delay_p99_ms),
                f"{probe.generator_share:.0%}",
                str(probe.late_ticks),
                "holds" if probe.holds else probe.why,
            ]
            for probe in self.probes
        ]
        return plain_table([unit, "loop delay p99, ms", "generator, of a core", "its late ticks", ""], lines)


def probe_legs(pinned: bool, legs: int, *, seconds: float, plan: ServerPlan = USUAL) -> Probe:
    """Record so many legs in stereo calls, and compare every sample."""
    began = time.monotonic()
    with wavstream_server(pinned, plan) as server:
        request = LoadRequest(url=server.url, legs=legs, duration_s=seconds, verify=True, keep=True)
        try:
            result = run_load(request, generator_type=fastest_generator())
        except WavstreamError as refused:
            return Probe(legs, False, str(refused)[:120], took_s=time.monotonic() - began)
    delay_ms = result.loop_delay_ms.get("0.99", float("inf"))
    why = "; ".join(
        reason
        for is_so, reason in (
            (result.late_ticks > LATE_TICKS_SHARE * seconds * _TICKS_PER_S, "the generator was late"),
            (bool(result.lost_legs), f"{result.lost_legs} streams ended"),
            (bool(result.lost_samples), f"{result.lost_samples:,} samples lost"),
            (bool(result.extra_samples or result.hole_samples), "samples moved"),
            (bool(result.complaints), result.complaints[0][:80] if result.complaints else ""),
            (delay_ms >= DELAY_MS, f"loop delay {delay_ms:.0f} ms"),
        )
        if is_so
    )
    share = result.generator_cpu_s / seconds
    return Probe(legs, not why, why, delay_ms, share, result.late_ticks, time.monotonic() - began)


def probe_mp3(pinned: bool, calls: int, *, seconds: float, plan: ServerPlan = USUAL) -> Probe:
    """Record so many stereo calls to MP3, and look for every second of every leg."""
    began = time.monotonic()
    with wavstream_server(pinned, plan) as server:
        try:
            load = run_calls(server.url, calls=calls, seconds=round(seconds), file_format="mp3")
        except (WavstreamError, SystemExit) as refused:
            return Probe(calls, False, str(refused)[:120], took_s=time.monotonic() - began)
    late = load.late_ticks > LATE_TICKS_SHARE * seconds * _TICKS_PER_S
    why = "; ".join(
        reason
        for is_so, reason in (
            (late, "the generator was late"),
            (bool(load.lost_s), f"{load.lost_s} s lost or moved"),
            (load.loop_delay_p99_ms >= DELAY_MS, f"loop delay {load.loop_delay_p99_ms:.0f} ms"),
            (load.behind_s > seconds / 4, f"{load.behind_s:.0f} s behind at the end"),
        )
        if is_so
    )
    share = load.generator_cpu_s / seconds
    return Probe(calls, not why, why, load.loop_delay_p99_ms, share, load.late_ticks, time.monotonic() - began)


def search(kind: str, pinned: bool, *, first: int, seconds: float, plan: ServerPlan = USUAL) -> Found:
    """Search for the most ``legs`` or ``mp3`` calls from a first guess, and confirm it by a load of ``CONFIRM_S``."""
    probe_of, step, most = (probe_mp3, MP3_STEP, MOST_MP3) if kind == "mp3" else (probe_legs, LEGS_STEP, MOST_LEGS)
    probes: list[Probe] = []

    def look(at: int, length_s: float) -> Probe:
        probe = probe_of(pinned, at, seconds=length_s, plan=plan)
        probes.append(probe)
        told = "holds" if probe.holds else probe.why
        console.print(f"  {at:,} for {length_s:g} s: {told} ({probe.took_s:.0f} s)", markup=False)
        return probe

    # A twentieth of the guess is as exact as two runs agree.
    coarse = max(step, round(first / 20 / step) * step)
    found = most_that_holds(lambda at: look(at, seconds).holds, first=first, step=coarse, most=most)
    while found:
        confirmed = look(found, max(CONFIRM_S, seconds))
        if confirmed.holds:
            return Found(found, confirmed, tuple(probes))
        found = round(found * 0.9 / step) * step
    return Found(0, None, tuple(probes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="legs, workers, mp3; default: all")
    parser.add_argument("--seconds", type=float, default=PROBE_S, help="length of a probe")
    parser.add_argument("--first", type=int, help="the first guess")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the server")
    chosen = parser.parse_args()
    end_with_children()
    pinned = can_pin()
    told = []
    for what in chosen.what or ("legs", "workers", "mp3"):
        if what == "workers" and not has_workers(chosen.python):
            told.append("workers: left out, `wavstream serve` of this checkout has no --workers")
            continue
        plan = ServerPlan(chosen.python, workers=2 if what == "workers" else 1)
        pin_generator(pinned, shared=plan.workers > 1)
        first = chosen.first or {"legs": 1_000, "workers": 2_000, "mp3": 100}[what]
        console.print(f"search: {what}, from {first:,} ...")
        found = search(what, pinned, first=first, seconds=chosen.seconds, plan=plan)
        unit = "MP3 calls" if what == "mp3" else "legs"
        of = "two workers on two cores" if what == "workers" else "one core"
        told += [f"\n{of}: **{found.most:,}** {unit}\n", found.table(unit)]
    print("\n".join(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
