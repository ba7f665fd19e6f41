"""A node that goes on after it has stood still, and one that hears that another is gone."""

from __future__ import annotations

import pytest

from tests.support.memory_engine import MemoryTable
from tests.support.waiting import until
from wavstream.cluster import node_life
from wavstream.cluster.membership import NodeState, encode_node, node_key
from wavstream.cluster.node_life import NodeLife


@pytest.mark.parametrize(("still_s", "times"), [(0.9, 0), (1.1, 1), (3_600.0, 1)])
async def test_that_a_node_has_stood_still_is_noticed_once_by_whoever_asks_first(still_s: float, times: int) -> None:
    now_us, noticed = 5_000_000, list[int]()
    life = NodeLife(
        MemoryTable(),
        state=NodeState(name="a", installation="i"),
        lease_s=2.0,
        load=lambda: 0.0,
        is_draining=lambda: False,
        now_us=lambda: now_us,
    )
    life.on_standstill(lambda: noticed.append(now_us))
    life.notice_standstill()  # it has not begun
    await life.start()
    now_us += round(still_s * 1e6)
    life.notice_standstill()
    life.notice_standstill()
    await life.stop()
    assert len(noticed) == times


async def test_a_node_at_which_nobody_listens_is_dead_without_a_wait_for_the_next_beat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_life, "BEAT_S", 3_600.0)
    table = MemoryTable()
    await table.put(node_key("b"), encode_node(NodeState(name="b", installation="of b", beat=1)), after=0)
    life = NodeLife(
        table,
        state=NodeState(name="a", installation="i"),
        lease_s=2.0,
        load=lambda: 0.0,
        is_draining=lambda: False,
    )
    await life.start()
    life.beat_now()  # the first one that comes back is what everybody counts from
    await until(lambda: life._membership._heard_us is not None and life.is_alive("b"))
    life.refused("b")
    assert life.is_alive("b")
    await until(lambda: not life.is_alive("b"))
    await life.stop()
