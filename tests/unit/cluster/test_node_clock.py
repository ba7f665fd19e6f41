"""How far another node's clock is from ours, told from how long its entries are on their way."""

from __future__ import annotations

import pytest

from wavstream.cluster.node_clock import NodeClock, OwnWay

SECOND_US = 1_000_000
BEATS = 8


def told(behind_s: float, *, way_s: float) -> list[float]:
    """Return what is said of a clock that seems to be so far behind."""
    clock = NodeClock()
    said = [clock.saw(int(behind_s * SECOND_US), on_the_way_us=int(way_s * SECOND_US)) for _ in range(BEATS)]
    return [each / SECOND_US for each in said if each is not None]


@pytest.mark.parametrize("ours", [True, False], ids=["our way is slow", "its way is slow"])
def test_a_slow_way_to_nats_is_no_clock_that_differs(ours: bool) -> None:
    ways = [OwnWay(), OwnWay()]
    ways[not ours].saw(int(2.2 * SECOND_US))  # 1.1 s each way: what is heard is 1.1 s late
    assert told(1.1, way_s=sum(way.least_us for way in ways) / SECOND_US) == []


def test_a_clock_that_is_further_off_than_any_way_explains_is_told_once() -> None:
    assert told(5.0, way_s=0.1) == [4.9]
    assert told(5.0, way_s=2.2) == [2.8]
    assert told(-5.0, way_s=2.2) == [-5.0]


def test_the_way_is_the_shortest_of_a_few_beats() -> None:
    way = OwnWay()
    assert way.least_us == 0
    for took_us in (900, 20, -5, 700):
        way.saw(took_us)
    assert way.least_us == 0
    for took_us in (900, 20, 300, 700):
        way.saw(took_us)
    assert way.least_us == 20
