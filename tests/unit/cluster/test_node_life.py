"""A node that goes on after it has stood still."""

from __future__ import annotations

import pytest

from tests.support.memory_engine import MemoryTable
from wavstream.cluster.membership import NodeState
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
