"""What a bench tells: figures of several runs, budgets, tables, and the search for the most that holds. No IO."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of several runs."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median; of an even number of runs the mean of the two in the middle."""
        return statistics.median(self.values)

    def text(self) -> str:
        """Return the median, and in brackets the least and the most if there were several runs."""
        if len(self.values) == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(min(self.values))} to {number(max(self.values))})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the ratio of each run to the run of the other that was made beside it."""
    return Spread(tuple(our / their for our, their in zip(ours, theirs, strict=True)))


def number(value: float) -> str:
    """Return a number with three digits that say something."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure must be."""

    bound: float
    is_least: bool = False
    is_strict: bool = False
    """Whether the bound itself misses it."""

    def holds(self, value: float) -> bool:
        """Return whether the value keeps it."""
        if value == self.bound:
            return not self.is_strict
        return value > self.bound if self.is_least else value < self.bound

    def text(self, unit: str) -> str:
        """Return it as a reader would write it."""
        sign = (">" if self.is_least else "<") + ("" if self.is_strict else "=")
        return f"{sign} {number(self.bound)} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and its verdict."""

    what: str
    figure: Spread | None
    """None: it could not be measured, for the reason in ``note``."""
    unit: str = ""
    budget: Budget | None = None
    note: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether there is a budget and the figure does not keep it, or is not there."""
        return self.budget is not None and (self.figure is None or not self.budget.holds(self.figure.median))

    @property
    def verdict(self) -> str:
        """One word, or none without a budget."""
        if self.budget is None:
            return ""
        return ("not measured" if self.figure is None else "missed") if self.is_missed else "holds"

    def cells(self) -> tuple[str, str, str, str]:
        """Return what, figure, budget and verdict."""
        figure = "-" if self.figure is None else f"{self.figure.text()} {self.unit}".rstrip()
        what = f"{self.what} ({self.note})" if self.note else self.what
        return what, figure, "" if self.budget is None else self.budget.text(self.unit), self.verdict


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table to paste into a README."""
    lines = ["| figure | median (least to most) | must be | |", "| --- | --- | --- | --- |"]
    for row in rows:
        what, figure, budget, verdict = row.cells()
        lines.append(f"| {what} | {figure} | {budget} | {f'**{verdict}**' if row.is_missed else verdict} |")
    return "\n".join(lines)


def plain_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def most_that_holds(holds: Callable[[int], bool], *, first: int, step: int, most: int) -> int:
    """Return the most, in steps, that holds; 0 if not even one step does.

    Looks at ``first``, then a quarter further on until one does not hold, or at halves until one does; then between the
    two until they are next to each other. What holds is taken to hold below, too.
    """

    def on_step(value: float) -> int:
        return max(step, round(value / step) * step)

    good, bad, at = 0, most + step, min(on_step(first), most)
    while bad - good > step:
        if holds(at):
            good = at
        else:
            bad = at
        if bad > most and good >= most:
            return good
        if bad > most:
            at = min(max(on_step(good * 1.25), good + step), most)
        elif good == 0:
            if bad <= step:
                return 0
            at = min(on_step(bad / 2), bad - step)
        else:
            at = min(max(on_step((good + bad) / 2), good + step), bad - step)
    return good
