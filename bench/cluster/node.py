"""A node of the simulation: the real life, owners, copier, body, joiner and take-overs, above journals of real files.

What is not here is the recording itself: a call is a journal of which samples its leg said when, and its file is the
list of those. Rules:

1. Each call is visited once a slot, those of a shard together, as the ticker does it.
2. A stop is answered when its record is in the tail, or after a second (``Copier.when_copied``).
3. A file is made from the local journal; then its row is written, then the file is uploaded, then its row says so, and
   only then the journal goes, the bucket's part first, and the session's entry last.
4. A process that is started again asks for each session of which it has a journal before it answers anybody.
5. A leg waits at the node that it has reached until somebody has its session, so long as ``cluster.claim_wait_s``.
6. What was begun here while another had claimed the session is a recording of its own, which ends (``TakeOvers``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.cluster.engine import SimLog, SimTable
from bench.cluster.outside import APP, FILES, Database, Row
from bench.cluster.virtual_time import Process
from wavstream.catalog.nodes import Owner
from wavstream.cluster.body import Body
from wavstream.cluster.copier import Copier
from wavstream.cluster.engine import EngineAway, EntryChanged
from wavstream.cluster.joiner import Joiner
from wavstream.cluster.kept_aside import KeptAside
from wavstream.cluster.membership import NodeState
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import hash_of, shard_of
from wavstream.cluster.take_over import TakeOvers
from wavstream.errors import DependencyError, StoreError, TakenElsewhere
from wavstream.journal.journal import Journal
from wavstream.journal.outline import OutlinedJournal
from wavstream.journal.raw_batches import raw_batches
from wavstream.journal.records import RECORD, RecordKind
from wavstream.journal.segment_reader import read_header_of
from wavstream.journal.segments import SegmentFile, delete_segments, journals_in, segment_path
from wavstream.recovery.restoring import Taken
from wavstream.removals import Removals

if TYPE_CHECKING:
    from bench.cluster.world import Leg, World

WAITS_FOR_LEG_S = 10.0
RETRY_S = 1.0
_EMPTY_FOR_S = 10.0
CLAIM_WAIT_S = 5.0
LOOK_S = 0.1
"""How often a leg that waits looks again, as in ``hand_overs``."""
SHARDS = 8


class Refused(Exception):
    """A leg was not taken: it comes again."""


def spoken(start_us: int, end_us: int, now_us: int) -> bytes:
    """Return the record of what a leg said between two places of its time."""
    said = (end_us - start_us).to_bytes(4, "little")
    return RECORD.pack(len(said), RecordKind.FRAME, 0, 0, now_us, start_us) + said


def stop(now_us: int) -> bytes:
    """Return the record of a stop."""
    return RECORD.pack(0, RecordKind.EVENT, 0, 0, now_us, 0)


@dataclass(slots=True)
class Told:
    """What a journal has."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    is_stopped: bool = False


def told_by(payloads: Sequence[bytes]) -> Told:
    """Return what the batches of a journal tell, in their order."""
    told = Told()
    for payload in payloads:
        at = 0
        while at < len(payload):
            length, kind, _, _, _, position = RECORD.unpack_from(payload, at)
            at += RECORD.size
            if kind == RecordKind.EVENT:
                told.is_stopped |= True
            else:
                said = int.from_bytes(payload[at : at + length], "little")
                if not said:
                    pass  # the start
                elif told.ranges and told.ranges[-1][1] == position:
                    told.ranges[-1] = (told.ranges[-1][0], position + said)
                else:
                    told.ranges.append((position, position + said))
            at += length
    return told


class Call:
    """A session that is recorded here."""

    def __init__(self, node: Node, session_id: str, journal: Journal, *, heard_us: int = 0) -> None:
        self.node = node
        self.session_id = session_id
        self.shard = shard_of(session_id, SHARDS)
        self.journal = journal
        self.file: SegmentFile | None = None
        self.leg: Leg | None = None
        self.heard_us = heard_us
        """Up to where the leg's time is in the journal."""
        self.is_ended = False
        self.silent_since_s = node.now_s()
        self.unacked: deque[tuple[int, int, int]] = deque()
        """Batches that nobody has acknowledged: number, and what was said in it."""

    def visit(self) -> None:
        """Write what the leg has said since the last visit."""
        if self.leg is not None:
            start_us = max(self.heard_us, self.leg.connected_us)
            end_us = self.leg.now_us()
            if end_us > start_us:
                self.unacked.append((self.journal.next_number, start_us, end_us))
                self.journal.append(spoken(start_us, end_us, end_us))
                self.heard_us = end_us
        self.write()
        copied = self.node.copier.copied_through(self.journal.key)
        while self.unacked and self.unacked[0][0] <= copied:
            _, start_us, end_us = self.unacked.popleft()
            self.node.world.acknowledged(self.session_id, start_us, end_us)

    def write(self) -> None:
        """Write what was appended to the file, as ``JournalWriter`` does, and hand it to the copier."""
        journal = self.journal
        journal.flush()
        journal.unsubmitted_bytes = 0
        while journal.queue:
            entry = journal.queue.popleft()
            assert isinstance(entry, tuple)
            segment, payload, has_event = entry
            if segment > journal.loop_segment or self.file is None:
                self.close()
                journal.loop_segment = segment
                self.file = SegmentFile(
                    self.node.folder, key=journal.key, app_id=APP, session_id=self.session_id, segment=segment
                )
            number = journal.next_number
            self.file.write(number, payload, is_twice=has_event)
            journal.next_number += 1
            journal.written = self.file.position
            self.node.copier.put(journal, segment, number, payload, has_event)

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def drop(self) -> None:
        """Let go of the leg."""
        if self.leg is not None:
            self.leg.drop()
            self.leg = None


def file_of(call: Call) -> str:
    """Return the name of the file that is made of a call."""
    return f"{FILES}/{hash_of(call.session_id)}.{call.journal.key}"


class _Leases:
    """Which journals are needed: those of calls, until their files are in the store."""

    def __init__(self) -> None:
        self.needed: dict[str, Journal] = {}

    def journals(self) -> list[Journal]:
        """Return them."""
        return list(self.needed.values())

    def first_segment(self, _key: str) -> int:
        """Return the first that is needed: all are."""
        return 1


class _Sessions:
    """What take-overs ask of ``Sessions``: legs of a session wait from ``defer`` to ``let_in``."""

    def __init__(self) -> None:
        self.deferred: dict[str, asyncio.Event] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def defer(self, _app_id: str, session_id: str) -> None:
        """Have them wait."""
        self.deferred.setdefault(session_id, asyncio.Event())

    def let_in(self, session_id: str) -> None:
        """Have them wait no more."""
        if (deferred := self.deferred.pop(session_id, None)) is not None:
            deferred.set()

    async def settled(self, session_id: str) -> None:
        """Return when they may go on."""
        if (deferred := self.deferred.get(session_id)) is not None:
            await deferred.wait()


class _Rows:
    """The rows as one node has them; ``catalog.nodes.Nodes``."""

    def __init__(self, database: Database, node: str, keep: Callable[[str], None]) -> None:
        self._database = database
        self._node = node
        self.keep = keep
        self.take = database.take

    async def of_session(self, session_id: str) -> list[Row]:
        """Return the recordings of a session that this node has and that are not in the store."""
        return await self._database.of_session(session_id, self._node)

    async def are_settled(self, _recording_ids: Sequence[str]) -> bool:
        """Return whether nobody needs the journal of these any more."""
        return False


class Node:
    """One process of a node, from its start to its death."""

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self.world = world
        self.name = name
        self.folder = folder
        self.process = Process(name)
        self.calls: dict[str, Call] = {}
        self.is_up = False
        self.up_since_s = 0.0
        self.leases = _Leases()
        self._sessions = _Sessions()
        self._joining: dict[str, asyncio.Event] = {}
        """By journal: set when what was before our part of it is in the folder."""
        self._kept: set[str] = set()
        """Sessions of which what is here is a recording of its own (rule 6)."""
        self.ending: dict[str, Call] = {}
        """Those recordings, by their journals."""
        self._wanted: set[str] = set()
        """Sessions of which a leg is being taken."""

    def now_s(self) -> float:
        """Return the time of the process."""
        return asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Start, and go on until killed; begin again where the engine is away."""
        world, name = self.world, self.name
        table: Any = SimTable(world.core, self.process)
        engine_log: Any = SimLog(world.core, self.process)
        self.owners = Owners(table, node=name, shards=SHARDS, claim_wait_s=CLAIM_WAIT_S)
        self.life = NodeLife(
            table,
            state=NodeState(name=name, installation=name),
            lease_s=2.0,
            load=lambda: 0.1,
            is_draining=lambda: False,
            now_us=lambda: int(self.now_s() * 1e6),
            wall_us=lambda: int((self.now_s() + world.wall_off_s.get(name, 0.0)) * 1e6),
        )
        await self._until(self.owners.start)
        await self._until(self.life.start)
        store: Any = world.store
        rows: Any = _Rows(world.database, name, self._keep)
        self.copier = Copier(
            engine_log,
            node=name,
            owners=self.owners,
            folder=self.folder,
            tail_bytes=world.tail_bytes,
            tail_age_s=world.core.tail_age_s,
        )
        leases: Any = self.leases
        self.body = Body(
            store,
            node=name,
            folder=self.folder,
            segment_s=world.segment_s,
            leases=leases,
            copier=self.copier,
            owners=self.owners,
        )
        parts: Any = self
        sessions: Any = self._sessions
        self.take_overs = TakeOvers(
            node=name,
            owners=self.owners,
            life=self.life,
            joiner=Joiner(engine_log, node=name, store=store, folder=self.folder, spool=self.folder / "spool"),
            rows=rows,
            aside=KeptAside(self.folder, rows=rows, removals=Removals(), kept=timedelta(days=1)),
            copier=self.copier,
            body=self.body,
            folder=self.folder,
            sessions=sessions,
            recorder=parts,
            recovery=parts,
            ask_dead=self.ask_dead,
        )
        await self._bring_back()
        self.is_up, self.up_since_s = True, self.now_s()
        for work in (
            self.take_overs.run,
            self.body.run,
            self._release_what_is_empty,
            *(self._visits(shard) for shard in range(SHARDS)),
        ):
            self.process.spawn(work())

    async def _until(self, start: Callable[[], Any]) -> None:
        while True:
            try:
                await start()
            except DependencyError:
                await asyncio.sleep(RETRY_S)
            else:
                return

    def hold_backlog(self, for_s: float) -> None:
        """Fold nothing, as ever."""

    def kill(self) -> None:
        """Die, in the middle of whatever is done."""
        self.is_up = False
        self.process.kill()
        self.world.core.forget(self.process)
        for call in (*self.calls.values(), *self.ending.values()):
            call.close()
            call.drop()
        self.calls.clear()
        self.ending.clear()

    def _visits(self, shard: int) -> Callable[[], Any]:
        async def visit() -> None:
            slot_s = self.world.slot_s
            await asyncio.sleep(slot_s * shard / SHARDS)
            while True:
                for call in list(self.calls.values()):
                    if call.shard == shard and not call.is_ended:
                        call.visit()
                        if call.leg is None and self.now_s() - call.silent_since_s >= WAITS_FOR_LEG_S:
                            self._end(call)
                await asyncio.sleep(slot_s)

        return visit

    async def _release_what_is_empty(self) -> None:
        """Let go, again and again, of sessions that were claimed and of which nothing came."""
        empty: set[str] = set()
        while True:
            await asyncio.sleep(_EMPTY_FOR_S)
            busy = {*self.calls, *self.take_overs.busy, *self._wanted}
            now_empty = {owned.session_id for owned in self.owners.of_node(self.name)} - busy
            for session_id in empty & now_empty:
                with suppress(EngineAway):  # the next look tries again
                    await self.owners.release(session_id)
            empty = now_empty

    async def ask_dead(self, name: str) -> set[str] | None:
        """Ask another node at its door which sessions it has; None: it does not answer."""
        other = self.world.nodes.get(name)
        await asyncio.sleep(0.005)
        if other is None or not other.is_up or self.world.is_cut(self.name, name):
            await asyncio.sleep(RETRY_S)
            return None
        return {each for each in {*other.calls, *other.take_overs.busy} if other.owners.is_own(each)}

    # ---- legs ------------------------------------------------------------------------------------------------------

    async def accept(self, leg: Leg, *, is_relayed: bool = False) -> Call:
        """Take a leg, here or at the node that has its session; raise Refused."""
        self._wanted.add(leg.session_id)
        try:
            return await self._accept(leg, is_relayed=is_relayed)
        finally:
            self._wanted.discard(leg.session_id)

    async def _accept(self, leg: Leg, *, is_relayed: bool) -> Call:
        """Find a leg its place, as ``HandOvers`` does: it waits here while nobody takes it (rule 5)."""
        session_id = leg.session_id
        give_up_s = self.now_s() + CLAIM_WAIT_S
        while True:
            try:
                owned = self.owners.owner(session_id) or await self.owners.claim(session_id, APP)
                if owned.node == self.name and (owned.holder.is_joined or session_id in self.take_overs.busy):
                    return await self._take_leg(leg)
                if owned.node == self.name or not self.life.is_alive(owned.node):
                    await self.take_overs.take(owned)
                    continue
                other = self.world.nodes.get(owned.node)
                if is_relayed:
                    raise Refused
                if other is not None and other.is_up and not self.world.is_cut(self.name, owned.node):
                    leg.via = self
                    return await other.process.spawn(other.accept(leg, is_relayed=True))
            except (EntryChanged, EngineAway):
                pass
            except DependencyError as error:
                raise Refused from error
            if self.now_s() >= give_up_s:
                raise Refused
            await asyncio.sleep(LOOK_S)

    async def _take_leg(self, leg: Leg) -> Call:
        session_id = leg.session_id
        await self._sessions.settled(session_id)
        if self.world.is_over(session_id) or not self.owners.is_own(session_id):
            raise Refused
        call = self.calls.get(session_id)
        if call is None:
            call = self._begin(session_id, Journal(key=self.world.new_key(), app_id=APP, session_id=session_id))
        if call.is_ended:
            raise Refused
        call.drop()
        call.leg = leg
        return call

    def hang_up(self, call: Call) -> None:
        """Note that the leg has ended as it wanted."""
        if call.leg is not None:
            call.visit()
            call.leg = None
        self._end(call)

    def lose(self, call: Call, leg: Leg) -> None:
        """Note that a leg is gone, and may come back."""
        if call.leg is leg and not call.is_ended:
            call.visit()
            call.leg = None
            call.silent_since_s = self.now_s()

    # ---- recordings ------------------------------------------------------------------------------------------------

    def _begin(self, session_id: str, journal: Journal, *, heard_us: int = 0) -> Call:
        call = self.calls[session_id] = Call(self, session_id, journal, heard_us=heard_us)
        self.leases.needed[journal.key] = journal
        journal.append(spoken(heard_us, heard_us, heard_us))
        call.write()
        # ``LiveRecording.save_journaled``: no row tells of what is not in the journal.
        self.copier.when_copied(journal, journal.next_number, lambda: self._save_later(call))
        return call

    def _save_later(self, call: Call) -> None:
        self.process.spawn(self._save(call, "started"))

    async def _save(self, call: Call, state: str) -> bool:
        while (owner := self._stamp(call)) is not None:
            try:
                return await self.world.database.save(call.session_id, call.journal.key, owner, state)
            except DependencyError:
                await asyncio.sleep(RETRY_S)
        return False

    def _stamp(self, call: Call) -> Owner | None:
        """Return what is written into a call's row; None: it is another's (``Nodes.stamp``)."""
        if call.journal.key in self.ending:
            return Owner(self.name, None)
        owned = self.owners.owner(call.session_id)
        if owned is None or owned.node != self.name or self.calls.get(call.session_id) is not call:
            return None
        return Owner(self.name, owned.epoch)

    def _keep(self, session_id: str) -> None:
        """End what is here of a session that another has claimed too (rule 6); ``Nodes.keep``."""
        self._kept.add(session_id)
        call = self.calls.pop(session_id, None)
        if call is not None:
            self._end_apart(call, is_stopped=call.is_ended)

    def _end_apart(self, call: Call, *, is_stopped: bool) -> None:
        self.ending[call.journal.key] = call
        call.is_ended = True
        self.process.spawn(self._finish_apart(call, is_stopped=is_stopped))

    async def _finish_apart(self, call: Call, *, is_stopped: bool) -> None:
        """Make the file of what was begun here, beside that of the session's owner (rule 6)."""
        call.drop()
        key = call.journal.key
        if not is_stopped:
            call.journal.append_event(stop(int(self.now_s() * 1e6)))
            call.write()
        call.close()
        told = self._read(key, call.journal.loop_segment)
        is_ours = await self._save(call, "started") and await self._save(call, "completed")
        if is_ours:
            await self._until(lambda: self.world.store.put(file_of(call), msgspec.json.encode(told.ranges)))
            await self._save(call, "stored")
        self.leases.needed.pop(key, None)
        for segment in self._segments(key, call.journal.loop_segment):
            segment_path(self.folder, key, segment).unlink(missing_ok=True)
        self.ending.pop(key, None)

    def _end(self, call: Call) -> None:
        if not call.is_ended:
            call.is_ended = True
            self.process.spawn(self._finish(call))

    async def _finish(self, call: Call, *, is_stopped: bool = False) -> None:
        """Make the file, and let everything go (rule 3)."""
        call.drop()
        journal = call.journal
        if await self._is_stored_already(call.session_id, journal.key):
            self.leases.needed.pop(journal.key, None)
            self.calls.pop(call.session_id, None)
            return
        if self.calls.get(call.session_id) is not call:  # let go meanwhile: the database answers late
            return
        if not is_stopped:
            journal.append_event(stop(int(self.now_s() * 1e6)))
            call.write()
        copied = asyncio.Event()
        self.copier.when_copied(journal, journal.next_number, copied.set)
        await copied.wait()  # rule 2
        call.close()
        call.visit()
        if self.copier.copied_through(journal.key) >= journal.next_number - 1 and self._is_ours(call):
            self.world.stop_acknowledged(call.session_id)
        if (joining := self._joining.get(journal.key)) is not None:
            await joining.wait()
        told = self._read(journal.key, journal.loop_segment)
        if not await self._save(call, "started") or not await self._save(call, "completed"):
            return
        while self._is_ours(call):
            with suppress(DependencyError):
                content = msgspec.json.encode(told.ranges)
                await self.world.store.put(file_of(call), content)
                break
            await asyncio.sleep(RETRY_S)
        if not self._is_ours(call) or not await self._save(call, "stored"):
            return
        self.world.finished(call.session_id, journal.key)
        self.leases.needed.pop(journal.key, None)
        await self._until(lambda: self._clear(call.session_id))
        for segment in self._segments(journal.key, journal.loop_segment):
            segment_path(self.folder, journal.key, segment).unlink(missing_ok=True)
        await self._until(lambda: self.owners.release(call.session_id))
        self.calls.pop(call.session_id, None)

    def _is_ours(self, call: Call) -> bool:
        return self.calls.get(call.session_id) is call and self.owners.is_own(call.session_id)

    def _read(self, key: str, last_segment: int) -> Told:
        payloads: dict[int, bytes] = {}
        for segment in self._segments(key, last_segment):
            for each in raw_batches(segment_path(self.folder, key, segment), key, segment):
                payloads.setdefault(each.number, each.payload)
        return told_by([payloads[number] for number in sorted(payloads)])

    def _segments(self, key: str, last: int) -> list[int]:
        """Return which segments up to this one are here, without a look at all the others of the folder."""
        return [each for each in range(1, last + 1) if segment_path(self.folder, key, each).exists()]

    async def go_on(self, journals: Iterable[OutlinedJournal], _rows: object, taken: Taken) -> frozenset[str]:
        """Go on with a session before its journals are joined; ``Recovery.go_on``."""
        for each in journals:
            self._joining[each.key] = asyncio.Event()
            self._go_on_from(each.session_id, each.key, taken, each.outline.last_us, is_stopped=bool(each.outline.told))
        return frozenset(self._joining.keys() & taken.starts.keys())

    async def take_in(
        self, _app_id: str, session_id: str, keys: Sequence[str], taken: Taken, *, gone_on: Iterable[str] = ()
    ) -> None:
        """Go on with a session that was joined into the folder; ``Recovery.take_in``."""
        self._go_on(session_id, [key for key in keys if key not in gone_on], taken)
        for key in gone_on:
            if (joining := self._joining.pop(key, None)) is not None:
                joining.set()
        await self._until(lambda: self._settle(session_id, keys, taken.epoch))

    async def _settle(self, session_id: str, keys: Sequence[str], epoch: int) -> None:
        """Give up the recordings of which no journal tells; ``Recovery.take_in``."""
        database = self.world.database
        for row in await database.of_session(session_id, self.name):
            if row.id not in keys and row.id not in self.leases.needed:
                await database.save(session_id, row.id, Owner(self.name, epoch), "failed")

    def let_in(self, session_id: str) -> None:
        """Let in what has waited; ``Recovery.let_in``."""
        self._sessions.let_in(session_id)

    def _go_on(self, session_id: str, keys: Sequence[str], taken: Taken) -> None:
        for key in keys:
            told = self._read(key, taken.starts[key].segment)
            heard_us = told.ranges[-1][1] if told.ranges else 0
            self._go_on_from(session_id, key, taken, heard_us, is_stopped=told.is_stopped)

    def _go_on_from(self, session_id: str, key: str, taken: Taken, heard_us: int, *, is_stopped: bool) -> None:
        start = taken.starts[key]
        journal = Journal(key=key, app_id=APP, session_id=session_id, segment=start.segment, number=start.batch)
        call = self._begin(session_id, journal, heard_us=heard_us)
        if is_stopped:
            call.is_ended = True
            self.process.spawn(self._finish(call, is_stopped=True))

    async def _bring_back(self) -> None:
        """Ask for the sessions of the journals that are here (rule 4)."""
        for key, segments in journals_in(self.folder).journals.items():
            session_id = read_header_of(segment_path(self.folder, key, segments[0])).session_id
            while True:
                try:
                    taken = await self.take_overs.ask(APP, session_id, [key])
                except TakenElsewhere:
                    break
                except DependencyError:
                    taken = None
                if taken is None and session_id in self._kept:
                    self._bring_back_apart(session_id, key, segments[-1])
                    break
                if taken is not None and not await self._is_stored_already(session_id, key):
                    self._go_on(session_id, [key], taken)
                if taken is not None:
                    break
                await asyncio.sleep(RETRY_S)

        await self._until(self._settle_rows)

    async def _settle_rows(self) -> None:
        """Give up the recordings of before this start of which no journal tells; ``Recovery.run``."""
        database = self.world.database
        for row in await database.of_node(self.name):
            if row.id not in self.leases.needed and not self.take_overs.is_joined_later(row.session_id):
                await database.save(row.session_id, row.id, database.owners[row.id], "failed")

    def _bring_back_apart(self, session_id: str, key: str, last: int) -> None:
        """End what was begun here before a restart, and is nowhere else (rule 6)."""
        told = self._read(key, last)
        journal = Journal(key=key, app_id=APP, session_id=session_id, segment=last + 1, number=1 << 20)
        self.leases.needed[key] = journal
        self._end_apart(Call(self, session_id, journal), is_stopped=told.is_stopped)

    async def _is_stored_already(self, session_id: str, key: str) -> bool:
        """Return whether another has brought the session to its end; then nothing of it is needed here."""
        found: list[bool] = []

        async def ask() -> None:
            found.append(await self.world.database.is_over(key))

        await self._until(ask)
        if found[0]:
            delete_segments(self.folder, key)
            self.body.may_have_more(session_id)
            await self._until(lambda: self._clear(session_id))
            await self._until(lambda: self.owners.release(session_id))
        return found[0]

    async def _clear(self, session_id: str) -> None:
        if not await self.body.clear(session_id):
            raise StoreError("the session's parts are deleted later")

    @property
    def running(self) -> bool:
        """Whether journals of before are still brought back; ``Recovery.running``."""
        return not self.is_up

    def let_go(self, session_id: str, *, then: Callable[[Journal], None]) -> list[str]:
        """Do nothing more with a session that another has; ``Recorder.let_go``."""
        call = self.calls.pop(session_id, None)
        if call is None:
            return []
        call.is_ended = True
        call.close()
        call.drop()
        self.leases.needed.pop(call.journal.key, None)
        then(call.journal)
        return [session_id]
