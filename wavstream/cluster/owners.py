"""Whose each session is: this node's claims, and what it hears of those of the others.

1. A write whose answer does not come, or not soon, may count. The entry is read before anything else is done; what
   stands there and is word for word what was to be written is a success.
2. What is written of one session is written in turn.
3. While the engine is away, a session that nobody has is this node's after ``claim_wait_s``. Its entry is made later;
   whoever has made one by then has the session, and it is lost here as any other that was taken. Until then it cannot
   be changed, as the engine is away: to say that another has changed it would have whoever asks try again at once.
4. An entry of ours that nobody has deleted and that is gone, since NATS has lost what it had, is made again.
5. Who has stood still may have lost sessions without having heard of it. Each of them is in doubt until its entry was
   read: else a pause would be answered here and the call be recorded on elsewhere.
6. What is being let go of is nobody's here from then on: what begins meanwhile is claimed anew, behind that. If the
   engine does not answer, it is ours again, as far as is known; where it was deleted all the same, rule 4 holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from wavstream.cluster.engine import ANSWER_S, EngineAway, Entry, EntryChanged, Table
from wavstream.cluster.ownership import (
    PREFIX,
    Kind,
    Owned,
    Ownership,
    Start,
    Write,
    decode_owned,
    key_of,
    shard_of,
)
from wavstream.sessions.keyed_locks import KeyedLocks

RETRY_S = 0.2
AT_LEAST_S = 0.5
"""One try is made in any case."""

log = structlog.get_logger(__name__)

LostCallback = Callable[[Owned], None]
"""Is told, on the loop, who has a session that was ours; it must not wait."""


class Owners:
    """All sessions of the cluster, and who has them. ``start`` before all else."""

    def __init__(self, table: Table, *, node: str, shards: int, claim_wait_s: float) -> None:
        self._table = table
        self._node = node
        self._shards = shards
        self._claim_wait_s = claim_wait_s
        self._ownership = Ownership(node)
        self._locks = KeyedLocks()
        self._unwritten: dict[str, Owned] = {}
        """Ours, and not in the table yet (rule 3)."""
        self._releasing: set[str] = set()
        """Keys of ours that are being deleted by ourselves (rule 4)."""
        self._in_doubt: set[str] = set()
        """Ours, as far as was heard before this process stood still (rule 5)."""
        self.hands_over = False
        """This node goes by itself, and NATS has all that it wrote: what others take now was handed over."""
        self.handed_over = False
        """It went so before this start."""
        self._on_lost: list[LostCallback] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Read whose each session is, and hear what changes; raise EngineAway."""
        await self._table.watch(PREFIX, self._changed)

    async def stop(self) -> None:
        """Write nothing more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what is known -----------------------------------------------------------------------------------------

    def owner(self, session_id: str) -> Owned | None:
        """Return who has the session, dead or alive; None: nobody, as far as is known here."""
        owned = self._known(session_id)
        return None if owned is not None and key_of(session_id) in self._releasing else owned  # rule 6

    def is_own(self, session_id: str) -> bool:
        """Return whether this node has it, also while it lets go of it."""
        return (owned := self._known(session_id)) is not None and owned.node == self._node

    def is_in_doubt(self, session_id: str) -> bool:
        """Return whether the session has to be looked up before anything of it is answered (rule 5)."""
        return session_id in self._in_doubt

    def doubt(self) -> None:
        """Note that this process has stood still (rule 5)."""
        self._in_doubt = {owned.session_id for owned in self.of_node(self._node)}

    def of_node(self, name: str) -> Iterator[Owned]:
        """Yield the sessions of a node."""
        yield from self._ownership.of_node(name)
        if name == self._node:
            yield from tuple(self._unwritten.values())

    def counts(self) -> Mapping[str, int]:
        """Return how many sessions each node has in the table."""
        return self._ownership.counts()

    @property
    def unwritten(self) -> int:
        """How many sessions are this node's for as long as the engine is away (rule 3)."""
        return len(self._unwritten)

    def on_lost(self, callback: LostCallback) -> None:
        """Call this when another node has taken a session from this one."""
        self._on_lost.append(callback)

    def tell_let_go(self, owned: Owned, recordings: Sequence[str], *, of_before: bool = False) -> None:
        """Tell the log that nothing more is done here with a session that another has; ``of_before``: this start."""
        if self.handed_over if of_before else self.hands_over:
            log.info("session_handed_over", session_id=owned.session_id, node=owned.node)
        else:
            log.warning("session_let_go", session_id=owned.session_id, node=owned.node, recordings=recordings)

    # ---- what is asked for -------------------------------------------------------------------------------------

    async def claim(self, session_id: str, app_id: str | None) -> Owned:
        """Make the session ours if nobody has it, and return who has it; waits for the engine (rule 3)."""
        if (owned := self.owner(session_id)) is not None:
            return owned
        give_up = asyncio.get_running_loop().time() + max(self._claim_wait_s, AT_LEAST_S)
        async with self._locks.of(session_id):
            while (owned := self._known(session_id)) is None:
                write = self._ownership.claim(session_id, app_id, self._shard(session_id))
                try:
                    async with asyncio.timeout_at(give_up):
                        await self._put(write)
                except EntryChanged:
                    continue  # who has it was read
                except (EngineAway, TimeoutError):
                    if asyncio.get_running_loop().time() >= give_up:
                        return self._claim_later(write)
                    await asyncio.sleep(RETRY_S)
            return owned

    async def look_up(self, session_id: str) -> None:
        """Read whose a session in doubt is; while the engine is away it stays ours, as all others do (rule 3)."""
        if session_id not in self._in_doubt:
            return
        with suppress(EngineAway, TimeoutError):
            async with asyncio.timeout(max(self._claim_wait_s, AT_LEAST_S)):
                self._changed(await self._table.get(key_of(session_id)))
        self._in_doubt.discard(session_id)

    async def take(self, owned: Owned) -> Owned:
        """Make a session ours that ``owned`` says somebody has; raise EntryChanged if it is so no more, EngineAway."""
        async with self._locks.of(owned.session_id):
            return await self._change(owned, self._ownership.take(owned, self._shard(owned.session_id)))

    async def note_joined(
        self, session_id: str, starts: Mapping[str, Start], tails: Mapping[int, tuple[int, int]]
    ) -> Owned:
        """Write from where on we go on with the session's journals; raise EntryChanged if it is ours no more."""
        async with self._locks.of(session_id):
            owned = self._own(session_id)
            return await self._change(owned, self._ownership.joined(owned, starts, tails))

    async def note_stored(self, session_id: str) -> Owned:
        """Write that all that those before us had is in the bucket; raise EntryChanged, EngineAway."""
        async with self._locks.of(session_id):
            owned = self._own(session_id)
            return await self._change(owned, self._ownership.stored(owned))

    async def release(self, session_id: str) -> None:
        """Delete the session's entry if it is ours (rule 6); raise EngineAway, to be tried again later."""
        key = key_of(session_id)
        self._releasing.add(key)
        try:
            async with self._locks.of(session_id):
                self._unwritten.pop(session_id, None)
                self._in_doubt.discard(session_id)
                while self._ownership.is_own(session_id):
                    await self._delete(key, self._ownership.revision(session_id))
        finally:
            self._releasing.discard(key)

    # ---- within ------------------------------------------------------------------------------------------------

    def _known(self, session_id: str) -> Owned | None:
        return self._ownership.owner(session_id) or self._unwritten.get(session_id)

    def _shard(self, session_id: str) -> int:
        return shard_of(session_id, self._shards)

    def _own(self, session_id: str) -> Owned:
        owned = self._ownership.owner(session_id)
        if owned is None or owned.node != self._node:
            raise EntryChanged(key_of(session_id))
        return owned

    async def _change(self, owned: Owned, write: Write) -> Owned:
        now = self._ownership.owner(owned.session_id)
        if now is None and self._unwritten.get(owned.session_id) == owned:  # rule 3: there is nothing to change yet
            raise EngineAway("the session's entry is not written yet")
        if now != owned:
            raise EntryChanged(write.key)
        await self._put(write)
        return decode_owned(write.value)

    async def _put(self, write: Write) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                revision = await self._table.put(write.key, write.value, after=write.after)
        except (EngineAway, EntryChanged, TimeoutError) as error:  # rule 1
            entry = await self._table.get(write.key)
            self._changed(entry)
            if entry.value != write.value:
                if isinstance(error, TimeoutError):
                    raise EngineAway("no answer came in time") from error
                raise
        else:
            self._changed(Entry(write.key, write.value, revision))

    async def _delete(self, key: str, revision: int) -> None:
        try:
            await self._table.delete(key, after=revision)
        except (EngineAway, EntryChanged):  # rule 1
            entry = await self._table.get(key)
            self._changed(entry)
        else:
            self._changed(Entry(key, b"", 0))

    def _claim_later(self, write: Write) -> Owned:
        owned = decode_owned(write.value)
        log.warning("session_claimed_later", session_id=owned.session_id)
        self._unwritten[owned.session_id] = owned
        self._spawn(self._write_later(owned))
        return owned

    async def _write_later(self, owned: Owned) -> None:
        """Make an entry of ours once the engine is back (rules 3 and 4)."""
        write = self._ownership.again(owned)
        while True:
            async with self._locks.of(owned.session_id):
                if owned.session_id not in self._unwritten:
                    return  # it is over
                try:
                    await self._put(write)
                except EntryChanged:
                    now = self._ownership.owner(owned.session_id)
                except EngineAway:
                    now = None
                else:
                    self._unwritten.pop(owned.session_id, None)
                    return
                if now is not None:
                    self._unwritten.pop(owned.session_id, None)
                    if now.node != self._node:
                        self._lost(now)
                    return
            await asyncio.sleep(RETRY_S)

    def _changed(self, entry: Entry) -> None:
        try:
            change = self._ownership.apply(entry)
        except msgspec.DecodeError as error:
            log.error("cluster_entry_unreadable", key=entry.key, error=str(error))
            return
        if change is None or change.before is None:
            return
        if change.kind is Kind.LOST and change.now is not None:
            self._lost(change.now)
        elif change.kind is Kind.FREED and entry.key not in self._releasing:  # rule 4
            log.warning("session_entry_gone", session_id=change.session_id)
            self._unwritten[change.session_id] = change.before
            self._spawn(self._write_later(change.before))

    def _lost(self, owned: Owned) -> None:
        if not self.hands_over:
            log.warning("session_lost", session_id=owned.session_id, node=owned.node)
        for callback in self._on_lost:
            try:
                callback(owned)
            except Exception:
                log.exception("node_callback_failed", node=owned.node)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="session entry")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("session_entry_not_written", exc_info=error)
