"""The journals of nodes over an engine in memory: copied, uploaded, joined by another node, and put aside."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.memory_engine import MemoryLog, MemoryTable
from tests.support.memory_store import MemoryStore
from tests.support.waiting import until
from wavstream.cluster import body as body_module
from wavstream.cluster.body import Body
from wavstream.cluster.copier import Copier
from wavstream.cluster.joiner import Joiner, Outlined
from wavstream.cluster.joining import folder_of
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, Start
from wavstream.cluster.tail_message import Contents, TailBatch, unpack
from wavstream.errors import StoreError
from wavstream.journal.events import ServerStopped
from wavstream.journal.journal import Journal
from wavstream.journal.raw_batches import batches_from
from wavstream.journal.records import clock_record, event_record
from wavstream.journal.segments import WriteAt
from wavstream.journal.writer import JournalWriter
from wavstream.recorder.journal_leases import JournalLeases

SESSION = "call-77"


@dataclass
class Node:
    """One node of a test."""

    name: str
    folder: Path
    owners: Owners
    writer: JournalWriter
    copier: Copier
    leases: JournalLeases
    body: Body
    joiner: Joiner

    def journal(self, *, key: str = "k", segment: int = 1, number: int | None = None) -> Journal:
        journal = self.writer.open(key=key, app_id="default", session_id=SESSION, segment=segment, number=number)
        self.leases.acquire(f"recording of {key}", journal, first_segment=1)
        return journal

    async def write(self, journal: Journal, count: int, *, first_us: int = 1) -> None:
        """Write so many batches of one record, and wait until they are in the file and copied, or not to be."""
        for number in range(count):
            journal.append(clock_record(first_us + number))
            self.writer.submit([journal])
        await self.leases.flush(journal)

    async def seal_a_part(self) -> None:
        """Begin the session's journal, and seal a segment of it, which goes to the bucket at the next look."""
        await self.owners.claim(SESSION, "default")
        journal = self.journal()
        await self.write(journal, 2)
        await self.body.look()
        await self.write(journal, 2, first_us=10)

    def content(self, key: str = "k") -> list[tuple[int, bytes]]:
        return [(each.number, each.payload) for each in batches_from(self.folder, key, 1, 0, max_bytes=1 << 30)]


class FullDisk:
    """``os.pwrite`` of a disk that may be full."""

    is_full = False

    def __call__(self, fd: int, chunk: memoryview, offset: int) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(fd, chunk, offset)


def batches_in(message: bytes) -> list[TailBatch]:
    found = unpack(message)
    return found.batches if isinstance(found, Contents) else []


class Engine:
    """What the nodes of a test share."""

    def __init__(self, tmp_path: Path) -> None:
        self.log, self.table, self.store = MemoryLog(), MemoryTable(), MemoryStore()
        self._tmp_path = tmp_path

    @asynccontextmanager
    async def node(
        self, name: str, *, tail_bytes: int = 1 << 26, segment_s: float = 60, write_at: WriteAt = os.pwrite
    ) -> AsyncIterator[Node]:
        folder, spool = self._tmp_path / name / "journal", self._tmp_path / name / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        owners = Owners(self.table, node=name, shards=4, claim_wait_s=0)
        await owners.start()
        copier = Copier(self.log, node=name, owners=owners, folder=folder, tail_bytes=tail_bytes, tail_age_s=600)
        writer = JournalWriter(
            folder, on_written=lambda _: None, on_pressure=lambda _: None, copies=copier, write_at=write_at
        )
        writer.start()
        leases = JournalLeases(writer, asyncio.get_running_loop())
        leases.copied_by(copier.when_copied)
        leases.last_until_stored()
        body = Body(
            self.store, node=name, folder=folder, segment_s=segment_s, leases=leases, copier=copier, owners=owners
        )
        joiner = Joiner(self.log, node=name, store=self.store, folder=folder, spool=spool)
        try:
            yield Node(name, folder, owners, writer, copier, leases, body, joiner)
        finally:
            await copier.stop()
            await owners.stop()
            await asyncio.to_thread(writer.stop)


async def take_as_soon_as_the_bucket_answers(engine: Engine, node: Node) -> None:
    """Take the session while the bucket is away, which joins nothing; join its journal when it is back."""
    engine.store.away = "away"
    owned = node.owners.owner(SESSION)
    assert owned is not None
    ours = await node.owners.take(owned)
    with pytest.raises(StoreError):
        await node.joiner.join([ours])
    engine.store.away = None
    await node.joiner.join([ours])


async def take(node: Node) -> Owned:
    """Take the session, and join its journal."""
    owned = node.owners.owner(SESSION)
    assert owned is not None
    (found,) = await node.joiner.join([await node.owners.take(owned)])
    return await node.owners.note_joined(SESSION, found.joined.starts, found.tails)


async def test_what_one_node_has_written_is_joined_by_another_batch_for_batch(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 5)
        journal.append_event(event_record(6, ServerStopped()))
        await a.write(journal, 3, first_us=7)
        owned = await take(b)
        assert b.content() == a.content()
        assert owned.holder.starts["k"] == (2, len(a.content()))


async def go_on(node: Node) -> tuple[Owned, Journal]:
    """Take the session, and go on with its journal by its outline."""
    owned = node.owners.owner(SESSION)
    assert owned is not None
    found: list[Outlined] = []
    await node.joiner.outline([await node.owners.take(owned)], on_outlined=lambda _, each: found.append(each))
    ((journal,), tails) = found[0].journals, found[0].tails
    starts = {journal.key: Start(journal.segment, journal.number)}
    joined = await node.owners.note_joined(SESSION, starts, tails)
    node.copier.goes_on(
        joined,
        journal.key,
        journal.app_id,
        segment=journal.segment,
        copied=journal.number - 1,
        outline=journal.outline,
    )
    return joined, node.journal(segment=journal.segment, number=journal.number)


async def test_a_node_goes_on_by_the_outline_and_joins_what_was_before_behind_it(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b, engine.node("c") as c:
        await a.seal_a_part()
        await a.body.look()
        joined, journal = await go_on(b)
        await b.write(journal, 3, first_us=20)
        assert [number for number, _ in b.content()] == [4, 5, 6]
        await b.joiner.join([joined])
        await b.write(journal, 2, first_us=30)
        assert b.content()[:4] == a.content()
        assert [number for number, _ in b.content()] == list(range(9))
        await take(c)
        assert c.content() == b.content()


async def test_what_goes_on_is_not_joined_to_nothing_where_the_bucket_stays_away_until_the_tail_is_gone(
    tmp_path: Path,
) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b:
        await a.seal_a_part()
        await a.body.look()
        joined, _ = await go_on(b)
        engine.store.away = "away"
        for messages in engine.log.subjects.values():
            messages.clear()
        with pytest.raises(StoreError):
            await b.joiner.join([joined], store_wait_s=0.01)
        engine.store.away = None
        await b.joiner.join([joined])
        assert b.content(), "what the bucket has"


async def test_what_lies_here_of_an_earlier_time_with_a_session_is_no_begin_of_a_call_that_goes_on(
    tmp_path: Path,
) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        await a.write(a.journal(), 4)
        (b.folder / "k-000002.wsj").write_bytes(b"of an earlier time")
        owned = b.owners.owner(SESSION)
        assert owned is not None
        found: list[Outlined] = []
        await b.joiner.outline([await b.owners.take(owned)], on_outlined=lambda _, each: found.append(each))
        assert found == [Outlined()]


async def test_what_was_joined_behind_leaves_the_bucket_with_the_rest_when_the_file_is_there(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b", segment_s=0) as b:
        await a.seal_a_part()
        await a.body.look()
        joined, journal = await go_on(b)
        await b.write(journal, 3, first_us=20)
        await b.body.look()
        (found,) = await b.joiner.join([joined])
        b.body.goes_on("k", SESSION, found.stored, before=journal.segment)
        await b.write(journal, 3, first_us=30)
        await b.body.look()
        owned = b.owners.owner(SESSION)
        assert owned is not None
        assert owned.held[0].tail_from == owned.held[0].tail_below, "all that was before is in the bucket"
        b.leases.finish("recording of k")
        b.leases.stored("recording of k")
        for _ in range(2):
            await b.body.look()
        assert not engine.store.objects
        assert not b.copier.keys


async def test_a_recording_that_ends_at_once_behind_its_join_leaves_nothing_that_is_looked_after(
    tmp_path: Path,
) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b:
        await a.seal_a_part()
        await a.body.look()
        joined, _ = await go_on(b)
        (found,) = await b.joiner.join([joined])
        b.body.goes_on("k", SESSION, found.stored, before=2)
        b.leases.finish("recording of k")
        b.leases.stored("recording of k")
        await b.body.look()
        assert engine.store.objects, "it may still be brought back"
        b.body.is_awaited = lambda _: False
        for _ in range(2):
            await b.body.look()
        assert not engine.store.objects
        assert not b.copier.keys


async def test_a_part_of_the_bucket_that_somebody_has_changed_is_a_hole_and_the_rest_is_joined(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b:
        await a.seal_a_part()
        await a.body.look()
        (part,) = engine.store.objects
        engine.store.objects[part] = b"somebody's"
        joined, journal = await go_on(b)
        await b.write(journal, 2, first_us=20)
        (found,) = await b.joiner.join([joined])
        assert found.apps == {"k": "default"}
        assert [number for number, _ in b.content()][-2:] == [4, 5]


async def test_one_that_dies_before_it_has_joined_is_followed_by_another_that_has_all(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b, engine.node("c") as c:
        await a.seal_a_part()
        await a.body.look()
        _, of_b = await go_on(b)
        await b.write(of_b, 3, first_us=20)
        joined, of_c = await go_on(c)
        await c.write(of_c, 2, first_us=30)
        await c.joiner.join([joined])
        numbers = [number for number, _ in c.content()]
        assert numbers == list(range(9))
        assert c.content()[:7] == [*a.content(), *b.content()]


async def test_one_that_is_started_again_before_it_has_joined_has_all_once_it_joins(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a:
        await a.seal_a_part()
        await a.body.look()
        async with engine.node("b") as b:
            _, of_b = await go_on(b)
            await b.write(of_b, 3, first_us=20)
        async with engine.node("b") as b:
            await take(b)
            assert [number for number, _ in b.content()] == list(range(7))
            assert b.content()[:4] == a.content()


async def test_segments_that_are_sealed_go_to_the_bucket_and_are_joined_from_there(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        for turn in range(3):
            await a.write(journal, 4, first_us=10 * turn)
            await a.body.look()
        assert sorted(engine.store.objects) == [
            f"{folder_of(SESSION)}k-000001.1.0.4.wsj", f"{folder_of(SESSION)}k-000002.1.4.8.wsj"
        ]  # fmt: skip
        engine.log.subjects.clear()  # what is older than the tail is kept
        engine.log.subjects["tail.a.0"] = []
        await a.write(journal, 2, first_us=50)
        await take(b)
        numbers = [number for number, _ in b.content()]
        assert numbers[:8] == list(range(8))


async def test_what_was_written_while_the_engine_was_away_is_copied_when_it_is_back(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", tail_bytes=200) as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 3)
        engine.log.is_away = True
        await a.write(journal, 50, first_us=10)
        assert a.copier.waiting_bytes < 300
        await until(lambda: a.copier.away_s > 0)
        assert a.copier.behind_s > a.copier.away_s
        engine.log.is_away = False
        assert await a.copier.flush(10)
        assert a.copier.behind_s == 0
        await take(b)
        assert b.content() == a.content()
        assert a.copier.counts.read_back > 0


async def test_what_a_full_disk_refuses_is_joined_by_another_and_is_in_the_tail_once(tmp_path: Path) -> None:
    engine, disk = Engine(tmp_path), FullDisk()
    async with engine.node("a", write_at=disk) as a, engine.node("b") as b, engine.node("c") as c:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 3)
        disk.is_full = True
        for number in range(20):
            journal.append(clock_record(10 + number))
            a.writer.submit([journal])
        await until(lambda: a.copier.copied_through("k") == 22)
        assert len(a.content()) == 3
        await take(b)
        disk.is_full = False
        await a.write(journal, 0)
        assert [number for number, _ in b.content()] == list(range(23))
        assert b.content() == a.content()
        sent = [each.number for logged in engine.log.subjects["tail.a.0"] for each in batches_in(logged.payload)]
        assert sent == list(range(23))
        await take(c)
        assert c.content() == a.content()


async def test_a_session_that_is_taken_while_its_node_ends_is_let_go_of(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a:
        journal = a.journal()
        await asyncio.to_thread(a.writer.stop)
        told: list[Journal] = []
        a.leases.let_go(SESSION, then=told.append)
        assert (a.leases.journals(), told, journal.is_let_go) == ([], [], True)


async def test_a_write_whose_answer_was_lost_counts_once(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 2)
        engine.log.loses_answers = 2
        await a.write(journal, 4, first_us=10)
        assert await a.copier.flush(10)
        await take(b)
        assert b.content() == a.content()


async def test_a_node_that_was_fenced_copies_nothing_more_of_the_session_and_goes_on_with_others(
    tmp_path: Path,
) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a, engine.node("b") as b, engine.node("c") as c:
        lost: list[Owned] = []
        a.owners.on_lost(lost.append)
        a.owners.on_lost(a.copier.lost)
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 5)
        before = a.content()
        await take(b)
        await a.write(journal, 5, first_us=20)  # it has heard of it
        assert [owned.node for owned in lost] == ["b"]
        await take(c)
        assert c.content() == before


async def test_a_node_that_does_not_know_that_it_was_fenced_is_refused(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a, engine.node("b") as b, engine.node("c") as c:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 5)
        before = a.content()
        await take(b)  # nobody tells the copier
        await a.write(journal, 5, first_us=20)
        await until(lambda: a.copier.counts.refused == 1)
        await take(c)
        assert c.content() == before


async def test_the_bucket_that_does_not_answer_is_not_needed_where_the_tail_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a") as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        await a.write(a.journal(), 5)
        engine.store.away = "away"
        await take(b)
        assert b.content() == a.content()


async def test_without_the_bucket_a_journal_that_the_tail_has_not_from_its_begin_waits_for_it(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        await a.write(journal, 4)
        await a.body.look()
        await a.write(journal, 4, first_us=10)
        await a.body.look()
        subject = next(iter(each for each in engine.log.subjects if engine.log.subjects[each]))
        del engine.log.subjects[subject][0]  # it has expired
        await take_as_soon_as_the_bucket_answers(engine, b)
        assert b.content() == a.content()


async def test_a_journal_that_is_in_the_bucket_alone_waits_for_it_though_no_tail_tells_of_it(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a, engine.node("b") as b, engine.node("c") as c:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        for first_us in (1, 10):
            await a.write(journal, 4, first_us=first_us)
            await a.body.look()
        await take(b)
        await b.owners.note_stored(SESSION)
        await take_as_soon_as_the_bucket_answers(engine, c)
        assert c.content() == a.content()[:4], "of the segment that was sealed"


async def test_parts_of_a_journal_leave_the_bucket_when_the_file_is_there(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        for turn in range(3):
            await a.write(journal, 2, first_us=10 * turn)
            await a.body.look()
        assert engine.store.objects
        a.leases.finish("recording of k")
        await a.body.look()
        assert engine.store.objects
        a.leases.stored("recording of k")
        await a.body.look()
        assert not engine.store.objects
        assert await a.body.clear(SESSION)


async def test_a_bucket_that_is_away_is_tried_again_and_nothing_else_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "FIRST_RETRY_S", 0.0)
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        engine.store.away = "away"
        for turn in range(3):
            await a.write(journal, 2, first_us=10 * turn)
            # A machine that is busy answers later than a write waits for.
            await until(lambda: a.copier.copied_through("k") == journal.next_number - 1)
            await a.body.look()
        assert (a.body.waiting, a.body.is_failing) == (2, True)
        engine.store.away = None
        await a.body.look()
        assert (a.body.waiting, a.body.is_failing) == (0, False)
        # The two go at the same time, in whatever order.
        assert sorted(key.rpartition("/")[2].partition(".")[0] for key in engine.store.puts) == ["k-000001", "k-000002"]


async def test_a_session_is_not_over_while_a_part_of_it_is_on_its_way_to_the_bucket(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a:
        await a.seal_a_part()
        engine.store.gate = asyncio.Event()
        looking = asyncio.create_task(a.body.look())
        await engine.store.waiting.wait()
        a.leases.finish("recording of k")
        a.leases.stored("recording of k")
        assert not await a.body.clear(SESSION)
        engine.store.gate.set()
        await looking
        await a.body.look()
        assert await a.body.clear(SESSION)
        assert not engine.store.objects


async def test_a_part_whose_answer_was_lost_is_looked_for_when_the_session_is_over(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a:
        await a.seal_a_part()
        engine.store.loses_answers = True
        await a.body.look()
        assert engine.store.objects
        a.leases.finish("recording of k")
        a.leases.stored("recording of k")
        await a.body.look()
        assert await a.body.clear(SESSION)
        assert not engine.store.objects


async def test_parts_of_a_journal_leave_the_bucket_when_the_recording_is_erased(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    async with engine.node("a", segment_s=0) as a:
        await a.owners.claim(SESSION, "default")
        journal = a.journal()
        for turn in range(3):
            await a.write(journal, 2, first_us=10 * turn)
            await a.body.look()
        assert engine.store.objects
        a.leases.retain("recording of k", for_s=None)  # it has failed
        await a.body.look()
        assert engine.store.objects
        a.leases.release_failed("recording of k")
        await a.body.look()
        assert not engine.store.objects
