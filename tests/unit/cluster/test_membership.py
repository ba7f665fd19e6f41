"""Who is alive, by beats that come through one table."""

from __future__ import annotations

from wavstream.cluster.membership import Membership, NodeState, decode_node, encode_node, node_key

BEAT_US = 500_000
LEASE_US = 2_000_000


class Watcher:
    """Node ``a``, and the table that tells it of beats."""

    def __init__(self) -> None:
        self.membership = Membership("a", lease_us=LEASE_US)
        self.now_us = 0
        self.beats: dict[str, int] = {}

    def beat(self, *names: str) -> None:
        """Let time go on by a beat, and tell those of these nodes."""
        self.now_us += BEAT_US
        for name in names:
            self.beats[name] = self.beats.get(name, 0) + 1
            self.membership.saw(node(name, self.beats[name]), self.now_us)


def node(name: str, beat: int, *, installation: str = "i") -> NodeState:
    return NodeState(name=name, installation=installation, beat=beat)


def test_a_node_that_beats_is_alive_and_one_that_stops_is_dead_after_the_lease() -> None:
    watcher = Watcher()
    for _ in range(4):
        watcher.beat("a", "b", "c")
    last_us = watcher.now_us
    assert watcher.membership.live() == ("a", "b", "c")
    while watcher.membership.is_alive("b"):
        watcher.beat("a", "c")
        assert watcher.now_us < last_us + 2 * LEASE_US
    assert watcher.now_us == last_us + LEASE_US
    assert watcher.membership.live() == ("a", "c")
    assert watcher.membership.dead() == ("b",)
    assert watcher.membership.absent_since_us("b") == last_us + LEASE_US


def test_a_node_that_refuses_connections_since_its_last_beat_is_dead_after_a_quarter_of_the_lease() -> None:
    watcher = Watcher()
    for _ in range(4):
        watcher.beat("a", "b", "c")
    last_us = watcher.now_us
    assert watcher.membership.refused("b") == last_us + LEASE_US // 4
    assert watcher.membership.refused("b") is None  # it was said
    assert watcher.membership.refused("nobody") is None
    assert watcher.membership.is_alive("b")
    while watcher.membership.is_alive("b"):
        watcher.beat("a", "c")
    assert watcher.now_us == last_us + LEASE_US // 4
    assert watcher.membership.live() == ("a", "c")


def test_a_beat_behind_a_refusal_is_of_a_node_that_lives() -> None:
    watcher = Watcher()
    watcher.beat("a", "b")
    watcher.membership.refused("b")
    watcher.beat("a", "b")
    for _ in range(LEASE_US // BEAT_US - 1):
        watcher.beat("a")
        assert watcher.membership.is_alive("b")


def test_a_node_that_refuses_is_not_dead_while_the_own_beats_do_not_come_back() -> None:
    watcher = Watcher()
    watcher.beat("a", "b")
    watcher.membership.refused("b")
    for _ in range(100):
        watcher.beat()
    assert watcher.membership.is_alive("b")


def test_nobody_is_dead_while_the_own_beats_do_not_come_back() -> None:
    watcher = Watcher()
    watcher.beat("a", "b")
    for _ in range(100):
        watcher.beat()
    assert watcher.membership.live() == ("a", "b")
    assert watcher.membership.is_cut_off(watcher.now_us)


def test_after_an_outage_everybody_begins_to_count_again() -> None:
    watcher = Watcher()
    watcher.beat("a", "b")
    for _ in range(100):
        watcher.beat()
    watcher.beat("a")
    begins_us = watcher.now_us
    while watcher.membership.is_alive("b"):
        watcher.beat("a")
    assert watcher.now_us == begins_us + LEASE_US


def test_a_watcher_that_stood_still_takes_nobody_for_dead() -> None:
    watcher = Watcher()
    for _ in range(4):
        watcher.beat("a", "b")
    watcher.now_us += 10 * LEASE_US
    watcher.beat("a")
    assert watcher.membership.is_alive("b")
    watcher.beat("b", "a")
    assert watcher.membership.is_alive("b")


def test_what_the_watch_tells_again_is_no_beat() -> None:
    watcher = Watcher()
    for _ in range(4):
        watcher.beat("a", "b")
    for _ in range(4):
        watcher.beat("a")
        watcher.membership.saw(node("b", watcher.beats["b"]), watcher.now_us)
    assert not watcher.membership.is_alive("b")


def test_a_node_that_is_started_again_is_alive_though_it_counts_from_one() -> None:
    watcher = Watcher()
    for _ in range(4):
        watcher.beat("a", "b")
    for _ in range(6):
        watcher.beat("a")
    assert not watcher.membership.is_alive("b")
    watcher.membership.saw(node("b", 1), watcher.now_us)
    assert watcher.membership.is_alive("b")


def test_a_node_whose_entry_was_deleted_is_dead_at_once_and_alive_when_it_is_back() -> None:
    watcher = Watcher()
    watcher.beat("a", "b")
    watcher.membership.gone("b", watcher.now_us)
    assert watcher.membership.dead() == ("b",)
    assert watcher.membership.absent_since_us("b") == watcher.now_us
    assert watcher.membership.state("b") is None
    watcher.beat("a", "b")
    assert watcher.membership.live() == ("a", "b")
    assert watcher.membership.dead() == ()


def test_a_node_that_nobody_has_seen_is_not_alive_and_we_always_are() -> None:
    watcher = Watcher()
    assert watcher.membership.is_alive("a")
    assert not watcher.membership.is_alive("nobody")
    assert watcher.membership.live() == ("a",)


def test_an_entry_of_another_version_can_be_read() -> None:
    assert decode_node(encode_node(node("b", 3))) == node("b", 3)
    assert decode_node(b'{"name":"b","installation":"i","beat":3,"colour":"red"}') == node("b", 3)
    assert node_key("b") == "node.b"
