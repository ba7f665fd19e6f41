"""Runs attacks one after another against a real server, beside an app that must notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from bench.faults.calls import Result
from bench.faults.sender import Sender
from bench.faults.victim import Victim
from bench.hostile.attacks import ATTACKS, HOLDING
from bench.hostile.bystander import Bystander
from bench.hostile.peer import Peer, Tally, drop, message
from wavstream.settings import PREFIX, variable

HELD_S = 75.0
"""Since when sockets that say nothing, or read nothing, must be gone."""
SLOW_S = 1.0
MEMORY_TIMES = 2.0
"""Of what the calls take alone, whatever earlier attacks hold or have left behind."""
LINES_OF_AN_ATTACK = 500
"""Log lines: refusals are summed up, so that no peer fills the disk with them."""
_OWN_FILE_MESSAGES = 8
_MOST_S = 10.0
"""How long an attack may take."""


@dataclass(slots=True)
class Outcome:
    """An attack, and what came of it."""

    attack: str
    by: str
    tally: Tally
    slowest_s: float = 0.0
    memory_times: float = 0.0
    log_lines: int = 0
    fell: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Suite:
    """What a run found."""

    outcomes: list[Outcome] = field(default_factory=list)
    calls: list[Result] = field(default_factory=list)
    """What the calls of the other app lost."""
    server_ended: bool = False

    @property
    def holds(self) -> bool:
        return (
            not self.server_ended
            and not any(outcome.fell for outcome in self.outcomes)
            and all(result.good for result in self.calls)
        )


async def run_suite(
    folder: Path, *, seed: int, attacks: Sequence[str] = tuple(ATTACKS), scale: float = 1.0, calls: int = 20,
    idle_s: float = 5.0, held_s: float = HELD_S, say: Callable[[str], None] = lambda _: None, figures: bool = True,
) -> Suite:  # fmt: skip
    """Attack a server in these ways; ``figures``: seconds and bytes count too, and not only what was answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    victim = Victim(folder)
    sender = Sender(victim.port)
    suite = Suite()
    attacker: _Attacker | None = None
    try:
        await victim.start()
        good, evil = add_app(victim, "good"), add_app(victim, "evil")
        fresh = [add_app(victim, f"fresh-{number}") for number in range(2 if figures else 0)]
        token = await _token(victim, evil)
        bystander = Bystander(victim, sender, key=good, calls=calls)
        await bystander.begin(idle_s=idle_s)
        attacker = _Attacker(Peer(victim.port, seed, evil, token, fresh_keys=fresh, scale=scale))
        began_s = asyncio.get_running_loop().time()
        for attack in attacks:
            await _attack(suite, victim, bystander, attacker, attack, figures=figures)
            say(f"{attack}: done")
            if victim.ended:
                suite.server_ended = True
                return suite
        if held_s and HOLDING & set(attacks):
            await asyncio.sleep(max(began_s + held_s - asyncio.get_running_loop().time(), 0))
            await _attack(suite, victim, bystander, attacker, "still held", figures=figures)
        suite.calls = await bystander.end()
    finally:
        if attacker is not None:
            attacker.close()
        await victim.close()
        sender.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return suite


def add_app(victim: Victim, name: str) -> str:
    """Add an app beside the running server, and return its key."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    environment[variable("data_dir")] = str(victim.data_dir)
    command = [sys.executable, "-m", "wavstream", "apps", "add", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


async def _token(victim: Victim, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await victim.http.post("/v1/stream-tokens", json={"ttl_s": 3600}, headers=headers)
    return str(answer.json().get("token", ""))


async def _attack(
    suite: Suite, victim: Victim, bystander: Bystander, attacker: _Attacker, attack: str, *, figures: bool
) -> None:
    """Make an attack, and add what came of it."""
    bystander.begin_part()
    victim.read_log()
    errors, tracebacks = len(victim.blame.server_errors), len(victim.blame.tracebacks)
    lines = victim.log_lines()
    tally = await attacker.attack(attack)
    await asyncio.sleep(0.3 if figures else 0.05)
    bystander.end_part()
    by = ATTACKS[attack][0] if attack in ATTACKS else "all"
    outcome = Outcome(attack, by, tally, bystander.slowest_s, bystander.most_kb / max(bystander.idle_kb, 1))
    outcome.log_lines = victim.log_lines() - lines
    victim.read_log()
    outcome.fell += dict.fromkeys(tally.broken)
    outcome.fell += [f"500: {text}" for text in victim.blame.server_errors[errors:]]
    if tally.answers["500"]:
        outcome.fell.append(f"{tally.answers['500']} answers of 500")
    outcome.fell += [f"traceback: {text}" for text in dict.fromkeys(victim.blame.tracebacks[tracebacks:])]
    if bystander.refused:
        outcome.fell.append(f"the other app was answered {', '.join(sorted(set(bystander.refused)))}")
    if figures:
        if outcome.slowest_s > SLOW_S:
            outcome.fell.append(f"the other app waited {outcome.slowest_s:.1f} s for an answer")
        if outcome.memory_times > MEMORY_TIMES:
            outcome.fell.append(f"{outcome.memory_times:.1f} times the idle memory")
        if outcome.log_lines > LINES_OF_AN_ATTACK:
            outcome.fell.append(f"{outcome.log_lines} log lines")
    suite.outcomes.append(outcome)


class _Attacker:
    """The process that attacks, so that it does not slow the measuring."""

    def __init__(self, peer: Peer) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, peer), daemon=True)
        self._process.start()
        theirs.close()

    async def attack(self, attack: str) -> Tally:
        """Let it attack, and return its tally."""
        self._pipe.send(attack)
        tally: Tally = await asyncio.to_thread(self._pipe.recv)
        return tally

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, peer: Peer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve_all(pipe, peer))


async def _serve_all(pipe: Connection, peer: Peer) -> None:
    await _make_a_file(peer)
    while True:
        attack = await asyncio.to_thread(pipe.recv)
        tally = Tally()
        try:
            if attack in ATTACKS:
                async with asyncio.timeout(_MOST_S):
                    await ATTACKS[attack][1](peer, tally)
            else:
                await _still_held(peer, tally)
        except TimeoutError:
            tally.answers["cut short"] += 1
        except OSError as failed:
            tally.answers[f"ended by {failed.strerror or failed}"] += 1
        pipe.send(tally)


async def _make_a_file(peer: Peer) -> None:
    """Record a few minutes, played in fast, for the attacks on files."""
    session = peer.session()
    async with peer.stream(f"/media/pcm/{session}/a?record=1") as stream:
        if stream is None:
            return
        for _ in range(_OWN_FILE_MESSAGES):
            stream[1].write(message(bytes(range(256)) * 2_000))
            await stream[1].drain()
        stream[1].write(message((1000).to_bytes(2), opcode=8))
        await asyncio.sleep(1.0)
    for _ in range(100):
        _, answer = await peer.request("GET", f"/v1/recordings?session_id={session}", key=peer.key)
        with contextlib.suppress(ValueError, LookupError):  # it is not all there yet
            found = json.loads(answer.partition(b"\r\n\r\n")[2])["data"][0]
            if found["status"] == "available":
                peer.recording = found["id"]
                return
        await asyncio.sleep(0.1)


_LOOKED_FOR_S = 10.0
"""For the end of all sockets together; of one that is really open it takes as long as all may."""


async def _still_held(peer: Peer, tally: Tally) -> None:
    """Count the sockets of earlier attacks that the server has not ended.

    What is in the buffers of an unread download is read first, MiB of it, on a machine that has other things to do.
    """
    until_s = asyncio.get_running_loop().time() + _LOOKED_FOR_S
    for reader, writer in peer.held:
        gone = reader.at_eof() or writer.is_closing()
        if not gone:
            # What the server ended is seen behind what it had sent, of an unread download too.
            if not writer.transport.is_reading():  # type: ignore[attr-defined]
                writer.transport.resume_reading()  # type: ignore[attr-defined]
            try:
                async with asyncio.timeout(max(until_s - asyncio.get_running_loop().time(), 0.2)):
                    while await reader.read(1 << 20):
                        pass
                gone = True
            except (TimeoutError, OSError) as failed:
                gone = not isinstance(failed, TimeoutError)
        tally.got("gone" if gone else "still open")
        await drop(writer)
    if tally.answers["still open"]:
        tally.broken.append(f"{tally.answers['still open']} sockets that said or read nothing are still open")
