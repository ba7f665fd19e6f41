"""Rows of several nodes in one catalog: who is behind writes nothing, and each looks after its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.recordings import START, a_recording
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.nodes import Nodes, Owner
from wavstream.model.recording import Receipt, Recording, Status, StoredObject

DATABASES = BOTH


class Node:
    """One node, and what it believes of its sessions."""

    def __init__(self, name: str, database: FaultyDatabase) -> None:
        self.name = name
        self.believes: dict[str, Owner] = {}
        self.rows = Nodes(database, node=name, owner_of=self.believes.get)
        self.catalog: Catalog

    async def open(self, database: FaultyDatabase) -> None:
        self.catalog = await Catalog.over(database, is_wanted=USUAL, has_store=True)
        self.catalog.recordings.are_of(self.rows)
        self.catalog.uploads.are_of(self.name)


@pytest.fixture
async def nodes(database: FaultyDatabase) -> tuple[Node, Node]:
    a, b = Node("a", database), Node("b", database)
    for node in (a, b):
        await node.open(database)
    return a, b


def running(name: str = "r1") -> Recording:
    return a_recording(name, status=Status.ONGOING)


def finished(name: str = "r1") -> Recording:
    return replace(a_recording(name, status=Status.AVAILABLE), ended_at=START, kept_since=START)


async def due(node: Node) -> list[str]:
    return [each.recording_id for each in await node.catalog.uploads.due(START + timedelta(days=1), 99)]


async def test_whose_file_a_recording_has_is_the_node_that_its_row_names_whatever_the_others_believe(
    nodes: tuple[Node, Node],
) -> None:
    a, b = nodes
    assert await a.catalog.recordings.save(finished())  # while a knew of no owner
    b.believes[finished().session_id] = Owner("b", 1)
    assert (await a.rows.has_row(finished()), await b.rows.has_row(finished())) == (True, False)

    assert await b.rows.take(finished().session_id, Owner("b", 1), held_by=("a", "b")) == 1
    assert (await a.rows.has_row(finished()), await b.rows.has_row(finished())) == (False, True)


async def test_what_a_node_writes_that_has_lost_the_session_without_knowing_it_does_not_count(
    nodes: tuple[Node, Node],
) -> None:
    a, b = nodes
    session_id = running().session_id
    a.believes[session_id] = Owner("a", 1)
    assert await a.catalog.recordings.save(running())
    assert await a.rows.is_ours(running())

    b.believes[session_id] = Owner("b", 2)
    assert await b.rows.take(session_id, Owner("b", 2), held_by=("a", "b")) == 1

    assert not await a.rows.is_ours(running())
    assert not await a.catalog.recordings.save(finished())
    assert await b.catalog.recordings.save(finished())
    row = await b.catalog.recordings.get("r1")
    assert row is not None
    assert row.status is Status.AVAILABLE


async def test_a_node_that_knows_that_it_has_lost_the_session_writes_nothing(nodes: tuple[Node, Node]) -> None:
    a, _ = nodes
    a.believes[running().session_id] = Owner("b", 2)
    assert not await a.catalog.recordings.save(running())
    assert not await a.catalog.recordings.add(running())
    assert await a.catalog.recordings.get("r1") is None


async def test_a_take_over_leaves_a_node_what_it_began_without_having_had_the_session(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    session_id = running().session_id
    a.believes[session_id] = Owner("a", 1)  # claimed while the engine was away, as c did, which came first
    await a.catalog.recordings.save(running())
    assert await b.rows.take(session_id, Owner("b", 2), held_by=("c", "b")) == 0
    assert await a.catalog.recordings.save(finished())


async def test_what_was_written_before_a_take_over_was_heard_of_is_given_as_far_as_it_is_not_finished(
    nodes: tuple[Node, Node],
) -> None:
    a, b = nodes
    session_id = running().session_id
    a.believes[session_id] = Owner("a", 1)
    assert await b.rows.take(session_id, Owner("b", 2), held_by=("a", "b")) == 0
    await a.catalog.recordings.add(running("late"))
    await a.catalog.recordings.add(finished("here"))
    assert await a.rows.give(session_id, Owner("b", 2)) == ["late"]
    assert [each.id for each in await b.rows.of_session(session_id)] == ["late"]
    assert [each.id for each in await a.rows.of_session(session_id)] == ["here"]
    assert await a.rows.give(session_id, Owner("b", 2)) == []
    assert await b.rows.give(session_id, Owner("b", 2)) == [], "nobody gives to himself"


async def test_each_node_looks_after_its_own_rows_and_files(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    await a.catalog.recordings.save(running("r1"))
    await a.catalog.recordings.save(finished("r2"))
    await b.catalog.recordings.save(finished("r3"))
    assert [row.id for row in await a.catalog.recordings.unfinished()] == ["r1"]
    assert await b.catalog.recordings.unfinished() == []
    assert [row.id for row in await a.catalog.recordings.stored("", 9)] == ["r2"]
    assert (await due(a), await due(b)) == (["r2"], ["r3"])


async def test_of_files_that_wait_for_the_bucket_each_node_counts_its_own(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    for node, name in ((a, "r1"), (b, "r2"), (b, "r3")):
        receipt = Receipt(8000, 1, 100, "9f" * 32, 1_000)
        await node.catalog.recordings.save(replace(finished(name), receipt=receipt))
    assert [(await node.catalog.recordings.stored_bytes()).total() for node in (a, b)] == [1_000, 2_000]


async def test_a_file_of_a_node_that_is_gone_is_to_be_uploaded_by_who_has_taken_its_session(
    nodes: tuple[Node, Node],
) -> None:
    a, b = nodes
    await a.catalog.recordings.save(finished())
    session_id = finished().session_id
    b.believes[session_id] = Owner("b", 2)
    await b.rows.take(session_id, Owner("b", 2), held_by=("a", "b"))
    assert (await due(a), await due(b)) == ([], ["r1"])
    stored = StoredObject("s3://first", START, None)
    assert not await a.catalog.uploads.finish("r1", stored)
    assert await b.catalog.uploads.finish("r1", stored)
    assert await b.rows.are_settled(["r1"])
    assert await b.rows.knows_any(["unknown", "r1"])
    assert not await b.rows.knows_any(["unknown"])


async def test_what_was_begun_under_a_claim_that_came_second_is_still_written(nodes: tuple[Node, Node]) -> None:
    a, b = nodes
    session_id = running().session_id
    a.believes[session_id] = Owner("a", 1)
    await a.catalog.recordings.save(running())
    a.believes[session_id] = Owner("b", 1)
    a.rows.keep(session_id)
    assert await a.catalog.recordings.save(finished())
    assert await due(b) == []


async def test_without_nodes_rows_say_nothing_of_them(database: FaultyDatabase) -> None:
    catalog = await Catalog.over(database, is_wanted=USUAL)
    await catalog.recordings.save(running())
    assert await catalog.recordings.save(finished())
    assert [row.id for row in await catalog.recordings.stored("", 9)] == ["r1"]
