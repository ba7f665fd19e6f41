"""The engine of the simulation: one log and one table for all nodes, and a network that loses answers on purpose.

1. What is asked takes a while. Now and then no answer comes; then it has counted, or not. Some messages come late,
   after whoever sent them has given up.
2. Nothing comes while the engine is away, or a node is cut off from it. What a watcher missed is told when it is back.
3. All changes of the table come to each watcher in the same order, each somewhat later, none older than what its own
   node was answered.
4. Messages expire. The last one of each subject goes with them, as in JetStream.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from bench.cluster.virtual_time import Process
from wavstream.cluster.engine import EngineAway, Entry, EntryChanged, Logged, WrongSequence

TIMEOUT_S = 1.0
"""After which nobody waits for an answer any more."""

OnPublish = Callable[[str, str, bytes, int], None]
"""Is told of each message that was taken: by whom, subject, payload, sequence."""
OnPut = Callable[[str, Entry, bool], None]
"""Is told of each entry that was written, by whom, and whether there was none."""


@dataclass(slots=True)
class _Subject:
    messages: deque[tuple[float, Logged]] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class _Watcher:
    node: str
    process: Process
    prefix: str
    on_change: Callable[[Entry], None]
    answered: dict[str, int]
    """By key, the revision that its own node was answered last."""
    next_at_s: float = 0.0
    missed: deque[tuple[Entry, int]] = field(default_factory=deque)


@dataclass(slots=True)
class Counts:
    """What the engine did."""

    messages: int = 0
    message_bytes: int = 0
    refused: int = 0
    changes: int = 0
    lost_answers: int = 0


class Core:
    """The engine itself."""

    def __init__(self, dice: random.Random, *, tail_age_s: float, max_payload_bytes: int, unsure: float) -> None:
        """``unsure``: the share of writes without an answer."""
        self.dice = dice
        self.tail_age_s = tail_age_s
        self.max_payload_bytes = max_payload_bytes
        self.unsure = unsure
        self.counts = Counts()
        self.on_publish: OnPublish = lambda *_: None
        self.on_put: OnPut = lambda *_: None
        self._is_away = False
        self._cut: set[str] = set()
        self._subjects: dict[str, _Subject] = {}
        self._entries: dict[str, dict[str, Entry]] = {}
        self._sequence = 0
        self._watchers: list[_Watcher] = []
        self._last_of: dict[tuple[int, str], tuple[int | None, bytes, int]] = {}

    # ---- faults ------------------------------------------------------------------------------------------------

    def set_away(self, is_away: bool) -> None:
        """Be away, or back."""
        self._is_away = is_away
        self._tell_missed()

    def cut_off(self, node: str, is_cut: bool) -> None:
        """Cut a node off, or have it back."""
        (self._cut.add if is_cut else self._cut.discard)(node)
        self._tell_missed()

    def reaches(self, node: str) -> bool:
        """Return whether a node and the engine hear each other."""
        return not self._is_away and node not in self._cut

    def entries(self, prefix: str) -> dict[str, Entry]:
        """Return what the table has."""
        return {key: entry for key, entry in self._entries.get(_group(prefix), {}).items() if key.startswith(prefix)}

    # ---- the log -----------------------------------------------------------------------------------------------

    def publish(self, node: str, process: Process, subject: str, payload: bytes, after: int | None) -> int:
        """Write a message; the same one that a process sends again may be known, or not (see ``ShardTail``, rule 2)."""
        known = self._last_of.get((id(process), subject))
        if known is not None and after is not None and known[:2] == (after, payload) and self.dice.random() < 0.5:
            return known[2]
        messages = self._alive(subject)
        if after is not None and after != (messages[-1][1].sequence if messages else 0):
            self.counts.refused += 1
            raise WrongSequence(subject)
        self._sequence += 1
        messages.append((asyncio.get_running_loop().time(), Logged(self._sequence, payload)))
        self.counts.messages += 1
        self.counts.message_bytes += len(payload)
        self._last_of[id(process), subject] = (after, payload, self._sequence)
        self.on_publish(node, subject, payload, self._sequence)
        return self._sequence

    def messages(self, subject: str, after: int) -> list[Logged]:
        """Return what a subject has behind a sequence."""
        found: list[Logged] = []
        for _, logged in reversed(self._alive(subject)):  # most ask for the last few of thousands
            if logged.sequence <= after:
                break
            found.append(logged)
        return found[::-1]

    def last(self, subject: str) -> int:
        """Return a subject's last sequence."""
        messages = self._alive(subject)
        return messages[-1][1].sequence if messages else 0

    def _alive(self, subject: str) -> deque[tuple[float, Logged]]:
        messages = self._subjects.setdefault(subject, _Subject()).messages
        expired = asyncio.get_running_loop().time() - self.tail_age_s
        while messages and messages[0][0] < expired:  # rule 4
            messages.popleft()
        return messages

    # ---- the table ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry:
        """Return an entry."""
        return self._entries.get(_group(key), {}).get(key, Entry(key, b"", 0))

    def put(self, node: str, key: str, value: bytes, after: int) -> int:
        """Write an entry; raise EntryChanged."""
        group = self._entries.setdefault(_group(key), {})
        known = group.get(key)
        if after != (0 if known is None else known.revision):
            raise EntryChanged(key)
        self._sequence += 1
        self.counts.changes += 1
        entry = Entry(key, value, self._sequence)
        if value:
            group[key] = entry
            self.on_put(node, entry, known is None)
        else:
            group.pop(key, None)
            entry = Entry(key, b"", 0)
        for watcher in self._watchers:
            if key.startswith(watcher.prefix):
                self._tell(watcher, entry, self._sequence)
        return self._sequence

    def watch(self, watcher: _Watcher) -> None:
        """Tell a watcher what there is, and each change from now on."""
        for entry in list(self._entries.get(_group(watcher.prefix), {}).values()):
            watcher.on_change(entry)
        self._watchers.append(watcher)

    def forget(self, process: Process) -> None:
        """Tell a process nothing more."""
        self._watchers = [each for each in self._watchers if each.process is not process]

    def _tell(self, watcher: _Watcher, entry: Entry, revision: int) -> None:
        if not self.reaches(watcher.node):
            watcher.missed.append((entry, revision))  # rule 2
            return
        loop = asyncio.get_running_loop()
        watcher.next_at_s = max(watcher.next_at_s + 1e-6, loop.time() + self.dice.uniform(0.001, 0.02))
        loop.call_at(watcher.next_at_s, self._hear, watcher, entry, revision, context=watcher.process.context)

    def _hear(self, watcher: _Watcher, entry: Entry, revision: int) -> None:
        if not watcher.process.is_dead and revision >= watcher.answered.get(entry.key, 0):  # rule 3
            watcher.on_change(entry)

    def _tell_missed(self) -> None:
        for watcher in self._watchers:
            if self.reaches(watcher.node):
                while watcher.missed:
                    self._tell(watcher, *watcher.missed.popleft())


def _group(key: str) -> str:
    return key.partition(".")[0]


class _Link:
    """A node's way to the engine."""

    def __init__(self, core: Core, process: Process) -> None:
        self.core = core
        self.process = process
        self.node = process.name

    async def ask(self, do: Callable[[], int]) -> int:
        """Have something written, and return its answer (rule 1)."""
        core, dice = self.core, self.core.dice
        await self.reach()
        roll = dice.random() / core.unsure if core.unsure else 1.0
        if roll < 1.0:
            core.counts.lost_answers += 1
            if roll < 0.4:
                _quietly(do)
            elif roll < 0.7:
                asyncio.get_running_loop().call_later(dice.uniform(0.0, 5.0), _quietly, do)
            await asyncio.sleep(TIMEOUT_S)
            raise EngineAway("no answer came in time")
        answer = do()
        await asyncio.sleep(dice.uniform(0.001, 0.008))
        if not core.reaches(self.node):
            raise EngineAway("no answer came in time")
        return answer

    async def reach(self) -> None:
        """Raise EngineAway unless there is a way."""
        await asyncio.sleep(self.core.dice.uniform(0.001, 0.008))
        if self.process.is_dead:
            raise asyncio.CancelledError
        if not self.core.reaches(self.node):
            await asyncio.sleep(TIMEOUT_S)
            raise EngineAway("the engine does not answer")


def _quietly(do: Callable[[], int]) -> None:
    try:
        do()
    except (WrongSequence, EntryChanged):
        return


class SimLog:
    """The log, as a node has it."""

    def __init__(self, core: Core, process: Process) -> None:
        self._link = _Link(core, process)
        self.max_payload_bytes = core.max_payload_bytes

    async def publish(self, subject: str, payload: bytes, *, after: int | None) -> int:
        """See ``Log``."""
        link = self._link
        return await link.ask(lambda: link.core.publish(link.node, link.process, subject, payload, after))

    async def last(self, subject: str) -> int:
        """See ``Log``."""
        await self._link.reach()
        return self._link.core.last(subject)

    async def newest(self, subject: str) -> Logged:
        """See ``Log``."""
        await self._link.reach()
        last = self._link.core.last(subject)
        return next(iter(self._link.core.messages(subject, last - 1)), Logged(0, b""))

    async def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Logged]:
        """See ``Log``."""
        await self._link.reach()
        for logged in self._link.core.messages(subject, after):
            yield logged


class SimTable:
    """The table, as a node has it."""

    def __init__(self, core: Core, process: Process) -> None:
        self._link = _Link(core, process)
        self._answered: dict[str, int] = {}

    async def get(self, key: str) -> Entry:
        """See ``Table``."""
        await self._link.reach()
        return self._link.core.get(key)

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        """See ``Table``."""
        link = self._link
        revision = await link.ask(lambda: link.core.put(link.node, key, value, after))
        self._answered[key] = max(revision, self._answered.get(key, 0))
        return revision

    async def delete(self, key: str, *, after: int) -> None:
        """See ``Table``."""
        link = self._link
        revision = await link.ask(lambda: link.core.put(link.node, key, b"", after))
        self._answered[key] = max(revision, self._answered.get(key, 0))

    async def watch(self, prefix: str, on_change: Callable[[Entry], None]) -> None:
        """See ``Table``."""
        await self._link.reach()
        link = self._link
        link.core.watch(_Watcher(link.node, link.process, prefix, on_change, self._answered))
