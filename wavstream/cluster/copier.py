"""Copies what is written to the journals here into the tails of the cluster: the shell of ``tail``.

1. The writer's thread only puts batches into a queue (``put``), and wakes the loop once for all of them. The loop hands
   them to their shards every ``GATHER_S``, at once where one has an event, so that a message is made for many. What the
   disk refuses comes before it is written (``put_unwritten``), and again until its shard has taken it.
2. Each shard has a task, which publishes what its ``ShardTail`` gives, one message at a time. Where another has written
   to the subject it reads what, and goes on behind it.
3. Who waits for a batch (``when_copied``) is told when it is in the tail, or after ``ANSWER_S``, or at once while the
   engine is known to be away: the disk has it.
4. What memory had no room for, or what was written before a restart, is read from the local journal, beside the loop.
5. A journal is forgotten once nobody needs it; a session that another has, at once (``lost``).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import structlog

from wavstream.cluster.engine import EngineAway, Log, Logged, WrongSequence
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, hash_of, tail_subject
from wavstream.cluster.tail import Behind, Copied, Room, ShardTail
from wavstream.cluster.tail_message import TailBatch
from wavstream.journal.journal import Journal
from wavstream.journal.outline import Outline
from wavstream.journal.raw_batches import batches_from

GATHER_S = 0.01
"""The sessions of a shard are visited together (``ticker``), so what a visit brings of all of them is one message. With
a visit every 150 ms, and 10 ms for three replicas, what a kill takes stays below a quarter of a second."""
ANSWER_S = 1.0
RETRY_S = 0.25
READ_BYTES = 4 * 1_048_576
_LOOK_S = 0.02

log = structlog.get_logger(__name__)


class _Known(NamedTuple):
    """A journal that is copied."""

    session_id: str
    app_id: str
    epoch: int
    shard: int
    journal: Journal | None = None
    """Once something of it was put."""


@dataclass(slots=True)
class CopyCounts:
    """What was copied since the start."""

    messages: int = 0
    message_bytes: int = 0
    refused: int = 0
    """Writes that a fence of another node has refused."""
    read_back: int = 0
    """Batches that were read from the local journal."""


@dataclass(slots=True, eq=False)
class _Shard:
    subject: str
    tail: ShardTail
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    came_s: float | None = None
    """When the first came of what is in no message yet; of what is read back (rule 4) it is not known: no later."""
    flies_since_s: float | None = None
    """When the first came of what is in the message."""
    task: asyncio.Task[None] | None = None

    def took_message(self) -> None:
        """Note that the tail has given the next message, or the same one again."""
        if self.flies_since_s is None:
            self.flies_since_s = self.came_s
            if not self.tail.is_behind:
                self.came_s = None


class Copier:
    """The copier of one node. All but ``put`` is for the event loop."""

    def __init__(
        self, engine_log: Log, *, node: str, owners: Owners, folder: Path, tail_bytes: int, tail_age_s: float
    ) -> None:
        """``folder``: of the journals; ``tail_bytes``: of memory for what the engine has not taken yet."""
        self._log = engine_log
        self._node = node
        self._owners = owners
        self._folder = folder
        self._tail_age_s = tail_age_s
        self._room = Room(tail_bytes)
        self._loop = asyncio.get_running_loop()
        self._came: deque[tuple[Journal, int, int, bytes, bool, bool]] = deque()
        self._is_woken = False
        self._gathering: asyncio.TimerHandle | None = None
        self._shards: dict[int, _Shard] = {}
        self._known: dict[str, _Known] = {}
        self._unowned: dict[str, list[TailBatch]] = {}
        self._waiting: defaultdict[str, list[tuple[int, Callable[[], None]]]] = defaultdict(list)
        self._lost: set[str] = set()
        """Sessions that others have, and of which a tail of ours may have something."""
        self._away_since_s: float | None = None
        self.counts = CopyCounts()

    @property
    def away_s(self) -> float:
        """For how long the engine has taken nothing; 0: it does."""
        return 0.0 if self._away_since_s is None else self._loop.time() - self._away_since_s

    @property
    def waiting_bytes(self) -> int:
        """Bytes in memory that the engine has not taken yet."""
        return self._room.taken_bytes

    @property
    def behind_s(self) -> float:
        """How old the oldest is of what the engine has not taken yet: what a kill would take of a leg now."""
        since = [each for shard in self._shards.values() for each in (shard.came_s, shard.flies_since_s)]
        return max((self._loop.time() - each for each in since if each is not None), default=0.0)

    # ---- what is written here --------------------------------------------------------------------------------------

    def put(self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool) -> None:
        """Take a batch that is in its file; called by the writer's thread, for every batch (rule 1)."""
        self._put(journal, segment, number, payload, has_event, True)

    def put_unwritten(self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool) -> bool:
        """Take a batch that the disk refuses; return False if there is no room; called by the writer's thread."""
        if self._room.is_short:
            return False
        self._put(journal, segment, number, payload, has_event, False)
        return True

    def _put(
        self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool, is_written: bool
    ) -> None:
        self._came.append((journal, segment, number, payload, has_event, is_written))
        if has_event or not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._gather if has_event else self._gather_soon)

    def when_copied(self, journal: Journal, number: int, then: Callable[[], None]) -> None:
        """Call ``then`` when all batches of the journal below this number are copied (rule 3)."""
        self._gather()
        if self._away_since_s is not None or self.copied_through(journal.key) >= number - 1:
            then()
            return
        self._waiting[journal.key].append((number - 1, then))
        self._loop.call_later(ANSWER_S, self._wait_no_more, journal.key, number - 1, then)

    def goes_on(
        self, owned: Owned, key: str, app_id: str, *, segment: int, copied: int, outline: Outline | None = None
    ) -> None:
        """Note a journal that goes on here in a new epoch: what is behind ``copied`` is only here.

        ``segment``: in which that begins, or an earlier one. ``outline``: of all before it; None: there is none.
        """
        start = owned.holder.starts[key]
        self._known[key] = _Known(owned.session_id, app_id, owned.epoch, owned.shard)
        shard = self._shard(owned.shard)
        shard.tail.goes_on(
            key,
            owned.session_id,
            owned.epoch,
            segment=segment,
            number=start.number,
            copied=copied,
            outline=Outline() if copied < 0 else outline,
        )
        shard.woken.set()

    def copied_through(self, key: str) -> int:
        """Return the number of the last batch up to which a journal is copied; -1: none is."""
        known = self._known.get(key)
        return -1 if known is None else self._shard(known.shard).tail.replicated_through(key)

    def stored(self, key: str, segment: int, number: int) -> None:
        """Note that the bucket has a segment with this last batch, and all before it."""
        if (known := self._known.get(key)) is not None:
            copied = self._shard(known.shard).tail.stored(key, segment, number)
            self._tell([copied] if copied is not None else [])

    def closed(self, keys: Iterable[str]) -> None:
        """Forget journals that nobody needs any more (rule 5)."""
        for key in keys:
            if (known := self._known.pop(key, None)) is not None:
                self._shard(known.shard).tail.closed(key)

    @property
    def keys(self) -> frozenset[str]:
        """The journals that are copied."""
        return frozenset(self._known)

    def lost(self, owned: Owned) -> None:
        """Copy nothing more of a session that another has, as ``owned`` says (rule 5)."""
        self._lost.add(owned.session_id)
        for key in [key for key, known in self._known.items() if known.session_id == owned.session_id]:
            del self._known[key]
        for shard in self._shards.values():
            # Ours of the same epoch, too: it was never in the table (``Owners``, rule 3).
            shard.tail.lost(hash_of(owned.session_id), owned.epoch + 1)

    def look_after_lost(self) -> None:
        """Note which sessions that were lost are over by now."""
        for session_id in [each for each in self._lost if self._owners.owner(each) is None]:
            self._lost.discard(session_id)
            for shard in self._shards.values():
                shard.tail.freed(hash_of(session_id))

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was written so far is copied; return False if that takes longer."""
        give_up = self._loop.time() + timeout_s
        while True:
            self._gather()
            if not self._came and all(shard.tail.is_idle for shard in self._shards.values()):
                return True
            if self._loop.time() >= give_up:
                return False
            await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        """Copy nothing more."""
        if self._gathering is not None:
            self._gathering.cancel()
        tasks = [shard.task for shard in self._shards.values() if shard.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- within ----------------------------------------------------------------------------------------------------

    def _gather_soon(self) -> None:
        if self._gathering is None:
            self._gathering = self._loop.call_later(GATHER_S, self._gather)

    def _gather(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        self._is_woken = False  # before the queue is emptied: who puts into it from here on wakes the loop again
        came = self._came
        woken: dict[_Shard, None] = {}
        while came:
            journal, segment, number, payload, has_event, is_written = came.popleft()
            known = None if journal.is_let_go else self._known.get(journal.key) or self._learn(journal)
            if known is None:
                continue
            if known.journal is not journal:
                known = self._known[journal.key] = known._replace(journal=journal)
            shard = self._shard(known.shard)
            batch = TailBatch(
                journal.key, known.app_id, known.session_id, segment, number, known.epoch, has_event, payload
            )
            if shard.tail.add(batch, is_written=is_written) and not is_written:
                journal.given_below = number + 1
            woken[shard] = None
        for shard in woken:
            shard.woken.set()
            if shard.came_s is None:
                shard.came_s = self._loop.time()

    def _learn(self, journal: Journal) -> _Known | None:
        owned = self._owners.owner(journal.session_id)
        if owned is None or owned.node != self._node:
            return None
        known = self._known[journal.key] = _Known(journal.session_id, journal.app_id, owned.epoch, owned.shard)
        return known

    def _shard(self, number: int) -> _Shard:
        shard = self._shards.get(number)
        if shard is None:
            tail = ShardTail(max_payload_bytes=self._log.max_payload_bytes, room=self._room)
            shard = self._shards[number] = _Shard(tail_subject(self._node, number), tail)
            shard.task = asyncio.create_task(self._run(shard), name=f"tail {number}")
            self._loop.call_later(self._tail_age_s, tail.earlier_expired)
        return shard

    def _wait_no_more(self, key: str, number: int, then: Callable[[], None]) -> None:
        if (number, then) in self._waiting.get(key, ()):
            self._waiting[key].remove((number, then))
            then()

    def _tell(self, copied: Iterable[Copied]) -> None:
        for key, through in copied:
            if (known := self._known.get(key)) is not None and known.journal is not None:
                known.journal.copied_below = through + 1
            if waiting := self._waiting.pop(key, None):
                self._waiting[key] = [each for each in waiting if each[0] > through]
                for number, then in waiting:
                    if number <= through:
                        then()
                if not self._waiting[key]:
                    del self._waiting[key]

    # ---- one shard -------------------------------------------------------------------------------------------------

    async def _run(self, shard: _Shard) -> None:
        while True:
            try:
                await self._work(shard)
                await shard.woken.wait()
                shard.woken.clear()
            except EngineAway as error:
                self._note_away(error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("tail_failed", subject=shard.subject)
                await asyncio.sleep(RETRY_S)

    async def _work(self, shard: _Shard) -> None:
        """Publish what there is, and read back what there is room for; raise EngineAway."""
        tail = shard.tail
        while True:
            if tail.is_refused:
                await self._resolve(shard)
            if (message := tail.next_message()) is not None:
                shard.took_message()
                try:
                    sequence = await self._log.publish(shard.subject, message.payload, after=message.after)
                except WrongSequence:  # rule 2
                    self.counts.refused += 1
                    tail.refused()
                except BaseException:
                    tail.unknown()
                    raise
                else:
                    shard.flies_since_s = None
                    self._note_back()
                    self.counts.messages += 1
                    self.counts.message_bytes += len(message.payload)
                    self._tell(tail.acked(sequence))
            elif behind := tail.behind():
                for each in behind:
                    await self._read_back(shard, each)
            else:
                shard.came_s = shard.flies_since_s = None
                return

    async def _resolve(self, shard: _Shard) -> None:
        tail = shard.tail
        last = await self._log.last(shard.subject)
        after = tail.after if tail.after else max(last - 1, 0)
        found: list[Logged] = [logged async for logged in self._log.read(shard.subject, after=after)] if last else []
        last = max([last, *(logged.sequence for logged in found)])
        resolved = tail.resolve(found, last)
        self._tell(resolved.copied)
        for fence in resolved.fences:
            log.warning("tail_fenced", subject=shard.subject, by=fence.by, sessions=len(fence.sessions))
        self._note_back()

    async def _read_back(self, shard: _Shard, behind: Behind) -> None:
        """Read what is only in the local journal (rule 4)."""
        known = self._known.get(behind.key)
        if known is None:
            shard.tail.closed(behind.key)
            return
        try:
            found = await asyncio.to_thread(
                batches_from, self._folder, behind.key, behind.segment, behind.number, max_bytes=READ_BYTES
            )
        except OSError as error:
            log.warning("journal_not_read_back", journal=behind.key, error=str(error))
            found = []
        if not found:
            shard.tail.not_to_be_read(behind.key)
            return
        self.counts.read_back += len(found)
        batches = [
            TailBatch(behind.key, known.app_id, known.session_id, segment, number, known.epoch, has_event, payload)
            for segment, number, has_event, payload in found
        ]
        shard.tail.read_back(behind.key, batches)

    def _note_away(self, error: EngineAway) -> None:
        if self._away_since_s is None:
            self._away_since_s = self._loop.time()
            log.warning("tail_waits", error=str(error))
            for waiting in list(self._waiting.values()):  # rule 3
                for _, then in waiting:
                    then()
            self._waiting.clear()

    def _note_back(self) -> None:
        if self._away_since_s is not None:
            log.info("tail_goes_on", after_s=round(self.away_s, 1))
            self._away_since_s = None
