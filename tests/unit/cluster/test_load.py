"""Which node a new session goes to: none that would refuse it, where another has room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wavstream.cluster.load import NodeLoad, has_room, place_for
from wavstream.cluster.membership import NodeState
from wavstream.sessions.admission import FULL_BYTES, DiskReserve
from wavstream.sessions.load import Headroom, Load

KEPT = 256 << 20


class Node:
    """What a node knows of itself."""

    def __init__(self) -> None:
        self.load = Load(Headroom())
        self.reserve = DiskReserve(Path(), KEPT)
        self.reserve.free_bytes = 1 << 40
        self.journal: str | None = None
        self.own = NodeLoad(self.load, reserve=self.reserve, journal_refused=lambda: self.journal)

    def told(self, name: str = "a") -> NodeState:
        """Return what the others hear of it."""
        return NodeState(name=name, installation="i", load=self.own.ratio, is_draining=self.own.is_draining)


def drains(node: Node) -> None:
    node.load.is_draining = True


def is_too_late(node: Node) -> None:
    node.load.door.closed_by = "its event loop"


def has_a_full_disk(node: Node) -> None:
    node.reserve.free_bytes = FULL_BYTES - 1


def has_less_than_its_reserve(node: Node) -> None:
    node.reserve.free_bytes = KEPT - 1


def has_a_disk_that_is_read_only(node: Node) -> None:
    node.reserve.read_only = Path("spool")


def has_a_disk_that_hangs(node: Node) -> None:
    node.journal = "the journal's disk has not taken a write for 9 s"


@pytest.mark.parametrize(
    "trouble",
    [
        drains,
        is_too_late,
        has_a_full_disk,
        has_less_than_its_reserve,
        has_a_disk_that_is_read_only,
        has_a_disk_that_hangs,
    ],
)
def test_a_node_that_would_refuse_a_new_session_has_another_take_it_and_is_sent_none(
    trouble: Callable[[Node], None],
) -> None:
    node, other = Node(), Node()
    assert not node.own.refuses_new
    assert has_room(node.told())

    trouble(node)

    assert node.own.refuses_new
    assert place_for("call", [node.told("a"), other.told("b")], but="a") == "b"
    assert place_for("call", [node.told("a"), other.told("b")], but="b") is None


def test_one_whose_disk_has_room_again_takes_sessions_again() -> None:
    node = Node()
    has_a_full_disk(node)
    node.reserve.free_bytes = 1 << 40
    assert not node.own.refuses_new
    assert has_room(node.told())
