"""Where a request comes from: a client on this machine may do without a key while no app exists."""

from __future__ import annotations

import ipaddress
from collections.abc import Container

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


def is_local(host: str | None, header_names: Container[str]) -> bool:
    """Whether the peer is on loopback and no proxy there says that it speaks for another; names in lower case."""
    return _is_loopback(host) and not any(name in header_names for name in _FORWARDED)


def _is_loopback(host: str | None) -> bool:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
