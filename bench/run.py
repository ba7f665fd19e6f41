"""``make bench``: the cost of a frame, lost samples, and the time from stop to file, beside peers in the same minute.

Every process of the server and of each peer is pinned to one core and the generator to another; only figures of one run
are divided by each other. Exit code 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.fairness import SETTINGS as TWO_APPS
from bench.fairness import flood_of_ranges, flood_of_recordings
from bench.listeners import listeners_cost
from bench.long_call import stop_to_fetchable_ms
from bench.mp3 import lame_cpu_s, run_calls
from bench.processes import Measured, c_recorder, can_pin, pin_generator, python_peer, wavstream_server
from bench.silence import silence_cost
from bench.stops import SETTINGS, stops_to_webhooks
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest, LoadResult
from wavstream.simulator.load_report import load_table, percentile
from wavstream.simulator.signal import PTIME_S

RECORDER = Path(__file__).parent / "peers" / "recorder"
SCENARIOS = ("legs", "peers", "burst", "stop", "mp3", "twilio", "live", "silence", "stops", "fairness")
PEER_LEGS = 1_000
SHORT_CALL_S, LONG_CALL_S = 10, 4 * 3600
MP3_CALLS = 100
LIVE_CALLS = 100
SILENT_STREAMS = 1_000
STOPS = 200
FLOOD_RECORDINGS = 1_000
console = Console()


@dataclass
class Bench:
    pinned: bool
    seconds: float
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    missed: int = 0

    def note(self, what: str, value: float | None, unit: str, budget: float | None = None) -> None:
        """Add a row; a value above its budget is a miss, and so is a missing one."""
        shown = "-" if value is None else f"{value:,.2f} {unit}".replace(".00 ", " ")
        if budget is None:
            self.rows.append((what, shown, "", ""))
            return
        holds = value is not None and value <= budget
        self.missed += not holds
        self.rows.append((what, shown, f"<= {budget:g} {unit}", "pass" if holds else "MISS"))

    def load(
        self, legs: int, *, verify: bool = False, burst: bool = False, dialect: str = "pcm"
    ) -> tuple[LoadResult, float]:
        """Run a load on a fresh server; return it with the CPU in us a frame, as the kernel counts it."""
        with wavstream_server(self.pinned) as server:
            request = LoadRequest(
                url=server.url, legs=legs, dialect=dialect, duration_s=self.seconds, verify=verify, burst=burst
            )
            console.print(
                f"wavstream, {legs} legs of {dialect} {'in bursts' if burst else 'spread'}, {self.seconds:g} s ..."
            )
            result = run_load(request)
        console.print(load_table(result))
        for complaint in result.complaints[:5]:
            console.print(complaint, style="red", markup=False)
        return result, result.cpu_us_per_frame

    def peer(self, name: str, start: Callable[[], AbstractContextManager[Measured]], *, burst: bool = False) -> float:
        """Return the CPU of a peer in us a frame."""
        console.print(f"{name}, {PEER_LEGS} legs {'in bursts' if burst else 'spread'} ...")
        with start() as peer:
            frames = round(min(self.seconds, 8) / PTIME_S)
            targets = [f"/media/pcm/peer-{number // 2}/{'ab'[number % 2]}" for number in range(PEER_LEGS)]
            with Generator(ServerAddress.parse(peer.url), Traffic(targets, frames, burst=burst)) as generator:
                generator.wait_connected()
                before_s = peer.cpu_s()
                generator.start(time.monotonic() + 0.2)
                counts = generator.wait_done()
                if counts.late_ticks:
                    late = f"the generator had {counts.late_ticks} late ticks, worst {counts.worst_late_ms:.0f} ms"
                    console.print(late, style="yellow")
                return (peer.cpu_s() - before_s) / counts.frames * 1e6


def legs_scenario(bench: Bench) -> None:
    result, cpu_us = bench.load(500, verify=True)
    bench.note("500 legs: lost, added or moved", _wrong_samples(result), "samples", 0)
    bench.note("500 legs: event-loop delay p99", result.loop_delay_ms.get("0.99"), "ms", 20)
    bench.note("500 legs: stop to fetchable p99", percentile(result.stop_ms, 0.99), "ms", 100)
    bench.note("500 legs: memory per leg", result.memory_bytes_per_leg / 1000, "kB", 50)
    bench.note("500 legs: CPU per frame", cpu_us, "us")
    bench.note("500 legs: late ticks of the generator", result.late_ticks, "", None)


def peers_scenario(bench: Bench) -> None:
    result, cpu_us = bench.load(PEER_LEGS)
    bench.note("1000 legs: event-loop delay p99", result.loop_delay_ms.get("0.99"), "ms", 10)
    bench.note("1000 legs: stop to fetchable p99", percentile(result.stop_ms, 0.99), "ms", 100)
    bench.note("1000 legs: CPU per frame", cpu_us, "us")
    receiver_us = bench.peer("websockets", lambda: python_peer("websockets_receiver.py", bench.pinned))
    bench.note("  websockets on asyncio, receiving only", receiver_us, "us")
    bench.note("  wavstream / websockets on asyncio", cpu_us / receiver_us, "x", 0.5)
    fast_us = bench.peer("websockets, uvloop", lambda: python_peer("websockets_receiver.py", bench.pinned, "uvloop"))
    bench.note("  websockets on uvloop, receiving only", fast_us, "us")
    bench.note("  wavstream / websockets on uvloop", cpu_us / fast_us, "x")
    floor_us = bench.peer("bare protocol", lambda: python_peer("floor.py", bench.pinned))
    bench.note("  bare protocol, counting only", floor_us, "us")
    bench.note("  wavstream, to the finished file / bare protocol", cpu_us / floor_us, "x")
    _against_c(bench, cpu_us, burst=False, budget=0.8)


def burst_scenario(bench: Bench) -> None:
    result, cpu_us = bench.load(PEER_LEGS, burst=True)
    bench.note("1000 legs in bursts: event-loop delay p99", result.loop_delay_ms.get("0.99"), "ms")
    bench.note("1000 legs in bursts: CPU per frame", cpu_us, "us")
    _against_c(bench, cpu_us, burst=True, budget=1.4)


def stop_scenario(bench: Bench) -> None:
    with wavstream_server(bench.pinned) as server:
        console.print("stop to fetchable ...")
        short_ms = sorted(stop_to_fetchable_ms(server.url, SHORT_CALL_S) for _ in range(10))
        bench.note("stop to fetchable, 10 s call, worst of 10", short_ms[-1], "ms", 100)
        bench.note("stop to fetchable, 4 h call", stop_to_fetchable_ms(server.url, LONG_CALL_S), "ms", 100)


def mp3_scenario(bench: Bench) -> None:
    seconds = round(bench.seconds)
    found = {}
    for file_format in ("wav", "mp3"):
        with wavstream_server(bench.pinned) as server:
            console.print(f"{MP3_CALLS} stereo calls to {file_format}, {seconds} s ...")
            found[file_format] = run_calls(server.url, calls=MP3_CALLS, seconds=seconds, file_format=file_format)
    mp3, lame_s = found["mp3"], lame_cpu_s(calls=MP3_CALLS, seconds=seconds)
    bench.note("100 stereo MP3 calls: seconds lost or moved", mp3.lost_s, "", 0)
    bench.note("100 stereo MP3 calls: event-loop delay p99", mp3.loop_delay_p99_ms, "ms", 20)
    bench.note("100 stereo MP3 calls: of one core", 100 * mp3.cpu_s / seconds, "%")
    bench.note("  MP3 beyond WAV / LAME alone", (mp3.cpu_s - found["wav"].cpu_s) / lame_s, "x", 1.2)


def twilio_scenario(bench: Bench) -> None:
    _, binary_us = bench.load(500)
    result, json_us = bench.load(500, dialect="twilio", verify=True)
    bench.note("500 Twilio legs: lost, added or moved", _wrong_samples(result), "samples", 0)
    bench.note("500 Twilio legs: CPU per frame", json_us, "us")
    bench.note("  JSON of Twilio / binary L16", json_us / binary_us, "x", 1.3)


def live_scenario(bench: Bench) -> None:
    for file_format in ("wav", "mp3"):
        with wavstream_server(bench.pinned) as server:
            console.print(f"{LIVE_CALLS} calls, a listener each, {file_format} ...")
            result = listeners_cost(server, calls=LIVE_CALLS, file_format=file_format)
        bench.note(f"{file_format}: a listener / the recording itself", result.share, "x", 0.1)
        bench.note(f"{file_format}: behind the call, p99", result.behind_p99_ms, "ms", 1000)
        bench.note(f"{file_format}: listeners lost", result.lost, "", 0)


def silence_scenario(bench: Bench) -> None:
    for dialect in ("pcm", "twilio"):
        with wavstream_server(bench.pinned, media__ping_interval_s=600) as server:
            console.print(f"silence to {SILENT_STREAMS} streams, {dialect} ...")
            result = silence_cost(server, dialect=dialect, streams=SILENT_STREAMS)
        bench.note(f"{dialect}: silence to 1000 streams, of one core", 100 * result.core_share, "%", 15)
        bench.note(f"{dialect}: silence too much or too little", 100 * abs(result.received_share - 1), "%", 1)


def stops_scenario(bench: Bench) -> None:
    with wavstream_server(bench.pinned, **SETTINGS) as server:
        console.print(f"{STOPS} sessions stopped in one second ...")
        result = stops_to_webhooks(server, sessions=STOPS)
    bench.note(f"{STOPS} stops in one second: stop to webhook p99", percentile(result.webhook_ms, 0.99), "ms", 500)
    bench.note("  from the first stop to the last", result.spread_s, "s", 1)
    bench.note("  webhooks that never came", result.missing, "", 0)
    bench.note("  addresses that could not be fetched", result.broken, "", 0)


def fairness_scenario(bench: Bench) -> None:
    with wavstream_server(bench.pinned, **TWO_APPS) as server:
        console.print(f"{FLOOD_RECORDINGS} recordings of one session, and another app ...")
        flood = flood_of_recordings(server, recordings=FLOOD_RECORDINGS)
    for name, seen in (("alone", flood.alone), ("flooded", flood.flooded)):
        bench.note(f"{name}: a limit is found late by, at most", seen.worst("limit_late_s"), "s")
        bench.note(f"{name}: stop to its answer, at most", seen.worst("stop_s") * 1000, "ms")
        bench.note(f"{name}: download of 100 bytes, at most", seen.worst("download_s") * 1000, "ms")
    bench.note("  recordings of the flood that were taken", flood.started, "")
    bench.note("  memory of each", (flood.flooded_bytes - flood.idle_bytes) / max(flood.started, 1) / 1000, "kB")
    with wavstream_server(bench.pinned, **TWO_APPS) as server:
        console.print("20 ranges of a live MP3 recording of an hour, and another app ...")
        ranges = flood_of_ranges(server)
    bench.note("live MP3: one range alone", ranges.alone_s * 1000, "ms")
    bench.note("live MP3: the slowest of 20 ranges", max(ranges.ranges_s, default=0.0) * 1000, "ms")
    bench.note("live MP3: another app's download of 100 bytes", max(ranges.download_s) * 1000, "ms")
    bench.note("  ranges refused", ranges.refused, "")


def _against_c(bench: Bench, cpu_us: float, *, burst: bool, budget: float) -> None:
    if not RECORDER.exists():
        bench.rows.append(("  C recorder", "not built", "make -C bench/peers recorder", ""))
        return
    recorder_us = bench.peer("C recorder", lambda: c_recorder(RECORDER, bench.pinned), burst=burst)
    bench.note("  C recorder on libwebsockets, raw files", recorder_us, "us")
    bench.note("  wavstream / C recorder", cpu_us / recorder_us, "x", budget)


def _wrong_samples(result: LoadResult) -> float | None:
    if result.lost_samples is None or result.complaints:
        return float(result.lost_samples or 0) + result.extra_samples + result.hole_samples or None
    return float(result.lost_samples)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="run these scenarios; default: all")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a load")
    chosen = parser.parse_args()
    bench = Bench(can_pin(), chosen.seconds)
    pin_generator(bench.pinned)
    if not bench.pinned:
        console.print("only one core: server and generator share it, and the figures say little", style="yellow")
    scenarios = {
        "legs": legs_scenario,
        "peers": peers_scenario,
        "burst": burst_scenario,
        "stop": stop_scenario,
        "mp3": mp3_scenario,
        "twilio": twilio_scenario,
        "live": live_scenario,
        "silence": silence_scenario,
        "stops": stops_scenario,
        "fairness": fairness_scenario,
    }
    for name in chosen.only or SCENARIOS:
        scenarios[name](bench)
    table = Table("figure", "value", "budget", "", title="against the budgets")
    for row in bench.rows:
        table.add_row(*row, style="red" if row[3] == "MISS" else None)
    console.print(table)
    return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
