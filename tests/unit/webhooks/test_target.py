"""Where webhooks may go."""

from __future__ import annotations

import pytest

from wavstream.webhooks.target import Refused, check_address, check_url

OWN = [
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "127.0.0.1", "127.255.255.254",
    "169.254.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16",
    "::1", "fc00::1", "fdff::1", "fd00:ec2::254", "fe80::1", "fe80::1%1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "::ffff:0:10.0.0.1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:1::5", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
NOBODYS = [
    "0.0.0.0", "0.1.2.3", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "ff02::1", "100::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "fec0::1", "64:ff9b:1::1",
    "::ffff:0.0.0.0", "::ffff:224.0.0.1", "2002:e000:1::", "64:ff9b::255.255.255.255",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "223.255.255.255",
    "2606:4700::1111", "2a00:1450::1", "64:ff9b::1.1.1.1", "::ffff:1.1.1.1", "2002:101:101::1",
]  # fmt: skip


@pytest.mark.parametrize("address", OWN)
def test_an_address_of_our_own_networks_is_refused_unless_it_is_allowed(address: str) -> None:
    with pytest.raises(Refused, match="not on the public internet"):
        check_address(address, allow_localhost=False)
    check_address(address, allow_localhost=True)


@pytest.mark.parametrize("address", NOBODYS)
@pytest.mark.parametrize("allow_localhost", [False, True])
def test_an_address_that_is_no_hosts_is_always_refused(address: str, allow_localhost: bool) -> None:
    with pytest.raises(Refused, match="not the address of a host"):
        check_address(address, allow_localhost=allow_localhost)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_used(address: str) -> None:
    check_address(address, allow_localhost=False)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://shop.example/hooks", "begin with https"),
        ("ftp://shop.example/", "begin with https"),
        ("//shop.example/", "begin with https"),
        ("", "begin with https"),
        ("https://", "name a host"),
        ("https:///hooks", "name a host"),
        ("https://shop.example:0/", "name a host"),
        ("https://shop.example:99999/", "range"),
        ("https://[::1/", "Invalid IPv6"),
        ("https://user:secret@shop.example/", "user name"),
        ("https://shop.example/#part", "fragment"),
        ("https://shop.example/a b", "without spaces"),
        ("https://shop.example/\r\nx: y", "without spaces"),
        ("https://bücher.example/", "ASCII"),
        ("https://shop.example/" + "a" * 2048, "2048"),
        ("https://127.0.0.1/", "public internet"),
        ("https://[::ffff:10.0.0.1]:8443/", "public internet"),
        ("https://0.0.0.0/", "address of a host"),
        ("https://localhost:9000/hooks", "localhost is not on the public internet"),
        ("https://LocalHost./", "public internet"),
        ("https://hooks.localhost/", "public internet"),
        ("https://127.1/", "public internet"),
        ("https://2130706433/", "public internet"),
        ("https://0x7f.1/", "public internet"),
        ("https://017700000001/", "public internet"),
        ("https://127.0.0.1./", "public internet"),
        ("https://10.1/", "public internet"),
        ("https://0/", "address of a host"),
    ],
)
def test_a_url_that_no_webhook_may_have_is_refused_with_the_reason(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_url(url, allow_http=False, allow_localhost=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/hooks?key=%20a",
        "https://1.1.1.1:8443",
        "https://xn--bcher-kva.example",
        "https://localhost.example",
        "https://notlocalhost",
        "https://127.example",
        "https://16843009",
    ],
)
def test_an_https_url_of_a_name_or_a_public_address_may_be_had(url: str) -> None:
    check_url(url, allow_http=False, allow_localhost=False)


def test_plain_http_and_own_addresses_are_opened_by_one_switch_each() -> None:
    check_url("http://shop.example/", allow_http=True, allow_localhost=False)
    for host in ("127.0.0.1", "localhost", "hooks.localhost", "127.1"):
        check_url(f"https://{host}/", allow_http=False, allow_localhost=True)
    with pytest.raises(ValueError, match="public internet"):
        check_url("http://127.0.0.1/", allow_http=True, allow_localhost=False)
