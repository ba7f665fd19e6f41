"""The measurements of a load, as a table for people and as JSON for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from wavstream.errors import OperatorError, WavstreamError
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest, LoadResult

EXIT_OK, EXIT_LOST = 0, 1
_COMPLAINTS_SHOWN = 10


def report_load(request: LoadRequest, console: Console, *, json_file: Path | None = None) -> int:
    """Run the load with a progress bar, print its table and return the exit code; errors are one line."""
    try:
        result = _with_progress(request, console)
        if json_file is not None:
            _write(json_file, result)
    except WavstreamError as failed:
        _complain(str(failed))
        return failed.exit_code
    except KeyboardInterrupt:
        _complain("interrupted; " + ("what it recorded is kept" if request.keep else "what it recorded is removed"))
        return EXIT_LOST
    console.print(load_table(result))
    for complaint in result.complaints[:_COMPLAINTS_SHOWN]:
        console.print(complaint, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(result.complaints) > _COMPLAINTS_SHOWN:
        console.print(f"... and {len(result.complaints) - _COMPLAINTS_SHOWN} more like these", style="red")
    return EXIT_OK if result.is_good else EXIT_LOST


def load_table(result: LoadResult) -> Table:
    """Return the table of the measurements, one a row, each with its meaning."""
    shape = "in bursts" if result.burst else "spread"
    table = Table(title=f"{result.legs} legs at one time, {result.calls} calls in {result.duration_s:g} s, {shape}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("of")
    for row in _rows(result):
        table.add_row(*row)
    return table


def as_json(result: LoadResult) -> str:
    """Return the measurements as JSON, named as in LoadResult, with quantiles of the stop times."""
    found = asdict(result)
    found["stop_ms"] = {f"p{share:g}": percentile(result.stop_ms, share / 100) for share in (50, 99, 100)}
    found["is_good"] = result.is_good
    return json.dumps(found, indent=2)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the first of the sorted values that is not below ``share`` of them; None if there is none."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def _rows(result: LoadResult) -> list[tuple[str, str, str]]:
    cpu = _measured(result, f"{result.cpu_us_per_frame:.2f} us")
    after = _measured(result, f"{result.finish_cpu_us_per_frame:.2f} us")
    delays, stops = result.loop_delay_ms, result.stop_ms
    lost = "not verified" if result.lost_samples is None else f"{result.lost_samples:,} samples"
    rows = [
        ("frames sent", f"{result.frames:,}", "20 ms each"),
        ("late ticks", f"{result.late_ticks:,}", f"the generator itself, worst {result.worst_late_ms:.0f} ms"),
        ("held back", f"{result.held_back:,}", "frames that the server's socket did not take at once"),
        ("legs lost", f"{result.lost_legs:,}", "streams ended by the server"),
        ("CPU per frame", cpu, "the server, socket to finished file"),
        ("  after the last frame", after, "the part of it that ends the calls"),
        ("lost", lost, f"of {result.verified_files} files compared sample by sample"),
    ]
    if result.lost_samples is not None:
        rows.append(("extra, holes", f"{result.extra_samples:,}, {result.hole_samples:,} samples", "not sent there"))
    if result.offset_ms is not None:
        low, high = result.offset_ms
        rows.append(("offset", f"{low:.1f} to {high:.1f} ms", "silence before a leg's first sample"))
    if delays:
        rows.append(("event-loop delay", _triple(delays.get(name) for name in ("0.5", "0.99", "1")), "p50 / p99 / max"))
    if stops:
        of = f"p50 / p99 / max of {len(stops)} stops while all stream"
        rows.append(("stop to fetchable", _triple(percentile(stops, share) for share in (0.5, 0.99, 1)), of))
    memory = _measured(result, f"{result.memory_bytes_per_leg / 1000:.1f} kB")
    rows.append(("memory per leg", memory, "resident, streaming against idle"))
    return rows


def _measured(result: LoadResult, figure: str) -> str:
    return figure if result.is_measured else "no /metrics here"


def _triple(values_ms: Iterable[float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values_ms) + " ms"


def _with_progress(request: LoadRequest, console: Console) -> LoadResult:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        phases: dict[str, TaskID] = {}

        def show(phase: str, done: float) -> None:
            if phase not in phases:
                for earlier in phases.values():
                    bars.update(earlier, completed=1)
                phases[phase] = bars.add_task(phase, total=1)
            bars.update(phases[phase], completed=done)

        return run_load(request, show)


def _complain(text: str) -> None:
    Console(stderr=True).print(f"wavstream load: {text}", style="red", markup=False, highlight=False, soft_wrap=True)


def _write(file: Path, result: LoadResult) -> None:
    try:
        file.write_text(as_json(result) + "\n")
    except OSError as failed:
        raise OperatorError(f"--json {file}: cannot be written ({failed.strerror})") from None
