"""One server on several interpreters in turn: which is faster, and by how much.

    python -m bench.pythons PYTHON PYTHON ... [--legs N] [--seconds S] [--runs N]

Each PYTHON is an interpreter, or one of a virtual environment, that has what ``requirements/server.lock`` names; the
first is what the others are compared with. Two figures of each, in turn: the CPU of a frame at 1,000 legs, and the CPU
of folding a call of two hours again (`wavstream replay`) without any socket, beyond what it takes to start and to fold
a call of seconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from websockets.sync.client import connect

from bench.cost import LEAST_LOAD_S, LOAD_S, frame_cost
from bench.figures import Spread, plain_table, ratios
from bench.long_call import FED_FAST
from bench.processes import USUAL, ServerPlan, can_pin, end_with_children, pin_generator, wavstream_server
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control
from wavstream.simulator.signal import PTIME_S, RING_FRAMES, make_ring

LEGS, LONG_S, SHORT_S = 1_000, 7_200, 10
REPLAYS = 3
"""Of which the least counts: a start takes as much as an hour's fold, and varies."""
_TIMEOUT_S = 60.0
console = Console(stderr=True)


@contextmanager
def journal_of(call_s: int) -> Iterator[Path]:
    """Record a call of two legs in frames of 20 ms, sent as fast as they are read; yield a segment of its journal."""
    with tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder:
        with wavstream_server(False, USUAL, data_dir=folder, media__frames_per_second=100_000, **FED_FAST) as server:
            address = ServerAddress.parse(server.url)
            control = Control(address)
            ring = [frame.tobytes() for frame in make_ring()]
            urls = [address.media_url("pcm", "folded", leg, {}) for leg in "ab"]
            with connect(urls[0], compression=None) as left, connect(urls[1], compression=None) as right:
                control.start("folded")
                for at in range(round(call_s / PTIME_S)):
                    left.send(ring[at % RING_FRAMES])
                    right.send(ring[-at % RING_FRAMES])
                for leg in (left, right):
                    leg.ping().wait(_TIMEOUT_S)
                control.metrics_at_rest()
                kept = Path(folder) / "kept"
                # While it records: its journal goes when it is finished.
                subprocess.run(["cp", "-r", str(Path(folder) / "journal"), str(kept)], check=True)
            control.close()
        segments = sorted(path for path in kept.rglob("*") if path.is_file())
        yield segments[0]


def replay_cpu_s(python: str, segment: Path) -> float:
    """Return the CPU of folding a journal in a process of this interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder:
        command = [python, "-m", "wavstream", "replay", str(segment), "--output", f"{folder}/call.wav"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAVSTREAM_")}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _least_s(python: str, segment: Path) -> float:
    return min(replay_cpu_s(python, segment) for _ in range(REPLAYS))


def version_of(python: str) -> str:
    """Return what the interpreter calls itself, and whether its build was optimised by profile."""
    script = (
        "import platform, sysconfig;"
        "arguments = sysconfig.get_config_var('CONFIG_ARGS') or '';"
        "print(platform.python_version() + (', optimised' if '--enable-optimizations' in arguments else ''))"
    )
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="*", default=[sys.executable])
    parser.add_argument("--legs", type=int, default=LEGS)
    parser.add_argument("--seconds", type=float, default=LOAD_S, help=f"length of a load, {LEAST_LOAD_S:g} at least")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--call", type=int, default=LONG_S, metavar="SECONDS", help="length of the call that is folded")
    chosen = parser.parse_args()
    end_with_children()
    pinned = can_pin()
    frames_us: dict[str, list[float]] = {python: [] for python in chosen.python}
    loops_us: dict[str, list[float]] = {python: [] for python in chosen.python}
    folds_us: dict[str, list[float]] = {python: [] for python in chosen.python}
    frames = 2 * (chosen.call - SHORT_S) / PTIME_S
    with journal_of(chosen.call) as long, journal_of(SHORT_S) as short:
        pin_generator(pinned)
        for run in range(chosen.runs):
            for python in chosen.python:
                fold_s = _least_s(python, long) - _least_s(python, short)
                folds_us[python].append(fold_s / frames * 1e6)
                cost = frame_cost(pinned, chosen.legs, seconds=chosen.seconds, plan=ServerPlan(python))
                frames_us[python].append(cost.of_a_call_us())
                loops_us[python].append(cost.loop_us)
                console.print(
                    f"run {run + 1}, {python}: {cost.of_a_call_us():.1f} us a frame, {cost.loop_us:.1f} on the event"
                    f" loop, fold {folds_us[python][-1]:.2f}; late ticks {cost.result.late_ticks}",
                    highlight=False,
                )
    first = chosen.python[0]
    head = ["Python", f"CPU a frame, {chosen.legs:,} legs, us", "x", "event loop, us", "fold alone, us", "x"]
    lines = [
        [
            version_of(python),
            Spread(tuple(frames_us[python])).text(),
            ratios(frames_us[python], frames_us[first]).text(),
            Spread(tuple(loops_us[python])).text(),
            Spread(tuple(folds_us[python])).text(),
            ratios(folds_us[python], folds_us[first]).text(),
        ]
        for python in chosen.python
    ]
    print(plain_table(head, lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
