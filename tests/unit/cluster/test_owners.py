"""Whose a session is, where the engine does not answer what it was told to write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog.testing

from tests.support.memory_engine import MemoryTable
from tests.support.waiting import until
from wavstream.cluster.engine import EngineAway, Entry
from wavstream.cluster.owners import Owners


class Silent(MemoryTable):
    """A table whose answers to writes do not come, as long as it is silent; they count, or do not."""

    def __init__(self, *, counts: bool) -> None:
        super().__init__()
        self.is_silent = False
        self._counts = counts

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        if self.is_silent and not self._counts:
            await asyncio.Event().wait()
        revision = await super().put(key, value, after=after)
        if self.is_silent:
            await asyncio.Event().wait()
        return revision


class Deaf(MemoryTable):
    """The table of a node that hears of no changes, as one that stands still."""

    def __init__(self, table: MemoryTable) -> None:
        self._table = table

    async def get(self, key: str) -> Entry:
        return await self._table.get(key)

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        return await self._table.put(key, value, after=after)

    async def watch(self, prefix: str, on_change: Callable[[Entry], None]) -> None:
        pass


async def owners_of(table: MemoryTable, node: str) -> Owners:
    owners = Owners(table, node=node, shards=4, claim_wait_s=0)
    await owners.start()
    return owners


async def test_a_session_is_taken_at_once_though_the_answer_is_lost() -> None:
    table = Silent(counts=True)
    a, b = await owners_of(table, "a"), await owners_of(table, "b")
    owned = await a.claim("call", None)
    table.is_silent = True
    taken = await b.take(owned)
    assert (taken.node, taken.epoch) == ("b", 2)
    assert b.is_own("call")
    assert not a.is_own("call")


async def test_a_write_that_is_neither_there_nor_answered_is_tried_again_by_who_asked_for_it() -> None:
    table = Silent(counts=False)
    a, b = await owners_of(table, "a"), await owners_of(table, "b")
    owned = await a.claim("call", None)
    table.is_silent = True
    with pytest.raises(EngineAway):
        await b.take(owned)
    assert a.is_own("call")
    table.is_silent = False
    assert (await b.take(owned)).epoch == 2


async def test_what_was_taken_from_a_node_that_stood_still_is_lost_when_it_is_looked_up_and_the_rest_stays() -> None:
    table = MemoryTable()
    a, b = await owners_of(Deaf(table), "a"), await owners_of(table, "b")
    lost: list[str] = []
    a.on_lost(lambda owned: lost.append(owned.session_id))
    await b.take(await a.claim("taken", None))
    await a.claim("kept", None)
    a.doubt()
    assert a.is_in_doubt("taken")
    assert a.is_in_doubt("kept")
    await a.look_up("taken")
    await a.look_up("kept")
    assert lost == ["taken"]
    assert (a.is_own("taken"), a.is_own("kept")) == (False, True)
    assert not a.is_in_doubt("taken")
    assert not a.is_in_doubt("kept")


async def test_where_the_engine_is_away_what_a_node_had_before_it_stood_still_stays_its_own() -> None:
    table = MemoryTable()
    a = await owners_of(table, "a")
    await a.claim("call", None)
    a.doubt()
    table.is_away = True
    await a.look_up("call")
    assert a.is_own("call")
    assert not a.is_in_doubt("call")


class Refusing(MemoryTable):
    """A table that is read and watched and takes no writes: NATS whose disk is full, or a user without the right."""

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        if self.is_away:
            raise EngineAway("NATS refuses: insufficient resources (10023)")
        return await super().put(key, value, after=after)

    async def get(self, key: str) -> Entry:
        return self.entries.get(key, Entry(key, b"", 0))


async def test_what_cannot_be_written_yet_is_changed_by_nobody_and_is_to_be_tried_later() -> None:
    table = Refusing()
    a = await owners_of(table, "a")
    table.is_away = True
    owned = await a.claim("call", None)

    for _ in range(2):
        with pytest.raises(EngineAway):  # EntryChanged would be tried again at once, for ever
            await a.take(owned)
    assert a.is_own("call")
    table.is_away = False
    await until(lambda: not a.unwritten)
    assert (await a.take(owned)).epoch == 2
    await a.stop()


class Slow(MemoryTable):
    """A table that deletes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_delete = asyncio.Event()

    async def delete(self, key: str, *, after: int) -> None:
        await self.may_delete.wait()
        await super().delete(key, after=after)


async def test_what_begins_while_its_claim_is_let_go_of_is_claimed_anew() -> None:
    table = Slow()
    a = await owners_of(table, "a")
    first = await a.claim("call", None)
    letting_go = asyncio.create_task(a.release("call"))
    await asyncio.sleep(0)
    assert a.owner("call") is None  # else it would begin here, without a claim a moment later
    claiming = asyncio.create_task(a.claim("call", None))
    table.may_delete.set()
    await letting_go
    assert (await claiming) == first
    assert a.is_own("call")
    assert [entry for entry in table.entries.values() if entry.revision]


async def test_a_claim_that_cannot_be_let_go_of_while_the_engine_is_away_stays_and_holds_nobody_up() -> None:
    table = MemoryTable()
    a = await owners_of(table, "a")
    await a.claim("call", None)
    table.is_away = True
    with pytest.raises(EngineAway):
        await a.release("call")
    assert a.is_own("call")
    assert (await a.claim("call", None)).node == "a"
    table.is_away = False
    await a.release("call")
    assert not a.is_own("call")


@pytest.mark.parametrize("is_handed_over", [False, True])
async def test_what_others_take_is_a_warning_unless_it_was_handed_over(is_handed_over: bool) -> None:
    table = MemoryTable()
    a, b = await owners_of(table, "a"), await owners_of(table, "b")
    owned = await a.claim("call", None)
    a.on_lost(lambda owned: a.tell_let_go(owned, ["r1"]))
    a.hands_over = is_handed_over
    with structlog.testing.capture_logs() as logs:
        taken = await b.take(owned)
    levels = [(each["event"], each["log_level"]) for each in logs]
    if is_handed_over:
        assert levels == [("session_handed_over", "info")]
    else:
        assert levels == [("session_lost", "warning"), ("session_let_go", "warning")]

    again = await owners_of(table, "a")  # it is started anew, and finds the journals of before
    again.handed_over = is_handed_over
    with structlog.testing.capture_logs() as logs:
        again.tell_let_go(taken, [], of_before=True)
    assert [each["event"] for each in logs] == ["session_handed_over" if is_handed_over else "session_let_go"]
