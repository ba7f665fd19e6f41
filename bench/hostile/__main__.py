"""``make hostile``: every bound reached without a key, by an app, by a stream token, while another app records.

Exit code 1 when something fell: a sample of the other app's calls, an answer of a second or more, twice the memory, a
500, a traceback, or a bound itself. The same seed draws the same attacks.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.hostile.attacks import ATTACKS
from bench.hostile.suite import Suite, run_suite

_WIDTH = 160


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    parser.add_argument("--only", choices=ATTACKS, action="append", help="make these attacks alone; default: all")
    parser.add_argument("--seed", type=int, help="draw the same attacks again; default: others each time")
    parser.add_argument("--scale", type=float, default=1.0, help="times as much of each attack; default: 1")
    chosen = parser.parse_args()
    console = Console()
    if console.width < _WIDTH:
        console = Console(width=_WIDTH)
    seed = random.randrange(10_000) if chosen.seed is None else chosen.seed
    console.print(f"seed {seed}")
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wavstream-hostile-") as folder:
        attacks = chosen.only or tuple(ATTACKS)

        def say(text: str) -> None:
            console.print(text, style="dim", markup=False, highlight=False)

        suite = asyncio.run(run_suite(Path(folder), seed=seed, attacks=attacks, scale=chosen.scale, say=say))
    report(suite, console)
    console.print(
        f"seed {seed}, {time.monotonic() - began_s:.0f} s: " + ("all holds" if suite.holds else "something fell")
    )
    return 0 if suite.holds else 1


def report(suite: Suite, console: Console) -> None:
    """Print what fell, and the table."""
    for outcome in suite.outcomes:
        for text in outcome.fell[:8]:
            console.print(f"{outcome.attack}: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    for result in suite.calls:
        for text in result.faults:
            console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    table = Table(title="attacks; slowest and memory are what the other app and the server had meanwhile")
    table.add_column("attack", no_wrap=True)
    table.add_column("by", no_wrap=True)
    for column in ("count", "slowest", "memory", "log lines"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("answers")
    table.add_column("verdict", no_wrap=True)
    for outcome in suite.outcomes:
        answers = ", ".join(f"{count} {answer}" for answer, count in outcome.tally.answers.most_common(6))
        table.add_row(
            outcome.attack, outcome.by, f"{outcome.tally.count:,}", f"{1000 * outcome.slowest_s:.0f} ms",
            f"{outcome.memory_times:.2f} x", f"{outcome.log_lines:,}", answers, "FELL" if outcome.fell else "holds",
            style="red" if outcome.fell else None,
        )  # fmt: skip
    console.print(table)
    lost, moved = sum(result.lost for result in suite.calls), sum(result.moved for result in suite.calls)
    promised = sum(result.required for result in suite.calls)
    console.print(f"the other app's {len(suite.calls)} calls: {lost:,} of {promised:,} samples lost, {moved:,} moved")
    if suite.server_ended:
        console.print("the server ended", style="red")


if __name__ == "__main__":
    raise SystemExit(main())
