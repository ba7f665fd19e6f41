"""Jumps of the wall clock under a server that records, and across a kill: media time does not follow them."""

from __future__ import annotations

import asyncio
import random
import time

from bench.faults.calls import Call
from bench.faults.disk import shimmed
from bench.faults.kills import LOST_S
from bench.faults.report import Report
from bench.faults.shim import ShimMissing

JUMPS_S = (-3_600.0, -5.0, 5.0, 3_600.0)
"""Less than a recording is kept, or it would rightly be gone."""


async def clock_scenario(report: Report, *, seed: int) -> None:
    """Put the clock forward and back, in the middle of calls and between a kill and the next start."""
    drawn = random.Random(f"clocks {seed}")
    waiting = [(jump_s, drawn.uniform(0.5, 0.9)) for jump_s in JUMPS_S]

    async def work() -> None:
        while waiting:
            jump_s, talk_s = waiting.pop()
            try:
                await _jump(report, jump_s, talk_s)
            except ShimMissing as missing:
                report.skipped("clock: jumps in a call", str(missing))

    await asyncio.gather(work(), work())
    report.say("clock jumps: done")


async def _jump(report: Report, jump_s: float, talk_s: float) -> None:
    when = f"{jump_s:+.0f} s"
    async with shimmed() as (victim, sender, shim):
        await victim.start()
        calls = {label: Call(victim, sender, label=label) for label in ("in a call", "across a kill")}
        for call in calls.values():
            call.speak()
        await asyncio.gather(*(call.streaming() for call in calls.values()))
        await asyncio.gather(*(call.start() for call in calls.values()))
        await asyncio.sleep(talk_s)
        shim.put_clock_forward(jump_s)
        await asyncio.sleep(talk_s)
        await asyncio.to_thread(calls["in a call"].hang_up)
        report.injected("clock: jumps in a call")
        report.add("clock: jumps in a call", await calls["in a call"].check(), when=when)
        late_s = victim.slowness_s(time.monotonic() - 2.0, time.monotonic())
        killed_s, dead_s = victim.kill()
        call = calls["across a kill"]
        call.unknown(killed_s - LOST_S - late_s, dead_s)
        shim.put_clock_forward(-jump_s)
        await victim.start()
        await call.streaming()
        await asyncio.sleep(talk_s)
        await asyncio.to_thread(call.hang_up)
        report.injected("clock: jumps across a kill")
        # How long it was dead is what the wall clock says, so only what is there counts, and not where.
        result = await call.check()
        result.moved, result.worst_shift_s = 0, 0.0
        result.faults = [text for text in result.faults if ": moved" not in text]
        report.add("clock: jumps across a kill", result, when=when)
        victim.read_log()
        for text in dict.fromkeys((*victim.blame.server_errors, *victim.blame.tracebacks)):
            report.fell("clock: jumps in a call", f"{when}: {text}")
