"""What the tail costs: the CPU of a frame on a node of a cluster, beside a server with the same engines and no cluster.

``python -m bench.tails`` streams calls of two legs in real time to each in turn, and counts the kernel's user and
system time of all threads of the server in the middle of the stream. Both have PostgreSQL and a bucket; the node copies
its journals to three servers of NATS besides, and uploads a segment every ten seconds, where ninety are usual
(``--segment``). All of these are real servers on loopback, on other cores if there are some, and their own CPU is not
counted. A budget: at most 1.25 times. A node makes about 65 messages a second however many legs it has: with few of
them each pays more.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.cost import FrameCost, frame_cost
from bench.processes import can_pin, pin_generator
from tests.support.nats import NatsCluster, free_ports, running_nats_cluster
from tests.support.postgres import Postgres, a_folder_for_postgres, running_postgres
from tests.support.weed import Weed, running_weed

BUDGET = 1.25
SEGMENT_S = 10
console = Console()


def settings_of(
    postgres: Postgres, weed: Weed, nats: NatsCluster | None, *, name: str, segment_s: float
) -> dict[str, object]:
    """Return the settings of a fresh server, of a node if there is a NATS."""
    given: dict[str, object] = {f"storage__{key}": each for key, each in weed.settings(name).items()}
    given |= {"catalog__url": postgres.url(postgres.database()), "master_key": secrets.token_hex(32)}
    # Both take whatever comes: what is measured is what it costs, also where the machine is slow.
    given |= {"limits__loop_delay_s": 0, "limits__fold_delay_s": 0}
    if nats is not None:
        (port,) = free_ports(1)
        given |= {
            "cluster__nats_url": nats.url,
            "cluster__name": name,
            "cluster__node": name,
            "cluster__listen": f"127.0.0.1:{port}",
            "cluster__segment_s": segment_s,
        }
    return given


def main() -> int:
    """Measure, and print what it costs; the exit code is 1 if it is over its budget."""
    parser = argparse.ArgumentParser(prog="python -m bench.tails", description=__doc__)
    parser.add_argument("--legs", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--segment", type=float, default=SEGMENT_S, help="seconds of a journal that are one upload")
    chosen = parser.parse_args()
    pinned = can_pin()
    pin_generator(pinned)  # the engines too, which are started from here
    table = Table(title=f"{chosen.legs} legs: CPU of a frame in us")
    for column in ("run", "without", "on the loop", "node", "on the loop", "times"):
        table.add_column(column, justify="right")
    times = []
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="wavstream-bench-")))
        nats = running.enter_context(running_nats_cluster(folder / "nats"))
        weed = running.enter_context(running_weed(folder / "weed"))
        postgres = running.enter_context(running_postgres(running.enter_context(a_folder_for_postgres())))
        for run in range(chosen.runs):
            costs: list[FrameCost] = []
            for each in (None, nats):
                name = f"run{run}{'' if each is None else 'node'}"
                settings = settings_of(postgres, weed, each, name=name, segment_s=chosen.segment)
                cost = frame_cost(pinned, chosen.legs, seconds=chosen.seconds, settings=settings)
                for complaint in cost.result.complaints[:3]:
                    console.print(complaint, markup=False)
                costs.append(cost)
            without, node = costs
            times.append(node.stream_us / without.stream_us)
            figures = [f"{us:.1f}" for cost in costs for us in (cost.stream_us, cost.loop_us)]
            table.add_row(str(run + 1), *figures, f"{times[-1]:.2f}")
    console.print(table)
    console.print(f"median {median(times):.2f}, budget {BUDGET}")
    return int(median(times) > BUDGET)


if __name__ == "__main__":
    raise SystemExit(main())
