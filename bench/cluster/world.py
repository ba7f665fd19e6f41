"""Legs, nodes and what goes wrong: one stage of the simulation, and what must hold of it.

1. *One owner an epoch*: no two nodes write an entry with one session and epoch, nor batches of it.
2. *No sample twice*: what a file has goes up, and each recording has one. A session has one recording, or one more for
   each node that began it while another had claimed it.
3. *Nothing acknowledged lost*: what was in the tail when its writer was told so is in the file, and a stop that was
   answered is one.
4. *Nobody takes what is recorded*: a session whose owner records its leg, and answers at its door, stays with it,
   though the engine does not hear of that node.
5. *Everything delivered, in order*: in the end each session has its file and its row, which was told of in order;
   nothing is left of it in the table, in the bucket or in a queue. Within a subject each journal's batches go up, and
   between two of them is none that the bucket has not, as long as the session has not its files: then that goes first.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from bench.cluster.engine import Core
from bench.cluster.node import Call, Node, Refused
from bench.cluster.outside import FILES, Database, Store
from wavstream.cluster.engine import Entry
from wavstream.cluster.joining import FOLDER, folder_of, stored_of
from wavstream.cluster.ownership import PREFIX, decode_owned, hash_of, key_of
from wavstream.cluster.tail_message import Contents, TailBatch, unpack

ANSWERS_FOR_S = 12.0
"""A node that was reached for so long has said what it has; beside ``ANSWER_S``, for writes that come late."""
_TOLD = ["started", "completed", "stored"]
_TOLD_OF_NOTHING = ["started", "failed"], ["started", "completed", "failed"]
"""Of a recording of which nothing was in the tail when its node died."""
SETTLES_S = 300
"""How long after the last fault everything has to be delivered."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stage is like."""

    name: str
    sessions: int
    legs: int
    """At once, about."""
    length_s: float
    """Of a call, on average."""
    slot_s: float = 0.15
    nodes: int = 4
    kills_every_s: float | None = None
    cuts_every_s: float | None = None
    clocks_jump: bool = False
    outages: tuple[tuple[float, float, str], ...] = ()
    """When one begins, how long it lasts, of what: ``store``, ``slow store``, ``database``, ``engine``."""
    lasts_s: float | None = None
    """How long legs come; None: as long as they take."""
    unsure: float = 0.002
    tail_bytes: int = 8 << 20


@dataclass(slots=True, eq=False)
class Leg:
    """One end of a call, which talks all the time."""

    session_id: str
    loop: asyncio.AbstractEventLoop
    began_s: float
    length_us: int
    connected_us: int = 0
    call: Call | None = None
    via: Node | None = None
    """The node that relays it; None: it is at the owner's itself."""
    dropped: asyncio.Future[None] | None = None
    heard: list[tuple[int, int, str]] = field(default_factory=list)
    """When it was connected, and what ended that."""

    def now_us(self) -> int:
        """Return its own time: how much it has said."""
        return min(int((self.loop.time() - self.began_s) * 1e6), self.length_us)

    def is_killed(self) -> bool:
        """Return whether a node that it went through is no more."""
        nodes = [self.via, None if self.call is None else self.call.node]
        return any(node is not None and not node.is_up for node in nodes)

    def drop(self) -> None:
        """Lose its connection."""
        if self.dropped is not None and not self.dropped.done():
            self.dropped.set_result(None)


@dataclass(slots=True)
class Seen:
    """What is known of a session from outside."""

    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    is_stop_acknowledged: bool = False
    finished: set[str] = field(default_factory=set)
    """Recordings of the call that have their files, but for what was recorded apart from it."""


@dataclass(slots=True)
class Figures:
    """What a stage has shown."""

    kills: int = 0
    cuts: int = 0
    take_overs: int = 0
    returns_s: list[float] = field(default_factory=list)
    """From the connect of a leg, after its node was killed, to its call's going on."""
    from_kill_s: list[float] = field(default_factory=list)
    """The same from the kill on."""
    lost_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """What is missing of what was said to a node, by what ended that."""
    lasted_s: float = 0.0
    most_legs: int = 0
    batches: int = 0
    holes: int = 0
    faults: list[str] = field(default_factory=list)
    """What does not hold."""


class World:
    """One stage."""

    def __init__(self, plan: Plan, dice: random.Random, folder: Path) -> None:
        self.plan = plan
        self.dice = dice
        self.folder = folder
        self.slot_s = plan.slot_s
        self.segment_s = 90.0
        self.tail_bytes = plan.tail_bytes
        self.core = Core(dice, tail_age_s=600.0, max_payload_bytes=1 << 20, unsure=plan.unsure)
        self.store = Store(dice)
        self.database = Database(dice)
        self.nodes: dict[str, Node] = {}
        self.wall_off_s: dict[str, float] = {}
        self.figures = Figures()
        self._cuts: set[str] = set()
        """Nodes that nobody reaches."""
        self._reached_since_s: dict[str, float] = {}
        """When nodes were reached again."""
        self._seen: defaultdict[str, Seen] = defaultdict(Seen)
        self._legs: list[Leg] = []
        self._connected = 0
        self._killed_at_s: dict[str, float] = {}
        self._lives: dict[str, int] = {}
        """How often an entry was made."""
        self._epochs: dict[tuple[str, int, int], str] = {}
        self._last_numbers: dict[tuple[str, str, int, int], tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self.core.on_put = self._saw_entry
        self.core.on_publish = self._saw_message

    # ---- what nodes tell -------------------------------------------------------------------------------------------

    def is_cut(self, one: str, other: str) -> bool:
        """Return whether two nodes do not reach each other."""
        return one in self._cuts or other in self._cuts

    def new_key(self) -> str:
        """Return the key of a journal: the same ones in each run of a seed."""
        return f"{self.dice.getrandbits(128):032x}"

    def is_over(self, session_id: str) -> bool:
        """Return whether a session has its file."""
        return bool(self._seen[session_id].finished)

    def acknowledged(self, session_id: str, start_us: int, end_us: int) -> None:
        """Note what is in the tail."""
        ranges = self._seen[session_id].acknowledged
        if ranges and ranges[-1][1] == start_us:
            ranges[-1] = (ranges[-1][0], end_us)
        else:
            ranges.append((start_us, end_us))

    def stop_acknowledged(self, session_id: str) -> None:
        """Note that a stop was answered."""
        self._seen[session_id].is_stop_acknowledged = True

    def finished(self, session_id: str, recording: str) -> None:
        """Note that a session has its file; one that two nodes had claimed may have another already."""
        if recording in self._seen[session_id].finished:
            self._fault(f"session {session_id} was finished twice")
        self._seen[session_id].finished.add(recording)

    def _fault(self, text: str) -> None:
        if text not in self.figures.faults:
            self.figures.faults.append(text)

    def _saw_entry(self, node: str, entry: Entry, is_new: bool) -> None:
        if entry.key.startswith(PREFIX):
            owned = decode_owned(entry.value)
            self._lives[entry.key] = self._lives.get(entry.key, 0) + is_new
            has = self._epochs.setdefault((entry.key, self._lives[entry.key], owned.epoch), owned.node)
            if has != owned.node or owned.node != node:  # 1
                self._fault(f"epoch {owned.epoch} of {owned.session_id} is {has}'s and {owned.node}'s, says {node}")

            if len(owned.held) > 1 and self._is_recorded(owned.held[-2].node, owned.session_id):  # 4
                self._fault(f"{node} takes {owned.session_id}, whose leg is at {owned.held[-2].node}, which answers")

    def _is_recorded(self, holder: str, session_id: str) -> bool:
        """Return whether a node has the leg of a session, and was reached for long enough to say so."""
        node = self.nodes[holder]
        call = node.calls.get(session_id)
        if not node.is_up or holder in self._cuts or call is None or call.leg is None:
            return False
        leg_since_s = call.leg.began_s + call.leg.connected_us / 1e6
        since_s = max(node.up_since_s, self._reached_since_s.get(holder, 0.0), leg_since_s)
        return asyncio.get_running_loop().time() - since_s > ANSWERS_FOR_S

    def _saw_message(self, node: str, subject: str, payload: bytes, sequence: int) -> None:
        contents = unpack(payload)
        if not isinstance(contents, Contents):
            return
        if subject.split(".")[1] != node:
            self._fault(f"{node} writes into {subject}")
        self.figures.batches += len(contents.batches)
        for batch in contents.batches:
            whose = subject, batch.key, batch.epoch, self._lives.get(key_of(batch.session_id), 0)
            place = batch.number, batch.offset
            last = self._last_numbers.get(whose)
            if last is not None and place <= last:  # 5
                self._fault(f"batch {place} of {batch.key}, epoch {batch.epoch}, is behind a later one in {subject}")
            elif last is not None and not self.is_over(batch.session_id) and not self._has_stored(batch, last[0] + 1):
                self._fault(f"batch {place} of {batch.key}, epoch {batch.epoch}, follows {last} in {subject}")
            self._last_numbers[whose] = place

    def _has_stored(self, batch: TailBatch, first: int) -> bool:
        """Return whether the bucket has all batches of a journal from this one on that are before the given one."""
        missing = set(range(first, batch.number))
        if missing:
            for name in self.store.folders.get(folder_of(batch.session_id).rstrip("/"), ()):
                stored = stored_of(name)
                if stored is not None and stored.key == batch.key:
                    missing -= set(range(stored.first, stored.below))
        return not missing

    # ---- its course ------------------------------------------------------------------------------------------------

    async def run(self) -> Figures:
        """Run the stage to its end, and see what holds."""
        plan, loop = self.plan, asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(plan.nodes):
            self._start_node(f"n{number}")
        await asyncio.sleep(5.0)
        faults = [asyncio.create_task(each) for each in self._faults()]
        every_s = plan.length_s / plan.legs if plan.lasts_s is None else plan.lasts_s / plan.sessions
        for number in range(plan.sessions):
            task = asyncio.create_task(self._live(f"{number}"))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(self.dice.expovariate(1.0 / every_s))
        self._is_closing = True
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self.figures.lasted_s = loop.time() - began_s
        for fault in faults:
            await fault
        for _ in range(SETTLES_S):
            await asyncio.sleep(0.0 if self._is_settled() else 1.0)
        self.figures.take_overs = sum(epoch > 1 for *_, epoch in self._epochs)
        self._check()
        for node in self.nodes.values():
            node.kill()
        return self.figures

    def _start_node(self, name: str) -> None:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spool").mkdir(exist_ok=True)
        node = self.nodes[name] = Node(self, name, folder)
        node.process.spawn(node.run()).add_done_callback(self._started)

    def _started(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # of the simulation: the loop ends with it

    async def _live(self, session_id: str) -> None:
        """Talk for as long as the call lasts, at whichever node takes the leg."""
        dice, loop = self.dice, asyncio.get_running_loop()
        length_s = min(max(dice.expovariate(1.0 / self.plan.length_s), 1.0), 10 * self.plan.length_s)
        leg = Leg(session_id, loop, loop.time(), int(length_s * 1e6))
        self._legs.append(leg)
        killed_s: float | None = None
        tried_s: float | None = None
        while leg.now_us() < leg.length_us and not self.is_over(session_id):
            node = dice.choice([*self.nodes.values()])
            if not node.is_up or node.name in self._cuts:
                await asyncio.sleep(dice.uniform(0.1, 0.3))
                continue
            tried_s = loop.time() if tried_s is None else tried_s
            connected_us = leg.now_us()
            leg.via = None
            leg.dropped = loop.create_future()
            leg.connected_us = connected_us
            try:
                call = await node.process.spawn(node.accept(leg))
            except (Refused, asyncio.CancelledError):
                await asyncio.sleep(dice.uniform(0.2, 0.5))
                continue
            leg.call = call
            if killed_s is not None:
                self.figures.returns_s.append(loop.time() - tried_s)
                self.figures.from_kill_s.append(loop.time() - killed_s)
            self._connected += 1
            self.figures.most_legs = max(self.figures.most_legs, self._connected)
            left_s = (leg.length_us - leg.now_us()) / 1e6
            await asyncio.wait({leg.dropped}, timeout=max(left_s, 0.0))
            self._connected -= 1
            is_dropped = leg.dropped.done()
            at = call.node
            is_killed = leg.is_killed()
            if not is_dropped:
                leg.heard.append((connected_us, leg.now_us(), "hung up"))
                at.process.context.copy().run(at.hang_up, call)
                return
            leg.heard.append((connected_us, leg.now_us(), "kill" if is_killed else "cut"))
            if at.is_up:
                at.process.context.copy().run(at.lose, call, leg)
            tried_s = None
            killed_s = loop.time() if is_killed else None
            if dice.random() < 0.05:
                return  # it never comes back
            await asyncio.sleep(dice.uniform(0.1, 1.0))

    # ---- what goes wrong -------------------------------------------------------------------------------------------

    def _faults(self) -> list[Coroutine[Any, Any, None]]:
        plan = self.plan
        faults = [self._outage(*each) for each in plan.outages]
        if plan.kills_every_s is not None:
            faults.append(self._again(plan.kills_every_s, self._kill))
        if plan.cuts_every_s is not None:
            faults.append(self._again(plan.cuts_every_s, self._cut))
        return faults

    def _comes_more(self) -> bool:
        return not self._is_closing

    async def _again(self, every_s: float, fault: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        while self._comes_more():
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * every_s)
            up = [name for name, node in self.nodes.items() if node.is_up and name not in self._cuts]
            if len(up) > 1 and self._comes_more():
                await fault(self.dice.choice(up))

    async def _kill(self, name: str) -> None:
        self.figures.kills += 1
        node = self.nodes[name]
        if self.plan.clocks_jump:
            self.wall_off_s[name] = self.dice.choice([0.0, -3600.0, 86_400.0, 5.0])
        relayed = [leg for leg in self._legs if leg.via is node]
        node.kill()
        for leg in relayed:
            leg.drop()
        await asyncio.sleep(self.dice.choice([0.5, 3.0, 8.0, 20.0]))
        self._start_node(name)

    async def _cut(self, name: str) -> None:
        """Cut a node off: from the engine alone, or from everybody."""
        self.figures.cuts += 1
        self.core.cut_off(name, True)
        is_whole = self.dice.random() < 0.5
        if is_whole:
            self._cuts.add(name)
            node = self.nodes[name]
            for leg in self._legs:
                if leg.call is not None and (leg.call.node is node or leg.via is node):
                    leg.drop()
        await asyncio.sleep(self.dice.choice([1.0, 4.0, 20.0]))
        self._cuts.discard(name)
        self._reached_since_s[name] = asyncio.get_running_loop().time()
        self.core.cut_off(name, False)

    async def _outage(self, at_s: float, for_s: float, what: str) -> None:
        await asyncio.sleep(at_s)
        for is_away in (True, False):
            if what == "engine":
                self.core.set_away(is_away)
            elif what == "slow store":
                self.store.slow_s = 10.0 if is_away else 0.0
            elif what == "store":
                self.store.is_away = is_away
            else:
                self.database.is_away = is_away
            if is_away:
                await asyncio.sleep(for_s)

    # ---- what must hold --------------------------------------------------------------------------------------------

    def _is_settled(self) -> bool:
        return (
            not self.core.entries(PREFIX)
            and not any(folder.startswith(FOLDER) for folder in self.store.folders)
            and all(node.is_up and not node.calls and not node.ending for node in self.nodes.values())
            and not any(node.copier.waiting_bytes for node in self.nodes.values())
        )

    def _check(self) -> None:
        if not self._is_settled():
            entries = [decode_owned(entry.value) for entry in self.core.entries(PREFIX).values()]
            parts = {name: [*each] for name, each in self.store.folders.items() if name.startswith(FOLDER)}
            self._fault(
                f"not settled: {len(entries)} entries {[(each.session_id, each.node) for each in entries[:3]]}, "
                f"{len(parts)} parts {[*parts.items()][:3]}, "
                f"{[(node.name, node.is_up, len(node.calls)) for node in self.nodes.values()]}"
            )
        files: defaultdict[str, list[bytes]] = defaultdict(list)
        for name, content in self.store.folders.get(FILES, {}).items():
            files[name.partition(".")[0]].append(content)
        for leg in self._legs:
            session_id = leg.session_id
            seen = self._seen[session_id]
            told = [self.database.states[each] for each in self.database.of.get(session_id, ())]
            if any(states not in (_TOLD, *_TOLD_OF_NOTHING) for states in told):  # 5
                self._fault(f"session {session_id} was told of as {told}")
            contents = files[hash_of(session_id)]
            if len(contents) != told.count(_TOLD) or (seen.acknowledged and not contents):
                self._fault(f"session {session_id} has {len(contents)} files; its rows were {told}")
            ranges: list[tuple[int, int]] = []
            for content in contents:
                its = [(start, end) for start, end in msgspec.json.decode(content)]
                ranges += its
                for (_, end), (start, _) in pairwise(its):
                    if start < end:  # 2
                        self._fault(f"session {session_id} has samples twice, at {start} us: {its}")
            # A call that two nodes had claimed has two recordings; no connection of its leg is in both.
            ranges.sort()
            for start, end in seen.acknowledged:
                if missing_us(start, end, ranges):  # 3
                    self._fault(f"session {session_id} lost what was acknowledged: {start}..{end} of {ranges}")
            for start, end, why in leg.heard:
                self.figures.lost_ms[why].append(missing_us(start, end, ranges) / 1000)
        for node in self.nodes.values():
            if node.is_up and node.copier.waiting_bytes:
                self._fault(f"node {node.name} has {node.copier.waiting_bytes} bytes that nobody has taken")


def missing_us(start_us: int, end_us: int, ranges: list[tuple[int, int]]) -> int:
    """Return how much of a stretch is in none of these ranges, which go up."""
    has = sum(max(0, min(end, end_us) - max(start, start_us)) for start, end in ranges)
    return max(end_us - start_us - has, 0)
