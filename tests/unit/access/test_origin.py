"""Which client a request counts under, and who is on this machine."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from wavstream.access.origin import client_address, counted_as, is_foreign, is_local

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


OURS = ("Host", "127.0.0.1:8080")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "127.9.9.9:80", "localhost", "LocalHost:8080", "[::1]", "[::1]:8080"]
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.1.2.3"])
def test_a_client_on_this_machine_that_asks_for_loopback_is_local(peer: str, host: str) -> None:
    assert is_local(peer, [("host", host)])
    assert is_local(peer, [("Host", host), ("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin")])


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil"),
        *("", "0.0.0.0:8080", "10.0.0.1", "[::]", "[::1", "::1", "[fe80::1]", "127.1", "2130706433", "0x7f.1", "local"),
        *("localhost.", "[::ffff:10.0.0.1]", "127.0.0.1:8080, evil.example", "127.0.0.1:x", "[127.0.0.1]"),
        *("[::1%evil.com]", "[::1%25evil.com]:8080", "[::1%lo]", "user@127.0.0.1:8080"),
    ],
)
def test_a_name_that_was_pointed_here_is_not_local(host: str) -> None:
    assert not is_local("127.0.0.1", [("Host", host)])


def test_a_request_with_no_host_or_two_is_not_local() -> None:
    assert not is_local("127.0.0.1", [])
    assert not is_local("127.0.0.1", [OURS, OURS])


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:3000", "http://localhost:8080",
     "file://", "http://127.0.0.1:8080.evil.example", "chrome-extension://abc"],
)  # fmt: skip
def test_a_page_of_another_origin_is_not_local_unless_it_is_listed(origin: str) -> None:
    lines = [OURS, ("Origin", origin)]
    assert not is_local("127.0.0.1", lines)
    assert is_local("127.0.0.1", lines, allowed_origins={origin})
    assert not is_local("127.0.0.1", [*lines, ("Origin", "http://127.0.0.1:8080")])


@pytest.mark.parametrize(("site", "local"), [("cross-site", False), ("same-site", False), ("none", True)])
def test_a_page_that_sends_no_origin_is_told_by_where_it_is(site: str, local: bool) -> None:
    assert is_local("127.0.0.1", [OURS, ("Sec-Fetch-Site", site)]) is local


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "anything"])
def test_a_page_of_another_site_is_not_local_whatever_its_origin_unless_that_is_listed(site: str) -> None:
    ours = ("Origin", "http://127.0.0.1:8080")
    assert not is_local("127.0.0.1", [OURS, ours, ("Sec-Fetch-Site", site)])
    assert not is_local("127.0.0.1", [OURS, ours, ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", site)])
    desk = "https://desk.example.com"
    listed = [OURS, ("Origin", desk), ("Sec-Fetch-Site", site)]
    assert is_local("127.0.0.1", listed, allowed_origins={desk})
    assert not is_local("127.0.0.1", [*listed, ours], allowed_origins={desk})


@pytest.mark.parametrize(
    "name",
    ["Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything",
     "X-Real-IP", "CF-Connecting-IP", "CF-Ray", "True-Client-IP", "X-Original-URI",
     "CDN-Loop", "Fly-Client-IP", "Fly-Region", "X-Vercel-Id", "Proxy-Client-IP", "WL-Proxy-Client-IP", "Client-IP",
     "X-Remote-IP", "X-Originating-IP", "X-Appengine-User-IP", "Tailscale-User-Login", "X-Varnish", "X-Host",
     "X-Scheme", "X-ProxyUser-Ip", "X_Forwarded_For", "HTTP_X_FORWARDED_FOR", "X-Client-Forwarded", "X_Real_IP"],
)  # fmt: skip
def test_what_a_proxy_passes_on_is_not_local_even_if_it_says_so(name: str) -> None:
    assert not is_local(client_address("127.0.0.1", ["127.0.0.1"], TRUSTED), [OURS, (name, "127.0.0.1")])


def test_another_machine_is_not_local_whatever_it_says() -> None:
    for peer in ("198.51.100.7", "10.0.0.1", None, "socket"):
        assert not is_local(peer, [OURS])


@pytest.mark.parametrize(
    ("origin", "foreign"),
    [
        # What a page cannot choose, since a browser writes it.
        *[(f"https://{name}", True) for name in ("evil.example", "rec.example.com.evil.example", "evil.example:8443")],
        *[("null", True), ("file://", True), ("", True), ("chrome-extension://abc", True)],
        # Our own pages, and media servers that send the name that they connect to.
        *[("https://rec.example.com", False), ("http://rec.example.com:80", False), ("HTTPS://REC.example.com", False)],
        *[("rec.example.com", False), ("rec.example.com:8443", False), ("https://desk.example.com", False)],
    ],
)
def test_a_page_of_another_origin_is_foreign_unless_it_is_listed(origin: str, foreign: bool) -> None:
    allowed = {"https://desk.example.com"}
    assert is_foreign([origin], hosts=["rec.example.com:8443"], allowed_origins=allowed) is foreign
    assert (
        is_foreign(["https://rec.example.com", origin], hosts=["rec.example.com"], allowed_origins=allowed) is foreign
    )


@pytest.mark.parametrize("port", [1, 81, 8443, 9443])
def test_a_page_of_our_machine_on_another_port_is_foreign(port: int) -> None:
    for scheme in ("http", "https"):
        origin = f"{scheme}://127.0.0.1:{port}"
        assert is_foreign([origin], hosts=["127.0.0.1:8443"], allowed_origins=()) is (port != 8443)
        assert is_foreign([origin], hosts=["127.0.0.1"], allowed_origins=())


def test_who_sends_no_origin_is_not_foreign() -> None:
    assert not is_foreign([], hosts=["rec.example.com"], allowed_origins=())


@pytest.mark.parametrize(("address", "counted"), [("2001:db8::1", "2001:db8::/64"), ("a", "a"), ("", "")])
def test_an_address_is_counted_as_its_network(address: str, counted: str) -> None:
    assert counted_as(address) == counted
