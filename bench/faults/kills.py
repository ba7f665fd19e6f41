"""Kills of a server that records: at random, right after an answer, while it publishes, while it recovers.

In each round a server has a call for each aim. Their commands are timed so that all answers come just before the kill:

- ``start``: the recording was started, and that was answered: what its legs say when they are back is in it.
- ``pause``, ``resume``: the last answer counts after the kill too, not the one before.
- ``stop``: the stop was answered: all that was said before it is in the file, and nothing after it.
- ``publish``: the stop was asked for, and the kill comes while the file is on its way.
- ``run``: nothing was asked for.

Whatever the aim, nothing that was sent earlier than ``LOST_S`` before the kill may be lost.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

import httpx

from bench.faults.calls import AIR_S, Call
from bench.faults.report import Report
from bench.faults.sender import Sender
from bench.faults.shim import On, Op, Shim, ShimMissing
from bench.faults.victim import DidNotStart, Victim

LOST_S = 0.25
"""What a kill may take of each leg."""
AIMS = ("run", "start", "pause", "resume", "stop", "publish")
_AFTER_S = (0.0, 0.005, 0.03, 0.12, 0.2)
"""From the last answer to the kill."""
_ROUNDS_OF_A_FOLDER = 10


async def kill_scenario(
    report: Report, *, kills: int, seed: int, talk_s: float = 1.2, slow_journal_s: float = 0.0
) -> None:
    """Kill so often, and add what became of the recordings.

    ``slow_journal_s``: what each write of a journal takes. Then nothing is promised of the last words, but what was
    answered still is: a start, a pause, a resume, a stop.
    """
    drawn = random.Random(f"kills {seed}")
    done = 0
    while done < kills:
        with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as folder:
            environment: dict[str, str] = {}
            if slow_journal_s:
                try:
                    shim = Shim(Path(folder), Path(folder) / "data")
                except ShimMissing as missing:
                    report.skipped("kill, slow journal", str(missing))
                    return
                shim.set(Op.WRITE, On.JOURNAL, delay_s=slow_journal_s)
                environment = shim.environment
            victim = Victim(Path(folder), environment=environment)
            sender = Sender(victim.port)
            try:
                await victim.start()
                for _ in range(min(_ROUNDS_OF_A_FOLDER, kills - done)):
                    when = f"kill {done} of seed {seed}"
                    await _round(report, victim, sender, drawn, when=when, talk_s=talk_s, slow=slow_journal_s > 0)
                    done += 1
                    report.say(f"kill {done} of {kills}")
                    if victim.ended:
                        break
            finally:
                await victim.close()
                sender.close()
            for text in (*victim.blame.tracebacks, *victim.blame.server_errors):
                report.fell("kills: log and answers", text)


async def _round(
    report: Report, victim: Victim, sender: Sender, drawn: random.Random, *, when: str, talk_s: float, slow: bool
) -> None:
    calls = {aim: Call(victim, sender, label=aim) for aim in AIMS}
    for call in calls.values():
        call.speak()
    await asyncio.gather(*(call.streaming() for call in calls.values()))
    await asyncio.gather(*(call.tried("start") for aim, call in calls.items() if aim != "start"))
    await asyncio.sleep(talk_s / 2 + drawn.random() * talk_s / 2)
    await calls["resume"].tried("pause")
    await asyncio.sleep(talk_s / 2)
    after_s, publish_s = drawn.choice(_AFTER_S), drawn.random() * 0.08
    commands = [calls[aim].tried(aim) for aim in ("start", "pause", "resume", "stop")]
    drawn.shuffle(commands)
    await asyncio.gather(*commands)
    stopping: asyncio.Task[None] | None = None
    if publish_s < after_s or drawn.random() < 0.5:
        await asyncio.sleep(max(after_s - publish_s, 0))
        stop_s = time.monotonic()
        stopping = asyncio.create_task(_stop_unanswered(calls["publish"]))
        await asyncio.sleep(min(publish_s, after_s))
        calls["publish"].unknown(stop_s - AIR_S)
    else:
        await asyncio.sleep(after_s)
    late_s = victim.slowness_s(time.monotonic() - 1.0, time.monotonic())
    killed_s, dead_s = victim.kill()
    if stopping is not None:
        await stopping
    when = f"{when}, {1000 * after_s:.0f} ms after the answers"
    for aim, call in calls.items():
        # A stop that was answered promises all of what was said before it.
        if slow or aim != "stop":
            call.unknown(0.0 if slow else killed_s - LOST_S - late_s, dead_s)
    twice = drawn.random() < 0.34
    if twice:
        when += ", and again while it recovered"
        await _kill_while_recovering(victim, calls, drawn)
    try:
        await victim.start()
    except DidNotStart as dead:
        report.fell("kill: the next start", f"{when}: {dead}")
        return
    spoken = [call for aim, call in calls.items() if aim != "stop"]
    await asyncio.gather(*(call.streaming() for call in spoken))
    await asyncio.sleep(talk_s / 2)
    for call in calls.values():
        call.hang_up()
    for aim, call in calls.items():
        result = await call.check()
        if call.recording is None:
            continue
        name = f"kill{', slow journal' if slow else ''}: {_NAMES[aim]}"
        report.injected(name)
        report.add(name, result, when=when)
        if twice:
            name = f"kill{', slow journal' if slow else ''}: again while it recovers"
            report.injected(name)
            report.add(name, result, when=when)


_NAMES = {
    "run": "at a random moment", "start": "after start was answered", "pause": "after pause was answered",
    "resume": "after resume was answered", "stop": "after stop was answered", "publish": "while it publishes",
}  # fmt: skip


async def _stop_unanswered(call: Call) -> None:
    if call.recording is None:
        return
    try:
        answer = await call.victim.http.post(f"/v1/recordings/{call.recording['id']}/stop")
        if answer.status_code != 200:
            call.faults.append(f"{call.label}: its stop answered {answer.status_code}")
    except httpx.HTTPError:
        return


async def _kill_while_recovering(victim: Victim, calls: dict[str, Call], drawn: random.Random) -> None:
    """Start it, and kill it before it is ready, or just after: while it reads what the first kill left."""
    began_s = time.monotonic()
    victim.begin()
    try:
        ready = asyncio.create_task(victim.ready())
        await asyncio.wait([ready], timeout=drawn.uniform(0.2, 2.5))
        if ready.done():
            await asyncio.sleep(drawn.random() * 0.3)
            ready.result()
        else:
            ready.cancel()
    finally:
        killed_s, dead_s = victim.kill()
    for call in calls.values():
        call.unknown(max(began_s, killed_s - LOST_S - 0.1), dead_s)
