"""Where webhooks may go: which URLs an app may have, and which addresses may be connected to.

Whoever can set a URL must not be able to make the server talk to what only the server can reach: services on its own
machine, in its own network, the cloud's metadata.

1. A name says nothing about that, since its owner may point it anywhere and change it between two questions. So the
   rule is about the address of the connection, and each address is checked.
2. What is known without asking is refused when the URL is registered: addresses, in any spelling that a resolver takes
   for one (``127.1``, ``2130706433``, ``0x7f.1``), and ``localhost`` with all names below it, which are this machine
   (RFC 6761).
3. An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is judged by that: the machine or its router would
   connect there.

The tables are those of IANA's special-purpose registries. ``ipaddress.is_global`` is not asked: in Python 3.11 it lets
6to4 forms of private addresses pass.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

MAX_URL_CHARACTERS = 2_048

Address = IPv4Address | IPv6Address

OWN: tuple[IPv4Network | IPv6Network, ...] = (
    *map(
        IPv4Network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers and clouds; 100.100.100.200 is Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host, reachable from its machines only
            "169.254.0.0/16",  # 169.254.169.254: metadata of most clouds
            "172.16.0.0/12",
            "192.168.0.0/16",
        ),
    ),
    *map(IPv6Network, ("::1/128", "fc00::/7", "fe80::/10")),
)
"""This machine, its network and its cloud."""
NOBODYS: tuple[IPv4Network | IPv6Network, ...] = (
    *map(
        IPv4Network,
        (
            "0.0.0.0/8",  # Linux takes 0.0.0.0 for itself
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    ),
    *map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")),
)
"""Unspecified, multicast, reserved, for documentation and tests: nothing that could receive a webhook."""
_UNICAST = IPv6Network("2000::/3")
_MAPPED = (IPv6Network("::/96"), IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"))
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")


class Refused(OSError):
    """Nothing may be sent to this address; an OSError, so that a connector goes on to the next address of a name."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EACCES, why)


def check_url(url: str, *, allow_http: bool, allow_localhost: bool) -> None:
    """Raise ValueError if no webhook may go to this URL; where it has a name, that name is not looked up."""
    if len(url) > MAX_URL_CHARACTERS or not all("!" <= character <= "~" for character in url):
        raise ValueError(f"must be at most {MAX_URL_CHARACTERS} printable ASCII characters without spaces")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (allow_http and parts.scheme == "http"):
        raise ValueError("must begin with https://" + (" or http://" if allow_http else ""))
    if not parts.hostname or parts.port == 0:
        raise ValueError("must name a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must have neither a user name nor a fragment")
    host = parts.hostname.removesuffix(".")
    if f".{host}".endswith(".localhost") and not allow_localhost:  # rule 2
        raise ValueError(f"{host} is not on the public internet")
    if (address := _address(host)) is not None:
        try:
            check_address(address, allow_localhost=allow_localhost)
        except Refused as error:
            raise ValueError(error.strerror) from None


def check_address(address: str, *, allow_localhost: bool) -> None:
    """Raise Refused if nothing may be sent to this IP address; ``allow_localhost`` opens all that is ``OWN``."""
    judged = _judged(ip_address(address))  # rule 3
    if any(judged in network for network in OWN):
        if not allow_localhost:
            raise Refused(f"{address} is not on the public internet")
    elif any(judged in network for network in NOBODYS) or (judged.version == 6 and judged not in _UNICAST):
        raise Refused(f"{address} is not the address of a host")


def _address(host: str) -> str | None:
    """Return the address that a host is, however it is spelt; None: it is a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _judged(address: Address) -> Address:
    """Return the address itself, or the IPv4 one that it carries."""
    if isinstance(address, IPv4Address) or address == IPv6Address("::1"):
        return address
    if address in _NAT64 or any(address in network for network in _MAPPED):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _6TO4:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address
