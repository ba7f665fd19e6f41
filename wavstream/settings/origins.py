"""Origins of pages as settings name them, written as browsers send them.

A browser writes the scheme and the host in lower case, a host of other letters in Punycode (RFC 5891, by UTS 46), an
address of IPv6 in its short form, and leaves out the port that its scheme has by itself
(https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin and
https://url.spec.whatwg.org/#host-parsing). Origins are compared letter by letter, so one that is listed in another form
would never be met.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

import idna

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^/?#@\s,:\[\]\\]+)(?::([0-9]*))?")
_USUAL_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


def as_sent(given: str) -> str:
    """Return an origin as browsers send it; raise ValueError if they never send one that is like it."""
    found = _ORIGIN.fullmatch(given.lower())
    if found is None:
        raise ValueError(f"must be origins such as https://name:port, and {given} is none")
    scheme, host, port = found[1], found[2], found[3]
    if "*" in host:
        raise ValueError(f"must name each origin, and {given} has a * in its name, which no browser sends")
    if port and not 0 < int(port[:6]) < 65_536:
        raise ValueError(f"must be origins such as https://name:port, and {given} has no port's number")
    if scheme in _USUAL_PORTS:
        host = _host(host, given)
    usual = port and int(port) == _USUAL_PORTS.get(scheme)
    return f"{scheme}://{host}" + (f":{int(port)}" if port and not usual else "")


def _host(host: str, given: str) -> str:
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        if host.rstrip(".").rpartition(".")[2].isdigit():
            return str(ipaddress.IPv4Address(host))
        return host if host.isascii() else idna.encode(host, uts46=True).decode()
    except ValueError:  # of idna too
        raise ValueError(
            f"must be origins such as https://name:port, and {given} has no host that there can be"
        ) from None
