"""The hosts that the server listens on: addresses, names, and unix sockets by their paths.

One text names them all, commas between them; in a file it may be a list. A name is left to the resolver of this
machine. Two sockets cannot have one address, so a host that is named twice is a mistake.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import PurePosixPath

UNIX = "unix:"
"""Begins a host that is the path of a unix socket; alone, among trusted proxies, it is whoever comes by one."""
MAX_PATH_BYTES = 107
"""Of ``sun_path`` in unix(7), without the zero at its end."""
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
    if len({*hosts}) < len(hosts):
        raise ValueError("must name each host once")
    return ",".join(hosts)


def is_ipv4(host: str) -> bool:
    """Return whether the host is an address of IPv4."""
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


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
