"""Which client a request counts under, and who is on this machine."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from wavstream.access.origin import client_address, is_local

TRUSTED = (ip_network("127.0.0.1"), ip_network("10.2.0.0/16"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.2.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.2.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["2001:db8::9"], "2001:db8::9"),
        # A stranger's own lines do not count, whatever they say.
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        ("10.3.0.1", ["203.0.113.9"], "10.3.0.1"),
        (None, ["203.0.113.9"], None),
        ("socket", ["203.0.113.9"], "socket"),
        # What the client wrote itself stands before what the proxy added: in one line, or in two.
        ("127.0.0.1", ["8.8.8.8, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["8.8.8.8", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        # Two proxies of ours, one behind the other.
        ("127.0.0.1", ["8.8.8.8, 203.0.113.9, 10.2.0.4"], "203.0.113.9"),
        ("127.0.0.1", ["10.2.0.4"], "10.2.0.4"),
        # Not an address: the last one that is known.
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9, 10.2.0.4, "], "127.0.0.1"),
        ("127.0.0.1", ["junk, 10.2.0.4"], "10.2.0.4"),
    ],
)
def test_a_client_is_whom_the_first_address_from_the_end_that_is_no_trusted_proxy_names(
    peer: str | None, forwarded_for: list[str], client: str | None
) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == client


def test_without_trusted_proxies_the_client_is_the_peer() -> None:
    assert client_address("127.0.0.1", ["203.0.113.9"], ()) == "127.0.0.1"


def test_what_a_proxy_passes_on_is_not_of_this_machine_even_if_it_says_so() -> None:
    client = client_address("127.0.0.1", ["127.0.0.1"], TRUSTED)
    assert is_local(client, {})
    assert not is_local(client, {"x-forwarded-for"})
