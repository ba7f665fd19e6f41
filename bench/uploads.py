"""What an upload costs the server of a call's CPU: the same calls with a store and without one, in turn.

``python -m bench.uploads`` streams calls of two legs in real time, and counts the kernel's user and system time of all
threads of the server, from the first frame until the last file is available, and with a store until the last is there.
The store is a real server on loopback, whose own CPU is not counted. Per second of a call: what is the same in any call
of its length. A budget: below 5 %.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx
from rich.console import Console
from rich.table import Table

from bench.processes import Measured, can_pin, pin_generator, wavstream_server
from bench.senders import fastest_generator
from tests.support.weed import Weed, running_weed
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest

BUDGET = 0.05
_SETTLE_S = 300.0
_ROWS_S = 1.0
"""For the rows of the last files, and the copies here to go."""
console = Console()


def cpu_of_calls(server: Measured, *, calls: int, seconds: float, is_stored: Callable[[], bool]) -> float:
    """Return the CPU, in seconds, that so many calls cost the server, with all that they cause until ``is_stored``."""
    # It listens before it has looked at the store, and answers after.
    httpx.get(server.url.replace("ws", "http", 1) + "/healthz", timeout=_SETTLE_S).raise_for_status()
    before_s = server.cpu_s()
    request = LoadRequest(url=server.url, legs=2 * calls, duration_s=seconds, keep=True)
    run_load(request, lambda *_: None, fastest_generator())
    give_up_s = time.monotonic() + _SETTLE_S
    while not is_stored():  # asked of the store: what the server answers would be counted
        if time.monotonic() > give_up_s:
            raise SystemExit("not everything was uploaded")
        time.sleep(0.2)
    time.sleep(_ROWS_S)
    return server.cpu_s() - before_s


def main() -> int:
    """Measure, and print what it costs; the exit code is 1 if it is over its budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.uploads", description=__doc__)
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each call")
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    pinned = can_pin()
    pin_generator(pinned)  # the bucket's server too, which is started from here
    table = Table(title=f"{chosen.calls} calls of {chosen.seconds:g} s: CPU of a call in ms")
    for column in ("run", "without a store", "with one", "more"):
        table.add_column(column, justify="right")
    more = []
    with tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder, running_weed(Path(folder)) as weed:
        for run in range(chosen.runs):
            without_s, with_s = (
                _measure(weed, f"run{run}", chosen.calls, chosen.seconds, pinned, is_stored=each)
                for each in (False, True)
            )
            more.append(with_s / without_s - 1)
            per_call = [f"{1000 * each / chosen.calls:.1f}" for each in (without_s, with_s)]
            table.add_row(str(run + 1), *per_call, f"{more[-1]:+.1%}")
    console.print(table)
    console.print(f"median {median(more):+.1%}, budget {BUDGET:.0%}")
    return int(median(more) > BUDGET)


def _measure(weed: Weed, prefix: str, calls: int, seconds: float, pinned: bool, *, is_stored: bool) -> float:
    storage = {f"storage__{name}": each for name, each in weed.settings(prefix).items()} if is_stored else {}

    def is_there() -> bool:
        return not is_stored or sum(key.endswith(".wav") for key in weed.objects(prefix)) == calls

    with wavstream_server(pinned, **storage) as server:
        return cpu_of_calls(server, calls=calls, seconds=seconds, is_stored=is_there)


if __name__ == "__main__":
    raise SystemExit(main())
