"""Where a request comes from: the peer of its socket, or the client that a trusted proxy says it speaks for.

Anyone can write ``X-Forwarded-For``, and every proxy adds the address of its own peer at the end, some as a line of its
own. So all lines are read as one list from its end, and an entry counts only if all that stand behind it, the peer too,
are trusted proxies. At an entry that is no address the reading stops, and the proxy that passed it on is the client.

A client on this machine may do without a key while no app exists. What any proxy passes on is never taken for one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def client_address(peer: str | None, forwarded_for: Iterable[str], trusted: Networks) -> str | None:
    """Return the address of the client; ``forwarded_for`` are the lines of ``X-Forwarded-For`` in their order."""
    if not trusted or not is_trusted(peer, trusted):
        return peer
    client = peer
    for entry in reversed(",".join(forwarded_for).split(",")):
        address = _address(entry.strip())
        if address is None:
            break
        client = str(address)
        if not is_trusted(client, trusted):
            break
    return client


def is_trusted(host: str | None, trusted: Networks) -> bool:
    """Return whether the address is that of a trusted proxy."""
    address = _address(host)
    return address is not None and any(address in network for network in trusted)


def is_local(host: str | None, header_names: Container[str]) -> bool:
    """Return whether the peer is on loopback and no proxy there speaks for another; names are in lower case."""
    return is_loopback(host) and not any(name in header_names for name in _FORWARDED)


def is_loopback(host: str | None) -> bool:
    """Return whether the host is an address of loopback; a name is not."""
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
