"""Nodes that live beside each other over a real NATS: who is alive, who may not start, and whose clock is wrong."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.cluster_engine import a_name, a_node, connected, living
from tests.support.nats import NatsCluster, NatsServer
from tests.support.waiting import until
from wavstream.cluster.engine import EntryChanged
from wavstream.cluster.membership import encode_node, node_key
from wavstream.cluster.node_life import PROTOCOL, NodeLife
from wavstream.cluster.start_checks import common_of
from wavstream.errors import OperatorError

pytestmark = pytest.mark.xdist_group("nats")


async def test_nodes_hear_of_each_other_and_the_lowest_name_does_what_is_done_once(nats_server: NatsServer) -> None:
    name, came = a_name(), list[str]()
    async with living(nats_server, "b", name=name, load=lambda: 0.5) as second:
        second.on_alive(came.append)
        assert second.is_first
        async with living(nats_server, "a", name=name) as first:
            await until(lambda: first.live() == second.live() == ("a", "b"))
            await until(lambda: came == ["a"])

            assert (first.is_first, second.is_first) == (True, False)
            state = first.state_of("b")
            assert state is not None
            assert (state.address, state.load, state.protocol) == ("10.0.0.1:8090", 0.5, PROTOCOL)
            assert [state.name for state in second.states()] == ["a", "b"]


async def test_a_node_that_leaves_is_gone_at_once_and_one_that_is_killed_after_its_lease(
    nats_server: NatsServer,
) -> None:
    name, went, came = a_name(), list[str](), list[str]()
    with capture_logs() as logs:
        async with living(nats_server, "a", name=name) as life:
            life.on_dead(went.append)
            life.on_alive(came.append)
            async with living(nats_server, "b", name=name), living(nats_server, "c", name=name, is_killed=True):
                await until(lambda: sorted(came) == ["b", "c"])
            await until(lambda: sorted(went) == ["b", "c"])
            assert not life.is_alive("b")
            assert not life.is_alive("c")
            assert life.state_of("b") is None
            assert life.state_of("c") is not None

            async with living(nats_server, "c", name=name):  # the same data folder, started again
                await until(lambda: came[2:] == ["c"])
                assert life.is_alive("c")
    events = [(entry["event"], entry["node"]) for entry in logs if entry["event"].startswith("node_")]
    assert ("node_left", "b") in events
    assert ("node_dead", "c") in events


async def test_what_changes_of_a_node_is_told_at_once_when_it_says_so(nats_server: NatsServer) -> None:
    name, is_draining = a_name(), False
    async with (
        living(nats_server, "a", name=name, is_draining=lambda: is_draining) as life,
        living(nats_server, "b", name=name) as other,
    ):
        is_draining = True
        life.beat_now()

        await until(lambda: (state := other.state_of("a")) is not None and state.is_draining)


async def test_nobody_is_dead_because_nats_was_away(nats_server: NatsServer) -> None:
    name, went = a_name(), list[str]()
    async with living(nats_server, "a", name=name) as one, living(nats_server, "b", name=name) as other:
        await until(lambda: one.live() == other.live() == ("a", "b"))
        for life in (one, other):
            life.on_dead(went.append)
        nats_server.freeze()
        try:
            await until(lambda: one.is_cut_off and other.is_cut_off)
        finally:
            nats_server.thaw()
        await until(lambda: not one.is_cut_off and not other.is_cut_off)
        beats = one.state_of("b"), other.state_of("a")
        await until(lambda: one.state_of("b") != beats[0] and other.state_of("a") != beats[1])

        assert went == []


async def test_nobody_is_dead_because_a_server_of_nats_was_killed(nats_cluster: NatsCluster) -> None:
    name, went = a_name(), list[str]()
    async with AsyncExitStack() as lives:
        nodes = [await lives.enter_async_context(living(nats_cluster, node, name=name)) for node in "abc"]
        await until(lambda: all(len(node.live()) == 3 for node in nodes))
        for life in nodes:
            life.on_dead(went.append)
        leader = await nats_cluster.leader(f"KV_{name}")
        leader.kill()
        try:
            before = [node.state_of(node.name) for node in nodes]
            await until(lambda: all(node.state_of(node.name) != was for node, was in zip(nodes, before, strict=True)))
            await until(lambda: not any(node.is_cut_off for node in nodes))
        finally:
            leader.start()

        assert went == []


async def test_two_nodes_of_one_name_are_refused_but_for_one_that_is_started_again(nats_server: NatsServer) -> None:
    name = a_name()
    async with living(nats_server, "a", name=name, is_killed=True), connected(nats_server, name=name) as engine:
        other = NodeLife(
            engine.table,
            state=a_node("a", installation="another data folder"),
            lease_s=2.0,
            load=lambda: 0.0,
            is_draining=lambda: False,
        )
        with pytest.raises(OperatorError) as refused:
            await other.start()
        await other.stop()
        assert str(refused.value) == (
            "another node is called a and runs at 10.0.0.1:8090: give each node a name of its own "
            "(WAVSTREAM_CLUSTER__NODE), or stop that one"
        )
        copied = NodeLife(engine.table, state=a_node("a"), lease_s=2.0, load=lambda: 0.0, is_draining=lambda: False)
        with pytest.raises(OperatorError, match="runs with a copy of this data folder at"):
            await copied.start()
        await copied.stop()
    async with living(nats_server, "a", name=name, is_killed=True):
        pass

    # Its data folder is lost, and it is dead: another may have its name.
    async with connected(nats_server, name=name) as engine:
        other = NodeLife(
            engine.table,
            state=a_node("a", installation="another data folder"),
            lease_s=2.0,
            load=lambda: 0.0,
            is_draining=lambda: False,
        )
        await other.start()
        assert other.live() == ("a",)
        await other.stop()


async def test_a_node_whose_name_was_taken_while_it_was_silent_says_so_and_changes_nothing(
    nats_server: NatsServer,
) -> None:
    name = a_name()
    with capture_logs() as logs:
        async with living(nats_server, "a", name=name), connected(nats_server, name=name, node="b") as engine:
            theirs = encode_node(a_node("a", installation="another data folder", beat=1))

            async def taken() -> bool:
                entry = await engine.table.get(node_key("a"))
                try:
                    await engine.table.put(node_key("a"), theirs, after=entry.revision)
                except EntryChanged:  # by a beat between
                    return False
                return True

            await until(taken)
            await until(lambda: any(entry["event"] == "node_name_taken" for entry in logs))
        async with connected(nats_server, name=name) as engine:
            assert (await engine.table.get(node_key("a"))).value == theirs


async def test_a_node_of_another_protocol_is_refused_beside_one_that_lives(nats_server: NatsServer) -> None:
    name = a_name()
    async with connected(nats_server, name=name, node="b") as engine:
        beat = revision = 0

        async def keep_beating() -> bool:
            """Change the entry of a node of the next version, and return whether the start was refused."""
            nonlocal beat, revision
            beat += 1
            told = encode_node(a_node("b", version="9.0.0", protocol=PROTOCOL + 1, beat=beat))
            revision = await engine.table.put(node_key("b"), told, after=revision)
            return starting.done()

        revision = await engine.table.put(node_key("b"), encode_node(a_node("b", protocol=PROTOCOL + 1)), after=0)
        async with connected(nats_server, name=name) as own:
            life = NodeLife(own.table, state=a_node("a"), lease_s=2.0, load=lambda: 0.0, is_draining=lambda: False)
            starting = asyncio.create_task(life.start())
            await until(keep_beating)
            with pytest.raises(OperatorError) as refused:
                await starting
            await life.stop()
    assert str(refused.value) == (
        f"node b runs version 9.0.0, which speaks protocol {PROTOCOL + 1} between nodes, and this one speaks "
        f"{PROTOCOL}: drain and stop the nodes of one of the versions first (docs/cluster.md)"
    )

    async with living(nats_server, "a", name=name) as alone:  # that one is dead by now
        await until(lambda: alone.live() == ("a",))


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"database": "other"}, "WAVSTREAM_CATALOG__URL"),
        ({"bucket": "s3://other"}, "WAVSTREAM_STORAGE__URL"),
        ({"master": b"other"}, "WAVSTREAM_MASTER_KEY"),
    ],
)
async def test_a_node_with_another_database_bucket_or_key_than_one_that_lives_is_refused(
    nats_server: NatsServer, changed: dict[str, Any], setting: str
) -> None:
    name = a_name()
    alike: dict[str, Any] = {"database": "one", "bucket": "s3://calls", "master": b"m" * 32}
    async with AsyncExitStack() as lives:
        for node in "ab":
            state = {"common": common_of(**alike)}
            await lives.enter_async_context(living(nats_server, node, name=name, state=state))
        other = living(nats_server, "c", name=name, state={"common": common_of(**alike | changed)})
        with pytest.raises(OperatorError) as refused:
            await lives.enter_async_context(other)

    assert re.fullmatch(
        f"{setting} is another one than that of node [ab], and all nodes must have the same: set it to that",
        str(refused.value),
    )


@pytest.mark.parametrize("ahead_s", [-5, 5, 0])
async def test_a_clock_that_differs_by_more_than_a_second_is_a_warning_once(
    nats_server: NatsServer, ahead_s: int
) -> None:
    name = a_name()
    with capture_logs() as logs:
        async with living(nats_server, "a", name=name) as life:
            wrong = lambda: time.time_ns() // 1000 + ahead_s * 1_000_000  # noqa: E731
            async with living(nats_server, "b", name=name, wall_us=wrong) as other:
                await until(lambda: (state := life.state_of("b")) is not None and state.beat > 7)
                await until(lambda: (state := other.state_of("a")) is not None and state.beat > 7)
    told = [(entry["node"], entry["behind_s"]) for entry in logs if entry["event"] == "node_clock_differs"]
    assert [(node, round(behind_s)) for node, behind_s in sorted(told)] == (
        [("a", ahead_s), ("b", -ahead_s)] if ahead_s else []
    )
