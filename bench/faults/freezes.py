"""Freezes of a server that records (SIGSTOP, SIGCONT): time in which it does not read is not time of silence.

Everything that the legs say meanwhile waits in the kernel. It is to be in the file, at its place, whoever else waits
for the recording: a listener, or a limit that ends it by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench.faults.calls import Call
from bench.faults.disk import IMPATIENT
from bench.faults.report import Report
from bench.faults.sender import Sender
from bench.faults.victim import Victim

KINDS: dict[str, dict[str, object]] = {
    "nobody waits": {},
    "a timer waits": {"end_silence_timeout_s": 600},
    "a listener waits": {},
}
FREEZES_S = (6.0, 0.5, 3.0, 1.5, 4.5)
CROWD = 6
"""Times as many calls are there at the first freeze: what waits is then not read in one go."""


async def freeze_scenario(
    report: Report,
    *,
    freezes: int,
    seed: int,
    calls: int = 4,
    crowd: int = CROWD,
    longest_s: float = 6.0,
    after_s: float = 1.5,
) -> None:
    """Freeze so often, with so many calls of each kind (``crowd`` times as many at first), and add what they lost."""
    drawn = random.Random(f"freezes {seed}")
    with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as folder:
        victim = Victim(Path(folder), **IMPATIENT)
        sender = Sender(victim.port)
        try:
            await victim.start()
            for number in range(freezes):
                frozen_s = min(FREEZES_S[number % len(FREEZES_S)] + drawn.uniform(-0.2, 0.2), longest_s)
                played = [
                    Call(victim, sender, label=f"freeze: {kind}")
                    for kind in KINDS
                    for _ in range(calls * (1 if number else crowd))
                ]
                before_s = drawn.uniform(0.6, 1.4)
                await _freeze(victim, sender, played, before_s=before_s, frozen_s=frozen_s, after_s=after_s)
                for call in played:
                    when = f"freeze {number} of seed {seed}, {frozen_s:.1f} s"
                    report.add(call.label, await call.check(), when=when)
                for kind in KINDS:
                    report.injected(f"freeze: {kind}")
                report.say(f"freeze {number + 1} of {freezes}")
        finally:
            await victim.close()
            sender.close()
        for text in (*victim.blame.tracebacks, *victim.blame.server_errors):
            report.fell("freezes: log and answers", text)


async def _freeze(
    victim: Victim, sender: Sender, calls: Sequence[Call], *, before_s: float, frozen_s: float, after_s: float
) -> None:
    for call in calls:
        call.speak()
    await asyncio.gather(*(call.streaming() for call in calls))
    await asyncio.gather(*(call.start(**KINDS[call.label.removeprefix("freeze: ")]) for call in calls))
    listening = [asyncio.create_task(_listen(victim, call)) for call in calls if "listener" in call.label]
    await asyncio.sleep(before_s)
    victim.freeze()
    await asyncio.sleep(frozen_s)
    victim.thaw()
    await asyncio.sleep(after_s)
    sender.hang_up([leg for call in calls for leg in call.legs])
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)


async def _listen(victim: Victim, call: Call) -> None:
    assert call.recording is not None
    with contextlib.suppress(httpx.HTTPError):
        async with victim.http.stream("GET", f"/v1/recordings/{call.recording['id']}/live.wav") as live:
            async for _ in live.aiter_raw():
                pass
