"""Which connections give way when there are too many: those whose peers keep us waiting. Pure.

A connection *waits* while its peer owes something: the rest of a request, the next one, or to read what it is sent. One
whose request is being answered, whose peer reads, or that became a media WebSocket does not wait.

1. At most ``per_address`` connections of one address wait. At one more, one of that address gives way.
2. Where there is no place for a newcomer, one of all gives way. Where nobody waits, the newcomer is refused.
3. Who gives way is a connection on which nothing was answered yet, the longest waiting of these; only where there is
   none, the longest waiting of the others. A client that keeps its connection may send its next request at the moment
   at which we close it, and cannot know whether that was read.

So a peer without a key holds nothing that somebody else needs, and no number of calls from one switch is too many: a
peer that sends its request at once waits for a moment only.

Where there are several workers, ``per_address`` counts what waits in all of them, and who gives way does so in the one
to which the newcomer came.

An address of IPv6 is its /64, which is what one customer of a provider has. Behind a trusted proxy there are many
peers, so those are counted under no address. Those of a unix socket have none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wavstream.access.origin import Networks, is_trusted
from wavstream.workers.shared_counts import SharedCount

_PREFIX = 64


def network_of(host: str | None) -> str:
    """Return what an address is counted under: an IPv6 address by its /64, an IPv4 address that it maps by that."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _PREFIX), strict=False))


@dataclass(slots=True, eq=False)
class Place:
    """The place of one connection."""

    network: str | None
    """What it is counted under; None: under no address."""
    give_way: Callable[[], None]
    """Ends the connection."""
    was_answered: bool = False
    """Whether a request was answered on it."""

    @classmethod
    def of(cls, host: str | None, *, trusted: Networks, give_way: Callable[[], None]) -> Place:
        """Return the place of a connection from this address."""
        return cls(None if host is None or is_trusted(host, trusted) else network_of(host), give_way)

    def let_go(self) -> None:
        """Forget how to end the connection: it is over, and would be kept by this."""
        self.give_way = _nothing


class _Queue:
    """Places that wait, in the order in which they give way (rule 3)."""

    __slots__ = ("_answered", "_new")

    def __init__(self) -> None:
        self._new: dict[Place, None] = {}
        self._answered: dict[Place, None] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._answered)

    def __contains__(self, place: Place) -> bool:
        return place in self._new or place in self._answered

    def add(self, place: Place) -> None:
        (self._answered if place.was_answered else self._new)[place] = None

    def remove(self, place: Place) -> None:
        del (self._answered if place in self._answered else self._new)[place]

    def first(self) -> Place:
        return next(iter(self._new or self._answered))


class Connections:
    """The connections that wait."""

    def __init__(self, *, per_address: int, shared: SharedCount | None = None) -> None:
        """``shared`` has how many of an address wait in other workers; None: there are none."""
        self._per_address = per_address
        self._shared = shared
        self._waiting = _Queue()
        self._by_network: dict[str, _Queue] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait(self, place: Place) -> None:
        """Note that a connection waits, from now on if it did before; another may give way for it (rule 1)."""
        self.work(place)
        self._waiting.add(place)
        if place.network is None:
            return
        neighbours = self._by_network.setdefault(place.network, _Queue())
        neighbours.add(place)
        if self._count(place.network, neighbours) > self._per_address:
            self._end(neighbours.first())

    def work(self, place: Place) -> None:
        """Note that a connection waits no more, or is gone; without effect on one that does not wait."""
        if place not in self._waiting:
            return
        self._waiting.remove(place)
        if place.network is None:
            return
        neighbours = self._by_network[place.network]
        neighbours.remove(place)
        self._count(place.network, neighbours)
        if not neighbours:
            del self._by_network[place.network]

    def make_room(self) -> bool:
        """Have one give way, and return whether there was one (rule 2)."""
        if not self._waiting:
            return False
        self._end(self._waiting.first())
        return True

    def _count(self, network: str, neighbours: _Queue) -> int:
        """Tell the other workers how many wait here, and return how many wait in all."""
        if self._shared is None:
            return len(neighbours)
        self._shared.set(network, len(neighbours))
        return len(neighbours) + self._shared.others(network)

    def _end(self, place: Place) -> None:
        self.work(place)
        place.give_way()


class OpenConnections(set[Any]):
    """Every connection that is open, as its protocol; those of other workers are counted."""

    def __init__(self, shared: SharedCount | None = None) -> None:
        """``shared`` has how many are open in other workers; None: there are none."""
        super().__init__()
        self._shared = shared

    def add(self, connection: Any) -> None:
        """Enter one; a second time does nothing."""
        super().add(connection)
        self._tell()

    def discard(self, connection: Any) -> None:
        """Take one out, if it is there."""
        super().discard(connection)
        self._tell()

    @property
    def of_all_workers(self) -> int:
        """How many are open in all of them."""
        return len(self) + (0 if self._shared is None else self._shared.others(""))

    def _tell(self) -> None:
        if self._shared is not None:
            self._shared.set("", len(self))


def _nothing() -> None:
    """End a connection that is over."""
