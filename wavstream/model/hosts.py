"""The hosts and the port that the server listens on: addresses, names, and unix sockets by their paths.

One text names all hosts, commas between them; in a file it may be a list. A name is left to the resolver of this
machine. Two sockets cannot have one address, so two hosts that are one address are a mistake: ``localhost`` is
127.0.0.1, and ``0.0.0.0`` and ``::`` are every address of their families. ``::`` is IPv4 too where no address of IPv4
is beside it.

``wavstream-health`` reads the same settings every few seconds, so nothing here imports more than a little.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Collection
from pathlib import PurePosixPath

UNIX = "unix:"
"""Begins a host that is the path of a unix socket; alone, among trusted proxies, it is whoever comes by one."""
MAX_PATH_BYTES = 107
"""Of ``sun_path`` in unix(7), without the zero at its end."""
MAX_PORT = 65_535
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def joined(given: object) -> object:
    """Return hosts that may be given as a list as the text that names them all."""
    if isinstance(given, list | tuple) and all(isinstance(each, str) for each in given):
        if mistaken := [each for each in given if "," in each]:
            raise ValueError(f"must be one host in each text of a list, and {mistaken[0]!r} has a comma")
        return ",".join(given)
    return given


def are_hosts(text: str) -> str:
    """Return the text without blanks around its hosts; raise ValueError if one of them is none."""
    hosts = [_without_brackets(each.strip()) for each in text.split(",")]
    for host in hosts:
        if host.startswith(UNIX):
            _check_path(host.removeprefix(UNIX))
        elif not _is_address(host) and _NAME.fullmatch(host) is None:
            raise ValueError(f"must be addresses, names, or unix: and a path, and {host!r} is none")
    for host, other in itertools.combinations(hosts, 2):
        if are_one(host, other, hosts):
            raise ValueError(f"must name each address once, and {host!r} and {other!r} are one: leave one of them out")
    return ",".join(hosts)


def are_one(host: str, other: str, hosts: Collection[str] = ()) -> bool:
    """Return whether no two sockets can listen on both, as far as can be told without a resolver.

    ``hosts`` are all that are listened on.
    """
    if host == other:
        return True
    address, beside = _known_address(host), _known_address(other)
    if address is None or beside is None:
        return False
    if address.version != beside.version:
        both = {"::"} & {host, other}
        return bool(both) and not any(map(is_ipv4, hosts))
    return address == beside or address.is_unspecified or beside.is_unspecified


def port_of(given: object) -> object:
    """Return a port that may be given as text as its number; raise ValueError if the text is none."""
    if not isinstance(given, str):
        return given
    if re.fullmatch("[0-9]{1,5}", given) is None or int(given) > MAX_PORT:
        raise ValueError(f"must be the number of a port, 0 to {MAX_PORT}")
    return int(given)


def reached_at(host: str) -> str:
    """Return the address by which this machine reaches who listens on a host."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def is_ipv4(host: str) -> bool:
    """Return whether the host is an address of IPv4."""
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _known_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address("127.0.0.1" if host.lower() == "localhost" else host)
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_path(path: str) -> None:
    if not PurePosixPath(path).is_absolute() or "\0" in path:
        raise ValueError(f"must have the whole path of a unix socket, as unix:/run/wavstream.sock, and not {path!r}")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise ValueError(f"must have at most {MAX_PATH_BYTES} bytes in the path of a unix socket, not {path!r}")
