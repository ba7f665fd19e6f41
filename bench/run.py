"""``make bench``: the cost of a frame, lost samples, and the time from stop to file, beside peers in the same minute.

Every process of the server and of each peer is pinned to one core and the generator to another; only figures of one run
are divided by each other. A table is printed as it grows, and at the end in Markdown, to paste into the README. Exit
code 1 when a budget is missed.

    python -m bench.run [--only NAME ...] [--runs N] [--seconds S] [--python PATH]
    python -m bench.run --budgets       every budget, five runs of server and peer in turn; half an hour
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import budgets, others
from bench.cost import LEAST_LOAD_S, LOAD_S
from bench.figures import Budget, Row, markdown
from bench.processes import ServerPlan, can_pin, end_with_children, pin_generator
from bench.scenario import Bench, Scenario
from wavstream.errors import WavstreamError

BUDGETS: dict[str, Scenario] = {
    "spread": budgets.spread,
    "more": budgets.more,
    "burst": budgets.burst,
    "json": budgets.json,
    "legs": budgets.legs,
    "workers": budgets.workers,
    "mp3-calls": budgets.mp3_calls,
    "stop": budgets.stop,
    "stops": budgets.stops,
    "storm": budgets.storm,
}
"""What must hold; the rows of ``--budgets``."""
OTHERS: dict[str, Scenario] = {
    "peers": others.peers_scenario,
    "mp3": others.mp3_scenario,
    "live": others.live_scenario,
    "silence": others.silence_scenario,
    "fairness": others.fairness_scenario,
    "churn": others.churn_scenario,
}
NEVER = Budget(0)
"""Of a scenario that could not run: what is not measured misses it."""
USUALLY = ("spread", "burst", "json", "stop", "stops", "storm", "mp3", "live", "silence", "fairness", "churn")
"""What ``make bench`` runs, once each."""


def run(bench: Bench, names: Sequence[str], written: Path | None = None) -> list[Row]:
    """Run scenarios; print what is known after each, and at the end all of it."""
    began, rows = time.monotonic(), []
    for name in names:
        begin_s = time.monotonic()
        try:
            rows += (BUDGETS | OTHERS)[name](bench)
        except (WavstreamError, SystemExit) as failed:  # one that cannot run takes no other with it
            rows.append(Row(name, None, budget=NEVER, note=str(failed)[:200]))
            bench.say(f"  {failed}")
        bench.say(f"{name} took {time.monotonic() - begin_s:.0f} s")
        if written:
            written.write_text(f"{markdown(rows)}\n\n{_foot(bench, began)}\n")
    table = Table("figure", "median (least to most)", "must be", "", title="against the budgets")
    for row in rows:
        table.add_row(*row.cells(), style="red" if row.is_missed else None)
    Console().print(table)
    print(f"\n{markdown(rows)}\n\n{_foot(bench, began)}")
    return rows


def _foot(bench: Bench, began: float) -> str:
    """Return what the figures are of: the machine, the interpreter, the time they took, and what to doubt."""
    version = subprocess.run([bench.plan.python, "--version"], capture_output=True, text=True, check=True).stdout
    lines = [
        f"{version.strip()}, Linux {platform.release()}, {os.cpu_count()} cores, {bench.runs} runs,"
        f" loads of {bench.seconds:g} s; {(time.monotonic() - began) / 60:.0f} minutes in all."
    ]
    if not bench.pinned:
        lines.append("Only one core: server and generator shared it, and the figures say little.")
    return "\n".join([*lines, *(f"Doubtful: {doubt}." for doubt in bench.doubts)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", action="store_true", help="all that has a budget of its own, five runs each")
    parser.add_argument(
        "--only", choices=[*BUDGETS, *OTHERS], action="append", metavar="NAME", help="run these scenarios"
    )
    parser.add_argument("--runs", type=int, help="how often each figure is measured; default 1, with --budgets 5")
    parser.add_argument("--seconds", type=float, default=LOAD_S, help="length of a load; default %(default)g")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="the interpreter of the server")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there too, after each scenario")
    chosen = parser.parse_args(arguments)
    end_with_children()
    if chosen.seconds < LEAST_LOAD_S:
        parser.error(f"--seconds: use {LEAST_LOAD_S:g} or more, for a middle that is as long as a fold")
    runs = chosen.runs or (5 if chosen.budgets else 1)
    bench = Bench(can_pin(), chosen.seconds, runs, ServerPlan(chosen.python))
    pin_generator(bench.pinned)
    rows = run(bench, chosen.only or (list(BUDGETS) if chosen.budgets else USUALLY), chosen.write)
    return 1 if any(row.is_missed for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
