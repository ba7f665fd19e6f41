"""A row that was written while nobody had heard that another node has the session: who deals with it, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.memory_engine import MemoryTable
from tests.support.waiting import until
from wavstream.catalog.nodes import Owner
from wavstream.cluster import given_rows
from wavstream.cluster.given_rows import GivenRows
from wavstream.cluster.owners import Owners
from wavstream.workers.boundary import WorkerUnavailable

SESSION = "call"


class Rows:
    """The rows of one node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.unfinished: list[str] = []

    async def give(self, _session_id: str, _to: Owner) -> list[str]:
        given, self.unfinished = self.unfinished, []
        return given


class Recovery:
    """What brings sessions back at a node."""

    def __init__(self) -> None:
        self.running = False
        self.taken: list[str] = []

    async def take_rows(self, recording_ids: Sequence[str]) -> None:
        self.taken += recording_ids


class Node:
    """One node, as far as rows are given."""

    def __init__(self, name: str, table: MemoryTable, nodes: dict[str, Node]) -> None:
        self.rows, self.recovery, self.busy = Rows(name), Recovery(), set[str]()
        self.is_reached = True
        self.asked = 0
        self.owners = Owners(table, node=name, shards=4, claim_wait_s=0)
        self._nodes = nodes
        rows: Any = self.rows
        recovery: Any = self.recovery
        self.given = GivenRows(owners=self.owners, rows=rows, recovery=recovery, busy=lambda: self.busy, ask=self.ask)
        nodes[name] = self

    async def ask(self, name: str, _question: str, body: bytes) -> bytes:
        node = self._nodes[name]
        node.asked += 1
        if not node.is_reached:
            raise WorkerUnavailable(0)
        return await node.given.answer(body)


@pytest.fixture
async def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Node]:
    monkeypatch.setattr(given_rows, "RETRY_S", 0.01)
    table, made = MemoryTable(), dict[str, Node]()
    for name in ("a", "b", "c"):
        await Node(name, table, made).owners.start()
    return made


async def take(node: Node) -> None:
    """Take the session, and join its journal."""
    owned = node.owners.owner(SESSION)
    assert owned is not None
    await node.owners.take(owned)
    await node.owners.note_joined(SESSION, {}, {})


async def test_a_row_of_a_start_that_was_answered_too_late_comes_to_whoever_has_the_session(
    nodes: dict[str, Node],
) -> None:
    a, b = nodes["a"], nodes["b"]
    await a.owners.claim(SESSION, None)
    a.rows.unfinished = ["r1"]
    await take(b)
    await until(lambda: b.recovery.taken == ["r1"])
    assert a.rows.unfinished == []
    await a.given.stop()


async def test_it_waits_until_that_node_can_be_reached_and_has_brought_the_session_back(nodes: dict[str, Node]) -> None:
    a, b = nodes["a"], nodes["b"]
    await a.owners.claim(SESSION, None)
    a.rows.unfinished = ["r1"]
    b.is_reached, b.busy, b.recovery.running = False, {SESSION}, True
    with capture_logs() as logs:
        await take(b)
        await until(lambda: b.asked > 1)
    assert sorted({each["event"] for each in logs})[-2:] == ["session_rows_given", "session_rows_not_taken"]
    for hindrance, gone in (("is_reached", True), ("busy", set()), ("running", False)):
        asked = b.asked
        await until(lambda: b.asked > asked + 1)  # noqa: B023
        assert b.recovery.taken == []
        setattr(b.recovery if hindrance == "running" else b, hindrance, gone)
    await until(lambda: b.recovery.taken == ["r1"])
    await a.given.stop()


async def test_nobody_is_told_any_more_once_another_has_the_session_who_finds_the_rows_himself(
    nodes: dict[str, Node],
) -> None:
    a, b, c = nodes["a"], nodes["b"], nodes["c"]
    await a.owners.claim(SESSION, None)
    a.rows.unfinished = ["r1"]
    b.is_reached = False
    await take(b)
    await until(lambda: b.asked > 1)
    await take(c)
    await asyncio.sleep(0.05)
    asked = b.asked
    await asyncio.sleep(0.05)
    assert (b.asked, c.asked) == (asked, 0)
    await a.given.stop()


async def test_where_nothing_was_written_nobody_is_told(nodes: dict[str, Node]) -> None:
    a, b = nodes["a"], nodes["b"]
    await a.owners.claim(SESSION, None)
    await take(b)
    await asyncio.sleep(0.05)
    assert b.asked == 0
    await a.given.stop()
