"""``python -m bench.cluster``: sessions on a virtual network, and what goes wrong; exit 1 if a rule falls."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from bench.cluster.virtual_time import run
from bench.cluster.world import Figures, Plan, World

HOUR_S, TEN_MINUTES_S, MINUTE_S = 3600.0, 600.0, 60.0


def stages(sessions: int) -> list[Plan]:
    """Return what is run: most of it in one big stage, outages of an hour in one with few legs."""
    first, second, outages = max(sessions // 100, 20), max(sessions // 10, 20), max(sessions // 50, 20)
    big = max(sessions - first - second - outages, 20)
    outage_s = 2 * HOUR_S + 3 * TEN_MINUTES_S + 3 * MINUTE_S + 1000.0
    return [
        Plan("kills", first, legs=100, length_s=20.0, kills_every_s=6.0),
        Plan("kills and partitions", second, legs=500, length_s=20.0, kills_every_s=10.0, cuts_every_s=25.0),
        Plan(
            "and slow stores, clocks that jump",
            big,
            legs=2000,
            length_s=5.0,
            slot_s=0.5,
            nodes=6,
            kills_every_s=8.0,
            cuts_every_s=30.0,
            clocks_jump=True,
            outages=((20.0, 40.0, "slow store"), (80.0, 30.0, "store"), (120.0, 20.0, "database")),
        ),
        Plan(
            "outages of an hour, ten minutes, a minute",
            outages,
            legs=outages,
            length_s=600.0,
            slot_s=5.0,
            lasts_s=outage_s,
            tail_bytes=20_000,
            outages=(
                (300.0, MINUTE_S, "engine"),
                (500.0, TEN_MINUTES_S, "database"),
                (1300.0, HOUR_S, "store"),
                (5200.0, HOUR_S, "store"),
                (5800.0, TEN_MINUTES_S, "database"),
                (6000.0, MINUTE_S, "engine"),
            ),
        ),
    ]


def play(plan: Plan, dice: random.Random) -> tuple[World, Figures]:
    """Run one stage."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        world = World(plan, dice, folder)
        return world, run(world.run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row(plan: Plan, world: World, figures: Figures) -> str:
    """Return a stage's line of the table."""
    counts, lasted_s = world.core.counts, max(figures.lasted_s, 1.0)
    cells = [
        plan.name,
        f"{plan.sessions:,}",
        f"{figures.most_legs:,}",
        f"{figures.kills} + {figures.cuts}",
        f"{figures.take_overs:,}",
        spread(figures.lost_ms["kill"], 0),
        spread(figures.lost_ms["hung up"], 0),
        spread(figures.returns_s, 1),
        spread(figures.from_kill_s, 1),
        f"{counts.messages / lasted_s:,.0f}",
        f"{figures.batches / lasted_s:,.0f}",
        f"{counts.changes / lasted_s:,.0f}",
        str(len(figures.faults)),
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| stage | sessions | legs at once | kills + cuts | take-overs | lost, kill, ms | lost, else, ms | back after, s "
    "| from the kill, s | messages/s | batches/s | changes/s | broken rules |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def spread(figures: Sequence[float], digits: int) -> str:
    """Return the median, what 99 of 100 stay below, and the most."""
    if not figures:
        return "-"
    ordered = sorted(figures)
    most = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)], ordered[-1]
    return " / ".join(f"{each:,.{digits}f}" for each in (statistics.median(ordered), *most))


def main() -> int:
    """Run all stages; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--stage", type=int, default=None, help="only this one, from 1")
    parser.add_argument("--log", action="store_true", help="show what the nodes log")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets have one order in each run of a seed
        os.execve(
            sys.executable, [sys.executable, "-m", "bench.cluster", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    gc.set_threshold(200_000, 20, 50)  # millions of small things are made, and few of them are rings
    if not options.log:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"seed {seed}", flush=True)
    faults: list[str] = []
    print(f"\nmedian / 99 of 100 / most\n\n{HEAD}", flush=True)
    for number, plan in enumerate(stages(options.sessions), 1):
        if options.stage in (None, number):
            began_s = time.process_time()
            world, figures = play(plan, random.Random(f"{seed} {number}"))
            print(row(plan, world, figures), flush=True)
            cpu_s = time.process_time() - began_s
            print(f"stage {number}: {figures.lasted_s:.0f} s in {cpu_s:.0f} s of CPU", file=sys.stderr, flush=True)
            faults += figures.faults
    for fault in faults[:20]:
        print(f"BROKEN: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
