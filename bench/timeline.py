"""The torture bench of the timeline: where every word of seeded calls lies in its file, against where it was said.

    python -m bench.timeline --calls 1000 --seed 1 --jobs 2
    python -m bench.timeline --call 417 --seed 1    # one of those by itself, and where in it the error changes
    python -m bench.timeline --only drift --only outage

Draws calls (sender models x network models x clocks, `tests/support/torture*.py`), folds them in virtual time, finds
each 0.1 s again in the file, and prints the errors by model. Calls whose truth cannot be known from what arrived are
kept apart. Exits 1 when what must hold for the others does not.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.timeline_chart import chart
from tests.support.torture import LONGEST_S, PLAIN, SHORTEST_S, draw_call
from tests.support.torture_links import LINKS, TWO
from tests.support.torture_measure import CallResult, Floats, TrackResult, measure
from tests.support.torture_senders import SENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

NEAR_MS = 20.0
NEAR_SHARE = 0.999
FAR_MS = 150.0
_HEAD = (
    "",
    "calls",
    "pieces",
    f"<= {NEAR_MS:.0f} ms",
    f"> {FAR_MS:.0f} ms",
    "p50",
    "p99",
    "p99.9",
    "max",
    "lost ms",
    "twice ms",
    "told lost",
    "broken accounts",
)


@dataclass(slots=True)
class Sum:
    """What there is to say of some tracks."""

    calls: set[int] = field(default_factory=set)
    errors_ms: list[Floats] = field(default_factory=list)
    lost_ms: float = 0.0
    twice_ms: float = 0.0
    told_lost_ms: int = 0
    broken: int = 0

    def add_call(self, result: CallResult) -> None:
        """Take in what is said of the call as a whole."""
        self.told_lost_ms += result.counted.get("lost", 0)
        self.broken += bool(result.unaccounted_ms)

    def add(self, result: CallResult, track: TrackResult) -> None:
        """Take in one track."""
        self.calls.add(result.number)
        self.errors_ms.append(np.abs(track.errors_ms))
        self.lost_ms += track.lost_ms
        self.twice_ms += track.doubled_ms + track.foreign_ms

    def all_ms(self) -> Floats:
        """Return how far each piece is from the truth."""
        return np.concatenate(self.errors_ms) if self.errors_ms else np.zeros(0, np.float32)

    def cells(self) -> list[str]:
        errors = self.all_ms()
        found = ["-"] * 6
        if len(errors):
            p50, p99, p999 = np.percentile(errors, (50, 99, 99.9))
            shares = [f"{100 * np.mean(errors <= NEAR_MS):.3f} %", f"{100 * np.mean(errors > FAR_MS):.3f} %"]
            found = [*shares, f"{p50:.1f}", f"{p99:.1f}", f"{p999:.1f}", f"{errors.max():.0f}"]
        return [
            str(len(self.calls)),
            str(len(errors)),
            *found,
            f"{self.lost_ms:.0f}",
            f"{self.twice_ms:.0f}",
            str(self.told_lost_ms),
            str(self.broken),
        ]


def one(number: int, *, seed: int, longest_s: float, sender: str | None, link: str | None) -> CallResult:
    """Draw and measure one call."""
    shortest_s = min(SHORTEST_S, longest_s)
    call = draw_call(seed, number, shortest_s=shortest_s, longest_s=longest_s, sender=sender, link=link)
    return measure(call)


def by_sender(results: Iterable[CallResult]) -> dict[str, Sum]:
    """Return the sums by sender model; plain legs that were beside one have a line of their own."""
    sums = {name: Sum() for name in (*SENDERS, PLAIN)}
    for result in results:
        sums[result.sender].add_call(result)
        for track in result.tracks:
            sums[track.model].add(result, track)
    return sums


def by_link(results: Iterable[CallResult]) -> dict[str, Sum]:
    """Return the sums by link model, without plain legs."""
    sums = {name: Sum() for name in (*LINKS, TWO)}
    for result in results:
        sums[result.link].add_call(result)
        for track in result.tracks:
            if track.model != PLAIN:
                sums[result.link].add(result, track)
    return sums


def by_clock(results: Iterable[CallResult]) -> dict[str, Sum]:
    """Return the sums by clock, without plain legs."""
    sums: dict[str, Sum] = {}
    for result in results:
        of_clock = sums.setdefault(result.clock, Sum())
        of_clock.add_call(result)
        for track in result.tracks:
            if track.model != PLAIN:
                of_clock.add(result, track)
    return sums


def total(results: Iterable[CallResult]) -> Sum:
    """Return the sum of everything."""
    whole = Sum()
    for result in results:
        whole.add_call(result)
        for track in result.tracks:
            whole.add(result, track)
    return whole


def show_table(title: str, rows: dict[str, Sum]) -> None:
    lines = [_HEAD, *((name, *of.cells()) for name, of in rows.items() if of.calls)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    print(f"\n{title}\n")
    for at, line in enumerate(lines):
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        print("| " + " | ".join(cells) + " |")
        if not at:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def missed(results: list[CallResult]) -> list[str]:
    """Return what must hold where the truth can be known, and does not."""
    whole = total(results)
    errors = whole.all_ms()
    held = {
        f"{NEAR_SHARE:.1%} of the pieces within {NEAR_MS:.0f} ms": bool(np.mean(errors <= NEAR_MS) >= NEAR_SHARE),
        f"none beyond {FAR_MS:.0f} ms": bool((errors <= FAR_MS).all()),
        "nothing lost": not whole.lost_ms,
        "nothing twice": not whole.twice_ms,
        "every account whole": not whole.broken,
    }
    return [what for what, holds in held.items() if not holds]


def show_call(result: CallResult) -> None:
    """Print what a call is and how bad it is."""
    what = ", ".join(f"{name} {value}" for name, value in result.parameters.items())
    counted = ", ".join(f"{name} {count}" for name, count in result.counted.items())
    print(
        f"call {result.number}: {result.sender} / {result.link} / {result.clock}: worst {result.worst_ms:.1f} ms, "
        f"lost {result.lost_ms:.0f}, twice {result.doubled_ms:.0f}, unaccounted {result.unaccounted_ms:.0f} ms"
    )
    print(f"    {what}")
    if counted:
        print(f"    receipt: {counted}")
    if result.why_unknowable:
        print(f"    unknowable: {', '.join(result.why_unknowable)}")


def show_moments(result: CallResult) -> None:
    """Print the stretches of a call over which the error stays the same."""
    for track in result.tracks:
        print(f"    {track.model}: lost {track.lost_ms:.0f} ms, twice {track.doubled_ms:.0f} ms")
        at = 0
        breaks = np.flatnonzero(np.abs(np.diff(track.errors_ms)) > 5) + 1
        for end in [*breaks.tolist(), len(track.errors_ms)]:
            if end > at:
                errors = track.errors_ms[at:end]
                span = f"{track.at_s[at]:9.2f} to {track.at_s[end - 1]:8.2f} s"
                print(f"    {span}: {end - at:5} pieces, {errors.min():9.1f} to {errors.max():9.1f} ms")
            at = end


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.timeline", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", action="append", default=[], help="a sender or a link model that every call has")
    parser.add_argument("--longest", type=float, default=LONGEST_S, help="seconds of the longest call")
    parser.add_argument("--show", type=int, default=0, help="list so many of the worst calls")
    parser.add_argument("--call", type=int, help="only the call of this number, and where in it the error changes")
    parser.add_argument("--chart", type=Path, help="write an SVG of the errors by sender")
    options = parser.parse_args()
    if unknown_names := [name for name in options.only if name not in (*SENDERS, *LINKS)]:
        parser.error(f"no model is named {unknown_names[0]!r}; there are: {', '.join((*SENDERS, *LINKS))}")
    draw = partial(
        one,
        seed=options.seed,
        longest_s=options.longest,
        sender=next((name for name in options.only if name in SENDERS), None),
        link=next((name for name in options.only if name in LINKS), None),
    )
    if options.call is not None:
        result = draw(options.call)
        show_call(result)
        show_moments(result)
        return
    began_s = time.perf_counter()
    with Pool(options.jobs) as pool:
        results = sorted(pool.imap_unordered(draw, range(options.calls), chunksize=4), key=lambda made: made.number)
    known = [result for result in results if result.is_knowable]
    unknown = [result for result in results if not result.is_knowable]
    show_table("By sender, where the truth can be known (errors in ms)", by_sender(known) | {"all": total(known)})
    show_table("By link", by_link(known))
    show_table("By clock", by_clock(known))
    reasons = sorted({why for result in unknown for why in result.why_unknowable})
    rows = {why: total(result for result in unknown if why in result.why_unknowable) for why in reasons}
    show_table("Where it cannot be known, by reason", rows | {"all": total(unknown)})
    print(f"\n{len(results)} calls of seed {options.seed} in {time.perf_counter() - began_s:.0f} s")
    if options.show:
        print(f"\nThe worst {options.show} whose truth can be known:")
        for result in sorted(known, key=lambda made: made.badness, reverse=True)[: options.show]:
            show_call(result)
    if options.chart is not None:
        errors = {name: of.all_ms() for name, of in by_sender(known).items() if of.calls}
        options.chart.write_text(chart(errors, calls=len(known)), encoding="utf-8")
    if failed := missed(known):
        sys.exit(f"\nMissed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
