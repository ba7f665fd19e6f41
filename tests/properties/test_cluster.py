"""The rules of a cluster hold over kills, partitions and outages; and each of them falls where the code breaks it.

It is a short part of the simulation (``python -m bench.cluster``): its world says what the rules are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import structlog

from bench.cluster import outside
from bench.cluster.__main__ import row, stages
from bench.cluster.engine import Core
from bench.cluster.node import Node
from bench.cluster.virtual_time import run
from bench.cluster.world import Figures, Plan, World
from tests.unit.cluster.support import CheckedLog, batch
from wavstream.catalog.nodes import Owner
from wavstream.cluster import tail
from wavstream.cluster.joining import plan as plan_of
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Held, Owned, Start, hash_of
from wavstream.cluster.tail import Room, ShardTail
from wavstream.cluster.tail_message import Fence, TailBatch, pack
from wavstream.cluster.tail_reading import TailReader
from wavstream.cluster.take_over import TakeOvers

PLAN = Plan(
    "suite",
    sessions=80,
    legs=40,
    length_s=8.0,
    slot_s=0.25,
    nodes=3,
    kills_every_s=4.0,
    cuts_every_s=6.0,
    clocks_jump=True,
    unsure=0.02,
    tail_bytes=2000,
    outages=((6.0, 4.0, "store"), (8.0, 4.0, "database"), (10.0, 3.0, "engine"), (14.0, 5.0, "slow store")),
)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Keep what thousands of faults log out of the way."""
    with structlog.testing.capture_logs():
        yield


def play(folder: Path, seed: int) -> Figures:
    return run(World(PLAN, random.Random(seed), folder).run())


@pytest.mark.parametrize("seed", range(3))
def test_the_rules_hold_over_kills_partitions_and_outages(tmp_path: Path, seed: int) -> None:
    figures = play(tmp_path, seed)
    assert figures.faults == []
    assert figures.kills
    assert figures.cuts
    assert figures.take_overs
    assert figures.returns_s


def broken(folder: Path, text: str) -> bool:
    """Return whether a rule falls, in the first seeds of which one does so; ``text``: what is told then."""
    return any(text in fault for seed in range(24) for fault in play(folder / str(seed), seed).faults)


async def beside(world: World, fault: Coroutine[Any, Any, None]) -> World:
    """Run a stage, and a fault beside it."""
    failing = asyncio.create_task(fault)
    await world.run()
    await failing
    return world


async def nothing(*_: object) -> None:
    """Do nothing, in the place of what a rule needs."""


async def cut_from_the_engine(folder: Path) -> Figures:
    """Cut a node off from the engine alone, under calls of half a minute, for longer than orphans are left alone."""
    plan = Plan("cut", sessions=12, legs=12, length_s=30.0, lasts_s=2.0, slot_s=0.25, nodes=3, unsure=0.0)
    world = World(plan, random.Random(2), folder)

    async def cut() -> None:
        await asyncio.sleep(10.0)
        world.core.cut_off("n0", True)
        await asyncio.sleep(20.0)
        world.core.cut_off("n0", False)

    return (await beside(world, cut())).figures


def test_a_node_that_the_engine_alone_does_not_hear_of_keeps_its_calls_and_loses_them_if_it_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = run(cut_from_the_engine(tmp_path / "right"))
    assert figures.faults == []
    assert figures.take_overs == 0

    monkeypatch.setattr(Node, "ask_dead", nothing)
    assert any("which answers" in fault for fault in run(cut_from_the_engine(tmp_path / "wrong")).faults)


async def killed_with_calls_that_another_claims(folder: Path) -> World:
    """Have a node begin calls while the engine does not answer it, and die; others claim them before it is back."""
    plan = Plan("apart", sessions=20, legs=20, length_s=30.0, lasts_s=4.0, slot_s=0.25, nodes=3, unsure=0.0)
    world = World(plan, random.Random(3), folder)

    async def fail() -> None:
        await asyncio.sleep(5.0)
        world.core.cut_off("n0", True)
        await asyncio.sleep(12.0)
        world.nodes["n0"].kill()
        world.core.cut_off("n0", False)
        await asyncio.sleep(5.0)
        world._start_node("n0")

    return await beside(world, fail())


def test_what_a_node_recorded_before_another_claimed_the_call_is_a_recording_of_its_own_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = run(killed_with_calls_that_another_claims(tmp_path / "right"))
    assert world.figures.faults == []
    assert any(len(recordings) == 2 for recordings in world.database.of.values())
    assert not any("failed" in states for states in world.database.states.values())

    async def is_everywhere(*_: object) -> bool:
        return False

    monkeypatch.setattr(TakeOvers, "_is_nowhere_else", is_everywhere)
    world = run(killed_with_calls_that_another_claims(tmp_path / "wrong"))
    assert any("failed" in states for states in world.database.states.values())


def test_a_recording_whose_journal_died_with_its_node_before_any_of_it_was_in_a_tail_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "_settle", nothing)
    assert broken(tmp_path, "was told of as")


async def claimed_at_once(folder: Path) -> Figures:
    """Have two nodes claim a session at the same moment."""
    world = World(PLAN, random.Random(1), folder)
    for name in ("n0", "n1"):
        world._start_node(name)
    await asyncio.sleep(10.0)
    nodes = [*world.nodes.values()]
    await asyncio.gather(*(node.process.spawn(node.owners.claim("s", None)) for node in nodes))
    for node in nodes:
        node.kill()
    return world.figures


def test_of_two_nodes_that_claim_a_session_at_once_one_has_it_and_a_careless_table_gives_it_to_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(claimed_at_once(tmp_path / "right")).faults == []
    put = Core.put

    def careless(core: Core, node: str, key: str, value: bytes, after: int) -> int:
        return put(core, node, key, value, core.get(key).revision)

    monkeypatch.setattr(Core, "put", careless)
    assert any("epoch" in fault for fault in run(claimed_at_once(tmp_path / "wrong")).faults)


def test_an_owner_that_does_not_let_go_finishes_a_session_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def save(database: outside.Database, session_id: str, recording: str, owner: Owner, state: str) -> bool:
        database.write(session_id, recording, owner, state)
        return True

    async def is_over(*_: object) -> bool:
        return False

    monkeypatch.setattr(TakeOvers, "lost", lambda *_: None)
    monkeypatch.setattr(Owners, "is_own", lambda *_: True)
    monkeypatch.setattr(outside.Database, "save", save)
    monkeypatch.setattr(outside.Database, "is_over", is_over)
    assert broken(tmp_path, "twice")


def test_a_take_over_that_does_not_read_the_tail_loses_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TailReader, "_read", nothing)
    assert broken(tmp_path, "lost what was acknowledged")


def test_a_session_that_nobody_releases_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Owners, "release", nothing)
    assert broken(tmp_path, "not settled")


def test_a_message_that_is_sent_again_behind_its_own_copy_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = ShardTail.resolve
    monkeypatch.setattr(ShardTail, "resolve", lambda tail, _found, last: resolve(tail, (), last))
    assert broken(tmp_path, "behind a later one")


OUTAGES = Plan(
    "outages",
    sessions=8,
    legs=8,
    length_s=60.0,
    slot_s=1.0,
    nodes=3,
    lasts_s=250.0,
    unsure=0.0,
    tail_bytes=500,
    outages=(
        (20.0, 15.0, "engine"),
        (50.0, 30.0, "database"),
        (90.0, 60.0, "store"),
        (180.0, 90.0, "store"),
        (200.0, 40.0, "database"),
        (210.0, 15.0, "engine"),
    ),
)
"""The fourth stage in small: one after the other away, then all together, and nobody dies."""


def test_all_is_delivered_in_order_after_outages_and_a_batch_that_is_left_out_is_found_though_nobody_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(World(OUTAGES, random.Random(4), tmp_path / "right").run()).faults == []

    def careless(batches: list[TailBatch], *, stored_through: int = 0, outlined_from: int = 0) -> bytes:
        kept = [each for place, each in enumerate(batches) if place != 1 or each.is_outline]
        return pack(kept, stored_through=stored_through, outlined_from=outlined_from)

    monkeypatch.setattr(tail, "pack", careless)
    faults = run(World(OUTAGES, random.Random(4), tmp_path / "wrong").run()).faults
    assert any("follows" in fault for fault in faults)


class Zombie:
    """A node that was taken for dead while a message of it was on its way, and whoever has its session now."""

    def __init__(self, *, is_fenced: bool) -> None:
        log = CheckedLog()
        tail = ShardTail(max_payload_bytes=1 << 20, room=Room(1 << 20))
        tail.resolve((), 0)
        self.send(log, tail, 0)
        if is_fenced:
            log.fence(Fence(by="b", sessions={hash_of("s"): 2}))
        read = log.batches()
        held = Held(epoch=1, node="a", shard=0), Held(epoch=2, node="b", shard=0)
        (joined,) = plan_of(Owned(session_id="s", app_id=None, held=held), [], read).journals
        self.has = {each.number for each in joined.batches}
        self.start: Start = joined.start
        self.send(log, tail, 1)
        self.acknowledged = set(range(tail.replicated_through("k") + 1))

    def send(self, log: CheckedLog, tail: ShardTail, number: int) -> None:
        tail.add(batch(number))
        message = tail.next_message()
        assert message is not None
        if log.last() == message.after:
            tail.acked(log.write(*message))
        else:
            tail.refused()
            tail.resolve(log.behind(tail.after), log.last())


def test_behind_a_fence_nothing_is_acknowledged_that_the_new_owner_has_not() -> None:
    zombie = Zombie(is_fenced=True)
    assert zombie.acknowledged <= zombie.has | {0}
    zombie = Zombie(is_fenced=False)
    assert not zombie.acknowledged <= zombie.has | {0}


def test_the_table_of_figures_has_a_column_for_each(tmp_path: Path) -> None:
    world = World(PLAN, random.Random(0), tmp_path)
    line = row(PLAN, world, world.figures)
    assert line.count("|") == 14
    assert sum(plan.sessions for plan in stages(100_000)) == 100_000
