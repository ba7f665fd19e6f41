"""The two steps of a connection that aiohttp leaves to us: which addresses a name has, and whether one may be used.

Every address is checked when the socket for it is made, so there is no second lookup, between the check and the
connection, that could answer otherwise. The name stays that of the URL for the certificate and for ``Host``.

A lookup cannot be ended, and an app may have its name answered slowly: each name has at most one lookup under way,
which all who ask for it share, on threads that do nothing else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from wavstream.webhooks.target import check_address

MAX_CONCURRENT_LOOKUPS = 32
"""Threads, made as they are needed."""


class PublicResolver(AbstractResolver):
    """The system's resolver, one lookup a name at a time. Lives on the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MAX_CONCURRENT_LOOKUPS, thread_name_prefix="lookup")
        self._running: dict[tuple[str, int], asyncio.Future[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return addresses of the host, in the order in which to try them; raise OSError."""
        key = (host, port)
        lookup = self._running.get(key)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._pool, _look_up, host, port)
            self._running[key] = lookup
            lookup.add_done_callback(lambda done: self._forget(key, done))
        # A caller that stops waiting must not end the lookup of the others.
        return await asyncio.shield(lookup)

    async def close(self) -> None:
        """End without waiting for lookups that are under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget(self, key: tuple[str, int], lookup: asyncio.Future[list[ResolveResult]]) -> None:
        self._running.pop(key, None)
        if not lookup.cancelled():
            lookup.exception()  # read, so that asyncio does not report it: those who waited may have given up


def checked_socket(*, allow_localhost: bool) -> Callable[[AddrInfoType], socket.socket]:
    """Return a maker of sockets that raises Refused for an address that nothing may be sent to."""

    def make(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = address
        check_address(str(place[0]), allow_localhost=allow_localhost)
        return socket.socket(family, kind, protocol)

    return make


def _look_up(host: str, port: int) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [
        ResolveResult(
            hostname=host, host=str(place[0]), port=port, family=family, proto=protocol, flags=socket.AI_NUMERICHOST
        )
        for family, _, protocol, _, place in found
    ]
