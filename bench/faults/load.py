"""The load search: ever more calls on one core, until new ones are refused; those that were taken lose nothing.

The server has a core of its own, where there are two. What the bench itself sends late is late for everybody, and no
fault; whatever it has sent must be in the files.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from bench.faults.calls import Call
from bench.faults.disk import IMPATIENT
from bench.faults.report import Report
from bench.faults.sender import Sender
from bench.faults.victim import Victim
from bench.processes import SERVER_CORE, can_pin

_BENCH_LATE_S = 0.25
"""Later than this the bench adds no more: it is at its own end, and what it finds then says little."""
_STEP = 50
"""Calls that are added each second."""
_CHECKED = 120
"""Files that are listened to, drawn evenly: all would take minutes."""


async def load_scenario(report: Report, *, most_s: float, most_legs: int) -> None:
    """Add calls until some are refused, or the time or the number is reached; hold them for a while, and listen."""
    with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as name:
        cores = os.sched_getaffinity(0)
        victim = Victim(Path(name), core=SERVER_CORE if can_pin() else None, **IMPATIENT)
        if can_pin():
            os.sched_setaffinity(0, cores - {SERVER_CORE})
        sender = Sender(victim.port)
        try:
            await victim.start()
            await _search(report, victim, sender, most_s=most_s, most_legs=most_legs)
        finally:
            os.sched_setaffinity(0, cores)
            await victim.close()
            sender.close()
        for text in dict.fromkeys((*victim.blame.tracebacks, *victim.blame.server_errors)):
            report.fell("load: until legs are refused", text)


async def _search(report: Report, victim: Victim, sender: Sender, *, most_s: float, most_legs: int) -> None:
    fault = "load: until legs are refused"
    calls: list[Call] = []
    until_s = time.monotonic() + most_s
    refused = 0
    bench_late_s = 0.0
    await asyncio.to_thread(sender.late_s)
    while (
        time.monotonic() < until_s - 6 and len(calls) * 2 < most_legs and not refused and bench_late_s < _BENCH_LATE_S
    ):
        added = [Call(victim, sender, label="load") for _ in range(_STEP)]
        for call in added:
            call.speak(record="1", dials_again=False)
        calls += added
        await asyncio.sleep(1.0)
        refused = await asyncio.to_thread(sender.refused, [leg for call in calls[-4 * _STEP :] for leg in call.legs])
        bench_late_s = await asyncio.to_thread(sender.late_s)
    await asyncio.sleep(6)
    bench_late_s = max(await asyncio.to_thread(sender.late_s), bench_late_s)
    await asyncio.to_thread(sender.hang_up, [leg for call in calls for leg in call.legs])
    spoken = await asyncio.to_thread(sender.spoken, [leg for call in calls for leg in call.legs])
    accepted = [name for name, each in spoken.items() if each.opened_s]
    refusals = [each.refusals[0] for each in spoken.values() if each.refusals]
    report.injected(fault, len(spoken))
    report.row(
        fault
    ).note = f"{len(accepted)} legs taken, {len(refusals)} refused, bench {1000 * bench_late_s:.0f} ms late"
    if bench_late_s > IMPATIENT["behind_wait_s"] / 2:
        report.skipped(fault, "the bench was later than the server may be: nothing can be told")
        return
    ended = [name for name in accepted if spoken[name].close_code != 1000]
    if any(" 503" not in refusal for refusal in refusals):
        report.fell(fault, f"refused with {sorted(set(refusals))}, not with 503")
    if ended:
        codes = {spoken[name].close_code for name in ended}
        report.fell(fault, f"{len(ended)} legs that were taken did not end with 1000 but with {codes}")
    taken = [call for call in calls if any(leg in accepted for leg in call.legs)]
    for call in taken[:: max(len(taken) // _CHECKED, 1)]:
        try:
            answer = await victim.http.get("/v1/recordings", params={"session_id": call.session_id})
        except httpx.HTTPError as failed:
            report.fell(fault, f"GET /v1/recordings got no answer: {failed!r}")
            if victim.ended:
                report.fell(fault, "the server ended")
                return
            continue
        found = answer.json().get("data", []) if answer.status_code == 200 else []
        if not found:
            report.fell(fault, f"{call.session_id}: was taken, and has no recording")
            continue
        call.recording = found[0]
        call.windows.append((0.0, np.inf, "required"))
        result = await call.check()
        result.moved, result.worst_shift_s = 0, 0.0  # the bench itself may be late
        result.faults = [text for text in result.faults if ": moved" not in text]
        report.add(fault, result, when=f"{len(accepted)} legs")
