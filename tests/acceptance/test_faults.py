"""A short, seeded part of ``make faults``: a kill, and calls of the disk that fail."""

from __future__ import annotations

import errno
import shutil

import pytest
from rich.console import Console

from bench.faults.disk import TARGETS, Injection, inject_scenario
from bench.faults.kills import kill_scenario
from bench.faults.report import Report
from tests.support.truth import real_time

SEED = 11

needs_a_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None and shutil.which("cc") is None, reason="the shim of system calls needs a C compiler"
)


def a_report() -> Report:
    return Report(Console(quiet=True))


def held(report: Report) -> dict[str, list[str]]:
    """Return what fell, by fault; empty: everything held. Raises if nothing was at stake."""
    assert sum(row.required for row in report.rows.values()) > 0
    return {row.fault: row.fell for row in report.rows.values() if not row.holds}


@real_time
async def test_a_kill_right_after_answers_takes_nothing_that_was_promised() -> None:
    report = a_report()
    await kill_scenario(report, kills=1, seed=SEED, talk_s=0.8)
    assert held(report) == {}


@real_time
@needs_a_compiler
async def test_a_call_of_the_disk_that_fails_loses_nothing() -> None:
    by_name = {target.name: target for target in TARGETS}
    report = a_report()
    await inject_scenario(
        report,
        [
            Injection(by_name["write of the journal"], 3, 4, errno.ENOSPC),
            Injection(by_name["rename into recordings"], 1, 1, errno.EIO),
        ],
    )
    assert held(report) == {}
