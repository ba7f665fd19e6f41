"""The table of a run: fault, times injected, recordings at stake, samples lost, verdict; and what fell, one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.faults.calls import Result

_SHOWN = 5


@dataclass(slots=True)
class Row:
    """A kind of fault, and what it did."""

    fault: str
    injected: int = 0
    recordings: int = 0
    required: int = 0
    """Samples that must be in the files."""
    lost: int = 0
    leaked: int = 0
    moved: int = 0
    fell: list[str] = field(default_factory=list)
    """A line for each thing that fell, with when."""
    fallen: int = 0
    """Recordings with anything wrong."""
    worst_shift_s: float = 0.0
    """How far from its place any frame was."""
    skipped: str = ""
    note: str = ""

    @property
    def holds(self) -> bool:
        return not (self.fell or self.lost or self.leaked or self.moved)


class Report:
    """The rows of a run, by kind of fault."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.rows: dict[str, Row] = {}

    def row(self, fault: str) -> Row:
        """Return the row of a kind of fault."""
        return self.rows.setdefault(fault, Row(fault))

    def say(self, text: str) -> None:
        """Tell how far the run is."""
        self._console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)

    def injected(self, fault: str, times: int = 1) -> None:
        """Count a fault that was injected."""
        self.row(fault).injected += times

    def add(self, fault: str, result: Result, *, when: str) -> None:
        """Count a recording that was at stake."""
        row = self.row(fault)
        row.recordings += 1
        row.required += result.required
        row.lost += result.lost
        row.worst_shift_s = max(row.worst_shift_s, result.worst_shift_s)
        row.leaked += result.leaked
        row.moved += result.moved
        if not result.good:
            row.fallen += 1
            row.fell += [f"{when}: {text}" for text in result.faults]

    def fell(self, fault: str, text: str) -> None:
        """Note something else that fell."""
        self.row(fault).fell.append(text)

    def skipped(self, fault: str, reason: str) -> None:
        """Note a fault that cannot be injected here."""
        self.row(fault).skipped = reason

    @property
    def holds(self) -> bool:
        return all(row.holds for row in self.rows.values())

    def table(self) -> Table:
        """Return the table."""
        table = Table(title="faults; promised, lost, leaked and moved count samples")
        table.add_column("fault", no_wrap=True)
        for column in ("injected", "recordings", "fell", "promised", "lost", "leaked", "moved", "off"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("verdict", min_width=7)
        for row in self.rows.values():
            figures = (row.injected, row.recordings, row.fallen, row.required, row.lost, row.leaked, row.moved)
            verdict = f"skipped: {row.skipped}" if row.skipped else ("holds" if row.holds else "FELL")
            verdict += f" ({row.note})" if row.note else ""
            shown = [*(f"{figure:,}" for figure in figures), f"{row.worst_shift_s:.2f} s"]
            table.add_row(row.fault, *shown, verdict, style=None if row.holds else "red")
        return table

    def print(self, *, all_of_it: bool = False) -> None:
        """Print what fell, and then the table."""
        for row in self.rows.values():
            for text in row.fell if all_of_it else row.fell[:_SHOWN]:
                self._console.print(f"{row.fault}: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
            if len(row.fell) > _SHOWN and not all_of_it:
                self._console.print(f"{row.fault}: and {len(row.fell) - _SHOWN} more; --show has all", style="red")
        self._console.print(self.table())
