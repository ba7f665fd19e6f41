"""The load search: ever more calls on one core, until new ones are refused; those that were taken lose nothing.

It is the server whose end is to be found, and not that of the bench:

1. The server has a core of its own, where there are two. The bench has the others, and its legs send five frames in one
   write, for which it takes a sixth of the CPU that the server does.
2. A step of calls follows when all of the last one have a stream, or were refused one. What the bench sends late is
   late for everybody, and no fault; whatever it has sent must be in the files.
3. While the bench itself is late nothing is added: what is found then says little. Either somebody else has its core,
   and that passes; or it takes its core whole: then it is at its own end, and the search begins again with legs that
   cost it a fifth.
4. Without a refusal, or where the bench was later than the file waits for a leg, there is no verdict.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from bench.faults.calls import Call
from bench.faults.report import Report
from bench.faults.sender import Sender, Spoken
from bench.faults.victim import Victim
from bench.processes import SERVER_CORE, can_pin, cpu_s

FAULT = "load: until legs are refused"
_BEHIND_WAIT_S = 30.0
"""How long the file waits for a leg: as by default, since on a busy machine the bench itself is seconds late."""
_BENCH_LATE_S = 0.25
_OWN_END = 0.7
"""The share of a core from which on a bench that is late is so by itself."""
_TOGETHER = (5, 25)
"""Frames of a write, in the first search, and where the bench was at its end (rule 3)."""
_STEP = 25
"""Calls that are added in one step, of a second or more."""
_HELD_S = 6.0
"""How long the calls go on beyond the refusal."""
_GOODBYE_S = 60.0
_FINISHED_S = 180.0
"""In which all files have to be there: of a server that was behind when it refused, on a machine that others use."""
_CHECKED = 120
"""Files that are listened to, drawn evenly: all would take minutes."""


@dataclass(slots=True)
class _Found:
    """What a search has come to."""

    calls: list[Call] = field(default_factory=list)
    refused: int = 0
    bench_late_s: float = 0.0
    bench_is_at_its_end: bool = False
    waited_s: float = 0.0
    """For others on the bench's core."""
    shares: tuple[float, float] = (0.0, 0.0)
    """Of their cores that the server and the bench took in the last step."""

    @property
    def legs(self) -> list[str]:
        return [leg for call in self.calls for leg in call.legs]


async def load_scenario(report: Report, *, most_s: float, most_legs: int) -> None:
    """Add calls until some are refused, or the time or the number is reached; hold them for a while, and listen."""
    for together in _TOGETHER:
        with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as name:
            if await _search_on_a_server(report, Path(name), together, most_s=most_s, most_legs=most_legs):
                return
    report.skipped(FAULT, "the bench came to its own end before the server did: nothing can be told")


async def _search_on_a_server(report: Report, folder: Path, together: int, *, most_s: float, most_legs: int) -> bool:
    """Search on a fresh server; return False if the bench came to its own end."""
    cores = os.sched_getaffinity(0)
    victim = Victim(folder, core=SERVER_CORE if can_pin() else None, behind_wait_s=_BEHIND_WAIT_S)
    if can_pin():
        os.sched_setaffinity(0, cores - {SERVER_CORE})
    sender = Sender(victim.port)
    try:
        await victim.start()
        found = await _search(report, victim, sender, together, most_s=most_s, most_legs=most_legs)
        if found.bench_is_at_its_end:
            return False
        await _judge(report, victim, sender, found)
    finally:
        os.sched_setaffinity(0, cores)
        await victim.close()
        sender.close()
    for text in dict.fromkeys((*victim.blame.tracebacks, *victim.blame.server_errors)):
        report.fell(FAULT, text)
    return True


async def _search(
    report: Report, victim: Victim, sender: Sender, together: int, *, most_s: float, most_legs: int
) -> _Found:
    """Add calls until one is refused (rules 2 and 3)."""
    found = _Found()
    await asyncio.to_thread(sender.late_s)
    until_s = time.monotonic() + most_s
    newest: list[str] = []
    late_s = 0.0
    # What is waited for others does not count: a busy machine needs longer, and says the same in the end.
    while time.monotonic() < until_s + min(found.waited_s, 2 * most_s) and len(found.legs) < most_legs:
        undecided = await asyncio.to_thread(sender.undecided, newest)
        if late_s >= _BENCH_LATE_S or undecided:
            found.waited_s += 1.0
        else:
            step = [Call(victim, sender, label="load") for _ in range(_STEP)]
            for call in step:
                call.speak(record="1", dials_again=False, together=together)
            found.calls += step
            newest = [leg for call in step for leg in call.legs]
        before_s = time.monotonic(), cpu_s(victim.pid), await asyncio.to_thread(sender.cpu_s)
        await asyncio.sleep(1.0)
        bench_s = await asyncio.to_thread(sender.cpu_s)
        passed_s = time.monotonic() - before_s[0]
        found.shares = (cpu_s(victim.pid) - before_s[1]) / passed_s, (bench_s - before_s[2]) / passed_s
        late_s = await asyncio.to_thread(sender.late_s)
        found.bench_late_s = max(found.bench_late_s, late_s)
        if late_s >= _BENCH_LATE_S and found.shares[1] >= _OWN_END:
            found.bench_is_at_its_end = True
            report.say(f"load: at {len(found.legs)} legs the bench is at its own end")
            break
        found.refused = await asyncio.to_thread(sender.refused, found.legs[-8 * _STEP :])
        if found.refused:
            break
    return found


async def _judge(report: Report, victim: Victim, sender: Sender, found: _Found) -> None:
    """Hold the calls for a while, let them end, and say what became of them."""
    await asyncio.sleep(_HELD_S)
    found.bench_late_s = max(await asyncio.to_thread(sender.late_s), found.bench_late_s)
    await asyncio.to_thread(sender.hang_up, found.legs, within_s=_GOODBYE_S)
    until_s = time.monotonic() + _FINISHED_S
    spoken = await asyncio.to_thread(sender.spoken, found.legs)
    accepted = [name for name, each in spoken.items() if each.opened_s]
    refusals = [each.refusals[0] for each in spoken.values() if each.refusals]
    report.injected(FAULT, len(spoken))
    server, bench = (f"{100 * share:.0f} %" for share in found.shares)
    report.row(FAULT).note = (
        f"{len(accepted)} legs taken, {len(refusals)} refused; of a core the server took {server}, the bench {bench}, "
        f"which was {1000 * found.bench_late_s:.0f} ms late at most and waited {found.waited_s:.0f} s"
    )
    if found.bench_late_s > _BEHIND_WAIT_S / 2:
        report.skipped(FAULT, "the bench was later than the server may be: nothing can be told")
        return
    if not refusals:
        report.skipped(FAULT, "none was refused: the end of this server was not found")
    _judge_ends(report, spoken, accepted, refusals)
    taken = [call for call in found.calls if any(leg in accepted for leg in call.legs)]
    for call in taken[:: max(len(taken) // _CHECKED, 1)]:
        if not await _listen(report, victim, call, until_s, when=f"{len(accepted)} legs"):
            return


def _judge_ends(report: Report, spoken: dict[str, Spoken], accepted: list[str], refusals: list[str]) -> None:
    """Say which legs were refused, or ended, otherwise than they should."""
    if any(" 503" not in refusal for refusal in refusals):
        report.fell(FAULT, f"refused with {sorted(set(refusals))}, not with 503")
    ended = [name for name in accepted if spoken[name].close_code != 1000]
    if ended:
        codes = {spoken[name].close_code for name in ended}
        report.fell(FAULT, f"{len(ended)} legs that were taken did not end with 1000 but with {codes}")


async def _listen(report: Report, victim: Victim, call: Call, until_s: float, *, when: str) -> bool:
    """Listen to the file of a call; return False if the server has ended."""
    try:
        answer = await victim.http.get("/v1/recordings", params={"session_id": call.session_id})
    except httpx.HTTPError as failed:
        report.fell(FAULT, f"GET /v1/recordings got no answer: {failed!r}")
        if victim.ended:
            report.fell(FAULT, "the server ended")
        return not victim.ended
    found = answer.json().get("data", []) if answer.status_code == 200 else []
    if not found:
        report.fell(FAULT, f"{call.session_id}: was taken, and has no recording")
        return True
    call.recording = found[0]
    call.windows.append((0.0, np.inf, "required"))
    result = await call.check(until_s)
    result.moved, result.worst_shift_s = 0, 0.0  # the bench itself may be late
    result.faults = [text for text in result.faults if ": moved" not in text]
    report.add(FAULT, result, when=when)
    return True
