"""Power cuts on a disk that lies: what a failed sync dropped does not come back by syncing once more.

A shim writes down what was written and what was synced; after the kill everything unsynced is taken from the files, and
everything that was waiting when a sync failed as well, whatever later syncs said (``PowerCut``). What may be lost is
the bound of a kill and ``journal.sync_interval_s``.
"""

from __future__ import annotations

import asyncio
import errno
import random
import time
from dataclasses import dataclass

from bench.faults.calls import Call
from bench.faults.disk import shimmed
from bench.faults.kills import LOST_S
from bench.faults.report import Report
from bench.faults.shim import On, Op, PowerCut, ShimMissing

SYNC_S = 1.0
"""``journal.sync_interval_s``."""
_SYNC_TAKES_S = 0.5
"""A sync of a busy disk, which covers only what was written before it began."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut, and which sync fails before it."""

    name: str
    on: On | None = None
    """Of what; None: none fails."""
    times: int = 1
    ended: bool = False
    """Whether the recordings are available before the cut."""


CUTS = (
    Cut("power cut: while it records"),
    Cut("power cut: once all is available", ended=True),
    Cut("power cut: after a failed sync of the journal", On.JOURNAL),
    Cut("power cut: after three failed syncs of the journal", On.JOURNAL, 3),
    Cut("power cut: after a failed sync of a finished file", On.SPOOL, ended=True),
    Cut("power cut: after a failed sync of its folder", On.RECORDINGS, ended=True),
)


async def power_scenario(report: Report, *, seed: int, times: int) -> None:
    """Cut the power so many times in each of these ways."""
    drawn = random.Random(f"power {seed}")
    waiting = [(cut, drawn.uniform(0.0, 0.8), drawn.randint(1, 3)) for cut in CUTS for _ in range(times)]

    async def work() -> None:
        while waiting:
            cut, more_s, first = waiting.pop()
            try:
                await _cut(report, cut, more_s=more_s, first=first)
            except ShimMissing as missing:
                report.skipped(cut.name, str(missing))

    await asyncio.gather(work(), work())
    report.say("power cuts: done")


async def _cut(report: Report, cut: Cut, *, more_s: float, first: int) -> None:
    async with shimmed(trace=True, reconnect_wait_s=0) as (victim, sender, shim):
        await victim.start()
        calls = [Call(victim, sender, label=f"call {number}") for number in range(3)]
        for call in calls:
            call.speak()
        await asyncio.gather(*(call.streaming() for call in calls))
        await asyncio.gather(*(call.start() for call in calls))
        await asyncio.sleep(1.0 + more_s)
        if cut.on is not None:
            first = 1 if cut.on is On.JOURNAL else first
            shim.set(Op.SYNC, cut.on, error=errno.EIO, first=first, times=cut.times)
        report.injected(cut.name)
        if cut.ended:
            await asyncio.to_thread(sender.hang_up, [leg for call in calls for leg in call.legs])
            for call in calls:
                await call.settled()
        else:
            # Each try after one that failed waits twice as long, 4 s at most; only one that succeeds promises anything.
            failing = cut.times if cut.on is not None else 0
            await asyncio.sleep(sum(min(2.0**number, 4.0) for number in range(failing + 1)) * SYNC_S + 1.2)
        late_s = victim.slowness_s(time.monotonic() - 2.0, time.monotonic())
        hit = shim.hit()
        sender.forget([leg for call in calls for leg in call.legs])
        killed_s, dead_s = victim.kill()
        taken = PowerCut(shim.trace_file).apply(victim.data_dir)
        shim.clear()
        if not cut.ended:
            for call in calls:
                call.unknown(killed_s - LOST_S - SYNC_S - _SYNC_TAKES_S - late_s, dead_s)
        await victim.start()
        when = f"{hit} syncs failed, {taken:,} bytes were not on the disk"
        for call in calls:
            report.add(cut.name, await call.check(), when=when)
        victim.read_log()
        for text in dict.fromkeys((*victim.blame.server_errors, *victim.blame.tracebacks)):
            report.fell(cut.name, f"{when}: {text}")
