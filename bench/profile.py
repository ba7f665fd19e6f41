"""``make profile``: where the server's CPU goes at 1,000 legs, as a flame graph and its widest frames.

    python -m bench.profile [--legs N] [--seconds S] [--python PATH] [--small FILE]

py-spy reads the Python stacks of all threads from outside, without pausing them, and counts those that run; any Python
from 3.11 on will do. It has to be root, or the parent of what it looks at (``kernel.yama.ptrace_scope`` 0). With native
frames it has to pause the server, which then falls behind: so what is native is told apart by perf, where there is one,
as a table of its own. No figure of time is taken here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.cost import WARM_S
from bench.figures import plain_table
from bench.flame import Frame, flame_graph, tree, widest
from bench.processes import ServerPlan, can_pin, end_with_children, pin_generator, wavstream_server
from bench.senders import fastest_generator
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control
from wavstream.simulator.generator import Traffic
from wavstream.simulator.signal import PTIME_S

LEGS, SECONDS = 1_000, 12.0
SAMPLES_PER_S = 200
SMALL_SHARE = 0.01
"""Frames below it are left out of the small graph."""
BUILD = Path("build")
LOOP = "event loop: uvloop, kernel"
console = Console(stderr=True)


def profile(legs: int, seconds: float, python: str, into: Path) -> Path:
    """Record so many legs for so long, and return the file of the folded stacks of the middle of it."""
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if spy is None:
        raise SystemExit("py-spy is not installed: make profile does it, or pip install py-spy")
    into.mkdir(parents=True, exist_ok=True)
    stacks = into / "profile.folded"
    stacks.unlink(missing_ok=True)
    pinned = can_pin()
    pin_generator(pinned)
    with wavstream_server(pinned, ServerPlan(python)) as server:
        address = ServerAddress.parse(server.url)
        control = Control(address)
        targets = [address.media_path("pcm", f"profile-{leg // 2}", "ab"[leg % 2], {}) for leg in range(legs)]
        with fastest_generator()(address, Traffic(targets, round((seconds + WARM_S + 2) / PTIME_S))) as generator:
            generator.wait_connected()
            for call in range(legs // 2):
                control.start(f"profile-{call}")
            generator.start(time.monotonic() + 0.2)
            time.sleep(WARM_S)
            options = [
                "--nonblocking",
                "--format",
                "raw",
                "--rate",
                str(SAMPLES_PER_S),
                "--duration",
                str(round(seconds)),
            ]
            command = [spy, "record", *options, "--threads", "--output", str(stacks), "--pid", str(server.pid)]
            with _perf(server.pid, into):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            counts = generator.wait_done()
        control.close()
    if not stacks.exists():
        raise SystemExit(f"py-spy wrote nothing: {done.stderr.strip()[-300:]}")
    if counts.late_ticks > 10:
        console.print(f"the generator had {counts.late_ticks} late ticks: the machine was busy", style="yellow")
    return stacks


@contextmanager
def _perf(pid: int, into: Path) -> Iterator[None]:
    """Have perf, if it is there and may, sample what runs on the core: symbols of the kernel and of libraries too."""
    data = into / "perf.data"
    data.unlink(missing_ok=True)
    if shutil.which("perf") is None:
        yield
        return
    command = ["perf", "record", "-q", "-F", "499", "-e", "cpu-clock", "-p", str(pid), "-o", str(data)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as perf:
        yield
        perf.send_signal(signal.SIGINT)


def native(into: Path, count: int = 12) -> str:
    """Return the widest symbols of what perf saw as a table; empty if it saw nothing."""
    data = into / "perf.data"
    if not data.exists():
        return ""
    command = ["perf", "report", "-q", "--stdio", "--no-children", "--sort", "dso,symbol", "-i", str(data)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^\s+([\d.]+)%\s+(\S+)\s+\[[.k]\] (\S+)", told, re.MULTILINE)
    lines = [[symbol, place, f"{float(share):.1f}%"] for share, place, symbol in found[:count]]
    return plain_table(["symbol", "of", "share"], lines) if lines else ""


def shortened(stack: str) -> str:
    """Return a folded stack by functions instead of lines, from where threads and the event loop begin."""
    stack = re.sub(r"^thread \(\w+\): ", "", stack)
    stack = re.sub(r":\d+\)", ")", stack)
    stack = re.sub(r"^MainThread;.*Runner\.run \(asyncio/runners\.py\)", LOOP, stack)
    return re.sub(r"^([^;]+);(Thread\.\w+ \(threading\.py\);)+", r"\1;", stack)


def report(root: Frame, count: int = 5) -> str:
    """Return the widest frames of our own code as a table."""
    found = widest(root, count, is_ours=lambda name: "(wavstream/" in name or name == LOOP)
    lines = [[name, f"{own:.1%}", f"{whole:.1%}"] for name, whole, own in found]
    return plain_table(["frame", "itself and what it calls of libraries", "with all below it"], lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=LEGS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of sampling")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the server")
    parser.add_argument("--small", type=Path, metavar="FILE", help="write a graph without narrow frames there too")
    chosen = parser.parse_args()
    end_with_children()
    folded = profile(chosen.legs, chosen.seconds, chosen.python, BUILD)
    lines: Counter[str] = Counter()
    for line in folded.read_text().splitlines():
        stack, _, samples = line.rpartition(" ")
        lines[shortened(stack)] += int(samples)
    root = tree(f"{stack} {samples}" for stack, samples in lines.items())
    title = f"wavstream, {chosen.legs:,} legs"
    graph = BUILD / "profile.svg"
    graph.write_text(flame_graph(root, title, least_share=0.001))
    if chosen.small:
        chosen.small.parent.mkdir(parents=True, exist_ok=True)
        chosen.small.write_text(flame_graph(root, title, least_share=SMALL_SHARE))
    print(report(root))
    print(f"\n{native(BUILD)}" if (BUILD / "perf.data").exists() else "\nno perf here: native symbols are left out")
    print(f"\n{root.samples:,} samples; the graph is {graph}, the stacks {folded}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
