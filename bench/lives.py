"""What a recording's life costs beside its frames: from the request that starts it to its webhook, by thread.

``python -m bench.lives`` records some hundred short calls of two legs through the native API, a few at a time. The same
calls without a recording are what sockets and frames cost, and are taken off. CPU is the kernel's, of each thread of
the server; wall time says nothing here. Counted with the life is all that it causes: both requests, the journal, the
fold, the file and its sidecar, each commit of the catalog, and with ``--webhook`` the delivery.
"""

from __future__ import annotations

import argparse
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from websockets.sync.client import connect

from bench.processes import NAMED, Measured, can_pin, pin_generator, wavstream_server
from bench.stops import KEY, SETTINGS, receiver, register
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control

FRAME = bytes(320)
FRAMES = 5
AT_ONCE = 8
WARM_UP = 40
BUDGET_MS = 3.0
_SETTLE_S = 20.0
console = Console()


@dataclass(frozen=True, slots=True)
class Life:
    """CPU of one call, in ms, by the names of threads."""

    calls: int
    by_thread: dict[str, float]


def threads_cpu_ns(server: Measured) -> dict[tuple[str, str], int]:
    """Return what each thread has run, by its id and name."""
    found = {}
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            found[task.name, name] = int((task / "schedstat").read_text().split()[0])
        except OSError:  # it has ended
            continue
    return found


def lives(server: Measured, *, calls: int, recorded: bool, at_once: int, names: str, key: str | None = None) -> Life:
    """Make so many short calls, ``at_once`` at a time."""
    address = ServerAddress.parse(server.url)
    local = threading.local()

    def call(number: int) -> None:
        if not hasattr(local, "control"):
            local.control = Control(address, key=key)
        control: Control = local.control
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{server.url}/media/pcm/{names}-{number}"
        with (
            connect(f"{url}/a", additional_headers=headers, compression=None) as caller,
            connect(f"{url}/b", additional_headers=headers, compression=None) as callee,
        ):
            recording = control.start(f"{names}-{number}", channels="stereo") if recorded else None
            for _ in range(FRAMES):
                caller.send(FRAME)
                callee.send(FRAME)
            if recording is not None:
                ended = control.stop(recording["id"])
                if ended["status"] not in ("available", "completed"):
                    raise SystemExit(f"a recording ended as {ended['status']}")

    before = threads_cpu_ns(server)
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(call, range(calls)))
    _settle(server)
    after = threads_cpu_ns(server)
    spent: dict[str, float] = {}
    for (task, name), ran_ns in after.items():
        group = _group(name)
        spent[group] = spent.get(group, 0.0) + (ran_ns - before.get((task, name), 0)) / 1e6 / calls
    return Life(calls, spent)


def _settle(server: Measured) -> None:
    """Wait until nothing more comes of what was done."""
    control, deadline = Control(ServerAddress.parse(server.url)), time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        metrics = control.metrics()
        waits = sum(ran for name, ran in metrics.items() if name.startswith("wavstream_recordings_unfinished"))
        if not waits:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    control.close()


def _group(name: str) -> str:
    return name.split("_")[0].rstrip("-0123456789")


def main() -> int:
    """Print the table; exit code 1 when the budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--webhook", action="store_true", help="announce each recording to a receiver")
    chosen = parser.parse_args()
    pinned = can_pin()
    pin_generator(pinned)
    costs: list[dict[str, float]] = []
    for _ in range(chosen.rounds):
        with wavstream_server(pinned, NAMED, **SETTINGS) as server, receiver() as (port, _completed):
            key = None
            if chosen.webhook:
                register(ServerAddress.parse(server.url), f"http://127.0.0.1:{port}/hooks")
                key = KEY
            lives(server, calls=WARM_UP, recorded=True, at_once=chosen.at_once, names="warm", key=key)
            bare = lives(server, calls=chosen.calls, recorded=False, at_once=chosen.at_once, names="bare", key=key)
            full = lives(server, calls=chosen.calls, recorded=True, at_once=chosen.at_once, names="full", key=key)
        costs.append({name: ms - bare.by_thread.get(name, 0.0) for name, ms in full.by_thread.items()})
    table = Table("thread", "ms a recording", title=f"{chosen.calls} recordings, {chosen.at_once} at once")
    for name in sorted({name for cost in costs for name in cost}):
        table.add_row(name, f"{median(cost.get(name, 0.0) for cost in costs):.2f}")
    sums = sorted(sum(cost.values()) for cost in costs)
    table.add_row("all", f"{median(sums):.2f} ({sums[0]:.2f} to {sums[-1]:.2f})")
    console.print(table)
    return int(median(sums) > BUDGET_MS)


if __name__ == "__main__":
    raise SystemExit(main())
