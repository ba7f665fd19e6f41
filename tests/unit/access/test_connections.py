from __future__ import annotations

from ipaddress import ip_network

import pytest

from wavstream.access.connections import Connections, Place, network_of


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (None, ""),
        ("a name", "a name"),
    ],
)
def test_an_address_of_ipv6_is_counted_by_its_64(host: str | None, network: str) -> None:
    assert network_of(host) == network


class Crowd:
    """Connections that remember who gave way."""

    def __init__(self, per_address: int) -> None:
        self.connections = Connections(per_address=per_address)
        self.gave_way: list[str] = []

    def comes(self, name: str, host: str = "192.0.2.7") -> Place:
        place = Place.of(host, trusted=(ip_network("10.0.0.0/8"),), give_way=lambda: self.gave_way.append(name))
        self.connections.wait(place)
        return place


def test_of_one_address_the_longest_waiting_gives_way_and_others_do_not() -> None:
    crowd = Crowd(per_address=2)
    for name in ("a", "b"):
        crowd.comes(name)
    crowd.comes("other", "192.0.2.8")
    assert crowd.gave_way == []
    crowd.comes("c")
    assert (crowd.gave_way, crowd.connections.waiting) == (["a"], 3)


def test_neighbours_in_a_64_are_one_address() -> None:
    crowd = Crowd(per_address=2)
    for number in range(3):
        crowd.comes(str(number), f"2001:db8::{number}")
    crowd.comes("other", "2001:db8:0:1::1")
    assert crowd.gave_way == ["0"]


def test_behind_a_trusted_proxy_nobody_is_counted_by_address() -> None:
    crowd = Crowd(per_address=2)
    for number in range(9):
        crowd.comes(str(number), "10.2.3.4")
    assert (crowd.gave_way, crowd.connections.waiting) == ([], 9)
    assert crowd.connections.make_room()
    assert crowd.gave_way == ["0"]


def test_who_works_does_not_give_way_and_waits_anew_afterwards() -> None:
    crowd = Crowd(per_address=3)
    first = crowd.comes("a")
    crowd.comes("b")
    crowd.connections.work(first)
    assert crowd.connections.make_room()
    assert not crowd.connections.make_room()
    crowd.connections.wait(first)
    crowd.comes("c")
    assert crowd.connections.make_room()
    assert crowd.gave_way == ["b", "a"]


def test_who_was_answered_gives_way_only_where_there_is_nobody_else() -> None:
    crowd = Crowd(per_address=3)
    known = crowd.comes("known")
    crowd.connections.work(known)
    known.was_answered = True
    crowd.connections.wait(known)
    for name in ("a", "b", "c"):
        crowd.comes(name)
    assert crowd.gave_way == ["a"]
    while crowd.connections.make_room():
        pass
    assert crowd.gave_way == ["a", "b", "c", "known"]


def test_who_is_gone_gives_way_to_nobody() -> None:
    crowd = Crowd(per_address=1)
    place = crowd.comes("a")
    crowd.connections.work(place)
    crowd.connections.work(place)
    crowd.comes("b")
    assert (crowd.gave_way, crowd.connections.waiting) == ([], 1)
