"""``make faults``: what the recorder promises, while its process, its disk, its clock and its load fail.

Real servers on loopback, real sockets, known noise on every leg; afterwards the files are listened to. Exit code 1 when
something fell. The same seed draws the same faults; the machine decides the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from rich.console import Console

from bench.faults.clocks import clock_scenario
from bench.faults.cluster import cluster_scenario
from bench.faults.disk import failing_calls_scenario, failing_start_scenario, spell_scenario
from bench.faults.freezes import freeze_scenario
from bench.faults.journals import journal_scenario
from bench.faults.kills import kill_scenario
from bench.faults.load import load_scenario
from bench.faults.power import power_scenario
from bench.faults.report import Report
from bench.faults.store import store_scenario

Scenario = Callable[[Report, int, bool], Coroutine[Any, Any, None]]
"""Takes the report, the seed, and whether this is the long run."""
SCENARIOS: dict[str, Scenario] = {
    "kills": lambda report, seed, long: kill_scenario(report, kills=200 if long else 10, seed=seed),
    "slow-kills": lambda report, seed, long: kill_scenario(
        report, kills=30 if long else 2, seed=seed, slow_journal_s=0.5
    ),
    "calls": lambda report, seed, long: failing_calls_scenario(report, seed=seed, each=None if long else 3),
    "spells": lambda report, seed, long: spell_scenario(report, seed=seed),
    "starts": lambda report, seed, long: failing_start_scenario(report, seed=seed, each=12 if long else 1),
    "power": lambda report, seed, long: power_scenario(report, seed=seed, times=8 if long else 1),
    "clocks": lambda report, seed, long: clock_scenario(report, seed=seed),
    "journals": lambda report, seed, long: journal_scenario(report, seed=seed, rounds=40 if long else 2),
    "load": lambda report, seed, long: load_scenario(report, most_s=40, most_legs=4_000 if long else 2_400),
    "store": lambda report, seed, long: store_scenario(
        report, calls=200 if long else 20, kills=10 if long else 2, slow_s=60.0 if long else 5.0, seed=seed
    ),
    "cluster": lambda report, seed, long: cluster_scenario(
        report,
        calls=100 if long else 4,
        kills=60 if long else 4,
        rounds=6 if long else 1,
        freezes=6 if long else 1,
        seed=seed,
    ),
    "freezes": lambda report, seed, long: freeze_scenario(
        report, freezes=40 if long else 5, seed=seed, crowd=40 if long else 6
    ),
}


_WIDTH = 150


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="inject these alone; default: all")
    parser.add_argument("--seed", type=int, help="draw the same faults again; default: others each time")
    parser.add_argument("--long", action="store_true", help="200 kills, and every k")
    parser.add_argument("--show", action="store_true", help="print everything that fell")
    chosen = parser.parse_args()
    console = Console()
    if console.width < _WIDTH:
        console = Console(width=_WIDTH)
    seed = random.randrange(10_000) if chosen.seed is None else chosen.seed
    console.print(f"seed {seed}")
    report = Report(console)
    began_s = time.monotonic()
    try:
        for name in chosen.only or SCENARIOS:
            asyncio.run(SCENARIOS[name](report, seed, chosen.long))
            report.say(f"{name}: done after {time.monotonic() - began_s:.0f} s")
    finally:  # what was found until somebody had enough of it counts too
        report.print(all_of_it=chosen.show)
    console.print(
        f"seed {seed}, {time.monotonic() - began_s:.0f} s: " + ("all holds" if report.holds else "something fell")
    )
    return 0 if report.holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
