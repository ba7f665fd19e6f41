"""Faults of the disk under a server that records: the k-th call that fails, and a disk that is full, slow or read-only.

Each injection is a round of calls on a server whose system calls the shim counts: a plain one, one that is paused and
resumed, one that is stopped by the API. The fault is there from the first word to the last, and then the disk works
again: nothing that was sent may be lost, whatever failed. A command may be refused meanwhile (503, 507), not with 500.
"""

from __future__ import annotations

import asyncio
import errno
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults.calls import Call
from bench.faults.report import Report
from bench.faults.sender import Sender
from bench.faults.shim import FOREVER, On, Op, Shim, ShimMissing
from bench.faults.victim import DidNotStart, Victim

EVERYTHING = On.JOURNAL | On.SPOOL | On.RECORDINGS | On.CATALOG
FILES = On.JOURNAL | On.SPOOL | On.RECORDINGS
_AT_ONCE = 3
"""Servers that run at the same time: a round mostly waits."""
_TALK_S = 0.7


@dataclass(frozen=True, slots=True)
class Target:
    """Which calls on which files are to fail, and how they may."""

    name: str
    ops: Op
    on: On
    errors: tuple[int, ...]


TARGETS = (
    Target("write of the journal", Op.WRITE, On.JOURNAL, (errno.EIO, errno.ENOSPC)),
    Target("sync of the journal", Op.SYNC, On.JOURNAL, (errno.EIO, errno.ENOSPC)),
    Target("open of the journal", Op.OPEN, On.JOURNAL, (errno.EMFILE, errno.EIO, errno.ENOSPC)),
    Target("read, stat of the journal", Op.READ | Op.STAT, On.JOURNAL, (errno.EIO,)),
    Target("unlink of the journal", Op.UNLINK, On.JOURNAL, (errno.EIO,)),
    Target("write of the spool", Op.WRITE | Op.TRUNCATE, On.SPOOL, (errno.EIO, errno.ENOSPC)),
    Target("open, stat of the spool", Op.OPEN | Op.STAT, On.SPOOL, (errno.EMFILE, errno.EIO)),
    Target("sync of the spool", Op.SYNC, On.SPOOL, (errno.EIO,)),
    Target("rename into recordings", Op.RENAME, On.RECORDINGS, (errno.EIO, errno.ENOSPC)),
    Target("sync of recordings", Op.SYNC, On.RECORDINGS, (errno.EIO,)),
    Target("open, stat, mkdir of recordings", Op.OPEN | Op.STAT | Op.MKDIR, On.RECORDINGS, (errno.EMFILE, errno.EIO)),
    Target("write of the database", Op.WRITE, On.CATALOG, (errno.EIO, errno.ENOSPC)),
    Target("sync of the database", Op.SYNC, On.CATALOG, (errno.EIO,)),
    Target("open, stat, read of the database", Op.OPEN | Op.STAT | Op.READ, On.CATALOG, (errno.EMFILE, errno.EIO)),
)


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault that is to be injected."""

    target: Target
    k: int
    times: int
    error: int

    def __str__(self) -> str:
        again = "from then on" if self.times == FOREVER else f"{self.times} in a row"
        return f"call {self.k} of {self.target.name}, {again}, {errno.errorcode[self.error]}"


@asynccontextmanager
async def shimmed(*, trace: bool = False, **settings: Any) -> AsyncIterator[tuple[Victim, Sender, Shim]]:
    """Run a server under a shim; raise ShimMissing."""
    with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as name:
        folder = Path(name)
        shim = Shim(folder, folder / "data", trace=trace)
        victim = Victim(folder, environment=shim.environment, **settings)
        sender = Sender(victim.port)
        try:
            yield victim, sender, shim
        finally:
            shim.clear()
            await victim.close()
            sender.close()


async def failing_calls_scenario(report: Report, *, seed: int, each: int | None) -> None:
    """Let the k-th call fail, for ``each`` drawn k and error of each target; None: for every k and every error."""
    drawn = random.Random(f"calls {seed}")
    try:
        counts = await _counted()
    except ShimMissing as missing:
        report.skipped("failing system calls", str(missing))
        return
    injections: list[Injection] = []
    for target in TARGETS:
        count = max(counts[target.name], 1)
        every = [
            Injection(target, k, times, error)
            for k in range(1, count + 1)
            for times in (1, 4)
            for error in target.errors
        ]
        chosen = every if each is None else drawn.sample(every, min(each, len(every)))
        injections += chosen
        report.row(f"fails: {target.name}").note = f"{len(chosen)} of {len(every)}"
    drawn.shuffle(injections)
    waiting = list(reversed(injections))
    await asyncio.gather(*(_worker(report, waiting, total=len(injections)) for _ in range(_AT_ONCE)))


async def inject_scenario(report: Report, injections: Sequence[Injection]) -> None:
    """Inject these, on one server."""
    await _worker(report, list(reversed(injections)), total=len(injections))


async def _counted() -> dict[str, int]:
    """Return how many calls of each target a round makes."""
    counts: dict[str, int] = {}
    async with shimmed() as (victim, sender, shim):
        await victim.start()
        for some in range(0, len(TARGETS), 8):
            targets = TARGETS[some : some + 8]
            for rule, target in enumerate(targets):
                shim.set(target.ops, target.on, first=1 << 40, rule=rule)
            for call in await _round(victim, sender):
                await call.check()
            counts |= {target.name: shim.seen(rule) for rule, target in enumerate(targets)}
            shim.clear()
    return counts


async def _worker(report: Report, waiting: list[Injection], *, total: int) -> None:
    while waiting:
        async with shimmed() as (victim, sender, shim):
            await victim.start()
            for _ in range(20):
                if not waiting or victim.ended:
                    break
                injection = waiting.pop()
                await _inject(report, victim, sender, shim, injection)
                if len(waiting) % 10 == 0:
                    report.say(f"failing calls: {total - len(waiting)} of {total}")


async def _inject(report: Report, victim: Victim, sender: Sender, shim: Shim, injection: Injection) -> None:
    fault = f"fails: {injection.target.name}"
    before = len(victim.blame.server_errors)
    shim.set(injection.target.ops, injection.target.on, error=injection.error, first=injection.k, times=injection.times)
    calls = await _round(victim, sender)
    await asyncio.sleep(0.3)
    hit = shim.hit()
    shim.clear()
    report.injected(fault, min(hit, 1))
    if victim.ended:
        report.fell(fault, f"{injection}: the server ended")
        return
    for call in calls:
        if call.recording is not None:
            report.add(fault, await call.check(), when=str(injection))
    for text in victim.blame.server_errors[before:]:
        report.fell(fault, f"{injection}: 500: {text}")
    # A failing disk is told with its reason; a traceback is for what the code did not think of.
    old = set(victim.blame.tracebacks)
    victim.read_log()
    for text in dict.fromkeys(each for each in victim.blame.tracebacks if each not in old):
        report.fell(fault, f"{injection}: traceback: {text}")


async def _round(victim: Victim, sender: Sender, *, talk_s: float = _TALK_S) -> Sequence[Call]:
    """Play the calls of a round, and end them."""
    calls = [Call(victim, sender, label=label) for label in ("plain", "paused", "stopped")]
    for call in calls:
        call.speak()
    await asyncio.gather(*(_opened(call) for call in calls))
    await asyncio.gather(*(call.tried("start") for call in calls))
    _, paused, stopped = calls
    await asyncio.sleep(talk_s / 2)
    if paused.recording is not None and await paused.tried("pause"):
        await asyncio.sleep(0.1)
        await paused.tried("resume")
    await asyncio.sleep(talk_s / 2)
    if stopped.recording is not None:
        await stopped.tried("stop")
    await asyncio.to_thread(sender.hang_up, [leg for call in calls for leg in call.legs])
    return calls


async def _opened(call: Call) -> None:
    """Wait a while for both streams: a faulty server may refuse them, and then nothing is promised."""
    try:
        async with asyncio.timeout(5):
            await call.streaming()
    except TimeoutError:
        return


# ---- a disk that is full, slow or read-only for a while ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which the disk does not work."""

    name: str
    ops: Op
    on: On
    error: int = 0
    delay_s: float = 0.0
    length_s: float = 2.0
    settings: tuple[tuple[str, Any], ...] = ()
    calls: int = 4
    after_s: float = 1.0


IMPATIENT: dict[str, Any] = {"behind_wait_s": 2.0, "stall_wait_s": 1.0}
"""The hold is short, so that what is not read for a few seconds shows whether the recorder takes it for silence."""
_CHANGES = Op.WRITE | Op.RENAME | Op.UNLINK | Op.TRUNCATE | Op.MKDIR
SPELLS = (
    Spell("disk: full for 2 s", Op.WRITE | Op.TRUNCATE | Op.MKDIR, EVERYTHING, errno.ENOSPC),
    Spell("disk: read-only for 2 s", _CHANGES | Op.SYNC, EVERYTHING, errno.EROFS),
    Spell("disk: no descriptors for 2 s", Op.OPEN, EVERYTHING, errno.EMFILE),
    Spell("disk: each write and sync takes 50 ms", Op.WRITE | Op.SYNC, EVERYTHING, delay_s=0.05, length_s=3.0),
    Spell("disk: syncs hang for 4 s", Op.SYNC, EVERYTHING, delay_s=4.0, length_s=4.0),
    Spell("disk: the database hangs for 4 s", Op.WRITE | Op.SYNC, On.CATALOG, delay_s=4.0, length_s=4.0),
    Spell(
        "disk: journal writes hang for 6 s", Op.WRITE, On.JOURNAL, delay_s=6.0, length_s=6.0,
        settings=tuple(IMPATIENT.items()),
    ),
    Spell(
        "disk: journal writes hang for 8 s, the queue is full", Op.WRITE, On.JOURNAL, delay_s=8.0, length_s=8.0,
        settings=(("journal__queue_bytes", 1_048_576), *IMPATIENT.items()), calls=24, after_s=4.0,
    ),
)  # fmt: skip


async def spell_scenario(report: Report, *, seed: int, spells: Sequence[Spell] = SPELLS) -> None:
    """Let the disk fail for a while in the middle of calls, in each of these ways, two servers at a time."""
    drawn = random.Random(f"spells {seed}")
    waiting = list(spells)

    async def work() -> None:
        while waiting:
            spell = waiting.pop()
            try:
                await _spell(report, spell, before_s=drawn.uniform(0.6, 1.2))
            except ShimMissing as missing:
                report.skipped(spell.name, str(missing))
            report.say(f"{spell.name}: done")

    await asyncio.gather(work(), work())


async def _spell(report: Report, spell: Spell, *, before_s: float) -> None:
    async with shimmed(**dict(spell.settings)) as (victim, sender, shim):
        await victim.start()
        options: tuple[dict[str, object], ...] = ({}, {"end_silence_timeout_s": 600})
        calls = [Call(victim, sender, label=f"call {number}") for number in range(spell.calls)]
        for call in calls:
            call.speak()
        await asyncio.gather(*(call.streaming() for call in calls))
        await asyncio.gather(*(call.start(**options[number % 2]) for number, call in enumerate(calls)))
        ending = calls[:: max(len(calls) // 2, 1)][:2]
        await asyncio.sleep(before_s)
        shim.set(spell.ops, spell.on, error=spell.error, delay_s=spell.delay_s)
        report.injected(spell.name)
        await asyncio.sleep(0.3)
        # Some calls end while it lasts, the others after it.
        gone = asyncio.create_task(asyncio.to_thread(sender.hang_up, [leg for call in ending for leg in call.legs]))
        await asyncio.sleep(max(spell.length_s - 0.3, 0))
        hit = shim.hit()
        shim.clear()
        await asyncio.sleep(spell.after_s)
        await gone
        rest = [call for call in calls if call not in ending]
        await asyncio.to_thread(sender.hang_up, [leg for call in rest for leg in call.legs])
        for call in calls:
            report.add(spell.name, await call.check(), when=f"{before_s:.1f} s after the start")
        report.row(spell.name).note = f"{hit} calls"
        victim.read_log()
        for text in dict.fromkeys((*victim.blame.server_errors, *victim.blame.tracebacks)):
            report.fell(spell.name, text)


# ---- what a start meets --------------------------------------------------------------------------------------------

_AT_START = (
    Target("open", Op.OPEN, FILES, (errno.EMFILE, errno.EIO)),
    Target("stat", Op.STAT, FILES, (errno.EIO,)),
    Target("read of the journal", Op.READ, On.JOURNAL, (errno.EIO,)),
    Target("write", Op.WRITE, FILES, (errno.EIO, errno.ENOSPC)),
    Target("rename, sync, unlink", Op.RENAME | Op.SYNC | Op.UNLINK, FILES, (errno.EIO,)),
    Target("database", Op.OPEN | Op.READ | Op.WRITE | Op.SYNC, On.CATALOG, (errno.EIO,)),
)


async def failing_start_scenario(report: Report, *, seed: int, each: int) -> None:
    """Let the k-th call of a start that recovers fail, for ``each`` drawn k of each kind of call."""
    drawn = random.Random(f"starts {seed}")
    waiting = [(target, number) for target in _AT_START for number in range(each)]
    shares = {key: drawn.random() for key in waiting}
    errors = {key: drawn.choice(key[0].errors) for key in waiting}
    counts: dict[str, int] = {}

    async def work() -> None:
        while waiting:
            key = waiting.pop()
            target, _ = key
            try:
                await _failing_start(report, target, share=shares[key], error=errors[key], counts=counts)
            except ShimMissing as missing:
                report.skipped(f"at a start: {target.name} fails", str(missing))

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    report.say("failing starts: done")


async def _failing_start(report: Report, target: Target, *, share: float, error: int, counts: dict[str, int]) -> None:
    fault = f"at a start: {target.name} fails"
    async with shimmed(reconnect_wait_s=0) as (victim, sender, shim):
        await victim.start()
        calls = [Call(victim, sender, label=f"call {number}") for number in range(4)]
        for call in calls:
            call.speak()
        await asyncio.gather(*(call.streaming() for call in calls))
        await asyncio.gather(*(call.start() for call in calls))
        await asyncio.sleep(0.9)
        late_s = victim.slowness_s(time.monotonic() - 2.0, time.monotonic())
        sender.forget([leg for call in calls for leg in call.legs])
        killed_s, dead_s = victim.kill()
        for call in calls:
            call.unknown(killed_s - 0.25 - late_s, dead_s)
        k = 1 + int(share * (counts.get(target.name) or _USUAL))
        when = f"call {k} of {target.name}, {errno.errorcode[error]}"
        shim.set(target.ops, target.on, error=error, first=k, times=1)
        report.injected(fault)
        try:
            await victim.start()
            await asyncio.sleep(1.5)
        except DidNotStart:
            pass  # it may refuse to start; the next start has to find everything
        counts[target.name] = max(counts.get(target.name, 0), shim.seen())
        shim.clear()
        if victim.ended:
            await victim.start()
        for call in calls:
            report.add(fault, await call.check(), when=when)
        victim.read_log()
        for text in dict.fromkeys((*victim.blame.server_errors, *victim.blame.tracebacks)):
            report.fell(fault, f"{when}: {text}")


_USUAL = 12
"""Calls of a kind at a start, until it is known how many there are."""
