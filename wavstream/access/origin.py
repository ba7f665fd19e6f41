"""Where a request comes from: the peer of its socket, or the client that a trusted proxy says it speaks for.

Anyone can write ``X-Forwarded-For``, and every proxy adds the address of its own peer at the end, some as a line of its
own. So all lines are read as one list from its end, and an entry counts only if all that stand behind it, the peer too,
are trusted proxies. At an entry that is no address the reading stops, and the proxy that passed it on is the client.

A client on this machine may do without a key before the first app exists. It is one if

1. its socket comes from loopback,
2. it asks for loopback by an address or as ``localhost``: a name that a stranger's page has pointed here is none, and
   neither is an address with a zone, which is any text,
3. it is no page of another origin or site: browsers say whose page asks, and a page cannot change that. A page that is
   listed may be of another site,
4. nothing that a proxy would add is there. Some write ``_`` for ``-``, so both are read as one.

A page may open a WebSocket to any host, so media sockets refuse pages of other origins whatever they show. Media
servers send no ``Origin``; some that are built on libwebsockets send the name that they connect to.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Iterable
from typing import Literal

from wavstream.model.hosts import UNIX

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix:"], ...]
"""Of trusted proxies; ``unix:`` is whoever comes by a unix socket."""

_BY_PROXIES = frozenset(
    (
        *("via", "cdn-loop", "x-varnish", "x-host", "x-scheme", "client-ip", "true-client-ip", "fastly-client-ip"),
        *("proxy-client-ip", "wl-proxy-client-ip", "x-client-ip", "x-cluster-client-ip", "x-originating-ip"),
        *("x-proxyuser-ip", "x-real-ip", "x-remote-ip", "x-remote-addr"),
    )
)
_BY_PROXIES_BEGIN = (
    *("cf-", "fly-", "tailscale-", "x-amz-cf-", "x-amzn-", "x-appengine-", "x-azure-", "x-envoy-", "x-original-"),
    "x-vercel-",
)
_BY_PROXIES_HAVE = "forwarded"
_USUAL_PORTS = {"http": ":80", "https": ":443"}
_OUR_PAGES = ("same-origin", "none")
"""Of ``Sec-Fetch-Site``, which browsers send with ``Origin`` and without."""


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
    """Return whether the address is that of a trusted proxy; None is that of a unix socket's peer."""
    if host is None:
        return UNIX in trusted
    address = _address(host)
    return address is not None and any(address in network for network in trusted if not isinstance(network, str))


def counted_as(address: str) -> str:
    """Return what an address is counted under: IPv6 by its /64, which is what one subscriber has at least."""
    found = _address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address if found is None else str(found)


Lines = Iterable[tuple[str, str]]
"""The header lines of a request."""


def is_local(host: str | None, lines: Lines, *, allowed_origins: Collection[str] = ()) -> bool:
    """Return whether the peer is a client on this machine that speaks for itself."""
    if not is_loopback(host):  # rule 1
        return False
    said: dict[str, list[str]] = {}
    for name, value in lines:
        said.setdefault(name.lower().replace("_", "-"), []).append(value.strip().lower())
    if any(_is_of_proxy(name) for name in said):  # rule 4
        return False
    asked = said.get("host", [])
    if len(asked) != 1 or not _is_literal_loopback(asked[0]):  # rule 2
        return False
    origins = said.get("origin", [])  # rule 3
    ours = (f"http://{asked[0]}", f"https://{asked[0]}", _name_in(asked[0]), *allowed_origins)
    if not all(each in ours for each in origins):
        return False
    is_listed = bool(origins) and all(each in allowed_origins for each in origins)
    return is_listed or all(each in _OUR_PAGES for each in said.get("sec-fetch-site", []))


def is_foreign(origins: Iterable[str], *, hosts: Iterable[str], allowed_origins: Collection[str]) -> bool:
    """Return whether a page of another origin asks: one that is neither listed nor our own.

    ``hosts`` are what we are called, with or without a port. A page that names a port is ours where that is ours too.
    Nothing tells one without from what libwebsockets sends, so there our name is enough.
    """
    ours = {host.lower() for host in hosts}
    names = {_name_in(host) for host in ours}

    def is_ours(origin: str) -> bool:
        scheme, is_url, authority = origin.partition("://")
        if not is_url:  # no browser's
            return _name_in(origin) in names
        authority = authority.removesuffix(_USUAL_PORTS.get(scheme, ""))
        return authority in ours or authority in names

    return any(origin not in allowed_origins and not is_ours(origin) for origin in (_plain(each) for each in origins))


def _plain(origin: str) -> str:
    return origin.strip().lower()


def _name_in(authority: str) -> str:
    """Return the host of ``host:port``; an IPv6 address keeps its brackets."""
    name, colon, port = authority.rpartition(":")
    return name if colon and port.isdigit() and (not name.count(":") or name.endswith("]")) else authority


def _is_of_proxy(name: str) -> bool:
    return name in _BY_PROXIES or name.startswith(_BY_PROXIES_BEGIN) or _BY_PROXIES_HAVE in name


@functools.lru_cache
def _is_literal_loopback(authority: str) -> bool:
    name = _name_in(authority)
    if name == "localhost":
        return True
    if "%" in name:
        return False
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        address = ipaddress.ip_address(name[1:-1] if bracketed else name)
    except ValueError:
        return False
    return address.is_loopback and bracketed == (address.version == 6)


def is_loopback(host: str | None) -> bool:
    """Return whether the host is an address of loopback; a name is not."""
    address = _address(host)
    return address is not None and address.is_loopback


@functools.lru_cache
def _address(host: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def authority_of(target: bytes) -> bytes | None:
    """Return whom a request's target names itself; None for a path alone."""
    if target.startswith(b"/") or target == b"*":
        return None
    rest = target.partition(b"://")[2] or target
    return rest.partition(b"/")[0].partition(b"?")[0].partition(b"#")[0]
